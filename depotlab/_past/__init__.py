"""What past builds on this computer were: graphs, steps and listings, kept to say why a step ran again."""

from __future__ import annotations

__all__: list[str] = []
