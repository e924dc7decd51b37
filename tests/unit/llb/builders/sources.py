from __future__ import annotations

import warnings

from depotlab import llb, mount
from depotlab.llb import Platform, State

from .words import A64, B64, Builders, alpine, local, platform

BUILDKIT = "https://github.com/moby/buildkit.git"
FOO = "https://github.com/foo/bar.git"
COMMIT = "1" * 40
PATTERNS = ["a<b>&c", '"\\/', "café", "\u2028", "\t\n\r", "\u0001\b\f\u007f", "😀", ""]
ATTRS = {
    "": "emptykey",
    "Z": "3",
    "a": "2",
    "a-b": "5",
    "a.b": "4",
    "aa": "6",
    "b": "1",
    "empty": "",
    "é": "7",
    "\ufffd": "9",
    "😀": "8",
}


def image_all_options() -> State:
    return llb.image(
        "alpine",
        platform=platform("linux/arm/v7"),
        resolve_mode="pull",
        layer_limit=2,
        checksum=A64,
        internal=True,
        require=["worker.name==a", "label==x"],
        name="pull alpine",
    )


def image_blob_platform_dropped() -> State:
    blob = llb.image_blob(f"myuser/myrepo@{A64}", platform="linux/arm64")
    return blob.run(["true"])


def local_all_options() -> State:
    everything = local(
        "everything",
        session_id="s1",
        include=["a"],
        exclude=["b"],
        follow_paths=["c"],
        shared_key_hint="k",
        differ="metadata",
        differ_required=True,
        metadata_only=True,
        metadata_only_exceptions=["d"],
        platform="linux/arm64",
        require=["w==1"],
        unique_id="ignored-id",
    )
    return alpine().run(["true"], mounts=[mount.bind("/src", everything)])


def git_url_fragment_ignored() -> State:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return llb.git(f"{FOO}?x=1#branch:sub", "")


def git_bundle_oci_store() -> State:
    return llb.git(
        FOO,
        checksum=COMMIT,
        bundle=f"oci-layout+blob://notreal/repo@{B64}",
        bundle_session_id="sess1",
        bundle_store_id="store1",
    )


def http_all_options() -> State:
    return llb.http(
        "https://example.com/f",
        checksum=B64,
        filename="f.bin",
        mode=0o600,
        uid=1,
        gid=2,
        auth_header_secret="A",
        user_agent="ua",
        pgp_public_key="P",
        pgp_signature="S",
        platform="linux/arm64",
        name="fetch f",
        ignore_cache=True,
    )


BUILDERS: Builders = {
    "scratch": llb.scratch,
    "image_short_name": lambda: llb.image("alpine"),
    "image_namespaced": lambda: llb.image("moby/buildkit"),
    "image_localhost_no_port": lambda: llb.image("localhost/app"),
    "image_legacy_domain": lambda: llb.image("index.docker.io/busybox:1"),
    "image_ipv6_registry": lambda: llb.image("[fd00::1]:5000/app"),
    "image_tag_and_digest": lambda: llb.image(f"alpine:3.20@{A64}"),
    "image_digest_only": lambda: llb.image(f"example.com/org/app@{A64}"),
    "image_resolve_prefer_local": lambda: llb.image("alpine:3.20", resolve_mode="local"),
    "image_resolve_default": lambda: llb.image("alpine:3.20", resolve_mode="default"),
    "image_platform_arm64": lambda: llb.image("alpine", platform="linux/arm64"),
    "image_platform_full": lambda: llb.image(
        "mcr.example.com/base:1",
        platform=Platform("windows", "amd64", "v2", "10.0.20348.1", ("win32k", "another")),
    ),
    "image_layer_limit_zero": lambda: llb.image("alpine:3.20", layer_limit=0),
    "image_checksum": lambda: llb.image("alpine:3.20", checksum=B64),
    "image_all_options": image_all_options,
    "image_blob_file_info": lambda: llb.image_blob(
        f"reg.example.com/blobs/x@{B64}", filename="data.bin", mode=0o640, uid=10, gid=20
    ),
    "image_blob_platform_dropped": image_blob_platform_dropped,
    "oci_layout_blob": lambda: llb.oci_layout_blob(
        f"myrepo/blob@{A64}", session_id="sid", store_id="store0", filename="b.tar", mode=0o400
    ),
    "local_plain": lambda: local("context"),
    "local_unique_per_op": lambda: local("context", unique_id="op-level-id"),
    "local_json_escaping": lambda: local("src", include=PATTERNS),
    "local_empty_lists": lambda: local("src", include=[], exclude=[], follow_paths=[]),
    "local_shared_key_differ_none": lambda: local(
        "src", shared_key_hint="hint-1", differ="none", differ_required=True
    ),
    "local_metadata_only": lambda: local("src", metadata_only=True),
    "local_metadata_only_exceptions": lambda: local(
        "src", metadata_only=True, metadata_only_exceptions=["a/b", "*.txt"]
    ),
    "local_all_options": local_all_options,
    "git_https_ref": lambda: llb.git(BUILDKIT, "v0.11.6"),
    "git_fragment_subdir": lambda: llb.git(BUILDKIT, "main:/docs/../examples//"),
    "git_no_scheme": lambda: llb.git("github.com/foo/bar.git", "ref"),
    "git_url_fragment_ignored": git_url_fragment_ignored,
    "git_url_credentials_port": lambda: llb.git(
        "https://user:p%40ss@git.example.com:8443/team/repo.git", "main"
    ),
    "git_http_path_cleaning": lambda: llb.git("http://git.example.com/a//b/../c.git/", "x"),
    "git_scp_style": lambda: llb.git(
        "git@github.com:moby/buildkit.git", "main", known_hosts="github.com ssh-ed25519 AAAA"
    ),
    "git_ssh_url_socket": lambda: llb.git(
        "ssh://deploy@git.example.com:2222/team/repo.git",
        "main:sub",
        known_hosts=["h1 k1\n", "h2 k2"],
        ssh_id="mykey",
    ),
    "git_ssh_options_on_https": lambda: llb.git(FOO, "", known_hosts="h k", ssh_id="mykey"),
    "git_keep_git_dir": lambda: llb.git(FOO, "main", keep_git_dir=True),
    "git_auth_off": lambda: llb.git(FOO, "main", auth_token_secret="", auth_header_secret=""),
    "git_ref_subdir_options": lambda: llb.git(
        FOO, "old:dir", ref="refs/tags/v1.0", subdir="/x/../y/"
    ),
    "git_checksum_submodules_mtime": lambda: llb.git(
        FOO, "v1", checksum="0123456789" * 4, skip_submodules=True, mtime="commit"
    ),
    "git_fetch_by_commit": lambda: llb.git(
        FOO, "main", checksum=COMMIT, fetch_by_commit=True, mtime="checkout"
    ),
    "git_bundle_image": lambda: llb.git(
        FOO, checksum=COMMIT, bundle=f"docker-image+blob://example.com/repo@{A64}"
    ),
    "git_bundle_oci_store": git_bundle_oci_store,
    "http_plain": lambda: llb.http("https://example.com/file.tar.gz?x=1"),
    "http_checksum_filename": lambda: llb.http(
        "https://example.com/file.tar.gz", checksum=A64, filename="out.tgz"
    ),
    "http_perm_owner": lambda: llb.http("https://example.com/f", mode=0o755, uid=1000, gid=1001),
    "http_headers": lambda: llb.http(
        "https://example.com/f", accept="application/json", user_agent="tester/1.0"
    ),
    "http_signature": lambda: llb.http(
        "https://example.com/f", pgp_public_key=b"PUB\nKEY\n", pgp_signature=b"SIG\n"
    ),
    "http_all_options": http_all_options,
    "oci_layout_plain": lambda: llb.oci_layout(f"example.com/img@{A64}"),
    "oci_layout_checksum_ignored": lambda: llb.oci_layout(
        f"example.com/img@{A64}", checksum=B64, session_id="", store_id="only-store"
    ),
    "custom_source_attr_order": lambda: llb.source("custom+scheme://thing", ATTRS),
}
