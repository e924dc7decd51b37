"""What a state passes on beside its files: settings for later steps, and the config of the image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from depotlab.llb import _change
from depotlab.llb._actions import GuestPath
from depotlab.llb._config import Healthcheck, ImageConfig
from depotlab.llb._platform import Platform, as_platform
from depotlab.llb._settings import Settings
from depotlab.llb._value import Value

if TYPE_CHECKING:
    from depotlab.llb._state import State


class Described(Value):
    """The methods of a state that make no op."""

    __slots__ = ()

    def _setting(self, settings: Settings, config: ImageConfig | None = None) -> State:
        """Return the same files with these settings, and with this config if one is given."""
        raise NotImplementedError

    def _configured(self, **fields: Any) -> State:
        return self._setting(self._settings, _change.config(self._config, fields))

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
        """Set the working directory; a relative one continues the one before, or that of the base image.

        Example:
            >>> from depotlab import llb
            >>> built = llb.image("alpine").dir("/app").run("make")
        """
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
