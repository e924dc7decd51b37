"""One Depot project for each of the customers' projects, whoever asks first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from depotlab._depot import Api, Connect, Project, Unavailable
from depotlab._serving import Database
from depotlab.service._core.tables import open_database
from depotlab.service._run.projects import Projects, find_or_make
from depotlab.service._settings.depot import Depot
from tests.support.planeparts import plane
from tests.support.virtualtime import run_jumping


@contextmanager
def opened(folder: Path, **clock) -> Iterator[Database]:
    """The service's file, as one process has it open."""
    database = open_database(folder / "service.sqlite3", **clock)
    try:
        yield database
    finally:
        database.close()


class Maker:
    """Makes projects when the test lets it.

    Attributes:
        n_made: How many.
        may: Set to let it.
    """

    def __init__(self, name: str = "p", *, at_once: bool = True) -> None:
        self.n_made = 0
        self.may = asyncio.Event()
        self._name = name
        if at_once:
            self.may.set()

    async def __call__(self) -> str:
        await self.may.wait()
        self.n_made += 1
        return f"{self._name}{self.n_made}"


def test_the_first_builds_of_a_project_make_one(tmp_path: Path) -> None:
    async def main(projects: Projects) -> None:
        make = Maker(at_once=False)
        asked = [asyncio.ensure_future(projects.depot_project("a", "w", make)) for _ in range(8)]
        await asyncio.sleep(0)
        make.may.set()
        assert set(await asyncio.gather(*asked)) == {"p1"}
        assert await projects.depot_project("a", "w", make) == "p1"
        assert await projects.depot_project("b", "w", make) == "p2"
        assert make.n_made == 2

    with opened(tmp_path) as database:
        asyncio.run(main(Projects(database)))
        (a, b) = database.rows("SELECT * FROM projects ORDER BY project")
        assert (a["project"], a["workspace"], a["depot_project_id"]) == ("a", "w", "p1")
        assert b["depot_project_id"] == "p2"


def test_two_processes_that_share_the_file_make_one(tmp_path: Path) -> None:
    async def main(here: Projects, there: Projects) -> None:
        ours, theirs = Maker("ours", at_once=False), Maker("theirs")
        first = asyncio.ensure_future(here.depot_project("a", "", ours))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(there.depot_project("a", "", theirs))
        await asyncio.sleep(1)
        assert not second.done()
        ours.may.set()
        assert await first == await second == "ours1"
        assert theirs.n_made == 0

    with opened(tmp_path) as one, opened(tmp_path) as other:
        run_jumping(main(Projects(one), Projects(other)))


def test_the_claim_of_a_process_that_died_ends(tmp_path: Path) -> None:
    ahead_s = 0.0

    def now_ns() -> int:
        return round((1_700_000_000 + ahead_s) * 1e9)

    async def main(dead: Projects, alive: Projects) -> None:
        nonlocal ahead_s
        never = asyncio.ensure_future(dead.depot_project("a", "", Maker(at_once=False)))
        await asyncio.sleep(0)
        waiting = asyncio.ensure_future(alive.depot_project("a", "", Maker("alive")))
        await asyncio.sleep(1)
        assert not waiting.done()
        ahead_s = 61.0
        assert await waiting == "alive1"
        never.cancel()
        await dead.close()
        assert await alive.depot_project("a", "", Maker("again")) == "alive1"

    with opened(tmp_path, now_ns=now_ns) as one, opened(tmp_path, now_ns=now_ns) as other:
        run_jumping(main(Projects(one), Projects(other)))


def test_what_fails_is_told_to_all_who_wait_and_tried_by_the_next(tmp_path: Path) -> None:
    async def refuse() -> str:
        await asyncio.sleep(0)
        raise Unavailable("down", code="unavailable")

    async def main(projects: Projects) -> None:
        asked = [projects.depot_project("a", "", refuse) for _ in range(2)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(error) for error in found] == [Unavailable, Unavailable]
        assert await projects.depot_project("a", "", Maker()) == "p1"

    with opened(tmp_path) as database:
        asyncio.run(main(Projects(database)))


def test_a_build_that_is_cancelled_does_not_take_the_project_of_others_away(tmp_path: Path) -> None:
    async def main(projects: Projects) -> None:
        make = Maker(at_once=False)
        first = asyncio.ensure_future(projects.depot_project("a", "", make))
        second = asyncio.ensure_future(projects.depot_project("a", "", make))
        await asyncio.sleep(0)
        first.cancel()
        make.may.set()
        assert await second == "p1"
        assert first.cancelled()

    with opened(tmp_path) as database:
        asyncio.run(main(Projects(database)))


def test_a_project_that_depot_does_not_answer_for_is_given_up_in_time(tmp_path: Path) -> None:
    async def main(projects: Projects) -> None:
        with pytest.raises(TimeoutError, match="within 45 s"):
            await projects.depot_project("a", "", Maker(at_once=False))
        assert await projects.depot_project("a", "", Maker()) == "p1"

    with opened(tmp_path) as database:
        run_jumping(main(Projects(database)))


def test_a_project_that_was_deleted_at_depot_is_made_anew(tmp_path: Path) -> None:
    async def main(projects: Projects) -> None:
        make = Maker()
        assert await projects.depot_project("a", "", make) == "p1"
        projects.forget("a", "another")
        assert projects.known("a") == "p1"
        projects.forget("a", "p1")
        assert projects.known("a") == ""
        assert await projects.depot_project("a", "", make) == "p2"

    with opened(tmp_path) as database:
        asyncio.run(main(Projects(database)))


def test_closing_gives_up_what_is_being_made(tmp_path: Path) -> None:
    async def main(projects: Projects) -> None:
        asked = asyncio.ensure_future(projects.depot_project("a", "", Maker(at_once=False)))
        await asyncio.sleep(0)
        await projects.close()
        await projects.close()
        with pytest.raises(asyncio.CancelledError):
            await asked

    with opened(tmp_path) as database:
        asyncio.run(main(Projects(database)))


# ------------------------------------------------------------------------------------ at a real API


def at_a_plane(work) -> None:
    """Run `work(api)` with the API of a Depot whose machines are only remembered."""

    async def main() -> None:
        async with plane() as running:
            connect = Connect(running.url, token=running.environment["DEPOT_TOKEN"])
            try:
                await work(Api(connect))
            finally:
                connect.close()

    asyncio.run(main())


async def named(api: Api, name: str) -> list[str]:
    return [project.id async for project in api.projects.list() if project.name == name]


def test_a_new_project_has_the_name_the_region_and_the_cache_of_the_settings() -> None:
    depot = Depot(name_prefix="acme", region="eu-central-1", cache_gb=33, cache_days=3)

    async def work(api: Api) -> None:
        found = await api.projects.get(await find_or_make(api.projects, depot, "shop"))
        assert (found.name, found.region) == ("acme-shop", "eu-central-1")
        assert found.cache_policy == depot.cache_policy()

    at_a_plane(work)


def test_a_project_whose_maker_died_before_it_kept_the_id_is_found_by_its_name() -> None:
    async def work(api: Api) -> None:
        made = await api.projects.create("depotlab-shop")
        assert await find_or_make(api.projects, Depot(), "shop") == made.id
        assert len(await named(api, "depotlab-shop")) == 1

    at_a_plane(work)


class TwoOrganizations:
    """The projects that a user's token sees, of which those of one organization are meant."""

    def __init__(self) -> None:
        self.made = [Project("theirs", "depotlab-shop", organization_id="another")]

    async def list(self):
        for project in self.made:
            yield project

    async def create(self, name, **_):
        self.made.append(Project("new", name, organization_id="ours"))
        return self.made[-1]


def test_a_project_of_the_same_name_in_another_organization_is_not_taken() -> None:
    projects = TwoOrganizations()
    for _ in "12":
        found = find_or_make(projects, Depot(), "shop", organization_id="ours")
        assert asyncio.run(found) == "new"
    assert len(projects.made) == 2


def test_services_with_files_of_their_own_that_share_a_depot_end_with_one_project(
    tmp_path: Path,
) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()

    async def work(api: Api) -> None:
        make = partial(find_or_make, api.projects, Depot(), "shop")
        with opened(tmp_path / "one") as one, opened(tmp_path / "other") as other:
            services = [Projects(one), Projects(other)]
            found = await asyncio.gather(*(s.depot_project("shop", "", make) for s in services))
        assert [*set(found)] == await named(api, "depotlab-shop")

    at_a_plane(work)
