"""The reference: a page for each public module, one for values, and one for kinds of arguments."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import typing
from collections.abc import Iterator

from docs.site import docstrings, public
from docs.site.docstrings import Docstring
from docs.site.public import Index, Member, Public

INTRO = """\
# Reference

Made from the signatures and docstrings of the code. Every verb of a client exists twice with one signature: blocking in
`depotlab`, to await in `depotlab.aio`. Names that begin with an underscore are no part of the interface.
"""
FIRST = {
    "depotlab": (
        *("connect", "local", "depot", "dockerfile", "context"),
        *("Client", "BuildResult", "Build"),
    ),
    "depotlab.llb": (
        *("image", "scratch", "local", "git", "http", "State", "Exec", "merge", "diff"),
        *("compare", "load", "Definition"),
    ),
}
CHILDREN_OF_VALUES = "values", "kinds"
_MANY = 6


def pages(index: Index) -> dict[str, str]:
    """Return the text of each page by its name in `reference/`."""
    made = {"index": _front(index)}
    for module in index.by_module:
        if module != "depotlab.errors":
            made[module] = _module_page(index, module)
    made["values"] = _values_page(index)
    made["kinds"] = _kinds_page(index)
    return made


def _front(index: Index) -> str:
    rows = ["| module | |", "|---|---|"]
    for module in index.by_module:
        page = "../errors" if module == "depotlab.errors" else module
        said = docstrings.parse(importlib.import_module(module)).summary
        rows.append(f"| [`{module}`]({page}.md) | {docstrings.inline(said, index.link)} |")
    rows += [
        "| [Values](values.md) | what verbs return: listings, records, layers, shells |",
        "| [Kinds of arguments](kinds.md) | the names that signatures use for what they take |",
        "| [The command](command.md) | `depotlab` in a terminal |",
    ]
    names = made_names(index)
    tree = "\n".join(["```{toctree}", ":hidden:", "", *names, "command", "```"])
    return f"{INTRO}\n" + "\n".join(rows) + f"\n\n{tree}\n"


def made_names(index: Index) -> list[str]:
    return [*(m for m in index.by_module if m != "depotlab.errors"), *CHILDREN_OF_VALUES]


def _module_page(index: Index, module: str) -> str:
    said = docstrings.parse(importlib.import_module(module))
    brief = module == "depotlab.aio"
    parts = [f"# {module}", f"```{{py:module}} {module}\n```", _body(said, index)]
    if index.elsewhere[module]:
        listed = ", ".join(f"{{py:obj}}`{name} <{path}>`" for name, path in index.elsewhere[module])
        parts.append(f"Also here: {listed}.")
    if brief:
        parts.append(
            "The verbs of the blocking face, with the same names, arguments and errors, to be awaited. They are told "
            "there; methods here lead to their twins."
        )
    listed = [p for p in index.by_module[module] if not _is_error(p.value)]
    failures = [p for p in index.by_module[module] if _is_error(p.value)]
    if failures:
        named = ", ".join(f"{{py:obj}}`{p.name} <{p.path}>`" for p in failures)
        parts.append(f"Its errors are on [the page of all errors](../errors.md): {named}.")
    functions = [p for p in listed if not inspect.isclass(p.value)]
    kinds = [p for p in listed if inspect.isclass(p.value)]
    parts += [entry(p, index, brief=brief) for p in _ordered(module, functions, kinds)]
    return "\n\n".join(parts) + "\n"


def _is_error(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, BaseException)


def _ordered(module: str, functions: list[Public], kinds: list[Public]) -> list[Public]:
    """What is used first comes first, then functions, then classes."""
    listed = {public.name: public for public in (*functions, *kinds)}
    head = [listed.pop(name) for name in FIRST.get(module, ()) if name in listed]
    return [*head, *listed.values()]


def _values_page(index: Index) -> str:
    parts = [
        "# Values",
        "What verbs give back, and what these values are made of. They are made by depotlab, so they are shown without "
        "constructors. In a notebook, most show themselves as a table.",
    ]
    ordered = sorted(index.values, key=lambda v: (v.path.startswith("aio."), v.name.lower()))
    parts += [entry(each, index, brief=each.path.startswith("aio.")) for each in ordered]
    return "\n\n".join(parts) + "\n"


def _kinds_page(index: Index) -> str:
    rows = []
    for name in sorted(index.aliases, key=str.lower):
        alias = index.aliases[name]
        meaning = index.annotation(alias.definition, "").replace("depotlab.", "")
        text = docstrings.inline(" ".join(alias.text.split()), index.link)
        rows.append(f":::{{py:data}} {name}\n:noindexentry:\n\n`{meaning}`\n\n{text}\n:::")
    head = "# Kinds of arguments\n\nNames in signatures that stand for several types.\n"
    return head + "\n" + "\n\n".join(rows) + "\n"


def entry(each: Public, index: Index, *, brief: bool = False, fence: int = 8) -> str:
    """Return the description of a function, a class or a constant."""
    fences = ":" * fence
    name = each.path.removeprefix(f"{each.module}.") if each.module else each.path
    said = docstrings.parse(each.value)
    if inspect.isclass(each.value):
        body = _class_entry(each, name, said, index, brief=brief, fences=fences)
    elif callable(each.value):
        kind = "py:function"
        body = _function_entry(name, each.value, index, kind=kind, fences=fences, brief=brief)
    else:
        body = f"{fences}{{py:data}} {name}\n\n{_constant_body(each)}\n{fences}"
    return f"## {name}\n\n{body}"


def _constant_body(each: Public) -> str:
    text = repr(each.value)
    return f"`{text}`" if len(text) < 200 else ""


def _class_entry(
    each: Public, name: str, said: Docstring, index: Index, *, brief: bool, fences: str
) -> str:
    kind = each.value
    assert inspect.isclass(kind)
    head = name + (_constructor(kind, index) if each.module and not brief else "")
    parts = [f"{fences}{{py:class}} {head}", ""]
    members = public.members(kind)
    if brief:
        twin = each.path.removeprefix("depotlab.aio.").removeprefix("aio.")
        path = index.link(twin) or twin
        parts += [docstrings.inline(said.summary, index.link), "", _listed(members, path), fences]
        return "\n".join(parts)
    parts += [_body(said, index, of=kind), ""]
    if len(members) > _MANY:
        parts += [_listed(members, each.path), ""]
    parts += [member_entry(member, index, fences=fences[:-2]) for member in members]
    return "\n".join([*parts, fences])


def _listed(members: list[Member], path: str) -> str:
    """The names of methods and properties on a few lines, each leading to where it is described."""
    return " · ".join(f"{{py:obj}}`{m.name} <{path}.{m.name}>`" for m in members)


def member_entry(member: Member, index: Index, *, fences: str) -> str:
    """Return the description of a method or a property."""
    function = public.function_of(member.value)
    value = member.value
    if isinstance(value, property) or hasattr(value, "func"):
        returns = getattr(function, "__annotations__", {}).get("return", "")
        said = docstrings.parse(value.fget if isinstance(value, property) else function)
        shown = index.annotation(returns, function.__module__) if isinstance(returns, str) else ""
        lines = [f"{fences}{{py:property}} {member.name}"]
        lines += [f":type: {shown}"] if shown else []
        return "\n".join([*lines, "", _body(said, index), fences])
    options = []
    if isinstance(value, classmethod):
        options.append(":classmethod:")
    if isinstance(value, staticmethod):
        options.append(":staticmethod:")
    return _function_entry(
        member.name,
        function,
        index,
        kind="py:method",
        fences=fences,
        skip_first=not isinstance(value, staticmethod),
        options=options,
    )


def _function_entry(
    name: str,
    function: object,
    index: Index,
    *,
    kind: str,
    fences: str,
    brief: bool = False,
    skip_first: bool = False,
    options: list[str] | None = None,
) -> str:
    plain = inspect.unwrap(function)  # type: ignore[arg-type]
    shown = signature(plain, index, skip_first=skip_first)
    options = list(options or [])
    if inspect.iscoroutinefunction(function):  # a blocking face wraps what is awaited
        options.append(":async:")
    said = docstrings.parse(plain)
    text = docstrings.inline(said.summary, index.link) if brief else _body(said, index)
    return "\n".join([f"{fences}{{{kind}}} {name}{shown}", *options, "", text, fences])


def _constructor(kind: type, index: Index) -> str:
    """The arguments of a class that users make, or nothing where only depotlab makes it."""
    made = vars(kind).get("__init__")
    if not inspect.isfunction(made):
        return ""
    text = " ".join(f"{made.__annotations__}".split())
    private = "Opened" in text or any("._" in str(v) for v in made.__annotations__.values())
    return "" if private else signature(made, index, skip_first=True, returns=False)


def signature(
    function: object, index: Index, *, skip_first: bool = False, returns: bool = True
) -> str:
    """Return the arguments and the result of a function, with the names that are documented in full."""
    made = inspect.signature(function)  # type: ignore[arg-type]
    home = function.__module__  # type: ignore[attr-defined]
    parameters = list(made.parameters.values())[1 if skip_first else 0 :]
    shown: list[str] = []
    star = False
    for at, parameter in enumerate(parameters):
        if parameter.name.startswith("_") and parameter.default is not parameter.empty:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            star = True
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            shown.append("*")
            star = True
        unpacked = _unpacked(parameter, home)
        if unpacked is not None:
            if not star:
                shown.append("*")
                star = True
            shown += list(_keywords(unpacked, index))
            continue
        shown.append(_parameter(parameter, index, home))
        following = parameters[at + 1] if at + 1 < len(parameters) else None
        last = following is None or following.kind is not parameter.POSITIONAL_ONLY
        if parameter.kind is parameter.POSITIONAL_ONLY and last:
            shown.append("/")
    result = made.return_annotation
    arrow = ""
    if returns and isinstance(result, str) and result:
        arrow = f" -> {index.annotation(result, home)}"
    return f"({', '.join(shown)}){arrow}"


def _parameter(parameter: inspect.Parameter, index: Index, home: str) -> str:
    prefix = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = parameter.annotation if isinstance(parameter.annotation, str) else ""
    annotation = index.annotation(text, home)
    shown = f"{prefix}{parameter.name}" + (f": {annotation}" if annotation else "")
    if parameter.default is parameter.empty:
        return shown
    return f"{shown}{' = ' if annotation else '='}{_default(parameter.default)}"


def _default(value: object) -> str:
    if value is None or isinstance(value, str | int | float | bytes | tuple):
        return repr(value)
    return "..."


def _unpacked(parameter: inspect.Parameter, home: str) -> type | None:
    """The dictionary of `**options: Unpack[…]`."""
    text = parameter.annotation
    if parameter.kind is not parameter.VAR_KEYWORD or not str(text).startswith("Unpack["):
        return None
    found = public.resolve(str(text)[len("Unpack[") : -1], home)
    return found if inspect.isclass(found) and typing.is_typeddict(found) else None


def _keywords(kind: type, index: Index) -> Iterator[str]:
    for name, text in kind.__annotations__.items():
        said = text if isinstance(text, str) else getattr(text, "__forward_arg__", "")
        yield f"{name}: {index.annotation(said, kind.__module__)} = ..."


def _body(said: Docstring, index: Index, *, of: type | None = None) -> str:
    parts = [docstrings.prose(said.text, index.link)]
    if of is not None:
        parts.append(attributes(said, of, index))
    fields = [f":param {name}: {_text(text, index)}" for name, text in said.items.get("Args", [])]
    for title, word in (("Returns", "returns"), ("Yields", "returns")):
        if title in said.sections:
            fields.append(f":{word}: {_text(said.sections[title], index)}")
    for name, text in said.items.get("Raises", []):
        path = index.link(name) or index.link(f"errors.{name}") or name
        fields.append(f":raises ~{path}: {_text(text, index)}")
    parts.append("\n".join(fields))
    parts += [
        docstrings.example(said.sections[title])
        for title in ("Example", "Examples")
        if title in said.sections
    ]
    return "\n\n".join(part for part in parts if part)


def _text(text: str, index: Index) -> str:
    return docstrings.inline(" ".join(text.split()), index.link)


def attributes(said: Docstring, kind: type, index: Index) -> str:
    listed = said.items.get("Attributes", [])
    if not listed:
        return ""
    hints: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        for name, text in vars(owner).get("__annotations__", {}).items():
            if isinstance(text, str):
                hints[name] = (
                    text.removeprefix("ClassVar[").removesuffix("]")
                    if (text.startswith("ClassVar["))
                    else text
                )
    if not dataclasses.is_dataclass(kind) and "__init__" in vars(kind):
        made = vars(kind)["__init__"]
        hints |= {k: v for k, v in made.__annotations__.items() if isinstance(v, str)}
        hints = public.made_attributes(kind) | hints
    rows = ["| attribute | type | |", "|---|---|---|"]
    for names, text in listed:
        for name in names.split(", "):
            hint = _cell(hints.get(name, "").replace("depotlab.", ""))
            code = f"`{hint}`" if hint else ""
            rows.append(f"| `{name}` | {code} | {_cell(_text(text, index))} |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
