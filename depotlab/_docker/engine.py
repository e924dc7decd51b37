"""The API of a Docker Engine: version, images, pushes. Blocks, so it belongs into a thread.

HTTP/1.1; one connection for each call. Long answers are streams of JSON objects, in which a failure comes
after the status 200, as an object with `errorDetail`. Podman serves the same API for what is used here.
Source: moby/moby `api/swagger.yaml`, `daemon/server/router/image/image_routes.go`.
"""

from __future__ import annotations

import base64
import codecs
import contextlib
import http.client
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from depotlab._docker.host import DockerHost
from depotlab._docker.wire import EngineConnection
from depotlab.errors import DaemonError, ImageNotFound, LinkError, ProtocolError, RegistryError

__all__ = ["DockerEngine", "EngineVersion", "RegistryLogin", "registry_of"]

_LOADED = re.compile(r"Loaded image(?:\(s\)| ID)?: (.+)")
_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}


@dataclass(frozen=True, slots=True)
class EngineVersion:
    """What an engine says of itself.

    Attributes:
        name: `Docker Engine` or `Podman`.
        version: Such as `27.1.1`.
        api: The newest version of the API that it serves, such as `1.46`.
        builds_with_buildkit: Whether its own builds go to BuildKit, which is so since Docker 23.
    """

    name: str
    version: str
    api: str
    builds_with_buildkit: bool

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True, repr=False)
class RegistryLogin:
    """What an engine presents to a registry when it pushes. The repr shows no secret.

    Attributes:
        username: Empty for an identity token.
        password: Or an access token that is used like one.
        identity_token: Instead of both.
        registry_token: Given to the registry as it is.
    """

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __repr__(self) -> str:
        return f"RegistryLogin(username={self.username!r})"

    def header(self, registry: str) -> str:
        """Return the value of `X-Registry-Auth`: base64 of JSON. Source: moby/moby `api/types/registry`."""
        fields = {
            "username": self.username,
            "password": self.password,
            "identitytoken": self.identity_token,
            "registrytoken": self.registry_token,
        }
        known = {key: value for key, value in fields.items() if value}
        if known:
            known["serveraddress"] = registry
        return base64.urlsafe_b64encode(json.dumps(known).encode()).decode()


class DockerEngine:
    """A client of one engine. Opens nothing before the first call, and keeps nothing open after it.

    Args:
        host: From `find_docker`.
        timeout_s: For each wait for the engine. A load or a push has no limit: unpacking a large image says
            nothing for minutes.
    """

    def __init__(self, host: DockerHost, *, timeout_s: float = 60.0) -> None:
        self.host = host
        self._timeout_s = timeout_s
        self._api = ""
        self._running: set[EngineConnection] = set()
        self._aborted = False

    def __repr__(self) -> str:
        return f"<DockerEngine at {self.host}>"

    def abort(self) -> None:
        """Let the calls that run fail now, with LinkError, and all later ones; from another thread."""
        self._aborted = True
        for connection in tuple(self._running):
            connection.break_off()

    def version(self) -> EngineVersion:
        """Ask the engine who it is.

        Raises:
            Unreachable: Nothing answers.
        """
        with self._answer("GET", "/_ping") as ping:
            builder = ping.headers.get("Builder-Version", "")
            podman = "Libpod-Api-Version" in ping.headers
            ping.read()
        found = self.json("GET", "/version")
        return EngineVersion(
            name="Podman" if podman else "Docker Engine",
            version=str(found.get("Version", "")),
            api=str(found.get("ApiVersion", "")),
            builds_with_buildkit=builder == "2",
        )

    def load(self, chunks: Iterable[bytes]) -> list[str]:
        """Put the images of an archive into the engine's store.

        Args:
            chunks: A `docker` archive (engines since 25 and podman take `oci` ones too), compressed or not.
                It is sent as it comes; nothing is stored on the way. What it raises ends the load and
                is raised again.

        Returns:
            The names of the images, or their ids for those that have no name.

        Raises:
            DaemonError: The engine refused the archive.
        """
        loaded: list[str] = []
        headers = {"Content-Type": "application/x-tar", "Transfer-Encoding": "chunked"}
        path = f"{self._versioned()}/images/load?quiet=1"
        source = _Source(chunks)
        try:
            with self._answer("POST", path, source, headers, limited=False) as answer:
                for message in _messages(answer):
                    found = _LOADED.search(str(message.get("stream", "")))
                    if found:
                        loaded += found[1].strip().split(",")
        except LinkError:
            if source.failure is not None:
                raise source.failure from None
            raise
        return loaded

    def image_inspect(self, ref: str) -> dict[str, Any]:
        """Return what the engine knows of an image.

        Raises:
            ImageNotFound: It is not in the engine's store.
        """
        try:
            found: dict[str, Any] = self.json("GET", f"/images/{_quoted(ref)}/json")
        except DaemonError as error:
            if error.code != "NOT_FOUND":
                raise
            raise self._no_image(ref) from error
        return found

    def tag(self, ref: str, name: str) -> None:
        """Give an image of the store one more name, such as `ghcr.io/me/app:dev`."""
        repository, tag = _split(name)
        query = urlencode({"repo": repository, "tag": tag})
        self.json("POST", f"/images/{_quoted(ref)}/tag?{query}")

    def push(
        self,
        name: str,
        login: RegistryLogin | None = None,
        *,
        on_message: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> str:
        """Send an image of the store to the registry that its name says.

        Args:
            name: Such as `ghcr.io/me/app:dev`.
            login: None pushes anonymously.
            on_message: Called with each object of the engine's answer (`id`, `status`, `progressDetail`).

        Returns:
            The digest of the manifest in the registry, empty when the engine does not say.

        Raises:
            RegistryError: The registry refused, or cannot be reached from the engine.
        """
        repository, tag = _split(name)
        registry = registry_of(name)
        headers = {"X-Registry-Auth": (login or RegistryLogin()).header(registry)}
        path = f"{self._versioned()}/images/{_quoted(repository)}/push?{urlencode({'tag': tag})}"
        digest = ""
        try:
            with self._answer("POST", path, headers=headers, limited=False) as answer:
                for message in _messages(answer):
                    if on_message is not None:
                        on_message(message)
                    told = message.get("aux")
                    if isinstance(told, dict) and told.get("Digest"):
                        digest = str(told["Digest"])
        except DaemonError as error:
            if "does not exist locally" in error.message:
                raise self._no_image(name) from error
            is_denied = re.search(
                r"denied|unauthorized|authenti|credential|login", error.message, re.I
            )
            login_hint = f"log in to {registry}, or pass auth={{{registry!r}: (user, password)}}"
            raise RegistryError(
                f"The engine at {self.host.address} could not push {name}: {error.message}",
                host=registry,
                code=error.code,
                hint=login_hint
                if is_denied
                else "check the registry's name and the network, as that engine sees them",
            ) from error
        return digest

    def json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Call the API, in the newest version that the engine serves.

        Args:
            method: As `GET`.
            path: Such as `/images/busybox/json`, without a version.
            body: Sent as JSON.

        Returns:
            The answer, decoded; None when there is none.

        Raises:
            DaemonError: The engine refused; `code` is the nearest gRPC name of the HTTP status.
        """
        with self.open(method, path, body) as answer:
            data = answer.read()
        try:
            return json.loads(data) if data.strip() else None
        except ValueError as error:
            raise ProtocolError(
                f"{self.host} answered {method} {path} with something else than JSON.",
                hint="check that a Docker Engine is at this address",
            ) from error

    @contextmanager
    def open(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Call the API and yield the answer, for what is no JSON object, such as the logs of a container."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        with self._answer(method, self._versioned() + path, data, headers) as answer:
            yield answer

    def _no_image(self, ref: str) -> ImageNotFound:
        return ImageNotFound(
            f"There is no image {ref} in the store of {self.host}.",
            ref=ref,
            code="NOT_FOUND",
            hint="load or pull it first",
        )

    # ---------------------------------------------------------------------------------------- HTTP

    def _versioned(self) -> str:
        """Return the prefix of paths: engines refuse versions that they do not serve, in both directions."""
        if not self._api:
            with self._answer("GET", "/_ping") as ping:
                self._api = ping.headers.get("Api-Version", "")
                ping.read()
        return f"/v{self._api}" if self._api else ""

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        limited: bool = True,
    ) -> Iterator[http.client.HTTPResponse]:
        connection = EngineConnection(self.host, timeout_s=self._timeout_s)
        self._running.add(connection)
        try:
            try:
                connection.connect()
                if self._aborted:
                    raise ConnectionAbortedError("it was given up")
                if not limited:
                    connection.sock.settimeout(None)
                answer = _send(connection, method, path, body, headers or {})
                if answer.status >= 400:
                    raise self._refused(answer.status, answer.read(1 << 20))
                yield answer
            except (OSError, http.client.HTTPException) as error:
                raise connection.explained(error) from error
        finally:
            self._running.discard(connection)
            connection.end()

    def _refused(self, status: int, data: bytes) -> DaemonError:
        try:
            message = str(json.loads(data)["message"])
        except (ValueError, KeyError, TypeError):
            message = data.decode("utf-8", "replace").strip()[:500]
        return _engine_error(
            message or http.client.responses.get(status, str(status)),
            code=_STATUS_NAMES.get(status, "UNKNOWN"),
        )


def _send(
    connection: EngineConnection,
    method: str,
    path: str,
    body: bytes | Iterable[bytes] | None,
    headers: Mapping[str, str],
) -> http.client.HTTPResponse:
    chunked = headers.get("Transfer-Encoding") == "chunked"
    # An engine that refuses a body answers before it has all of it, and closes: the answer says why.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request(method, path, body, headers, encode_chunked=chunked)
    return connection.getresponse()


class _Source:
    """Chunks for a request body. Keeps what making them raised, which is no fault of the connection."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._chunks
        except Exception as error:
            self.failure = error
            raise


def _messages(answer: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON stream as they come.

    Raises:
        DaemonError: One of them is a failure.
    """
    decoder = json.JSONDecoder()
    characters = codecs.getincrementaldecoder("utf-8")("replace")
    text = ""
    while data := answer.read1(64 << 10):
        text += characters.decode(data)
        while text := text.lstrip():
            try:
                value, end = decoder.raw_decode(text)
            except ValueError:
                break  # not all of it is here
            text = text[end:]
            if isinstance(value, dict):
                if problem := value.get("errorDetail") or value.get("error"):
                    told = problem.get("message") if isinstance(problem, dict) else problem
                    raise _engine_error(str(told))
                yield value


def _engine_error(message: str, *, code: str = "UNKNOWN") -> DaemonError:
    hint = ""
    if re.search(r"docker-import-\d+/\S+: no such file|manifest\.json: no such file", message):
        hint = "this engine takes docker archives only: use export.docker instead of export.oci"
    elif "no space left" in message:
        hint = "the engine's disk is full: docker system prune makes room"
    return DaemonError(message, code=code, hint=hint)


def registry_of(name: str) -> str:
    """Return the registry that an image name belongs to. Source: distribution/reference `normalize.go`."""
    first, slash, _ = name.partition("/")
    is_host = slash and ("." in first or ":" in first or first == "localhost")
    return first if is_host else "docker.io"


def _quoted(ref: str) -> str:
    return quote(ref, safe="/:@")


def _split(name: str) -> tuple[str, str]:
    """Return repository and tag. A colon before the last slash belongs to a port."""
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, "latest")
