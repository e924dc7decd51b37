"""One build at a real Depot on this computer: what it leaves there, in its journal and in its rows; how it fails."""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import json
import os
import signal
import tarfile
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from depotlab._depot import Api
from depotlab._plane import PlaneLease
from depotlab._rpc import Channel
from depotlab._serving import Database
from depotlab._session import Session
from depotlab.progress import Fold
from depotlab.service._boundary import (
    Canceled,
    ContextFacts,
    Failed,
    GitContext,
    Outcome,
    Secrets,
    Succeeded,
)
from depotlab.service._core.tables import open_database
from depotlab.service._run.runner import Runner
from depotlab.service._settings.depot import Depot
from depotlab.service._settings.limits import Limits
from depotlab.service._settings.registry import Registry
from tests.support.guarded import GuardedServer
from tests.support.machinery import daemon_pid
from tests.support.processes import wait_until
from tests.support.registry import private_registry
from tests.support.runnerparts import (
    SIGNATURE,
    Ticket,
    WebStorage,
    WrittenRows,
    order,
    tar_of,
    when,
)

DOCKERFILE = """FROM busybox
ARG GREETING
COPY word /word
RUN echo $GREETING >&2
RUN cat /word && seq 1000 && printf unfinished
"""


class Bench:
    """A runner with all that it needs, one for each test.

    Attributes:
        storage: Where contexts are.
        rows: What telemetry got.
        journal: Of the last build.
        database: The service's file.
        limits: Of the runner.
        depot: Of the runner.
    """

    def __init__(self, plane: PlaneLease, storage: WebStorage, database: Database) -> None:
        self.plane = plane
        self.storage = storage
        self.rows = WrittenRows()
        self.journal = Ticket()
        self.depot = Depot(local=plane.state)
        self.limits = Limits()
        self.database = database

    def run(
        self,
        work: Callable[[Runner], Coroutine[Any, Any, Any]],
        registry: Registry | None = None,
        **more: Any,
    ) -> Any:
        """Run `work` with a runner."""

        async def main() -> Any:
            runner = Runner(
                self.depot,
                registry,
                self.storage,
                database=self.database,
                writer=self.rows,  # type: ignore[arg-type]  # of a writer it is only given rows
                limits=self.limits,
                **more,
            )
            try:
                return await work(runner)
            finally:
                await runner.close()

        return asyncio.run(main())

    def build(
        self,
        files: dict[str, str] | None = None,
        *,
        registry: Registry | None = None,
        secrets: Secrets | None = None,
        **more: Any,
    ) -> Outcome:
        """Make one try of a build of these files."""
        asked = order(**more)
        if files is not None:
            self.storage.put(f"{asked.project}/1.tar.gz", tar_of(files))
        self.journal = Ticket()
        return self.run(
            lambda runner: runner.run(asked, secrets or Secrets(), self.journal), registry
        )

    def ask(self, question: Callable[[Api], Coroutine[Any, Any, Any]]) -> Any:
        """Ask the API of that Depot."""

        async def work(runner: Runner) -> Any:
            return await question((await runner._depot_api()).api)

        return self.run(work)

    def status(self) -> str:
        """What Depot says that the last build came to."""
        return self.ask(lambda api: api.builds.get(self.journal.facts["build_id"])).status


@pytest.fixture
def bench(service_plane: PlaneLease, http_folder: Any, tmp_path: Path) -> Iterator[Bench]:
    database = open_database(tmp_path / "service.sqlite3")
    yield Bench(service_plane, WebStorage(http_folder.path, http_folder.url), database)
    database.close()


def test_a_build_is_pushed_finished_and_told_whole(bench: Bench) -> None:
    made = bench.build(
        {"Dockerfile": DOCKERFILE, "word": "a word\n"},
        args={"GREETING": "hello"},
        labels={"of": "shop"},
        workspace="acme",
    )
    assert isinstance(made, Succeeded), made
    facts = bench.journal.facts
    assert made.image == f"{bench.plane.registry}/{facts['project_id']}:shop-d1"
    manifest = _manifest(bench.plane, made.image)
    assert made.digest == f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    assert b"application/vnd.oci.image" in manifest
    assert bench.status() == "success"
    assert bench.journal.stages == ["context", "project", "machine", "solve", "drain", "finish"]

    texts = bench.journal.texts
    assert {"a word", "hello", "1000", "unfinished"} <= set(texts)
    assert len(texts) == 1003
    assert [row.message for row in bench.rows.logs] == texts
    assert [row.line for row in bench.rows.logs] == list(range(1003))
    assert {row.stream for row in bench.rows.logs if row.message == "hello"} == {2}
    # Depot hears of them on a way of its own, which may take longer than ours.
    wait_until(
        lambda: _counted_by_depot(bench) == _counted(bench),
        timeout_s=30,
        what="the same steps and lines",
    )
    assert made.total_steps == len(bench.rows.steps)
    assert {
        (r.workspace_id, r.project_id, r.deployment_id, r.build_id) for r in bench.rows.rows
    } == {("acme", "shop", "d1", "b1")}
    told = f"{bench.rows.rows}{bench.journal.kept}{bench.ask(_steps_of(facts))}"
    assert SIGNATURE not in told
    assert bench.storage.url not in told
    assert "[internal] load uploaded context" in told


def test_a_command_that_fails_is_final_and_no_success_at_depot(bench: Bench) -> None:
    ended = bench.build({"Dockerfile": "FROM busybox\nRUN echo no >&2; exit 3\n"})
    assert isinstance(ended, Failed), ended
    assert (ended.error.category, ended.is_transient) == ("command_failed", False)
    assert bench.journal.texts == ["no"]
    assert any("exit code: 3" in row.error for row in bench.rows.steps)
    assert bench.status() == "failed"


def test_what_no_step_prints_is_the_end_of_the_log(bench: Bench) -> None:
    ended = bench.build({"Dockerfile": "FROM busybox\nEXPOSE abc\n"})
    assert isinstance(ended, Failed), ended
    assert "log names what is wrong" in ended.error.message
    assert bench.journal.texts == ["invalid containerPort: abc (Dockerfile, line 2)"]
    assert bench.rows.logs == []


def test_a_download_of_the_dockerfile_is_not_the_uploaded_source(bench: Bench) -> None:
    text = f"FROM busybox\nADD {bench.storage.url}/none /x\n"
    ended = bench.build({"Dockerfile": text})
    assert isinstance(ended, Failed), ended
    assert ended.error.category == "download"
    assert "404" in bench.journal.texts[-1]


def test_a_missing_dockerfile_is_named_and_a_path_is_never_one_of_this_computer(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\n")
    ended = bench.build({"word": "w"}, dockerfile_path=str(tmp_path / "Dockerfile"))
    assert isinstance(ended, Failed), ended
    assert (ended.error.category, ended.is_transient) == ("dockerfile_path", False)


def test_an_archive_that_is_gone_when_the_machine_asks_is_told_without_its_address(
    bench: Bench,
) -> None:
    class Vanishing(WebStorage):
        async def download_url(self, key: str, *, expires_s: int) -> str:
            await self.delete(key)
            return await super().download_url(key, expires_s=expires_s)

    bench.storage = Vanishing(bench.storage.folder, bench.storage.url)
    ended = bench.build({"Dockerfile": "FROM busybox\n"})
    assert isinstance(ended, Failed), ended
    assert ended.error.category == "context"
    assert "404" in ended.error.raw
    assert SIGNATURE not in f"{ended}{bench.rows.rows}"


def test_an_archive_that_is_replaced_after_the_check_is_not_built(bench: Bench) -> None:
    class Replaced(WebStorage):
        async def check(self, key: str, **limits: int) -> ContextFacts:
            digest = hashlib.sha256((self.folder / key).read_bytes()).hexdigest()
            return replace(await super().check(key, **limits), digest=f"sha256:{digest}")

        async def download_url(self, key: str, *, expires_s: int) -> str:
            self.put(key, tar_of({"Dockerfile": "FROM busybox\nRUN echo bad\n"}))
            return await super().download_url(key, expires_s=expires_s)

    bench.storage = Replaced(bench.storage.folder, bench.storage.url)
    ended = bench.build({"Dockerfile": "FROM busybox\nRUN echo good\n"})
    assert isinstance(ended, Failed), ended
    assert (ended.error.category, ended.is_transient) == ("context", False)
    assert bench.journal.texts == []
    assert SIGNATURE not in f"{ended}{bench.rows.rows}"


def test_an_archive_that_cannot_be_unpacked_is_not_a_missing_dockerfile(bench: Bench) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.LNKTYPE, "nowhere"
    files = tar_of({"Dockerfile": "FROM busybox\n"}).rstrip(b"\0")
    bench.storage.put(
        "shop/1.tar.gz", files + bytes(-len(files) % 512) + link.tobuf() + bytes(1024)
    )
    ended = bench.build()
    assert isinstance(ended, Failed), ended
    assert (ended.error.category, ended.is_transient) == ("context_archive", False)
    assert "nowhere" in bench.journal.texts[-1]


def test_a_context_that_is_refused_asks_for_no_machine(bench: Bench) -> None:
    ended = bench.build()
    assert isinstance(ended, Failed), ended
    assert (ended.error.category, ended.is_transient) == ("context", False)
    assert bench.journal.stages == ["context"]
    assert bench.journal.facts == {}


def test_cancelling_reaches_the_machine_and_depot(bench: Bench) -> None:
    bench.storage.put(
        "shop/1.tar.gz", tar_of({"Dockerfile": "FROM busybox\nRUN echo on; sleep 300\n"})
    )

    async def work(runner: Runner) -> None:
        building = asyncio.create_task(runner.run(order(), Secrets(), bench.journal))
        await when(lambda: bench.journal.kept or building.done())
        building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building

    bench.run(work)
    assert bench.status() == "canceled"
    assert any(row.error.endswith("context canceled") for row in bench.rows.steps)
    assert bench.journal.stages[-2:] == ["drain", "finish"]


def test_cancelling_while_a_machine_is_waited_for_is_told_to_depot(bench: Bench) -> None:
    bench.storage.put("shop/1.tar.gz", tar_of({"Dockerfile": "FROM busybox\nRUN sleep 304\n"}))

    async def work(runner: Runner) -> None:
        building = asyncio.create_task(runner.run(order(), Secrets(), bench.journal))
        await when(lambda: bench.journal.facts.get("build_id") or building.done())
        building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building

    bench.run(work)
    assert bench.status() == "canceled"
    assert bench.journal.stages[-1] == "finish"


def test_what_is_cancelled_at_depot_is_canceled_and_not_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Depot is heard when it answers to a sign of life.
    monkeypatch.setattr("depotlab._depot.health.INTERVAL_S", 0.2)
    bench.storage.put(
        "shop/1.tar.gz", tar_of({"Dockerfile": "FROM busybox\nRUN echo on; sleep 301\n"})
    )

    async def work(runner: Runner) -> Outcome:
        building = asyncio.create_task(runner.run(order(), Secrets(), bench.journal))
        await when(lambda: bench.journal.kept or building.done())
        await asyncio.to_thread(_cancel_on_the_page, bench.plane, bench.journal.facts["build_id"])
        return await building

    ended = bench.run(work)
    assert isinstance(ended, Canceled), ended
    assert ended.why


def test_a_build_that_takes_too_long_is_stopped_for_good(bench: Bench) -> None:
    bench.limits = Limits(build_timeout_s=5)
    ended = bench.build({"Dockerfile": "FROM busybox\nRUN echo on; sleep 303\n"})
    assert isinstance(ended, Failed), ended
    assert (ended.error.category, ended.is_transient) == ("timeout", False)
    assert bench.status() == "canceled"


def test_a_machine_that_dies_is_worth_another_try(bench: Bench) -> None:
    bench.storage.put(
        "shop/1.tar.gz", tar_of({"Dockerfile": "FROM busybox\nRUN echo on; sleep 302\n"})
    )

    async def work(runner: Runner) -> Outcome:
        building = asyncio.create_task(runner.run(order(), Secrets(), bench.journal))
        await when(lambda: bench.journal.kept or building.done())
        pid = daemon_pid(bench.plane.state / "machines", bench.journal.facts["project_id"])
        os.kill(pid, signal.SIGKILL)
        return await building

    ended = bench.run(work)
    assert isinstance(ended, Failed), ended
    assert (ended.error.category, ended.is_transient) == ("machine_lost", True)
    assert bench.journal.texts == ["on"]
    assert [row for row in bench.rows.steps if row.error]
    again = bench.build({"Dockerfile": "FROM busybox\nRUN echo again\n"})
    assert isinstance(again, Succeeded), again


def test_two_first_builds_at_once_have_one_project_and_one_machine(bench: Bench) -> None:
    # As one reaches a Depot elsewhere.
    bench.depot = Depot(url=bench.plane.url, token=bench.plane.token)
    bench.storage.put("pair/1.tar.gz", tar_of({"Dockerfile": "FROM busybox\nRUN echo one\n"}))
    tickets = [Ticket(), Ticket()]

    async def work(runner: Runner) -> list[Outcome]:
        return await asyncio.gather(
            *(
                runner.run(order("pair", f"d{n}", build_id=f"b{n}"), Secrets(), ticket)
                for n, ticket in enumerate(tickets)
            )
        )

    ended = bench.run(work)
    assert all(isinstance(one, Succeeded) for one in ended), ended
    assert len({ticket.facts["project_id"] for ticket in tickets}) == 1
    assert len({ticket.facts["build_id"] for ticket in tickets}) == 2
    names = [p.name for p in bench.ask(_projects) if p.name == "depotlab-pair"]
    assert names == ["depotlab-pair"]


def test_a_project_that_depot_does_not_know_any_more_is_made_anew(bench: Bench) -> None:
    bench.database.change("INSERT INTO projects VALUES ('shop', '', 'gone012345', 0, 0)")
    made = bench.build({"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
    assert isinstance(made, Succeeded), made
    assert bench.journal.facts["project_id"] not in ("", "gone012345")
    assert bench.journal.stages.count("project") == 2


def test_a_changed_environment_runs_only_the_step_that_mounts_it(bench: Bench) -> None:
    text = (
        f"FROM busybox AS base\nRUN echo plain {time.time_ns()}\n"
        "FROM base\nARG ENV_HASH\n"
        "RUN --mount=type=secret,id=env-$ENV_HASH,target=/run/env . /run/env && echo saw $COLOR of $TOKEN\n"
    )

    def seen(color: str) -> tuple[list[str], dict[str, bool]]:
        bench.rows.rows.clear()
        secrets = Secrets(env={"COLOR": color, "TOKEN": "planted-value-of-env"})
        made = bench.build({"Dockerfile": text}, secrets=secrets)
        assert isinstance(made, Succeeded), made
        cached = {
            r.name.partition("RUN ")[2][:6]: r.cached for r in bench.rows.steps if "RUN " in r.name
        }
        return bench.journal.texts, cached

    printed, cached = seen("red")
    assert printed[1:] == ["saw red of •••"]
    assert cached == {"echo p": False, "--moun": False}
    assert seen("blue") == (["saw blue of •••"], {"echo p": True, "--moun": False})
    assert seen("blue") == ([], {"echo p": True, "--moun": True})
    assert "planted-value-of-env" not in str(bench.rows.rows)


def test_a_repository_is_fetched_with_the_token_for_its_host(bench: Bench, tmp_path: Path) -> None:
    token = "planted-git-token-0123456789"
    folder = tmp_path / "git"
    folder.mkdir()
    with GuardedServer(folder) as server:
        login = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        server.accepts.add(f"basic {login}")
        (folder / "acme").symlink_to(folder)
        context = GitContext(server.host, "acme", "repo", "main")
        asked = {"context": context, "dockerfile_path": "README"}
        # Its only file is no Dockerfile: what is wrong with it is known to who has read it.
        given = bench.build(**asked, secrets=Secrets(git_token=token))
        assert isinstance(given, Failed), given
        assert given.error.category == "dockerfile_syntax"
        without = bench.build(**asked, build_id="b2")
        assert isinstance(without, Failed), without
        assert without.error.category == "git_access"

        async def ask_for(found: GitContext) -> str:
            return token if found == context else ""

        work = lambda runner: runner.run(order(**asked), Secrets(), Ticket())  # noqa: E731
        fetched = bench.run(work, git_tokens=ask_for)
        assert fetched.error.category == "dockerfile_syntax"
    assert token not in f"{given}{without}{fetched}{bench.rows.rows}"


def test_a_registry_of_the_platform_gets_the_image_with_its_login(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = "planted-registry-password"
    with private_registry(user="me", password=password) as host:
        registry = Registry(f"{host}/apps/{{project}}", user="me", password=password, insecure=True)
        made = bench.build({"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"}, registry=registry)
        assert isinstance(made, Succeeded), made
        assert made.image == f"{host}/apps/shop:shop-d1"
        # What the operator may pull by the Docker configuration is not for customers.
        config = {"auths": {host: {"auth": base64.b64encode(f"me:{password}".encode()).decode()}}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        stolen = bench.build({"Dockerfile": f"FROM {made.image}\n"})
    assert isinstance(stolen, Failed), stolen
    assert password not in f"{made}{stolen}{bench.rows.rows}{registry}"


def test_many_builds_leave_nothing_behind(bench: Bench) -> None:
    bench.storage.put("shop/1.tar.gz", tar_of({"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"}))

    async def work(runner: Runner) -> list[Outcome]:
        async def several(n: int) -> list[Outcome]:
            return [
                await runner.run(
                    order("shop", f"d{n}-{m}", build_id=f"b{n}-{m}"), Secrets(), Ticket()
                )
                for m in range(10)
            ]

        await runner.run(order(), Secrets(), Ticket())
        before = _left()
        ended = await asyncio.gather(*map(several, range(3)))
        # A timer may hold the last one for a moment.
        await when(lambda: all(n <= before[what] for what, n in _left().items()))
        return [one for each in ended for one in each]

    ended = bench.run(work)
    assert len(ended) == 30
    assert all(isinstance(one, Succeeded) for one in ended)


def _left() -> dict[str, int]:
    """What a build has and must let go, as this process has it now."""
    gc.collect()
    everything = gc.get_objects()
    return {
        "sessions": sum(type(one) is Session for one in everything),
        "channels": sum(type(one) is Channel for one in everything),
        "folds": sum(isinstance(one, Fold) for one in everything),
        "tasks": len(asyncio.all_tasks()),
    }


def _steps_of(facts: dict[str, str]) -> Callable[[Api], Coroutine[Any, Any, Any]]:
    async def ask(api: Api) -> list[str]:
        steps = await api.builds.steps(facts["project_id"], facts["build_id"])
        logs = await api.builds.logs(facts["project_id"], facts["build_id"])
        return [*(step.name + step.error for step in steps), *(log.message for log in logs)]

    return ask


def _counted(bench: Bench) -> tuple[set[str], dict[str, list[str]]]:
    """Our steps, and the lines of each."""
    lines: dict[str, list[str]] = {}
    for row in bench.rows.logs:
        lines.setdefault(row.step_id, []).append(row.message)
    return {row.step_id for row in bench.rows.steps}, lines


def _counted_by_depot(bench: Bench) -> tuple[set[str], dict[str, list[str]]]:
    """The same as the machine's daemon told it to Depot, on a way of its own.

    It does not say which stream a piece is of, so a step that is counted writes to one of them only.
    """
    facts = bench.journal.facts

    async def ask(api: Api) -> tuple[set[str], dict[str, list[str]]]:
        steps = await api.builds.steps(facts["project_id"], facts["build_id"])
        text: dict[str, str] = {}
        for log in await api.builds.logs(facts["project_id"], facts["build_id"]):
            text[log.digest] = text.get(log.digest, "") + log.message
        theirs = {step.digest for step in steps if not step.name.startswith("[depot] ")}
        return theirs, {digest: said.splitlines() for digest, said in text.items()}

    return bench.ask(ask)


async def _projects(api: Api) -> list[Any]:
    return [project async for project in api.projects.list()]


def _manifest(plane: PlaneLease, image: str) -> bytes:
    repository, _, tag = image.rpartition(":")
    login = base64.b64encode(f"x-token:{plane.token}".encode()).decode()
    request = urllib.request.Request(
        f"http://{plane.registry}/v2/{repository.partition('/')[2]}/manifests/{tag}",
        headers={
            "Authorization": f"Basic {login}",
            "Accept": "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json",
        },
    )
    with urllib.request.urlopen(request, timeout=100) as answer:
        return answer.read()


def _cancel_on_the_page(plane: PlaneLease, build_id: str) -> None:
    request = urllib.request.Request(
        f"{plane.url}/page/cancel",
        data=json.dumps({"build_id": build_id}).encode(),
        headers={"X-Depotlab-Page": "1", "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=100).close()
