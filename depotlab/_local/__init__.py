"""The engine on this computer: a buildkitd and a registry that are started when needed.

May import: `buildkit` and what is below it; in fact only `errors`, and `buildkit` for the first answer.
"""

from ._config import HUB_HOST, child_environment
from ._doctor import Check, doctor, render_checks
from ._engine import Engine, EngineStatus, seed, start, status, stop
from ._forks import close as close_kept
from ._forks import keep_from_children
from ._host import Mode as HostMode
from ._host import decide as decide_mode
from ._host import install_command, refuse_other_systems
from ._host import look as look_at_host
from ._hub import ask_in_background as ask_hub_in_background
from ._locks import held as lock_held
from ._places import State, engine_dir, make_private_dir, read_text, state_dir, write_private
from ._ports import choose as choose_port
from ._programs import Program, products, search_path
from ._provision import Programs, find_installed, install
from ._seed import REPOSITORY as SEED_REPOSITORY
from ._seed import Seeded, digest_of, system_image
from ._supervisor import __file__ as SUPERVISOR_FILE  # noqa: N812 - it is a path

__all__ = [
    "HUB_HOST",
    "SEED_REPOSITORY",
    "SUPERVISOR_FILE",
    "Check",
    "Engine",
    "EngineStatus",
    "HostMode",
    "Program",
    "Programs",
    "Seeded",
    "State",
    "ask_hub_in_background",
    "child_environment",
    "choose_port",
    "close_kept",
    "decide_mode",
    "digest_of",
    "doctor",
    "engine_dir",
    "find_installed",
    "install",
    "install_command",
    "keep_from_children",
    "lock_held",
    "look_at_host",
    "make_private_dir",
    "products",
    "read_text",
    "refuse_other_systems",
    "render_checks",
    "search_path",
    "seed",
    "start",
    "state_dir",
    "status",
    "stop",
    "system_image",
    "write_private",
]
