"""What a service is put together from: parts of the right kind, its folder, and where its rows go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path

from depotlab._local import lock_held, make_private_dir, state_dir
from depotlab.errors import EngineError, ServiceError
from depotlab.service._boundary import GitContext
from depotlab.service._reasons.rules import Rule
from depotlab.service._settings.depot import Depot
from depotlab.service._settings.limits import Limits
from depotlab.service._settings.registry import Registry
from depotlab.telemetry import Sink

__all__ = ["GitTokens", "check_parts", "chosen_sink", "ended", "held_folder", "state_folder"]

GitTokens = Callable[[GitContext], str | Awaitable[str]]
"""Returns a token that may read the repository of a git context, or an empty text."""


def state_folder(given: str | Path | None) -> Path:
    """Return the folder of a service's state: `given`, or `service` beside the state of the engine."""
    if given is not None:
        return Path(given).expanduser().absolute()
    return state_dir().parent / "service"


@contextlib.contextmanager
def held_folder(folder: Path) -> Iterator[None]:
    """Hold the folder of a service's state, made when it is missing, while the body runs.

    Raises:
        ServiceError: `failed_precondition`: another service holds it.
        EngineError: It cannot be used.
    """
    make_private_dir(folder)
    with contextlib.ExitStack() as stack:
        lock = lock_held(folder / "service.lock", timeout_s=0.0, waiting_for="serving builds")
        try:
            stack.enter_context(lock)
        except EngineError as error:
            raise ServiceError(
                f"Another build service uses the state folder {folder}.",
                code="failed_precondition",
                hint="close that one, or give each service a folder of its own with state=",
            ) from error
        yield


def check_parts(
    depot: object,
    storage: object,
    registry: object,
    limits: object,
    git_tokens: object,
    error_rules: Iterable[object],
) -> None:
    """Check that each part of a service is of its kind.

    Raises:
        ServiceError: `invalid_argument`, with the argument's name.
    """
    rules = tuple(error_rules)
    for name, value, is_one, hint in (
        ("depot", depot, isinstance(depot, Depot), "depotlab.service.Depot(...)"),
        ("storage", storage, hasattr(storage, "download_url"), "LocalStorage or S3Storage"),
        ("registry", registry, isinstance(registry, Registry), "depotlab.service.Registry(...)"),
        ("limits", limits, isinstance(limits, Limits), "depotlab.service.Limits(...)"),
        ("git_tokens", git_tokens, callable(git_tokens), "a function of a git context"),
        ("error_rules", rules, all(isinstance(one, Rule) for one in rules), "a list of Rule(...)"),
    ):
        if value is not None and not is_one:
            raise ServiceError(
                f"{name} cannot be a value of {type(value).__name__}.",
                code="invalid_argument",
                hint=f"give {hint}, or leave it out",
            )


def chosen_sink(telemetry: str | Path | Sink | bool | None, folder: Path) -> Sink | None:
    """Return where rows go; None for nowhere.

    Args:
        telemetry: As `BuildService` takes it.
        folder: Of the service's state.

    Raises:
        ServiceError: `invalid_argument`.
    """
    match telemetry:
        case None | False:
            return None
        case True:
            telemetry = folder / "telemetry.duckdb"
        case str() if telemetry.startswith(("http://", "https://", "clickhouse://")):
            raise ServiceError(
                "telemetry cannot be an address, which does not say who logs in.",
                code="invalid_argument",
                hint="give depotlab.telemetry.ClickHouse(address, user=..., password=...)",
            )
    if isinstance(telemetry, str | Path):
        from depotlab.telemetry import DuckDB

        return DuckDB(telemetry)
    if not isinstance(telemetry, Sink):
        raise ServiceError(
            f"telemetry cannot be {telemetry!r:.60}.",
            code="invalid_argument",
            hint='use a path such as "builds.duckdb", a sink of depotlab.telemetry, or None for none',
        )
    return telemetry


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait for its end."""
    task.cancel()
    await asyncio.wait([task])
