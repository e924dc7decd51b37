"""Mistakes are raised by the call that makes them, and say what would be right."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from depotlab import llb, mount
from depotlab.errors import GraphError, ReferenceInvalid, UsageError

S = llb.image("alpine")
L = llb.local("/src", name="src")
A64 = "sha256:" + "a" * 64

MISTAKES: list[tuple[Callable[[], Any], str, str]] = [
    # What was called, a part of the message, a part of the hint.
    (lambda: S.run(), "needs a command", "run('make', 'test')"),
    (lambda: S.run([]), "needs a command", ""),
    (lambda: S.run(" "), "empty command", ""),
    (lambda: S.run("a", 3), "command[1]=3 is not text", ""),
    (lambda: S.run(3), "neither text nor a list", ""),
    (lambda: S.run(b"x"), "neither text nor a list", ""),
    (lambda: S.run({"a": "b"}), "neither text nor a list", ""),
    (lambda: S.run("a\0b"), "NUL", ""),
    (lambda: S.run("x\udcff"), "UTF-8", ""),
    (lambda: S.run("x", naem="n"), "run() has no option 'naem'", "'name'"),
    (lambda: S.run("x", netwrk="host"), "no option 'netwrk'", "'network'"),
    (lambda: S.run("x", zzz=1), "no option 'zzz'", "its options are: cgroup_parent,"),
    (lambda: S.run("x", network="hots"), "network='hots'", "'host'"),
    (lambda: S.run("x", security="unsafe"), "'sandbox', 'insecure'", ""),
    (lambda: S.run("x", env="A=1"), "env='A=1' is one string", ""),
    (lambda: S.run("x", env={"A": None}), "env['A']=None", ""),
    (lambda: S.run("x", env={"A": True}), "env['A']=True", ""),
    (lambda: S.run("x", env={"A=B": "1"}), "contains '='", ""),
    (lambda: S.run("x", env={"": "1"}), "env name is empty", ""),
    (lambda: S.run("x", env=[("A",)]), "not a name and a value", ""),
    (lambda: S.run("x", dir=3), "dir=3 is not text", ""),
    (lambda: S.run("x", hosts={"h": "10.0.0"}), "hosts['h']='10.0.0' is not an IP", ""),
    (lambda: S.run("x", hosts={"h": "fe80::1%eth0"}), "has a zone", ""),
    (lambda: S.run("x", ulimits={"nofiles": 5}), "ulimits name='nofiles'", "'nofile'"),
    (lambda: S.run("x", ulimits={"nofile": "5"}), "ulimits['nofile']", ""),
    (lambda: S.run("x", ulimits={"nofile": (1, 2, 3)}), "ulimits has", "(1024, 2048)"),
    (lambda: S.run("x", valid_exit_codes=1), "is one number", "[1]"),
    (lambda: S.run("x", valid_exit_codes=[2**31]), "valid_exit_codes=2147483648", ""),
    (lambda: S.run("x", devices="v/d=1"), "is one device", "['v/d=1']"),
    (lambda: S.run("x", proxy="http://p"), "is not a Proxy", "llb.Proxy"),
    (lambda: S.run("x", readonly_root=1), "readonly_root=1 is neither", ""),
    (lambda: S.run("x", mounts=mount.bind("/a")), "mounts is one mount", "[...]"),
    (lambda: S.run("x", mounts=["/a"]), "mounts[0]='/a' is not a mount", "mount.bind"),
    (lambda: S.run("x", platform="linux"), "platform='linux'", "linux/amd64"),
    (lambda: S.run("x", platform="arm64"), "platform='arm64'", "linux/arm64"),
    (lambda: S.run("x", platform="a/b/c/d"), "platform='a/b/c/d'", "os/architecture"),
    (lambda: S.run("x", platform=3), "neither text nor a Platform", ""),
    (lambda: S.run("x", require="a==1"), "require='a==1' is one string", "['a==1']"),
    (lambda: S.run("x", ignore_cache=1), "ignore_cache=1 is neither", ""),
    (lambda: S.run("x", export_cache="no"), "export_cache='no' is neither", ""),
    (lambda: S.run("x", description="d"), "not a mapping", ""),
    (lambda: S.run("x", name=""), "name is empty", ""),
    (lambda: S.run("x", progress_group="g"), "is not a ProgressGroup", ""),
    (lambda: S.run("x", resources=5), "is not a Resources", ""),
    (lambda: S.run("x", locations=["f"]), "is not a Location", "SourceMap.at"),
    (lambda: S.env(A=[1]), "env['A']=[1]", ""),
    (lambda: S.network("bridge"), "network='bridge'", "'sandbox' or 'host' or 'none'"),
    (lambda: S.ulimit("nofile", 1.5), "not a whole number", ""),
    (lambda: S.expose("http"), "port 'http'", "53/udp"),
    (lambda: S.expose(0), "between 1 and 65535", ""),
    (lambda: S.expose("90-80"), "between 1 and 65535", ""),
    (lambda: S.stop_signal("term!"), "stop_signal='term!'", "SIGTERM"),
    (lambda: S.healthcheck("x", interval_s=-1), "interval_s=-1", ""),
    (lambda: S.healthcheck("x", timeout_s=float("nan")), "timeout_s=nan", ""),
    (lambda: S.config(shell="bash"), "shell='bash' is one string", "['bash']"),
    (lambda: S.config(healthcheck="x"), "not a Healthcheck", ""),
    (lambda: S.cmd([1]), "cmd[0]=1 is not text", ""),
    (lambda: S.label(k=1), "label 'k'=1", ""),
    (lambda: mount.cache("/c", sharing="lockd"), "sharing='lockd'", "'locked'"),
    (lambda: mount.cache("/c", id=""), "id is empty", ""),
    (lambda: mount.cache(""), "target is empty", ""),
    (lambda: mount.bind(L, "/src"), "the source of a mount is '/src'", "target comes first"),
    (lambda: mount.bind("/a", readonly=1), "readonly=1 is neither", ""),
    (lambda: mount.bind("/a", readonly=[]), "readonly=[] is neither", ""),
    (lambda: mount.bind("/a", content_cache="of"), "content_cache='of'", "'off'"),
    (lambda: mount.bind(3), "target=3 is not text", ""),
    (lambda: mount.tmpfs("/t", size_bytes=-1), "size_bytes=-1", ""),
    (lambda: mount.secret(""), "id is empty", ""),
    (lambda: mount.secret("s", mode=600), "mode=600 is 0o1130", "0o600"),
    (lambda: mount.secret("s", uid=-1), "uid=-1 is not between", ""),
    (lambda: mount.ssh(3), "id=3 is not text", ""),
    (lambda: llb.mkdir("/a", 755), "mode=755 is 0o1363, written in decimal", "0o755"),
    (lambda: llb.mkdir("/a", "755"), "mode='755' is not a whole number", ""),
    (lambda: llb.mkdir("/a", 0o10000), "mode=4096", ""),
    (lambda: llb.mkfile("/a", 0o644), "not text or bytes but int", "content comes before"),
    (lambda: llb.mkfile("/a", "\udcff"), "UTF-8", "bytes"),
    (lambda: llb.mkfile("/a", owner=1.5), "owner=1.5", ""),
    (lambda: llb.mkfile("/a", owner=""), "owner is empty", ""),
    (lambda: llb.mkfile("/a", owner=(1, "b")), "owner='b'", ""),
    (lambda: llb.mkfile("/a", created_at=datetime(2020, 1, 1)), "no time zone", "UTC"),
    (lambda: llb.mkfile("/a", created_at="now"), "created_at='now'", ""),
    (lambda: llb.rm("/a", allow_not_found="x"), "allow_not_found='x'", ""),
    (lambda: S.mkdir("/a", parent=True), "no option 'parent'", "'parents'"),
    (lambda: S.copy("src", "a", "b"), "source 'src' is not a state", "None copies within"),
    (lambda: S.copy(L, "a"), "source path and a destination", ""),
    (lambda: S.copy(L, "a", "b", "c"), "must be a directory", "'c/'"),
    (lambda: S.copy(L, "a", "b", follow_symlink=True), "'follow_symlink'", "'follow_symlinks'"),
    (lambda: S.copy(L, "a", "b", include="*.py"), "include='*.py' is one string", ""),
    (lambda: S.copy(L, "a", "b", mode=""), "mode is empty", ""),
    (lambda: llb.copy(L, "a", "b", inclde=[]), "'inclde'", "'include'"),
    (lambda: llb.mkdir("/a").on("x"), "on('x') needs a state", ""),
    (lambda: S.file(), "needs an action", "llb.mkdir"),
    (lambda: S.file("mkdir /a"), "argument 0", "llb.mkdir"),
    (lambda: llb.merge([S, L]), "one list", "*states"),
    (lambda: llb.merge(S, "x"), "'x', which is not a state", ""),
    (lambda: llb.diff(S, None), "None, which is not a state", ""),
    (lambda: S.requires(L, id=""), "needs an id", ""),
    (lambda: llb.scratch().requires(L, id="x"), "no step that could wait", ""),
    (lambda: llb.passthrough("", [S]), "id is empty", ""),
    (lambda: llb.passthrough("x", []), "at least one input", ""),
    (lambda: llb.passthrough("x", [(S, False)]), "at least one input to give on", ""),
    (lambda: llb.build(llb.scratch()), "scratch has none", ""),
    (lambda: llb.local("/x", inclde=["a"]), "'inclde'", "'include'"),
    (lambda: llb.local("/x", include="a"), "include='a' is one string", "['a']"),
    (lambda: llb.local("/x", differ="meta"), "differ='meta'", "'metadata'"),
    (lambda: llb.local("/x", metadata_only_exceptions=["a"]), "metadata_only=True", ""),
    (lambda: llb.local(3), "path=3", ""),
    (lambda: llb.local("/a\0b"), "NUL", ""),
    (lambda: llb.image("x", resolve_mode="force"), "resolve_mode='force'", ""),
    (lambda: llb.image("x", layer_limit=-1), "layer_limit=-1", ""),
    (lambda: llb.image("x", checksum="sha256:abc"), "64 hexadecimal digits", ""),
    (lambda: llb.image("x", platfrm="linux/amd64"), "'platfrm'", "'platform'"),
    (lambda: llb.http(""), "url is empty", ""),
    (lambda: llb.http("ftp://x"), "neither http:// nor https://", ""),
    (lambda: llb.http("https://x", checksum="abc"), "not of the form sha256:HEX", ""),
    (lambda: llb.http("https://x", pgp_public_key="k"), "belong together", ""),
    (lambda: llb.http("https://x", pgp_public_key=b"\xff"), "not text", "armoured"),
    (lambda: llb.git(""), "url is empty", ""),
    (lambda: llb.git("ftp://h/r"), "scheme 'ftp'", "https"),
    (lambda: llb.git("https://u ser@h/r"), "percent-encoded", ""),
    (lambda: llb.git("https:///r"), "no valid host", ""),
    (lambda: llb.git("https://h/%zz"), "two hexadecimal digits", ""),
    (lambda: llb.git("https://h/\n"), "control character", ""),
    (lambda: llb.git("https://h/r", mtime="now"), "'checkout' nor 'commit'", ""),
    (lambda: llb.git("https://h/r", fetch_by_commit=True), "needs the commit", "checksum"),
    (lambda: llb.git("https://h/r", bundle="x", checksum="1"), "starts with neither", ""),
    (lambda: llb.git("https://h/r", bundle=f"oci-layout+blob://x@{A64}"), "needs the commit", ""),
    (lambda: llb.git("https://h/r", bundle_store_id="s"), "need a bundle", ""),
    (lambda: llb.git("https://h/r", "a:b", checkout_bundle=True), "neither keep_git_dir", ""),
    (lambda: llb.source(""), "identifier is empty", ""),
    (lambda: llb.oci_layout(""), "ref is empty", ""),
    (lambda: llb.shlex("echo 'a"), "the quote '", ""),
    (lambda: llb.shlex("echo \\"), "backslash", ""),
    (lambda: llb.ProgressGroup(""), "ProgressGroup id is empty", ""),
    (lambda: llb.Resources(cpu_shares=-1), "cpu_shares=-1", ""),
    (lambda: llb.Platform("linux", 3), "architecture=3", ""),
    (lambda: llb.SourceMap("f", 3), "not bytes or text", ""),
    (lambda: llb.SourceMap("f").at("x"), "start_line='x'", ""),
    (lambda: llb.SourceMap("f").at((1, 2, 3, 4, 5)), "not a range", "start_line"),
    (lambda: S.marshal(source="all"), "source='all'", ""),
    (lambda: S.marshal("linux"), "platform='linux'", ""),
    (lambda: S.marshal(caps="x"), "caps='x' is one string", ""),
    (lambda: llb.load("text"), "needs bytes, not str", ""),
]


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [pytest.param(*case, id=f"{number}: {case[1]}") for number, case in enumerate(MISTAKES)],
)
def test_a_mistake_is_named_where_it_is_made(
    call: Callable[[], Any], message: str, hint: str
) -> None:
    with pytest.raises(GraphError) as caught:
        call()
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.location is not None
    assert caught.value.location.filename.endswith("test_mistakes.py")


def test_errors_survive_pickling() -> None:
    with pytest.raises(UsageError) as caught:
        S.run("x", network="hots")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.location) == (str(caught.value), caught.value.location)
    assert copy.copy(caught.value).hint == caught.value.hint


def test_two_directories_of_one_name_are_refused_before_anything_is_sent() -> None:
    state = llb.merge(llb.local("/a", name="src"), llb.local("/b", name="src"))
    with pytest.raises(GraphError, match="two directories have the local name 'src'") as caught:
        state.marshal()
    assert "name=" in caught.value.hint


def test_blob_references_need_a_digest_and_no_tag() -> None:
    with pytest.raises(ReferenceInvalid, match="no tag") as tagged:
        llb.image_blob(f"me/blob:1@{A64}")
    assert f"docker.io/me/blob@{A64}" in tagged.value.hint
    with pytest.raises(ReferenceInvalid, match="digest is missing"):
        llb.oci_layout_blob("me/blob")


def test_git_warns_when_the_fragment_of_the_url_is_not_used() -> None:
    with pytest.warns(UserWarning, match=r"llb\.git\(url, 'main:sub'\)") as caught:
        llb.git("https://github.com/a/b.git#main:sub")
    assert caught[0].filename == __file__
