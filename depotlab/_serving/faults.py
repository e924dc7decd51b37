"""What a service answers when it does not do as asked. Knows nothing of how that goes over the wire."""

from __future__ import annotations

from typing import Literal

__all__ = ["Fault", "FaultCode"]

FaultCode = Literal[
    "already_exists",
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
    """

    def __init__(self, code: FaultCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
