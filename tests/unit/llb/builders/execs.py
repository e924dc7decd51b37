from __future__ import annotations

from depotlab import llb, mount
from depotlab.llb import Platform, Proxy, Resources, Secret, State

from .words import Builders, alpine, busybox


def shell_words(text: str, *, strict: bool = True) -> State:
    return alpine().run(llb.shlex(text, strict=strict))


def env_run_scope() -> State:
    first = alpine().env(A="1", B="2").run(["one"], env={"B": "9", "X": "run"})
    return first.env(C="3").run(["two"])


def dir_user_run_scope() -> State:
    base = alpine().dir("/srv").user("app:app").hostname("box")
    return base.run(["one"], dir="sub", user="root", hostname="tmp").run(["two"])


def ulimits() -> State:
    limits = [("nproc", -1, -1), ("nofile", 5, 5), ("core", 0, 0)]
    return alpine().ulimit("nofile", 1024, 2048).run(["x"], ulimits=limits)


def extra_hosts() -> State:
    base = alpine().hosts({"db": "10.0.0.1"}).hosts({"six": "2001:0db8:0:0::0001"})
    more = {"db": "10.0.0.2", "mapped": "::ffff:1.2.3.4", "loop": "::1"}
    return base.run(["x"], hosts=more)


def cgroup_and_exit_codes() -> State:
    first = alpine().cgroup_parent("grp").run(["x"], valid_exit_codes=[0, 1, 255, 300])
    return first.run(["y"], cgroup_parent="other", valid_exit_codes=[-1])


def proxy_env() -> State:
    full = Proxy("http://p:1", "http://p:2", "ftp://p:3", "localhost,.local", "socks5://p:4")
    return alpine().run(["x"], proxy=full).run(["y"], proxy=Proxy())


def state_kitchen_sink() -> State:
    base = (
        llb.image("docker.io/library/alpine:3.20")
        .env(A=1)
        .dir("/w")
        .user("1000:1000")
        .hostname("h")
        .network("host")
        .security("insecure")
        .hosts({"x": "127.0.0.1"})
        .ulimit("stack", 1, 2)
        .cgroup_parent("cg")
    )
    return base.run(
        ["a", "b"], valid_exit_codes=[3], devices=["v/d=1"], proxy=Proxy("p"), readonly_root=False
    )


def meta_export_cache() -> State:
    first = alpine().run(["on"], export_cache=True).run(["off"], export_cache=False)
    return first.run(["reset"], export_cache=None)


def meta_progress_group() -> State:
    base = llb.image("alpine", progress_group=llb.ProgressGroup("g1", "Group one"))
    return base.run(["x"], progress_group=llb.ProgressGroup("g2", "Group two", weak=True))


def meta_linux_resources() -> State:
    everything = Resources(1048576, 2097152, 512, 100000, 50000, "0-3", "0,1")
    some = Resources(memory_bytes=5, cpu_quota_us=-1, cpuset_cpus="7")
    return alpine().run(["x"], resources=everything).run(["y"], resources=some)


def mount_bind_selector() -> State:
    return alpine().run(
        ["x"],
        mounts=[
            mount.bind("/etc/conf", busybox(), source_path="/etc/app/conf"),
            mount.bind("/rw", busybox(), source_path="rel/dir", readonly=False),
        ],
    )


def mounted_state_with_settings() -> State:
    return busybox().env(X="1").dir("/w").user("u")


def mount_add_after_values() -> State:
    mounted = mounted_state_with_settings()
    run = alpine().env(Y="2").run(["x"], mounts=[mount.bind("/m", mounted, readonly=False)])
    return mounted.with_output(run.mounted("/m")).run(["next"])


def mount_getmount_fresh_values() -> State:
    mounted = mounted_state_with_settings()
    run = alpine().env(Y="2").run(["x"], mounts=[mount.bind("/m", mounted, readonly=False)])
    return run.mounted("/m").run(["next"])


def mount_scratch_readonly() -> State:
    mounts = [
        mount.bind("/empty", readonly=True),
        mount.bind("/bb", busybox(), readonly=False),
    ]
    return llb.scratch().run(["/x"], mounts=mounts).mounted("/bb")


def mount_cache_from_state() -> State:
    golang = llb.image("golang:1")
    mounts = [
        mount.cache("/go", golang, id="go", source_path="/cache"),
        mount.cache("/ro", id="ro", sharing="locked", readonly=True),
        mount.bind("/zout"),
    ]
    return alpine().run(["x"], mounts=mounts).mounted("/zout")


def mount_no_output_content_cache() -> State:
    mounts = [
        mount.bind("/a", busybox(), readonly=False, output=False),
        mount.bind("/b", content_cache="on"),
        mount.bind("/c", busybox(), content_cache="off"),
        mount.bind("/d", content_cache="default"),
    ]
    return alpine().run(["x"], mounts=mounts).mounted("/d")


def mount_same_target_twice() -> State:
    mounts = [
        mount.bind("/m", busybox(), readonly=False),
        mount.bind("/m", llb.image("golang:1"), readonly=False),
        mount.bind("/a"),
    ]
    return alpine().run(["x"], mounts=mounts).mounted("/m")


def mount_outputs_consumed() -> State:
    outputs = [mount.bind("/o1"), mount.bind("/o2"), mount.bind("/a", busybox(), readonly=False)]
    made = alpine().run(["make"], mounts=outputs)
    return made.run(
        ["use"],
        mounts=[
            mount.bind("/in/2", made.mounted("/o2")),
            mount.bind("/in/1", made.mounted("/o1")),
            mount.bind("/in/a", made.mounted("/a")),
            mount.bind("/in/1again", made.mounted("/o1"), source_path="/sub"),
        ],
    )


def mount_dedupe_equal_builds() -> State:
    first, second = alpine(), llb.image("docker.io/library/alpine:latest")
    mounts = [
        mount.bind("/m1", second),
        mount.bind("/m2", second, readonly=False),
        mount.bind("/m3", first, readonly=False),
    ]
    return first.run(["x"], mounts=mounts).mounted("/m3")


def secret_file_options() -> State:
    mounts = [
        mount.secret("sid", "/s1", uid=1000, gid=1001, mode=0o440, optional=True),
        mount.secret("two", "/a", uid=0, gid=0, mode=0),
        mount.bind("/zz", busybox()),
    ]
    return alpine().run(["x"], mounts=mounts)


def secret_ssh_mounts_mix() -> State:
    mounts = [
        mount.ssh("s", "/a-sock"),
        mount.secret("/b-secret", "/b-secret"),
        mount.cache("/y", id="y", sharing="private"),
        mount.tmpfs("/x", size_bytes=1),
        mount.bind("/out"),
        mount.secret("z", "/a-secret"),
        mount.bind("/bb", busybox(), source_path="/bin"),
    ]
    return alpine().run(["x"], mounts=mounts).mounted("/out")


def ssh_existing_env() -> State:
    base = alpine().env(SSH_AUTH_SOCK="/mine").env(Z="1")
    return base.run(["x"], mounts=[mount.ssh(target="/sock")])


def caps_empty_windows_op() -> State:
    return llb.image("mcr.example.com/base", platform="windows/amd64").run(["x"])


def platform_state_normalised() -> State:
    state = alpine().platform(Platform("Linux", "x86_64")).run(["a"])
    state = state.platform(Platform("linux", "aarch64", "v8")).run(["b"])
    odd = Platform("macOS", "arm", os_features=("b", "a", "b"))
    state = state.platform(odd).run(["c"])
    return state.run(["d"], platform=Platform("Linux", "x86_64")).run(["e"])


def platform_normalise_table() -> State:
    table = [
        ("linux", "i386", "x"),
        ("linux", "x86-64", "v1"),
        ("linux", "amd64", "v2"),
        ("LINUX", "AARCH64", "8"),
        ("linux", "arm64", "9.0"),
        ("linux", "armhf", ""),
        ("linux", "armel", "v9"),
        ("linux", "arm", "6"),
        ("linux", "arm", "V8"),
        ("linux", "ARM", "7"),
        ("linux", "riscv64", "A"),
        ("macos", "amd64", "V1"),
    ]
    state = llb.scratch()
    for number, words in enumerate(table):
        state = state.platform(Platform(*words)).run([str(number)])
    return state


def platform_run_option_output() -> State:
    run = alpine().run(["x"], platform="linux/ppc64le", mounts=[mount.bind("/out")])
    second = run.mounted("/out").run(["y"])
    return run.run(["z"], mounts=[mount.bind("/m", second)])


def platform_state_lost_by_getmount() -> State:
    run = alpine().platform("linux/arm64").run(["x"], mounts=[mount.bind("/out")])
    return run.mounted("/out").run(["y"])


def constraints_marshal_and_op() -> State:
    base = llb.image("alpine", require=["img==1"])
    return base.run(["x"], require=["run==1", "run==2", "run==3"]).mkdir("/d", 0o700)


def constraints_marshal_description_leak() -> State:
    base = llb.image("alpine", name="img")
    return base.run(["x"], description={"run": "r"}).mkdir("/d", 0o755)


def meta_custom_name_description() -> State:
    words = {"a": "1", "llb.customname": "first", "b": "2"}
    return llb.image("alpine", name="pull 1").run(["x"], description=words, name="step 2")


BUILDERS: Builders = {
    "run_args_list": lambda: alpine().run(["/bin/sh", "-c", "echo  two  spaces", ""]),
    "run_shlex_simple": lambda: shell_words('sh -c "echo hello > /out"'),
    "run_shlex_quoting": lambda: shell_words(
        'a "b c" \'d e\' f\\ g "h\\"i" \'j\\k\' "l\\mn" "" x"y"z\'w\''
    ),
    "run_shlex_dollar": lambda: shell_words('sh -c "echo \\$HOME \\\\n \\a"'),
    "run_shlex_whitespace": lambda: shell_words("echo\u00a0x\ty\rz\nw \\\n v\fu"),
    "run_shlex_unterminated": lambda: shell_words('echo one "two three', strict=False),
    "env_order": lambda: alpine().env(C="3").env(A="1").env(B="2").run(["env"]),
    "env_override_moves_last": lambda: (
        alpine().env(A="1", B="2", C="3").env(A="4").env(B="2").run(["env"])
    ),
    "env_run_scope": env_run_scope,
    "dir_relative": lambda: alpine().dir("/a/b").dir("c").dir("../d/./e/").run(["pwd"]),
    "dir_absolute_uncleaned": lambda: alpine().dir("/a//b/../c/").run(["pwd"]),
    "dir_user_run_scope": dir_user_run_scope,
    "ulimits": ulimits,
    "extra_hosts": extra_hosts,
    "cgroup_and_exit_codes": cgroup_and_exit_codes,
    "cdi_devices": lambda: alpine().run(
        ["x"], devices=["vendor1.com/device=foo", llb.Device("vendor2.com/gpu=all", optional=True)]
    ),
    "proxy_env": proxy_env,
    "state_kitchen_sink": state_kitchen_sink,
    "meta_custom_name_description": meta_custom_name_description,
    "meta_export_cache": meta_export_cache,
    "meta_progress_group": meta_progress_group,
    "meta_linux_resources": meta_linux_resources,
    "mount_bind_readonly": lambda: alpine().run(["x"], mounts=[mount.bind("/src", busybox())]),
    "mount_bind_selector": mount_bind_selector,
    "mount_output_scratch": lambda: (
        alpine().run(["make"], mounts=[mount.bind("/out")]).mounted("/out")
    ),
    "mount_add_after_values": mount_add_after_values,
    "mount_getmount_fresh_values": mount_getmount_fresh_values,
    "mount_readonly_root_is_base": lambda: (
        alpine().env(A="1").run(["x"], readonly_root=True).run(["y"])
    ),
    "mount_readonly_mount_is_source": lambda: (
        alpine().run(["x"], mounts=[mount.bind("/src", busybox())]).mounted("/src").run(["y"])
    ),
    "mount_scratch_readonly": mount_scratch_readonly,
    "mount_cache_from_state": mount_cache_from_state,
    # A cache without an id is an ordinary mount; `mount.cache` refuses the empty id.
    "mount_cache_empty_id": lambda: alpine().run(["x"], mounts=[mount.bind("/c")]).mounted("/c"),
    "mount_tmpfs": lambda: alpine().run(
        ["x"], mounts=[mount.tmpfs("/t1"), mount.tmpfs("/t2", size_bytes=1048576)]
    ),
    "mount_no_output_content_cache": mount_no_output_content_cache,
    "mount_same_target_twice": mount_same_target_twice,
    "mount_outputs_consumed": mount_outputs_consumed,
    "mount_dedupe_equal_builds": mount_dedupe_equal_builds,
    "secret_default": lambda: alpine().run(
        ["x"], mounts=[mount.secret("/run/secrets/tok", "/run/secrets/tok")]
    ),
    "secret_file_options": secret_file_options,
    # `mount.secret` always finds a place for the secret, so this one is made by hand.
    "secret_without_destination": lambda: alpine().run(["x"], mounts=[Secret("ghost")]),
    "ssh_default": lambda: alpine().env(A="1").run(["x"], mounts=[mount.ssh()]),
    "ssh_existing_env": ssh_existing_env,
    "secret_ssh_mounts_mix": secret_ssh_mounts_mix,
    "caps_full": lambda: alpine().run(["x"]),
    "caps_empty_sets_path": lambda: alpine().env(A="1").run(["x"], mounts=[mount.ssh()]),
    "caps_empty_windows_op": caps_empty_windows_op,
    "platform_default_arm64": lambda: alpine().run(["x"]).mkdir("/d", 0o755),
    "platform_default_armv7": lambda: alpine().run(["x"]),
    "platform_state_normalised": platform_state_normalised,
    "platform_normalise_table": platform_normalise_table,
    "platform_run_option_output": platform_run_option_output,
    "platform_state_lost_by_getmount": platform_state_lost_by_getmount,
    "constraints_marshal_and_op": constraints_marshal_and_op,
    "constraints_marshal_metadata": lambda: alpine().run(["x"]),
    "constraints_marshal_description_leak": constraints_marshal_description_leak,
}
