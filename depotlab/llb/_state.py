"""State: a file system that a build would make, and the settings that later steps inherit.

A frozen value. Every method returns a new one; nothing runs, nothing is sent, no file is read.
"""

# ruff: noqa: SLF001  (a State hides its pieces from users, not from the files of its room)
from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, NoReturn, ParamSpec, TypeVar, Unpack

from depotlab.llb import _change
from depotlab.llb._actions import (
    COPY_NAMES,
    Bound,
    CopyOptions,
    FileAction,
    GuestPath,
    Instant,
    Owner,
    copy_specs,
    mkdir,
    mkfile,
    rm,
    specs_of,
    symlink,
)
from depotlab.llb._check import guest, refuse
from depotlab.llb._config import Healthcheck, ImageConfig
from depotlab.llb._execop import Device, ExecOp, Proxy, as_argv
from depotlab.llb._fileop import make_file_op
from depotlab.llb._meta import NO_CONSTRAINTS, OpOptions, Options, as_constraints
from depotlab.llb._mount import Mount, Row, Secret, Ssh
from depotlab.llb._op import Edge, Op, PassthroughOp, content_key
from depotlab.llb._platform import Platform, as_platform
from depotlab.llb._settings import EMPTY, Settings
from depotlab.llb._where import caller

if TYPE_CHECKING:
    from depotlab.llb._definition import Definition

P = ParamSpec("P")
R = TypeVar("R")

_set = object.__setattr__
NO_CONFIG = ImageConfig()


class State:
    """A file system that a build would make. Start from `llb.image`, `scratch`, `local`, `git`, `http`.

    Settings (`env`, `dir`, `user`, `platform`, `network` and so on) hold for the steps that follow. `env`, `dir` and
    `user` also go into the config of the image, as in a Dockerfile; `entrypoint`, `cmd`, `expose`, `label`, `volume`,
    `stop_signal`, `healthcheck` and `config` go only there: they add no step and change no digest.

    Example:
        >>> from depotlab import llb
        >>> llb.image("busybox").dir("/app").run("make").cmd(["./app"])
        State(image busybox → run 'make'; 2 ops; config only: cmd ['./app'], working_dir '/app')
    """

    __slots__ = ("_config", "_edge", "_origin", "_settings")
    _edge: Edge | None
    _settings: Settings
    _origin: Op | None
    _config: ImageConfig

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
        state = Exec.__new__(Exec)
        _set(state, "_exec", op)
        if readonly_root:
            _fill(state, edge, self._settings, self._origin, self._config)
        else:
            _fill(state, (op, op.root_output), self._settings, self._origin, self._config)
        if constraints.platform is not None or readonly_root:
            _pass_platform(state)
        return state

    def file(self, *actions: FileAction, **options: Unpack[OpOptions]) -> State:
        """Change files without running anything, all actions in one op.

        Args:
            actions: Made by `llb.mkdir`, `mkfile`, `copy`, `rm` and `symlink`; done in order.
            options: See `OpOptions`.
        """
        return self._file(list(specs_of(actions)), "file", options)

    def copy(
        self,
        source: State | Bound | None,
        *paths: GuestPath,
        name: str | None = None,
        **options: Any,
    ) -> State:
        """Copy files of another state into this one, as COPY does.

        Args:
            source: The state to copy from; None is this one.
            paths: One or more source paths, relative to the directory of `source`, and the destination, relative to
                ours. Of a directory its contents are copied. A destination that ends in `/`, or is `.`, is a directory.
            name: What progress shows instead.
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
        if name is not None:
            of_op["name"] = name
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

    # --------------------------------------------------------------- settings

    def env(self, variables: Mapping[str, str | int] | None = None, /, **more: str | int) -> State:
        """Set variables for later steps and for the image; one set before moves to the end.

        Example:
            >>> from depotlab import llb
            >>> llb.scratch().env({"PATH": "/bin"}, DEBUG=1).image_config().env["DEBUG"]
            '1'
        """
        added = _change.as_env("env", {**(variables or {}), **more})
        return self._setting(
            self._settings.with_env(added), _change.config(self._config, {"env": added})
        )

    def dir(self, path: GuestPath) -> State:
        """Set the working directory; a relative one continues the one before, or that of the base image."""
        settings = _change.settings(self._settings, directory=path)
        return self._setting(settings, _change.config(self._config, {"working_dir": path}))

    def user(self, user: str) -> State:
        """Set the user of later steps and of the image: name or number, `user:group`."""
        settings = _change.settings(self._settings, user=user)
        return self._setting(settings, _change.config(self._config, {"user": settings.user}))

    def platform(self, platform: str | Platform) -> State:
        """Set the platform of later runs. That of an image source is an option of `llb.image`."""
        wanted = as_platform("platform", platform).normalized()
        return self._setting(self._settings.changed(platform=wanted))

    def network(self, mode: str) -> State:
        """Set the network of later runs: `sandbox`, `host` or `none`."""
        return self._setting(_change.settings(self._settings, network=mode))

    def security(self, mode: str) -> State:
        """Set the security of later runs: `sandbox` or `insecure`."""
        return self._setting(_change.settings(self._settings, security=mode))

    def hosts(self, hosts: Mapping[str, str] | Iterable[tuple[str, str]]) -> State:
        """Add host names and their IP addresses for later runs."""
        return self._setting(_change.settings(self._settings, hosts=hosts))

    def ulimit(self, name: str, soft: int, hard: int | None = None) -> State:
        """Add a limit for later runs, such as `ulimit("nofile", 1024, 2048)`; -1 is no limit."""
        limit = [(name, soft, soft if hard is None else hard)]
        return self._setting(_change.settings(self._settings, ulimits=limit))

    def cgroup_parent(self, name: str) -> State:
        """Set the control group that processes of later runs are put under."""
        return self._setting(_change.settings(self._settings, cgroup_parent=name))

    def hostname(self, name: str) -> State:
        """Set the host name that later runs see."""
        return self._setting(_change.settings(self._settings, hostname=name))

    def valid_exit_codes(self, *codes: int) -> State:
        """Set the exit codes that count as success of later runs."""
        return self._setting(_change.settings(self._settings, exit_codes=codes))

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

    def with_image_config(self, document: bytes | str | Mapping[str, Any]) -> State:
        """Apply the settings of an OCI image config document: variables, directory and platform.

        As the Go client's WithImageConfig this leaves the user of later steps alone. The whole
        document becomes the image config of the state.
        """
        settings, config = _change.apply_document(self._settings, document)
        return self._setting(settings, config.over(self._config))

    # ----------------------------------------------------------- image config

    def entrypoint(self, command: Iterable[str] | str) -> State:
        """Set the command that a container always runs. A text is a shell command. Config only."""
        return self._configured(entrypoint=command)

    def cmd(self, command: Iterable[str] | str) -> State:
        """Set the default command or arguments. A text is a shell command. Config only."""
        return self._configured(cmd=command)

    def expose(self, *ports: int | str) -> State:
        """Declare ports that a container listens on, such as `8000` or `53/udp`. Config only."""
        return self._configured(exposed_ports=ports)

    def label(self, labels: Mapping[str, str] | None = None, /, **more: str) -> State:
        """Set labels of the image. Config only."""
        return self._configured(labels={**(labels or {}), **more})

    def volume(self, *paths: GuestPath) -> State:
        """Declare directories that a runtime keeps outside the container. Config only."""
        return self._configured(volumes=paths)

    def stop_signal(self, signal: str | int) -> State:
        """Set the signal that stops a container, such as `SIGTERM` or `15`. Config only."""
        return self._configured(stop_signal=signal)

    def healthcheck(
        self,
        command: Iterable[str] | str | None,
        *,
        interval_s: float = 0,
        timeout_s: float = 0,
        start_period_s: float = 0,
        start_interval_s: float = 0,
        retries: int = 0,
    ) -> State:
        """Set how a runtime checks a container; None drops an inherited check. Config only."""
        check = _change.as_healthcheck(
            command, (interval_s, timeout_s, start_period_s, start_interval_s), retries
        )
        return self._configured(healthcheck=check)

    def config(
        self,
        *,
        env: Mapping[str, str | int] | None = None,
        entrypoint: Iterable[str] | str | None = None,
        cmd: Iterable[str] | str | None = None,
        working_dir: GuestPath | None = None,
        user: str | None = None,
        exposed_ports: Iterable[int | str] | None = None,
        labels: Mapping[str, str] | None = None,
        volumes: Iterable[GuestPath] | None = None,
        stop_signal: str | int | None = None,
        healthcheck: Healthcheck | None = None,
        shell: Iterable[str] | None = None,
        on_build: Iterable[str] | None = None,
    ) -> State:
        """Change the image config only; no step sees any of it. See `ImageConfig`."""
        given = {
            "env": env,
            "entrypoint": entrypoint,
            "cmd": cmd,
            "working_dir": working_dir,
            "user": user,
            "exposed_ports": exposed_ports,
            "labels": labels,
            "volumes": volumes,
            "stop_signal": stop_signal,
            "healthcheck": healthcheck,
            "shell": shell,
            "on_build": on_build,
        }
        return self._configured(**{key: value for key, value in given.items() if value is not None})

    def image_config(self) -> ImageConfig:
        """Return the config of the image that this state would become.

        What a base image adds is in it after `resolved()`; before, only what was set here.
        """
        return self._config

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
                `calls` adds, for ops without, the line of code that made them.

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
        )

    @property
    def digest(self) -> str:
        """The digest of the op that makes these files; empty for scratch.

        For this computer's processor, as `marshal()` has it. Of a graph with local directories
        it is another one in every build.
        """
        return self.marshal(local_unique_id="").head

    def explain(self) -> str:
        """Return the graph as text: every op in words, its digest and what it reads."""
        from depotlab.llb._explain import explain

        return explain(self)

    def pipe(
        self,
        function: Callable[Concatenate[State, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Return `function(self, *args, **kwargs)`: for recipes in the middle of a chain."""
        return function(self, *args, **kwargs)

    # --------------------------------------------------------------- plumbing

    @property
    def _op(self) -> Op | None:
        return None if self._edge is None else self._edge[0]

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
        _pass_platform(state)
        return state

    def _setting(self, settings: Settings, config: ImageConfig | None = None) -> State:
        kept = self._config if config is None else config
        return make_state(self._edge, settings, self._origin, kept)

    def _configured(self, **fields: Any) -> State:
        return self._setting(self._settings, _change.config(self._config, fields))

    def _content(self) -> tuple[Any, ...]:
        return (
            None if self._edge is None else (content_key(self._edge[0]), self._edge[1]),
            self._settings,
            b"" if self._origin is None else content_key(self._origin),
            self._config,
        )

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, State):
            return NotImplemented
        return self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a State never changes; its methods return new ones (set {name!r})")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a State never changes (delete {name!r})")

    def __copy__(self) -> State:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> State:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        from depotlab.llb._rewrite import flatten, restore

        return restore, (type(self), flatten(self))

    def __repr__(self) -> str:
        from depotlab.llb._explain import one_line

        return one_line(self)


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


def _fill(
    state: State, edge: Edge | None, settings: Settings, origin: Op | None, config: ImageConfig
) -> None:
    _set(state, "_edge", edge)
    _set(state, "_settings", settings)
    _set(state, "_origin", origin)
    _set(state, "_config", config)


def _pass_platform(state: State) -> None:
    op = state._op
    if op is not None and op.constraints.platform is not None and op.passes_platform:
        platform = op.constraints.platform.normalized()
        if platform != state._settings.platform:
            _set(state, "_settings", state._settings.changed(platform=platform))


def make_state(
    edge: Edge | None,
    settings: Settings,
    origin: Op | None,
    config: ImageConfig,
    kind: type[State] = State,
) -> State:
    """Return a state of these pieces."""
    state = kind.__new__(kind)
    _fill(state, edge, settings, origin, config)
    return state


def fresh_state(edge: Edge | None, origin: Op | None = None) -> State:
    """Return a state with no settings but the platform that was given to its op."""
    state = make_state(edge, EMPTY, origin, NO_CONFIG)
    _pass_platform(state)
    return state


def as_state(call: str, value: Any) -> State:
    if not isinstance(value, State):
        refuse(f"{call} got {value!r}, which is not a state.")
    return value
