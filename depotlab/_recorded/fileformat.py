"""The file that a recording is kept in.

    depotlab-recording 1 <sha256 of the rest, hexadecimal>, and the end of the line
    one zstd frame:
        length of the index, 8 bytes, little endian
        the index: JSON in UTF-8
        the bytes of all messages, each once

The index refers to messages by their place. `docs/recorded.md` describes it. A number after the name that is
higher than ours is refused, since what it holds may mean something else; fields that are new are no reason for one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zstandard

from depotlab._recorded.tape import Call, Message, OpNote, Tape, TapedBuild
from depotlab.errors import RecordingError

__all__ = ["FORMAT", "load_tape", "pack", "save_tape", "unpack"]

FORMAT = 1
_NAME = b"depotlab-recording"
_LEVEL = 19
_MAX_BYTES = 1 << 30
_LENGTH_BYTES = 8
_US = 1000  # times are kept in microseconds


def save_tape(host_path: Path, tape: Tape) -> int:
    """Write a recording, in one piece; return the size of the file.

    Raises:
        RecordingError: It cannot be written.
    """
    data = pack(tape)
    temporary = host_path.with_name(f".{host_path.name}-{secrets.token_hex(4)}")
    try:
        # A recording is made to be handed on, and has no secrets: it gets the rights of any other new file.
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(host_path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise RecordingError(
            f"The recording cannot be written to {host_path}: {error.strerror or error}.",
            path=str(host_path),
            hint="give a path in a directory that you may write to",
        ) from error
    return len(data)


def load_tape(host_path: Path) -> Tape:
    """Read a recording.

    Raises:
        RecordingError: It is not there, is no recording, is damaged, or was made by a newer depotlab.
    """
    try:
        data = host_path.read_bytes()
    except OSError as error:
        raise RecordingError(
            f"The recording {host_path} cannot be read: {error.strerror or error}.",
            path=str(host_path),
            hint="recordings are made with depotlab.record(path, builder)",
        ) from error
    return unpack(data, path=str(host_path))


def pack(tape: Tape) -> bytes:
    """Return a recording as the bytes of its file."""
    blobs = _Blobs()
    index = {
        "recorded_at": tape.recorded_at,
        "began_ns": tape.began_ns,
        "buildkit": tape.buildkit,
        "registry": tape.registry,
        "keeps_history": tape.keeps_history,
        "builds": [_from_build(build) for build in tape.builds],
        "calls": [_from_call(call, blobs) for call in tape.calls],
    }
    text = json.dumps(index, separators=(",", ":"), ensure_ascii=False).encode()
    plain = len(text).to_bytes(_LENGTH_BYTES, "little") + text + bytes(blobs.data)
    packed = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True).compress(plain)
    digest = hashlib.sha256(packed).hexdigest().encode()
    return b"%s %d %s\n" % (_NAME, FORMAT, digest) + packed


def unpack(data: bytes, *, path: str) -> Tape:
    """Read the bytes of a file.

    Args:
        data: All of it.
        path: For errors.

    Raises:
        RecordingError: As of `load_tape`.
    """
    head, _, packed = data.partition(b"\n")
    words = head.split(b" ")
    if words[0] != _NAME or len(words) != 3 or not words[1].isdigit():
        raise RecordingError(
            f"{path} is no recording of depotlab.",
            path=path,
            hint="recordings are made with depotlab.record(path, builder)",
        )
    if int(words[1]) > FORMAT:
        raise RecordingError(
            f"{path} was made by a newer depotlab (format {int(words[1])}, this one reads {FORMAT}).",
            path=path,
            hint="update depotlab",
        )
    if hashlib.sha256(packed).hexdigest().encode() != words[2]:
        raise _damaged(path)
    try:
        plain = zstandard.ZstdDecompressor().decompress(packed, max_output_size=_MAX_BYTES)
        length = int.from_bytes(plain[:_LENGTH_BYTES], "little")
        index = json.loads(plain[_LENGTH_BYTES : _LENGTH_BYTES + length])
        blobs = memoryview(plain)[_LENGTH_BYTES + length :]
        return _to_tape(index, blobs)
    except (zstandard.ZstdError, ValueError, KeyError, TypeError, IndexError) as error:
        raise _damaged(path) from error


def _damaged(path: str) -> RecordingError:
    return RecordingError(
        f"The recording {path} is damaged.",
        path=path,
        hint="fetch it again, or make it again with depotlab.record(path, builder)",
    )


class _Blobs:
    """Bytes of messages, each once."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._places: dict[bytes, list[int]] = {}

    def add(self, data: bytes) -> list[int]:
        if data not in self._places:
            self._places[data] = [len(self.data), len(data)]
            self.data += data
        return self._places[data]


def _from_build(build: TapedBuild) -> dict[str, Any]:
    found: dict[str, Any] = {"solve": build.solve.number, "ref": build.ref}
    found["session"] = build.session_id
    if build.locals:
        found["locals"] = dict(build.locals)
    if build.is_internal:
        found["internal"] = True
    return found


def _from_call(call: Call, blobs: _Blobs) -> dict[str, Any]:
    found: dict[str, Any] = {
        "method": call.method,
        "time": [call.began_ns // _US, call.ended_ns // _US],
    }
    optional: dict[str, Any] = {
        "key": call.key,
        "status": [call.code, call.text] if call.code or call.text else None,
        "details": blobs.add(call.details) if call.details else None,
        "messages": [
            [m.at_ns // _US, *blobs.add(m.data), *([m.n_before] if m.n_before else [])]
            for m in call.messages
        ],
        "ops": [[op.key, op.digest, op.label] for op in call.ops],
        "asked": [list(pair) for pair in call.asked],
        "headers": [list(pair) for pair in call.headers],
        "context": call.context,
        "stdin": call.stdin,
    }
    found |= {name: value for name, value in optional.items() if value}
    if call.build >= 0:
        found["build"] = call.build
    return found


def _to_tape(index: dict[str, Any], blobs: memoryview) -> Tape:
    calls = [_to_call(number, entry, blobs) for number, entry in enumerate(index["calls"])]
    builds = [_to_build(number, entry, calls) for number, entry in enumerate(index["builds"])]
    return Tape(
        str(index["recorded_at"]),
        int(index["began_ns"]),
        str(index["buildkit"]),
        str(index["registry"]),
        builds,
        calls,
        bool(index["keeps_history"]),
    )


def _to_build(number: int, entry: dict[str, Any], calls: Sequence[Call]) -> TapedBuild:
    mine = [call for call in calls if call.build == number]
    solve = calls[entry["solve"]]
    status = next((c for c in mine if c.is_control and c.name == "Status"), None)
    return TapedBuild(
        number,
        solve,
        str(entry["ref"]),
        str(entry["session"]),
        tuple(c for c in mine if not c.is_of_daemon and c is not solve and c is not status),
        tuple(c for c in mine if c.is_of_daemon),
        status,
        tuple((str(k), str(v)) for k, v in entry.get("locals", {}).items()),
        bool(entry.get("internal", False)),
    )


def _to_call(number: int, entry: dict[str, Any], blobs: memoryview) -> Call:
    code, text = entry.get("status", (0, ""))

    def blob(start: int, length: int) -> bytes:
        if not 0 <= start <= start + length <= len(blobs):
            raise IndexError("a message is outside of the file")
        return bytes(blobs[start : start + length])

    return Call(
        number=number,
        method=str(entry["method"]),
        key=str(entry.get("key", "")),
        build=int(entry.get("build", -1)),
        began_ns=int(entry["time"][0]) * _US,
        ended_ns=int(entry["time"][1]) * _US,
        code=int(code),
        text=str(text),
        details=blob(*entry["details"]) if "details" in entry else b"",
        messages=tuple(
            Message(int(at) * _US, blob(start, length), int(rest[0]) if rest else 0)
            for at, start, length, *rest in entry.get("messages", ())
        ),
        ops=tuple(OpNote(*map(str, op)) for op in entry.get("ops", ())),
        asked=tuple((str(k), str(v)) for k, v in entry.get("asked", ())),
        headers=tuple((str(k), str(v)) for k, v in entry.get("headers", ())),
        context=str(entry.get("context", "")),
        stdin=str(entry.get("stdin", "")),
    )
