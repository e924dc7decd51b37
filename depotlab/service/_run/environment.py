r"""A customer's environment as a file that steps of a build mount.

The file is the secret `env` of the session, and the same secret under the name `env-HASH`, where HASH is also the build
argument `ENV_HASH`. BuildKit does not look at a secret's value when it looks for a step in its cache, only at its name.
So a step that mounts the second runs again when the environment has changed, and no other step does:

    ARG ENV_HASH
    RUN --mount=type=secret,id=env-$ENV_HASH,target=/run/secrets/env set -a; . /run/secrets/env; make

The hash is keyed: it stands in the image's history, where whoever may pull the image could else try out values.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Final

from depotlab import secret
from depotlab.errors import ServiceError

__all__ = ["ENV_ARG", "ENV_SECRET", "env_file", "env_hash"]

ENV_SECRET: Final = "env"  # noqa: S105 - its name
ENV_ARG: Final = "ENV_HASH"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")


def env_file(env: Mapping[str, str]) -> bytes:
    r"""Return an environment as lines `NAME=value`, sorted by name, that a shell can read with `.`.

    Values with letters that mean something to a shell stand in single quotes.

    Raises:
        ServiceError: `invalid_argument`: a name is none, a value has a zero byte, or it is more than a secret may hold.

    Example:
        >>> env_file({"PORT": "8080", "GREETING": "it's me"})
        b"GREETING='it'\\''s me'\nPORT=8080\n"
    """
    for name, value in env.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ServiceError(
                f"env has {name!r}, which is no name of a variable.",
                code="invalid_argument",
                hint="letters, digits and '_', the first no digit",
            )
        if not isinstance(value, str) or "\0" in value:
            raise ServiceError(
                f"env[{name!r}] is no text without zero bytes.",
                code="invalid_argument",
                hint="numbers are texts too: '8080'",
            )
    lines = (f"{name}={_quoted(env[name])}\n" for name in sorted(env))
    data = "".join(lines).encode("utf-8", "replace")
    if len(data) > secret.MAX_BYTES:
        raise ServiceError(
            f"env has {len(data)} bytes, more than the {secret.MAX_BYTES} that a secret may hold.",
            code="invalid_argument",
            hint="put large values into files of the context, if they are no secrets",
        )
    return data


def env_hash(data: bytes, *, key: str) -> str:
    """Return what names an environment: 64 hexadecimal digits.

    Args:
        data: As `env_file` returns it.
        key: A secret of the service, so that nobody else can compare.
    """
    return hmac.digest(key.encode(), data, "sha256").hex()


def _quoted(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else "'" + value.replace("'", "'\\''") + "'"
