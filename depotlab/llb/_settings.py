"""Build-time settings of a state: what later steps inherit. Plain values, put on top of a base.

Everything is kept relative to where the settings began (an image whose config may still come, or a lazy
state): variables that we set, a directory that may be relative, a user or none. `Settings.over(base)` then
gives the whole, so that learning the base later costs one step and not a walk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from depotlab.llb._paths import change_dir, effective_dir
from depotlab.llb._platform import Platform
from depotlab.llb._wire import field as wire_field
from depotlab.llb._wire import integer, packed, text

NETWORKS = {"sandbox": 0, "host": 1, "none": 2}
SECURITIES = {"sandbox": 0, "insecure": 1}


@dataclass(frozen=True, slots=True)
class Settings:
    """See `State` for the meaning of each. Never changed in place; the encoded parts are filled once."""

    env: tuple[tuple[str, str], ...] = ()
    directory: str = ""
    user: str | None = None
    hostname: str | None = None
    hosts: tuple[tuple[str, str], ...] = ()
    ulimits: tuple[tuple[str, int, int], ...] = ()
    cgroup_parent: str | None = None
    platform: Platform | None = None
    network: str | None = None
    security: str | None = None
    exit_codes: tuple[int, ...] = ()
    _encoded: tuple[bytes, bytes, bytes] | None = field(
        default=None, init=False, repr=False, compare=False
    )
    _caps: frozenset[str] | None = field(default=None, init=False, repr=False, compare=False)

    def changed(self, **changes: Any) -> Settings:
        return replace(self, **changes)

    def with_env(self, added: Mapping[str, str]) -> Settings:
        """Set variables; one that was set before moves to the end.

        Source: buildkit client/llb/meta.go, EnvList.
        """
        kept = [pair for pair in self.env if pair[0] not in added]
        return replace(self, env=(*kept, *added.items()))

    def over(self, base: Settings) -> Settings:
        """Return these settings made on top of `base`."""
        if base is EMPTY:
            return self
        if self is EMPTY:
            return base
        ours = {key for key, _ in self.env}
        return Settings(
            (*(pair for pair in base.env if pair[0] not in ours), *self.env),
            change_dir(base.directory, self.directory) if self.directory else base.directory,
            base.user if self.user is None else self.user,
            base.hostname if self.hostname is None else self.hostname,
            base.hosts + self.hosts,
            base.ulimits + self.ulimits,
            base.cgroup_parent if self.cgroup_parent is None else self.cgroup_parent,
            base.platform if self.platform is None else self.platform,
            base.network if self.network is None else self.network,
            base.security if self.security is None else self.security,
            self.exit_codes or base.exit_codes,
        )

    @property
    def cwd(self) -> str:
        return effective_dir(self.directory)

    @property
    def encoded(self) -> tuple[bytes, bytes, bytes]:
        """What is written of every run with these settings.

        The `env` fields of `pb.Meta`, the fields that follow them, and the network and security
        fields of `pb.ExecOp`.
        """
        found = self._encoded
        if found is None:
            modes = integer(3, NETWORKS[self.network or "sandbox"])
            modes += integer(4, SECURITIES[self.security or "sandbox"])
            found = (encode_env(self.env), self.encode_rest(b""), modes)
            object.__setattr__(self, "_encoded", found)
        return found

    def encode_rest(self, proxy: bytes) -> bytes:
        """Return the fields of `pb.Meta` that follow `env`, with those of a proxy among them."""
        hosts = (wire_field(6, text(1, name) + text(2, ip)) for name, ip in self.hosts)
        ulimits = (
            wire_field(9, text(1, name) + integer(2, soft) + integer(3, hard))
            for name, soft, hard in self.ulimits
        )
        return b"".join(
            (
                text(3, self.cwd),
                text(4, self.user or ""),
                proxy,
                *hosts,
                text(7, self.hostname or ""),
                *ulimits,
                text(10, self.cgroup_parent or ""),
                # Go sets removeMountStubsRecursive on every exec (client/llb/exec.go).
                b"\x58\x01",
                packed(12, self.exit_codes),
            )
        )

    @property
    def caps(self) -> frozenset[str]:
        """Features that an exec with these settings needs."""
        found = self._caps
        if found is None:
            needed = {
                "exec.meta.ulimit": bool(self.ulimits),
                "exec.meta.network": self.network not in (None, "sandbox"),
                "exec.meta.security": self.security == "insecure",
                "exec.validexitcode": bool(self.exit_codes),
            }
            found = frozenset(cap for cap, wanted in needed.items() if wanted)
            object.__setattr__(self, "_caps", found)
        return found


def encode_env(env: tuple[tuple[str, str], ...]) -> bytes:
    return b"".join(wire_field(2, f"{key}={value}".encode()) for key, value in env)


EMPTY = Settings()
