"""The parts that make the documentation site: docstrings, notebooks, links between pages, the check of links."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from docs.site import docstrings, links, notebooks, staging
from docs.site.docstrings import parse_text

DOCSTRING = """Give one of them.

It is `named` so; a <tag> and 2 * 3 stay as they are.

Args:
    first: The first,
        on two lines.
    second, third: Both.

Raises:
    StepFailed: It failed.

Example:
    >>> give()  # doctest: +SKIP
    1
"""


def test_a_docstring_is_taken_apart() -> None:
    said = parse_text(DOCSTRING)
    assert said.summary == "Give one of them."
    assert said.items["Args"] == [("first", "The first, on two lines."), ("second, third", "Both.")]
    assert said.items["Raises"] == [("StepFailed", "It failed.")]
    assert docstrings.example(said.sections["Example"]) == "```pycon\n>>> give()\n1\n```"


def test_remarks_for_those_who_write_the_library_are_left_out() -> None:
    assert parse_text("Mounts.\n\nOne more. May import `errors`.").text == "Mounts.\n\nOne more."


def test_text_behind_a_section_is_not_lost() -> None:
    said = parse_text("Text.\n\nArgs:\n    a: b\n\nMore text.\nAnd more.")
    assert said.text == "Text.\n\nMore text.\nAnd more."
    assert said.items["Args"] == [("a", "b")]


def test_names_become_links_and_signs_of_html_are_escaped() -> None:
    text = docstrings.inline(
        "A <tag> of `State.run` and `x*y`.", {"State.run": "llb.State.run"}.get
    )
    assert text == "A \\<tag> of {py:obj}`State.run <llb.State.run>` and `x*y`."


def notebook(*cells: dict[str, object]) -> str:
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def test_a_notebook_becomes_a_page_with_its_outputs_and_pictures(tmp_path: Path) -> None:
    picture = base64.b64encode(b"\x89PNG").decode()
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["\x1b[31mhello\x1b[0m\n"]},
        {"output_type": "execute_result", "data": {"text/html": ["<b>1</b>"], "text/plain": "1"}},
        {"output_type": "display_data", "data": {"image/png": picture, "text/plain": "a graph"}},
    ]
    book = tmp_path / "01-book.ipynb"
    book.write_text(
        notebook(
            {"cell_type": "markdown", "source": ["# A title\n", "text"]},
            {"cell_type": "code", "source": ["print('hello')"], "outputs": outputs},
            {"cell_type": "code", "source": ["%%llb\n", "x"], "outputs": []},
        )
    )
    page = notebooks.page(book, tmp_path)
    assert page.startswith("# A title\n\n{download}`The notebook <01-book.ipynb>`\ntext")
    assert "```python\nprint('hello')\n```" in page
    assert "```text\nhello\n```" in page
    assert "```{raw} html\n<b>1</b>\n```" in page
    assert "![a graph](01-book-2-2.png)" in page
    assert (tmp_path / "01-book-2-2.png").read_bytes() == b"\x89PNG"
    assert "```ipython\n%%llb\nx\n```" in page


def test_a_page_may_link_only_to_what_has_a_page(tmp_path: Path) -> None:
    sources = {"docs/a.md": "a.md", "README.md": "index.md", "notebooks/b.ipynb": "notebooks/b.md"}
    wrong: list[str] = []
    text = (
        "[a](docs/a.md#top) [b](notebooks/b.ipynb) [c](https://example.com)\n```text\n[x](y)\n```\n"
    )
    moved = staging.relinked(text, "README.md", "index.md", sources, tmp_path, wrong)
    assert moved == (
        "[a](a.md#top) [b](notebooks/b.md) [c](https://example.com)\n```text\n[x](y)\n```\n"
    )
    text, source, page = "[a](../docs/a.md)", "notebooks/b.ipynb", "notebooks/b.md"
    assert staging.relinked(text, source, page, sources, tmp_path, wrong) == "[a](../a.md)"
    assert wrong == []
    staging.relinked("[x](tests/x.py)", "README.md", "index.md", sources, tmp_path, wrong)
    assert wrong == ["README.md links to tests/x.py, which has no page in the site"]


def test_a_picture_with_a_dark_twin_is_shown_in_the_light_of_the_page(tmp_path: Path) -> None:
    for name in ("a.png", "a-dark.png", "b.png"):
        (tmp_path / name).touch()
    both = "![words](a.png){.only-light}\n![words](a-dark.png){.only-dark}"
    assert staging.in_both_lights("![words](a.png) ![b](b.png)", tmp_path) == f"{both} ![b](b.png)"
    forge = (
        '<picture>\n<source media="(prefers-color-scheme: dark)" srcset="a-dark.png">\n'
        '<img alt="words" src="a.png">\n</picture>'
    )
    assert staging.in_both_lights(forge, tmp_path) == both


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        pytest.param('<a href="b.html#there">x</a>', "", id="a place of another page"),
        pytest.param('<a href="#here">x</a>', "", id="a place of this page"),
        pytest.param('<a href="https://example.com/x">x</a>', "", id="an address elsewhere"),
        pytest.param('<a href="c.html">x</a>', "leads to no file", id="no such page"),
        pytest.param('<a href="b.html#gone">x</a>', "leads to no place", id="no such place"),
        pytest.param('<a href="../../x.html">x</a>', "leads to no file", id="outside of the site"),
        pytest.param('<a href="https://nohost">x</a>', "names no host", id="an address of nobody"),
        pytest.param('<a href="javascript:x()">x</a>', "has the scheme", id="a program as a link"),
        pytest.param(
            '<script src="https://cdn.example.com/x.js"></script>',
            "no network",
            id="a script from elsewhere",
        ),
        pytest.param(
            '<link href="//fonts.example.com/x.css">', "no network", id="a font from elsewhere"
        ),
        pytest.param('<img src="gone.png">', "leads to no file", id="no such picture"),
    ],
)
def test_links_of_the_finished_site_are_checked(tmp_path: Path, link: str, fault: str) -> None:
    (tmp_path / "a.html").write_text(f'<h1 id="here">a</h1>{link}')
    (tmp_path / "b.html").write_text('<h1 id="there">b</h1>')
    wrong = links.check(tmp_path)
    assert len(wrong) == bool(fault)
    assert fault in "".join(wrong)
