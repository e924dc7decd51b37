"""A graph said as Python: a statement for each operation, in the words of this room.

What came from a Dockerfile, or from another program, can so be read, and taken over piece by piece. Rare settings are
left out with a comment that names them; so this is for people, and bytes are for `llb.load`.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from depotlab.llb._decode import as_bytes, fields
from depotlab.llb._dockerwords import AGENT, chown_flag, step_env
from depotlab.llb._fields import _Values as Values
from depotlab.llb._meta import CUSTOM_NAME
from depotlab.llb._reference import parse_reference
from depotlab.llb._view import OpView, op_name, split_op

if TYPE_CHECKING:
    from depotlab.llb._config import ImageConfig
    from depotlab.llb._definition import Definition

__all__ = ["to_python"]

Edge = tuple[str, int]

_WORD = re.compile(r"[a-z][a-z0-9_]{0,24}")
# As the Dockerfile front end names its steps: "[linux/amd64 builder 2/5] RUN make".
_STAGE = re.compile(r"\[(?:\S+/\S+ )?([a-zA-Z][^\]\s]*) +\d+/\d+\]")
_LOCAL_ATTRS = {
    "local.includepattern": "include",
    "local.excludepatterns": "exclude",
    "local.followpaths": "follow_paths",
}
_SHELL = ("/bin/sh", "-c")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NETWORKS = {1: "host", 2: "none"}
_MAX_LINE = 100


def to_python(definition: Definition, config: ImageConfig) -> tuple[str, dict[str, int]]:
    """Return the program, and the line of each op by digest, from 1."""
    text, lines = _Program(definition).run()
    said = [
        f"{name}={list(value) if isinstance(value, tuple) else value!r}"
        for name in (
            "entrypoint",
            "cmd",
            "exposed_ports",
            "volumes",
            "stop_signal",
            "shell",
            "on_build",
        )
        if (value := getattr(config, name)) not in (None, ())
    ]
    said += [f"labels={dict(config.labels)!r}"] if config.labels else []
    if said:
        text += f"result = {'result' if definition.head else 'llb.scratch()'}.config({', '.join(said)})\n"
    return text, lines


class _Program:
    def __init__(self, definition: Definition) -> None:
        self._views = [view for view in definition.ops if view.kind != "final"]
        self._by_digest = {view.digest: view for view in self._views}
        self._folders = definition.locals
        self._head = definition.head
        self._names: dict[str, str] = {}
        self._used = {"llb", "mount"}
        self._settings: dict[str, tuple[Mapping[str, str], str, str]] = {}
        self._mounts = False

    def run(self) -> tuple[str, dict[str, int]]:
        statements = []
        for view in self._views:
            words = self._expression(view)
            self._names[view.digest] = self._name(view)
            statements.append((view.digest, f"{self._names[view.digest]} = {words}"))
        head = f"from depotlab import llb{', mount' if self._mounts else ''}\n"
        lines = {}
        text = [head]
        at = 3
        for digest, statement in statements:
            lines[digest] = at
            text.append(statement)
            at += statement.count("\n") + 1
        return "\n".join(text) + "\n", lines

    def _name(self, view: OpView) -> str:
        wanted = re.sub(r"[^a-z0-9]+", "_", view.description.get(CUSTOM_NAME, "").lower()).strip(
            "_"
        )
        if view.digest == self._head:
            wanted = "result"
        elif not _WORD.fullmatch(wanted) or keyword.iskeyword(wanted):
            identifier = self._identifier(view)
            wanted = {"docker-image": "base", "local": "files"}.get(
                identifier.partition("://")[0], "step" if view.kind != "source" else "source"
            )
        name, number = wanted, 2
        while name in self._used:
            name, number = f"{wanted}_{number}", number + 1
        self._used.add(name)
        return name

    def _identifier(self, view: OpView) -> str:
        _, kind, payload = split_op(view.data)
        return op_name(kind, payload, ()) if kind == "source" else ""

    def _of(self, edge: Edge) -> str:
        digest, output = edge
        name = self._names[digest]
        view = self._by_digest[digest]
        if view.kind != "exec":
            return name
        _, _, payload = split_op(view.data)
        for raw in (as_bytes(value) for number, value in fields(payload) if number == 2):
            values = Values(raw)
            if values.integer(6) or values.integer(4) != output:
                continue
            return name if values.text(3) == "/" else f"{name}.mounted({values.text(3)!r})"
        return name

    def _expression(self, view: OpView) -> str:
        _, kind, payload = split_op(view.data)
        match kind:
            case "source":
                return self._source(view, payload)
            case "exec":
                return self._exec(view, payload)
            case "file":
                return self._file(view, payload)
            case "merge":
                self._settings[view.digest] = ({}, "/", "")
                return f"llb.merge({', '.join(map(self._of, view.inputs))})"
            case "diff":
                sides = []
                for number in (1, 2):
                    at = Values(payload).inner(number).integer(1)
                    inputs = view.inputs
                    sides.append(self._of(inputs[at]) if 0 <= at < len(inputs) else "llb.scratch()")
                return f"llb.diff({', '.join(sides)})"
            case _:
                return f"None  # an operation of the kind {kind}: see llb.load"

    def _source(self, view: OpView, payload: bytes) -> str:
        identifier = self._identifier(view)
        scheme, _, rest = identifier.partition("://")
        attrs = {}
        for number, value in fields(payload):
            if number == 2:
                entry = Values(value)
                attrs[entry.text(1)] = entry.text(2)
        if scheme == "docker-image":
            return f"llb.image({parse_reference(rest).familiar()!r})"
        if scheme == "local":
            path = str(self._folders.get(rest, "."))
            more = [
                f"{word}={json.loads(attrs[key])!r}"
                for key, word in _LOCAL_ATTRS.items()
                if attrs.get(key)
            ]
            return f"llb.local({', '.join([repr(path), f'name={rest!r}', *more])})"
        if scheme in ("http", "https"):
            more = [f"filename={attrs['http.filename']!r}"] if "http.filename" in attrs else []
            more += [f"checksum={attrs['http.checksum']!r}"] if "http.checksum" in attrs else []
            return f"llb.http({', '.join([repr(identifier), *more])})"
        if scheme == "git":
            url, _, ref = (attrs.get("git.fullurl") or f"https://{rest}").partition("#")
            ref = ref or rest.partition("#")[2]
            return f"llb.git({url!r}{f', ref={ref!r}' if ref else ''})"
        return f"llb.source({identifier!r})"

    def _base(self, edge: Edge | None) -> tuple[str, tuple[Mapping[str, str], str, str]]:
        if edge is None:
            return "llb.scratch()", ({}, "/", "")
        return self._of(edge), self._settings.get(edge[0], ({}, "/", ""))

    def _exec(self, view: OpView, payload: bytes) -> str:
        values = Values(payload)
        meta = values.inner(1)
        mounts, root = [], None
        for raw in (as_bytes(value) for number, value in fields(payload) if number == 2):
            one = Values(raw)
            given = one.integer(1)
            edge = view.inputs[given] if 0 <= given < len(view.inputs) else None
            if one.text(3) == "/":
                root = edge
            else:
                mounts.append(self._mount(one, edge))
        for raw in (as_bytes(value) for number, value in fields(payload) if number == 5):
            secret = Values(raw)
            mounts.append(f"mount.secret({secret.text(1)!r}, env={secret.text(2)!r})")
        name, (env, directory, user) = self._base(root)
        words = [name]
        now = step_env(meta)
        fresh = {
            k: v for k, v in now.items() if env.get(k) != v and (k, v) != ("PATH", _DEFAULT_PATH)
        }
        if fresh:
            words.append(f".env({fresh!r})")
        if meta.text(3) not in ("", directory):
            words.append(f".dir({meta.text(3)!r})")
        if meta.text(4) != user:
            words.append(f".user({(meta.text(4) or 'root')!r})")
        if values.integer(3) in _NETWORKS:
            words.append(f".network({_NETWORKS[values.integer(3)]!r})")
        if values.integer(4) == 1:
            words.append(".security('insecure')")
        self._settings[view.digest] = (now, meta.text(3) or directory, meta.text(4))
        args = meta.texts(1)
        command = repr(args[2]) if tuple(args[:2]) == _SHELL and len(args) == 3 else repr(args)
        more = []
        if mounts:
            self._mounts = True
            more.append(f"mounts=[{', '.join(mounts)}]")
        more += self._named(view)
        words.append(f".run({', '.join([command, *more])})")
        return _wrapped(words)

    def _mount(self, one: Values, edge: Edge | None) -> str:
        target, kind = one.text(3), one.integer(6)
        match kind:
            case 1:
                optional = ", optional=True" if one.inner(21).flag(5) else ""
                return f"mount.secret({one.inner(21).text(1)!r}, {target!r}{optional})"
            case 2:
                name = one.inner(22).text(1)
                words = [repr(name)] if name not in ("", "default") else []
                words += [f"target={target!r}"] if not target.startswith(AGENT) else []
                words += ["optional=True"] if one.inner(22).flag(5) else []
                return f"mount.ssh({', '.join(words)})"
            case 3:
                cache = one.inner(20)
                more = [f"id={cache.text(1)!r}"] if cache.text(1) != target else []
                more += [
                    f"sharing={w!r}"
                    for n, w in ((1, "private"), (2, "locked"))
                    if cache.integer(2) == n
                ]
                return f"mount.cache({', '.join([repr(target), *more])})"
            case 4:
                return f"mount.tmpfs({target!r})"
        source = "llb.scratch()" if edge is None else self._of(edge)
        more = [f"source_path={one.text(2)!r}"] if one.text(2).strip("/") else []
        more += [] if one.flag(5) else ["readonly=False"]
        return f"mount.bind({', '.join([repr(target), source, *more])})"

    def _named(self, view: OpView) -> list[str]:
        name = view.description.get(CUSTOM_NAME, "")
        # The Dockerfile front end names its steps by what they are, which stands here already.
        return [f"name={name!r}"] if name and not name.startswith("[") else []

    def _file(self, view: OpView, payload: bytes) -> str:
        actions = [Values(value) for number, value in fields(payload) if number == 2]
        first = actions[0].integer(1) if actions else -1
        edge = view.inputs[first] if 0 <= first < len(view.inputs) else None
        name, settings = self._base(edge)
        self._settings[view.digest] = settings
        words = [name]
        more = self._named(view)
        words += [self._action(view, action, more) for action in actions]
        return _wrapped(words)

    def _action(self, view: OpView, action: Values, named: list[str]) -> str:
        if action.has(4):
            copy = action.inner(4)
            given = action.integer(2)
            source = (
                self._of(view.inputs[given]) if 0 <= given < len(view.inputs) else "llb.scratch()"
            )
            words = [source, repr(copy.text(1)), repr(copy.text(2))]
            if copy.integer(4) >= 0 and not copy.text(15):
                words.append(f"mode=0o{copy.integer(4):o}")
            return f".copy({', '.join([*words, *_owner(copy, 3), *named])})"
        if action.has(5):
            made = action.inner(5)
            content = made.raw(3)
            try:
                shown = repr(content.decode())
            except UnicodeDecodeError:
                shown = repr(content)
            mode = [] if made.integer(2) == 0o644 else [f"mode=0o{made.integer(2):o}"]
            words = [repr(made.text(1)), shown, *mode, *_owner(made, 4), *named]
            return f".mkfile({', '.join(words)})"
        if action.has(6):
            made = action.inner(6)
            mode = [] if made.integer(2) == 0o755 else [f"mode=0o{made.integer(2):o}"]
            parents = ["parents=True"] if made.flag(3) else []
            words = [repr(made.text(1)), *mode, *parents, *_owner(made, 4), *named]
            return f".mkdir({', '.join(words)})"
        if action.has(7):
            return f".rm({', '.join([repr(action.inner(7).text(1)), *named])})"
        link = action.inner(8)
        return f".symlink({', '.join([repr(link.text(1)), repr(link.text(2)), *named])})"


def _owner(values: Values, number: int) -> list[str]:
    flags = chown_flag(values.inner(number) if values.has(number) else None)
    return [f"owner={flag.partition('=')[2]!r}" for flag in flags]


def _wrapped(words: list[str]) -> str:
    """Return a chain of calls, on several lines when it is long."""
    line = "".join(words)
    if len(line) <= _MAX_LINE or len(words) == 2:
        return line
    return "(\n    " + words[0] + "".join(f"\n    {word}" for word in words[1:]) + "\n)"
