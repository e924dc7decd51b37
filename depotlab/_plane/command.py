"""`depotlab up`: run a plane from the command line, or say where one runs.

Exit codes: 0 done; 1 it failed; 3 no plane runs (`--status`); as in `cli`. Needs the extra `plane`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depotlab._plane.presence import Places, PlaneStatus, need_extra, status
from depotlab._plane.sizes import Size, sizes
from depotlab.errors import UsageError

if TYPE_CHECKING:
    from depotlab._plane.up import Plane

__all__ = ["add_parser", "run"]

_OK, _NOT_RUNNING = 0, 3
_ASK_TIMEOUT_S = 3.0
_DESCRIPTION = (
    "Run Depot's API on this computer: projects, machines, a registry. It stays until Ctrl-C. "
    "The environment that it prints makes the official clients and depotlab use it."
)


def add_parser(subparsers: Any) -> None:
    """Add the command `up` to what `argparse.ArgumentParser.add_subparsers` returned."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "up", help="run Depot's API on this computer", description=_DESCRIPTION
    )
    parser.add_argument(
        "--port", type=_port, default=0, help="of the API (default: that of the last time, or any)"
    )
    parser.add_argument(
        "--state", metavar="DIR", type=Path, help="folder of its state (default: DEPOTLAB_PLANE)"
    )
    parser.add_argument(
        "--env-file",
        metavar="PATH",
        type=Path,
        help="write the environment there once it is ready, and do not print it",
    )
    parser.add_argument(
        "--tls",
        metavar="PEM",
        type=Path,
        nargs="*",
        help="also serve with TLS: no value makes a certificate, two are a certificate and its key",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="where to listen; other than loopback needs --tls"
    )
    parser.add_argument(
        "--status", action="store_true", help="say whether one runs, where, and how much it keeps"
    )
    parser.set_defaults(do=run)


def run(options: argparse.Namespace) -> int:
    """Do what the command line says; return the exit code."""
    if options.status:
        return _status(status(options.state))
    need_extra("`depotlab up`")
    from depotlab._plane.up import up

    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s"
    )
    asyncio.run(
        up(
            options.state,
            port=options.port,
            tls=_tls(options.tls),
            host=options.host,
            env_file=options.env_file,
            on_ready=lambda plane: _ready(plane, options.env_file),
        )
    )
    _say("stopped")
    return _OK


def _tls(given: list[Path] | None) -> bool | tuple[Path, Path] | None:
    if given is None:
        return None
    if not given:
        return True
    if len(given) != 2:
        raise UsageError(
            "--tls takes no value, or a certificate and its key.",
            hint="for example: --tls cert.pem key.pem",
        )
    return given[0], given[1]


def _ready(plane: Plane, env_file: Path | None) -> None:
    _say(f"Depot is at {plane.url}; this page shows what it does.")
    if plane.tls_url and plane.tls_url != plane.url:
        _say(f"With TLS: {plane.tls_url}")
    if env_file is not None:
        # Who wants the token in a file may not want it on the screen.
        _say(f"The environment is in {env_file}:  set -a; . {env_file}; set +a")
    else:
        _say("For other programs:")
        for name, value in plane.environment.items():
            _say(f"  export {name}={value}")
    _say("It stays until Ctrl-C.")


def _status(found: PlaneStatus) -> int:
    rows = [("state", str(found.state))]
    if not found.running:
        rows.insert(0, ("plane", "stopped"))
    elif not found.url:
        rows.insert(0, ("plane", "starting"))
    else:
        rows = [
            ("plane", f"running  (process {found.pid})"),
            ("address", found.url),
            *([("with TLS", found.tls_url)] if found.tls_url not in ("", found.url) else []),
            ("registry", found.registry),
            *rows,
            ("up for", _since(found.started_at)),
            *_busy(found),
        ]
    if found.state.exists():
        rows += _room(found.state)
    for name, value in rows:
        _say(f"{name:<9} {value}")
    return _OK if found.running else _NOT_RUNNING


def _busy(found: PlaneStatus) -> list[tuple[str, str]]:
    """Ask the plane what it does. One that listens elsewhere than on the loopback is not asked."""
    if not found.url.startswith("http://"):
        return []
    try:
        with urllib.request.urlopen(f"{found.url}/page/state", timeout=_ASK_TIMEOUT_S) as answer:  # noqa: S310 - http, above
            now = json.load(answer)
    except (OSError, ValueError) as error:
        return [("answer", f"none: {getattr(error, 'reason', error)}")]
    running = [build for build in now["builds"] if build["status"] == "running"]
    return [
        ("projects", str(len(now["projects"]))),
        ("machines", str(len(now["machines"]))),
        ("builds", f"{len(running)} running"),
    ]


def _room(state: Path) -> list[tuple[str, str]]:
    room = sizes(Places(state))
    return [
        ("caches", _text(room.caches)),
        ("images", _text(room.images)),
        ("history", _text(room.history)),
    ]


def _text(size: Size) -> str:
    number = float(size.n_bytes)
    units = iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while number >= 1000 and unit != "TB":
        number, unit = number / 1000, next(units)
    text = f"{number:.0f} {unit}" if unit == "B" or number >= 10 else f"{number:.1f} {unit}"
    return text if size.whole else f"{text} at least"


def _since(started_at: datetime | None) -> str:
    if started_at is None:
        return "?"
    minutes, seconds = divmod(int((datetime.now(UTC) - started_at).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("must be 0 to 65535")
    return number


def _say(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(f"{text}\n".encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()
