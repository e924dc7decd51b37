from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from depotlab import telemetry
from depotlab.errors import MissingExtra, UsageError
from depotlab.telemetry import Batch, BuildRow, DuckDB, StepRow, Telemetry
from depotlab.telemetry._drawing import drawable, tick_text
from tests.support.recordedbuilds import Made, made
from tests.support.telemetryrows import build_row

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def rows() -> Made:
    return made(24)


@pytest.fixture(scope="module")
def t(tmp_path_factory: pytest.TempPathFactory, rows: Made) -> Iterator[Telemetry]:
    store = DuckDB(tmp_path_factory.mktemp("plots") / "builds.duckdb", keep=None)
    store.open()
    for number, some in enumerate((rows.builds, rows.steps, rows.logs)):
        store.write(Batch(str(number), some[0].table, some))
    with Telemetry(store) as asked:
        yield asked


def texts(figure) -> list[str]:
    """Return every text that is drawn."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    found = (one.get_text() for one in figure.findobj(Text))
    return list(dict.fromkeys(text for text in found if text))


PICTURES = [
    pytest.param(lambda t: t.plot.slowest_steps(), id="slowest_steps"),
    pytest.param(lambda t: t.plot.slowest_steps(by="total"), id="slowest_steps in total"),
    pytest.param(lambda t: t.plot.stages(), id="stages"),
    pytest.param(lambda t: t.plot.trend(), id="trend by build"),
    pytest.param(lambda t: t.plot.trend("day"), id="trend by day"),
    pytest.param(lambda t: t.plot.cache_hit_rate(), id="cache_hit_rate by build"),
    pytest.param(lambda t: t.plot.cache_hit_rate("day"), id="cache_hit_rate by day"),
    pytest.param(lambda t: t.plot.cache_hit_rate("project"), id="cache_hit_rate by project"),
    pytest.param(lambda t: t.plot.timeline(t.builds(limit=1)[0]), id="timeline"),
]


@pytest.mark.parametrize("picture", PICTURES)
def test_a_picture_shows_itself_and_has_units(t: Telemetry, picture) -> None:
    figure = picture(t)
    png, size = figure._repr_png_()
    assert png.startswith(PNG)
    assert size["width"] == 576
    words = texts(figure)
    assert any(word.endswith((" s", " ms", " min", "%")) for word in words)
    assert figure.get_facecolor()[3] == 0, "the page behind it is seen, light or dark"


@pytest.mark.parametrize("picture", PICTURES[:-1])
def test_nothing_to_draw_is_said(tmp_path: Path, picture) -> None:
    with telemetry.open(tmp_path / "builds.duckdb") as nothing:
        (words,) = texts(picture(nothing))
        assert words.startswith("No ")


def test_a_timeline_of_an_unknown_build_is_refused(t: Telemetry) -> None:
    with pytest.raises(UsageError, match="'nope'"):
        t.plot.timeline("nope")


def test_pyplot_is_not_touched(t: Telemetry) -> None:
    before = "matplotlib.pyplot" in sys.modules
    t.plot.stages()._repr_png_()
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_bars_are_as_long_as_the_answers(t: Telemetry) -> None:
    found = t.slowest_steps(4)
    (axes,) = t.plot.slowest_steps(4).axes
    assert [bar.get_width() for bar in axes.patches] == [step.median_s for step in found]
    (axes,) = t.plot.stages().axes
    assert [bar.get_width() for bar in axes.patches] == [one.median_s for one in t.stages()]


def test_bars_that_are_narrower_than_a_dot_do_not_vanish(tmp_path: Path) -> None:
    store = DuckDB(tmp_path / "b.duckdb", keep=None)
    store.open()
    store.write(Batch("1", BuildRow.table, [build_row(number) for number in range(700)]))
    with Telemetry(store) as t:
        upper, lower = t.plot.trend(limit=700).axes
        bars = [*upper.patches, *lower.patches]
        assert len(bars) == 1400
        assert {bar.get_snap() for bar in bars} == {False}


def test_moments_say_that_they_are_in_utc(t: Telemetry) -> None:
    assert "UTC" in texts(t.plot.trend())
    assert "created (UTC)" in t.builds()._repr_html_()
    assert "at (UTC)" in t.logs(contains="line")._repr_html_()


def test_a_timeline_begins_with_its_first_step(t: Telemetry, rows: Made) -> None:
    build = next(b for b in rows.builds if b.status == "succeeded")
    steps = t.steps(build.build_id)
    (axes,) = t.plot.timeline(build.build_id).axes
    assert len(axes.patches) == len(steps)
    assert min(bar.get_x() for bar in axes.patches) == 0
    assert {"ran", "cached"} <= {one.get_text() for one in axes.get_legend().get_texts()}


def test_a_long_build_is_drawn_by_its_longest_steps(tmp_path: Path) -> None:
    steps = [
        StepRow(
            step_id=str(n),
            started_at=1000 + n,
            completed_at=1000 + n + n * 10,
            workspace_id="",
            project_id="",
            deployment_id="",
            name=f"RUN {n}",
            cached=False,
            build_id="b",
        )
        for n in range(100)
    ]
    store = DuckDB(tmp_path / "b.duckdb", keep=None)
    store.open()
    store.write(Batch("1", StepRow.table, steps))
    with Telemetry(store) as t:
        words = texts(t.plot.timeline("b"))
    assert any("the longest 40 of 100 steps" in word for word in words)
    assert "RUN 99" in words
    assert "RUN 59" not in words


def test_names_of_steps_are_drawn_as_they_are(tmp_path: Path) -> None:
    evil = f"RUN echo @sha256:{'a' * 64} $A $B_ \x1b[31m \\frac 構築 🙂 " + "x" * 80
    step = StepRow(
        step_id="s",
        started_at=1000,
        completed_at=2000,
        workspace_id="",
        project_id="",
        deployment_id="",
        name=evil,
        cached=False,
        build_id="b",
    )
    store = DuckDB(tmp_path / "b.duckdb", keep=None)
    store.open()
    store.write(Batch("1", StepRow.table, [step]))
    with Telemetry(store) as t:
        figure = t.plot.slowest_steps()
        assert figure._repr_png_()[0].startswith(PNG)
        (name,) = [word for word in texts(figure) if word.startswith("RUN echo")]
    assert name.startswith("RUN echo $A $B_"), "a digest would take all the room"
    assert "…" in name
    assert len(name) <= 46


def test_without_matplotlib_the_extra_is_named(
    t: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from depotlab.telemetry import _drawing

    _drawing._picture_type.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        t.plot.stages()
    assert caught.value.extra == "plots"


@pytest.mark.parametrize(
    ("value_s", "text"),
    [
        pytest.param(0.0, "0", id="nothing"),
        pytest.param(0.02, "20 ms", id="milliseconds"),
        pytest.param(1.5, "1.5 s", id="seconds"),
        pytest.param(120.0, "2 min", id="minutes"),
        pytest.param(75.0, "1 min 15 s", id="minutes and seconds"),
        pytest.param(5400.0, "1 h 30 min", id="hours"),
    ],
)
def test_round_times_are_short(value_s: float, text: str) -> None:
    assert tick_text(value_s) == text


def test_letters_that_the_font_lacks_become_boxes() -> None:
    assert drawable("a…é\x07構") == "a…é□"
