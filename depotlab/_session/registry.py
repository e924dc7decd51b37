"""Questions to one repository of a registry over HTTP: logins, proxies, other places to look.

A registry says with 401 how it wants to be asked: with a password, or with a token of the server that it names. Blobs
may be somewhere else, to which it sends us on without our login.

All methods block. One thread asks; any other may `abort`, which ends a wait at once.
Source: opencontainers/distribution-spec `spec.md`; the distribution project's documents on authentication.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import SplitResult, urljoin, urlsplit

from depotlab._session.credentials import Credentials
from depotlab._session.httpways import Proxied, basic, connection_to, is_loopback
from depotlab._session.token import TokenRequest, fetch_token
from depotlab.errors import RegistryError

__all__ = ["Registry", "RegistryBroken"]

_HUB = {"docker.io": "registry-1.docker.io"}
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_MOST_REDIRECTS: Final = 5
_MOST_TRIES: Final = 4
_FIRST_PAUSE_S: Final = 0.2  # then 0.6 and 1.8
_MOST_PAUSE_S: Final = 20.0
_MAX_ERROR_BYTES: Final = 64 << 10
_TLS_TRY_S: Final = 5.0
_BUSY = (408, 429, 500, 502, 503, 504)


class RegistryBroken(RegistryError):
    """The way to a registry broke, or it was too busy; asking again may help.

    Attributes:
        retry_after_s: How long the registry asks to wait, in seconds, or 0.
    """

    def __init__(self, message: str, *, retry_after_s: float = 0.0, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.retry_after_s = retry_after_s


class Registry:
    """One repository.

    Args:
        host: Of the registry, as image names have it.
        path: Of the repository.
        credentials: What opens it.
        plain_http: The registry speaks no TLS. Loopback addresses are taken to, as the daemon does.
        insecure: Whatever certificate the registry has is taken, and where it speaks no TLS, plain HTTP. In this
            order, as the daemon does. Source: moby/buildkit `util/resolver/resolver.go`.
        timeout_s: For each wait: to connect, for an answer, for the next bytes of it.
    """

    def __init__(
        self,
        host: str,
        path: str,
        credentials: Credentials,
        *,
        plain_http: bool = False,
        insecure: bool = False,
        timeout_s: float = 30.0,
    ) -> None:
        plain = plain_http or (is_loopback(host) and not insecure)
        self._insecure = insecure
        self._tls_known = False
        self.host = host
        self.name = f"{host}/{path}"
        self._path = path
        self._base = f"{'http' if plain else 'https'}://{_HUB.get(host, host)}/v2/{path}/"
        self._origin = _origin(urlsplit(self._base))
        self._credentials = credentials
        self._timeout_s = timeout_s
        self._authorization = ""
        self._over = threading.Event()
        self._kept: tuple[str, http.client.HTTPConnection] | None = None
        self._socket: socket.socket | None = None

    def __repr__(self) -> str:
        return f"<registry {self.name}>"

    def close(self) -> None:
        """Close the connection. Can be called twice; the next question opens another."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept[1].close()

    def abort(self) -> None:
        """Let whoever waits fail now, and every question from now on."""
        self._over.set()
        if (waiting := self._socket) is not None:
            with suppress(OSError):
                waiting.shutdown(socket.SHUT_RDWR)

    def wait_after(self, error: RegistryBroken, n_failed: int) -> None:
        """Wait before a question is asked again: as long as the registry says, or each time longer.

        Args:
            error: How it failed.
            n_failed: How often in a row, from 1 on.

        Raises:
            RegistryBroken: It was the last time, or it is all over.
        """
        pause_s = error.retry_after_s or _FIRST_PAUSE_S * 3 ** (n_failed - 1)
        if n_failed >= _MOST_TRIES or self._over.wait(min(pause_s, _MOST_PAUSE_S)):
            raise error

    @contextmanager
    def ask(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        what: str = "",
    ) -> Iterator[http.client.HTTPResponse]:
        """Yield an answer that is none of failure, with its body still to be read.

        Args:
            method: GET, HEAD or PUT.
            target: Below the repository, such as `manifests/latest`.
            body: To be sent.
            headers: More of them.
            what: Is asked for, for messages.

        Raises:
            RegistryBroken: The registry cannot be reached, is too busy, or the connection broke.
            RegistryError: It refused.
        """
        connection, answer, url = self._found(method, target, body, headers or {}, what)
        done = False
        try:
            if answer.status >= 400:
                raise self._refused(answer, what)
            yield answer
            done = answer.isclosed() and not answer.will_close
        except (OSError, http.client.HTTPException) as error:
            raise self.broken(_reason(error), what) from None
        finally:
            self._socket = None
            answer.close()
            if done and not self._over.is_set():
                self._kept = (_origin(urlsplit(url)), connection)
            else:
                connection.close()

    def failed(self, reason: str, what: str) -> RegistryError:
        """Return the error for a question that cannot be answered."""
        return RegistryError(self._text(reason, what), host=self.host, hint=_HINT)

    def broken(self, reason: str, what: str) -> RegistryBroken:
        """Return the error for a question that may be answered another time."""
        return RegistryBroken(
            self._text(reason, what),
            host=self.host,
            code="UNAVAILABLE",
            hint="try again; check that the registry can be reached from this computer, also through its proxy",
        )

    def _text(self, reason: str, what: str) -> str:
        for secret in (self._credentials.secret, self._credentials.registry_token):
            if secret:
                reason = reason.replace(secret, "•••")
        return f"{what or f'An answer of {self.name}'} could not be fetched or pushed: {reason}."

    # ------------------------------------------------------------------------------ one question

    def _found(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str], what: str
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse, str]:
        """Return the answer of whoever has it, after a login where one is wanted."""
        if self._insecure and self._base.startswith("https:") and not self._speaks_tls():
            self._base = f"http{self._base.removeprefix('https')}"
            self._origin = _origin(urlsplit(self._base))
        url = urljoin(self._base, target)
        logged_in = False
        for _ in range(_MOST_REDIRECTS + 1):
            at_home = _origin(urlsplit(url)) == self._origin
            sent = {"User-Agent": "depotlab", **headers}
            if at_home and self._authorization:
                sent["Authorization"] = self._authorization  # never to another place
            connection, answer = self._send(method, url, body, sent, what)
            if answer.status == 401 and at_home and not logged_in:
                challenge = answer.getheader("WWW-Authenticate", "")
                _drop(connection, answer)
                self._authorization, logged_in = self._answer(challenge, method, what), True
                continue
            if answer.status in (301, 302, 303, 307, 308) and method in ("GET", "HEAD"):
                url = urljoin(url, answer.getheader("Location", ""))
                _drop(connection, answer)
                if urlsplit(url).scheme not in ("http", "https"):
                    raise self.failed("it sent us to an address that is not one of HTTP", what)
                continue
            return connection, answer, url
        raise self.failed("it sent us from place to place", what)

    def _send(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], what: str
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        parts = urlsplit(url)
        kept, self._kept = self._kept, None
        if kept is not None and kept[0] != _origin(parts):
            kept[1].close()
            kept = None
        if kept is not None:
            try:
                return kept[1], self._exchange(kept[1], method, parts, body, headers)
            except (OSError, http.client.HTTPException):
                kept[1].close()  # it was closed while nobody looked
        connection = self._connect(parts, what)
        try:
            return connection, self._exchange(connection, method, parts, body, headers)
        except ssl.SSLCertVerificationError as error:
            connection.close()
            raise self.failed(_reason(error), what) from None  # another time it is no better
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            raise self.broken(_reason(error), what) from None

    def _speaks_tls(self) -> bool:
        """Whether who listens shakes hands. One who does not answer at all is found out by the question itself."""
        if self._tls_known:
            return True
        parts = urlsplit(self._base)
        connection = self._connect(parts, "")
        connection.timeout = min(self._timeout_s, _TLS_TRY_S)
        try:
            connection.connect()
        except ssl.SSLError:
            return False
        except (ConnectionResetError, TimeoutError):  # how those end it who do not understand
            return False
        except OSError:
            return True
        finally:
            connection.close()
        self._tls_known = True
        return True

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        parts: SplitResult,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        if connection.sock is None:
            connection.connect()
        self._socket = connection.sock
        if self._over.is_set():
            raise OSError("it was cancelled")
        target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        if isinstance(connection, Proxied):
            target = f"http://{parts.netloc}{target}"
        connection.request(method, target, body, dict(headers))
        return connection.getresponse()

    def _connect(self, parts: SplitResult, what: str) -> http.client.HTTPConnection:
        at_home = _origin(parts) == self._origin
        try:
            return connection_to(parts, self._timeout_s, insecure=self._insecure and at_home)
        except ValueError:
            raise self.failed("its address has no proper port", what) from None

    def _answer(self, challenge: str, method: str, what: str) -> str:
        """Return what the registry wants to hear."""
        actions = "pull" if method in ("GET", "HEAD") else "pull,push"
        scheme, _, rest = challenge.partition(" ")
        said = dict(_PARAMETER.findall(rest))
        if scheme.lower() == "bearer" and "realm" in said:
            asked = TokenRequest(
                host=self.host,
                realm=said["realm"],
                service=said.get("service", ""),
                scopes=(said.get("scope") or f"repository:{self._path}:{actions}",),
            )
            return f"Bearer {fetch_token(asked, self._credentials, timeout_s=self._timeout_s).text}"
        user, secret = self._credentials.login
        if scheme.lower() == "basic" and secret:
            return basic(f"{user}:{secret}")
        raise self.failed("it wants a login, and none is known", what)

    def _refused(self, answer: http.client.HTTPResponse, what: str) -> RegistryError:
        said = ""
        with suppress(OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
            first = json.loads(answer.read(_MAX_ERROR_BYTES))["errors"][0]
            said = " ".join(str(first.get("message") or first.get("code") or "").split())[:200]
        reason = f"HTTP status {answer.status}{f', {said}' if said else ''}"
        if answer.status in _BUSY:
            busy = self.broken(reason, what)
            busy.retry_after_s = _retry_after_s(answer)
            return busy
        error = self.failed(reason, what)
        error.code = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}.get(
            answer.status, error.code
        )
        return error


_HINT = "check the name, and the login: auth={host: (user, password)}"


def _drop(connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
    answer.close()  # a connection that ends with its answer knows nothing of it any more
    connection.close()


def _origin(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"


def _retry_after_s(answer: http.client.HTTPResponse) -> float:
    text = answer.getheader("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0


def _reason(error: Exception) -> str:
    """Say what broke; never what was sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, http.client.HTTPException | ValueError):
        return f"the answer was cut short or malformed ({type(error).__name__})"
    return str(getattr(error, "strerror", "") or error or type(error).__name__).lower()
