"""Whatever a daemon sends, nothing outside the destination is touched. Arbitrary packets on a real disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from depotlab._transfer import Entry, Receiver, SenderFailed, Staging, filemode
from depotlab._transfer.packets import encode_stat
from depotlab.errors import DepotlabError
from tests.support.trees import snapshot
from tests.support.treesend import content, end_of

NAMES = [
    b"a",
    b"b",
    b"link",
    b"dir",
    b"full",
    b"secret",
    b"..",
    b".",
    b"",
    b"a\0",
    b"\xff",
    b"x" * 256,
]
TARGETS = [
    b"..", b"../secret", b"../other", b"/", b"/proc/self/cwd", b".", b"a", b"link", b"dir/a", b"../dest", b"a/../..",
]  # fmt: skip
TYPES = [
    0, 0, 0, filemode.DIR, filemode.DIR, filemode.SYMLINK, filemode.FIFO, filemode.SOCKET, filemode.IRREGULAR,
    filemode.DEVICE, filemode.DEVICE | filemode.CHAR_DEVICE, filemode.DIR | filemode.SYMLINK,
]  # fmt: skip

paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(b"/".join)
modes = st.builds(lambda kind, bits: kind | bits, st.sampled_from(TYPES), st.integers(0, 0o777))
links = st.one_of(st.just(b""), st.sampled_from(TARGETS), paths)
sizes = st.sampled_from([0, 0, 1, 3, 1 << 20, 1 << 62, -1])
entries = st.builds(
    Entry, paths, modes, sizes, st.integers(-(2**63), 2**63 - 1), links,
    st.sampled_from([None, (1, 3), (8, 0), (-1, 1 << 40)]),
    st.sampled_from([None, {"user.a": b"1"}, {"trusted.x": b"1", "security.capability": b"?"}]),
)  # fmt: skip

plausible_paths = st.lists(
    st.sampled_from([b"a", b"dir", b"full", b"link", b"secret", b"through"]), min_size=1, max_size=3
).map(b"/".join)


@st.composite
def plausible(draw: st.DrawFn) -> list[bytes]:
    """A list in order whose parents are directories: what gets past the receiver, links and all."""
    chosen = draw(
        st.dictionaries(plausible_paths, st.tuples(modes, links), min_size=1, max_size=12)
    )
    listed: dict[bytes, Entry] = {}
    for path in sorted(chosen, key=lambda p: p.split(b"/")):
        parts = path.split(b"/")
        for end in range(1, len(parts)):
            above = b"/".join(parts[:end])
            if (
                not listed.setdefault(above, Entry(above, filemode.DIR | 0o755, 0, 1)).mode
                & filemode.DIR
            ):
                break
        else:
            mode, link = chosen[path]
            listed.setdefault(
                path, Entry(path, mode, 0, 1, link or b".." * bool(mode & filemode.SYMLINK))
            )
    order = sorted(listed.values(), key=lambda e: e.path.split(b"/"))
    ends = [end_of(n) for n, e in enumerate(order) if not (e.mode & filemode.TYPES or e.link)]
    return [*map(encode_stat, order), b"", *ends]


packets = st.one_of(
    entries.map(encode_stat),
    st.builds(content, st.integers(0, 6), st.binary(min_size=1, max_size=5)),
    st.integers(0, 6).map(end_of),
    st.just(b""),
    st.binary(max_size=12),
)


def receive(dest: Path, bursts: list[list[bytes]], *, delete: bool, devices: bool) -> str:
    """Take the packets as the service does; return how it ended."""
    staging = Staging(dest, delete=delete, devices=devices)
    try:
        machine, writer = Receiver(), staging.writer()
        try:
            for burst in bursts:
                writer.perform(machine.receive(burst))
                machine.requests()
            if not machine.has_all:
                return "incomplete"
            writer.finish()
        finally:
            writer.close()
        staging.commit()
    except (DepotlabError, SenderFailed) as error:
        return type(error).__name__
    finally:
        staging.clear()
    return "in place"


def surroundings(root: Path) -> None:
    """What must not change, with a destination that leads out of itself in many ways."""
    (root / "secret").write_text("secret")
    (root / "secret").chmod(0o600)
    (root / "other").mkdir()
    (root / "other/a").write_text("other")
    dest = root / "dest"
    dest.mkdir()
    (dest / "link").symlink_to("../secret")
    (dest / "through").symlink_to("../other")
    (dest / "full/dir").mkdir(parents=True)
    (dest / "full/dir/a").write_text("old")
    (dest / "full/link").symlink_to("/")
    os.link(root / "secret", dest / "secret")


def check(bursts: list[list[bytes]], *, delete: bool, devices: bool) -> str:
    root = Path(tempfile.mkdtemp(prefix="dl-hostile-"))
    n_open = len(os.listdir("/proc/self/fd"))
    try:
        surroundings(root)
        before = snapshot(root, names=False)
        how = receive(root / "dest", bursts, delete=delete, devices=devices)
        after = snapshot(root, names=False)
        inside = ("dest", "dest/")

        def outside(tree: dict[str, object]) -> dict[str, object]:
            return {p: facts for p, facts in tree.items() if not p.startswith(inside)}

        assert outside(after) == outside(before)
        assert not [p for p in after if "depotlab" in p]
        assert len(os.listdir("/proc/self/fd")) == n_open
        if how != "in place":
            del before["dest"], after["dest"]  # its time
            assert after == before
        return how
    finally:
        shutil.rmtree(root)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=150)
@given(st.lists(st.lists(packets, max_size=6), max_size=5), st.booleans())
def test_arbitrary_packets_touch_nothing_outside(bursts: list[list[bytes]], delete: bool) -> None:
    check(bursts, delete=delete, devices=False)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=250)
@given(plausible(), st.booleans())
def test_lists_that_are_in_order_touch_nothing_outside(tree: list[bytes], delete: bool) -> None:
    n_list = tree.index(b"") + 1
    check([tree[:n_list], tree[n_list:]], delete=delete, devices=False)


def test_the_examples_reach_the_destination() -> None:
    """Lists like those above are not all refused: this one is put in place, over links that lead out."""
    tree = [
        Entry(b"full", filemode.DIR | 0o755, 0, 1),
        Entry(b"full/link", filemode.DIR | 0o755, 0, 1),
        Entry(b"full/link/etc", 0o644, 0, 1),
        Entry(b"link", 0o644, 0, 1),
        Entry(b"secret", 0o644, 0, 1),
        Entry(b"through", filemode.DIR | 0o755, 0, 1),
        Entry(b"through/a", 0o644, 0, 1),
    ]
    ends = [end_of(n) for n, entry in enumerate(tree) if not entry.mode & filemode.TYPES]
    assert check([[*map(encode_stat, tree), b""], ends], delete=False, devices=True) == "in place"
