"""Why a build failed, in words for the customer, and whether another try may do.

Errors that have a type of their own say more than their text and are asked before the table of phrases (`rules`). A
platform puts rows of its own before both. What was really said is kept, without what may let somebody in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from depotlab._depot import (
    DeadlineExceeded,
    DepotError,
    ResourceExhausted,
    TlsFailed,
    Unavailable,
)
from depotlab._rpc import RpcFailed
from depotlab._values import cut
from depotlab.errors import (
    BuildCanceled,
    BuildTimeout,
    ContextRefused,
    DaemonError,
    DepotlabError,
    DockerfileError,
    ImageNotFound,
    LinkError,
    RegistryError,
    ServiceError,
    SessionError,
    StepFailed,
    StorageError,
    TelemetryError,
    UsageError,
)
from depotlab.service._boundary import EndUserError
from depotlab.service._reasons.rules import RULES, Rule
from depotlab.service._reasons.scrubbing import scrubbed

__all__ = ["RULES", "ContextStep", "Rule", "is_transient", "last_words", "scrubbed", "user_error"]

ContextStep = Literal["", "fetch", "unpack"]

_MOST_RAW_CHARS = 4000
_MOST_STEP_CHARS = 200


_UNKNOWN = "The build failed. Its log says more."
_INTERNAL = (
    "The build service could not finish this build. It is not about your source: start the build again, and if that "
    "does not help, ask who runs the service."
)


def user_error(
    error: BaseException | str, *, extra: Sequence[Rule] = (), failed: ContextStep = ""
) -> EndUserError:
    """Return what to tell the customer of a build that failed.

    Args:
        error: As it was raised (its cause, the daemon's own words, is looked at too), or a text of the daemon.
        extra: Rows that come before all others: those of `BuildService(error_rules=...)`.
        failed: Which step of the uploaded source failed, if it was one: fetching it, or unpacking it. The daemon has
            the same words for that as for downloads and paths of the Dockerfile.
    """
    said = _said(error)
    raw = _shortened(scrubbed(said))
    text = f"{said}\n{error}".lower()
    if own := next((rule for rule in extra if rule.fits(text)), None):
        return EndUserError(own.category, own.message, raw)
    if isinstance(error, StepFailed):
        category, words = _step(error)
        return EndUserError(category, scrubbed(words), raw)
    # An image that has other platforms only is not found either.
    if isinstance(error, ImageNotFound) and _BY_CATEGORY["platform"].fits(text):
        return EndUserError("platform", _BY_CATEGORY["platform"].message, raw)
    if typed := next((row for row in _TYPED if isinstance(error, row[0])), None):
        _, category, message = typed
        words = scrubbed(message(error))
        return EndUserError(category, words, "" if raw == words else raw)
    found = next((rule for rule in RULES if rule.fits(text)), None)
    if found := _CONTEXT_RULES.get((failed, found.category if found else ""), found):
        return EndUserError(found.category, found.message + _place(error), raw)
    if other := next((row for row in _OTHERWISE if isinstance(error, row[0])), None):
        _, category, words = other
        return EndUserError(category, words + _place(error), raw)
    if isinstance(error, str | RpcFailed | DaemonError):
        return EndUserError("unknown", _UNKNOWN, raw)
    return EndUserError("internal", _INTERNAL, raw or type(error).__name__)


_BY_CATEGORY = {rule.category: rule for rule in RULES}
_CONTEXT_RULES = {
    ("fetch", "download"): _BY_CATEGORY["context"],
    ("fetch", ""): _BY_CATEGORY["context"],
    ("unpack", ""): _BY_CATEGORY["context_archive"],
    # The frontend says that it is the Dockerfile which it cannot read.
    ("unpack", "dockerfile_path"): _BY_CATEGORY["context_archive"],
    ("unpack", "missing_file"): _BY_CATEGORY["context_archive"],
}
_NOT_OF_THE_SOURCE = ("context", "push")


def last_words(error: BaseException, told: EndUserError) -> str:
    """Return what a log has to end with, so that customers read there why their source is not built.

    Steps print why they fail; a daemon that refuses a Dockerfile, or cannot fetch an image, says it to its client only.
    Empty where the log has it already, or it is not about the source.
    """
    is_said = isinstance(error, StepFailed) or told.category in _NOT_OF_THE_SOURCE
    if is_said or not isinstance(error, DaemonError):
        return ""
    return f"{told.raw}{_place(error)}"


# ------------------------------------------------------------------------------------ by their types


# What shells and runtimes mean by them.
_EXIT_CODES = {
    126: ("command_failed", "The file is there but cannot be run: check its mode and its format."),
    127: (
        "command_not_found",
        "There is no such program: check that the image has it before it is used.",
    ),
    137: (
        "out_of_memory",
        "It was killed, most often because it needed more memory than the build machine has.",
    ),
}
_PRINTED = ("command_failed", "The log of the build has what it printed.")
# The runtime's own words stand where the command's would.
_NOT_STARTED = _BY_CATEGORY["command_not_found"]
_WRONG_KIND = (
    "platform",
    "The program is for another kind of processor than the machine's, or is none: check the platform of the image in "
    "its FROM line.",
)


def _step(error: StepFailed) -> tuple[str, str]:
    """Return category and message of a step that failed."""
    category, why = _EXIT_CODES.get(error.exit_code, _PRINTED)
    printed = error.log_tail[-1].lower() if error.log_tail else ""
    if _NOT_STARTED.fits(printed):
        category, why = _NOT_STARTED.category, _NOT_STARTED.message
    elif printed.startswith("exec ") and printed.endswith("exec format error"):
        category, why = _WRONG_KIND
    step = cut(error.step, _MOST_STEP_CHARS)
    return category, f"The step {step!r} failed with exit code {error.exit_code}. {why}"


def _image(error: ImageNotFound) -> str:
    return (
        f"The image {error.ref} does not exist, or its registry does not show it. Check the names in FROM "
        "and --from=, where what is no stage is taken for an image; a private image needs credentials."
    )


_TYPED: tuple[tuple[type[BaseException], str, Callable[..., str]], ...] = (
    (ImageNotFound, "image_not_found", _image),
    (ContextRefused, "context", lambda error: f"{error.message} {_sentence(error.hint)}".strip()),
    (
        BuildTimeout,
        "timeout",
        lambda error: (
            f"The build took longer than the {error.timeout_s:g} s that it may, and was stopped."
        ),
    ),
    (BuildCanceled, "canceled", lambda _: "The build was cancelled."),
    (
        LinkError,
        "machine_lost",
        lambda _: (
            "The build machine went away while it built. It is not about your source: start the build again."
        ),
    ),
    (
        StorageError,
        "storage",
        lambda _: "The uploaded source could not be read: the store does not answer.",
    ),
    (
        DepotError,
        "machine",
        lambda _: "No build machine could be had. Start the build again later.",
    ),
    (ServiceError, "request", lambda error: str(error.message)),
)
_OTHERWISE: tuple[tuple[type[BaseException], str, str], ...] = (
    (
        DockerfileError,
        "dockerfile",
        "The Dockerfile cannot be built as it is. The build's log names what is wrong with it.",
    ),
    (
        RegistryError,
        "registry",
        "A registry refused, or did not answer. Check the name of the base image and its credentials, or try again.",
    ),
)


def _place(error: BaseException | str) -> str:
    """The line of the Dockerfile that is blamed, as the end of a message."""
    places = error.locations if isinstance(error, DaemonError) else ()
    return f" ({places[0]})" if places else ""


def _sentence(hint: str) -> str:
    return f"{hint[:1].upper()}{hint[1:]}." if hint else ""


def _said(error: BaseException | str) -> str:
    """What the daemon, Depot or the store said: the deepest words there are."""
    if isinstance(error, str):
        return error
    for cause in _causes(error):
        if isinstance(cause, RpcFailed):
            return cause.message
    if isinstance(error, DepotError) and error.server_message:
        return error.server_message
    return error.message if isinstance(error, DepotlabError) else str(error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__


# ------------------------------------------------------------------------------- whether to try again

_TRANSIENT = (
    "500 internal server error",
    "502 bad gateway",
    "503 service unavailable",
    "504 gateway time",
    "429 too many requests",
    "toomanyrequests",
    "broken pipe",
    "connection refused",
    "connection reset by peer",
    "context canceled",
    "context deadline exceeded",
    "i/o timeout",
    "invalid response status 5",  # of the store, to the machine
    "network is unreachable",
    "no active session",
    "server misbehaving",
    "the requested url returned error: 5",  # of the host of a repository, to git
    "temporary failure in name resolution",
    "tls handshake timeout",
    "unexpected eof",
    "use of closed network connection",
)
_FINAL = (
    BuildTimeout,
    ContextRefused,
    DockerfileError,
    ImageNotFound,
    ServiceError,
    SessionError,
    StepFailed,
    TlsFailed,
    UsageError,
)


def is_transient(error: BaseException | str) -> bool:
    """Whether another try may do: a machine, a registry or the store failed, or somebody else cancelled the build.

    What the source itself causes never is, nor is a build that took longer than it may.
    """
    match error:
        case StorageError() | TelemetryError():
            return error.is_transient
        case BaseException() if isinstance(error, _FINAL):
            return False
        case ResourceExhausted():
            return (
                error.retry_after_s is not None
            )  # too many calls at once, not a quota that is used up
        case LinkError() | BuildCanceled() | Unavailable() | DeadlineExceeded():
            return True
        case asyncio.CancelledError() | TimeoutError() | ConnectionError():
            return True
        case str() | RpcFailed() | DaemonError():
            text = _said(error).lower()
            # A command may print, and be, anything.
            is_final = "did not complete successfully" in text
            return not is_final and any(phrase in text for phrase in _TRANSIENT)
    return False


def _shortened(text: str) -> str:
    """Both ends of a long text: what was done is at its begin, and why it failed at its end."""
    if len(text) <= _MOST_RAW_CHARS:
        return text
    half = _MOST_RAW_CHARS // 2 - 1
    return f"{text[:half]}…{text[-half:]}"
