"""Why a step ran, where a daemon is not needed to know it."""

import dataclasses

import pytest

from depotlab import llb
from depotlab._past import CauseKind, Ended, PastBuild, PastStep, choose, explain, past_of
from depotlab.errors import UsageError
from depotlab.progress import BuildEnded, BuildStarted, Fold, Phase, VertexUpdated


def built(state, *, cached=(), hide=(), name="app", platform="linux/amd64", listed=None, **options):
    """Return the past build of a graph whose steps ran, but for those that were cached."""
    return kept(state, cached, hide, name, platform, listed or {}, options)[0]


def kept(state, cached, hide, name, platform, listed, options):
    """Return the past build of a graph, and what was sent for it."""
    definition = state.marshal(platform, local_unique_id="x")
    fold = Fold()
    fold.feed([BuildStarted(1)])
    fold.feed(
        [
            VertexUpdated(v.digest, v.name, (), 2, 3, v.name in cached)
            for v in definition.ops
            if v.kind != "final"
        ]
    )
    fold.feed([BuildEnded(4, Phase.SUCCEEDED)])
    snapshot = fold.snapshot(at_ns=5)
    ended = Ended(
        name, "app", "here", "ref", options, snapshot, {platform: definition}, listed, hide=hide
    )
    return past_of(ended)


BASE = llb.image("busybox")


def test_another_platform():
    found = explain(
        built(BASE.run("make", name="make"), platform="linux/arm64"),
        built(BASE.run("make", name="make")),
        listings={},
    )
    assert found.cause.kind is CauseKind.PLATFORM
    assert "linux/amd64 → linux/arm64" in str(found)


@pytest.mark.parametrize(
    ("cached", "n_touched", "kind", "told"),
    [
        ((), 1, CauseKind.FILES, "f0 (changed, same size)"),
        ((), 2, CauseKind.FILES, "f0 (touched, same size, another time), and 1 more"),
        (("copy",), 2, CauseKind.EVICTED, "nothing changed"),
    ],
    ids=["one is certain", "one of several", "the content is what it was"],
)
def test_files_with_another_time_only(cached, n_touched, kind, told):
    state = BASE.copy(llb.local(".", name="here"), "/", "/", name="copy").run("x", name="x")
    sides = [
        {"here": [(f"f{n}".encode(), 0o644, 1, time_ns, b"") for n in range(n_touched)]}
        for time_ns in (1, 2)
    ]
    (before, old), (after, new) = (
        kept(state, cached, (), "app", "linux/amd64", listed, {}) for listed in sides
    )
    listings = {before.listings["here"]: old["here"], after.listings["here"]: new["here"]}
    found = explain(after, before, listings=listings)
    assert found.cause.kind is kind
    assert told in found.cause.what


def test_a_long_chain_that_was_lost_has_one_cause():
    state = BASE
    for number in range(300):
        state = state.run(f"echo {number}", name=f"step {number}")
    past = built(state)
    found = explain(past, past, listings={})
    assert [(c.kind, c.step) for c in found.causes] == [(CauseKind.EVICTED, "step 0")]
    assert len(found.steps) == 300


def test_a_graph_of_diamonds_is_walked_once():
    state = BASE
    for number in range(60):
        sides = [state.run(f"echo {number} {side}", name=f"{number}{side}") for side in "ab"]
        state = llb.merge(*sides)
    past = built(state)
    assert {c.step for c in explain(past, past, listings={}).causes} == {"0a", "0b"}


def test_secrets_are_not_kept():
    state = BASE.env(API_TOKEN="s3cret-1", LEVEL="low").run(
        "echo s3cret-2 https://me:s3cret-3@host/"
    )
    data = built(
        state, hide=["s3cret-2"], arg="s3cret-2", **{"build argument PASSWORD": "s3cret-4"}
    )
    kept = str(dataclasses.asdict(data))
    assert "LEVEL=low" in kept
    for number in "1234":
        assert f"s3cret-{number}" not in kept


def test_a_name_is_no_cause():
    found = explain(
        built(BASE.run("make", name="new"), cached=("new",)),
        built(BASE.run("make", name="old")),
        listings={},
    )
    assert found.causes == ()


@pytest.mark.parametrize(
    ("step", "message"), [("o", "2 steps match 'o'"), ("none of them", "No step matches")]
)
def test_a_step_must_be_one(step, message):
    past = built(BASE.run("a", name="one").run("b", name="two"))
    with pytest.raises(UsageError, match=message):
        explain(past, None, listings={}, step=step)


def steps(*told):
    return PastBuild(
        "app",
        "app",
        "here",
        "ref",
        1.0,
        steps=tuple(
            PastStep((f"d{n}",), name, state, (f"d{n - 1}",) if n else ())
            for n, (name, state) in enumerate(told)
        ),
    )


def test_without_graphs_the_names_of_steps_are_compared():
    before = steps(("FROM a", "ran"), ("RUN make", "ran"), ("RUN test", "ran"))
    after = steps(("FROM a", "cached"), ("RUN make -j", "ran"), ("RUN test", "ran"))
    found = explain(after, before, listings={})
    assert found.cause.kind is CauseKind.COMMAND
    assert "it was 'RUN make'" in found.cause.what
    assert [one.is_consequence for one in found.steps] == [False, True]


def test_without_graphs_what_is_not_known_is_said():
    past = steps(("FROM a", "ran"), ("RUN make", "ran"))
    assert explain(past, past, listings={}).cause.kind is CauseKind.UNKNOWN


def test_the_same_builder_comes_first():
    here, there = built(BASE.run("a")), built(BASE.run("a"))
    object.__setattr__(there, "builder", "there")
    assert choose(here, [there, here], is_named=True) is here
    assert choose(here, [there], is_named=True) is there
    assert choose(here, [], is_named=True) is None


def test_without_a_name_what_has_nothing_in_common_is_not_compared():
    one = built(BASE.run("a"))
    assert choose(one, [built(llb.scratch().mkfile("/x", "y"))], is_named=False) is None
    near = built(BASE.run("b"))
    assert choose(one, [near], is_named=False) is near


def test_the_answer_shows_itself_as_html_without_letting_names_in():
    found = explain(built(BASE.run("x", name="<script>")), None, listings={})
    assert "<script>" not in found._repr_html_()
    assert "&lt;script&gt;" in found._repr_html_()
    assert repr(found).startswith("<Why 1 of 1 ran: ")
