"""The file of a recording: what was written is read, and what is wrong with a file is said."""

from __future__ import annotations

import hashlib
import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from depotlab._recorded.fileformat import load_tape, pack, save_tape, unpack
from depotlab._recorded.tape import Call, Message, OpNote, Tape, TapedBuild
from depotlab.errors import RecordingError

SOLVE = Call(
    0,
    "/moby.buildkit.v1.Control/Solve",
    key="k0",
    build=0,
    began_ns=1_000_000,
    ended_ns=9_000_000,
    code=2,
    text="it failed",
    details=b"\x08\x02",
    asked=(("frontend", "dockerfile.v0"),),
)
STATUS = Call(
    1,
    "/moby.buildkit.v1.Control/Status",
    key="k1",
    build=0,
    messages=(Message(2_000_000, b"one"), Message(3_000_000, b"\xff" * 300, 4)),
)
SYNC = Call(
    2,
    "/moby.filesync.v1.FileSync/DiffCopy",
    build=0,
    headers=(("dir-name", "context"), ("followpaths", "a"), ("followpaths", "b")),
    context="digest",
)
RUN = Call(
    3,
    "/moby.buildkit.v1.frontend.LLBBridge/Solve",
    key="k3",
    build=0,
    ops=(OpNote("o", "d", "run make"),),
    stdin="s",
)
BUILD = TapedBuild(0, SOLVE, "ref", "session", (RUN,), (SYNC,), STATUS, (("app", "app-1"),), True)
CALLS = [SOLVE, STATUS, SYNC, RUN]
TAPE = Tape("2026-01-02T03:04:05+00:00", 17, "v0.1", "localhost:1", [BUILD], CALLS, False)


def test_what_was_packed_comes_back():
    assert unpack(pack(TAPE), path="x") == TAPE


def test_a_message_that_comes_often_is_kept_once():
    long = bytes(range(256)) * 40
    many = [
        replace(STATUS, number=n, messages=tuple(Message(n, long) for _ in range(50)), build=-1)
        for n in range(20)
    ]
    tape = replace(TAPE, builds=[], calls=many)
    plain = zstandard.ZstdDecompressor().decompress(pack(tape).partition(b"\n")[2])
    assert plain.count(long) == 1


def test_a_file_is_written_whole_and_replaces_an_older_one(tmp_path):
    path = tmp_path / "x.depotlab"
    path.write_bytes(b"older")
    size = save_tape(path, TAPE)
    assert path.stat().st_size == size
    assert load_tape(path) == TAPE
    assert list(tmp_path.iterdir()) == [path]
    other = tmp_path / "other"
    other.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


def test_a_folder_that_is_not_there_is_an_error_that_leaves_nothing(tmp_path):
    with pytest.raises(RecordingError, match="cannot be written"):
        save_tape(tmp_path / "no" / "x.depotlab", TAPE)
    assert not list(tmp_path.iterdir())


def spoiled(data: bytes) -> bytes:
    """A file with another byte in its middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def signed(plain: bytes) -> bytes:
    """A file whose digest is right, whatever is in it."""
    packed = zstandard.ZstdCompressor().compress(plain)
    return b"depotlab-recording 1 %s\n" % hashlib.sha256(packed).hexdigest().encode() + packed


def with_index(index: object) -> bytes:
    text = json.dumps(index).encode()
    return signed(len(text).to_bytes(8, "little") + text)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", "is no recording", id="an empty file"),
        pytest.param(b"PK\x03\x04 something", "is no recording", id="another file"),
        pytest.param(
            pack(TAPE).replace(b"recording 1 ", b"recording 2 ", 1),
            "newer depotlab .format 2",
            id="a newer file",
        ),
        pytest.param(pack(TAPE)[:-5], "is damaged", id="a file that is cut off"),
        pytest.param(spoiled(pack(TAPE)), "is damaged", id="a file with a wrong byte"),
        pytest.param(
            signed(b"\xff" * 30), "is damaged", id="an index that is longer than the file"
        ),
        pytest.param(with_index([]), "is damaged", id="an index that is none"),
        pytest.param(
            with_index(
                {
                    "recorded_at": "",
                    "began_ns": 0,
                    "buildkit": "",
                    "registry": "",
                    "keeps_history": True,
                    "builds": [],
                    "calls": [{"method": "m", "time": [0, 0], "messages": [[0, 5, 10]]}],
                }
            ),
            "is damaged",
            id="a message outside of the file",
        ),
    ],
)
def test_a_file_that_cannot_be_read_says_why(data: bytes, words: str, tmp_path: Path):
    path = tmp_path / "x.depotlab"
    path.write_bytes(data)
    with pytest.raises(RecordingError, match=words) as caught:
        load_tape(path)
    assert caught.value.path == str(path)
    assert caught.value.hint


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path):
    with pytest.raises(RecordingError, match="cannot be read") as caught:
        load_tape(tmp_path / "no.depotlab")
    assert "depotlab.record" in caught.value.hint
