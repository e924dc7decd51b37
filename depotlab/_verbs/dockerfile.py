"""From a Dockerfile build to what is asked of the daemon: options, inputs, and what the session has to serve.

The main context goes one of three ways. Directories and files in memory are *served*, as the local `context`; the
frontend then asks for what `COPY` names. A repository or a download is *named*, and the daemon fetches it. All
else is an *input*, a graph that is sent along. That holds for archives too: the daemon pulls one over the
session and unpacks it. (Named by a URL, as a frontend also takes it, an archive is told by its first 1024 bytes;
an extended header in front, as Python's `tarfile` writes it, is longer, and the archive is taken for a Dockerfile.)

The Dockerfile goes with the request where it can, as an input of its own: that saves the daemon two transfers.

Source: moby/buildkit `frontend/dockerui` (`context.go`, `config.go`, `namedcontext.go`).
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from depotlab._contexts import (
    Directory,
    Files,
    Git,
    Graph,
    Http,
    Image,
    OciImage,
    Tar,
    Where,
)
from depotlab._oci import Layout, oci_store
from depotlab._transfer import HostTree, MemoryTree, Tree, TreeFilter
from depotlab._verbs.request import BuildRequest, check_locals
from depotlab.errors import ContextError, UsageError
from depotlab.frontend import Dockerfile
from depotlab.llb import (
    Definition,
    ImageConfig,
    ImageRef,
    Platform,
    State,
    copy,
    git,
    host_platform,
    http,
    image,
    mkfile,
    oci_layout,
    scratch,
    unresolved,
)

__all__ = ["DockerfileRequest", "dockerfile_request", "images_of", "wants_platform"]

Configs = Mapping[tuple[str, Platform | None], ImageConfig]
Digests = Mapping[tuple[str, Platform | None], str]

_MAX_INPUT_BYTES = 1 << 20
_ANY = Platform("linux", "amd64")
"""For graphs of files, which are the same on every platform, so that they also have the same digests."""
# Never empty: a frontend may take an empty file for none, and look in the context.
_NO_RULES = b"# no ignore file\n"


@dataclass(frozen=True, slots=True)
class DockerfileRequest:
    """What a Dockerfile build asks of the daemon, and what the daemon may ask of the session for it.

    Attributes:
        attrs: Options of the frontend.
        inputs: Serialised graphs by input name.
        folders: Directories and trees in memory by the name of the local source.
        uploads: Archives by upload id; each is called for a pull.
        stores: Content stores by their whole id, such as `oci:app-1f2e3d4c`.
    """

    attrs: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    folders: Mapping[str, Tree] = field(default_factory=dict)
    uploads: Mapping[str, Callable[[], Iterator[bytes]]] = field(default_factory=dict)
    stores: Mapping[str, Layout] = field(default_factory=dict)


def wants_platform(target: Dockerfile) -> bool:
    """Whether a build has graphs or images in it that must be asked for by platform."""
    places = (target.main, *target.contexts.values())
    return any(isinstance(one.where, Graph | Image | OciImage) for one in places)


def images_of(
    target: Dockerfile, request: BuildRequest, *, platform: str = ""
) -> tuple[ImageRef, ...]:
    """Return the images whose configurations the graphs among the contexts want, for `dockerfile_request`.

    Args:
        target: The build.
        request: Its request.
        platform: What the builder builds for when the request does not say.
    """
    wanted: dict[ImageRef, None] = {}
    for where in (target.main.where, *(one.where for one in target.contexts.values())):
        if isinstance(where, Graph):
            for each in _platforms(request, platform):
                wanted |= dict.fromkeys(unresolved(where.state, each))
    return tuple(wanted)


def dockerfile_request(
    target: Dockerfile,
    request: BuildRequest,
    *,
    platform: str = "",
    configs: Configs | None = None,
    digests: Digests | None = None,
) -> DockerfileRequest:
    """Return what to ask of the daemon for a Dockerfile build.

    Args:
        target: The build.
        request: Its request.
        platform: What the builder builds for when the request does not say. Graphs are marshalled for it;
            left out, that is the processor of this computer.
        configs: Configurations by what `images_of` returned; graphs go without those that are missing.
        digests: What the images are pinned to, by the same keys.

    Raises:
        ContextError: A directory, an archive, a layout or a file is not there or cannot be read.
        UsageError: Two local sources have one name.
    """
    parts = _Parts(request, _platforms(request, platform), configs or {}, digests or {})
    parts.attrs.update(_options(target, request))
    parts.add_main(target)
    for name, context in target.contexts.items():
        parts.add_named(name, context.where)
    return DockerfileRequest(parts.attrs, parts.inputs, parts.folders, parts.uploads, parts.stores)


def _platforms(request: BuildRequest, platform: str) -> list[Platform | None]:
    words = request.platform or platform
    return [Platform.parse(word) for word in words.split(",")] if words else [None]


def _options(target: Dockerfile, request: BuildRequest) -> dict[str, str]:
    attrs = {
        "filename": target.filename,
        "target": target.target,
        "platform": request.platform,
        "force-network-mode": target.network,
        "add-hosts": ",".join(f"{name}={ip}" for name, ip in target.add_hosts.items()),
        "shm-size": str(target.shm_size_bytes or ""),
        "ulimit": ",".join(f"{n}={soft}:{hard}" for n, (soft, hard) in target.ulimits.items()),
        "cgroup-parent": target.cgroup_parent,
        "hostname": target.hostname,
        "image-resolve-mode": target.image_resolve_mode,
        "build-arg:BUILDKIT_SYNTAX": target.syntax,
        "build-arg:BUILDKIT_DOCKERFILE_CHECK": target.lint,
    }
    attrs = {key: value for key, value in attrs.items() if value}
    attrs.update((f"build-arg:{key}", value) for key, value in target.args.items())
    attrs.update((f"label:{key}", value) for key, value in target.labels.items())
    if request.no_cache or target.no_cache is True:
        attrs["no-cache"] = ""
    elif target.no_cache:
        attrs["no-cache"] = ",".join(target.no_cache)
    return attrs


class _Parts:
    """A request while it is put together."""

    def __init__(
        self,
        request: BuildRequest,
        platforms: list[Platform | None],
        configs: Configs,
        digests: Digests,
    ) -> None:
        self.attrs: dict[str, str] = {}
        self.inputs: dict[str, bytes] = {}
        self.folders: dict[str, Tree] = {}
        self.uploads: dict[str, Callable[[], Iterator[bytes]]] = {}
        self.stores: dict[str, Layout] = {}
        self._no_cache = request.no_cache
        self._platforms = platforms
        self._configs = configs
        self._digests = digests
        # One for all graphs, so that they share what they read of a directory.
        self._unique_id = secrets.token_hex(13)
        self._host_paths: dict[str, Path] = {}

    # ------------------------------------------------------------------------ the main context

    def add_main(self, target: Dockerfile) -> None:
        where = target.main.where
        if isinstance(where, Directory | Files):
            self.folders["context"] = where.tree()
            self._add_dockerfile(target)
            return
        if isinstance(where, Git | Http):
            self.attrs["context"] = where.url
            if target.text is not None or target.directory is not None:
                # With a remote context the frontend takes the Dockerfile from there unless it is told not to.
                self.attrs["dockerfilekey"] = "dockerfile"
                self._serve_dockerfile(target)
            return
        platform = self._platforms[0] if isinstance(where, Graph | Image | OciImage) else _ANY
        made = self._input(where, "build context", platform)
        if made:
            self.inputs["context"] = made
        else:  # nothing at all, which no input can be
            self.folders["context"] = MemoryTree({})
        if target.text is not None or target.directory is not None:
            self._add_dockerfile(target)
        elif made:
            self.inputs["dockerfile"] = made

    def _add_dockerfile(self, target: Dockerfile) -> None:
        """Send the Dockerfile along where that is possible, else let the session serve it.

        A `# syntax=` line means another frontend, and not every one takes inputs.
        """
        files = _definition_files(target)
        if files is None or "/" in target.filename or _names_syntax(target, files[target.filename]):
            self._serve_dockerfile(target, files)
            return
        made = scratch().file(
            *(mkfile(f"/{name}", content) for name, content in files.items()),
            name=f"[internal] load build definition from {target.filename}",
        )
        self.inputs["dockerfile"] = made.marshal(_ANY).to_bytes()

    def _serve_dockerfile(
        self, target: Dockerfile, files: Mapping[str, bytes] | None = None
    ) -> None:
        if files is None and target.text is not None:
            files = {target.filename: target.text.encode()}
        if files is not None:
            self._add_folder("dockerfile", MemoryTree(files))
            return
        assert target.directory is not None  # files in memory and text have their content at hand
        hidden = None
        where = target.main.where
        if isinstance(where, Directory | Files) and where.choice.ignore_file is not None:
            hidden = TreeFilter([], [f"{target.filename}.dockerignore"])
        self._add_folder("dockerfile", HostTree(target.directory, offered=hidden))

    # ------------------------------------------------------------------------ further contexts

    def add_named(self, name: str, where: Where) -> None:
        # An older frontend would take no notice of the context, and look for an image of its name. With "+forward"
        # one that a `# syntax=` line names is asked instead. Source: docker/buildx `build/opt.go`.
        self.attrs["frontend.caps"] = "moby.buildkit.frontend.contexts+forward"
        key = f"context:{name}"
        match where:
            case Directory() | Files():
                self._add_folder(f"context-{name}", where.tree())
                self.attrs[key] = f"local:context-{name}"
            case Image():
                self.attrs[key] = f"docker-image://{where.ref}"
            case OciImage():
                store = oci_store(where.host_path, where.ref)
                self.stores[store.store_id] = store.layout
                self.attrs[key] = store.identifier
            case Git() if where.url.startswith(("https://", "http://", "git://", "git@")):
                self.attrs[key] = where.url
            case Graph():
                self._add_named_graph(name, where.state)
            case Git() | Http() | Tar():
                self.inputs[f"named:{name}"] = self._input(where, f"context {name}", _ANY)
                self.attrs[key] = f"input:named:{name}"

    def _add_named_graph(self, name: str, state: State) -> None:
        """Send a graph along, once for each platform, with its image configuration."""
        several = len(self._platforms) > 1 and "::" not in name
        for platform in self._platforms:
            full_name = f"{name}::{platform}" if several else name
            graph = self._resolved(state, platform)
            definition = self._marshal(graph, platform)
            if not definition.head:
                self.attrs[f"context:{full_name}"] = "docker-image://scratch"
                continue
            key = f"named:{full_name}"
            self.inputs[key] = definition.to_bytes()
            self.attrs[f"context:{full_name}"] = f"input:{key}"
            config = graph.image_config()
            if config:
                encoded = base64.b64encode(config.to_json(platform or host_platform())).decode()
                self.attrs[f"input-metadata:{key}"] = json.dumps({"containerimage.config": encoded})

    # ------------------------------------------------------------------------ graphs

    def _input(
        self,
        where: Tar | Git | Http | Graph | Image | OciImage,
        what: str,
        platform: Platform | None,
    ) -> bytes:
        match where:
            case Tar():
                upload_id = secrets.token_hex(16)
                self.uploads[upload_id] = where
                state = _unpacked(f"http://buildkit-session/{upload_id}", what)
            case Http():
                state = _unpacked(where.url, what)
            case Git():
                state = _repository(where, what)
            case Graph():
                state = self._resolved(where.state, platform)
            case Image():
                state = scratch() if where.ref == "scratch" else image(where.ref)
            case OciImage():
                store = oci_store(where.host_path, where.ref)
                self.stores[store.store_id] = store.layout
                state = oci_layout(store.ref, store_id=store.name)
        # Only a graph of the user's has lines of code to blame.
        source = "calls" if isinstance(where, Graph) else "explicit"
        return self._marshal(state, platform, source).to_bytes()

    def _resolved(self, state: State, platform: Platform | None) -> State:
        if not self._configs:
            return state
        return state.resolved(self._configs, platform=platform, digests=self._digests)

    def _marshal(
        self, state: State, platform: Platform | None, source: str = "calls"
    ) -> Definition:
        definition = state.marshal(
            platform,
            local_unique_id=self._unique_id,
            ignore_cache=self._no_cache,
            source=source,
        )
        check_locals(definition.locals)
        for name, host_path in definition.locals.items():
            if self._host_paths.setdefault(name, host_path) != host_path or (
                name in self.folders and not _is_all_of(self.folders[name], host_path)
            ):
                raise UsageError(
                    f"Two contexts of the build have a local source called {name!r}.",
                    hint=f"give that of the graph another name: llb.local({str(host_path)!r}, name='…')",
                )
            self.folders.setdefault(name, HostTree(host_path))
        return definition

    def _add_folder(self, name: str, tree: Tree) -> None:
        if name in self.folders:
            raise UsageError(
                f"Two contexts of the build have a local source called {name!r}.",
                hint="give one of them another name",
            )
        self.folders[name] = tree


def _is_all_of(tree: Tree, host_path: Path) -> bool:
    """Whether a tree is the whole of a directory."""
    return isinstance(tree, HostTree) and tree.offers_all and tree.host_root == host_path.resolve()


def _unpacked(url: str, what: str) -> State:
    """Return the files of an archive; of anything else the file, named `context`."""
    received = http(
        url, filename="context", description={"llb.customname": f"[internal] load {what}"}
    )
    return scratch().file(
        copy(received, "/context", "/", attempt_unpack=True), name=f"[internal] unpack {what}"
    )


def _repository(where: Git, what: str) -> State:
    return git(
        where.remote,
        ref=where.ref,
        subdir=where.subdir,
        checksum=where.checksum,
        keep_git_dir=bool(where.keep_git_dir),
        skip_submodules=where.submodules is False,
        mtime=where.mtime or None,
        fetch_by_commit=where.fetch_by_commit,
        description={"llb.customname": f"[internal] load {what}"},
    )


# ---------------------------------------------------------------------------- the Dockerfile itself


def _names_syntax(target: Dockerfile, content: bytes) -> bool:
    if target.syntax or "BUILDKIT_SYNTAX" in target.args:
        return True
    return b"syntax" in content[:1024].lower()


def _definition_files(target: Dockerfile) -> Mapping[str, bytes] | None:
    """Return the Dockerfile and its ignore rules by name, or None where the frontend has to look for itself.

    That is so for a file that it finds under another name, and for links, which it follows inside the context
    only. The rules always go along under the Dockerfile's own name: what stands there wins over the context's
    `.dockerignore`, which the frontend then need not fetch.
    """
    where = target.main.where
    if target.text is not None:
        content: bytes | None = target.text.encode()
    elif target.directory is not None:
        content = _plain_file(target.directory, target.filename)
    else:
        assert isinstance(where, Files)
        # The frontend tries the lower-case name too, and the call has found one of the two.
        name = target.filename if target.filename in where.files else "dockerfile"
        content = where.files[name].data
    rules = _rules(target)
    if content is None or rules is None:
        return None
    return {target.filename: content, f"{target.filename}.dockerignore": rules or _NO_RULES}


def _rules(target: Dockerfile) -> bytes | None:
    """Return the ignore rules that the frontend is to send back, or None if it has to look for itself."""
    where = target.main.where
    if not isinstance(where, Directory | Files) or where.choice.ignore_file is not None:
        return _NO_RULES
    own_name = f"{target.filename}.dockerignore"
    if target.directory is not None and os.path.lexists(target.directory / own_name):
        return _plain_file(target.directory, own_name)
    if isinstance(where, Files):
        files = where.files
        if target.directory is None and target.text is None and own_name in files:
            return files[own_name].data
        found = files.get(".dockerignore")
        return found.data if found is not None and _offers(where, ".dockerignore") else _NO_RULES
    if os.path.lexists(where.host_path / ".dockerignore") and _offers(where, ".dockerignore"):
        return _plain_file(where.host_path, ".dockerignore")
    return _NO_RULES


def _offers(where: Directory | Files, name: str) -> bool:
    wanted = where.choice.filter()
    return wanted is None or wanted.explain(name).keeps


def _plain_file(folder: Path, name: str) -> bytes | None:
    """Return the content of a small regular file that is no link."""
    path = folder / name
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_INPUT_BYTES:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise ContextError(
            f"{path} cannot be read: {error.strerror}.",
            path=str(path),
            hint="check its permissions",
        ) from error
