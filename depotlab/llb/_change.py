"""What the settings methods of a state do with their arguments: check them, return new values."""

# ruff: noqa: SLF001  (a State hides its pieces from users, not from the files of its room)
from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NoReturn

from depotlab.llb._check import (
    boolean,
    choice,
    guest,
    integer,
    nearest,
    pairs,
    refuse,
    some,
    string,
    strings,
)
from depotlab.llb._config import Healthcheck, ImageConfig, as_document, env_pairs
from depotlab.llb._execop import Device, Extras, Proxy
from depotlab.llb._mount import Mount, Row, Secret, Ssh
from depotlab.llb._paths import change_dir, clean, effective_dir
from depotlab.llb._platform import Platform
from depotlab.llb._settings import NETWORKS, SECURITIES, Settings

# Source: buildkit client/llb/exec.go, UlimitName.
ULIMITS: Final = (
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
)
_INT64: Final = 2**63 - 1
_port = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?")


def settings(
    before: Settings,
    *,
    env: Any = None,
    directory: Any = None,
    user: Any = None,
    hostname: Any = None,
    network: Any = None,
    security: Any = None,
    hosts: Any = None,
    ulimits: Any = None,
    cgroup_parent: Any = None,
    exit_codes: Any = None,
) -> Settings:
    """Return the settings with those changed that are given."""
    changes: dict[str, Any] = {}
    if directory is not None:
        changes["directory"] = change_dir(before.directory, guest("dir", directory))
    if user is not None:
        changes["user"] = string("user", user)
    if hostname is not None:
        changes["hostname"] = string("hostname", hostname)
    if network is not None:
        changes["network"] = choice("network", network, NETWORKS)
    if security is not None:
        changes["security"] = choice("security", security, SECURITIES)
    if hosts is not None:
        changes["hosts"] = before.hosts + as_hosts(hosts)
    if ulimits is not None:
        changes["ulimits"] = before.ulimits + as_ulimits(ulimits)
    if cgroup_parent is not None:
        changes["cgroup_parent"] = string("cgroup_parent", cgroup_parent)
    if exit_codes is not None:
        changes["exit_codes"] = as_exit_codes(exit_codes)
    after = replace(before, **changes) if changes else before
    return after if env is None else after.with_env(as_env("env", env))


def as_env(argument: str, value: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in pairs(argument, value):
        if len(item) != 2:
            refuse(f"{argument} has {item!r}, which is not a name and a value.")
        name, text = item
        if not some(f"{argument} name", name) or "=" in name:
            refuse(f"{argument} name {name!r} contains '='.")
        if isinstance(text, int) and not isinstance(text, bool):
            text = str(text)
        elif not isinstance(text, str):
            refuse(
                f"{argument}[{name!r}]={text!r} is not text but {type(text).__name__}.",
                hint="write the text that the program should see",
            )
        found.pop(name, None)  # set again, it moves to the end
        found[name] = string(f"{argument}[{name!r}]", text)
    return found


def as_hosts(value: Any) -> tuple[tuple[str, str], ...]:
    found = []
    for item in pairs("hosts", value):
        if len(item) != 2:
            refuse(f"hosts has {item!r}, which is not a name and an address.")
        name, address = some("hosts name", item[0]), item[1]
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            refuse(f"hosts[{name!r}]={address!r} is not an IP address.")
        if isinstance(parsed, ipaddress.IPv6Address):
            if parsed.scope_id is not None:
                refuse(f"hosts[{name!r}]={address!r} has a zone, which BuildKit cannot take.")
            parsed = parsed.ipv4_mapped or parsed
        found.append((name, parsed.compressed))
    return tuple(found)


def as_ulimits(value: Any) -> tuple[tuple[str, int, int], ...]:
    found = []
    for item in pairs("ulimits", value):
        name, *limits = item
        if len(limits) == 1 and isinstance(limits[0], Iterable):
            limits = list(limits[0])
        if len(limits) == 1:
            limits *= 2
        if len(limits) != 2:
            refuse(
                f"ulimits has {item!r}.", hint="write {'nofile': (1024, 2048)} or {'nofile': 1024}"
            )
        soft, hard = (integer(f"ulimits[{name!r}]", limit, -_INT64 - 1, _INT64) for limit in limits)
        found.append((choice("ulimits name", name, ULIMITS), soft, hard))
    return tuple(found)


def as_exit_codes(value: Any) -> tuple[int, ...]:
    if isinstance(value, int):
        refuse(f"valid_exit_codes={value} is one number.", hint=f"write valid_exit_codes=[{value}]")
    return tuple(integer("valid_exit_codes", code, -(2**31), 2**31 - 1) for code in value)


def extras(
    mounts: Any, devices: Any, proxy: Any, readonly_root: Any
) -> tuple[Sequence[Row], Extras | None]:
    """Return the mounts of a run that have files, and what else it has beyond its command."""
    if mounts.__class__ is list and not (devices or proxy is not None or readonly_root):
        # What most runs have: a list of mounts with files, and nothing else.
        rows = [mount._row for mount in mounts if mount.__class__ is Mount]
        if len(rows) == len(mounts):
            return rows, None
    if isinstance(mounts, (Mount, Secret, Ssh)):
        refuse("mounts is one mount.", hint="write mounts=[...]")
    rows = []
    secrets: list[Secret] = []
    sockets: list[Ssh] = []
    for number, mount in enumerate(mounts):
        if mount.__class__ is Mount:
            rows.append(mount._row)
        elif isinstance(mount, Secret):
            secrets.append(mount)
        elif isinstance(mount, Ssh):
            sockets.append(mount)
        else:
            refuse(
                f"mounts[{number}]={mount!r} is not a mount.",
                hint="make one with mount.bind, cache, tmpfs, secret or ssh",
            )
    if not (secrets or sockets or devices or proxy is not None or readonly_root):
        return rows, None
    if proxy is not None and not isinstance(proxy, Proxy):
        refuse(f"proxy={proxy!r} is not a Proxy.", hint="write proxy=llb.Proxy(http='http://…')")
    if isinstance(devices, (str, Device)):
        refuse(f"devices={devices!r} is one device.", hint=f"write devices=[{devices!r}]")
    return rows, Extras(
        tuple(secrets),
        tuple(sockets),
        tuple(d if isinstance(d, Device) else Device(d) for d in devices),
        proxy,
        boolean("readonly_root", readonly_root),
    )


def no_such_mount(target: str, targets: list[str]) -> NoReturn:
    refuse(f"the run has no mount at {target!r}.", hint=nearest(target, targets))


# ------------------------------------------------------------------------------- image config


def config(before: ImageConfig, fields: Mapping[str, Any]) -> ImageConfig:
    """Return the config with these fields changed, as the Dockerfile instruction would."""
    changes: dict[str, Any] = {}
    for name, value in fields.items():
        match name:
            case "env":
                # A variable set again keeps its place (dockerfile2llb, addEnv).
                changes[name] = {**before.env, **as_env(name, value)}
            case "labels":
                changes[name] = {**before.labels, **_as_labels(value)}
            case "entrypoint" | "cmd":
                changes[name] = as_command(name, value)
            case "exposed_ports":
                ports = [port for given in value for port in _as_ports(given)]
                changes[name] = tuple(sorted({*before.exposed_ports, *ports}))
            case "volumes":
                paths = {some("volume", guest("volume", path)) for path in value}
                changes[name] = tuple(sorted(paths.union(before.volumes)))
            case "working_dir":
                changes[name] = _as_working_dir(before, value)
            case "user":
                changes[name] = string(name, value)
            case "stop_signal":
                changes[name] = _as_signal(value)
            case "healthcheck":
                if not isinstance(value, Healthcheck):
                    refuse(f"healthcheck={value!r} is not a Healthcheck.")
                changes[name] = value
            case "shell" | "on_build":
                changes[name] = strings(name, value)
            case _:
                raise AssertionError(name)
    return replace(before, **changes)


def as_command(argument: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return "/bin/sh", "-c", string(argument, value)
    return strings(argument, value)


def _as_labels(value: Any) -> dict[str, str]:
    return {
        some("label name", name): string(f"label {name!r}", text)
        for name, text in pairs("labels", value)
    }


def _as_ports(value: Any) -> list[str]:
    """Return ports as `8000/tcp`; `8000-8002` are three."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    match = _port.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        refuse(f"port {value!r} is not a port.", hint="write 8000, '53/udp' or '8000-8010/tcp'")
    first, last = int(match[1]), int(match[2] or match[1])
    if not 1 <= first <= last <= 65535:
        refuse(f"port {value!r} is not between 1 and 65535.")
    return [f"{port}/{match[3] or 'tcp'}" for port in range(first, last + 1)]


def _as_working_dir(before: ImageConfig, value: Any) -> str:
    path = change_dir(before.working_dir or "", guest("working_dir", value))
    return clean(path) if path.startswith("/") else path


def _as_signal(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{1,3}|[A-Z][A-Z0-9+-]*", text):
        refuse(f"stop_signal={value!r} is not a signal.", hint="write 'SIGTERM' or 15")
    return text


def as_healthcheck(
    command: Any, seconds: tuple[float, float, float, float], retries: int
) -> Healthcheck:
    for name, value in zip(
        ("interval_s", "timeout_s", "start_period_s", "start_interval_s"), seconds, strict=True
    ):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
            refuse(f"{name}={value!r} is not a number of seconds.")
    integer("retries", retries, 0, 2**31 - 1)
    if command is None:
        test: tuple[str, ...] = ("NONE",)
    elif isinstance(command, str):
        test = ("CMD-SHELL", string("command", command))
    else:
        test = ("CMD", *strings("command", command))
    return Healthcheck(test, *seconds, retries)


def apply_document(before: Settings, document: Any) -> tuple[Settings, ImageConfig]:
    """Return settings and config after an image config document.

    Source: buildkit client/llb/state.go, WithImageConfig.
    """
    doc = as_document(document)
    config = ImageConfig.from_json(doc)
    inner = doc.get("config") or {}
    after = before
    for name, value in env_pairs(inner.get("Env")):
        after = after.with_env({name: value})
    after = replace(
        after, directory=change_dir(effective_dir(after.directory), config.working_dir or "")
    )
    if doc.get("architecture") and doc.get("os"):
        platform = Platform(
            doc["os"],
            doc["architecture"],
            doc.get("variant") or "",
            doc.get("os.version") or "",
            tuple(doc.get("os.features") or ()),
        )
        after = replace(after, platform=platform.normalized())
    return after, config
