"""Every setting of a marshalled op as text by name: for showing one op, and for comparing two.

Two ops have the same fields if and only if a reader would say that they do the same; which other ops they
read is not among them. Field numbers: solver/pb/ops.proto of moby/buildkit.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterable

from depotlab.llb._decode import Field, as_bytes, as_signed, as_text, as_unsigned, fields, map_entry
from depotlab.llb._meta import OpMetadata

__all__ = ["command_words", "metadata_fields", "op_fields"]

_SHELL = ("/bin/sh", "-c")
_MOUNTS = {0: "bind", 1: "secret", 2: "ssh", 3: "cache", 4: "tmpfs"}
_ACTIONS = {4: "copy", 5: "mkfile", 6: "mkdir", 7: "rm", 8: "symlink"}
_PROXIES = {1: "http_proxy", 2: "https_proxy", 3: "ftp_proxy", 4: "no_proxy", 5: "all_proxy"}
_MAX_CONTENT_BYTES = 60
# Name when set, name when not, of the flags of a copy; those that COPY of a Dockerfile has say nothing.
_COPY_FLAGS = {
    5: ("", "links not followed"),
    6: ("", "with the directory itself"),
    7: ("unpacked", ""),
    8: ("", "no new directories"),
    9: ("", "no wildcards"),
    10: ("may match nothing", ""),
    14: ("replaces what is there", ""),
}


def command_words(args: Iterable[str]) -> str:
    """Return an argv as people write it: the script of a shell, or words that a shell would split alike."""
    argv = tuple(args)
    if len(argv) == 3 and argv[:2] == _SHELL:
        return argv[2]
    return shlex.join(argv)


def op_fields(data: bytes) -> dict[str, str]:
    """Return the fields of one op, without its inputs."""
    found: dict[str, str] = {}
    for number, value in fields(data):
        reader = _READERS.get(number)
        if reader is not None:
            reader(as_bytes(value), found)
    return found


def metadata_fields(metadata: OpMetadata) -> dict[str, str]:
    """Return what is said beside an op, without the features that it needs."""
    found = {f"description {key}": text for key, text in metadata.description.items()}
    if metadata.ignore_cache:
        found["cache"] = "ignored"
    if metadata.export_cache is not None:
        found["cache export"] = "forced" if metadata.export_cache else "denied"
    if metadata.progress_group is not None:
        found["progress group"] = metadata.progress_group.name or metadata.progress_group.id
    if metadata.resources is not None:
        found["resources"] = repr(metadata.resources)
    return found


# ------------------------------------------------------------------------------------ per kind


def _exec(payload: bytes, found: dict[str, str]) -> None:
    for number, value in fields(payload):
        if number == 1:
            _meta(as_bytes(value), found)
        elif number == 2:
            mount = _mount(as_bytes(value))
            if mount is not None:
                found[mount[0]] = mount[1]
        elif number == 3:
            found["network"] = {1: "host", 2: "none"}.get(as_unsigned(value), "sandbox")
        elif number == 4:
            found["security"] = {1: "insecure"}.get(as_unsigned(value), "sandbox")
        elif number == 5:
            secret = _Values(value)
            found[f"env {secret.text(2)}"] = f"secret {secret.text(1)}{_optional(secret.flag(3))}"
        elif number == 6:
            device = _Values(value)
            found[f"device {device.text(1)}"] = "optional" if device.flag(2) else "required"


def _meta(meta: bytes, found: dict[str, str]) -> None:
    args: list[str] = []
    found["command"] = ""  # the first of the fields, whatever follows
    for number, value in fields(meta):
        match number:
            case 1:
                args.append(as_text(value))
            case 2:
                name, _, text = as_text(value).partition("=")
                found[f"env {name}"] = text
            case 3 | 4 | 7 | 9 | 10:
                _place(number, value, found)
            case 5:
                if not value:
                    found["proxy"] = (
                        "nothing set"  # an empty message, which is not the same as none
                    )
                for key, address in fields(as_bytes(value)):
                    found[f"proxy {_PROXIES.get(key, str(key))}"] = as_text(address)
            case 6:
                host = _Values(value)
                found[f"host {host.text(1)}"] = host.text(2)
            case 12:
                found["exit codes"] = ", ".join(map(str, _numbers(value)))
    found["command"] = command_words(args)


def _place(number: int, value: int | bytes, found: dict[str, str]) -> None:
    if number == 9:
        limit = _Values(value)
        found[f"limit {limit.text(1)}"] = f"{limit.integer(2)} to {limit.integer(3)}"
    else:
        names = {3: "dir", 4: "user", 7: "hostname", 10: "cgroup parent"}
        found[names[number]] = as_text(value)


# Most runs of a graph have the same mounts, the root above all.
@functools.lru_cache(maxsize=1024)
def _mount(data: bytes) -> tuple[str, str] | None:
    """Return name and value of the field of one mount; None for the root as every run has it."""
    mount = _Values(data)
    kind = _MOUNTS.get(mount.integer(6), "mount")
    target = mount.text(3)
    words = [kind]
    if kind == "cache":
        cache = mount.inner(20)
        # Its name is where it is mounted and it is shared, unless something is said.
        words += [repr(cache.text(1))] if cache.text(1) != target else []
        words += [{1: "private", 2: "locked"}[n] for n in (cache.integer(2),) if n in (1, 2)]
    elif kind == "tmpfs" and mount.inner(19).integer(1):
        words.append(f"of {mount.inner(19).integer(1)} bytes")
    elif kind in ("secret", "ssh"):
        agent = mount.inner(21 if kind == "secret" else 22)
        words.append(f"{agent.text(1) or 'default'!r} mode {agent.integer(4):04o}")
        if agent.integer(2) or agent.integer(3):
            words.append(f"owner {agent.integer(2)}:{agent.integer(3)}")
        words += ["optional"] if agent.flag(5) else []
    elif kind == "bind" and mount.integer(1) < 0:
        words.append("empty")
    if mount.text(2):
        words.append(f"of {mount.text(2)}")
    if mount.flag(5):
        words.append("read-only")
    elif kind == "bind" and mount.integer(4) < 0:
        words.append("changes dropped")
    if mount.integer(24):
        words.append(f"content cache {'on' if mount.integer(24) == 1 else 'off'}")
    if target == "/" and words == ["bind"]:
        return None
    return f"mount {target}", " ".join(words)


def _source(payload: bytes, found: dict[str, str]) -> None:
    for number, value in fields(payload):
        if number == 1:
            found["source"] = as_text(value)
        elif number == 2:
            key, text = map_entry(value)
            found[key] = as_text(text)


def _file(payload: bytes, found: dict[str, str]) -> None:
    actions = [as_bytes(value) for number, value in fields(payload) if number == 2]
    for count, action in enumerate(actions, 1):
        name = "action" if len(actions) == 1 else f"action {count}"
        for number, value in fields(action):
            if number in _ACTIONS:
                found[name] = _action(_ACTIONS[number], _Values(value))


def _action(kind: str, values: _Values) -> str:
    first, second = values.text(1), ""
    notes: list[str] = []
    owner = mode = stamp = 0
    match kind:
        case "copy":
            second = values.text(2)
            owner, mode, stamp = 3, 4, 11
            notes += _copy_notes(values)
        case "mkfile":
            owner, mode, stamp = 4, 2, 5
            notes.append(_content(values.raw(3)))
        case "mkdir":
            owner, mode, stamp = 4, 2, 5
            notes += ["with parents"] if values.flag(3) else []
        case "rm":
            notes += ["may be missing"] if values.flag(2) else []
            notes += ["wildcards"] if values.flag(3) else []
        case "symlink":
            first, second = values.text(2), f"-> {values.text(1)}"
            owner, stamp = 3, 4
    # A copy without a mode has -1: the files keep theirs.
    if mode and (kind != "copy" or (values.integer(4) >= 0 and not values.text(15))):
        notes.append(f"mode {values.integer(mode):04o}")
    if owner and values.has(owner):
        notes.append(f"owner {_owner(values.inner(owner))}")
    if stamp and values.integer(stamp) != -1:
        notes.append(f"time {values.integer(stamp)} ns")
    words = " ".join(filter(None, (kind, first, second)))
    return f"{words} ({', '.join(notes)})" if notes else words


def _copy_notes(values: _Values) -> list[str]:
    notes = [when[0] if values.flag(number) else when[1] for number, when in _COPY_FLAGS.items()]
    notes = [note for note in notes if note]
    if values.text(15):
        notes.append(f"mode {values.text(15)}")
    for number, word in ((12, "only"), (13, "without"), (16, "requires")):
        texts = values.texts(number)
        if texts:
            notes.append(f"{word} {' '.join(texts)}")
    return notes


def _content(data: bytes) -> str:
    if len(data) <= _MAX_CONTENT_BYTES:
        try:
            return repr(data.decode())
        except UnicodeDecodeError:
            return repr(data)
    # Two long contents must not look alike; the hash is what tells them apart.
    from hashlib import sha256

    return f"{len(data)} bytes, sha256 {sha256(data).hexdigest()[:12]}"


def _owner(owner: _Values) -> str:
    sides = []
    for number in (1, 2):
        side = owner.inner(number)
        sides.append(side.inner(1).text(1) if side.has(1) else str(side.integer(2)))
    return ":".join(sides if owner.has(2) else sides[:1])


def _build(payload: bytes, found: dict[str, str]) -> None:
    for number, value in fields(payload):
        if number == 4:
            key, text = map_entry(value)
            found[key] = as_text(text)


def _merge(payload: bytes, found: dict[str, str]) -> None:
    found["merged"] = f"{sum(number == 1 for number, _ in fields(payload))} states"


def _diff(payload: bytes, found: dict[str, str]) -> None:
    values = _Values(payload)
    for number, word in ((1, "lower"), (2, "upper")):
        if values.inner(number).integer(1) < 0:
            found[word] = "scratch"


def _passthrough(payload: bytes, found: dict[str, str]) -> None:
    for number, value in fields(payload):
        if number == 1:
            found["id"] = as_text(value)
        elif number == 2:
            found["gives on"] = ", ".join(map(str, _numbers(value)))


def _platform(payload: bytes, found: dict[str, str]) -> None:
    values = _Values(payload)
    parts = [values.text(2), values.text(1), values.text(3)]
    found["platform"] = "/".join(part for part in parts if part)
    if values.text(4):
        found["platform version"] = values.text(4)
    if values.texts(5):
        found["platform features"] = ", ".join(values.texts(5))


def _constraints(payload: bytes, found: dict[str, str]) -> None:
    filters = _Values(payload).texts(1)
    if filters:
        found["worker"] = ", ".join(filters)


_READERS: dict[int, Callable[[bytes, dict[str, str]], None]] = {
    2: _exec,
    3: _source,
    4: _file,
    5: _build,
    6: _merge,
    7: _diff,
    8: _passthrough,
    10: _platform,
    11: _constraints,
}


# --------------------------------------------------------------------------------------- values


class _Values:
    """The fields of one message by number; the last of several counts. What is missing is zero."""

    __slots__ = ("_all",)

    def __init__(self, data: int | bytes) -> None:
        self._all: list[Field] = list(fields(as_bytes(data)))

    def has(self, number: int) -> bool:
        return any(each == number for each, _ in self._all)

    def raw(self, number: int) -> bytes:
        return as_bytes(next((v for n, v in reversed(self._all) if n == number), b""))

    def text(self, number: int) -> str:
        return as_text(self.raw(number))

    def texts(self, number: int) -> list[str]:
        return [as_text(value) for each, value in self._all if each == number]

    def integer(self, number: int) -> int:
        return as_signed(next((v for n, v in reversed(self._all) if n == number), 0))

    def flag(self, number: int) -> bool:
        return bool(self.integer(number))

    def inner(self, number: int) -> _Values:
        return _Values(self.raw(number))


def _optional(is_optional: bool) -> str:
    return ", optional" if is_optional else ""


def _numbers(value: int | bytes) -> list[int]:
    """Return a repeated integer, packed or a single one."""
    if isinstance(value, int):
        return [as_signed(value)]
    from depotlab.llb._decode import read_varint

    found, at = [], 0
    while at < len(value):
        number, at = read_varint(value, at)
        found.append(as_signed(number))
    return found
