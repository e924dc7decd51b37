"""Secrets for a build: values that steps see while they run, and that no image, cache or log keeps.

What a step itself writes to its output or into a file is in its log or its layer, as anything else that it writes.

A secret is given by the name that steps ask for, its id:

    bk.build(app, secrets={"npm": secret.env("NPM_TOKEN"), "key": secret.file("key.pem"), "pw": "text"})

Nothing is read before the build starts. Then everything is read once, before anything is sent, and what was
read is what steps get: as it is, with the line break at the end of a file if there is one.

Git and HTTP sources ask for ids of their own, and go on without them:

| id | sent to the server as |
|---|---|
| `GIT_AUTH_HEADER.HOST`, then `GIT_AUTH_HEADER` | the whole `Authorization` header |
| `GIT_AUTH_TOKEN.HOST`, then `GIT_AUTH_TOKEN` | password of the user `x-access-token` |
| `HTTP_AUTH_HEADER_HOST` | the whole `Authorization` header |
| `HTTP_AUTH_TOKEN_HOST` | `Bearer` and the value |

The first that is given is used; for HTTP the token wins over the header. `HOST` has the port for git
(`GIT_AUTH_TOKEN.git.example.com:8443`), and never for HTTP (`HTTP_AUTH_TOKEN_example.com`).

Source: moby/buildkit `session/secrets/`, `source/git/source.go`, `source/http/source.go`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from depotlab._values import Value
from depotlab.errors import UsageError

__all__ = ["MAX_BYTES", "Secret", "check_all", "env", "file", "of", "value"]

MAX_BYTES: Final = 500 * 1024
"""The most that a secret may hold. The Go client has the same limit."""


@dataclass(frozen=True, slots=True, repr=False)
class Secret(Value):
    """Where the value of a secret comes from. The value itself is never shown.

    Made by `value`, `env` and `file`.

    Attributes:
        variable: The environment variable, or empty.
        host_path: The file, absolute, or None.
    """

    variable: str = ""
    host_path: Path | None = None
    _data: bytes | None = field(default=None, repr=False)

    def check(self) -> Secret:
        """Read the value, unless that has been done, and return a secret that holds it.

        Raises:
            UsageError: The variable is not set, the file is no readable file, or there are more than
                `MAX_BYTES`.
        """
        return self if self._data is not None else replace(self, _data=self.read())

    def read(self) -> bytes:
        """Return the value.

        Raises:
            UsageError: As `check`.
        """
        if self._data is not None:
            return self._data
        if self.host_path is not None:
            return _checked_size(str(self.host_path), _read(self.host_path))
        return _checked_size(f"The variable {self.variable}", _read_variable(self.variable))

    def __repr__(self) -> str:
        if self.host_path is not None:
            return f"<secret from file {str(self.host_path)!r}>"
        return f"<secret from variable {self.variable!r}>" if self.variable else "<secret •••>"


def value(data: bytes | str) -> Secret:
    """Take the value from the program.

    Args:
        data: The value; text is sent as UTF-8.

    Raises:
        UsageError: It is neither, or holds more than `MAX_BYTES`.

    Example:
        >>> value("s3cr3t")
        <secret •••>
    """
    if not isinstance(data, str | bytes | bytearray | memoryview):
        raise UsageError(
            f"secret.value() takes text or bytes, not {type(data).__name__}.",
            hint="for an environment variable write secret.env('NAME'), for a file secret.file('path')",
        )
    encoded = _encode(data) if isinstance(data, str) else bytes(data)
    if encoded is None:
        raise UsageError(
            "secret.value() got text that cannot be written as UTF-8.", hint="pass bytes"
        )
    return Secret(_data=_checked_size("The value", encoded))


def env(name: str) -> Secret:
    """Take the value from an environment variable of this process, when the build starts.

    Args:
        name: Of the variable. It may be empty, but has to be set.

    Raises:
        UsageError: This is no name of a variable.

    Example:
        >>> from depotlab import secret
        >>> bk.build(app, secrets={"token": secret.env("TOKEN")})  # doctest: +SKIP
    """
    if (
        not isinstance(name, str)
        or not name
        or "=" in name
        or "\0" in name
        or _encode(name) is None
    ):
        raise UsageError(
            f"secret.env() takes the name of an environment variable, not {_shown(name)}.",
            hint="for example secret.env('NPM_TOKEN'); for a value write secret.value(...)",
        )
    return Secret(variable=name)


def file(path: str | os.PathLike[str]) -> Secret:
    """Take the value from a file of this machine, when the build starts.

    Args:
        path: The file; relative to the working directory of this call, `~` is the user's home.

    Raises:
        UsageError: This is no path.

    Example:
        >>> from depotlab import secret
        >>> bk.build(app, secrets={"npmrc": secret.file("~/.npmrc")})  # doctest: +SKIP
    """
    plain = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(plain, str) or not plain:
        raise UsageError(
            f"secret.file() takes a path, not {_shown(path)}.",
            hint="for example secret.file('~/.npmrc'); for a value write secret.value(...)",
        )
    return Secret(host_path=Path(os.path.expanduser(plain)).absolute())  # noqa: PTH111 - never raises


def of(given: Secret | str | bytes) -> Secret:
    """Return a secret as it is, and anything else as a value.

    Raises:
        UsageError: It is neither a secret, nor text, nor bytes.
    """
    return given if isinstance(given, Secret) else value(given)


def check_all(given: Mapping[str, Secret | str | bytes] | None) -> dict[str, Secret]:
    """Read all secrets of a build, so that nothing is sent if one is missing.

    Args:
        given: By id; text and bytes are values.

    Returns:
        Secrets by id that hold their values.

    Raises:
        UsageError: Naming the first id whose secret is missing, cannot be read, or is too big.
    """
    if given is not None and not isinstance(given, Mapping):
        raise UsageError(
            f"secrets= takes a dictionary of secrets by id, not {type(given).__name__}.",
            hint="for example secrets={'npm': secret.env('NPM_TOKEN')}",
        )
    checked: dict[str, Secret] = {}
    for name, one in (given or {}).items():
        if not isinstance(name, str) or not name:
            raise UsageError(
                f"secrets= has an id that is {'empty' if isinstance(name, str) else type(name).__name__}.",
                hint="the id is the name that steps ask for, such as 'npm' in mount.secret('npm')",
            )
        if one is None:
            raise UsageError(
                f"secrets={{{name!r}: None}} has no value.",
                hint="write secret.env('NAME') for a variable that has to be set, or leave the id out",
            )
        try:
            checked[name] = of(one).check()
        except UsageError as error:
            raise UsageError(
                f"The secret {name!r} cannot be given. {error.message}", hint=error.hint
            ) from None
        _check_header(name, checked[name])
    return checked


def _check_header(name: str, one: Secret) -> None:
    """Refuse a line break in what a server is sent: as a header it is refused, in a token it makes another one."""
    if name.startswith(("HTTP_AUTH_", "GIT_AUTH_")) and set(one.read()) & {0x0A, 0x0D}:
        raise UsageError(
            f"The secret {name!r} has a line break, which would be sent to the server as a part of it.",
            hint="leave it out: secret.value(Path(...).read_text().strip())",
        )


def _read_variable(name: str) -> bytes:
    found = os.environb.get(os.fsencode(name))
    if found is None:
        raise UsageError(
            f"The environment variable {name} is not set.",
            hint=f"set it, for example os.environ[{name!r}] = getpass.getpass()",
        )
    return found


def _read(path: Path) -> bytes:
    """Return the content of a file, or one byte more than a secret may have."""
    try:
        with open(path, "rb", opener=_open_at_once) as stream:
            if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return stream.read(MAX_BYTES + 1)
            reason = "it is not a regular file"
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = (getattr(error, "strerror", None) or "it is no path").lower()
    raise UsageError(
        f"{path} cannot be read: {reason}.",
        hint="check the path and its permissions, or pass secret.value(...)",
    )


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting: a pipe would wait for somebody who writes."""
    return os.open(path, flags | os.O_NONBLOCK)


def _checked_size(place: str, data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{place} holds more than {MAX_BYTES // 1024} KiB, which no secret may.",
            hint="send large files as a local source, or encrypt them and give the key as the secret",
        )
    return data


def _encode(text: str) -> bytes | None:
    """Return text as UTF-8, with bytes that `os.environ` could not decode as they were; None if there is none."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None  # the exception holds the text: it goes no further


def _shown(given: object) -> str:
    """Say what was given without showing it: it may be the secret itself."""
    return "empty text" if isinstance(given, str) and not given else f"a {type(given).__name__}"


# Other rooms of ours take these; nobody has to type them.
_FOR_ROOMS = ("check_all",)


def __dir__() -> list[str]:
    return sorted(set(__all__).difference(_FOR_ROOMS))
