from __future__ import annotations

from depotlab import llb, mount
from depotlab.llb import State

from .words import A64, Builders, alpine, busybox, go_copy, local, platform

ALPINE = "docker.io/library/alpine:latest"


def merge_only_scratch() -> State:
    empty = llb.merge(llb.scratch(), llb.scratch())
    return empty.run(["/x"], mounts=[mount.bind("/bb", busybox())])


def merge_values_from_first() -> State:
    first = alpine().env(A="1").dir("/a")
    second = busybox().env(B="2").dir("/b").user("b")
    return llb.merge(llb.scratch().env(S="0"), first, second).run(["x"])


def merge_nested() -> State:
    base = alpine()
    one = llb.diff(base, base.run(["one"]))
    two = llb.diff(base, base.run(["two"]))
    first = llb.merge(base, one)
    return llb.merge(llb.merge(first, two), first, one)


def diff_same_state() -> State:
    state = alpine().dir("/w")
    return llb.diff(state, state, name="nothing").run(["x"])


def build_op_constraints() -> State:
    holder = llb.image("example/llb-holder").env(A="1")
    built = llb.build(holder, "f", platform="linux/arm64", name="nested", require=["w==b"])
    return built.run(["use"])


def requires_two() -> State:
    base = llb.image("example.com/base").dir("/work")
    tag = llb.image("example.com/dep:a")
    return base.requires(tag, base.run(["check"]), id="test.requires").run(["x"])


def passthrough_outputs() -> State:
    inputs = [llb.image(f"example.com/input:{number}") for number in range(3)]
    knot = llb.passthrough(
        "test.multi",
        [
            inputs[0],
            llb.scratch(),
            (inputs[1], False),
            inputs[2],
            llb.image("example.com/input:0"),
        ],
        name="multi",
        require=["w==p"],
    )
    return knot.output(1)


def graph_diamond(**left_options: object) -> State:
    base = alpine()
    left = base.run(["left"], **left_options)  # type: ignore[arg-type]
    return left.run(["join"], mounts=[mount.bind("/right", base.run(["right"]))])


def graph_shared_mount_twice() -> State:
    built = alpine().run(["build"])
    twice = [mount.bind("/one", built), mount.bind("/two", built)]
    a = busybox().run(["a"], mounts=twice)
    return built.run(["b"], mounts=[mount.bind("/self", built), mount.bind("/a", a)])


def graph_equal_subgraphs() -> State:
    def made() -> State:
        return alpine().mkdir("/d", 0o755).run(["g"])

    return llb.merge(made(), made().run(["h"]), made())


def graph_chain_50() -> State:
    state = llb.image(ALPINE)
    for number in range(50):
        state = state.run(llb.shlex(f"echo {number}"))
    return state


def graph_merge_200() -> State:
    base = llb.image(ALPINE)
    return llb.merge(*(base.run(llb.shlex(f"echo {number}")) for number in range(200)))


def random_dag(size: int, seed: int) -> State:
    x = seed

    def pick(n: int) -> int:
        nonlocal x
        x = (x * 1103515245 + 12345) % 2**31
        return x // 256 % n

    base = llb.image(ALPINE)
    states: list[State] = [base]
    picked: set[int] = set()
    for number in range(size):
        mounts = []
        for place in range(1 + pick(3)):
            chosen = pick(len(states))
            picked.add(chosen)
            mounts.append(mount.bind(f"/in{place}", states[chosen]))
        states.append(base.run(["step", str(number)], mounts=mounts))
    return llb.merge(*(state for i, state in enumerate(states) if i not in picked))


def graph_go_project() -> State:
    src = local(
        "context",
        include=["go.mod", "go.sum", "**/*.go"],
        shared_key_hint="context",
        description={"llb.customname": "load context"},
    )
    golang = llb.image("golang:1.24-alpine").env(CGO_ENABLED="0").dir("/src")
    modules = mount.cache("/go/pkg/mod", id="gomod")
    source = mount.bind("/src", src)
    deps = golang.run(llb.shlex("go mod download"), mounts=[source, modules], name="deps")
    build = deps.run(
        llb.shlex("go build -o /out/app ./cmd/app"),
        mounts=[
            source,
            modules,
            mount.cache("/root/.cache/go-build", id="gobuild", sharing="private"),
            mount.bind("/out"),
            mount.secret("netrc", "/run/secrets/netrc", optional=True),
        ],
        name="build",
    )
    test = deps.run(llb.shlex("go test ./..."), mounts=[source], network="none", name="test")

    def static() -> State:
        return llb.image(f"gcr.io/distroless/static@{A64}")

    copied = static().file(
        go_copy(
            build.mounted("/out"),
            "/app",
            "/usr/bin/",
            create_dest_path=True,
            owner="65532:65532",
            mode=0o755,
        )
    )
    layer = llb.diff(static(), copied)
    return llb.merge(static(), layer).requires(test, id="tests")


def graph_multi_platform_merge() -> State:
    def made(words: str) -> State:
        base = llb.image("alpine", platform=platform(words))
        return base.run(["make"], mounts=[mount.bind("/out")]).mounted("/out")

    both = llb.scratch().file(
        go_copy(made("linux/amd64"), "/bin", "/amd64/bin"),
        go_copy(made("linux/arm64"), "/bin", "/arm64/bin"),
    )
    mounts = [mount.bind("/in", both), mount.bind("/arm", made("linux/arm64"))]
    return busybox().run(["index"], mounts=mounts)


BUILDERS: Builders = {
    "merge_two": lambda: llb.merge(alpine(), busybox()),
    "merge_scratch_filtered": lambda: llb.merge(
        llb.scratch(), alpine(), llb.scratch(), busybox(), llb.scratch()
    ),
    "merge_only_scratch": merge_only_scratch,
    "merge_values_from_first": merge_values_from_first,
    "merge_nested": merge_nested,
    "diff_basic": lambda: llb.diff(base := alpine(), base.run(["x"])),
    "diff_lower_scratch": lambda: llb.diff(llb.scratch(), alpine().env(A="1"), name="unused").run(
        ["x"]
    ),
    "diff_upper_scratch": lambda: llb.diff(alpine(), llb.scratch()),
    "diff_same_state": diff_same_state,
    "build_op_plain": lambda: llb.build(llb.image("example/llb-holder")),
    "build_op_constraints": build_op_constraints,
    "requires_two": requires_two,
    "passthrough_outputs": passthrough_outputs,
    "graph_diamond": graph_diamond,
    "graph_shared_mount_twice": graph_shared_mount_twice,
    "graph_equal_subgraphs": graph_equal_subgraphs,
    "graph_chain_50": graph_chain_50,
    "graph_merge_200": graph_merge_200,
    "graph_random_dag_60": lambda: random_dag(60, seed=7),
    "graph_go_project": graph_go_project,
    "graph_multi_platform_merge": graph_multi_platform_merge,
}
