"""Listings of contexts are kept small, and told apart file by file."""

import tracemalloc

import pytest

from depotlab._past.listing import FileChange, differences, pack
from depotlab._session.listed import Listed
from depotlab._transfer import Entry

DIR = 1 << 31
LINK = 1 << 27
OLD = [
    (b"app", DIR | 0o755, 0, 10, b""),
    (b"app/main.py", 0o644, 12, 10, b""),
    (b"app/run", LINK | 0o777, 4, 10, b"main"),
    (b"gone\xff", 0o644, 1, 10, b""),
]


def changed(**rows):
    """Return OLD with other rows, by number."""
    return [rows.get(f"r{number}", row) for number, row in enumerate(OLD)]


@pytest.mark.parametrize(
    ("new", "told"),
    [
        pytest.param(OLD, [], id="nothing"),
        pytest.param(
            changed(r1=(b"app/main.py", 0o644, 15, 99, b"")),
            [FileChange("app/main.py", "changed", "12 → 15 bytes")],
            id="size",
        ),
        pytest.param(
            changed(r1=(b"app/main.py", 0o755, 12, 10, b"")),
            [FileChange("app/main.py", "changed", "mode 644 → mode 755")],
            id="mode",
        ),
        pytest.param(
            changed(r1=(b"app/main.py", 0o644, 12, 99, b"")),
            [FileChange("app/main.py", "touched", "same size, another time")],
            id="only the time",
        ),
        pytest.param(
            changed(r2=(b"app/run", LINK | 0o777, 4, 10, b"test")),
            [FileChange("app/run", "changed", "link main → test")],
            id="link",
        ),
        pytest.param(changed(r0=(b"app", DIR | 0o755, 0, 99, b"")), [], id="time of a directory"),
        pytest.param(OLD[:3], [FileChange("gone\\xff", "removed")], id="a name that is no text"),
        pytest.param([*OLD, (b"new", 0o644, 0, 1, b"")], [FileChange("new", "added")], id="added"),
    ],
)
def test_what_differs_is_told(new, told):
    assert list(differences(pack(OLD), pack(new))) == told


def listed_as(rows):
    listed = Listed()
    for path, mode, size, time_ns, link in rows:
        listed.add([Entry(path, mode, size, time_ns, link)])
    return listed


def test_the_order_and_repetitions_of_what_was_sent_do_not_matter():
    older = (b"app/main.py", 0o644, 1, 1, b"")
    assert pack(listed_as([older, *OLD[::-1], *OLD])) == pack(OLD)


def test_a_large_listing_is_packed_in_little_memory():
    listed = Listed()
    for n in range(0, 60_000, 500):
        listed.add([Entry(b"d%d/f%d" % (n, k), 0o644, k, n * k) for k in range(500)])
    tracemalloc.start()
    packed = pack(listed)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 8 << 20  # 48 MB when it was held as objects
    assert len(differences(pack([]), packed)) == 60_000


def test_an_empty_listing_is_one():
    assert [change.what for change in differences(pack([]), pack(OLD))] == ["added"] * 4


def test_the_time_that_is_kept_is_one_that_no_program_can_set():
    listed = Listed()
    listed.add([Entry(b"a", 0o644, 1, 5, changed_ns=7), Entry(b"b", LINK, 1, 5, b"a")])
    assert list(listed) == [(b"a", 0o644, 1, 7, b""), (b"b", LINK, 1, 5, b"a")]
    assert len(listed) == 2
