from __future__ import annotations

import base64
from datetime import UTC, datetime

from depotlab import llb, mount
from depotlab.llb import FileAction, State

from .words import Builders, alpine, busybox, go_copy, local

UTC = UTC
CREATED = datetime(2009, 11, 10, 23, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_NS = 1_000_000_000


def mkdirs(*paths: str) -> list[FileAction]:
    return [llb.mkdir(path, 0o755) for path in paths]


def file_mkfile_binary_empty() -> State:
    return alpine().file(
        llb.mkfile("/bin.dat", base64.b64decode("AAEC//5BgAo="), 0),
        llb.mkfile("/empty", b"", 0o777),
        llb.mkfile("/nil", b"", 0o4755),
    )


def file_created_times() -> State:
    later = int(datetime(2019, 11, 10, 23, tzinfo=UTC).timestamp()) * SECOND_NS + 123456789
    return llb.scratch().file(
        llb.mkfile("/t0", b"a", 0o644, created_at=EPOCH),
        llb.mkfile("/t1", b"a", 0o644, created_at=-1),
        llb.mkfile("/t2", b"a", 0o644, created_at=later),
        llb.mkfile("/t3", b"a", 0o644),
        llb.mkdir("/t4", 0o755, created_at=EPOCH),
    )


def file_rm() -> State:
    return alpine().file(
        llb.rm("/tmp/x"),
        llb.rm("/var/*.log", allow_not_found=True, allow_wildcard=True),
        llb.rm("rel/../y/", allow_not_found=False, allow_wildcard=True),
    )


def file_path_forms() -> State:
    paths = ("foo", "./a/../b", "../../../x", "/a//b/../c/", "//double", "", ".", "/", "/../y")
    return alpine().dir("/work/dir").file(*mkdirs(*paths, "trail/"))


def file_copy_dest_forms() -> State:
    source = busybox()
    dests = [
        "dst",
        "dst/",
        "/abs/",
        "dst/.",
        "/abs/.",
        ".",
        "./",
        "",
        "/",
        "/.",
        "a/../..",
        "d//",
        "x/./",
    ]
    return alpine().dir("/w").file(*(go_copy(source, "/x", dest) for dest in dests))


def file_copy_src_forms() -> State:
    source, context = busybox().dir("/src/dir"), local("ctx")
    paths = ["file", "/abs/", "./a/../b/", "../up", "../../../../esc", "", "*.txt", "//dbl"]
    return (
        alpine()
        .dir("/dst")
        .file(
            *(go_copy(source, path, "/o") for path in paths),
            go_copy(context, "rel", "/o"),
            go_copy(context, ".", "/o"),
        )
    )


def file_copy_all_options() -> State:
    return alpine().file(
        llb.copy(
            local("ctx"),
            "src",
            "dst",
            mode=0o640,
            follow_symlinks=True,
            copy_dir_contents_only=True,
            include=["*.go", "b"],
            exclude=["x", "y/**"],
            required=["need"],
            attempt_unpack=True,
            create_dest_path=True,
            allow_wildcard=True,
            allow_empty_wildcard=True,
            owner=(3, 4),
            created_at=datetime(2021, 2, 3, 4, 5, 6, tzinfo=UTC),
            always_replace_existing_dest_paths=True,
        )
    )


def file_copy_wildcards() -> State:
    context = local("ctx")
    return alpine().file(
        go_copy(context, "/conf/*.conf", "/etc/conf/", allow_wildcard=True, create_dest_path=True),
        go_copy(context, "/none-*", "/x/", allow_wildcard=True, allow_empty_wildcard=True),
        go_copy(context, "/link", "/y", follow_symlinks=True),
    )


def file_copy_exclude_appends() -> State:
    return llb.scratch().file(
        go_copy(
            local("ctx"),
            "/",
            "/",
            copy_dir_contents_only=True,
            include=["i"],
            exclude=["e1", "e2", "e3"],
            owner="9:8",
        )
    )


def file_copy_same_state() -> State:
    state = alpine().dir("/w")
    return state.file(go_copy(state, "a", "b"))


def file_copy_run_output() -> State:
    run = llb.image("golang:1").dir("/src").run(["go", "build"], mounts=[mount.bind("/out")])
    return llb.scratch().file(
        go_copy(run.mounted("/out"), "app", "/app"), go_copy(run, "extra", "/extra")
    )


def file_chain_mixed() -> State:
    state = alpine().dir("/abc")
    return state.file(
        llb.mkdir("./foo", 0o755),
        llb.mkfile("foo/bar", "data", 0o600),
        go_copy(local("ctx"), "cfg", "foo/"),
        llb.symlink("bar", "/abc/foo/link"),
        llb.rm("/abc/tmp", allow_not_found=True),
        go_copy(state, "/etc/passwd", "passwd"),
    )


def file_two_sources_order() -> State:
    a, b, c = (llb.image(name) for name in ("aaa", "bbb", "ccc"))
    sources = [(a, "/1"), (b, "/2"), (c, "/3"), (a, "/4")]
    return alpine().file(*(go_copy(state, path, path) for state, path in sources))


def file_bound_action_source() -> State:
    made = llb.mkdir("./foo", 0o755).mkfile("foo/x", "x", 0o644).on(llb.scratch().dir("/ced"))
    return alpine().dir("/abc").file(llb.mkdir("./bar", 0o755), go_copy(made, "./foo", "./baz"))


def file_action_reused_on_two_states() -> State:
    action = llb.mkdir("d", 0o755).mkfile("d/f", "1", 0o644)
    return llb.merge(alpine().dir("/one").file(action), busybox().dir("/two").file(action))


def file_branching_actions() -> State:
    shared = llb.mkdir("/p", 0o755)
    first = shared.mkfile("/p/1", "1", 0o644)
    second = shared.mkfile("/p/2", "2", 0o644).on(alpine())
    return llb.scratch().file(first, go_copy(second, "/p/2", "/p/two"))


BUILDERS: Builders = {
    "file_mkdir": lambda: alpine().file(llb.mkdir("/foo", 0o755)),
    "file_mkdir_options": lambda: alpine().file(
        llb.mkdir("/a/b/c", 0o1777, parents=True, owner="app:staff", created_at=CREATED)
    ),
    "file_owner_scratch_base": lambda: llb.scratch().file(
        llb.mkdir("/foo", 0o700, owner="user1"),
        llb.mkfile("/bar", "x", 0o600, owner="user2:group2"),
    ),
    "file_mkfile": lambda: llb.scratch().mkfile("/hello.txt", "hello world\n", 0o644),
    "file_mkfile_binary_empty": file_mkfile_binary_empty,
    "file_created_times": file_created_times,
    "file_rm": file_rm,
    "file_path_forms": file_path_forms,
    "file_copy_dest_forms": file_copy_dest_forms,
    "file_copy_src_forms": file_copy_src_forms,
    "file_copy_basic": lambda: llb.scratch().file(go_copy(busybox(), "/bin/busybox", "/bin/")),
    "file_copy_all_options": file_copy_all_options,
    "file_copy_wildcards": file_copy_wildcards,
    "file_copy_exclude_appends": file_copy_exclude_appends,
    "file_copy_same_state": file_copy_same_state,
    "file_copy_from_scratch": lambda: alpine().file(go_copy(llb.scratch(), "src", "dst")),
    "file_copy_run_output": file_copy_run_output,
    "file_chain_mixed": file_chain_mixed,
    "file_two_sources_order": file_two_sources_order,
    "file_bound_action_source": file_bound_action_source,
    "file_action_reused_on_two_states": file_action_reused_on_two_states,
    "file_branching_actions": file_branching_actions,
    "file_long_chain": lambda: alpine().file(
        *(llb.mkfile(f"/f{number}", str(number), 0o644) for number in range(30))
    ),
}
