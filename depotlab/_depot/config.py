"""Which token, project, organization, build and address are used, and where each was found.

Found as the official command line finds them, so that what works there works here:

| value | in this order |
|---|---|
| token | argument; DEPOT_TOKEN; DEPOT_API_TOKEN; `api_token` in the user's depot.yaml; then as the next row |
| (token) | the CI job's identity; DEPOT_JIT_TOKEN; DEPOT_CACHE_TOKEN |
| project | argument; DEPOT_PROJECT_ID; `id` in the nearest depot.json, depot.yml or depot.yaml above the context |
| organization | argument; DEPOT_ORG_ID; `org_id` in the user's depot.yaml |
| build to continue | argument; DEPOT_BUILD_ID |
| address | argument; DEPOT_API_URL; https://api.depot.dev |

Source: depot/cli `pkg/project/config.go` for the project's file; the rest is what depot-cli 2.102.12 was seen to do.
"""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from depotlab._depot.address import DEFAULT_URL, check_token, check_url
from depotlab._depot.connect import Connect
from depotlab._depot.errors import NoToken
from depotlab._depot.flatyaml import NotFlat, read_flat
from depotlab._depot.oidc import PROVIDERS, Provider
from depotlab._values import Value, table_html
from depotlab.errors import ContextError, UsageError

__all__ = ["DepotConfig", "Setting", "config_file", "find_config"]

_PROJECT_FILES = ("depot.json", "depot.yml", "depot.yaml")
_MASK = "•••"


@dataclass(frozen=True, slots=True, repr=False)
class Setting(Value):
    """A value, and where it was found.

    Attributes:
        value: Empty if it was found nowhere.
        source: Such as `DEPOT_TOKEN` or a file's path; empty if it was found nowhere.
        secret: Whether the value is never shown.
    """

    value: str = field(default="", repr=False)
    source: str = ""
    secret: bool = False

    def _facts(self) -> Iterator[tuple[str, object]]:
        yield "value", self.shown
        yield "source", self.source

    @property
    def shown(self) -> str:
        """The value for people; three dots for a secret."""
        return _MASK if self.secret and self.value else self.value

    def __bool__(self) -> bool:
        return bool(self.value)

    def __repr__(self) -> str:
        return f"Setting({self.shown!r}, source={self.source!r})"


@dataclass(frozen=True, slots=True, repr=False)
class DepotConfig(Value):
    """What a build on Depot would use. A notebook shows it as a table; the token is never shown.

    Attributes:
        token: Proves who we are.
        project: Id of the project to build in. If empty, the server chooses or refuses.
        organization: Owns projects that are made.
        build: Id of a build that somebody else has registered, to be continued.
        base_url: Where the API is.
        warnings: What a reader should know, such as two project files that disagree.
    """

    token: Setting
    project: Setting
    organization: Setting
    build: Setting
    base_url: Setting
    warnings: tuple[str, ...] = ()

    def settings(self) -> Iterator[tuple[str, Setting]]:
        """Yield name and setting of each."""
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Setting):
                yield item.name, value

    def require_token(self) -> str:
        """Return the token.

        Raises:
            NoToken: There is none; the hint says the three ways to get one.
        """
        if not self.token:
            raise NoToken
        return self.token.value

    def connect(self, *, timeout_s: float = 30.0) -> Connect:
        """Return a client with this address and token, which connects when it is first used.

        Args:
            timeout_s: For each call, with its tries.

        Raises:
            NoToken: There is no token.
        """
        return Connect(self.base_url.value, token=self.require_token(), timeout_s=timeout_s)

    def __repr__(self) -> str:
        found = [f"{name} from {s.source}" for name, s in self.settings() if s]
        return f"<DepotConfig {', '.join(found) or 'nothing found'}>"

    def __str__(self) -> str:
        rows = [(name, s.shown or "-", s.source or "not found") for name, s in self.settings()]
        widths = [max(len(row[n]) for row in rows) for n in range(2)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows]
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])

    def _repr_html_(self) -> str:
        rows = [
            (name, f"<code>{html.escape(one.shown or '-')}</code>", one.source or "not found")
            for name, one in self.settings()
        ]
        notes = [f"warning: {text}" for text in self.warnings]
        heads = ("setting", "value", "from")
        return table_html("", heads, rows, notes=notes, raw=frozenset({"value"}))


def config_file(
    environ: Mapping[str, str] | None = None, *, home: Path | None = None, system: str = ""
) -> Path:
    """Return where the official command line keeps its login, whether it exists or not.

    Args:
        environ: None is this process's.
        home: The user's folder; None is the real one.
        system: As `sys.platform`; empty is this computer's.
    """
    environ = os.environ if environ is None else environ
    home = home or Path.home()
    system = system or sys.platform
    if xdg := environ.get("XDG_CONFIG_HOME"):
        folder = Path(xdg)
    elif system == "darwin":
        folder = home / "Library" / "Application Support"
    elif system == "win32":
        folder = Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        folder = home / ".config"
    return folder / "depot" / "depot.yaml"


async def find_config(
    *,
    token: str = "",
    project: str = "",
    organization: str = "",
    build: str = "",
    base_url: str = "",
    host_context: Path | None = None,
    host_dockerfile: Path | None = None,
    environ: Mapping[str, str] | None = None,
    home: Path | None = None,
    providers: Mapping[str, Provider] = PROVIDERS,
) -> DepotConfig:
    """Find every value, in the order of the table above. Reads files; asks a CI system if it comes to that.

    Args:
        token: This and the next four win over everything else.
        project: Id.
        organization: Id.
        build: Id.
        base_url: Address of the API.
        host_context: Folder of the build's context, where the search for a project's file begins; None
            is the working directory.
        host_dockerfile: The Dockerfile, when it is outside of the context; its folder is searched too.
        environ: None is this process's.
        home: The user's folder; None is the real one.
        providers: Who may know the identity of a CI job.

    Raises:
        UsageError: A value that cannot be used, such as an address that is no URL.
        ContextError: A file that is there and cannot be read.
        IdentityFailed: A CI system offers an identity and does not give it.
    """
    environ = os.environ if environ is None else environ
    login = config_file(environ, home=home)
    kept = _read(login, ("api_token", "org_id"))
    argument = "argument"
    found_token = _first(
        (argument, token),
        *_from_environ(environ, "DEPOT_TOKEN", "DEPOT_API_TOKEN"),
        (str(login), kept.get("api_token", "")),
        secret=True,
    )
    if not found_token:
        found_token = await _identity(environ, providers)
    if not found_token:
        names = ("DEPOT_JIT_TOKEN", "DEPOT_CACHE_TOKEN")
        found_token = _first(*_from_environ(environ, *names), secret=True)
    check_token(found_token.value)

    warnings: list[str] = []
    found_project = _first((argument, project), *_from_environ(environ, "DEPOT_PROJECT_ID"))
    if not found_project:
        found_project = _project_of(host_context, host_dockerfile, warnings)

    found_url = _first(
        ("argument", base_url),
        *_from_environ(environ, "DEPOT_API_URL"),
        ("default", DEFAULT_URL),
    )
    return DepotConfig(
        token=found_token,
        project=found_project,
        organization=_first(
            (argument, organization),
            *_from_environ(environ, "DEPOT_ORG_ID"),
            (str(login), kept.get("org_id", "")),
        ),
        build=_first((argument, build), *_from_environ(environ, "DEPOT_BUILD_ID")),
        base_url=Setting(check_url(found_url.value), found_url.source),
        warnings=tuple(warnings),
    )


async def _identity(environ: Mapping[str, str], providers: Mapping[str, Provider]) -> Setting:
    for name, provider in providers.items():
        if token := await provider(environ):
            return Setting(token, f"identity of the job at {name}", secret=True)
    return Setting(secret=True)


def _from_environ(environ: Mapping[str, str], *names: str) -> list[tuple[str, str]]:
    return [(name, environ.get(name, "")) for name in names]


def _first(*places: tuple[str, str], secret: bool = False) -> Setting:
    for source, value in places:
        if not isinstance(value, str):
            raise UsageError(
                f"A setting of Depot must be a text, not {type(value).__name__}.",
                hint="pass token=, project=, organization=, build= and base_url= as texts",
            )
        if value.strip():
            return Setting(value.strip(), source, secret)
    return Setting(secret=secret)


def _project_of(
    host_context: Path | None, host_dockerfile: Path | None, warnings: list[str]
) -> Setting:
    """The project that the files above these name; if they disagree, the last one, with a warning."""
    starts = [(host_context or Path.cwd()).absolute()]
    if host_dockerfile is not None:
        starts.append(host_dockerfile.absolute().parent)
    found: dict[str, str] = {}
    for start in starts:
        # The first file that is there counts, even one that names no project.
        folders = (start, *start.parents)
        candidates = (folder / name for folder in folders for name in _PROJECT_FILES)
        path = next((path for path in candidates if path.is_file()), None)
        if path is not None and (project_id := _read(path, ("id",)).get("id")):
            found[str(path)] = project_id
    if not found:
        return Setting()
    if len(set(found.values())) > 1:
        named = ", ".join(f"{project_id} in {path}" for path, project_id in found.items())
        warnings.append(f"several projects are named: {named}; the last one is used")
    source, project_id = list(found.items())[-1]
    return Setting(project_id, source)


def _read(path: Path, keys: tuple[str, ...]) -> dict[str, str]:
    """The texts of these keys in a file; nothing if there is no such file."""
    try:
        return read_flat(path.read_text(encoding="utf-8"), keys)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ContextError(
            f"{path} cannot be read: {error.strerror or error}.",
            path=str(path),
            hint="make it readable, or pass the values as arguments",
        ) from error
    except (NotFlat, UnicodeDecodeError) as error:
        why = error if isinstance(error, NotFlat) else "it is no text"
        raise ContextError(
            f"{path} cannot be used: {why}.",
            path=str(path),
            hint=f"it should be JSON, or lines like '{keys[0]}: value'",
        ) from None
