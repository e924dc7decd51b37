"""What is public: the names that modules list, what their verbs give and take, and where each is documented."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import pkgutil
import re
import textwrap
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import depotlab

_TOKEN = re.compile(r"[A-Za-z_][\w.]*")
_STRINGS = re.compile(r"'[^']*'|\"[^\"]*\"")
# Rooms whose classes are no values that a user holds.
_NO_VALUES = ("_proto", "_rpc", "_session", "_transfer", "_portal", "_plane")
# Parts by which values work, which happen to be attributes of them.
_INNER = ("BuildRequest", "Connect")


@dataclass(frozen=True)
class Public:
    """One public thing.

    Attributes:
        path: What it is documented as: `depotlab.llb.State`, or for what has no module to be imported from, `Listing`.
        value: The thing.
        module: The module whose page it is on, or empty for values and kinds of arguments.
    """

    path: str
    value: object
    module: str = ""

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Alias:
    """A name for a type, as signatures use it."""

    name: str
    definition: str
    text: str


def modules() -> list[str]:
    """The public modules, `depotlab` first."""
    listed = [name for name in depotlab.__all__ if inspect.ismodule(getattr(depotlab, name, None))]
    course = importlib.util.find_spec("depotlab.course")
    more = ["course"] if course and "course" not in listed else []
    return ["depotlab", *(f"depotlab.{name}" for name in [*listed, *more])]


class Index:
    """Every public thing, found by what it is or by what it is called."""

    def __init__(self) -> None:
        self.by_module: dict[str, list[Public]] = {}
        self.elsewhere: dict[str, list[tuple[str, str]]] = {}
        self.values: list[Public] = []
        self.aliases: dict[str, Alias] = {}
        self._paths: dict[int, str] = {}
        self._links: dict[str, str | None] = {}
        for module in modules():
            self._read_module(module)
        self._read_values()
        self._make_links()

    def _read_module(self, module: str) -> None:
        made = importlib.import_module(module)
        self.by_module[module], self.elsewhere[module] = [], []
        for name in made.__all__:
            value = getattr(made, name)
            if inspect.ismodule(value) or name == "__version__":
                continue
            path = f"{module}.{name}"
            known = self.path_of(value)
            if known:
                self.elsewhere[module].append((name, known))
            else:
                self._paths[id(value)] = path
                self.by_module[module].append(Public(path, value, module))

    def _read_values(self) -> None:
        """Follow annotations from public things to values that have no public module, until nothing is new."""
        waiting = [public for publics in self.by_module.values() for public in publics]
        while waiting:
            public = waiting.pop(0)
            face = "aio." if public.path.startswith(("depotlab.aio.", "aio.")) else ""
            for home, annotation, given in annotations(public.value):
                for token in tokens(annotation):
                    found = resolve(token, home)
                    if found is None or self.path_of(found):
                        continue
                    if not inspect.isclass(found):
                        self._note_alias(token, found, waiting)
                        continue
                    if not given or not _is_value(found) or token.startswith("_"):
                        continue
                    taken = {value.path for value in self.values}
                    # Names that two rooms use are told apart by the face or the room they come from.
                    room = found.__module__.split(".")[1].lstrip("_")
                    path = next(
                        name
                        for name in (token, f"{face}{token}", f"{room}.{token}")
                        if name not in taken
                    )
                    made = Public(path, found)
                    self._paths[id(found)] = path
                    self.values.append(made)
                    waiting.append(made)

    def _note_alias(self, token: str, found: object, waiting: list[Public]) -> None:
        if token in self.aliases or inspect.ismodule(found) or inspect.isroutine(found):
            return
        alias = alias_of(token)
        if alias:
            self.aliases[token] = alias
            waiting.append(Public(token, _Annotated(alias.definition)))

    def _make_links(self) -> None:
        for public in self.everything():
            self._note_link(public.path, public.path)
            self._note_link(public.name, public.path)
            face = public.path.startswith(("depotlab.aio.", "aio."))
            if inspect.isclass(public.value) and not face:  # told at their blocking twins
                for member in members(public.value):
                    path = f"{public.path}.{member.name}"
                    self._note_link(path, path)
                    self._note_link(f"{public.name}.{member.name}", path)
                    if public.path == "depotlab.Client":
                        self._note_link(f"bk.{member.name}", path)

    def _note_link(self, text: str, path: str) -> None:
        short = text.removeprefix("depotlab.")
        for each in {text, short}:
            known = self._links.get(each, path)
            # What is on two pages is meant in the first, except where both are methods: then nothing is linked.
            self._links[each] = known if known == path or path.startswith("depotlab.aio.") else None

    def everything(self) -> Iterator[Public]:
        for publics in self.by_module.values():
            yield from publics
        yield from self.values

    def path_of(self, value: object) -> str | None:
        """What a thing is documented as."""
        return self._paths.get(id(value)) if not isinstance(value, str | int) else None

    def link(self, code: str) -> str | None:
        """What a text in backticks means, if it is one public thing."""
        if "." not in code and not code[:1].isupper():
            return None
        return self._links.get(code.removesuffix("()"))

    def annotation(self, text: str, home: str) -> str:
        """Return an annotation with the names that are documented in full."""
        if not text:
            return ""

        def named(match: re.Match[str]) -> str:
            found = resolve(match[0], home)
            path = self.path_of(found) if found is not None else None
            return path or match[0].rpartition(".")[2]

        parts = re.split(r"('[^']*'|\"[^\"]*\")", text)
        return "".join(part if i % 2 else _TOKEN.sub(named, part) for i, part in enumerate(parts))


class _Annotated:
    """Stands for the right side of an alias, whose names are followed too."""

    def __init__(self, definition: str) -> None:
        self.definition = definition


@dataclass(frozen=True)
class Member:
    """A public method or property of a class."""

    name: str
    value: object
    owner: type


def members(kind: type) -> list[Member]:
    """The public methods and properties of a class and of its bases that are ours, in the order of the source."""
    found: dict[str, Member] = {}
    for owner in kind.__mro__:
        if not owner.__module__.startswith("depotlab"):
            continue
        for name, value in vars(owner).items():
            if name.startswith("_") or name in found or inspect.isclass(value):
                continue
            plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            if isinstance(plain, property | types.FunctionType) or hasattr(plain, "func"):
                found[name] = Member(name, value, owner)
    return list(found.values())


def function_of(value: object) -> types.FunctionType | None:
    """The function behind a method, a property or a class method."""
    if isinstance(value, classmethod | staticmethod):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    if hasattr(value, "func"):  # functools.cached_property
        value = value.func
    return value if callable(value) else None  # type: ignore[return-value]


def annotations(value: object) -> Iterator[tuple[str, str, bool]]:
    """Every annotation of a thing that readers see: the module that it is read in, its text, and whether it is given.

    What is given (a result, an attribute) is followed to values; what is taken is only looked through for kinds.
    """
    if isinstance(value, _Annotated):
        yield "", value.definition, False
    elif inspect.isclass(value):
        for owner in value.__mro__:
            if owner.__module__.startswith("depotlab"):
                for name, text in vars(owner).get("__annotations__", {}).items():
                    if not name.startswith("_"):
                        yield owner.__module__, _text(text), True
        for name, made in made_attributes(value).items():
            yield value.__module__, made, not name.startswith("_")
        for member in members(value):
            yield from annotations(function_of(member.value))
    elif inspect.isfunction(value):
        for name, text in value.__annotations__.items():
            yield value.__module__, _text(text), name == "return"


def made_attributes(kind: type) -> dict[str, str]:
    """Attributes that a constructor makes without saying of what type: the class that it calls for each."""
    constructor = vars(kind).get("__init__")
    if not inspect.isfunction(constructor) or dataclasses.is_dataclass(kind):
        return {}
    made = {}
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(constructor)))):
        match node:
            case ast.Assign(
                targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)],
                value=ast.Call(func=ast.Name(id=called)),
            ):
                made[name] = called
    return made


def _text(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else ""


def _is_value(kind: type) -> bool:
    room = kind.__module__.removeprefix("depotlab.").split(".")[0]
    ours = kind.__module__.startswith("depotlab.")
    return ours and room not in _NO_VALUES and kind.__name__ not in _INNER


def tokens(annotation: str) -> Iterable[str]:
    return [t for t in _TOKEN.findall(_STRINGS.sub("", annotation)) if t not in ("None", "Literal")]


def resolve(token: str, home: str) -> object | None:
    """What a name in an annotation is: in its module, else the only class of ours of that name."""
    first, *rest = token.split(".")
    scope = vars(importlib.import_module(home)) if home else {}
    found = scope.get(first) or classes().get(first)
    for name in rest:
        found = getattr(found, name, None)
    if found is None and not rest:
        found = _alias_values().get(first)
    return found


@cache
def classes() -> dict[str, type]:
    """Classes of ours whose name no other has."""
    seen: dict[str, list[type]] = {}
    for module in _modules():
        for name, value in vars(module).items():
            if inspect.isclass(value) and value.__module__ == module.__name__:
                seen.setdefault(name, []).append(value)
    return {name: found[0] for name, found in seen.items() if len(found) == 1}


@cache
def _modules() -> list[types.ModuleType]:
    names = [
        info.name
        for info in pkgutil.walk_packages(depotlab.__path__, "depotlab.")
        if not info.name.startswith("depotlab._proto.") and not info.name.endswith("__main__")
    ]
    return [importlib.import_module(name) for name in names if "._local._supervisor" not in name]


@cache
def _aliases() -> dict[str, Alias]:
    """Names for types in our source: `Name = …` or `Name: TypeAlias = …`, and the text below it."""
    found: dict[str, Alias] = {}
    for path in sorted(Path(depotlab.__file__).parent.rglob("*.py")):
        if "_proto" in path.parts:
            continue
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for at, node in enumerate(body):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    pass
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    pass
                case _:
                    continue
            if not name[:1].isupper() or name.isupper() or isinstance(value, ast.Name | ast.Call):
                continue
            after = body[at + 1] if at + 1 < len(body) else None
            said = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                said = inspect.cleandoc(str(after.value.value))
            found.setdefault(name, Alias(name, ast.unparse(value), said))
    return found


@cache
def _alias_values() -> dict[str, object]:
    return {name: _Annotated(alias.definition) for name, alias in _aliases().items()}


def alias_of(name: str) -> Alias | None:
    return _aliases().get(name)
