"""Examples in public docstrings that need a builder, or Depot, run on real ones; their neighbours run as doctests."""

from __future__ import annotations

import ast
import asyncio
import doctest
import gc
import importlib
import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

import depotlab as dl
from depotlab import aio, export, llb, mount, telemetry
from depotlab._local import engine_dir
from depotlab._plane import PlaneLease, lease_plane
from depotlab.service import BuildService, Depot
from docs.site import public
from tests.support.certificates import Authority

PROGRAMS = engine_dir()
PREPARE = """
base = llb.image("busybox").mkfile("/etc/os-release", "NAME=x").mkfile("/etc/hostname", "x")
app = base.run("mkdir -p /app /usr/lib; touch /app/main.py /model.bin", name="pip install")
first = bk.build(app, progress="quiet")
result = second = bk.build(app.run("true"), progress="quiet")
with dl.depot() as depot:
    r = depot.build(dl.dockerfile("api"), save="v1", progress="quiet")
"""

OPENS = re.compile(r"\b(?:dl|aio)\.")
ELSEWHERE = {
    # Nobody listens at the address of the example.
    "depotlab.connect": ("tests/protocol/rpc/test_dial.py", "TLS(ca=folder"),
    "depotlab.service.RemoteBuildService": (
        "tests/protocol/service/http/test_server.py",
        "RemoteBuildService(server.url",
    ),
}


def documented() -> Iterator[tuple[str, object]]:
    for name in public.modules():
        yield name, importlib.import_module(name)
    for each in public.Index().everything():
        yield each.path, each.value
        if inspect.isclass(each.value):
            for member in public.members(each.value):
                yield f"{each.path}.{member.name}", public.function_of(member.value)


def examples() -> Iterator[Any]:
    """The examples that doctest leaves out, by what they belong to; the same text is run once."""
    seen = set()
    for path, value in documented():
        found = doctest.DocTestParser().get_examples(inspect.getdoc(value) or "")
        source = "".join(each.source for each in found)
        skipped = any(doctest.SKIP in each.options for each in found)
        if skipped and source not in seen and path not in ELSEWHERE:
            seen.add(source)
            yield pytest.param(source, id=path)


@contextmanager
def service_of_reader(plane: PlaneLease, folder: Path) -> Iterator[dict[str, Any]]:
    """What a reader of a docstring of `depotlab.service` or `.telemetry` has: a service and a build of it."""
    here = Depot(local=plane.state)
    with BuildService(depot=here, telemetry="builds.duckdb", state=folder) as service:
        context = service.upload("shop", {"Dockerfile": "FROM busybox\nRUN echo hello\n"})
        build = service.build(context, project="shop", deployment="d0").check()
        yield {"service": service, "build": build, "t": service.telemetry, "Depot": Depot}


@pytest.fixture(scope="module")
def names(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What a reader of a docstring has: the modules, a client, an application, two results, a Depot and a service."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("api", "web", "app"):
        (folder / name).mkdir()
        (folder / name / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    (folder / "Dockerfile").write_text("FROM busybox\nRUN true\n")
    (folder / "wheels").mkdir()
    (folder / ".npmrc").write_text("//registry.example.com/:_authToken=s3cret")
    Authority().write(folder / ".config" / "buildkit", "reader")
    lease = lease_plane(tmp_path_factory.mktemp("plane"))
    with pytest.MonkeyPatch.context() as patch, dl.connect(engine.address) as bk:
        patch.chdir(folder)
        patch.setenv("DEPOTLAB_STATE", str(engine.state_dir))
        patch.setenv("DEPOTLAB_UI", "off")
        patch.setenv("DOCKER_CONFIG", str(folder))
        patch.setenv("DEPOTLAB_ENGINE_DIR", str(PROGRAMS))  # the machines of the Depot need them
        patch.setenv("HOME", str(folder))
        patch.setenv("TOKEN", "s3cret")
        patch.setenv("BUILDKIT_HOST", engine.address)
        patch.setenv("DEPOT_API_URL", lease.url)
        patch.setenv("DEPOT_TOKEN", lease.token)
        patch.setenv("DEPOT_PROJECT_ID", lease.project)
        made: dict[str, Any] = vars(dl) | {"dl": dl, "depotlab": dl, "aio": aio, "bk": bk}
        made |= {"llb": llb, "mount": mount, "export": export, "folder": folder, "Path": Path}
        made |= {"BuildService": BuildService, "telemetry": telemetry}
        exec(PREPARE, made)
        with service_of_reader(lease, folder / "service") as more:
            yield made | more
    lease.close()


def left_open(*kinds: type) -> list[Any]:
    """What examples have opened and not closed, as cells do; a process's exit would close it."""
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, kinds)]


@pytest.mark.parametrize("source", list(examples()))
def test_an_example_of_the_reference_runs(source: str, names: dict[str, Any]) -> None:
    here: dict[str, Any] = dict(names)
    code = compile(source, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        here |= {name: getattr(aio, name) for name in aio.__all__}
        asyncio.run(awaited(source, code, here))
    else:
        exec(code, here)
    if OPENS.search(source):
        for each in left_open(dl.Client, dl.DepotApi):
            if each is not names["bk"]:
                each.close()


async def awaited(source: str, code: CodeType, here: dict[str, Any]) -> None:
    async with (
        await aio.connect(here["bk"].address) as here["bk"],
        await aio.depot_api() as here["api"],
    ):
        await eval(code, here)
    for each in left_open(aio.Client, aio.DepotApi) if OPENS.search(source) else ():
        await each.close()


def test_what_cannot_run_here_runs_in_another_test() -> None:
    root = Path(public.__file__).parents[2]
    assert set(ELSEWHERE) <= {path for path, _ in documented()}
    for test, text in ELSEWHERE.values():
        assert text in (root / test).read_text()
