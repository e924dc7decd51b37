"""Builds that end before Depot hears of them, and what becomes of lines when their keeper fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from depotlab._depot import NoToken
from depotlab._serving import Database
from depotlab.errors import StorageError
from depotlab.progress import LogWritten, VertexUpdated
from depotlab.service._boundary import Failed, GitContext, Outcome, Secrets
from depotlab.service._core.tables import open_database
from depotlab.service._reasons.masking import Mask
from depotlab.service._reasons.usererrors import Rule
from depotlab.service._run.hearing import Hearing
from depotlab.service._run.runner import Runner
from depotlab.service._settings.depot import Depot
from depotlab.service._settings.limits import Limits
from tests.support.runnerparts import Ticket, WebStorage, WrittenRows, order, tar_of

TOKEN = "planted-depot-token-0123456789"
GIT = GitContext("github.com", "acme", "shop", "main")
FAR = Depot(url="https://depot.invalid", token=TOKEN)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = open_database(tmp_path / "service.sqlite3")
    yield found
    found.close()


@pytest.fixture
def storage(tmp_path: Path) -> WebStorage:
    made = WebStorage(tmp_path / "contexts", "http://127.0.0.1:9")
    made.put("shop/1.tar.gz", tar_of({"Dockerfile": "FROM scratch\n"}))
    return made


def run(
    work: Callable[[Runner], Coroutine[Any, Any, Any]],
    storage: WebStorage,
    database: Database,
    depot: Depot = FAR,
    **more: Any,
) -> Any:
    async def main() -> Any:
        runner = Runner(
            depot, None, storage, database=database, writer=None, limits=Limits(), **more
        )
        try:
            return await work(runner)
        finally:
            await runner.close()
            await runner.close()

    return asyncio.run(main())


def build(journal: Ticket, **more: Any) -> Callable[[Runner], Coroutine[Any, Any, Outcome]]:
    return lambda runner: runner.run(order(**more), Secrets(), journal)


@pytest.mark.parametrize("is_transient", [True, False], ids=["for now", "for good"])
def test_a_store_that_is_down_is_no_fault_of_the_customer(
    storage: WebStorage, database: Database, is_transient: bool
) -> None:
    storage.fails = StorageError("The store does not answer.", is_transient=is_transient)
    journal = Ticket()
    ended = run(build(journal), storage, database)
    assert isinstance(ended, Failed), ended
    assert (ended.error.category, ended.is_transient) == ("storage", is_transient)
    assert journal.stages == ["context"]


def test_what_was_not_uploaded_is_refused_before_depot_is_asked(
    storage: WebStorage, database: Database
) -> None:
    ended = run(build(Ticket(), project="other"), storage, database)
    assert isinstance(ended, Failed), ended
    assert (ended.error.category, ended.is_transient) == ("context", False)


def test_a_store_on_this_computer_is_none_for_machines_elsewhere(
    storage: WebStorage, database: Database
) -> None:
    database.change("INSERT INTO projects VALUES ('shop', '', 'krt0wtn195', 0, 0)")
    ended = run(build(Ticket()), storage, database)
    assert isinstance(ended, Failed), ended
    assert (ended.error.category, ended.is_transient) == ("storage", False)
    assert "cannot reach the store" in ended.error.raw + ended.error.message


def test_rules_of_the_platform_come_first(storage: WebStorage, database: Database) -> None:
    storage.fails = StorageError("The store does not answer.", is_transient=False)
    rule = Rule("ours", ("does not answer",), "Call us.")
    ended = run(build(Ticket()), storage, database, error_rules=[rule])
    assert (ended.error.category, ended.error.message) == ("ours", "Call us.")


def _refuses(_: GitContext) -> str:
    raise ConnectionError(f"token={TOKEN}")


async def _refuses_later(_: GitContext) -> str:
    return _refuses(GIT)


def _returns_nothing(_: GitContext) -> Any:
    return None


@pytest.mark.parametrize(
    "git_tokens",
    [
        pytest.param(_refuses, id="a function that raises"),
        pytest.param(_refuses_later, id="a coroutine function that raises"),
        pytest.param(lambda context: _refuses_later(context), id="what it returns raises"),
        pytest.param(_returns_nothing, id="no text"),
    ],
)
def test_a_token_that_cannot_be_had_now_may_be_had_later(
    storage: WebStorage, database: Database, git_tokens: Any
) -> None:
    ended = run(build(Ticket(), context=GIT), storage, database, git_tokens=git_tokens)
    assert isinstance(ended, Failed), ended
    assert (ended.error.category, ended.is_transient) == ("git_access", True)
    assert TOKEN not in str(ended)


def test_no_token_is_asked_for_where_none_is_wanted(
    storage: WebStorage, database: Database
) -> None:
    asked: list[GitContext] = []

    async def work(runner: Runner) -> list[str]:
        public = GitContext("github.com", "acme", "shop", "main", is_public=True)
        given = Secrets(git_token="mine")
        return [
            await runner._git_token(public, Secrets()),
            await runner._git_token(GIT, given),
            await runner._git_token(GIT, Secrets()),
        ]

    tokens = lambda context: asked.append(context) or "theirs"  # noqa: E731
    assert run(work, storage, database, git_tokens=tokens) == ["", "mine", "theirs"]
    assert asked == [GIT]


def test_a_runner_that_finds_no_token_says_so_when_it_is_opened(
    storage: WebStorage, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("DEPOT_TOKEN", "DEPOT_API_TOKEN", "DEPOT_JIT_TOKEN", "DEPOT_CACHE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(NoToken):
        run(lambda runner: runner.open(), storage, database, depot=Depot())


# ----------------------------------------------------------------------------------------- hearing

STEP = [VertexUpdated("a", "RUN make", started_ns=1), LogWritten("a", 2, 1, b"one\ntw")]


def test_lines_go_on_as_they_come_and_steps_at_the_end() -> None:
    journal, rows = Ticket(first=5), WrittenRows()
    hearing = Hearing(order(), journal, rows, Mask())  # type: ignore[arg-type]  # it only gives rows
    hearing.feed(iter(STEP))
    assert journal.texts == ["one"]
    assert [(row.line, row.message) for row in rows.logs] == [(5, "one")]
    assert rows.steps == []
    hearing.feed([VertexUpdated("a", started_ns=1, completed_ns=3)])
    hearing.end()
    hearing.end()
    assert journal.texts == ["one", "tw"]
    assert [row.line for row in rows.logs] == [5, 6]
    assert [row.step_id for row in rows.steps] == ["a"]
    assert hearing.snapshot(at_ns=9).steps[0].name == "RUN make"
    hearing.close()


def test_a_journal_that_fails_does_not_break_the_feed_and_is_not_forgotten() -> None:
    class Full(Ticket):
        def lines(self, lines: Any) -> int:
            raise OSError("no space left")

    rows = WrittenRows()
    hearing = Hearing(order(), Full(), rows, Mask())  # type: ignore[arg-type]  # it only gives rows
    hearing.feed(STEP)
    hearing.feed(STEP)
    hearing.end()
    assert isinstance(hearing.trouble, OSError)
    assert rows.rows == []
    hearing.close()
