"""The `depotlab` command: the engine on this computer; a Depot here, or the one far away; a build service for others.

May import: everything below. Exit codes: 0 done; 1 it failed, or `doctor` found what stops the
engine; 2 the command line is wrong; 3 what was asked about does not run (`status`, `logs`, `up --status`); 130
interrupted.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from depotlab._plane import command
from depotlab.errors import DepotlabError
from depotlab.service._serve import command as service_command

__all__ = ["main"]

OK, FAILED, NOT_RUNNING, INTERRUPTED = 0, 1, 3, 130
_LOG_LINES = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; by default those of the process.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    do: Callable[[argparse.Namespace], int] = options.do
    try:
        return do(options)
    except DepotlabError as error:
        _say(f"{error}", to_error=True)
        return FAILED
    except KeyboardInterrupt:
        _say("interrupted", to_error=True)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as `head`, had enough
        sys.stderr.close()
        return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="depotlab",
        description="Build container images: the engine, a Depot and a build service, on this computer.",
    )
    parser.add_argument("--version", action="version", version=f"depotlab {_version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    doctor = commands.add_parser("doctor", help="say what is here, what is missing, how to fix it")
    doctor.add_argument(
        "--network", action="store_true", help="also ask whether Docker Hub answers"
    )
    _state_option(doctor)
    doctor.set_defaults(do=_doctor)

    command.add_parser(commands)
    service_command.add_parser(commands)
    _depot_commands(commands)

    engine = commands.add_parser("engine", help="the engine on this computer")
    verbs = engine.add_subparsers(metavar="VERB", required=True)
    for name, do, text in (
        ("install", _install, "provide buildkitd and the registry"),
        ("start", _start, "start it, and keep it until `stop`"),
        ("status", _status, "say whether it runs, where, and who uses it"),
        ("stop", _stop, "end it now, whoever uses it"),
        ("seed", _seed, "put a busybox image into its registry, for use with no network"),
        ("logs", _logs, "show the end of its log"),
    ):
        verb = verbs.add_parser(name, help=text, description=text)
        verb.set_defaults(do=do)
        if name == "install":
            verb.add_argument(
                "--url", help="folder with the release archives (default: DEPOTLAB_ENGINE_URL)"
            )
        else:
            _state_option(verb)
        if name == "logs":
            verb.add_argument(
                "-n", "--lines", type=_count, default=_LOG_LINES, help="how many (default: 40)"
            )
            verb.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
            verb.add_argument(
                "which",
                nargs="?",
                choices=("buildkitd", "registry", "supervisor"),
                default="buildkitd",
                help="whose (default: buildkitd)",
            )
    return parser


def _depot_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add what is done with Depot. Tokens are no arguments: others could see them."""
    login = commands.add_parser("login", help="log in to Depot with a browser")
    login.add_argument("--org", metavar="ID", help="the organization to use, if there are several")
    login.add_argument(
        "--timeout", type=float, default=600.0, metavar="S", help="how long to wait (default: 600)"
    )
    login.set_defaults(do=_login)

    logout = commands.add_parser("logout", help="forget the login to Depot")
    logout.set_defaults(do=_logout)

    pull = commands.add_parser("pull", help="pull an image that Depot keeps, without Docker")
    pull.add_argument("image", help="a build's id, PROJECT:TAG, or a tag with --project")
    pull.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="write it there, `-` for standard output (default: load it into the Docker Engine)",
    )
    pull.add_argument(
        "--format",
        choices=("oci", "docker", "layout"),
        default="oci",
        help="of --output: an OCI archive, one for `docker load`, or a directory (default: oci)",
    )
    pull.add_argument("-t", "--tag", action="append", help="a name for it here; may be repeated")
    pull.add_argument("--project", metavar="ID", help="the project that IMAGE is a tag of")
    pull.add_argument("--target", help="of a build with several targets")
    pull.add_argument("--platform", help="only the image for this one, such as linux/arm64")
    pull.add_argument(
        "--local", action="store_true", help="from the Depot on this computer (`depotlab up`)"
    )
    pull.set_defaults(do=_pull)
    for parser in (login, pull):
        parser.add_argument("--url", help="address of the API (default: DEPOT_API_URL)")


def _state_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state", metavar="DIR", type=Path, help="folder of its state (default: DEPOTLAB_STATE)"
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number


# ----------------------------------------------------------------------------------- commands


def _doctor(options: argparse.Namespace) -> int:
    from depotlab._local import doctor, render_checks

    checks = doctor(state_dir=options.state, network=options.network)
    _say(render_checks(checks, width=max(60, shutil.get_terminal_size().columns)))
    wrong = [check.name for check in checks if check.ok is False]
    if wrong:
        _say(f"\nThe engine cannot run yet: {', '.join(wrong)}.")
        return FAILED
    _say("\nThe engine can run here.")
    return OK


def _install(options: argparse.Namespace) -> int:
    from depotlab._local import install

    programs = install(on_progress=_progress, url=options.url)
    found = (programs.buildkitd, programs.registry, programs.buildctl, programs.runtime)
    _table([(p.name, p.version, str(p.host_path)) for p in found if p is not None])
    if programs.runtime is None:
        _say("An OCI runtime is missing; `depotlab doctor` has the command for this system.")
        return FAILED
    return OK


def _start(options: argparse.Namespace) -> int:
    from depotlab._local import start

    with start(state_dir=options.state, on_progress=_progress, keep=True) as engine:
        _table(
            [
                ("buildkitd", f"{engine.version.removeprefix('v')}  (process {engine.pid})"),
                ("address", engine.address),
                ("registry", engine.registry),
                ("log", str(engine.log_path)),
            ]
        )
    _say("It stays until `depotlab engine stop`. For other tools:")
    _say(f"  export BUILDKIT_HOST={engine.address}")
    return OK


def _status(options: argparse.Namespace) -> int:
    from depotlab._local import status

    found = status(state_dir=options.state)
    rows: list[tuple[str, ...]] = [("engine", found.phase), ("state", str(found.state_dir))]
    if found.phase != "stopped":
        users = ", ".join(map(str, found.lease_pids)) or "nobody"
        kept = " (kept until `depotlab engine stop`)" if found.held else ""
        rows += [
            ("buildkitd", f"{found.version}  (process {found.pid})"),
            ("address", found.address),
            ("registry", found.registry),
            ("used by", f"{users}{kept}"),
            ("up for", _duration(found.started_at)),
        ]
    elif found.last_end:
        rows.append(("last ended", f"because {found.last_end}"))
    rows.append(("log", str(found.log_path)))
    _table(rows)
    return OK if found.running else NOT_RUNNING


def _stop(options: argparse.Namespace) -> int:
    from depotlab._local import stop

    _say("stopped" if stop(state_dir=options.state) else "it was not running")
    return OK


def _seed(options: argparse.Namespace) -> int:
    from depotlab._local import seed

    seeded = seed(state_dir=options.state, on_progress=_progress)
    _table(
        [
            ("image", seeded.refs[0]),
            ("also", ", ".join(ref.rpartition(":")[2] for ref in seeded.refs[1:])),
            ("digest", seeded.digest),
            ("registry", seeded.registry),
        ]
    )
    return OK


def _logs(options: argparse.Namespace) -> int:
    from depotlab._local import status

    path = status(state_dir=options.state).log_path.with_name(f"{options.which}.log")
    try:
        file = path.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        _say(f"there is no log yet: {path}", to_error=True)
        return NOT_RUNNING
    with file:
        lines = file.readlines()
        _say("".join(lines[max(0, len(lines) - options.lines) :]), end="")
        while options.follow:
            if path.stat().st_size < file.tell():  # it was rotated
                file.seek(0)
            _say(file.read(), end="")
            time.sleep(0.3)
    return OK


def _login(options: argparse.Namespace) -> int:
    from depotlab.client import depot_login

    depot_login(organization=options.org, url=options.url, timeout_s=options.timeout)
    return OK


def _logout(_: argparse.Namespace) -> int:
    from depotlab.client import depot_logout

    _say("logged out" if depot_logout() else "there was no login")
    return OK


def _pull(options: argparse.Namespace) -> int:
    from depotlab import export
    from depotlab.client import pull

    place = sys.stdout.buffer if options.output == "-" else options.output
    if place is None:
        output = None
    elif options.format == "docker":
        output = export.docker(place)
    else:
        output = export.oci(place, tar=options.format == "oci")
    pulled = pull(
        options.image,
        output=output,
        load=output is None,
        tags=options.tag,
        project=options.project,
        target=options.target,
        platform=options.platform,
        local=options.local,
        url=options.url,
    )
    # The archive may be on standard output.
    _say(f"{pulled!r}".strip("<>"), to_error=options.output == "-")
    return OK


# -------------------------------------------------------------------------------------- output


def _say(text: str, *, end: str = "\n", to_error: bool = False) -> None:
    stream = sys.stderr if to_error else sys.stdout
    encoding = stream.encoding or "utf-8"  # a terminal without a check mark gets a question mark
    stream.write((text + end).encode(encoding, "replace").decode(encoding))
    stream.flush()


def _progress(line: str) -> None:
    # On stderr, so that the output proper can be piped.
    _say(f"… {line}", to_error=True)


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        _say("  ".join(cells).rstrip())


def _duration(since: datetime | None) -> str:
    if since is None:
        return "?"
    seconds = int((datetime.now(UTC) - since).total_seconds())
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _version() -> str:
    try:
        return version("depotlab")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
