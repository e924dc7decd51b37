"""What a build came to, as the server is told: success, an error with its text, or canceled.

The rule is of depot/cli `pkg/helpers/build.go`: an error that says "canceled" is a cancellation, any other is an error,
and only the absence of one is a success.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from depotlab._depot.errors import DepotError
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._rpc import RpcFailed, Status
from depotlab.errors import DaemonError, DepotlabError

__all__ = ["CANCELED", "SUCCESS", "Outcome"]

_MAX_CHARS = 16_384


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a build ended.

    Attributes:
        kind: `success`, `error` or `canceled`.
        error: What went wrong, for an error.
    """

    kind: Literal["success", "error", "canceled"]
    error: str = ""

    @classmethod
    def of(cls, error: BaseException | None) -> Outcome:
        """Return what a block came to that ended with this.

        Canceled are: a cancelled task, Ctrl-C and everything else that ends a program rather than fails it; our
        errors with `blame` "cancel" (a cancelled build, one that took too long); the gRPC status CANCELLED of the
        daemon, and Connect's `canceled` of the API. A group is canceled if all in it are.

        Example:
            >>> Outcome.of(KeyboardInterrupt()).kind
            'canceled'
        """
        if error is None:
            return SUCCESS
        failures = [one for one in _leaves(error) if not _is_cancellation(one)]
        if not failures:
            return CANCELED
        return cls("error", "; ".join(map(_text, failures))[:_MAX_CHARS])

    def request(self, build_id: str) -> cli.FinishBuildRequest:
        """Return the message that tells it."""
        request = cli.FinishBuildRequest(build_id=build_id)
        if self.kind == "success":
            request.success.SetInParent()
        elif self.kind == "canceled":
            request.canceled.SetInParent()
        else:
            request.error.error = self.error
        return request


SUCCESS: Final = Outcome("success")
CANCELED: Final = Outcome("canceled")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, RpcFailed):
        return error.status is Status.CANCELLED
    if isinstance(error, DaemonError):
        return error.code == Status.CANCELLED.name
    if isinstance(error, DepotError):
        return error.code == "canceled"
    if isinstance(error, DepotlabError):
        return error.blame == "cancel"
    return not isinstance(error, Exception)


def _text(error: BaseException) -> str:
    if isinstance(error, DepotlabError):
        return error.message or type(error).__name__  # the hint is for our user
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
