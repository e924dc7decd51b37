"""Every snippet in the README and the docs runs, on the real engine, block after block."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest

from depotlab import cli, errors
from tests.support.ipythons import ipython
from tests.support.pages import LANGUAGES, PAGES, ROOT, blocks, code_of, right_cells

MIGRATE = ROOT / "docs/migrate.md"
TOOLS = ["docker-py", "docker buildx", "Dagger", "Go's client/llb", "Dockerfile"]
DOCKERFILE = "FROM busybox\nARG WHO\nRUN echo $WHO > /who\n"
STAGES = (
    "FROM scratch AS files\nCOPY app.py /\nFROM busybox AS app\nARG WHO\nRUN echo $WHO > /who\n"
)

# Commands of other projects are run where those programs are: in these tests.
ELSEWHERE = {
    "jupyter lab": ("tests/support/lab.py", "jupyterlab"),
    "docker pull": ("tests/integration/depot/test_api.py", "docker_login"),
    "depot build": ("tests/integration/plane/test_up_real.py", '"build", "--save"'),
    "depot list": ("tests/integration/plane/test_official_cli.py", '"list", "builds"'),
    "curl ": ("tests/integration/service/test_flow.py", 'code_of(ROOT / "docs/service.md", "sh")'),
    "set -a;": ("tests/integration/depot/test_builds.py", '"--env-file"'),
}
# Commands of ours that need an account, a browser or a Docker Engine are read by our own parser here.
RUN_HERE = ("depotlab doctor", "depotlab engine install")


@pytest.fixture
def folder(engine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of a reader of ours, who has a Dockerfile and a program."""
    monkeypatch.setenv("DEPOTLAB_STATE", str(engine.state_dir))
    monkeypatch.setenv("DEPOTLAB_UI", "off")
    monkeypatch.setenv("DEPOTLAB_PLANE", str(tmp_path / "plane"))
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "app.py").write_text("print('hello')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [p for p in PAGES if code_of(p, "python")], ids=lambda p: p.name)
def test_the_snippets_of_a_page_run_from_top_to_bottom(page: Path, folder: Path) -> None:
    names: dict[str, Any] = {}
    run = {"python": run_block, "py": raise_block}
    try:
        for number, block in enumerate(blocks(page), 1):
            if block.language in run:
                run[block.language](block.code, f"{page.name} snippet {number}", names)
    finally:
        if hasattr(names.get("bk"), "close"):
            names["bk"].close()


def run_block(code: str, name: str, names: dict[str, Any]) -> None:
    exec(compile(code, name, "exec"), names)


def raise_block(code: str, name: str, names: dict[str, Any]) -> None:
    """Run what fails, and compare how with the comments: each line of them is part of the error's text."""
    told = [line.removeprefix("# ").strip() for line in code.splitlines() if line.startswith("#")]
    with pytest.raises(errors.DepotlabError) as caught:
        run_block(code, name, names)
    text = f"{type(caught.value).__name__}: {caught.value}"
    assert told
    for line in told:
        assert line in text


def test_the_ipython_cells_of_the_notebook_page_run(engine, monkeypatch):
    monkeypatch.setenv("DEPOTLAB_STATE", str(engine.state_dir))
    cells = code_of(ROOT / "docs/notebook.md", "ipython")
    assert len(cells) == 4
    with ipython() as shell:
        for number, cell in enumerate(cells):
            ran = shell.run_cell(cell)
            assert ran.success, cell
            if number == 0:
                shell.run_line_magic("builder", engine.address)
        assert {"llb", "greeting"} <= set(shell.user_ns)
        shell.run_line_magic("builder", "--close")


@pytest.fixture
def migrant(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the cells of the tables may use: the names of the page's first block, and the files that they read."""
    monkeypatch.setenv("NPM_TOKEN", "s3cret")
    (folder / "Dockerfile").write_text(STAGES)
    (folder / "prod.Dockerfile").write_text(STAGES)
    (folder / "token.txt").write_text("s3cret")
    (folder / "assets").mkdir()
    with tarfile.open(folder / "context.tar", "w") as tar:
        tar.add(folder / "Dockerfile", "Dockerfile")
        tar.add(folder / "app.py", "app.py")
    names: dict[str, Any] = {}
    for code in code_of(MIGRATE, "python"):
        run_block(code, "migrate.md", names)
    return names


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_written_here_instead_runs(
    tool: str, migrant: dict[str, Any], dockerd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", dockerd.host.address)
    cells = right_cells(MIGRATE, tool)
    assert len(cells) > 15
    bk = migrant["bk"]
    try:
        for cell in cells:
            run_block(cell.replace("\\|", "|"), f"{tool}: {cell}", migrant)
    finally:
        bk.close()
        if "engine" in migrant:
            migrant["engine"].close()


def test_every_table_of_the_migration_page_is_run() -> None:
    titles = re.findall(r"^## (.+)$", MIGRATE.read_text(), re.M)
    assert titles == TOOLS
    for title in titles:
        section = MIGRATE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
        rows = [line for line in section.splitlines() if line.startswith("| ")]
        assert len(right_cells(MIGRATE, title)) == len(rows) - 1, title


def test_every_block_of_the_docs_is_of_a_kind_that_a_test_looks_at() -> None:
    for page in PAGES:
        for block in blocks(page):
            assert block.language in LANGUAGES, f"{page.name}: {block.code[:60]!r}"


COMMANDS = [
    pytest.param(line, id=f"{page.name}: {line}")
    for page in PAGES
    for code in code_of(page, "sh")
    for line in (line.split("  #")[0].strip() for line in code.splitlines())
    if line and not line.startswith("#")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_docs_is_one(line: str, folder: Path) -> None:
    for start, (test, text) in ELSEWHERE.items():
        if line.startswith(start):
            assert text in (ROOT / test).read_text()
            return
    words = shlex.split(line)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:.*##", (ROOT / "Makefile").read_text(), re.M)
    elif words[:2] == ["pip", "install"]:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        asked = re.fullmatch(r"(?:\.|depotlab)(?:\[(\w+)\])?", words[2])
        assert asked
        assert asked[1] is None or asked[1] in project["optional-dependencies"]
    elif line in RUN_HERE:
        ran = subprocess.run(
            [sys.executable, "-m", "depotlab.cli", *words[1:]],
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
    else:
        assert words[0] == "depotlab"
        assert cli._parser().parse_args(words[1:]).do


def test_the_readme_has_the_two_commands() -> None:
    (code,) = code_of(ROOT / "README.md", "sh")
    assert [line.split("  ")[0] for line in code.splitlines()] == ["make demo", "make test"]
