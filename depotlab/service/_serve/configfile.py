"""`service.toml`: how `depotlab serve` is told what a service is made of. Every mistake is named with its line.

Secrets have no place in it: they are taken from the environment, so that the file can be kept with other code.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from depotlab.errors import MissingExtra, ServiceError, UsageError
from depotlab.service._http.server import Tls
from depotlab.service._reasons.rules import Rule
from depotlab.service._settings.depot import Depot
from depotlab.service._settings.limits import Limits
from depotlab.service._settings.registry import Registry

__all__ = ["SECTIONS", "Config", "read_config", "read_state"]

Kinds = tuple[type, ...]

_TEXT: Final[Kinds] = (str,)
_NUMBER: Final[Kinds] = (int,)
_SECONDS: Final[Kinds] = (int, float)

SECTIONS: Final[Mapping[str, Mapping[str, Kinds]]] = {
    "": {"state": _TEXT, "platform": _TEXT},
    "listen": {"host": _TEXT, "port": _NUMBER, "tls": (bool,), "cert": _TEXT, "key": _TEXT},
    "depot": {
        "local": (bool, str),
        "url": _TEXT,
        "organization": _TEXT,
        "region": _TEXT,
        "cache_gb": _NUMBER,
        "cache_days": _NUMBER,
        "name_prefix": _TEXT,
        "machine_timeout_s": _SECONDS,
    },
    "registry": {"repository": _TEXT, "user": _TEXT, "insecure": (bool,)},
    "storage": {
        "folder": _TEXT,
        "host": _TEXT,
        "port": _NUMBER,
        "public_url": _TEXT,
        "build_url": _TEXT,
        "keep_days": _SECONDS,
    },
    "s3": {
        "bucket": _TEXT,
        "prefix": _TEXT,
        "endpoint_url": _TEXT,
        "public_endpoint_url": _TEXT,
        "build_endpoint_url": _TEXT,
        "region": _TEXT,
        "path_style": (bool,),
    },
    "telemetry": {"duckdb": _TEXT, "off": (bool,)},
    "clickhouse": {
        "address": _TEXT,
        "user": _TEXT,
        "database": _TEXT,
        "ca_file": _TEXT,
        "timeout_s": _SECONDS,
    },
    "limits": {one.name: _NUMBER for one in fields(Limits)},
}
"""Sections, their keys, and what these may hold. Keys are the arguments of what the section makes."""

_SECRETS: Final[Mapping[tuple[str, str], str]] = {
    ("depot", "token"): "DEPOT_TOKEN",
    ("registry", "password"): "DEPOTLAB_REGISTRY_PASSWORD",
    ("s3", "access_key_id"): "AWS_ACCESS_KEY_ID",
    ("s3", "secret_access_key"): "AWS_SECRET_ACCESS_KEY",
    ("s3", "session_token"): "AWS_SESSION_TOKEN",
    ("clickhouse", "password"): "DEPOTLAB_CLICKHOUSE_PASSWORD",
}
_NAMES: Final[Mapping[type, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
}
# Relative paths in the file begin where the file is, so that it means the same from anywhere.
_PATHS: Final = frozenset(
    {
        ("", "state"),
        ("listen", "cert"),
        ("listen", "key"),
        ("storage", "folder"),
        ("telemetry", "duckdb"),
        ("clickhouse", "ca_file"),
        ("depot", "local"),
    }
)


@dataclass(slots=True)
class Config:
    """What a service is made of.

    Attributes:
        options: Arguments of `BuildService`.
        host: Where to listen.
        port: 0 takes a free one; None that of the last time if it is free, else any.
        tls: As `BuildService.serve` takes it.
    """

    options: dict[str, Any] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int | None = None
    tls: Tls = None


def read_config(
    text: str, *, name: str, folder: Path, environ: Mapping[str, str] | None = None
) -> Config:
    """Read a configuration.

    Args:
        text: Of the file.
        name: Of the file, for messages.
        folder: Where relative paths in it begin.
        environ: Has the secrets; None is this process's.

    Raises:
        UsageError: It is no TOML; it has a section or key that there is not, a value of a wrong kind, or a secret; or
            what it says cannot be made.
        MissingExtra: What it asks for needs a package that is not installed.
    """
    environ = os.environ if environ is None else environ
    sections, rules = _read(text, name, folder)
    config = _made(sections, name, environ)
    if rules:
        config.options["error_rules"] = rules
    return config


def read_state(text: str, *, name: str, folder: Path) -> str | None:
    """Return the folder of the state, for who needs no secret of the rest; arguments and errors as `read_config`."""
    sections, _ = _read(text, name, folder)
    state: str | None = sections[""].get("state")
    return state


def _read(text: str, name: str, folder: Path) -> tuple[dict[str, dict[str, Any]], tuple[Rule, ...]]:
    """Return what the file says, checked, with whole paths."""
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name} is no TOML: {error}.", hint="see toml.io for its form") from None
    rules = _rules(said.pop("errors", []), name)
    sections = _checked(said, _Place(text, name))
    for (section, key), value in _paths(sections):
        sections[section][key] = str(folder / Path(value).expanduser())
    return sections, rules


def _paths(sections: Mapping[str, Mapping[str, Any]]) -> list[tuple[tuple[str, str], str]]:
    found = [((s, k), sections.get(s, {}).get(k)) for s, k in sorted(_PATHS)]
    return [(place, value) for place, value in found if isinstance(value, str)]


# ------------------------------------------------------------------------------------- checking


class _Place:
    """Finds the line of what a message is about."""

    def __init__(self, text: str, name: str) -> None:
        self._lines = text.splitlines()
        self._name = name

    def of(self, section: str, key: str = "") -> str:
        """Return file and line of a key, or of a section's head; only the file when it is written in another way."""
        here = ""
        for number, line in enumerate(self._lines, 1):
            head = re.match(r"\s*\[\s*\"?([^\]\"]*?)\"?\s*\]", line)
            if head is not None:
                here = head[1]
                if not key and here == section:
                    return f"{self._name}, line {number}"
            elif (
                key
                and here == section
                and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line)
            ):
                return f"{self._name}, line {number}"
        return self._name


def _checked(said: Mapping[str, Any], place: _Place) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {"": {}}
    for key, value in said.items():
        if isinstance(value, dict) and key in SECTIONS:
            found[key] = {}
            for name, one in value.items():
                found[key][name] = _value(key, name, one, place)
        elif isinstance(value, dict):
            raise UsageError(
                f"{place.of(key)}: there is no section [{key}].",
                hint=_near(key, [name for name in SECTIONS if name]),
            )
        else:
            found[""][key] = _value("", key, value, place)
    return found


def _value(section: str, key: str, value: Any, place: _Place) -> Any:
    where = place.of(section, key)
    within = f"[{section}] " if section else ""
    if (section, key) in _SECRETS:
        raise UsageError(
            f"{where}: {within}{key} is a secret, and has no place in a file.",
            hint=f"set the variable {_SECRETS[section, key]}",
        )
    kinds = SECTIONS[section].get(key)
    if kinds is None:
        raise UsageError(
            f"{where}: {within}{key} is no setting.", hint=_near(key, list(SECTIONS[section]))
        )
    # A bool is an int to Python, and not to a reader.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        names = " or ".join(_NAMES[kind] for kind in kinds)
        raise UsageError(f"{where}: {within}{key} is {value!r:.60}.", hint=f"it has to be {names}")
    if value == "" and (section, key) in _PATHS:
        raise UsageError(f"{where}: {within}{key} is empty.", hint="give a path, or leave it out")
    return value


def _near(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return (
        f"is {near[0]} meant? There is {', '.join(names)}"
        if near
        else f"there is {', '.join(names)}"
    )


def _rules(said: object, name: str) -> tuple[Rule, ...]:
    """Return what `[[errors]]` says: rows of what customers are told, each with all of its keys."""
    if not isinstance(said, list) or not all(isinstance(row, dict) for row in said):
        raise UsageError(
            f"{name}: errors is no list of rows.", hint="write [[errors]] above each of them"
        )
    rules = []
    for number, row in enumerate(said, 1):
        where = f"{name}, [[errors]] number {number}"
        if wrong := sorted(row.keys() ^ {"category", "patterns", "message"}):
            what = "is no setting" if wrong[0] in row else "is missing"
            raise UsageError(
                f"{where}: {wrong[0]} {what}.",
                hint="a row has category, patterns and message",
            )
        texts, patterns = (row["category"], row["message"]), row["patterns"]
        is_list = isinstance(patterns, list) and all(isinstance(one, str) for one in patterns)
        if not is_list or not all(isinstance(one, str) and one for one in texts):
            raise UsageError(
                f"{where} is malformed.",
                hint='category and message are texts, patterns a list of them: ["no space left"]',
            )
        with _told(where):
            rules.append(Rule(row["category"], tuple(patterns), row["message"]))
    return tuple(rules)


# --------------------------------------------------------------------------------------- making


def _made(sections: Mapping[str, dict[str, Any]], name: str, environ: Mapping[str, str]) -> Config:
    config = Config(options=dict(sections[""]))

    def section(title: str, make: Callable[..., Any], **secrets: str) -> Any:
        with _told(f"{name}, [{title}]"):
            return make(**sections[title], **{key: s for key, s in secrets.items() if s})

    if "depot" in sections:
        config.options["depot"] = section("depot", Depot)
    if "registry" in sections:
        variable = _SECRETS["registry", "password"]
        password = environ.get(variable, "")
        if sections["registry"].get("user") and not password:
            raise UsageError(
                f"{name}, [registry]: there is no password for its user.",
                hint=f"set the variable {variable}",
            )
        config.options["registry"] = section("registry", Registry, password=password)
    if "limits" in sections:
        config.options["limits"] = section("limits", Limits)
    if "storage" in sections and "s3" in sections:
        raise UsageError(
            f"{name} has [storage] and [s3].", hint="contexts are kept in one place: leave one out"
        )
    if "storage" in sections:
        from depotlab.service._storage.localstore import LocalStorage

        config.options["storage"] = section("storage", LocalStorage)
    if "s3" in sections:
        from depotlab.service._storage.s3 import S3Storage

        config.options["storage"] = section("s3", S3Storage)
    _add_telemetry(config, sections, name, environ, section)
    listen = sections.get("listen", {})
    if ("cert" in listen) != ("key" in listen):
        raise UsageError(
            f"{name}, [listen] has one of cert and key.", hint="give the paths of both, or neither"
        )
    config.host = listen.get("host", config.host)
    config.port = listen.get("port", config.port)
    config.tls = (listen["cert"], listen["key"]) if "cert" in listen else listen.get("tls") or None
    return config


def _add_telemetry(
    config: Config,
    sections: Mapping[str, dict[str, Any]],
    name: str,
    environ: Mapping[str, str],
    section: Callable[..., Any],
) -> None:
    telemetry = sections.get("telemetry", {})
    if len(telemetry) + ("clickhouse" in sections) > 1:
        raise UsageError(
            f"{name} says several things about telemetry.",
            hint="give one of [telemetry] duckdb, [telemetry] off and [clickhouse]",
        )
    if telemetry.get("off"):
        config.options["telemetry"] = None
    elif "duckdb" in telemetry:
        config.options["telemetry"] = telemetry["duckdb"]
    elif "clickhouse" in sections:
        from depotlab.telemetry import ClickHouse

        password = environ.get(_SECRETS["clickhouse", "password"], "")
        config.options["telemetry"] = section("clickhouse", ClickHouse, password=password)


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Say of what is refused where it was written."""
    try:
        yield
    except MissingExtra:
        raise
    except (UsageError, ServiceError) as error:
        raise UsageError(f"{where}: {error.message}", hint=error.hint) from error
    except TypeError as error:  # a key that cannot be left out
        missing = re.findall(r"'(\w+)'", str(error))
        raise UsageError(f"{where}: {' and '.join(missing)} is missing.") from error
