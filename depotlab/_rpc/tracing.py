"""Which trace the calls to a daemon belong to: the header `traceparent` that goes with each.

A daemon makes a span of each call and of each step. Without a header every call begins a trace of its own, and what the
daemon keeps of a build has hardly anything of it. So the calls of one build share one trace: that of the span
in which the caller's own OpenTelemetry is, or one that is made of the build's name. OpenTelemetry is asked and never
imported: who has not imported it has no span.

Source: W3C Trace Context, https://www.w3.org/TR/trace-context/.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["build_traced", "trace_headers"]

Headers = tuple[tuple[str, str], ...]

_SAMPLED = 1
# Tasks and threads that a build starts inherit it.
_of_build: ContextVar[Headers] = ContextVar("depotlab trace of the build", default=())


@contextmanager
def build_traced(ref: str) -> Iterator[None]:
    """Let the calls of a block, and of tasks begun in it, belong to the trace of one build.

    Args:
        ref: The name of the build.
    """
    before = _of_build.set(_current() or _made_of(ref))
    try:
        yield
    finally:
        _of_build.reset(before)


def trace_headers() -> Headers:
    """Return what to add to the metadata of a call; nothing when there is no build and no span."""
    return _of_build.get() or _current()


def _current() -> Headers:
    """Return the headers of the span in which the caller is."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return ()
    context = api.get_current_span().get_span_context()
    if not context.is_valid:
        return ()
    parent = ("traceparent", _parent(context.trace_id, context.span_id, context.trace_flags))
    state = context.trace_state.to_header()
    return (parent, ("tracestate", state)) if state else (parent,)


def _made_of(ref: str) -> Headers:
    digest = hashlib.sha256(ref.encode()).digest()
    # An id of zeros is none.
    trace_id = int.from_bytes(digest[:16]) or 1
    span_id = int.from_bytes(digest[16:24]) or 1
    return (("traceparent", _parent(trace_id, span_id, _SAMPLED)),)


def _parent(trace_id: int, span_id: int, flags: int) -> str:
    return f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}"
