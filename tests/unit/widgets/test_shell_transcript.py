"""What is kept of a shell when it has ended."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

import depotlab.widgets as widgets
from depotlab.widgets._shell import Recent, transcript_html, transcript_text

ASSETS = Path(widgets.__file__).parent / "_xterm"


@pytest.mark.parametrize(
    ("shown", "kept"),
    [
        pytest.param(b"# lx\x08 \x08s\r\n", "# ls", id="a letter that was taken back"),
        pytest.param(b"10%\r100%\r\n", "100%", id="a line that was written again"),
        pytest.param(b"# abc\x1b[2D\x1b[Kx\r\n", "# ax", id="an edited line"),
        pytest.param(b"\x1b[31mred\x1b[0m\r\n", "red", id="colours"),
        pytest.param(b"\x1b]0;title\x07plain\r\n", "plain", id="a window title"),
        pytest.param("# ä→\r\n".encode(), "# ä→", id="text of any alphabet"),
    ],
)
def test_lines_are_kept_as_they_were_seen(shown, kept):
    assert transcript_text("sh", shown, "exit code 0").split("\n")[1] == kept


def test_colours_stay_in_a_notebook_and_nothing_runs():
    html = transcript_html("sh <b>", b"\x1b[31mred\x1b[0m <script>\r\n", "exit code 0")
    assert "color:#e03131" in html
    assert "<script" not in html
    assert "sh &lt;b&gt;" in html


def test_only_the_newest_is_kept():
    recent = Recent(100)
    for number in range(1000):
        recent.add(b"%05d\n" % number)
    assert recent.data.endswith(b"00999\n")
    assert len(recent.data) <= 200
    assert len(transcript_text("sh", b"x\n" * 5000, "open").splitlines()) < 300


def test_the_shipped_terminal_is_the_published_one():
    listed = dict(
        re.findall(r"`([\w.-]+)` \| `([0-9a-f]{64})`", (ASSETS / "README.md").read_text())
    )
    assert set(listed) == {"xterm.mjs", "xterm.css", "addon-fit.mjs"}
    for name, digest in listed.items():
        assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() == digest
    assert "MIT" in (ASSETS / "README.md").read_text()
    assert "xterm.js authors" in (ASSETS / "LICENSE").read_text()
