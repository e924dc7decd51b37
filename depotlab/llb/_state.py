"""State: a file system that a build would make, and the settings that later steps inherit.

A frozen value. Every method returns a new one; nothing runs, nothing is sent, no file is read.
"""

# ruff: noqa: SLF001  (a State hides its pieces from users, not from the files of its room)
from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, Unpack

from depotlab.llb import _change
from depotlab.llb._actions import (
    COPY_NAMES,
    Bound,
    CopyOptions,
    FileAction,
    GuestPath,
    copy_specs,
    mkdir,
    mkfile,
    rm,
    specs_of,
    symlink,
)
from depotlab.llb._check import guest, refuse
from depotlab.llb._config import ImageConfig
from depotlab.llb._described import Described
from depotlab.llb._drawn import Drawn
from depotlab.llb._execop import Device, ExecOp, Proxy, as_argv
from depotlab.llb._fileop import make_file_op
from depotlab.llb._filespecs import Instant, Owner
from depotlab.llb._meta import NO_CONSTRAINTS, OpOptions, Options, as_constraints
from depotlab.llb._mount import Mount, Row, Secret, Ssh
from depotlab.llb._op import Edge, Op, PassthroughOp
from depotlab.llb._platform import Platform
from depotlab.llb._settings import EMPTY, Settings
from depotlab.llb._value import pass_platform
from depotlab.llb._where import caller

if TYPE_CHECKING:
    from depotlab.llb._definition import Definition
    from depotlab.llb._panes import Panes
    from depotlab.llb._todockerfile import DockerfileText

P = ParamSpec("P")
R = TypeVar("R")

NO_CONFIG = ImageConfig()


class CopyCallOptions(CopyOptions, OpOptions, total=False):
    """Options of `State.copy`: those of the copy, and those of the op."""


class State(Described, Drawn):
    """A file system that a build would make. Start from `llb.image`, `scratch`, `local`, `git`, `http`.

    Settings (`env`, `dir`, `user`, `platform`, `network` and so on) hold for the steps that follow. `env`, `dir` and
    `user` also go into the config of the image, as in a Dockerfile; `entrypoint`, `cmd`, `expose`, `label`, `volume`,
    `stop_signal`, `healthcheck` and `config` go only there: they add no step and change no digest.

    Example:
        >>> from depotlab import llb
        >>> llb.image("busybox").dir("/app").run("make").cmd(["./app"])
        State(image busybox → run 'make'; 2 ops; config only: cmd ['./app'])
    """

    __slots__ = ()

    def __init__(self) -> None:
        raise TypeError("a State is made by llb.image, llb.scratch, llb.local, llb.git or llb.http")

    # ------------------------------------------------------------------ steps

    def run(
        self,
        *command: str | Iterable[str],
        name: str | None = None,
        env: Mapping[str, str | int] | None = None,
        dir: GuestPath | None = None,  # noqa: A002  (BuildKit's word)
        user: str | None = None,
        mounts: Iterable[Mount | Secret | Ssh] = (),
        hostname: str | None = None,
        network: str | None = None,
        security: str | None = None,
        hosts: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        ulimits: Mapping[str, int | tuple[int, int]] | Iterable[tuple[str, int, int]] | None = None,
        cgroup_parent: str | None = None,
        valid_exit_codes: Iterable[int] | None = None,
        devices: Iterable[str | Device] = (),
        proxy: Proxy | None = None,
        readonly_root: bool = False,
        **options: Unpack[Options],
    ) -> Exec:
        """Run a command in this file system.

        Args:
            command: One text is a shell command (`/bin/sh -c`); several, or one list, are an argv.
            name: What progress shows instead of the command.
            env: Variables for this run only, after those of the state.
            dir: Working directory for this run only.
            user: User for this run only, such as `app` or `1000:1000`.
            mounts: Made by `mount.bind`, `cache`, `tmpfs`, `secret` and `ssh`.
            hostname: For this run only.
            network: `sandbox`, `host` or `none`; `host` must be allowed by the build.
            security: `sandbox` or `insecure`; `insecure` must be allowed by the build.
            hosts: Further names and their IP addresses.
            ulimits: Limits by name, as one number or (soft, hard); -1 is no limit.
            cgroup_parent: Control group that the process is put under.
            valid_exit_codes: Codes that count as success; only 0 if not given.
            devices: CDI devices, such as `nvidia.com/gpu=all`.
            proxy: Proxy variables that do not enter the cache key.
            readonly_root: Deny writes outside mounts. The state that comes back is then the one
                before the run; what the run made is in its mounts.
            options: See `OpOptions`.

        Returns:
            The root file system after the run. `.mounted("/out")` gives what a mount became.

        Raises:
            GraphError: An argument is wrong; the message names it.

        Example:
            >>> from depotlab import llb, mount
            >>> llb.image("alpine").run("apk add git", mounts=[mount.cache("/var/cache/apk")])
            Exec(image alpine → run 'apk add git'; 2 ops)
        """
        settings = self._settings
        if (
            env is not None
            or dir is not None
            or user is not None
            or hostname is not None
            or network is not None
            or security is not None
            or hosts is not None
            or ulimits is not None
            or cgroup_parent is not None
            or valid_exit_codes is not None
        ):
            settings = _change.settings(
                settings,
                env=env,
                directory=dir,
                user=user,
                hostname=hostname,
                network=network,
                security=security,
                hosts=hosts,
                ulimits=ulimits,
                cgroup_parent=cgroup_parent,
                exit_codes=valid_exit_codes,
            )
        rows: Sequence[Row] = ()
        extras = None
        if mounts or devices or proxy is not None or readonly_root:
            rows, extras = _change.extras(mounts, devices, proxy, readonly_root)
        constraints = NO_CONSTRAINTS
        if options or name is not None:
            constraints = as_constraints("run", {"name": name, **options}, State.run)
        edge = self._edge
        op = ExecOp(
            as_argv(command), edge, settings, self._origin, rows, extras, constraints, caller()
        )
        after = edge if readonly_root else (op, op.root_output)
        state = _NewExec(after, self._settings, self._origin, self._config, op)
        if constraints.platform is not None or readonly_root:
            pass_platform(state)
        return state

    def file(self, *actions: FileAction, **options: Unpack[OpOptions]) -> State:
        """Change files without running anything, all actions in one op.

        Args:
            actions: Made by `llb.mkdir`, `mkfile`, `copy`, `rm` and `symlink`; done in order.
            options: See `OpOptions`.

        Example:
            >>> from depotlab import llb
            >>> made = llb.scratch().file(llb.mkdir("/etc"), llb.mkfile("/etc/motd", "hi"))
        """
        return self._file(list(specs_of(actions)), "file", options)

    def copy(
        self,
        source: State | Bound | None,
        *paths: GuestPath,
        **options: Unpack[CopyCallOptions],
    ) -> State:
        """Copy files of another state into this one, as COPY does.

        Args:
            source: The state to copy from; None is this one.
            paths: One or more source paths, relative to the directory of `source`, and the destination, relative to
                ours. Of a directory its contents are copied. A destination that ends in `/`, or is `.`, is a directory.
            options: See `CopyOptions` and `OpOptions`.

        Example:
            >>> from depotlab import llb
            >>> llb.scratch().copy(llb.image("busybox"), "/bin/busybox", "/bin/", mode=0o755)
            State(scratch → copy /bin/busybox /bin/; 2 ops)
        """
        copying = CopyOptions()
        of_op: dict[str, Any] = {}
        for option, value in options.items():
            (copying if option in COPY_NAMES else of_op)[option] = value  # type: ignore[literal-required]
        return self._file(copy_specs(source, paths, copying), "copy", of_op, COPY_NAMES)

    def mkdir(
        self,
        path: GuestPath,
        mode: int = 0o755,
        *,
        parents: bool = False,
        owner: Owner | None = None,
        created_at: Instant | None = None,
        **options: Unpack[OpOptions],
    ) -> State:
        """Make a directory. See `llb.mkdir` and `OpOptions`."""
        action = mkdir(path, mode, parents=parents, owner=owner, created_at=created_at)
        return self._file(action._specs(), "mkdir", options, State.mkdir)

    def mkfile(
        self,
        path: GuestPath,
        data: str | bytes = b"",
        mode: int = 0o644,
        *,
        owner: Owner | None = None,
        created_at: Instant | None = None,
        **options: Unpack[OpOptions],
    ) -> State:
        """Make a file with this content. See `llb.mkfile` and `OpOptions`."""
        action = mkfile(path, data, mode, owner=owner, created_at=created_at)
        return self._file(action._specs(), "mkfile", options, State.mkfile)

    def rm(
        self,
        path: GuestPath,
        *,
        allow_not_found: bool = False,
        allow_wildcard: bool = False,
        **options: Unpack[OpOptions],
    ) -> State:
        """Remove a file or a directory. See `llb.rm` and `OpOptions`."""
        action = rm(path, allow_not_found=allow_not_found, allow_wildcard=allow_wildcard)
        return self._file(action._specs(), "rm", options, State.rm)

    def symlink(
        self,
        oldpath: GuestPath,
        newpath: GuestPath,
        *,
        owner: Owner | None = None,
        created_at: Instant | None = None,
        **options: Unpack[OpOptions],
    ) -> State:
        """Make `newpath` a symbolic link to `oldpath`. See `llb.symlink` and `OpOptions`."""
        action = symlink(oldpath, newpath, owner=owner, created_at=created_at)
        return self._file(action._specs(), "symlink", options, State.symlink)

    def requires(self, *states: State, id: str, **options: Unpack[OpOptions]) -> State:  # noqa: A002
        """Return this state, but only once the other states are built, whose files are not used.

        Args:
            states: What must succeed before, such as tests.
            id: A name for the knot; it is part of the digest.
            options: See `OpOptions`.
        """
        others = [as_state("requires()", state) for state in states]
        if not others:
            return self
        constraints = as_constraints("requires", options, State.requires)
        edges = [state._edge for state in (self, *others)]
        name = guest("id", id)
        if not name:
            refuse("requires() needs an id.", hint="write app.requires(tests, id='tests')")
        if self._edge is None:
            refuse("scratch cannot require anything: there is no step that could wait.")
        op = PassthroughOp(name, tuple(filter(None, edges)), (0,), constraints, caller())
        return self._with((op, 0))

    # ------------------------------------------------------- other states' parts

    def reset(self, other: State) -> State:
        """Return these files with the settings and the image config of `other`.

        As with the Go client's Reset the directory becomes `/`, unless these files have a
        platform of their own: then it is the directory of `other`.
        """
        given = as_state("reset()", other)
        settings = given._settings
        own = None if self._op is None else self._op.output_platform
        settings = (
            settings.changed(directory="/")
            if own is None
            else settings.changed(platform=own.normalized())
        )
        return make_state(self._edge, settings, given._origin, given._config)

    def with_output(self, other: State) -> State:
        """Return the files of `other` with the settings and the image config of this state."""
        given = as_state("with_output()", other)
        return self._with(given._edge)

    # -------------------------------------------------------------- the whole

    def resolved(
        self,
        configs: Mapping[tuple[str, Platform | None], ImageConfig],
        *,
        platform: Platform | None = None,
        digests: Mapping[tuple[str, Platform | None], str] | None = None,
    ) -> State:
        """Return the same graph with the configs of base images applied, as FROM does.

        Variables come before ours, a relative directory continues the base's, the user holds
        unless we set one; in every step that descends from the image.

        Args:
            configs: By what `llb.unresolved` returned. Images that are missing stay as they are.
            platform: As given to `llb.unresolved`.
            digests: Pins images to what the configs were read from, by the same keys.
        """
        from depotlab.llb._rewrite import resolve

        return resolve(self, configs, platform, digests or {})

    def marshal(
        self,
        platform: str | Platform | None = None,
        *,
        local_unique_id: str | None = None,
        require: Iterable[str] = (),
        ignore_cache: bool = False,
        description: Mapping[str, str] | None = None,
        export_cache: bool | None = None,
        progress_group: Any = None,
        resources: Any = None,
        caps: Iterable[str] | None = None,
        source: str = "explicit",
        hide: Iterable[str] = (),
    ) -> Definition:
        """Return the graph in the form that BuildKit reads, with the digests that the Go client gives.

        Args:
            platform: For ops that have none of their own; this computer's processor if not given.
            local_unique_id: Tells local directories of different builds apart; random if not given.
            require: Worker filters for all ops, before their own.
            ignore_cache: For all ops, as the following: see `OpOptions`.
            description: For all ops. As with the Go client, descriptions of ops marshalled earlier
                in the graph are then also in those of later ones.
            export_cache: For all ops.
            progress_group: For all ops that have none.
            resources: For all ops that have none.
            caps: What the daemon can do, if it is known. Without `exec.meta.setsdefaultpath` every run gets a PATH.
            source: `explicit` writes the source locations given to ops, as the Go client does;
                `calls` adds, for ops without, the line of code that made them, with the file or cell around it.
            hide: Texts to leave out of that code, such as secrets. Passwords in URLs are left out in any case.

        Raises:
            GraphError: The graph cannot be built.
        """
        from depotlab.llb._marshal import marshal

        return marshal(
            self,
            platform,
            local_unique_id=local_unique_id,
            require=require,
            ignore_cache=ignore_cache,
            description=description,
            export_cache=export_cache,
            progress_group=progress_group,
            resources=resources,
            caps=caps,
            source=source,
            hide=hide,
        )

    @property
    def digest(self) -> str:
        """The digest of the op that makes these files; empty for scratch.

        For this computer's processor, as `marshal()` has it. Of a graph with local directories
        it is another one in every build.
        """
        return self.marshal(local_unique_id="").head

    def explain(self) -> str:
        """Return the graph as text: every op in words, its digest, what it reads, what a change to it reruns.

        Example:
            >>> from depotlab import llb
            >>> print(llb.image("busybox").run("make").explain())  # doctest: +SKIP
        """
        from depotlab.llb._story import story

        return story(self)

    def to_dockerfile(self, platform: str | Platform | None = None) -> DockerfileText:
        """Return the graph as a Dockerfile, with the directories that it reads.

        Build it with `depotlab.dockerfile(found.context, text=found.text, contexts=found.contexts)`; it makes the same
        files. Steps, copies, files, directories, mounts, merges and the image config have words in a Dockerfile; other
        things have not.

        Args:
            platform: The platform that the graph is marshalled for; this computer's processor when left out.

        Raises:
            GraphError: Something has no words; with each op, the reason, and the line of the first.

        Example:
            >>> from depotlab import llb
            >>> print(llb.image("busybox").env(LEVEL="high").run("make").cmd(["./app"]).to_dockerfile())
            FROM busybox
            ENV LEVEL=high
            RUN make
            CMD ["./app"]
            <BLANKLINE>
        """
        from depotlab.llb._todockerfile import to_dockerfile

        return to_dockerfile(self, platform)

    def to_python(self) -> str:
        """Return a program that makes this graph with `depotlab.llb`: one statement for each op.

        For graphs that came from a Dockerfile (`Client.to_state`) or another program, to be read and taken over. Rare
        settings of an op may be missing; bytes are exact (`marshal`, `llb.load`).

        Example:
            >>> from depotlab import llb
            >>> print(llb.image("busybox").run("make").to_python())
            from depotlab import llb
            <BLANKLINE>
            base = llb.image('busybox')
            result = base.run('make')
            <BLANKLINE>
        """
        from depotlab.llb._topython import to_python

        return to_python(self.marshal(local_unique_id=""), self.image_config())[0]

    def panes(self) -> Panes:
        """Return the graph as a Dockerfile, a picture and Python, side by side; hovering over one shows the others.

        The Dockerfile is the one that the graph came from (`Client.to_state`), else what `to_dockerfile` says.
        """
        from depotlab.llb._panes import panes_of

        return panes_of(self)

    def _drawable(self) -> Definition:
        return self.marshal(local_unique_id="")

    def pipe(
        self,
        function: Callable[Concatenate[State, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Return `function(self, *args, **kwargs)`: for recipes in the middle of a chain.

        Args:
            function: Such as one of `depotlab.recipes`, or your own.
            args: After the state.
            kwargs: By name.
        """
        return function(self, *args, **kwargs)

    # --------------------------------------------------------------- plumbing

    def _file(
        self,
        specs: list[Any],
        call: str,
        options: Mapping[str, Any],
        also: Callable[..., Any] | Collection[str] = (),
    ) -> State:
        constraints = as_constraints(call, options, also)
        return self._with((make_file_op(specs, self, constraints, caller()), 0))

    def _with(self, edge: Edge | None) -> State:
        """Return other files with these settings; a platform given to the op holds from here."""
        state = make_state(edge, self._settings, self._origin, self._config)
        pass_platform(state)
        return state

    def _setting(self, settings: Settings, config: ImageConfig | None = None) -> State:
        kept = self._config if config is None else config
        return make_state(self._edge, settings, self._origin, kept)

    def __reduce__(self) -> tuple[Any, ...]:
        from depotlab.llb._rewrite import flatten, restore

        return restore, (flatten(self),)

    def __repr__(self) -> str:
        from depotlab.llb._explain import one_line

        return one_line(self)

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        from depotlab.llb._picture import state_bundle

        return state_bundle(self)


class Exec(State):
    """The root file system after a run; also the way to what its mounts became."""

    __slots__ = ("_exec",)
    _exec: ExecOp

    def mounted(self, target: GuestPath) -> State:
        """Return what the run left at a mount, with fresh settings.

        Of a read-only mount that is what was mounted. Of mounts at one target the first counts.

        Raises:
            GraphError: There is no mount at `target`, or it has no output.
        """
        wanted = guest("target", target)
        op = self._exec
        if wanted == "/":
            return fresh_state(self._edge)
        targets = [mount.target for mount, _ in op.rows]
        if wanted not in targets:
            _change.no_such_mount(wanted, targets)
        number = targets.index(wanted)
        mount, edge = op.rows[number]
        if mount.readonly:
            return fresh_state(edge)
        if not mount.has_output:
            refuse(
                f"the mount at {wanted!r} {mount.why_no_output()}, so it cannot be used as a state."
            )
        return fresh_state((op, op.output_of(number)))


class _NewState(State):
    """A state while it gets its pieces, which then cannot be set any more.

    Setting them around the guard, with object.__setattr__, takes five times as long, and was a
    fifth of the time of a run().
    """

    __slots__ = ()
    __setattr__ = object.__setattr__  # type: ignore[assignment]  # no guard yet
    __delattr__ = object.__delattr__  # type: ignore[assignment]  # both or the fast path is lost

    def __init__(
        self, edge: Edge | None, settings: Settings, origin: Op | None, config: ImageConfig
    ) -> None:
        self._edge = edge
        self._settings = settings
        self._origin = origin
        self._config = config
        self.__class__ = State  # type: ignore[assignment]  # the same layout with the guard


class _NewExec(Exec):
    """The same for the state after a run."""

    __slots__ = ()
    __setattr__ = object.__setattr__  # type: ignore[assignment]  # no guard yet
    __delattr__ = object.__delattr__  # type: ignore[assignment]  # both or the fast path is lost

    def __init__(
        self,
        edge: Edge | None,
        settings: Settings,
        origin: Op | None,
        config: ImageConfig,
        op: ExecOp,
    ) -> None:
        self._edge = edge
        self._settings = settings
        self._origin = origin
        self._config = config
        self._exec = op
        self.__class__ = Exec  # type: ignore[assignment]  # the same layout with the guard


def make_state(
    edge: Edge | None, settings: Settings, origin: Op | None, config: ImageConfig
) -> State:
    """Return a state of these pieces."""
    return _NewState(edge, settings, origin, config)


def make_exec(
    edge: Edge | None, settings: Settings, origin: Op | None, config: ImageConfig, op: ExecOp
) -> Exec:
    """Return the state after a run."""
    return _NewExec(edge, settings, origin, config, op)


def fresh_state(edge: Edge | None, origin: Op | None = None) -> State:
    """Return a state with no settings but the platform that was given to its op."""
    state = make_state(edge, EMPTY, origin, NO_CONFIG)
    pass_platform(state)
    return state


def as_state(call: str, value: Any) -> State:
    if not isinstance(value, State):
        refuse(f"{call} got {value!r}, which is not a state.")
    return value
