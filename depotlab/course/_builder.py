"""Where a lesson builds: on the engine of this computer, or from the recording of the lesson."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Literal

from depotlab import _local, client
from depotlab.course._exercise import lesson_name
from depotlab.errors import EngineError, RecordingError, UsageError

__all__ = ["builder", "fresh"]

Way = Literal["live", "recorded", "record"]

_WAYS: tuple[Way, ...] = ("live", "recorded", "record")
_ASKED = "DEPOTLAB_COURSE"
# A kernel starts in the folder of its notebook; a lesson may go elsewhere later.
_FOLDER = Path.cwd()
_NO_ENGINE = (
    "No engine is installed here, or none can run: lesson {lesson} plays its recording.\n"
    "`depotlab engine install` puts one on this computer, and `depotlab doctor` says what it needs."
)


def builder(lesson: str) -> client.Client:
    """Return the builder of a lesson: the engine of this computer, or the recording beside the notebook.

    Live where the engine is installed and can run (`depotlab engine install` puts it there; nothing is installed
    unasked), else `recorded/LESSON.depotlab`, and a line says so. `DEPOTLAB_COURSE` decides instead: `live`,
    `recorded`, or `record`, which builds live and writes the recording when the client is closed.

    Args:
        lesson: Its two digits, such as `"05"`.

    Raises:
        UsageError: There is no such lesson, or `DEPOTLAB_COURSE` has another word.
        EngineError: It is to be live, and the engine does not start.
        RecordingError: It is to be recorded, and there is no recording, or it cannot be read.
    """
    host_path = _recording(lesson_name(lesson))
    way = _way()
    if way == "live":
        return client.local()
    if way == "record":
        return client.record(host_path, client.local()).builder
    if not host_path.exists():
        raise RecordingError(
            f"There is no {host_path}, and lesson {lesson} is to play it.",
            hint="install the engine with `depotlab engine install`, or start the kernel in the folder of the notebook",
            path=str(host_path),
        )
    if not os.environ.get(_ASKED):
        print(_NO_ENGINE.format(lesson=lesson))  # noqa: T201 - the reader is to know
    return client.recorded(host_path)


def fresh(lesson: str) -> str:
    """Return a word that no cache has met, so that what depends on it has never run.

    Another one with each call when the lesson is live. The one that was recorded when it is not, or when it
    is being recorded.

    Args:
        lesson: Its two digits.
    """
    if _way() == "live":
        return f"{lesson_name(lesson)}-{secrets.token_hex(4)}"
    return f"{lesson_name(lesson)}-recorded"


def _way() -> Way:
    asked = os.environ.get(_ASKED)
    if not asked:
        return "live" if _engine_here() else "recorded"
    for way in _WAYS:
        if asked == way:
            return way
    raise UsageError(
        f"DEPOTLAB_COURSE={asked!r} is no way to run the course.",
        hint=f"set it to one of {', '.join(_WAYS)}, or leave it out",
    )


def _recording(lesson: str) -> Path:
    return _FOLDER / "recorded" / f"{lesson}.depotlab"


def _engine_here() -> bool:
    """Whether the engine is installed and may run. Installs and starts nothing."""
    try:
        _local.refuse_other_systems()
        _local.decide_mode(_local.look_at_host())
    except EngineError:
        return False
    programs = _local.find_installed()
    return programs is not None and programs.runtime is not None
