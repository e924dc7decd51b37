"""What is sent and hardly meant to be: version control, environments, caches, data sets, and secrets.

Each comes with the line for `.dockerignore` that leaves it out. Names decide; where a name alone says little (a
certificate and a private key are both `.pem`), the beginning of the file does. Nothing of what is read is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from depotlab._contexts.survey import Count
from depotlab._values import Value

__all__ = ["Advisor", "Finding", "rule_for", "rules_text", "shown"]

Kind = Literal["secret", "version control", "environment", "packages", "cache", "data"]

_LARGE_BYTES = 10 << 20
_READ_BYTES = 64 << 10
_MAX_READS = 200
_MAX_FOUND = 10_000

_DIRECTORIES: dict[bytes, Kind] = {
    b".git": "version control",
    b".hg": "version control",
    b".svn": "version control",
    b"node_modules": "packages",
    b"__pycache__": "cache",
    b".ipynb_checkpoints": "cache",
    b".mypy_cache": "cache",
    b".pytest_cache": "cache",
    b".ruff_cache": "cache",
    b".nox": "environment",
    b".tox": "environment",
}
# In every virtual environment, and in every one of conda.
_IN_ENVIRONMENTS = (b"pyvenv.cfg", b"conda-meta")
_DATA = frozenset(
    b".7z .arrow .avro .bin .bz2 .ckpt .csv .db .dta .duckdb .feather .gguf .gz .h5 .hdf5 .joblib .jsonl .mat .mkv "
    b".mov .mp4 .nc .ndjson .npy .npz .onnx .orc .parquet .pickle .pkl .pt .pth .safetensors .sas7bdat .sav .sql "
    b".sqlite .sqlite3 .tar .tfrecord .tgz .tsv .wav .xlsx .xz .zip .zst".split()
)
_SECRETS = frozenset(
    b".git-credentials .htpasswd .netrc .pgpass .vault-token _netrc application_default_credentials.json "
    b"credentials.json id_dsa id_ecdsa id_ed25519 id_rsa kubeconfig secrets.json secrets.toml secrets.yaml "
    b"secrets.yml".split()
)
_SECRET_ENDS = frozenset(b".jks .kdbx .keystore .p12 .pfx .ppk".split())
_HARMLESS_ENV = frozenset(b"defaults dist example sample template".split())
# Names that are secrets only if what they hold looks so.
_BY_CONTENT = {
    b".npmrc": rb"(?m)^[^#;\n]*_(authToken|password|auth)\s*=\s*[^\s$]",
    b".yarnrc.yml": rb"npmAuth(Token|Ident):\s*[^\s$]",
    b".pypirc": rb"(?mi)^\s*password\s*[=:]\s*\S",
    b"pip.conf": rb"://[^/\s:]+:[^/\s@$]+@",
    b"config.json": rb'"auths?"\s*:\s*(\{\s*"[^"]+"\s*:\s*\{\s*"auth"|"[A-Za-z0-9+/=]{8})',
    b"config": rb"(?m)client-key-data:|^\s*token:\s*\S",
    b"credentials": rb"aws_secret_access_key",
    b".pem": rb"PRIVATE KEY-----",
    b".key": rb"PRIVATE KEY-----",
    b"account.json": rb'"private_key"\s*:\s*"-----BEGIN',
    b".tfstate": rb'"terraform_version"',
}
_CONTENT = {name: re.compile(expression) for name, expression in _BY_CONTENT.items()}
_KEY = re.compile(rb".*[-_](key|rsa|dsa|ecdsa|ed25519)")  # names that people give to keys
_ACCOUNT = re.compile(rb"(service[-_]?account|credential).*\.json")


@dataclass(frozen=True, slots=True, repr=False)
class Finding(Value):
    """Something that is sent, and hardly meant to be.

    Attributes:
        kind: `secret`, `version control`, `environment`, `packages`, `cache` or `data`.
        path: Of the file or directory, or of the first of several.
        n_places: How many of them there are.
        n_bytes: What they hold together.
        rule: The line for `.dockerignore` that leaves them out.
    """

    kind: Kind
    path: str
    n_places: int
    n_bytes: int
    rule: str

    @property
    def places(self) -> str:
        """Where it was found, in a few words."""
        return f"{self.path} and {self.n_places - 1:,} more" if self.n_places > 1 else self.path

    @property
    def why(self) -> str:
        """What it is, in a few words."""
        return {
            "secret": "likely a secret",
            "version control": "history of all files",
            "environment": "Python environment of this machine",
            "packages": "packages installed on this machine",
            "cache": "cache of this machine",
            "data": "large data",
        }[self.kind]

    def __str__(self) -> str:
        return f"{self.places}: {self.why}; to leave it out, add {self.rule} to .dockerignore"


@dataclass(slots=True)
class _Place:
    kind: Kind
    path: bytes
    n_bytes: int
    is_directory: bool


class Advisor:
    """Looks at what is sent while a tree is walked.

    Args:
        read: Returns the first bytes of a file, at most as many as asked for; nothing if it cannot be read. None
            where contents are not at hand: then only names count.
    """

    def __init__(self, read: Callable[[bytes, int], bytes] | None) -> None:
        self._read = read
        self._n_reads = 0
        self._found: list[_Place] = []
        # Of each directory that is open: what it is, and how much had been found before it.
        self._open: list[tuple[Kind | None, int]] = [(None, 0)]

    def enter(self, path: bytes) -> None:
        """A directory comes, of which something may be sent."""
        name = path.rpartition(b"/")[2]
        if name in _IN_ENVIRONMENTS:
            self._mark_environment()
        self._open.append((_DIRECTORIES.get(name), len(self._found)))

    def file(self, path: bytes, n_bytes: int) -> None:
        """A file comes that is sent."""
        name = path.rpartition(b"/")[2]
        end = name[name.rfind(b".") :] if b"." in name else b""
        if name in _IN_ENVIRONMENTS:
            self._mark_environment()
        elif end in _DATA and n_bytes >= _LARGE_BYTES:
            self._note(_Place("data", path, n_bytes, False))
        elif self._is_secret(path, name, end):
            self._note(_Place("secret", path, n_bytes, False))

    def leave(self, path: bytes, kept: Count) -> None:
        """A directory is complete, and so much of it is sent."""
        kind, n_before = self._open.pop()
        if kind is None or not kept.n_files:
            return
        del self._found[n_before:]  # what is in it goes with it
        self._note(_Place(kind, path, kept.n_bytes, True))

    def findings(self) -> tuple[Finding, ...]:
        """Return what was found, the most serious first; equal names together."""
        groups: dict[tuple[Kind, bytes], list[_Place]] = {}
        for place in self._found:
            groups.setdefault((place.kind, _group_of(place)), []).append(place)
        order = list(_ORDER)
        found = [
            Finding(
                kind,
                shown(places[0].path),
                len(places),
                sum(place.n_bytes for place in places),
                _rule(kind, places),
            )
            for (kind, _), places in groups.items()
        ]
        return tuple(sorted(found, key=lambda one: (order.index(one.kind), -one.n_bytes, one.path)))

    def _mark_environment(self) -> None:
        if len(self._open) > 1:  # the context itself is meant to be sent
            _, n_before = self._open[-1]
            self._open[-1] = ("environment", n_before)

    def _note(self, place: _Place) -> None:
        if len(self._found) < _MAX_FOUND:
            self._found.append(place)

    def _is_secret(self, path: bytes, name: bytes, end: bytes) -> bool:
        if name in _SECRETS or end in _SECRET_ENDS:
            return True
        if name in (b".env", b".envrc") or name.startswith(b".env."):
            return end.removeprefix(b".") not in _HARMLESS_ENV
        if end == b".env":
            return _HARMLESS_ENV.isdisjoint(re.split(rb"[-_.]", name))
        key = name if name in _CONTENT else end
        if end == b".json" and _ACCOUNT.search(name.lower()):
            key = b"account.json"
        elif _KEY.fullmatch(name.lower()):
            key = b".key"
        expression = _CONTENT.get(key)
        if expression is None:
            return False
        if name in (b"config", b"credentials", b"config.json"):
            # Names that mean something in these directories only.
            above = path.rpartition(b"/")[0].rpartition(b"/")[2]
            if above not in (b".kube", b".aws", b".docker"):
                return False
        if self._read is None:
            return True
        if self._n_reads >= _MAX_READS:
            return False
        self._n_reads += 1
        return expression.search(self._read(path, _READ_BYTES)) is not None


_ORDER: tuple[Kind, ...] = (
    "secret",
    "version control",
    "environment",
    "packages",
    "data",
    "cache",
)


def _group_of(place: _Place) -> bytes:
    """What places are shown together: data by directory and suffix, all else by name."""
    directory, _, name = place.path.rpartition(b"/")
    if place.kind == "data":
        return directory + b"/*" + name[name.rfind(b".") :]
    return place.path if place.kind == "environment" else name


def _rule(kind: Kind, places: list[_Place]) -> str:
    first = places[0].path
    if len(places) == 1:
        return rule_for(first)
    directory, _, name = first.rpartition(b"/")
    if kind == "data":
        pattern = "*" + rule_for(name[name.rfind(b".") :], escaped=True)
        return f"{rule_for(directory, escaped=True)}/{pattern}" if directory else pattern
    return f"**/{rule_for(name)}"


def rule_for(path: bytes, *, escaped: bool = False) -> str:
    """Return a line for an ignore file that matches this path and nothing else that is likely.

    Where a character means something to the matcher, it is escaped; where it cannot be written in such a
    file (a line break, bytes that are not UTF-8, white space at an end), any character matches.

    Args:
        path: Relative to the context.
        escaped: Escape it in any case, since it becomes a part of a pattern with wildcards.
    """
    text = path.decode("utf-8", "surrogateescape")
    if not escaped and not re.search(r"[\\*?\[\]\n\r\udc80-\udcff]|^[!#\s\ufeff]|\s$", text):
        return text
    out = re.sub(r"[\\*?\[\]{}|^]", r"\\\g<0>", text)
    return re.sub(r"[\n\r\udc80-\udcff]|^[!#\s\ufeff]|\s$", "?", out)


def shown(path: bytes) -> str:
    """Return a path for people: on one line, with what is no character escaped."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def rules_text(findings: Iterable[Finding]) -> str:
    """Return the lines to add to the end of `.dockerignore`."""
    return "".join(f"{finding.rule}\n" for finding in findings)
