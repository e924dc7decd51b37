"""What nobody can reach any more in the registry's storage: found and deleted by the registry program itself.

It marks what tags lead to, and deletes the rest; what is being pushed meanwhile would be the rest too, so it only runs
while the registry does not. Manifests without a tag go as well, from version 3 on; older versions would take
the parts of an index for such. Source: distribution docs/content/about/garbage-collection.md,
registry/storage/garbagecollect.go.
"""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from depotlab._local import Program

__all__ = ["EACH_S", "collect", "is_due"]

EACH_S = 86_400.0
"""Once a day is enough: what a deletion leaves behind costs room on the disk and nothing else."""

_LIMIT_S = 600.0
_SAID_CHARS = 300

_log = logging.getLogger("depotlab.plane")


def is_due(host_mark: Path) -> bool:
    """Return whether it is time. `host_mark` is a file that is as old as the last time."""
    try:
        return time.time() - host_mark.stat().st_mtime > EACH_S
    except FileNotFoundError:
        return True


def collect(
    program: Program, host_config: Path, host_mark: Path, environment: Mapping[str, str]
) -> None:
    """Delete what no tag leads to. Blocks; the registry must not run.

    That it failed is logged, and tried again the next day: the registry works all the same.
    """
    argv = [str(program.host_path), "garbage-collect", str(host_config)]
    if int(program.version.partition(".")[0]) >= 3:
        argv.insert(2, "--delete-untagged")
    try:
        done = subprocess.run(
            argv,
            env=dict(environment),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIMIT_S,
            check=False,
        )
        said = done.stderr.strip()[-_SAID_CHARS:] if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    if said:
        _log.warning("the registry's garbage was not collected: %s", said)
    host_mark.touch(mode=0o600)
