"""Whatever a user can hold shows itself: a short line, a table in a notebook, nothing secret, no address."""

from __future__ import annotations

import ast
import dataclasses
import enum
import html.parser
import importlib
import inspect
import re
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

import depotlab as dl
from depotlab import aio, api, client, errors, export, llb, mount, progress
from depotlab._past import KeptBuild, KeptBuilds
from depotlab._values import Tabular, Value, data_frame
from depotlab.errors import UsageError

MODULES = (
    "depotlab",
    "depotlab.progress",
    *(f"depotlab.{name}" for name in dl.__all__ if inspect.ismodule(getattr(dl, name))),
)
MAX_LINE = 200
SECRET = "planted-secret"
NOON = datetime(2026, 1, 2, tzinfo=UTC)

# Reached from a public value through a typed attribute, and no value: parts of a machine at work.
MACHINERY = {
    "depotlab._depot.connect.Connect": "makes calls; what an API client is made of",
    "depotlab._depot.api.Api": "the API on the I/O thread, behind both faces",
    "depotlab._oci.ingest.Ingest": "a file that is being written",
    "depotlab._session.credentials.Credentials": "goes to the session; shows no password",
    "depotlab._transfer.filters.TreeFilter": "decides about paths of a context",
    "depotlab._transfer.memory.MemoryTree": "files of a context as they are read",
    "depotlab._transfer.walk.HostTree": "a directory as it is walked",
    "depotlab.llb._where.capture_source": "a `with` block, and nothing to look at",
    "depotlab.progress._lines.LineSplitter": "cuts bytes into lines",
    "depotlab.progress._logs.StepLog": "what a log is written into",
}


def public_classes():
    """Yield every class that a public name is, gives back or has as an attribute, and those behind these."""
    found: dict[type, None] = {}
    waiting: list[object] = [client.Client, aio.Client]
    for name in MODULES:
        module = importlib.import_module(name)
        waiting += [getattr(module, public) for public in module.__all__]
    while waiting:
        one = waiting.pop()
        if isinstance(one, types.FunctionType):
            waiting += said(one.__annotations__.get("return"), one.__module__)
        if not inspect.isclass(one) or one in found or not is_ours(one):
            continue
        found[one] = None
        if title(one) in MACHINERY:
            continue
        for base in getattr(one, "__orig_bases__", ()):
            waiting += [x for each in typing.get_args(base) for x in said(each, one.__module__)]
        for kind in one.__mro__:
            for name, value in vars(kind).items():
                if not name.startswith("_"):
                    value = value.fget if isinstance(value, property) else value
                    waiting.append(getattr(value, "__func__", value))
            for name, annotation in inspect.get_annotations(kind).items():
                if not name.startswith("_"):
                    waiting += said(annotation, kind.__module__)
    return sorted(found, key=title)


def said(annotation: object, module: str) -> list[object]:
    """Return the classes that an annotation names."""
    annotation = getattr(annotation, "__forward_arg__", annotation)
    if isinstance(annotation, str):
        annotation = resolve(annotation, module)
    inner = [each for each in typing.get_args(annotation) if not isinstance(each, str)]
    flat = [one for each in inner for one in (each if isinstance(each, list) else [each])]
    return [annotation, typing.get_origin(annotation), *(x for one in flat for x in said(one, ""))]


def resolve(text: str, module: str) -> object:
    """Evaluate an annotation where it stands; what only type checkers import is looked up by its name."""
    names = dict(vars(sys.modules[module]))
    room = ".".join(module.split(".")[:2])
    # Two rooms may have a class of one name: the plane has tokens, and so has the service.
    near = sorted(sys.modules.items(), key=lambda item: (not item[0].startswith(room), item[0]))
    while True:
        try:
            return eval(text, names)
        except NameError as error:
            names[error.name] = next(
                (
                    vars(found)[error.name]
                    for key, found in near
                    if key.startswith("depotlab") and error.name in vars(found)
                ),
                object,
            )


def is_ours(kind: type) -> bool:
    return kind.__module__.startswith("depotlab") and "_proto" not in kind.__module__


def title(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def is_plain(kind: type) -> bool:
    """Exceptions, enums, named tuples and typed dictionaries show themselves as Python shows them."""
    return (
        issubclass(kind, BaseException | enum.Enum | dict)
        or hasattr(kind, "_fields")
        or getattr(kind, "_is_protocol", False)
    )


CLASSES = public_classes()
SHOWN = [k for k in CLASSES if not is_plain(k) and title(k) not in MACHINERY]


def test_the_walk_finds_what_verbs_give_back():
    names = {kind.__name__ for kind in CLASSES}
    assert {"BuildResult", "Steps", "Worker", "Why", "Listing", "Step", "LayerInfo"} <= names
    assert set(MACHINERY) <= set(map(title, CLASSES)), "one that is gone is to go here, too"


@pytest.mark.parametrize("kind", SHOWN, ids=title)
def test_a_class_says_how_it_shows_itself(kind):
    assert kind.__repr__ is not object.__repr__, "a repr of its own"
    assert hasattr(kind, "_repr_html_") or hasattr(kind, "_repr_mimebundle_"), "or mix in Value"
    assert inspect.getdoc(kind)
    auto = dataclasses.is_dataclass(kind) and kind.__dataclass_params__.repr
    written = "__repr__" in vars(kind) and "dataclass" not in kind.__repr__.__qualname__
    assert not auto or written or not hasattr(kind, "_facts"), "repr=False lets Value do it"


# ------------------------------------------------------------------------ whatever the fields hold


class Tags(html.parser.HTMLParser):
    """Finds elements that are not closed, and texts that a page would typeset as formulas; keeps the texts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if not {"pre", "code"} & set(self.open):
            # What stands between two of these in one element, JupyterLab takes for a formula.
            assert data in ("$", "\\") or not {"$", "\\"} & set(data), f"as it is: {data!r}"


def check(value: object) -> None:
    line = repr(value)
    assert "\n" not in line
    assert len(line) <= MAX_LINE, f"{len(line)} characters: {line[:300]}"
    assert not re.search(r"at 0x[0-9a-f]{6,}|depotlab\._", line), (
        "neither addresses nor our insides"
    )
    shown = [line, str(value)]
    if (to_html := getattr(value, "_repr_html_", None)) is not None:
        shown.append(to_html())
        tags = Tags()
        tags.feed(shown[-1])
        assert tags.open == []
        assert "<script>" not in shown[-1]
        assert len(shown[-1]) < 60_000
    assert not any(SECRET in text for text in shown)


LONG = r"$A \(b\) $C " + "<script> a word\n" * 40


def example(annotation: object, module: str, depth: int = 0) -> object:
    """Return a value of a type, as large as such values get."""
    annotation = getattr(annotation, "__forward_arg__", annotation)
    if isinstance(annotation, str):
        annotation = resolve(annotation, module)
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        kinds = [one for one in inner if one is not type(None)]
        return example(kinds[0], module, depth)
    if origin is typing.Literal:
        return inner[0]
    if origin is typing.Annotated or origin is typing.ClassVar:
        return example(inner[0], module, depth)
    if origin is tuple and len(inner) == 2 and inner[1] is ...:
        n = (12, 2, 1)[depth] if depth < 3 else 0
        return tuple(example(inner[0], module, depth + 1) for _ in range(n))
    if origin is tuple:
        return tuple(example(one, module, depth + 1) for one in inner)
    if origin in (list, Sequence, Iterable):
        return [example(inner[0], module, depth + 1)] * 12
    if isinstance(origin, type) and issubclass(origin, tuple):
        return origin([example(inner[0], module, depth + 1)] * 12)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {f"key{n}": example(inner[1], module, depth + 1) for n in range(12)}
    if origin is Callable or (origin is not None and not isinstance(origin, type)):
        return print
    return example_of(origin or annotation, depth)


def example_of(kind: typing.Any, depth: int) -> object:
    simple = {
        str: LONG,
        int: 123456789,
        float: 1234.5678,
        bool: True,
        bytes: b"\0" * 5000,
        object: LONG,
        Path: Path("/a") / ("long" * 60),
        datetime: NOON,
    }
    if kind in simple:
        return simple[kind]
    if kind in EXAMPLES:
        return EXAMPLES[kind]
    if not inspect.isclass(kind) or kind is typing.Any:
        return LONG
    if issubclass(kind, enum.Enum):
        return next(iter(kind))
    if dataclasses.is_dataclass(kind):
        given = {
            f.name: SECRET
            if not f.repr and str(f.type) in ("str", "str | None")
            else example(f.type, kind.__module__, depth + 1)
            for f in dataclasses.fields(kind)
            if f.init
        }
        made = kind.__new__(kind)  # what it checks is another matter
        for name, value in given.items():
            object.__setattr__(made, name, value)
        return made
    if hasattr(kind, "_fields"):
        hints = inspect.get_annotations(kind)
        return kind(*(example(hints[name], kind.__module__, depth + 1) for name in kind._fields))
    return kind.__name__


@dl.frontend.function
def a_frontend(gw: object, *, text: str) -> llb.State:
    """Never runs."""
    return llb.scratch()


STATE = llb.scratch().run("a command " * 50, name="a name " * 50)
DEFINITION = STATE.marshal("linux/amd64")
COMPARISON = llb.compare(STATE, llb.scratch().run("another " * 50))
FOLD = progress.Fold()
FOLD.feed([progress.VertexUpdated("sha256:1", LONG, started_ns=5, completed_ns=9, error=LONG)])
SNAPSHOT = FOLD.snapshot(at_ns=9)
PREVIEW = dl.context({f"{n}{'long' * 40}.py": "x" for n in range(9)}).preview()
EXAMPLES: dict[type, object] = {
    type(PREVIEW): PREVIEW,
    api.Table: api.Listing([api.Project(LONG, LONG)]).table(),
    progress.Snapshot: SNAPSHOT,
    progress.Step: SNAPSHOT.steps[0],
    llb.State: STATE,
    llb.Definition: DEFINITION,
    llb.OpView: DEFINITION.ops[0],
    llb.Comparison: COMPARISON,
    llb.Change: COMPARISON.changes[0],
    llb.Panes: STATE.panes(),
    llb.SourceMap: llb.SourceMap("Dockerfile", LONG.encode()),
    progress.LogTail: progress.LogTail(n_lines=10**6, n_bytes=10**9),
    progress.Steps: progress.Steps(),
    errors.SourceLocation: errors.SourceLocation("a/long/path/" * 20, 3, 4, LONG),
    type(dl.context("https://example.com/a.tar").where): dl.context(
        f"https://example.com/a.tar?signature={SECRET}"
    ).where,
    dl.telemetry.Answer: dl.telemetry.Answer(("name", "n"), ((LONG, 1),) * 40),
    type(a_frontend): a_frontend,
    type(a_frontend(text="x")): a_frontend(text="a text " * 50),
}

VALUES = [kind for kind in SHOWN if dataclasses.is_dataclass(kind)]


@pytest.mark.parametrize("kind", VALUES, ids=title)
def test_a_value_is_short_and_safe_whatever_it_holds(kind):
    check(example_of(kind, 0))


# ---------------------------------------------------------------------------------- the rest of them


def test_what_is_no_data_class_is_short_too():
    state = llb.image("busybox").run("echo " + "x" * 500, name="a name " * 60)
    values = [
        state,
        state.marshal("linux/amd64"),
        state.graph(),
        llb.compare(state, llb.image("busybox")),
        mount.cache("/var/cache"),
        mount.bind("/src", state),
        llb.mkdir("/a").mkfile("/b", "text " * 90),
        dl.OciLayout("long" * 40),
        FOLD,
        FOLD.logs,
        SNAPSHOT.steps[0].log,
        progress.Steps(SNAPSHOT.steps),
        api.Listing([api.Project("p1", LONG)], "projects"),
        KeptBuilds([KeptBuild(LONG, "unix:///x", "ref", NOON, 5)]),
        dl.secret.value(SECRET),
    ]
    for value in values:
        check(value)


def test_a_fact_reads_as_its_name_says():
    shown = Worked("busy", 1_500_000, 12.34, NOON, ("a", "b"), {"k": "v"}, True)._repr_html_()
    texts = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", shown)
    assert dict(zip(texts[::2], texts[1::2], strict=True)) == {
        "name": "busy",
        "size": "1.5 MB",
        "duration": "12.3 s",
        "began": "2026-01-02 00:00:00 UTC",
        "labels": "a<br>b",
        "options": "k=v",
        "pinned": "yes",
        "token": "•••",
    }
    assert "empty" not in shown, "what is empty says nothing"


@dataclasses.dataclass(frozen=True, repr=False)
class Worked(Value):
    name: str
    size_bytes: int
    duration_s: float
    began_at: datetime
    labels: tuple[str, ...]
    options: Mapping[str, str]
    pinned: bool
    empty: str = ""
    token: str = dataclasses.field(default=SECRET, repr=False)


def test_what_has_its_default_is_left_out_where_room_is_short():
    assert repr(Worked("a", 1, 1.0, NOON, (), {}, False)).endswith("pinned=False, empty='')")
    line = repr(Worked("a" * 300, 1, 1.0, NOON, ("x" * 200,), {}, False))
    assert "empty" not in line
    assert "token" not in line
    assert line.startswith("Worked(name='aaa")


# -------------------------------------------------------------------------------------------- pandas

TABLES = [k for k in CLASSES if issubclass(k, Tabular)]


def test_what_a_user_lists_is_a_table():
    assert {kind.__name__ for kind in TABLES} >= {
        "AllBuilt",
        "Comparison",
        "Difference",
        "Differences",
        "DiskUsage",
        "History",
        "KeptBuilds",
        "Layers",
        "Lint",
        "Listing",
        "Outline",
        "Pruned",
        "Sizes",
        "Stages",
        "Steps",
        "Why",
    }


@pytest.mark.parametrize("kind", [k for k in TABLES if k._columns], ids=title)
def test_a_table_has_its_columns_even_when_it_is_empty(kind):
    columns = kind._columns
    frame = data_frame([], columns)
    assert list(frame.columns) == list(columns)
    assert len(frame) == 0


def test_the_types_of_a_frame_are_those_that_the_names_say():
    rows = [
        {"name": "a", "began_at": NOON, "size_bytes": 5, "n_used": 1, "took_s": 2, "why": None},
        {
            "name": "b",
            "began_at": None,
            "size_bytes": None,
            "n_used": 2,
            "took_s": None,
            "why": "x",
        },
    ]
    frame = data_frame(rows, tuple(rows[0]))
    assert str(frame.began_at.dtype) in ("datetime64[ns, UTC]", "datetime64[us, UTC]")
    assert frame.began_at[0] == NOON
    assert [str(frame[name].dtype) for name in ("size_bytes", "n_used", "took_s")] == [
        "Int64",
        "int64",
        "float64",
    ]
    assert frame.size_bytes.sum() == 5
    assert frame.isna().sum().to_dict() == {
        "name": 0,
        "began_at": 1,
        "size_bytes": 1,
        "n_used": 0,
        "took_s": 1,
        "why": 1,
    }


def test_the_steps_of_a_build_are_a_frame():
    fold = progress.Fold()
    fold.feed(
        [
            progress.VertexUpdated(
                "sha256:1", "RUN make", started_ns=10**18, completed_ns=10**18 + 2 * 10**9
            ),
            progress.VertexUpdated("sha256:2", "COPY . ."),
        ]
    )
    frame = progress.Steps(fold.snapshot(at_ns=10**18 + 3 * 10**9).steps).to_pandas()
    assert list(frame.state) == ["ran", "waiting"]
    assert frame.duration_s[0] == 2.0
    assert str(frame.started_at.dt.tz) == "UTC"
    assert frame.ended_at.isna().tolist() == [False, True]
    assert frame[frame.state == "ran"].name.tolist() == ["RUN make"]


def test_lists_of_the_depot_api_are_frames_without_secrets():
    tokens = api.Listing([api.NewToken("t1", SECRET)], "tokens")
    assert list(tokens.to_pandas().columns) == ["id"]
    projects = api.Listing([api.Project("p", "x", created_at=NOON), api.Project("q", "y")])
    frame = projects.to_pandas()
    assert frame.created_at[0] == NOON
    assert frame.created_at.isna()[1]


def test_the_difference_of_two_graphs_is_a_frame():
    base = llb.image("busybox")
    frame = llb.compare(base.run("make"), base.run("make -j8")).to_pandas()
    assert frame.loc[0, ["what", "field", "a", "b"]].tolist() == [
        "changed",
        "command",
        "make",
        "make -j8",
    ]


def test_without_pandas_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="needs pandas") as caught:
        progress.Steps().to_pandas()
    assert "pip install pandas" in caught.value.hint
    assert ".rows()" in caught.value.hint
    assert progress.Steps().rows() == []


# --------------------------------------------------------------------------- completion and help


@pytest.mark.parametrize("name", MODULES)
def test_completion_of_a_module_shows_what_it_promises(name):
    module = importlib.import_module(name)
    assert set(dir(module)) <= set(module.__all__)
    hidden = set(module.__all__).difference(dir(module))
    assert hidden == set(getattr(module, "_FOR_ROOMS", ())), "what only our own rooms use"


def test_completion_shows_what_users_type_and_no_more():
    assert dir(dl.cache) == [
        "Cache",
        "azblob",
        "gha",
        "inline",
        "local",
        "registry",
        "s3",
    ]
    assert dir(export) == ["Artifact", "Output", "docker", "image", "local", "oci", "tar"]
    assert dir(dl.secret) == ["MAX_BYTES", "Secret", "env", "file", "of", "value"]


def public_callables():
    for name in MODULES:
        module = importlib.import_module(name)
        for public in module.__all__:
            value = getattr(module, public)
            if inspect.isfunction(value):
                yield f"{name}.{public}", value
    for kind in SHOWN:
        for name, value in vars(kind).items():
            value = value.fget if isinstance(value, property) else value
            value = getattr(value, "__func__", value)
            if not name.startswith("_") and inspect.isfunction(value):
                yield f"{title(kind)}.{name}", value


ELSEWHERE = re.compile(r"\b[Ss]ee `|those of `")


def test_a_docstring_says_what_comes_back_what_goes_in_and_what_is_raised():
    wanting = {name: said for name, function in public_callables() if (said := missing(function))}
    assert wanting == {}


def missing(function):
    """Return what a docstring does not say, or an empty text."""
    text = inspect.getdoc(function) or ""
    if not text.partition("\n\n")[0].endswith((".", "?")):
        return "begin with a sentence"
    if ELSEWHERE.search(text):
        return ""
    parameters = [p for p in inspect.signature(function).parameters if p not in ("self", "cls")]
    section = text.partition("Args:")[2]
    untold = [name for name in parameters if not re.search(rf"^ +{name}: ", section, re.M)]
    if len(parameters) > 2 and untold:
        return f"Args: {untold}"
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    raised = [
        node.exc.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
        if isinstance(node.exc.func, ast.Name) and node.exc.func.id in errors.__all__
    ]
    return f"Raises: {raised}" if raised and "Raises:" not in text else ""


# What the documents use most.
MOST_USED = [
    dl.compare,
    dl.connect,
    dl.context,
    dl.depot,
    dl.dockerfile,
    dl.local,
    dl.past,
    dl.BuildResult.at,
    dl.BuildResult.logs,
    dl.BuildResult.why,
    dl.Client.build,
    dl.Client.debug,
    dl.Client.disk_usage,
    dl.Client.history,
    dl.Client.layers,
    dl.Client.ls,
    dl.Client.read,
    dl.Client.run,
    dl.Client.shell,
    dl.Client.submit,
    dl.frontend.function,
    dl.secret.env,
    export.image,
    export.oci,
    llb.State.copy,
    llb.State.explain,
    llb.State.graph,
    llb.State.run,
    llb.image,
    llb.local,
    mount.cache,
]


@pytest.mark.parametrize("function", MOST_USED, ids=lambda one: one.__qualname__)
def test_what_is_used_most_has_an_example(function):
    assert "Example:" in function.__doc__
    assert ">>> " in function.__doc__
