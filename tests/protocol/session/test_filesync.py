"""The file service against a receiver that is as strict as the daemon."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depotlab._rpc import RpcFault, Status
from depotlab._session import MemoryTree, Session, filesync
from depotlab._transfer import BadPattern, Entry, HostTree, Tree, filemode, make_filter, resolve
from depotlab._transfer.packets import FIN, encode_error, encode_request
from depotlab.errors import ProtocolError, SessionError
from tests.support import treecases
from tests.support.calls import MemoryCall
from tests.support.receiver import Receiver, SenderFailed

DIFF_COPY = "/moby.filesync.v1.FileSync/DiffCopy"


def metadata(name: str = "context", **patterns: list[str]) -> dict[str, list[str]]:
    keys = {"include": "include-patterns", "exclude": "exclude-patterns", "follow": "followpaths"}
    return {"dir-name": [name], **{keys[key]: values for key, values in patterns.items()}}


async def transfer(
    session: Session, receiver: Receiver, call: MemoryCall, *, limit_s: float = 60
) -> RpcFault | None:
    """Run one transfer to its end; return the fault that the daemon would see."""
    async with asyncio.timeout(limit_s):
        serving = asyncio.create_task(call.serve(session.handlers[DIFF_COPY]))
        try:
            await receiver.run(call)
        finally:
            call.half_close()
            fault = await serving
    return fault


def receive(
    tree: Path | Tree, asked: Mapping[str, list[str]] | None = None, **options: int
) -> Receiver:
    receiver = Receiver()
    call = MemoryCall(asked or metadata(), **options)
    assert asyncio.run(transfer(Session({"context": tree}), receiver, call)) is None
    return receiver


def failure(
    tree: Path | Tree, asked: Mapping[str, list[str]] | None = None
) -> tuple[Session, RpcFault | None, str]:
    """Run a transfer that fails on our side; return what the daemon hears of it."""

    async def run() -> tuple[Session, RpcFault | None, str]:
        session = Session({"context": tree})
        call = MemoryCall(asked or metadata())
        serving = asyncio.create_task(call.serve(session.handlers[DIFF_COPY]))
        try:
            await Receiver().run(call)
        except SenderFailed as error:
            return session, await serving, str(error)
        raise AssertionError("the sender did not fail")

    return asyncio.run(run())


# --------------------------------------------------------------------------- what arrives


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32),
    st.integers(1, 300),
    st.integers(1, 2000),
    st.integers(1, 2000),
    st.sampled_from([0.0, 1.0]),
    st.booleans(),
)
def test_what_the_filters_keep_arrives_in_any_chunking(
    seed: int,
    n_per_turn: int,
    piece_bytes: int,
    bytes_per_turn: int,
    slow_turn_s: float,
    one_byte_at_a_time: bool,
) -> None:
    rng = random.Random(seed)
    listing = treecases.tree_listing(rng)
    asked = {
        "include": treecases.patterns(rng, odd=False) if rng.random() < 0.3 else [],
        "exclude": treecases.patterns(rng, odd=False) if rng.random() < 0.5 else [],
        "follow": treecases.follow_paths(rng, listing) if rng.random() < 0.3 else [],
    }
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", folder)
        patch.setattr(filesync, "_N_ENTRIES_PER_TURN", n_per_turn)
        patch.setattr(filesync, "_PIECE_BYTES", piece_bytes)
        patch.setattr(filesync, "_BYTES_PER_TURN", bytes_per_turn)
        patch.setattr(filesync, "_SLOW_TURN_S", slow_turn_s)
        root = Path(folder) / "tree"
        root.mkdir()
        treecases.make_tree(root, listing)
        tree = HostTree(root)
        try:
            followed = resolve(tree, asked["follow"]) if asked["follow"] else None
            wanted = make_filter(asked["include"], asked["exclude"], followed)
            expected = list(filter(None, tree.walk(wanted)))
        except BadPattern:
            return
        # Header values have no bytes above 0x7f, so the daemon escapes them.
        encoded = metadata(
            **{k: [quote_plus(v, errors="surrogateescape") for v in vs] for k, vs in asked.items()}
        )
        encoded |= {f"{key}-encoded": ["1"] for key in list(encoded)}
        receiver = receive(root, encoded, high_water_bytes=1 if one_byte_at_a_time else 1 << 20)
        shown = [(e.path, e.mode, e.size_bytes, e.link) for e in receiver.entries]
        assert shown == [(e.path, e.mode, e.size_bytes, e.link) for e in expected]
        for entry in expected:
            if not entry.mode & filemode.TYPES and not entry.link:
                assert (
                    receiver.contents[entry.path] == (root / os.fsdecode(entry.path)).read_bytes()
                )


@settings(deadline=None, max_examples=30)
@given(
    st.dictionaries(
        st.from_regex(r"[a-c](/[a-c]){0,3}[.-]?x", fullmatch=True), st.binary(max_size=600)
    ),
    st.randoms(use_true_random=False),
)
def test_only_what_the_daemon_asks_for_is_sent(files: dict[str, bytes], rng: random.Random) -> None:
    wanted = {path.encode() for path in files if rng.random() < 0.5}
    receiver = Receiver(lambda entry: entry.path in wanted)
    session = Session({"context": MemoryTree(files)})
    assert asyncio.run(transfer(session, receiver, MemoryCall(metadata()))) is None
    assert receiver.contents == {path: files[path.decode()] for path in wanted}
    moved = session.moved["context"]
    n_bytes = sum(map(len, receiver.contents.values()))
    assert (moved.n_entries, moved.n_files, moved.n_bytes, moved.n_transfers) == (
        len(receiver.entries), len(wanted), n_bytes, 1,
    )  # fmt: skip


def test_a_large_file_is_sent_in_pieces_and_never_piles_up(tmp_path: Path) -> None:
    content = os.urandom(5_000_001)
    (tmp_path / "big").write_bytes(content)
    call = MemoryCall(metadata(), high_water_bytes=1 << 16)
    receiver = Receiver()
    assert asyncio.run(transfer(Session({"context": tmp_path}), receiver, call)) is None
    assert receiver.contents == {b"big": content}
    assert call.peak_bytes < 2 << 20


def test_many_small_files_never_pile_up() -> None:
    tree = MemoryTree({f"{n:05}": b"x" * 3000 for n in range(2000)})
    call = MemoryCall(metadata(), high_water_bytes=1 << 16)
    assert asyncio.run(transfer(Session({"context": tree}), Receiver(), call)) is None
    assert call.peak_bytes < 1 << 20


def test_names_that_are_not_utf8_and_names_with_newlines_arrive(tmp_path: Path) -> None:
    for name in (b"\xff\xfe", b"a\nb", b"\xc3\xa9"):
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    assert receive(tmp_path).contents == {n: n for n in (b"\xff\xfe", b"a\nb", b"\xc3\xa9")}


def test_an_empty_directory_is_an_empty_list(tmp_path: Path) -> None:
    assert receive(tmp_path).entries == []


def test_files_are_sent_while_the_tree_is_still_listed() -> None:
    tree = MemoryTree({f"{n:05}": b"x" for n in range(5000)})
    at_first_content: list[int] = []

    class Watching(Receiver):
        def receive(self, message: bytes) -> list[bytes]:
            answers = super().receive(message)
            if self.contents and not at_first_content:
                at_first_content.append(len(self.entries))
            return answers

    call = MemoryCall(metadata(), high_water_bytes=1 << 12)
    assert asyncio.run(transfer(Session({"context": tree}), Watching(), call)) is None
    assert at_first_content[0] < 2500


def test_two_transfers_of_one_directory_at_once(tmp_path: Path) -> None:
    for n in range(50):
        (tmp_path / str(n)).write_bytes(bytes(n))

    async def run() -> list[Receiver]:
        session = Session({"context": tmp_path})
        receivers = [Receiver(), Receiver()]
        calls = [MemoryCall(metadata()) for _ in receivers]
        await asyncio.gather(*map(transfer, [session] * 2, receivers, calls))
        assert session.moved["context"].n_transfers == 2
        return receivers

    for receiver in asyncio.run(run()):
        assert receiver.contents == {str(n).encode(): bytes(n) for n in range(50)}


def test_others_have_their_turn_while_a_tree_is_sent() -> None:
    """Health has to be answered meanwhile, even if the daemon takes whatever we have at once."""
    tree = MemoryTree({f"{n:05}": b"x" * 1000 for n in range(20_000)})
    waits_s: list[float] = []

    async def run() -> None:
        done = asyncio.Event()

        async def other() -> None:
            while not done.is_set():
                # Of the processor: a computer that is busy with other things does not count.
                began_s = time.thread_time()
                await asyncio.sleep(0)
                waits_s.append(time.thread_time() - began_s)

        watching = asyncio.create_task(other())
        call = MemoryCall(metadata(), high_water_bytes=1 << 30)
        assert await transfer(Session({"context": tree}), Receiver(), call) is None
        done.set()
        await watching

    asyncio.run(run())
    assert len(waits_s) > 50
    assert max(waits_s) < sum(waits_s) / 2


class AlwaysOn:
    """A decision that is made."""

    is_on = True

    def sent(self, *counts: int, **times: float) -> None:
        assert all(count >= 0 for count in counts)


def test_compressed_files_arrive_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesync, "Squeeze", AlwaysOn)
    noise = {f"noise/{n}": os.urandom(50_000) for n in range(20)}
    text = {f"text/{n}": b"%d words " % n * 10_000 for n in range(20)}
    tiny = {f"tiny/{n}": b"%d" % n for n in range(200)}
    call = MemoryCall(metadata())
    call.takes_gzip = True
    receiver = Receiver()
    session = Session({"context": MemoryTree({**noise, **text, **tiny, "empty": b""})})
    assert asyncio.run(transfer(session, receiver, call)) is None
    assert receiver.contents == {
        path.encode(): data for path, data in {**noise, **text, **tiny, "empty": b""}.items()
    }
    # Noise and what is tiny are not worth it, and sent as they are.
    assert len(text) <= call.n_gzip < len(text) + len(noise)
    assert session.moved["context"].n_bytes == sum(
        map(len, [*noise.values(), *text.values(), *tiny.values()])
    )


def test_a_daemon_that_does_not_understand_gzip_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesync, "Squeeze", AlwaysOn)
    call = MemoryCall(metadata())
    call.link_is_full = True
    receiver = Receiver()
    tree = MemoryTree({"text": b"words " * 100_000})
    assert asyncio.run(transfer(Session({"context": tree}), receiver, call)) is None
    assert call.n_gzip == 0
    assert receiver.contents == {b"text": b"words " * 100_000}


def test_on_a_link_that_is_never_full_nothing_is_compressed() -> None:
    call = MemoryCall(metadata())
    call.takes_gzip = True
    tree = MemoryTree({f"{n}": b"words " * 500_000 for n in range(10)})
    assert asyncio.run(transfer(Session({"context": tree}), Receiver(), call)) is None
    assert call.n_gzip == 0


# ------------------------------------------------------------------------ what goes wrong


def test_a_directory_that_was_not_offered_is_not_found_and_no_problem_of_ours() -> None:
    async def run() -> tuple[RpcFault | None, Session]:
        session = Session({"context": MemoryTree({})})
        return await MemoryCall(metadata("secrets")).serve(session.handlers[DIFF_COPY]), session

    fault, session = asyncio.run(run())
    assert fault is not None
    assert (fault.status, fault.message) == (Status.NOT_FOUND, 'no access allowed to dir "secrets"')
    assert session.problems == []


class Stale(HostTree):
    """A tree in which something happens to the file between being listed and being read."""

    def __init__(self, root: Path, happens: Callable[[Path], object]) -> None:
        super().__init__(root)
        self._happens = happens

    def open(self, path: bytes):
        self._happens(self.host_root / os.fsdecode(path))
        return super().open(path)


def append(file: Path) -> None:
    with file.open("a") as stream:
        stream.write("678")


def replace_by_larger(file: Path) -> None:
    (file.parent / "new").write_text("123456")
    (file.parent / "new").rename(file)


@pytest.mark.parametrize(
    ("content", "happens"),
    [
        pytest.param("12345", lambda file: file.write_text("1234"), id="shorter"),
        pytest.param("12345", lambda file: file.write_text(""), id="empty"),
        pytest.param("", lambda file: file.write_text("1"), id="was empty"),
        pytest.param("12345", replace_by_larger, id="replaced by a larger one"),
        pytest.param("12345", lambda file: (file.unlink(), os.mkfifo(file)), id="became a pipe"),
    ],
)
def test_a_file_that_changed_fails_the_build_and_is_named(
    tmp_path: Path, content: str, happens: Callable[[Path], object]
) -> None:
    (tmp_path / "f").write_text(content)
    session, fault, heard = failure(Stale(tmp_path, happens))
    (problem,) = session.problems
    assert isinstance(problem, SessionError)
    assert "changed while it was being sent" in problem.message
    assert problem.path == str(tmp_path / "f")
    assert problem.hint
    assert heard == problem.message
    assert fault is not None
    assert (fault.status, fault.message) == (Status.UNKNOWN, heard)


def test_a_file_that_shrinks_while_it_is_read_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(1_000_000))

    class Shrinking(HostTree):
        def open(self, path: bytes):
            content = super().open(path)
            os.truncate(tmp_path / "f", 300_000)
            return content

    _, _, heard = failure(Shrinking(tmp_path))
    assert "changed while it was being sent" in heard


@pytest.mark.parametrize(
    ("happens", "expected"),
    [
        pytest.param(append, b"12345", id="a log that grows is cut where it was listed"),
        pytest.param(
            lambda file: file.write_text("abcde"), b"abcde", id="other content, same size"
        ),
    ],
)
def test_a_file_that_changed_otherwise_is_sent_with_its_listed_size(
    tmp_path: Path, happens: Callable[[Path], object], expected: bytes
) -> None:
    (tmp_path / "f").write_text("12345")
    assert receive(Stale(tmp_path, happens)).contents == {b"f": expected}


def test_our_own_records_may_be_in_the_directory_that_is_sent(home: Path) -> None:
    os.utime(home, ns=(0, 0))
    (home / "old").touch()
    os.utime(home / "old", ns=(0, 0))
    assert b"old" in receive(home).contents


def test_a_file_that_is_gone_when_it_is_asked_for_is_named(tmp_path: Path) -> None:
    class Vanishing(HostTree):
        def open(self, path: bytes):
            (tmp_path / "f").unlink()
            return super().open(path)

    (tmp_path / "f").write_bytes(b"12345")
    session, _, heard = failure(Vanishing(tmp_path))
    (problem,) = session.problems
    assert isinstance(problem, SessionError)
    assert problem.path == str(tmp_path / "f")
    assert "gone" in heard


def test_a_directory_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    session_tree = HostTree(tmp_path / "d")
    (tmp_path / "d").rmdir()
    session, _, heard = failure(session_tree)
    assert str(tmp_path / "d") in heard
    assert len(session.problems) == 1


def test_a_malformed_pattern_is_named(tmp_path: Path) -> None:
    session, _, heard = failure(tmp_path, metadata(exclude=["[a"]))
    assert "[a" in heard
    assert ".dockerignore" in session.problems[0].hint


@pytest.mark.parametrize(
    ("messages", "heard"),
    [
        pytest.param([encode_request(7)], "entry 7", id="asks for what was not listed"),
        pytest.param([encode_request(0), encode_request(0)], "asked for before", id="asks twice"),
        pytest.param([b"\xff"], "malformed", id="sends what is no packet"),
    ],
)
def test_a_daemon_that_breaks_the_protocol_is_told_so(messages: list[bytes], heard: str) -> None:
    async def run() -> tuple[RpcFault | None, Session]:
        session = Session({"context": MemoryTree({"f": b"x" * 100})})
        call = MemoryCall(metadata(), high_water_bytes=1 << 30)
        serving = asyncio.create_task(call.serve(session.handlers[DIFF_COPY]))
        assert await call.take() is not None  # the file is listed
        call.deliver(*messages)
        return await serving, session

    fault, session = asyncio.run(run())
    assert fault is not None
    assert heard in fault.message
    assert isinstance(session.problems[0], ProtocolError)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        pytest.param(
            lambda call: call.deliver(encode_error("disk full")), Status.UNKNOWN, id="says why"
        ),
        pytest.param(lambda call: call.half_close(), Status.CANCELLED, id="just leaves"),
    ],
)
def test_a_daemon_that_gives_up_is_no_problem_of_ours(
    end: Callable[[MemoryCall], None], status: Status
) -> None:
    async def run() -> tuple[RpcFault | None, Session]:
        session = Session({"context": MemoryTree({"f": b"x"})})
        call = MemoryCall(metadata())
        serving = asyncio.create_task(call.serve(session.handlers[DIFF_COPY]))
        end(call)
        return await serving, session

    fault, session = asyncio.run(run())
    assert fault is not None
    assert fault.status is status
    assert session.problems == []


def test_a_cancelled_transfer_leaves_no_task_and_no_open_file(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(50_000_000))

    async def run() -> None:
        session = Session({"context": tmp_path})
        call = MemoryCall(metadata())
        serving = asyncio.create_task(call.serve(session.handlers[DIFF_COPY]))
        assert await call.take() is not None
        call.deliver(encode_request(0))
        while len(await call.take() or b"") < 1000:
            pass  # until the first piece of it is there
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert asyncio.all_tasks() == {asyncio.current_task()}

    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(run())
    assert len(os.listdir("/proc/self/fd")) == before


# ------------------------------------------------------------------- sending again


class Daemon:
    """Keeps a copy of a directory by its shared key, and asks again only for what looks changed."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[dict[bytes, Entry], dict[bytes, bytes]]] = {}

    def sync(self, root: Path) -> tuple[dict[bytes, bytes], int]:
        """Return what the build sees, and how many files were sent for it."""
        session = Session({"context": root})
        entries, contents = self._kept.get(session.shared_key, ({}, {}))

        def wants(entry: Entry) -> bool:
            old = entries.get(entry.path)
            return old is None or (old.mode, old.size_bytes, old.modified_ns, old.link) != (
                entry.mode, entry.size_bytes, entry.modified_ns, entry.link,
            )  # fmt: skip

        receiver = Receiver(wants)
        assert asyncio.run(transfer(session, receiver, MemoryCall(metadata()))) is None
        listed = {entry.path: entry for entry in receiver.entries}
        now = {path: receiver.contents.get(path, contents.get(path, b"")) for path in listed}
        self._kept[session.shared_key] = listed, now
        return now, len(receiver.contents)


def settle(*files: Path) -> None:
    """Wait until the clock has ticked past the last change."""
    while any(time.time_ns() - file.lstat().st_ctime_ns < 30_000_000 for file in files):
        time.sleep(0.005)


def test_an_unchanged_directory_is_not_sent_again(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_text(name)
    os.utime(tmp_path / "b", ns=(0, 10**18))
    settle(*tmp_path.iterdir())
    daemon = Daemon()
    assert [daemon.sync(tmp_path)[1] for _ in range(3)] == [3, 0, 0]


def test_new_content_with_the_old_size_and_time_is_never_taken_for_the_old(tmp_path: Path) -> None:
    file = tmp_path / "package.json"
    daemon, other_daemon = Daemon(), Daemon()
    for n, content in enumerate([b"1.0.1", b"1.0.2", b"1.0.3", b"1.0.1"]):
        file.write_bytes(content)
        os.utime(file, ns=(0, 499_162_500 * 10**9))  # as packages from npm have it
        settle(file)
        assert daemon.sync(tmp_path)[0] == {b"package.json": content}
        if n % 2:
            assert other_daemon.sync(tmp_path)[0] == {b"package.json": content}


def test_another_directory_with_equal_sizes_and_times_is_not_taken_for_the_first(
    tmp_path: Path,
) -> None:
    daemon = Daemon()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
        os.utime(tmp_path / name / "f", ns=(0, 10**18))
        assert daemon.sync(tmp_path / name)[0] == {b"f": name.encode()}


def test_a_file_that_is_written_again_at_once_is_sent_again(tmp_path: Path) -> None:
    daemon = Daemon()
    for n in range(50):
        (tmp_path / "f").write_text(f"{n:03}")
        assert daemon.sync(tmp_path)[0] == {b"f": f"{n:03}".encode()}


def test_fin_is_the_last_that_is_said(tmp_path: Path) -> None:
    async def run() -> list[bytes]:
        call = MemoryCall(metadata())
        serving = asyncio.create_task(
            call.serve(Session({"context": tmp_path}).handlers[DIFF_COPY])
        )
        said = [await call.take()]
        call.deliver(FIN)
        while (message := await call.take()) is not None:
            said.append(message)
        assert await serving is None
        return said

    assert asyncio.run(run()) == [b"", FIN]
