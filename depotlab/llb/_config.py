"""The config of an image: what happens when somebody runs it. No part of any op.

Field names are those of the OCI image specification (config.md); `Healthcheck`, `Shell` and `OnBuild` are the
Docker additions (moby/docker-image-spec).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from depotlab._values import Value
from depotlab.llb._check import refuse
from depotlab.llb._frozen import NOTHING, FrozenMap
from depotlab.llb._paths import change_dir, clean, effective_dir
from depotlab.llb._platform import Platform

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, repr=False)
class Healthcheck(Value):
    """How a runtime finds out whether a container is well.

    Attributes:
        test: The argv after `CMD`, a shell line after `CMD-SHELL`, or `NONE` to drop an inherited one.
        interval_s: Between two checks, in seconds; 0 inherits the runtime's default, as for the others.
        timeout_s: Of one check, in seconds.
        start_period_s: In which failures do not count, in seconds.
        start_interval_s: Between checks in the start period, in seconds.
        retries: Failures in a row until the container is unhealthy.
    """

    test: tuple[str, ...]
    interval_s: float = 0
    timeout_s: float = 0
    start_period_s: float = 0
    start_interval_s: float = 0
    retries: int = 0

    def to_oci(self) -> dict[str, Any]:
        """Return it as image configs have it: keys of Docker's, times in nanoseconds."""
        seconds = {
            "Interval": self.interval_s,
            "Timeout": self.timeout_s,
            "StartPeriod": self.start_period_s,
            "StartInterval": self.start_interval_s,
        }
        found: dict[str, Any] = {"Test": list(self.test)}
        found.update({key: round(value * _NS) for key, value in seconds.items() if value})
        return found | ({"Retries": self.retries} if self.retries else {})

    @classmethod
    def from_oci(cls, doc: Mapping[str, Any]) -> Healthcheck:
        """Read it from an image config; see `to_oci`."""
        return cls(
            tuple(doc.get("Test") or ()),
            (doc.get("Interval") or 0) / _NS,
            (doc.get("Timeout") or 0) / _NS,
            (doc.get("StartPeriod") or 0) / _NS,
            (doc.get("StartInterval") or 0) / _NS,
            doc.get("Retries") or 0,
        )


@dataclass(frozen=True, slots=True, repr=False)
class ImageConfig(Value):
    """What an image says about running it. None means: not set, or inherited from the base.

    Attributes:
        env: Variables by name, in order.
        entrypoint: The command that always runs.
        cmd: Its default arguments, or the command if there is no entrypoint.
        working_dir: Where it starts; a relative one continues that of the base.
        user: Name or number, `user:group`.
        exposed_ports: Such as `8000/tcp`, sorted.
        labels: Free text by key.
        volumes: Directories that a runtime keeps outside the container, sorted.
        stop_signal: Such as `SIGTERM`.
        healthcheck: See `Healthcheck`.
        shell: What runs shell-form commands of a Dockerfile that starts from this image.
        on_build: Dockerfile lines for images built on this one; never inherited.
    """

    env: Mapping[str, str] = NOTHING
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    working_dir: str | None = None
    user: str | None = None
    exposed_ports: tuple[str, ...] = ()
    labels: Mapping[str, str] = NOTHING
    volumes: tuple[str, ...] = ()
    stop_signal: str | None = None
    healthcheck: Healthcheck | None = None
    shell: tuple[str, ...] | None = None
    on_build: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "env", FrozenMap(self.env))
        object.__setattr__(self, "labels", FrozenMap(self.labels))

    def __repr__(self) -> str:
        return f"ImageConfig({self.describe()})"

    def __bool__(self) -> bool:
        """Whether anything is set."""
        return any(getattr(self, f.name) not in (None, (), {}) for f in fields(self))

    def describe(self, skip: Iterable[str] = ()) -> str:
        """Return the fields that are set, on one line."""
        shown = []
        for item in fields(self):
            value = getattr(self, item.name)
            if value in (None, (), {}) or item.name in skip:
                continue
            plain = list(value) if isinstance(value, tuple) else value
            shown.append(f"{item.name} {dict(plain) if isinstance(plain, Mapping) else plain!r}")
        return ", ".join(shown)

    def over(self, base: ImageConfig) -> ImageConfig:
        """Return this config put on top of that of a base image, as a Dockerfile does after FROM.

        Variables, labels, ports and volumes add up; an entrypoint of ours drops the base's cmd;
        `on_build` of the base is dropped. Source: buildkit
        frontend/dockerfile/dockerfile2llb/convert.go.
        """
        cmd = self.cmd if self.cmd is not None or self.entrypoint is not None else base.cmd
        directory = self.working_dir
        if directory is None:
            directory = base.working_dir
        elif not directory.startswith("/"):
            directory = clean(effective_dir(change_dir(base.working_dir or "", directory)))
        return ImageConfig(
            env={**base.env, **self.env},
            entrypoint=base.entrypoint if self.entrypoint is None else self.entrypoint,
            cmd=cmd,
            working_dir=directory,
            user=base.user if self.user is None else self.user,
            exposed_ports=_union(base.exposed_ports, self.exposed_ports),
            labels={**base.labels, **self.labels},
            volumes=_union(base.volumes, self.volumes),
            stop_signal=base.stop_signal if self.stop_signal is None else self.stop_signal,
            healthcheck=base.healthcheck if self.healthcheck is None else self.healthcheck,
            shell=base.shell if self.shell is None else self.shell,
            on_build=self.on_build,
        )

    def to_oci(self) -> dict[str, Any]:
        """Return the `config` object of an OCI image config document."""
        directory = self.working_dir
        found: dict[str, Any] = {
            "User": self.user,
            "ExposedPorts": {key: {} for key in self.exposed_ports},
            "Env": [f"{key}={value}" for key, value in self.env.items()],
            "Entrypoint": _listed(self.entrypoint),
            "Cmd": _listed(self.cmd),
            "Volumes": {key: {} for key in self.volumes},
            "WorkingDir": None if directory is None else clean(effective_dir(directory)),
            "Labels": dict(self.labels),
            "StopSignal": self.stop_signal,
            "Healthcheck": None if self.healthcheck is None else self.healthcheck.to_oci(),
            "Shell": _listed(self.shell),
            "OnBuild": list(self.on_build),
        }
        return {key: value for key, value in found.items() if value not in (None, {}, [], "")}

    def to_json(self, platform: Platform) -> bytes:
        """Return an OCI image config document for `platform`, without layers and history.

        A builder's exporter adds those when it is given this as `containerimage.config`.
        """
        doc: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
        if platform.variant:
            doc["variant"] = platform.variant
        if platform.os_version:
            doc["os.version"] = platform.os_version
        if platform.os_features:
            doc["os.features"] = list(platform.os_features)
        doc["config"] = self.to_oci()
        doc["rootfs"] = {"type": "layers", "diff_ids": []}
        return json.dumps(doc, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, document: bytes | str | Mapping[str, Any]) -> ImageConfig:
        """Return the config out of an OCI image config document.

        Raises:
            GraphError: It is not such a document.
        """
        doc = as_document(document)
        config = doc.get("config") or {}
        if not isinstance(config, Mapping):
            refuse("the image config document has a `config` that is not an object.")
        health = config.get("Healthcheck")
        try:
            return cls(
                env=dict(env_pairs(config.get("Env"))),
                entrypoint=_tuple(config.get("Entrypoint")),
                cmd=_tuple(config.get("Cmd")),
                working_dir=config.get("WorkingDir") or None,
                user=config.get("User") or None,
                exposed_ports=tuple(sorted(config.get("ExposedPorts") or ())),
                labels=dict(config.get("Labels") or {}),
                volumes=tuple(sorted(config.get("Volumes") or ())),
                stop_signal=config.get("StopSignal") or None,
                healthcheck=Healthcheck.from_oci(health) if health else None,
                shell=_tuple(config.get("Shell")),
                on_build=tuple(config.get("OnBuild") or ()),
            )
        except (TypeError, ValueError, AttributeError) as error:
            refuse(f"the image config document is malformed: {error}.")


def as_document(document: Any) -> Mapping[str, Any]:
    """Return an image config document as a mapping."""
    if isinstance(document, (bytes, str)):
        try:
            document = json.loads(document)
        except ValueError as error:
            refuse(f"the image config document is not JSON: {error}.")
    if not isinstance(document, Mapping):
        refuse("the image config document is not a JSON object.")
    return document


def env_pairs(entries: Any) -> list[tuple[str, str]]:
    """Return `KEY=VALUE` texts as pairs; a value may be missing, an entry without key is skipped."""
    split = [str(entry).partition("=") for entry in entries or ()]
    return [(key, value) for key, _, value in split if key]


def _union(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*first, *second}))


def _tuple(value: Any) -> tuple[str, ...] | None:
    return None if not value else tuple(value)


def _listed(value: tuple[str, ...] | None) -> list[str] | None:
    return None if value is None else list(value)
