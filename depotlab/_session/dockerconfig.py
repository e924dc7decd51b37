"""Credentials from the environment, and from where `docker login` puts them.

First that has something for a registry:

1. `$REGISTRY_USERNAME` and `$REGISTRY_PASSWORD`, for the registry that `$REGISTRY_URL` names, Docker Hub
   if it is not set;
2. `$DOCKER_AUTH_CONFIG`, a JSON object with `auths`, as CI systems set it;
3. in `$DOCKER_CONFIG/config.json`, by default `~/.docker/config.json`: the helper that `credHelpers`
   names for the registry, else the one that `credsStore` names for all;
4. `auths` in the same file: `auth` is base64 of `user:password`, or there is an `identitytoken` or
   a `registrytoken`. Keys may be URLs; they match by host.

A helper is a program `docker-credential-NAME`. It reads the registry from standard input and writes
a JSON object with `Username` and `Secret`; the user name `<token>` marks an identity token.

Nothing here is fatal: most images are public, and a build should not fail because a laptop's
key chain is not there in a container. What is configured and does not work is reported, with
what to do about it, and never with what was read.

Source: docker/cli `cli/config/configfile/file.go`, `cli/config/credentials/`; depot/examples
`build-api/go/build-and-push/main.go` for the three variables;
docker/docker-credential-helpers `client/client.go`, `credentials/error.go`.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from depotlab._docker import docker_config_dir
from depotlab._session.credentials import ANONYMOUS, HUB_KEY, Credentials, config_key, host_of
from depotlab._session.service import Report
from depotlab.errors import SessionError

__all__ = ["DockerConfig", "find_credentials"]

_NOT_FOUND = "credentials not found in native keychain"
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


class DockerConfig:
    """Looks up credentials. Reads files and runs helpers, so it belongs into a thread.

    Args:
        report: Takes what is configured and does not work; called in the thread of the look-up.
        helper_timeout_s: A helper that takes longer is stopped. The daemon gives all look-ups for
            one registry a minute.
    """

    def __init__(self, report: Report, *, helper_timeout_s: float = 20.0) -> None:
        self._report = report
        self._helper_timeout_s = helper_timeout_s

    def find(self, host: str) -> Credentials:
        """Return the credentials for a registry, or `ANONYMOUS`."""
        key = config_key(host)
        found = self._from_variables(key) or self._from_auths(
            key, self._environment(), "$DOCKER_AUTH_CONFIG"
        )
        if found is not None:
            return found
        host_file = docker_config_dir() / "config.json"
        config = self._read(host_file)
        # An empty helper for one registry means none, even if there is one for all.
        helper = _table(config, "credHelpers").get(key, config.get("credsStore"))
        if helper:
            found = self._from_helper(str(helper), key, host_file)
            if found is not None:
                return found
        return self._from_auths(key, config, str(host_file)) or ANONYMOUS

    # ------------------------------------------------------------------------------- sources

    def _from_variables(self, key: str) -> Credentials | None:
        username = os.environ.get("REGISTRY_USERNAME", "")
        password = os.environ.get("REGISTRY_PASSWORD", "")
        named = os.environ.get(
            "REGISTRY_URL", ""
        ).strip()  # names of hosts are the same in capitals
        if config_key(named or HUB_KEY).lower() != key.lower():
            return None
        if username and password:
            return Credentials(username, password)
        if username or password:
            given, missing = "REGISTRY_USERNAME", "REGISTRY_PASSWORD"
            if password:
                given, missing = missing, given
            self._complain(
                f"{given} is set for {host_of(key)}, and {missing} is not: neither is used.",
                path="",
                hint=f"set {missing} too, or unset {given}; REGISTRY_URL names the registry",
            )
        return None

    def _environment(self) -> dict[str, Any]:
        text = os.environ.get("DOCKER_AUTH_CONFIG", "")
        return self._parse(text, "$DOCKER_AUTH_CONFIG") if text else {}

    def _read(self, host_file: Path) -> dict[str, Any]:
        try:
            text = host_file.read_text("utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            self._complain(
                f"{host_file} could not be read: {reason.lower()}. Registries are used anonymously.",
                path=str(host_file),
                hint="make the file readable, or point DOCKER_CONFIG to another directory",
            )
            return {}
        return self._parse(text, str(host_file)) if text.strip() else {}

    def _parse(self, text: str, place: str) -> dict[str, Any]:
        try:
            config = json.loads(text)
            if isinstance(config, dict):
                return config
            reason = "it is no JSON object"
        except json.JSONDecodeError as error:
            reason = f"line {error.lineno} is no JSON"
        self._complain(
            f"{place} could not be understood: {reason}. Registries are used anonymously.",
            path=place,
            hint="correct it, or run docker login again",
        )
        return {}

    def _from_auths(self, key: str, config: Mapping[str, Any], place: str) -> Credentials | None:
        auths = _table(config, "auths")
        entry = auths.get(key)
        if entry is None:
            # Old configurations have URLs for keys.
            entry = next((auths[one] for one in auths if config_key(one) == key), None)
        if not isinstance(entry, dict):
            return None
        username, password = str(entry.get("username", "")), str(entry.get("password", ""))
        packed = entry.get("auth")
        if packed:
            try:
                text = base64.b64decode(str(packed), validate=True).decode("utf-8")
            except (binascii.Error, ValueError):
                text = ""
            username, colon, password = text.partition(":")
            if not (username and colon):
                self._complain(
                    f"The entry for {host_of(key)} in {place} could not be understood.",
                    path=place,
                    hint=f"run docker login {host_of(key)} again",
                )
                return None
        found = Credentials(
            username=username,
            password=password.strip("\0"),
            identity_token=str(entry.get("identitytoken", "")),
            registry_token=str(entry.get("registrytoken", "")),
        )
        return None if found.anonymous else found

    def _from_helper(self, name: str, key: str, host_file: Path) -> Credentials | None:
        problem = ""
        program = (
            shutil.which(f"docker-credential-{name}") if _HELPER_NAME.fullmatch(name) else None
        )
        if program is None:
            problem = "it is not on the PATH"
        else:
            try:
                return self._ask(program, key)
            except subprocess.TimeoutExpired:
                problem = f"it gave no answer within {self._helper_timeout_s:g} s"
            except OSError as error:
                problem = (error.strerror or type(error).__name__).lower()
            except _HelperFailed as error:
                problem = str(error)
        self._complain(
            f"The credential helper docker-credential-{name}, which {host_file} names for "
            f"{host_of(key)}, does not work: {problem}.",
            path=str(host_file),
            hint=(
                f"install it, take it out of the file, or pass credentials in code: "
                f"auth={{{host_of(key)!r}: (user, password)}}"
            ),
        )
        return None

    def _ask(self, program: str, key: str) -> Credentials | None:
        code, output = self._run(program, key)
        if code != 0:
            if output == _NOT_FOUND:
                return None
            # What it printed may hold anything, a secret too.
            raise _HelperFailed(f"it ended with code {code}")
        try:
            answer = json.loads(output)
            username, secret = str(answer["Username"]), str(answer["Secret"])
        except (json.JSONDecodeError, KeyError, TypeError):
            raise _HelperFailed("its answer is not what helpers answer") from None
        if not secret:
            return None
        if username == "<token>":
            return Credentials(identity_token=secret)
        return Credentials(username, secret)

    def _run(self, program: str, key: str) -> tuple[int, str]:
        """Run a helper and return its exit code and what it wrote."""
        # In a process group of its own, to stop also what it started and what holds its pipes.
        with subprocess.Popen(
            [program, "get"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        ) as helper:
            try:
                output, _ = helper.communicate(key.encode(), timeout=self._helper_timeout_s)
            except BaseException:
                os.killpg(helper.pid, signal.SIGKILL)
                raise
        return helper.returncode, output.decode("utf-8", "replace").strip()

    def _complain(self, message: str, *, path: str, hint: str) -> None:
        self._report(SessionError(message, path=path, hint=hint))


class _HelperFailed(Exception):
    """A helper ended in a way that helpers should not; the text has nothing that it wrote."""


def find_credentials(host: str, given: Mapping[str, Credentials], *, report: Report) -> Credentials:
    """Return the credentials for a registry: those given in code, then those of the configuration. Blocks.

    Args:
        host: Of the registry, such as `ghcr.io`.
        given: By registry host.
        report: Takes what is configured and does not work.
    """
    key = config_key(host)
    mine = {config_key(name): one for name, one in given.items()}
    return mine[key] if key in mine else DockerConfig(report).find(host)


def _table(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = config.get(name)
    return value if isinstance(value, dict) else {}
