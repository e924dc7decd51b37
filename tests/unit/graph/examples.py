"""Graphs that look like builds: stages, chains, copies between stages, merges, a shared context."""

from __future__ import annotations

import random

from depotlab._graph import Edge, Graph, Node

COMMANDS = (
    "apt-get update",
    "apt-get install -y --no-install-recommends build-essential curl git",
    "useradd --create-home app",
    "pip install --no-cache-dir -r requirements.txt",
    "python -m compileall /app",
    "npm ci --ignore-scripts",
    "npm run build",
    "go mod download",
    "go build -trimpath -o /out/server ./cmd/server",
    "cargo build --release --locked",
    "strip /out/server",
    "pytest -q",
    "ruff check .",
)


class Sketch:
    """Collects nodes and edges; each method returns the id of what it added."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []

    def add(self, kind: str, label: str, *inputs: str | tuple[str, str], group: str = "") -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(
            Node(name, label, kind, f"{kind}: {label}\ndigest sha256:{name}", group=group)
        )
        for each in inputs:
            source, how = each if isinstance(each, tuple) else (each, "")
            self.edges.append(Edge(source, name, how))
        return name

    def graph(self) -> Graph:
        return Graph(tuple(self.nodes), tuple(self.edges))


def tiny() -> Graph:
    """Five nodes: the graph of a first lesson."""
    s = Sketch()
    base = s.add("image", "docker.io/library/python:3.12-slim")
    src = s.add("local", "local .")
    need = s.add("file", "copy pyproject.toml", base, (src, "/pyproject.toml"))
    deps = s.add("exec", "pip install .", need)
    s.add("file", "copy app app", deps, (src, "/app"))
    return s.graph()


def fifteen() -> Graph:
    """Three stages: build with a compiler, assets, and what is shipped."""
    s = Sketch()
    src = s.add("local", "local .")
    go = s.add("image", "golang:1.25", group="builder")
    mod = s.add("file", "copy go.mod go.sum .", go, (src, "/go.mod"), group="builder")
    dl = s.add("exec", "go mod download", mod, group="builder")
    code = s.add("file", "copy . .", dl, (src, "/"), group="builder")
    out = s.add("exec", "go build -trimpath -o /out/server ./cmd/server", code, group="builder")
    node = s.add("image", "node:24-alpine", group="assets")
    ci = s.add("file", "copy package.json package-lock.json .", node, (src, "/web"), group="assets")
    npm = s.add("exec", "npm ci --ignore-scripts", ci, group="assets")
    web = s.add("exec", "npm run build", npm, (src, "bind /web"), group="assets")
    slim = s.add("image", "debian:12-slim", group="final")
    cert = s.add("exec", "apt-get install -y ca-certificates", slim, group="final")
    a = s.add("file", "copy /out/server /bin/", cert, (out, "/out/server"), group="final")
    b = s.add("file", "copy /web/dist /srv/www", a, (web, "/web/dist"), group="final")
    s.add("exec", "useradd app && chown -R app /srv", b, group="final")
    return s.graph()


def forty() -> Graph:
    """A service with tests, a front end, a downloaded tool, a git dependency and a merge."""
    s = Sketch()
    src = s.add("local", "local .")

    def chain(group: str, at: str, *steps: tuple[str, ...]) -> str:
        for kind, label, *inputs in steps:
            at = s.add(kind, label, at, *[(i, "/src") for i in inputs], group=group)
        return at

    base = s.add("image", "python:3.12-slim", group="base")
    base = chain(
        "base",
        base,
        ("exec", "apt-get update"),
        ("exec", "apt-get install -y gcc libpq-dev"),
        ("exec", "useradd --create-home app"),
    )
    deps = chain(
        "deps",
        base,
        ("file", "copy pyproject.toml uv.lock .", src),
        ("exec", "uv sync --frozen --no-install-project"),
        ("exec", "uv pip install gunicorn"),
    )
    lib = s.add("git", "github.com/example/schemas#v4", group="schemas")
    proto = s.add("image", "bufbuild/buf:1.50", group="schemas")
    gen = chain("schemas", proto, ("exec", "buf generate", lib), ("exec", "buf lint"))
    node = s.add("image", "node:24-alpine", group="web")
    web = chain(
        "web",
        node,
        ("file", "copy web/package.json .", src),
        ("exec", "npm ci --ignore-scripts"),
        ("file", "copy web web", src),
        ("exec", "npm run lint"),
        ("exec", "npm run build"),
    )
    test = chain(
        "test",
        deps,
        ("file", "copy tests tests", src),
        ("file", "copy generated /gen", gen),
        ("exec", "ruff check ."),
        ("exec", "mypy ."),
        ("exec", "pytest -q --junit-xml=/out/report.xml", src),
    )
    tool = s.add("http", "https://example.com/tini-amd64", group="final")
    app = chain(
        "app",
        deps,
        ("file", "copy app app", src),
        ("file", "copy generated app/gen", gen),
        ("exec", "python -m compileall app"),
    )
    delta = s.add("diff", "diff", base, app, group="app")
    slim = s.add("image", "gcr.io/distroless/python3", group="final")
    merged = s.add("merge", "merge", slim, delta, group="final")
    end = chain(
        "final",
        merged,
        ("file", "copy tini /sbin/tini", tool),
        ("file", "copy dist /srv/www", web),
        ("file", "copy report.xml /", test),
        ("exec", "chown -R app /srv"),
        ("file", "mkdir /data"),
        ("file", "copy entrypoint.sh /", src),
    )
    s.add("build", "build ./sbom", end, group="final")
    return s.graph()


def services(n_services: int, *, seed: int = 1) -> Graph:
    """A monorepo: one base, shared libraries, services that differ, one bundle at the end."""
    rng = random.Random(seed)
    s = Sketch()
    src = s.add("local", "local ./monorepo")
    base = s.add("image", "ubuntu:24.04", group="base")
    for command in COMMANDS[:3]:
        base = s.add("exec", command, base, group="base")
    libs = []
    for i in range(max(1, n_services // 4)):
        at = s.add("file", f"copy libs/lib{i}", base, (src, f"/libs/lib{i}"), group=f"lib{i}")
        for command in rng.sample(COMMANDS[3:], 3):
            at = s.add("exec", command, at, group=f"lib{i}")
        libs.append(at)
    ends = []
    for i in range(n_services):
        group = f"service{i}"
        at = base if rng.random() < 0.6 else s.add("image", f"vendor/runtime:{i}.2", group=group)
        at = s.add("file", f"copy services/{i}", at, (src, f"/services/{i}"), group=group)
        if rng.random() < 0.3:
            repo = s.add("git", f"github.com/example/dep{i}", group=group)
            at = s.add("file", "copy vendor", at, (repo, "/"), group=group)
        for lib in rng.sample(libs, min(len(libs), rng.randint(0, 2))):
            at = s.add("file", "copy from lib", at, (lib, "/out"), group=group)
        for command in rng.sample(COMMANDS[3:], rng.randint(2, 5)):
            at = s.add("exec", command, at, group=group)
        ends.append(at)
    final = s.add("image", "gcr.io/distroless/static", group="bundle")
    merged = s.add("merge", "merge", final, *ends, group="bundle")
    s.add("exec", "verify --all", merged, group="bundle")
    return s.graph()


def random_dag(n: int, *, seed: int = 1, mean_extra_inputs: float = 0.43) -> Graph:
    """Steps that use what came before, mostly lately: about 1.4 edges for each node."""
    rng = random.Random(seed)
    s = Sketch()
    kinds = ("exec", "exec", "exec", "file", "file", "merge", "image", "git", "http", "local")
    for i in range(n):
        kind = rng.choice(kinds) if i else "image"
        if i == 0 or kind in ("image", "git", "http", "local"):
            s.add(kind, f"{kind} source {i}")
            continue
        picked = {max(0, i - 1 - int(rng.expovariate(0.2)))}
        while rng.random() < mean_extra_inputs:
            picked.add(rng.randrange(i))
        s.add(kind, rng.choice(COMMANDS), *[f"n{p}" for p in sorted(picked)])
    return s.graph()


def some_states(graph: Graph, *, seed: int = 3) -> dict[str, str]:
    """States of a build in the middle: what came first is over, the front runs, the rest waits."""
    rng = random.Random(seed)
    inputs: dict[str, list[str]] = {}
    for edge in graph.edges:
        inputs.setdefault(edge.target, []).append(edge.source)
    states: dict[str, str] = {}
    for i, node in enumerate(graph.nodes):
        before = [states[x] for x in inputs.get(node.id, ())]
        if any(x in ("waiting", "running", "failed", "canceled") for x in before):
            states[node.id] = "waiting"
        elif i > len(graph.nodes) * 0.6:
            states[node.id] = rng.choice(["running", "running", "waiting", "failed", "canceled"])
        elif all(x == "cached" for x in before) and rng.random() < 0.8:
            states[node.id] = "cached"
        else:
            states[node.id] = rng.choice(["ran", "ran", "ran", "not needed"])
    return states


HOSTILE = (
    'say "hello" && exit',
    "two\nlines\r\nand\ttabs",
    "a --> b; c --- d",
    "</script><script>alert(1)</script>",
    "</title></svg><img src=x onerror=alert(1)>",
    "&quot; &#34; &amp;lt;",
    "back\\slash \\N \\n \\",
    "%%{init: {'theme':'dark'}}%%",
    "`**markdown**` $x^2$ #quot; #35;",
    "]]> <![CDATA[ x ]]> <!-- y -->",
    "end",
    "subgraph x",
    "\u202egnirts desrever\u2066 \u200f",
    "zero\x00 bell\x07 esc\x1b[31m del\x7f nel\x85",
    "lone \ud800 surrogate \ufffe \uffff",
    "日本語のラベル 한국어 中文",
    "emoji 👩‍👩‍👧‍👦 🏳️‍🌈 😴 ﷽ 𒐫 ﷺ",
    "Z̷͉̈́a̸l̵g̶o̶ combining",
    "',);drop{}[]()<>|/~^",
    "x" * 5000,
    "word " * 2000,
    "",
    " ",
)
"""Texts that have broken pictures, pages or parsers somewhere."""
