"""Keeps a registry's login where `docker login` does, for the Docker command of this computer.

That is the credential helper that `config.json` names for the registry, or for all; else `auths` in that file. What
else is in the file stays, and nobody but its user may read it afterwards.

Source: docker/cli `cli/config/configfile/file.go`; docker/docker-credential-helpers `client/client.go`.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from depotlab._docker import docker_config_dir
from depotlab._session.credentials import Credentials, config_key
from depotlab.errors import ContextError

__all__ = ["keep_login"]

_HELPER_TIMEOUT_S = 20.0
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def keep_login(host: str, credentials: Credentials, *, host_folder: Path | None = None) -> Path:
    """Keep the login of a registry; return the file of the configuration. Blocks.

    Args:
        host: Of the registry.
        credentials: User and password.
        host_folder: Of the configuration; None is DOCKER_CONFIG, or `~/.docker`.

    Raises:
        ContextError: The file cannot be read or written, or the helper failed.
    """
    host_file = (host_folder or docker_config_dir()) / "config.json"
    try:
        config = _read(host_file)
        key = config_key(host)
        helpers = config.get("credHelpers")
        helper = helpers.get(key) if isinstance(helpers, dict) and key in helpers else None
        helper = config.get("credsStore") if helper is None else helper
        if helper:
            _give(str(helper), key, credentials, host_file)
            return host_file
        login = f"{credentials.username}:{credentials.password}"
        auths = config.setdefault("auths", {})
        if not isinstance(auths, dict):
            raise _failed(host_file, "its 'auths' is no JSON object")
        auths[key] = {"auth": base64.b64encode(login.encode()).decode()}
        host_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _replace(host_file, json.dumps(config, indent="\t") + "\n")
    except OSError as error:
        raise _failed(host_file, (error.strerror or type(error).__name__).lower()) from None
    return host_file


def _read(host_file: Path) -> dict[str, Any]:
    try:
        text = host_file.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        raise _failed(host_file, "it is no text") from None
    try:
        config = json.loads(text) if text.strip() else {}
    except json.JSONDecodeError as error:
        raise _failed(host_file, f"line {error.lineno} is no JSON") from None
    if not isinstance(config, dict):
        raise _failed(host_file, "it is no JSON object")
    return config


def _give(name: str, key: str, credentials: Credentials, host_file: Path) -> None:
    """Let a helper keep the login. The secret goes over its standard input, never into its arguments."""
    program = shutil.which(f"docker-credential-{name}") if _HELPER_NAME.fullmatch(name) else None
    if program is None:
        raise _failed(
            host_file, f"the helper docker-credential-{name}, which it names, is not here"
        )
    login = {"ServerURL": key, "Username": credentials.username, "Secret": credentials.password}
    try:
        done = subprocess.run(
            [program, "store"],
            input=json.dumps(login).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_HELPER_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _failed(host_file, f"docker-credential-{name} did not end in time") from None
    if done.returncode:
        raise _failed(host_file, f"docker-credential-{name} ended with code {done.returncode}")


def _replace(host_file: Path, text: str) -> None:
    """Write a file anew, in one step; the temporary one is made with mode 0600. A link stays a link."""
    target = Path(os.path.realpath(host_file))
    descriptor, name = tempfile.mkstemp(prefix=".config-", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(target)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def _failed(host_file: Path, why: str) -> ContextError:
    return ContextError(
        f"The login could not be kept in Docker's configuration {host_file}: {why}.",
        path=str(host_file),
        hint="correct it, or pipe the password: docker login --username USER --password-stdin HOST",
    )
