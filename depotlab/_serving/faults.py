"""What a service answers when it does not do as asked. Knows nothing of how that goes over the wire."""

from __future__ import annotations

from typing import Literal

__all__ = ["Fault", "FaultCode"]

FaultCode = Literal[
    "already_exists",
    "deadline_exceeded",
    "failed_precondition",
    "internal",
    "invalid_argument",
    "not_found",
    "permission_denied",
    "resource_exhausted",
    "unauthenticated",
    "unavailable",
    "unimplemented",
]


class Fault(Exception):
    """One refusal.

    Attributes:
        code: As the Connect protocol names it.
        text: For users; it never holds a token.
        hint: What to try next, or empty.
        reason: Which of several refusals with the same code it is, or empty.
        retry_after_s: When it may be worth asking again; None when that is not known.
    """

    def __init__(
        self,
        code: FaultCode,
        text: str,
        *,
        hint: str = "",
        reason: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.hint = hint
        self.reason = reason
        self.retry_after_s = retry_after_s
