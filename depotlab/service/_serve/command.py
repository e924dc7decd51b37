"""`depotlab serve`: run a build service from the command line, and make tokens for it.

Exit codes: 0 done; 1 it failed; as in `cli`. Needs the extra `service`. SIGTERM and Ctrl-C let the builds that run end;
a second one does not wait for them, and the next service goes on with them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import importlib.util
import logging
import os
import resource
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from depotlab._local import make_private_dir, read_text, write_private
from depotlab._values import cut
from depotlab.errors import EngineError, MissingExtra, UsageError

if TYPE_CHECKING:
    from depotlab.service._access.access import Access
    from depotlab.service._faces.awaiting import AwaitingBuildService
    from depotlab.service._http.server import AwaitingServer
    from depotlab.service._serve.configfile import Config

__all__ = ["add_parser"]

T = TypeVar("T")

_OK = 0
_DRAIN_S = 600.0
_DAY_S = 86400
_MOST_FILES = 65_536
_DESCRIPTION = (
    "Run a build service: uploads, a queue, builds on Depot, logs and telemetry, for clients with tokens. "
    "Secrets come from the environment: DEPOT_TOKEN, DEPOTLAB_REGISTRY_PASSWORD, DEPOTLAB_CLICKHOUSE_PASSWORD, and "
    "what boto3 reads."
)


def add_parser(subparsers: Any) -> None:
    """Add the command `serve` to what `argparse.ArgumentParser.add_subparsers` returned."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "serve", help="run a build service for others", description=_DESCRIPTION
    )
    _places(parser)
    parser.add_argument("--host", help="where to listen; other than loopback needs TLS")
    parser.add_argument(
        "--port", type=_port, help="where to listen (default: that of the last time, or any)"
    )
    parser.add_argument(
        "--tls",
        metavar="PEM",
        type=Path,
        nargs="*",
        help="serve with TLS: no value makes a certificate, two are a certificate and its key",
    )
    parser.add_argument(
        "--local", action="store_true", help="build on the Depot of this computer (extra `plane`)"
    )
    parser.add_argument(
        "--drain",
        type=float,
        default=_DRAIN_S,
        metavar="S",
        help="how long builds may go on after SIGTERM, in seconds (default: 600)",
    )
    parser.set_defaults(do=_serve)

    commands = parser.add_subparsers(metavar="COMMAND")
    tokens = commands.add_parser("token", help="make, list and revoke the tokens of its clients")
    verbs = tokens.add_subparsers(metavar="VERB", required=True)
    create = verbs.add_parser("create", help="make a token; its secret is all that is printed")
    create.add_argument(
        "--project", action="append", metavar="NAME", help="that it is for; may be repeated"
    )
    create.add_argument("--all-projects", action="store_true", help="it is for all of them")
    create.add_argument(
        "--may",
        action="append",
        choices=("build", "read", "admin"),
        help="what it may do; may be repeated (default: build and read)",
    )
    create.add_argument("--description", default="", help="whom it is for")
    create.add_argument("--days", type=float, help="how long it is good (default: for ever)")
    create.set_defaults(do=_create_token)
    listing = verbs.add_parser("list", help="show the tokens, without their secrets")
    listing.set_defaults(do=_list_tokens)
    revoke = verbs.add_parser("revoke", help="make a token useless")
    revoke.add_argument("token_id", metavar="ID", help="as `list` shows it")
    revoke.set_defaults(do=_revoke_token)
    for verb in (create, listing, revoke):
        # Without a default of its own: that would take the place of what was given before `token`.
        _places(verb, default=argparse.SUPPRESS)


def _places(parser: argparse.ArgumentParser, *, default: Any = None) -> None:
    parser.add_argument(
        "--config", metavar="FILE", type=Path, default=default, help="settings, as TOML"
    )
    parser.add_argument(
        "--state",
        metavar="DIR",
        type=Path,
        default=default,
        help="folder of its state: builds, logs, tokens",
    )


# ------------------------------------------------------------------------------------ the service


def _serve(options: argparse.Namespace) -> int:
    _need_extra()
    from depotlab.service._http.server import check_host

    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s"
    )
    config = _config(options)
    if options.host is not None:
        config.host = options.host
    if options.port is not None:
        config.port = options.port
    if options.tls is not None:
        config.tls = _tls(options.tls)
    check_host(config.host, config.tls)
    _allow_files()
    asyncio.run(_run(config, options))
    _tell("stopped")
    return _OK


def _allow_files() -> None:
    """Raise the limit of open files: each log that is followed is one, and builds need some, too.

    The usual soft limit of 1024 is there for programs that call select(), which this one does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # A system may have a limit of its own; then it stays as it is.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _config(options: argparse.Namespace) -> Config:
    """What the file says, and the flags, which have the last word."""
    from depotlab.service._serve.configfile import Config, read_config
    from depotlab.service._settings.depot import Depot

    config = Config()
    if options.config is not None:
        path: Path = options.config
        config = read_config(_text(path), name=str(path), folder=path.absolute().parent)
    if options.state is not None:
        config.options["state"] = options.state
    if getattr(options, "local", False):
        depot: Depot = config.options.get("depot") or Depot()
        # What new projects are like, and how long machines are waited for, goes for this one, too.
        config.options["depot"] = dataclasses.replace(
            depot, local=depot.local or True, token=None, url=None, organization=None
        )
    return config


def _state(options: argparse.Namespace) -> str | Path | None:
    """The folder of the state, which is all that tokens need: this shell may have no secret of the service."""
    from depotlab.service._serve.configfile import read_state

    said: str | Path | None = None
    if options.config is not None:
        path: Path = options.config
        said = read_state(_text(path), name=str(path), folder=path.absolute().parent)
    return said if options.state is None else options.state


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The configuration {path} cannot be read: {getattr(error, 'strerror', None) or error}.",
            hint="give the path of a TOML file with --config",
        ) from error


async def _run(config: Config, options: argparse.Namespace) -> None:
    from depotlab.service._faces.awaiting import AwaitingBuildService

    signals: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signals.put_nowait, number)
    try:
        async with (
            AwaitingBuildService(**config.options) as service,
            await _listening(service, config) as server,
        ):
            _ready(server, config, options)
            await signals.get()
            running = (await service.health()).n_running
            _tell(f"draining: {running} {'build runs' if running == 1 else 'builds run'}")
            await _first(service.drain(options.drain), signals.get())
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _listening(service: AwaitingBuildService, config: Config) -> AwaitingServer:
    """Serve on the port that is asked for; or on that of the last time, because clients have its address."""
    from depotlab.service._core.parts import state_folder

    if config.port is not None:
        return await service.serve(config.host, config.port, tls=config.tls)
    note = state_folder(config.options.get("state")) / "port"
    last = (read_text(note) or "").strip()
    if last.isdigit():
        with contextlib.suppress(EngineError):  # another has it now
            return await service.serve(config.host, int(last), tls=config.tls)
    server = await service.serve(config.host, 0, tls=config.tls)
    write_private(note, server.url.rpartition(":")[2])
    return server


async def _first(*works: Awaitable[object]) -> None:
    """Return when one of them is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest)
    for task in done:
        task.result()


def _ready(server: AwaitingServer, config: Config, options: argparse.Namespace) -> None:
    from depotlab._serving import is_loopback
    from depotlab.service._http.routepages import curl_lines

    _tell(f"The build service is at {server.url}; that page says what it does.")
    if server.ca is not None:
        _tell(f"Clients trust it with the authority in {server.ca}.")
    if not is_loopback(config.host) and "storage" not in config.options:
        _tell(
            "Uploads can come from this computer only: give [storage] a host and a public_url, or use [s3]."
        )
    _tell("A first build, in a shell:")
    _tell("")
    given = (("--config", options.config), ("--state", options.state))
    places = "".join(f" {flag} {shlex.quote(str(path.absolute()))}" for flag, path in given if path)
    _tell(f"  TOKEN=$(depotlab serve token create --project demo{places}); PROJECT=demo")
    _tell("  cd \"$(mktemp -d)\"; printf 'FROM busybox\\nRUN echo hello\\n' > Dockerfile")
    trust = f"--cacert {shlex.quote(str(server.ca))}" if server.ca is not None else ""
    for line in curl_lines(server.url, trust=trust):
        _tell(f"  {line}")
    _tell("")
    _tell("It stays until Ctrl-C.")


def _tls(given: list[Path]) -> bool | tuple[Path, Path]:
    if not given:
        return True
    if len(given) != 2:
        raise UsageError(
            "--tls takes no value, or a certificate and its key.",
            hint="for example: --tls cert.pem key.pem",
        )
    return given[0], given[1]


# ------------------------------------------------------------------------------------ the tokens


def _create_token(options: argparse.Namespace) -> int:
    if bool(options.project) == options.all_projects:
        raise UsageError(
            "A token is for some projects, or for all of them.",
            hint="give --project NAME once or several times, or --all-projects",
        )
    projects = "*" if options.all_projects else options.project
    made = _with_access(
        options,
        lambda access: access.create(
            options.description
            or cut(f"for {', '.join(options.project or ['all projects'])}", 200),
            projects=projects,
            may=options.may or ("build", "read"),
            expires_s=None if options.days is None else options.days * _DAY_S,
        ),
    )
    # The secret alone on standard output: TOKEN=$(depotlab serve token create …).
    _say(f"token {made.token_id}: {made.description}", to_error=True)
    _say(made.secret)
    return _OK


def _list_tokens(options: argparse.Namespace) -> int:
    for token in _with_access(options, lambda access: access.list()):
        ends = f"until {token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else "for ever"
        projects = " ".join(token.projects) or "all projects"
        _say(f"{token.token_id}  {' '.join(token.may)}  {projects}  {ends}  {token.description}")
    return _OK


def _revoke_token(options: argparse.Namespace) -> int:
    _with_access(options, lambda access: access.revoke(options.token_id))
    _say("revoked")
    return _OK


def _with_access(options: argparse.Namespace, work: Callable[[Access], Awaitable[T]]) -> T:
    """Do something with the tokens in the state folder; a service that runs there sees it at its next request."""
    _need_extra()
    from depotlab.service._access.access import Access
    from depotlab.service._core.parts import state_folder
    from depotlab.service._core.tables import open_database

    folder = state_folder(_state(options))

    async def run() -> T:
        make_private_dir(folder)
        database = open_database(folder / "service.sqlite3")
        try:
            return await work(Access(database))
        finally:
            database.close()

    return asyncio.run(run())


def _need_extra() -> None:
    for package in ("connectrpc", "hypercorn"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("`depotlab serve`", extra="service")


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("must be 0 to 65535")
    return number


def _tell(text: str) -> None:
    """Say it to whoever still reads: builds that run are more than the pipe that the first lines went to."""
    try:
        _say(text)
    except BrokenPipeError:
        # Also what waits in the buffer of Python's file goes there.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _say(text: str, *, to_error: bool = False) -> None:
    stream = sys.stderr if to_error else sys.stdout
    encoding = stream.encoding or "utf-8"
    stream.write(f"{text}\n".encode(encoding, "replace").decode(encoding))
    stream.flush()
