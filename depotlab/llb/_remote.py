"""Sources from the network: Git repositories and downloads.

Source of the rules: buildkit client/llb/source.go.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, Unpack

from depotlab.llb._check import boolean, refuse, some, string, strings
from depotlab.llb._giturl import parse_git_url
from depotlab.llb._meta import OpOptions, as_constraints
from depotlab.llb._paths import join
from depotlab.llb._sourceop import SourceOp
from depotlab.llb._sources import as_digest, file_attrs
from depotlab.llb._state import State, fresh_state
from depotlab.llb._where import caller

_MTIMES = ("checkout", "commit")
_BLOB_SCHEMES = ("docker-image+blob://", "oci-layout+blob://")


def git(
    url: str,
    fragment: str = "",
    *,
    ref: str = "",
    subdir: str = "",
    keep_git_dir: bool = False,
    auth_token_secret: str | None = None,
    auth_header_secret: str | None = None,
    known_hosts: str | Iterable[str] = (),
    ssh_id: str = "",
    checksum: str = "",
    skip_submodules: bool = False,
    mtime: str | None = None,
    fetch_by_commit: bool = False,
    bundle: str = "",
    bundle_session_id: str = "",
    bundle_store_id: str = "",
    checkout_bundle: bool = False,
    **options: Unpack[OpOptions],
) -> State:
    """Return the files of a Git repository.

    Args:
        url: `https://…`, `ssh://…`, `git@host:path`; https if there is no scheme.
        fragment: `REF` or `REF:SUBDIR`, as after the `#` of a Git context. REF is a branch, tag or commit.
        ref: Instead of the REF in `fragment`.
        subdir: Instead of the SUBDIR in `fragment`, and not cleaned.
        keep_git_dir: Keep `.git`.
        auth_token_secret: Secret with a token for https; `GIT_AUTH_TOKEN` if not given, empty for none.
        auth_header_secret: Secret with a whole header for https; `GIT_AUTH_HEADER` if not given, empty for none.
        known_hosts: Lines of a known_hosts file, for ssh. Nothing is scanned for; without them the host is not checked.
        ssh_id: Which SSH agent to use, for ssh; the default one if empty.
        checksum: Commit, or the start of one, that must be found.
        skip_submodules: Leave submodules out.
        mtime: File times: `checkout` (usual) or `commit`.
        fetch_by_commit: Fetch `checksum` itself, without asking what `ref` is now.
        bundle: Import from a Git bundle in a blob: `docker-image+blob://…` or `oci-layout+blob://…`.
        bundle_session_id: For a bundle in an OCI layout: the session to ask.
        bundle_store_id: For a bundle in an OCI layout: the content store to ask.
        checkout_bundle: Make one file named `bundle`, instead of the files.
        options: See `OpOptions`.

    Raises:
        GraphError: An argument is wrong.

    Example:
        >>> from depotlab import llb
        >>> source = llb.git("https://github.com/moby/buildkit.git", "v0.13.0:docs")
    """
    address = parse_git_url(url)
    if address.dropped:
        warnings.warn(
            f"the part #{address.dropped} of the URL is not used; "
            f"write llb.git(url, {address.dropped!r})",
            UserWarning,
            stacklevel=2,
        )
    own_ref, colon, own_subdir = string("fragment", fragment).partition(":")
    own_subdir = join("/", own_subdir).removeprefix("/") if colon else ""
    wanted_ref = string("ref", ref) or own_ref
    wanted_subdir = string("subdir", subdir) or own_subdir
    identifier = address.host + join("/", address.path)
    if wanted_ref or wanted_subdir:
        identifier += f"#{wanted_ref}"
    if wanted_subdir:
        identifier += f":{wanted_subdir}"
    attrs = {"git.fullurl": address.remote}
    caps = {"source.git", "source.git.fullurl"}
    if boolean("keep_git_dir", keep_git_dir):
        attrs["git.keepgitdir"] = "true"
        caps.add("source.git.keepgitdir")
    _git_auth(auth_token_secret, auth_header_secret, attrs, caps)
    if address.scheme == "ssh":
        _git_ssh(known_hosts, ssh_id, attrs, caps)
    if string("checksum", checksum):
        attrs["git.checksum"] = checksum
        caps.add("source.git.checksum")
    if boolean("skip_submodules", skip_submodules):
        attrs["git.skipsubmodules"] = "true"
        caps.add("source.git.skipsubmodules")
    if mtime is not None:
        if mtime not in _MTIMES:
            refuse(f"mtime={mtime!r} is neither 'checkout' nor 'commit'.")
        attrs["git.mtime"] = mtime
        caps.add("source.git.mtime")
    if boolean("fetch_by_commit", fetch_by_commit):
        if not checksum:
            refuse("fetch_by_commit needs the commit.", hint="give it as checksum='…'")
        attrs["git.fetchbycommit"] = "true"
        caps.add("source.git.fetchbycommit")
    _git_bundle(bundle, bundle_session_id, bundle_store_id, checksum, attrs, caps)
    if boolean("checkout_bundle", checkout_bundle):
        if keep_git_dir or wanted_subdir:
            refuse("checkout_bundle goes with neither keep_git_dir nor a subdirectory.")
        attrs["git.checkoutbundle"] = "true"
        caps.add("source.git.checkoutbundle")
    constraints = as_constraints("git", options, git)
    op = SourceOp(f"git://{identifier}", attrs, frozenset(caps), constraints, caller())
    return fresh_state((op, 0))


def _git_auth(token: str | None, header: str | None, attrs: dict[str, str], caps: set[str]) -> None:
    names = {
        "git.authtokensecret": "GIT_AUTH_TOKEN"
        if token is None
        else string("auth_token_secret", token),
        "git.authheadersecret": "GIT_AUTH_HEADER"
        if header is None
        else string("auth_header_secret", header),
    }
    present = {key: value for key, value in names.items() if value}
    attrs.update(present)
    # Only names that the caller chose need a daemon that knows about names.
    if present and not (token is None and header is None):
        caps.add("source.git.httpauth")


def _git_ssh(known_hosts: Any, ssh_id: str, attrs: dict[str, str], caps: set[str]) -> None:
    entries = (
        (known_hosts,) if isinstance(known_hosts, str) else strings("known_hosts", known_hosts)
    )
    lines = "".join(string("known_hosts", e).removesuffix("\n") + "\n" for e in entries if e)
    if lines:
        attrs["git.knownsshhosts"] = lines
    attrs["git.mountsshsock"] = string("ssh_id", ssh_id) or "default"
    caps.update({"source.git.knownsshhosts", "source.git.mountsshsock"})


def _git_bundle(
    bundle: str,
    session_id: str,
    store_id: str,
    checksum: str,
    attrs: dict[str, str],
    caps: set[str],
) -> None:
    if not string("bundle", bundle):
        if session_id or store_id:
            refuse("bundle_session_id and bundle_store_id need a bundle.")
        return
    if not bundle.startswith(_BLOB_SCHEMES):
        refuse(f"bundle={bundle!r} starts with neither {' nor '.join(_BLOB_SCHEMES)}.")
    if not checksum:
        refuse("a bundle needs the commit that is wanted from it.", hint="give it as checksum='…'")
    attrs["git.bundle"] = bundle
    caps.add("source.git.bundle")
    if string("bundle_session_id", session_id):
        attrs["oci.session"] = session_id
    if string("bundle_store_id", store_id):
        attrs["oci.store"] = store_id


def http(
    url: str,
    *,
    checksum: str | None = None,
    filename: str = "",
    mode: int = 0,
    uid: int = 0,
    gid: int = 0,
    auth_header_secret: str = "",
    accept: str | None = None,
    user_agent: str | None = None,
    pgp_public_key: bytes | str = b"",
    pgp_signature: bytes | str = b"",
    **options: Unpack[OpOptions],
) -> State:
    """Return a download as a file.

    Args:
        url: `http://…` or `https://…`.
        checksum: Digest that the file must have, `sha256:…`.
        filename: Its name, if not the last part of the URL.
        mode: Its permission bits; 0 leaves them to the builder.
        uid: Its owner, as `gid` is its group.
        gid: See `uid`.
        auth_header_secret: Secret with the value of an Authorization header.
        accept: Value of the Accept header.
        user_agent: Value of the User-Agent header.
        pgp_public_key: Armoured key that a detached signature is checked with.
        pgp_signature: The armoured detached signature.
        options: See `OpOptions`.

    Raises:
        GraphError: An argument is wrong.

    Example:
        >>> from depotlab import llb
        >>> page = llb.http("https://example.com/index.html", filename="page.html")
    """
    if not some("url", url).startswith(("http://", "https://")):
        refuse(f"url={url!r} starts with neither http:// nor https://.")
    attrs = file_attrs(filename, mode, uid, gid)
    caps = {"source.http"}
    if "http.perm" in attrs:
        caps.add("source.http.perm")
    if "http.uid" in attrs or "http.gid" in attrs:
        # The slip is BuildKit's own; a cap by the right name is unknown to it (solver/pb/caps.go).
        caps.add("soruce.http.uidgid")
    if checksum is not None:
        attrs["http.checksum"] = as_digest("checksum", checksum)
        caps.add("source.http.checksum")
    if string("auth_header_secret", auth_header_secret):
        attrs["http.authheadersecret"] = auth_header_secret
        caps.add("source.http.auth")
    for name, value in (("accept", accept), ("user-agent", user_agent)):
        if value is not None:
            caps.add("source.http.header")
            if string(name, value):
                attrs[f"http.header.{name}"] = value
    key = _as_armour("pgp_public_key", pgp_public_key)
    signature = _as_armour("pgp_signature", pgp_signature)
    if key or signature:
        if not (key and signature):
            refuse("pgp_public_key and pgp_signature belong together.")
        attrs["http.sig.pubkey"] = key
        attrs["http.sig.signature"] = signature
        caps.add("source.http.signatureverify")
    constraints = as_constraints("http", options, http)
    return fresh_state((SourceOp(url, attrs, frozenset(caps), constraints, caller()), 0))


def _as_armour(argument: str, value: Any) -> str:
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            refuse(f"{argument} is not text.", hint="give the armoured form, gpg --armor")
    return string(argument, value)
