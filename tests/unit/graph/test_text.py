from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._graph.text import clean, fit, width_px, wrap
from tests.unit.graph.examples import HOSTILE

# Adobe's font metrics for Helvetica, in thousandths of the size.
HELVETICA = {
    " ": 278,
    "W": 944,
    "@": 1015,
    "m": 833,
    "i": 222,
    "J": 500,
    "%": 889,
    "é": 556,
    "0": 556,
}
# Advance widths in DejaVuSans.ttf 2.37.
DEJAVU = {
    " ": 318, "W": 989, "@": 1000, "m": 974, "i": 278, "%": 950, "é": 615, "0": 636, "…": 1000,
    "Ж": 1077, "Ω": 764, "←": 838, "∑": 674, "‱": 1735, "😴": 1604, "Ǆ": 1422, "⟿": 1434, "⅒": 1370,
}  # fmt: skip


@pytest.mark.parametrize(("char", "width"), [*HELVETICA.items(), *DEJAVU.items()])
def test_widths_are_upper_bounds_for_common_fonts(char, width):
    assert width_px(char, 1000) >= width - 1e-6


@pytest.mark.parametrize("text", HOSTILE)
def test_clean_text_is_one_line_of_characters_that_xml_allows(text):
    found = clean(text)
    assert "\n" not in found
    assert found == found.strip()
    assert all(c == " " or c.isprintable() or ord(c) in (0x200D,) for c in found)
    assert not set(found) & set("\u202e\u2066\u200f\x00\x1b\ufffe")
    found.encode()


def test_clean_keeps_lines_when_asked():
    assert clean("a\x00\n\n  b\tc \n", lines=True) == "a\nb c"


@given(st.one_of(st.text(), st.sampled_from(HOSTILE)), st.floats(0, 300), st.floats(6, 20))
def test_text_that_was_fitted_has_room(text, room, size):
    assert width_px(fit(clean(text), room, size), size) <= room or not fit(clean(text), room, size)


@given(st.one_of(st.text(), st.sampled_from(HOSTILE)), st.floats(30, 300), st.integers(1, 3))
def test_wrapped_lines_have_room(text, room, max_lines):
    lines = wrap(clean(text), room, 12, max_lines=max_lines)
    assert 1 <= len(lines) <= max_lines
    assert all(width_px(line, 12) <= room for line in lines)


def test_text_with_room_stays_whole():
    assert fit("go build", 100, 12) == "go build"
    assert wrap("go build ./cmd/server", 90, 12, max_lines=2) == ["go build", "./cmd/server"]


def test_a_name_keeps_its_end_and_a_command_its_beginning():
    assert fit("ghcr.io/organisation/application:v1.2", 130, 12).endswith("tion:v1.2")
    assert fit("apt-get install -y build-essential", 130, 12).startswith("apt-get install")
    assert "…" in fit("ghcr.io/organisation/application:v1.2", 130, 12)
