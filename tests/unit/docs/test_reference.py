"""The reference has every public name, and no private one; every error has a cause and a cure."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
import sys
import tomllib
from pathlib import Path

import pytest

import depotlab
from depotlab import llb, mount
from docs.site import command, failures, public, reference
from docs.site.public import Index


@pytest.fixture(scope="module")
def index() -> Index:
    return Index()


def test_every_public_name_is_described_once(index: Index) -> None:
    described = {each.path for each in index.everything()}
    for module in public.modules():
        made = importlib.import_module(module)
        elsewhere = dict(index.elsewhere[module])
        for name in made.__all__:
            if name == "__version__" or inspect.ismodule(getattr(made, name)):
                continue
            assert f"{module}.{name}" in described or elsewhere[name] in described, (module, name)


def test_pages_have_the_names_and_nothing_private(index: Index) -> None:
    pages = reference.pages(index)
    assert "{py:method} build(target: Target" in pages["depotlab"]
    assert "{py:class} State" in pages["depotlab.llb"]
    assert "{py:class} Completed" in pages["values"]
    for name, page in pages.items():
        for described in re.findall(r"\{py:\w+\} (\S+?)[\s(]", page):
            assert not described.rpartition(".")[2].startswith("_"), (name, described)
        assert "depotlab._" not in page, (name, page[page.index("depotlab._") - 200 :][:300])


def test_options_that_are_a_dictionary_are_told_one_by_one(index: Index) -> None:
    from depotlab import Client

    shown = reference.signature(Client.ls, index, skip_first=True)
    assert "Unpack" not in shown
    assert "platform: " in shown
    assert shown.endswith("-> Listing")


def test_every_error_has_a_cause_and_a_cure(index: Index) -> None:
    page = failures.page(index)
    for each in failures.public_errors():
        entry = page.split(f"\n### {each.name}\n")[1].split("\n### ")[0]
        assert re.search(r"\*\*Cause\.\*\* \S", entry)
        assert re.search(r"\*\*Cure\.\*\* \S", entry)


def test_an_error_without_a_cure_stops_the_site(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    from depotlab.errors import StepFailed

    monkeypatch.setattr(StepFailed, "__doc__", "A command failed.")
    with pytest.raises(ValueError, match="StepFailed"):
        failures.page(index)


def test_the_texts_of_errors_come_from_where_they_are_raised() -> None:
    texts = failures.raised()["MissingExtra"], failures.raised()["EngineError"]
    assert any("runc" in message.text for message in texts[1])
    assert all(message.text for kind in failures.raised().values() for message in kind)


def test_the_page_of_the_command_has_every_command() -> None:
    page = command.page()
    for name in ("doctor", "engine", "up", "login", "logout", "pull"):
        assert f"## depotlab {name}" in page
    assert "### depotlab engine install" in page


def test_examples_that_need_no_builder_give_what_they_say(index: Index) -> None:
    runner = doctest.DocTestRunner()
    for each in index.everything():
        things = [(each.path, each.value)]
        if inspect.isclass(each.value):
            things += [
                (f"{each.path}.{m.name}", public.function_of(m.value))
                for m in public.members(each.value)
            ]
        for path, value in things:
            text = inspect.getdoc(value) or ""
            home = sys.modules.get(getattr(value, "__module__", ""), depotlab)
            names = vars(depotlab) | {"depotlab": depotlab, "llb": llb, "mount": mount} | vars(home)
            names.pop("annotations", None)  # that of `__future__`: readers have not written it
            test = doctest.DocTestParser().get_doctest(text, names, path, None, 0)
            runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
    assert runner.tries > 50


@pytest.mark.parametrize(
    ("heading", "container"),
    [
        pytest.param("## The rooms of the code", "depotlab", id="of the library"),
        pytest.param("### The rooms of a build service", "depotlab.service", id="of the service"),
    ],
)
def test_the_page_of_how_it_works_has_every_room_of_the_code(heading: str, container: str) -> None:
    root = Path(__file__).parents[3]
    linter = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (
        contract["layers"]
        for contract in linter["contracts"]
        if contract.get("containers") == [container]
    )
    rooms = {room.strip() for layer in layers for room in layer.split("|")}
    page = (root / "docs/how.md").read_text()
    table = page.split(f"{heading}\n")[1].split("\n#")[0]
    told = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.M))))
    assert told == rooms
