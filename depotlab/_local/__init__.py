"""The engine on this computer: a buildkitd and a registry that are started when needed.

May import: `buildkit` and what is below it; in fact only `errors`, and `buildkit` for the first answer.
"""

from ._doctor import Check, doctor, render_checks
from ._engine import Engine, EngineStatus, seed, start, status, stop
from ._places import engine_dir, state_dir
from ._programs import Program
from ._provision import Programs, find_installed, install
from ._seed import Seeded

__all__ = [
    "Check",
    "Engine",
    "EngineStatus",
    "Program",
    "Programs",
    "Seeded",
    "doctor",
    "engine_dir",
    "find_installed",
    "install",
    "render_checks",
    "seed",
    "start",
    "state_dir",
    "status",
    "stop",
]
