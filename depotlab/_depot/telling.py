"""Calls to the Depot API that taps are told of. Sizes only: tokens and the keys of machines travel in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from depotlab._depot.errors import DepotError
from depotlab._rpc import Status, Telling, begin_telling

__all__ = ["told"]

# Source: connectrpc.com/docs/protocol (error codes); all but these two are called as in gRPC.
_CODES = {"canceled": Status.CANCELLED, "unknown": Status.UNKNOWN}


@contextmanager
def told(path: str, headers: Mapping[str, str], endpoint: str) -> Iterator[Telling | None]:
    """Tell of one try of a call, which ends with the block; yields None when nobody looks on."""
    telling = begin_telling("client", path, headers.items(), endpoint=endpoint)
    try:
        yield telling
    except DepotError as error:
        if telling is not None:
            status = _CODES.get(error.code) or Status[error.code.upper()]
            telling.ended(status, error.server_message or error.message)
        raise
    except BaseException as error:
        if telling is not None:
            telling.broke(error)
        raise
    if telling is not None:
        telling.ended()
