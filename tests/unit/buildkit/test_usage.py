"""Records of a daemon's cache: filters, tables, and what a prune would take."""

import html.parser
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depotlab._proto import control_pb2
from depotlab.buildkit.prune import Pruned, choose
from depotlab.buildkit.usage import DiskUsage, UsageRecord, check_filters, usage_record
from depotlab.errors import UsageError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def record(id_, size=10, *, parents=(), age_s=0.0, n_used=1, **fields):
    values = {
        "type": "regular",
        "in_use": False,
        "shared": False,
        "mutable": False,
        "description": id_,
        **fields,
    }
    return UsageRecord(
        id=id_,
        size_bytes=size,
        created_at=NOON - timedelta(days=9),
        last_used_at=NOON - timedelta(seconds=age_s),
        n_used=n_used,
        parents=tuple(parents),
        **values,
    )


def ids(records):
    return [r.id for r in records]


# --------------------------------------------------------------------------------------- filters


@pytest.mark.parametrize(
    "text",
    [
        "type==source.local",
        "type!=regular",
        "description~=pip.*",
        'description=="a, b"',
        "mutable",
        "immutable,type==regular",
        "shared",
        "private",
        'id~="^a,b"',
    ],
)
def test_filters_that_daemons_understand(text):
    assert check_filters(text, call="prune") == [text]


def test_several_filters_stay_several():
    assert check_filters(["mutable", "type==frontend"], call="x") == ["mutable", "type==frontend"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("type=regular", "type==regular"),
        ("size==3", "'size' is not known"),
        ("shared==true", "stands alone"),
        ("mutable==false", "'immutable' for the opposite"),
        ("private!=1", "'shared' for the opposite"),
        ("type", "needs a value"),
        ("type==", "no filter"),
        ("type==a,,mutable", "'' is no filter"),
        ("", "texts"),
        ("no such filter", "no filter"),
        ("inuse", "not looked at when records are deleted"),
        ("parents==x", "not looked at when records are deleted"),
        (3, "texts"),
    ],
)
def test_a_filter_that_would_match_nothing_is_refused_with_the_right_one(text, words):
    with pytest.raises(UsageError) as caught:
        check_filters([text], call="prune")
    assert words in str(caught.value)
    assert caught.value.hint


# ---------------------------------------------------------------------------------------- tables


def test_a_record_is_decoded_with_times_in_utc():
    sent = control_pb2.UsageRecord(ID="x", Size=-1, RecordType="regular", Parent="old")
    sent.CreatedAt.FromDatetime(NOON)
    found = usage_record(sent)
    assert found.created_at == NOON
    assert found.last_used_at is None
    assert found.size_bytes == 0, "not measured"
    assert found.parents == ("old",), "as daemons before 0.10 say it"


USAGE = DiskUsage(
    [
        record("small", 10),
        record("held", 2_000, in_use=True),
        record("image", 30_000, shared=True),
        record("<b>&", 4_000_000, type="exec.cachemount", mutable=True),
    ]
)


def test_the_sums_of_a_cache():
    assert USAGE.total_bytes == 4_032_010
    assert USAGE.in_use_bytes == 2_000
    assert USAGE.shared_bytes == 30_000
    assert USAGE.reclaimable_bytes == 4_000_010
    assert USAGE.by_type == {"exec.cachemount": 4_000_000, "regular": 32_010}


def test_reprs_are_one_line():
    assert repr(USAGE) == "<DiskUsage 4 records, 4.0 MB, 4.0 MB reclaimable>"
    assert repr(USAGE[0]) == "<regular 10 B, used 1 times: small>"
    assert "\n" not in repr(record("x", description="a\nb" * 99))
    assert repr(DiskUsage([record("a")])).startswith("<DiskUsage 1 record, ")


def test_it_is_a_sequence():
    assert len(USAGE) == 4
    assert USAGE[-1] in USAGE
    assert ids(USAGE[1:3]) == ["held", "image"]
    assert ids(USAGE) == ["small", "held", "image", "<b>&"]


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = []
        self.text = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_table_of_a_notebook_is_well_formed_and_hides_no_markup():
    tags = Tags()
    tags.feed(USAGE._repr_html_())
    assert tags.open == []
    assert tags.text.index("4.0 MB") < tags.text.index("30.0 kB"), "the largest first"
    assert "<b>&" in "".join(tags.text)


def test_a_long_table_says_how_much_it_leaves_out():
    assert "and 20 smaller ones" in DiskUsage([record(str(n)) for n in range(50)])._repr_html_()


def test_rows_are_dictionaries_for_tables_of_any_kind():
    row = USAGE.rows()[1]
    assert row["id"] == "held"
    assert row["in_use"] is True
    assert list(row) == list(UsageRecord.__dataclass_fields__)


def test_a_data_frame_needs_pandas_and_says_what_to_do_without(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="pandas") as caught:
        USAGE.to_pandas()
    assert ".rows()" in caught.value.hint


def test_a_data_frame_is_made_of_the_rows():
    frame = USAGE.to_pandas()
    assert list(frame.columns) == list(UsageRecord.__dataclass_fields__)
    assert frame.size_bytes.sum() == USAGE.total_bytes
    assert frame.set_index("id").last_used_at["held"] == USAGE[1].last_used_at
    assert frame[frame.in_use].id.tolist() == [one.id for one in USAGE if one.in_use]


def test_what_was_pruned_says_whether_it_was_for_real():
    gone = Pruned([record("a", 7), record("b", 5, shared=True)], is_dry_run=False)
    assert gone.freed_bytes == 7
    assert repr(gone) == "<Pruned deleted: 2 records, 12 B>"
    would = Pruned([], is_dry_run=True, notes=["nobody knows <that>"])
    assert "would be deleted" in repr(would)
    assert "nobody knows &lt;that&gt;" in would._repr_html_()


# ------------------------------------------------------------------------------------ a dry run


def test_a_layer_goes_after_those_that_lie_on_it():
    usage = DiskUsage(
        [record("base"), record("mid", parents=["base"]), record("top", parents=["mid"])]
    )
    assert ids(choose(usage)) == ["top", "mid", "base"]


def test_what_something_in_use_lies_on_stays():
    usage = DiskUsage(
        [record("base", in_use=True), record("top", in_use=True, parents=["base"]), record("x")]
    )
    assert ids(choose(usage)) == ["x"]


def test_a_filter_that_spares_a_layer_spares_what_it_lies_on():
    usage = DiskUsage([record("base"), record("top", parents=["base"])])
    assert choose(usage, matching=frozenset({"base"})) == []
    assert ids(choose(usage, matching=frozenset({"top"}))) == ["top"]


@pytest.mark.parametrize("fields", [{"type": "internal"}, {"type": "frontend"}, {"shared": True}])
def test_what_only_all_deletes(fields):
    usage = DiskUsage([record("x", **fields)])
    assert choose(usage) == []
    assert ids(choose(usage, all_=True)) == ["x"]


def test_what_was_used_lately_stays():
    usage = DiskUsage([record("old", age_s=100), record("new", age_s=1)])
    assert ids(choose(usage, before=NOON - timedelta(seconds=50))) == ["old"]


def test_with_a_bound_the_least_useful_goes_first_until_the_rest_fits():
    usage = DiskUsage(
        [
            record("fresh", 100, age_s=1, n_used=9),
            record("stale", 100, age_s=900, n_used=1),
            record("between", 100, age_s=500, n_used=3),
        ]
    )
    assert ids(choose(usage, until_bytes=250)) == ["stale"]
    assert ids(choose(usage, until_bytes=150)) == ["stale", "between"]
    assert choose(usage, until_bytes=301) == []


graphs = st.lists(
    st.tuples(
        st.integers(0, 50),
        st.booleans(),
        st.sampled_from(["regular", "internal", "exec.cachemount"]),
        st.lists(st.integers(0, 30), max_size=2),
    ),
    max_size=30,
)


@given(graphs, st.booleans(), st.none() | st.integers(1, 500))
def test_nothing_is_chosen_before_what_lies_on_it(rows, all_, until_bytes):
    usage = DiskUsage(
        record(
            str(n),
            size,
            in_use=in_use,
            type=kind,
            parents={str(p) for p in parents if p < n},
            age_s=n,
        )
        for n, (size, in_use, kind, parents) in enumerate(rows)
    )
    chosen = choose(usage, all_=all_, until_bytes=until_bytes)
    gone = set()
    for taken in chosen:
        assert not taken.in_use
        children = {r.id for r in usage if taken.id in r.parents}
        assert children <= gone
        gone.add(taken.id)
    assert len(gone) == len(chosen)
    if until_bytes is not None and chosen:
        left = usage.total_bytes - sum(r.size_bytes for r in chosen[:-1])
        assert left >= until_bytes, "the last one was still needed"
