"""Where a Docker Engine or podman is, as the `docker` command would find it. Reads files, opens nothing.

The `docker` command asks, in this order: `DOCKER_HOST`; the context that `DOCKER_CONTEXT` names; the context
that `currentContext` in `config.json` names; the usual socket. TLS for `DOCKER_HOST` is asked for by
`DOCKER_TLS_VERIFY` or `DOCKER_TLS` (without verification), with `ca.pem`, `cert.pem` and `key.pem` from
`DOCKER_CERT_PATH`, by default the configuration directory. A context is two directories below it, named by
the SHA-256 of its name: `contexts/meta/ID/meta.json` and `contexts/tls/ID/docker/*.pem`.

Source: docker/cli `cli/command/cli.go` (`resolveContextName`), `cli/flags/options.go`, `opts/hosts.go`,
`cli/context/store/`; containers/podman `pkg/util/utils_supported.go` for podman's sockets.
"""

from __future__ import annotations

import hashlib
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from depotlab._docker.sshaddress import SshAddress
from depotlab.errors import Unreachable, UsageError

__all__ = ["DockerHost", "DockerTls", "docker_at", "docker_config_dir", "find_docker"]

DEFAULT_SOCKET = "/var/run/docker.sock"
PLAIN_PORT, TLS_PORT = 2375, 2376


@dataclass(frozen=True, slots=True)
class DockerTls:
    """TLS files for an engine. They are read when a connection is made.

    Attributes:
        host_ca: Authorities to trust, None for those of the system.
        host_cert: Our certificate chain, for engines that ask for one.
        host_key: Its private key.
        verify: Whether the engine's certificate must be in order.
    """

    host_ca: Path | None = None
    host_cert: Path | None = None
    host_key: Path | None = None
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """Load the files.

        Raises:
            UsageError: A file is missing or is no PEM.
        """
        try:
            context = ssl.create_default_context(cafile=self.host_ca)
            if self.host_cert is not None and self.host_key is not None:
                context.load_cert_chain(self.host_cert, self.host_key)
        except (OSError, ssl.SSLError) as error:
            files = [str(p) for p in (self.host_ca, self.host_cert, self.host_key) if p]
            raise UsageError(
                f"The TLS files of the Docker Engine cannot be used: {error.strerror or error} "
                f"({', '.join(files)}).",
                hint="check DOCKER_CERT_PATH, or the TLS files of the context",
            ) from error
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.options |= (
            ssl.OP_NO_RENEGOTIATION
        )  # so that sending never has to wait for receiving
        # The API is HTTP/1.1; an engine that is offered HTTP/2 might take it.
        context.set_alpn_protocols(["http/1.1"])
        return context


@dataclass(frozen=True, slots=True)
class DockerHost:
    """One Docker Engine, or podman, which serves the same API.

    Attributes:
        address: `unix:///path`, `tcp://host:port` or `ssh://[user@]host[:port][/path]`.
        origin: How it was found, for messages: `DOCKER_HOST`, `the context 'lab'`, `the usual socket`.
        tls: For `tcp` only; None is plain HTTP.
    """

    address: str
    origin: str
    tls: DockerTls | None = None

    def __str__(self) -> str:
        return f"{self.address} ({self.origin})"

    @property
    def socket_path(self) -> str:
        """Path of the unix socket, or an empty string."""
        return self.address.removeprefix("unix://") if self.address.startswith("unix://") else ""

    @property
    def tcp(self) -> tuple[str, int]:
        """Host and port of a tcp address."""
        url = urlsplit(self.address)
        return url.hostname or "localhost", url.port or (TLS_PORT if self.tls else PLAIN_PORT)

    @property
    def argv(self) -> tuple[str, ...]:
        """The command whose standard input and output are the connection, for ssh; else empty.

        Source: docker/cli `cli/connhelper/connhelper.go`.
        """
        if not self.address.startswith("ssh://"):
            return ()
        where = SshAddress.parse(self.address)
        remote = ["docker", "system", "dial-stdio"]
        if where.guest_socket:
            remote.insert(1, f"--host=unix://{where.guest_socket}")
        return where.argv(*remote, options=("-o", "ConnectTimeout=30", "-T"))

    def unreachable(self, error: OSError) -> Unreachable:
        """Return the error to raise for a connection that could not be opened."""
        reason, hint = error.strerror or str(error), "check the address and the network"
        match error:
            case FileNotFoundError():
                reason, hint = "the socket does not exist", "start the engine, or check the address"
            case PermissionError():
                reason, hint = (
                    "no permission to use the socket",
                    "join the group that owns the socket (usually docker), and log in again",
                )
            case ConnectionRefusedError():
                reason, hint = "nobody listens there", "start the engine, or check the address"
            case TimeoutError():
                reason, hint = (
                    "it did not answer in time",
                    "check the address, the firewall and the network",
                )
            case _ if type(error).__module__ == "ssl":
                hint = "check the TLS files, and whether the engine expects TLS at this port"
        return Unreachable(
            f"The Docker Engine at {self} cannot be reached: {reason}.",
            address=self.address,
            hint=hint,
        )


def find_docker(context: str = "", *, or_podman: bool = False) -> DockerHost:
    """Find the engine that the `docker` command would use.

    Args:
        context: Name of a Docker context; empty for what the environment and the configuration say.
        or_podman: Take podman's socket when nothing says where a Docker Engine is.

    Raises:
        UsageError: There is no such context, or it cannot be understood.
        Unreachable: Nothing names an engine, and none of the usual sockets exists.
    """
    if context:
        return _from_environment() if context == "default" else _from_context(context)
    if os.environ.get("DOCKER_HOST", "").strip():
        return _from_environment()
    name, origin = os.environ.get("DOCKER_CONTEXT", ""), "DOCKER_CONTEXT"
    if not name:
        host_file = docker_config_dir() / "config.json"
        name, origin = str(_read_json(host_file).get("currentContext") or ""), str(host_file)
    if name and name != "default":
        return _from_context(name, named_by=origin)
    docker = _from_environment()
    if not docker.socket_path or _is_socket(docker.socket_path):
        return docker
    if or_podman:
        podman = next(_podman(), None)
        if podman is not None:
            return podman
    sought = [docker.socket_path, *(_podman_sockets() if or_podman else ())]
    raise Unreachable(
        f"There is no {'Docker Engine or podman' if or_podman else 'Docker Engine'} on this computer: "
        f"no socket at {', '.join(sought)}.",
        address=docker.address,
        hint="start it, or say where it is with DOCKER_HOST or a Docker context",
    )


def docker_at(place: str, *, origin: str) -> DockerHost:
    """Take an engine as people name it in code.

    Args:
        place: `unix://`, `tcp://` or `ssh://` and where; or the name of a Docker context, with or without
            `docker://` before it. For TLS use a context.
        origin: What was given, for messages, such as `load=`.

    Raises:
        UsageError: It is neither.
    """
    name = place.removeprefix("docker://").removesuffix("/")
    return find_docker(name) if "://" not in name else _host(name, origin, None)


def docker_config_dir() -> Path:
    """Return the directory that Docker keeps its configuration in."""
    given = os.environ.get("DOCKER_CONFIG")
    if given:
        return Path(given)
    try:
        return Path.home() / ".docker"
    except RuntimeError:  # a container under a user id that has no entry and no HOME
        return Path("/.docker")


# ------------------------------------------------------------------------------------- environment


def _from_environment() -> DockerHost:
    """The context `default`: `DOCKER_HOST` and its TLS variables, or the usual socket."""
    given = os.environ.get("DOCKER_HOST", "").strip()
    verify = bool(os.environ.get("DOCKER_TLS_VERIFY"))
    tls = None
    if verify or os.environ.get("DOCKER_TLS"):
        folder = Path(os.environ.get("DOCKER_CERT_PATH") or docker_config_dir())
        cert, key = (_if_there(folder / name) for name in ("cert.pem", "key.pem"))
        # Without verification the authority plays no part.
        tls = DockerTls(folder / "ca.pem" if verify else None, cert, key, verify)
    if given:
        return _host(given, "DOCKER_HOST", tls)
    if tls is not None:
        return _host(f"tcp://localhost:{TLS_PORT}", "DOCKER_TLS_VERIFY", tls)
    sockets = [DEFAULT_SOCKET]
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        sockets.append(f"{runtime}/docker.sock")  # rootless: moby/moby contrib/dockerd-rootless.sh
    path = next((p for p in sockets if _is_socket(p)), DEFAULT_SOCKET)
    return DockerHost(f"unix://{path}", "the usual socket")


def _host(given: str, origin: str, tls: DockerTls | None) -> DockerHost:
    """Check an address and write it in full. An address without a scheme is TCP."""
    scheme, separator, rest = given.partition("://")
    if not separator:
        scheme, rest = "tcp", given
    if scheme not in ("unix", "ssh") and "@" in rest.partition("/")[0]:
        # Not shown: what is before the @ may be a password.
        raise UsageError(
            f"The address of a Docker Engine, from {origin}, has no user and no password.",
            hint="write tcp://host:2376, with DOCKER_TLS_VERIFY and DOCKER_CERT_PATH",
        )
    if scheme == "unix":
        path = rest or DEFAULT_SOCKET
        if path.startswith("/"):
            return DockerHost(f"unix://{path}", origin)
    elif scheme == "ssh":
        SshAddress.parse(given)
        return DockerHost(given, origin)
    elif scheme in ("tcp", "http", "https"):
        if scheme == "https" and tls is None:
            tls = DockerTls()
        try:
            url = urlsplit(f"tcp://{rest}")
            host, port = url.hostname or "localhost", url.port
        except ValueError:
            host, port = "", None
        if host and not url.path.strip("/"):
            shown = f"[{host}]" if ":" in host else host
            return DockerHost(
                f"tcp://{shown}:{port or (TLS_PORT if tls else PLAIN_PORT)}", origin, tls
            )
    raise UsageError(
        f"{given!r}, from {origin}, is not an address of a Docker Engine.",
        hint="use unix:///path/to/docker.sock, tcp://host:2376 or ssh://user@host",
    )


def _is_socket(path: str) -> bool:
    try:
        return Path(path).is_socket()
    except PermissionError:  # in a folder of somebody else
        return False


def _if_there(path: Path) -> Path | None:
    return path if path.exists() else None


# ---------------------------------------------------------------------------------------- contexts


def _from_context(name: str, *, named_by: str = "") -> DockerHost:
    identity = hashlib.sha256(name.encode()).hexdigest()
    root = docker_config_dir() / "contexts"
    host_file = root / "meta" / identity / "meta.json"
    if not host_file.is_file():
        known = ", ".join(sorted(_context_names(root / "meta"))) or "none but default"
        raise UsageError(
            f"There is no Docker context {name!r}{f', which {named_by} names' if named_by else ''}.",
            hint=f"the contexts in {root.parent} are: {known}",
        )
    endpoints = _read_json(host_file).get("Endpoints")
    docker = endpoints.get("docker") if isinstance(endpoints, Mapping) else None
    if not isinstance(docker, Mapping) or not isinstance(docker.get("Host"), str):
        raise UsageError(
            f"The Docker context {name!r} does not say where its engine is.",
            hint=f"look at {host_file}, or make the context again with docker context create",
        )
    folder = root / "tls" / identity / "docker"
    ca, cert, key = (_if_there(folder / f"{part}.pem") for part in ("ca", "cert", "key"))
    verify = docker.get("SkipTLSVerify") is not True
    tls = None if verify and not (ca or cert or key) else DockerTls(ca, cert, key, verify)
    return _host(docker["Host"] or f"unix://{DEFAULT_SOCKET}", f"the context {name!r}", tls)


def _context_names(host_dir: Path) -> Iterator[str]:
    for host_file in host_dir.glob("*/meta.json"):
        name = _read_json(host_file).get("Name")
        if isinstance(name, str):
            yield name


def _read_json(host_file: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(host_file.read_text("utf-8") or "{}")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no JSON"
        raise UsageError(
            f"{host_file} could not be read: {reason}.",
            hint="correct it, or point DOCKER_CONFIG to another directory",
        ) from error
    return value if isinstance(value, dict) else {}


# ------------------------------------------------------------------------------------------ podman


def _podman() -> Iterator[DockerHost]:
    given = os.environ.get("CONTAINER_HOST", "").strip()
    if given:
        if given.startswith("ssh://"):
            raise UsageError(
                "CONTAINER_HOST is an ssh:// address, which is not supported for podman.",
                hint="forward its socket with ssh -L, and set CONTAINER_HOST=unix:///the/local/socket",
            )
        yield _host(given, "CONTAINER_HOST", None)
    for path in _podman_sockets():
        if _is_socket(path):
            yield DockerHost(f"unix://{path}", "podman's socket")


def _podman_sockets() -> list[str]:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    user = [f"{runtime}/podman/podman.sock"] if runtime else []
    return [*user, "/run/podman/podman.sock"]
