"""How a call to the Depot API fails: one class for each thing that a caller would do about it.

Messages keep the server's words, and never hold a token: what the client knows as one is cut out of them.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

from depotlab.errors import DepotlabError, ProtocolError, UsageError

__all__ = [
    "WAYS_IN",
    "BadReply",
    "DeadlineExceeded",
    "DepotError",
    "IdentityFailed",
    "InvalidRequest",
    "NoToken",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "TlsFailed",
    "Unauthenticated",
    "Unavailable",
    "error_for",
]

WAYS_IN: Final = (
    "run `depotlab login` (in a notebook: depotlab.depot_login()) once; or make a token on depot.dev (organization or "
    "project settings) and set DEPOT_TOKEN or pass token=...; or, in CI, add a trust policy to the project, which lets "
    "the job's own identity in; with no account, depotlab.depot(local=True) is a Depot on this computer"
)


class DepotError(DepotlabError):
    """The Depot API refused or failed a call.

    Attributes:
        code: The Connect code, such as `not_found`.
        method: The method of the API, such as `GetProject`, or empty.
        server_message: The server's own words, or empty.
        http_status: Of the answer, or 0 if there was none.
        retry_after_s: How long the server asks to wait, in seconds, or None.

    Cure:
        Read the server's words in the message. If it stays, report it with `.method` and `.code`.
    """

    blame = "depot"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str = "unknown",
        method: str = "",
        server_message: str = "",
        http_status: int = 0,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.method = method
        self.server_message = server_message
        self.http_status = http_status
        self.retry_after_s = retry_after_s


class Unauthenticated(DepotError):
    """There is no token, or the server does not know it (any more).

    Cure:
        Run `depotlab login`, or set `DEPOT_TOKEN`. `depotlab.depot_config()` says which token was used and
        where it was found.
    """


class PermissionDenied(DepotError):
    """The token is known, and may not do this.

    Cure:
        Use a token of the organization that owns the project; `depotlab.depot_config()` says where yours is
        from. A project's token cannot do what is the organization's.
    """


class NotFound(DepotError):
    """There is no such project, build, token or image, or the token may not see it.

    Cure:
        Check the id, and that the token is of the organization that owns it: `api.projects.list()` shows what
        it may see.
    """


class InvalidRequest(DepotError):
    """The server does not accept the request as it is: an argument, or the state of what it is about.

    Cure:
        Change what the server's message names: the argument, or what has to be done first.
    """


class ResourceExhausted(DepotError):
    """A quota is used up, or there were too many calls; `retry_after_s` says which, when it is known.

    Cure:
        Wait as long as `.retry_after_s` says, make fewer calls at once, or raise the limit of the plan.
    """


class Unavailable(DepotError):
    """The API could not be reached, or said that it is down. Whether the call was obeyed is not known.

    Cure:
        Try again. If it stays, look at status.depot.dev, and at `DEPOT_API_URL` and the proxy's variables
        here. Before repeating what creates something, list what is there.
    """


class TlsFailed(Unavailable):
    """The API's certificate is not trusted, or what answers does not speak TLS. Trying again does not help.

    Cure:
        Check the address. An API with a certificate of your own needs `SSL_CERT_FILE`; a proxy that opens TLS
        needs its authority there too.
    """

    blame = "link"


class DeadlineExceeded(DepotError, TimeoutError):
    """There was no answer in the time that the call was given.

    Cure:
        Try again, or allow more with `timeout_s=`.
    """


class BadReply(DepotError, ProtocolError):
    """What came back is not what the protocol allows: malformed, cut short, or too large.

    Cure:
        See whether something between this computer and the API answers in its place, such as a proxy's login
        page. Otherwise report it with the message.
    """

    blame = "protocol"


class IdentityFailed(DepotError):
    """The CI system did not give the identity token that it offers.

    Cure:
        Give the job the right to ask for an identity (in GitHub Actions `permissions: id-token: write`), or
        set `DEPOT_TOKEN`.
    """


class NoToken(UsageError):
    """No token was found anywhere. The message says the three ways to get one.

    Cure:
        Run `depotlab login`, set `DEPOT_TOKEN`, or pass `token=`; in CI, add a trust policy to the project.
        `depotlab.depot(local=True)` needs none.
    """

    def __init__(self, message: str = "There is no token for Depot.", *, hint: str = "") -> None:
        super().__init__(message, hint=hint or WAYS_IN)


_CLASSES = MappingProxyType(
    {
        "unauthenticated": (Unauthenticated, WAYS_IN),
        "permission_denied": (
            PermissionDenied,
            "use a token of the organization that owns the project; depot_config() says where yours is from",
        ),
        "not_found": (
            NotFound,
            "check the id, and that the token is of the organization that owns it",
        ),
        "resource_exhausted": (ResourceExhausted, "wait a while, or raise the limit of the plan"),
        "unavailable": (
            Unavailable,
            "try again; if it stays, see status.depot.dev or DEPOT_API_URL",
        ),
        "deadline_exceeded": (DeadlineExceeded, "try again, or allow more time with timeout_s="),
        "invalid_argument": (InvalidRequest, "the server's message names the argument"),
        "failed_precondition": (InvalidRequest, "the server's message says what must come first"),
        "out_of_range": (InvalidRequest, "the server's message names the argument"),
        "already_exists": (InvalidRequest, "use the one that is there, or another name"),
        "aborted": (
            InvalidRequest,
            "something else changed it at the same time; look, then try again",
        ),
        "unimplemented": (
            DepotError,
            "this server does not know the method; check DEPOT_API_URL, or use a newer server",
        ),
        "canceled": (DepotError, "the server gave up the call; try again"),
        "unknown": (DepotError, "try again; if it stays, report it with the server's message"),
        "internal": (DepotError, "try again; if it stays, report it with the server's message"),
        "data_loss": (DepotError, "report it with the server's message"),
    }
)


def error_for(
    code: str, server_message: str, *, method: str = "", http_status: int = 0, **fields: Any
) -> DepotError:
    """Return the error for a Connect code; an unknown code is `unknown`.

    Example:
        >>> str(error_for("not_found", "no such project", method="GetProject")).splitlines()[0]
        'GetProject: not_found: no such project'
    """
    code = code if code in _CLASSES else "unknown"
    kind, hint = _CLASSES[code]
    words = [method, code, server_message]
    return kind(
        ": ".join(word for word in words if word),
        hint=hint,
        code=code,
        method=method,
        server_message=server_message,
        http_status=http_status,
        **fields,
    )
