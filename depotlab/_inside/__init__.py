"""Looking into builds: states held open on the daemon, their files, processes in them, failed steps."""

from __future__ import annotations

__all__: list[str] = []
