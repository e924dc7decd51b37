"""Manifests in a registry: fetch one, put one under a tag. Small documents only; blobs go from the builder.

A registry says with 401 how it wants to be asked: with a password, or with a token of the server that it names.
Source: opencontainers/distribution-spec `spec.md`; the distribution project's documents on authentication.
"""

from __future__ import annotations

import base64
import http.client
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Final

from depotlab._session.credentials import Credentials
from depotlab._session.token import TokenRequest, fetch_token
from depotlab.errors import RegistryError

__all__ = ["Manifest", "Manifests"]

INDEX: Final = "application/vnd.oci.image.index.v1+json"
_KINDS = (
    INDEX,
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_MOST_BYTES = (
    4 << 20
)  # what registries themselves take. Source: distribution-spec, "Pushing Manifests"
_HUB = {"docker.io": "registry-1.docker.io"}
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Manifest:
    """A document as the registry gave it.

    Attributes:
        data: Its bytes.
        media_type: Of them.
    """

    data: bytes
    media_type: str


class Manifests:
    """The manifests of one repository. All methods block.

    Args:
        host: Of the registry, as image names have it.
        path: Of the repository.
        credentials: What opens it.
        plain_http: The registry speaks no TLS. Loopback addresses are taken to, as the daemon does.
        timeout_s: For each question.
    """

    def __init__(
        self,
        host: str,
        path: str,
        credentials: Credentials,
        *,
        plain_http: bool = False,
        timeout_s: float = 30.0,
    ) -> None:
        plain = plain_http or _is_loopback(host)
        self._host = host
        self._base = f"{'http' if plain else 'https'}://{_HUB.get(host, host)}/v2/{path}/manifests/"
        self._name = f"{host}/{path}"
        self._path = path
        self._credentials = credentials
        self._timeout_s = timeout_s
        self._authorization = ""

    def get(self, reference: str) -> Manifest:
        """Fetch a manifest by its digest or tag.

        Raises:
            RegistryError: There is none, or the registry refuses.
        """
        data, headers = self._ask("GET", reference, None, {"Accept": ", ".join(_KINDS)})
        return Manifest(data, headers.get_content_type())

    def put(self, reference: str, manifest: Manifest) -> None:
        """Put a manifest under a tag.

        Raises:
            RegistryError: The registry refuses.
        """
        self._ask("PUT", reference, manifest.data, {"Content-Type": manifest.media_type})

    def _ask(
        self, method: str, reference: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[bytes, http.client.HTTPMessage]:
        for is_last in (False, True):
            request = urllib.request.Request(  # noqa: S310 - http or https, above
                self._base + reference, data=body, headers=headers, method=method
            )
            request.add_header("User-Agent", "depotlab")
            if self._authorization:
                # Not followed to another place when redirected.
                request.add_unredirected_header("Authorization", self._authorization)
            try:
                with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:  # noqa: S310
                    return answer.read(_MOST_BYTES), answer.headers
            except urllib.error.HTTPError as error:
                with error:
                    if error.code != 401 or is_last:
                        raise self._refused(reference, f"HTTP status {error.code}") from None
                    challenge = error.headers.get("WWW-Authenticate", "")
            except urllib.error.URLError as error:
                raise self._refused(reference, str(error.reason)) from None
            except (OSError, http.client.HTTPException) as error:
                raise self._refused(reference, type(error).__name__) from None
            self._authorization = self._answer(challenge, reference)
        raise AssertionError("the last answer is returned or raised")

    def _answer(self, challenge: str, reference: str) -> str:
        """Return what the registry wants to hear."""
        scheme, _, rest = challenge.partition(" ")
        said = dict(_PARAMETER.findall(rest))
        if scheme.lower() == "bearer" and "realm" in said:
            asked = TokenRequest(
                host=self._host,
                realm=said["realm"],
                service=said.get("service", ""),
                scopes=(said.get("scope") or f"repository:{self._path}:pull,push",),
            )
            return f"Bearer {fetch_token(asked, self._credentials, timeout_s=self._timeout_s).text}"
        user, secret = self._credentials.login
        if scheme.lower() == "basic" and secret:
            return f"Basic {base64.b64encode(f'{user}:{secret}'.encode()).decode()}"
        raise self._refused(reference, "it wants a login, and none is known")

    def _refused(self, reference: str, reason: str) -> RegistryError:
        joint = "@" if ":" in reference else ":"
        return RegistryError(
            f"The manifest {self._name}{joint}{reference} could not be fetched or pushed: {reason}.",
            hint="check the name, and the login: auth={host: (user, password)}",
        )


def _is_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] or host
    return name in ("localhost", "[::1]") or name.startswith("127.")
