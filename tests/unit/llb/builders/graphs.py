from __future__ import annotations

from collections.abc import Callable

from depotlab import llb, mount
from depotlab.llb import Mount, SourceMap, State
from depotlab.llb._mount import place

from .chains import graph_diamond
from .words import A64, Builders, alpine, busybox, go_copy, local, marshalled

FILE = b"FROM alpine\nRUN one\nRUN two\n"
WINDOWS_CONFIG = (
    '{"architecture":"amd64","os":"windows","os.version":"10.0.17763.1",'
    '"os.features":["win32k"],"config":{"Env":["P=1"],"WorkingDir":""}}'
)
ARM_CONFIG = (
    '{"architecture":"arm64","os":"linux","variant":"v8","config":'
    '{"Env":["PATH=/usr/bin:/bin","EMPTY","X=a=b","=skipped"],"WorkingDir":"/app","User":"ignored"}}'
)


def state_reset() -> State:
    a = busybox().env(BAZ="def").dir("/x").user("a")
    b = alpine().env(BAR="abc").dir("/foo/bar").user("b").hostname("hb")
    return a.reset(b).run(["x"])


def state_reset_platform_output() -> State:
    a = llb.image("busybox", platform="linux/arm64").env(BAZ="def").dir("/x")
    b = llb.image("alpine", platform="linux/s390x").env(BAR="abc").dir("/foo/bar").user("b")
    return a.reset(b).run(["x"])


def state_with_output() -> State:
    output = llb.image("busybox", platform="linux/riscv64").env(B="2")
    return alpine().env(A="1").dir("/s").with_output(output).run(["x"])


def async_run_inside() -> State:
    base = alpine().dir("/foo")
    return llb.lazy(lambda: base.run(["cmd1"]).dir("sub")).run(["cmd2"])


def async_values_after() -> State:
    base = alpine().env(A="1")
    inner = llb.lazy(lambda: base.env(B="2").dir("/lazy").platform("linux/arm64"))
    outer = inner.dir("x").env(A="3")
    return outer.mkdir("d", 0o755).run(["x"], mounts=[mount.bind("/t", inner)])


def sourcemap_single() -> State:
    file = SourceMap("Dockerfile", FILE, "Dockerfile")
    base = llb.image("alpine", locations=[file.at((1, 0, 1, 11))])
    return base.run(["one"], locations=[file.at((2, 0, 2, 7))])


def sourcemap_several() -> State:
    f1, f2 = SourceMap("foo", b"data1", "lang1"), SourceMap("bar")
    places = [f2.at((7,)), f1.at((2, 3, 4, 5), (6, 7, 8, 9)), f2.at()]
    base = llb.image("alpine", locations=places)
    made = base.file(llb.mkdir("/d", 0o755), locations=[f1.at((1, 0, 1, 1))])
    context = local("ctx", locations=[f2.at((5, 0, 5, 5))])
    merged = llb.merge(made, context, locations=[f1.at((9, 0, 9, 9))])
    return llb.diff(base, merged, locations=[f1.at((10, 0, 10, 0))])


def sourcemap_equal_files() -> State:
    fa, fb = (SourceMap("Dockerfile", FILE, "Dockerfile") for _ in range(2))
    fc = SourceMap("Dockerfile", b"other", "Dockerfile")
    base = alpine()
    first = base.run(["same"], locations=[fa.at((2, 0, 2, 7))])
    second = base.run(["same"], locations=[fb.at((3, 0, 3, 7)), fc.at((1, 0, 1, 1))])
    return llb.merge(first, second)


def definition_round_trip() -> State:
    return llb.load(marshalled(graph_diamond(name="left one", ignore_cache=True)))


def definition_extend() -> State:
    old = alpine().env(A="1").dir("/w").run(["x"], name="old")
    loaded = llb.load(marshalled(old, "linux/s390x"))
    mounted = llb.image("alpine", platform="linux/s390x")
    return loaded.run(["new"], mounts=[mount.bind("/m", mounted)])


def definition_output_index() -> State:
    run = alpine().run(["x"], mounts=[mount.bind("/out"), mount.bind("/zzz")])
    return llb.load(marshalled(run.mounted("/out"))).mkfile("f", "1", 0o644)


def definition_with_source_map() -> State:
    file = SourceMap("Dockerfile", FILE, "Dockerfile", local("dockerfile"))
    base = llb.image("alpine", locations=[file.at((1, 0, 1, 11))])
    loaded = llb.load(marshalled(base.run(["one"], locations=[file.at((2, 0, 2, 7))])))
    again = SourceMap("Dockerfile", FILE, "Dockerfile")
    return loaded.run(["two"], locations=[again.at((3, 0, 3, 7))])


FRONTEND_INPUTS: Builders = {
    "base": lambda: alpine().run(["prep"]),
    "context": lambda: local("ctx", session_id="sess"),
}


def frontend_inputs_map() -> State:
    base, context = (llb.load(marshalled(make())) for make in FRONTEND_INPUTS.values())
    return base.run(["build"], mounts=[mount.bind("/src", context)])


BUILDERS: Builders = {
    "state_reset": state_reset,
    "state_reset_platform_output": state_reset_platform_output,
    # What we keep on a state beside its settings is the image config.
    "state_custom_value": lambda: (
        alpine().env(A="1").label({"my-key": "value"}).env(B="2").run(["x"])
    ),
    "state_with_output": state_with_output,
    "state_image_config_windows": lambda: (
        llb.image("mcr.example.com/w").dir("/keep").with_image_config(WINDOWS_CONFIG).run(["x"])
    ),
    "async_run_inside": async_run_inside,
    "async_values_after": async_values_after,
    "async_image_meta_resolver": lambda: llb.lazy(
        lambda: alpine().with_image_config(ARM_CONFIG)
    ).run(["x"]),
    "sourcemap_single": sourcemap_single,
    "sourcemap_several": sourcemap_several,
    "sourcemap_equal_files": sourcemap_equal_files,
    "definition_round_trip": definition_round_trip,
    "definition_extend": definition_extend,
    "definition_output_index": definition_output_index,
    "definition_with_source_map": definition_with_source_map,
    "frontend_inputs_map": frontend_inputs_map,
}


def boom() -> State:
    raise ValueError("boom")


def exec_with(*mounts: Mount) -> llb.Exec:
    return alpine().run(["x"], mounts=mounts)


MUST_FAIL: dict[str, Callable[[], State]] = {
    "err_image_hex_id": lambda: llb.image("a" * 64),
    "err_blob_tagged": lambda: llb.image_blob(f"myuser/myrepo:foo@{A64}"),
    "err_http_empty": lambda: llb.http(""),
    "err_run_no_args": lambda: alpine().run(),
    "err_run_empty_shlex": lambda: alpine().run(llb.shlex("# nothing")),
    # `mount.tmpfs` takes no source at all; the value itself refuses one.
    "err_tmpfs_source": lambda: exec_with(Mount(place("/t", tmpfs_bytes=0), busybox())),
    "err_no_output_used": lambda: (
        exec_with(mount.bind("/n", output=False)).mounted("/n").run(["y"])
    ),
    "err_cache_output": lambda: exec_with(mount.cache("/c", id="c")).mounted("/c").run(["y"]),
    "err_copy_bad_source": lambda: llb.scratch().file(go_copy(llb.image("Bad"), "/", "/")),
    "err_passthrough_no_id": lambda: alpine().requires(busybox(), id=""),
    "err_passthrough_output": lambda: llb.passthrough("p", [alpine()]).output(1).run(["x"]),
    "err_async": lambda: llb.lazy(boom).run(["x"]),
}
