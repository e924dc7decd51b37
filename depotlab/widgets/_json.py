"""JSON lines for machines: one object a line, each with an `event` and a `time`.

`start` once; `step` whenever a step has changed; `log` for each line of output; `warning`;
`end` once. Times are seconds since 1970 UTC.
"""

from __future__ import annotations

import json
from typing import Any, TextIO

from depotlab.progress import LineSplitter, Snapshot, Step

__all__ = ["JsonView"]


class JsonView:
    """Writes what changed between snapshots to a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._seen: dict[str, Step] = {}
        self._next_byte: dict[str, int] = {}
        self._splitters: dict[str, LineSplitter] = {}
        self._n_warnings = 0

    def open(self, snapshot: Snapshot) -> None:
        """Write the `start`."""
        self._write(
            "start", snapshot.started_ns, {"target": snapshot.target, "where": snapshot.where}
        )

    def show(self, snapshot: Snapshot) -> None:
        """Write what is new."""
        for step in snapshot.steps:
            known = self._seen.get(step.digest)
            if known is step:
                continue
            self._log(step, snapshot)
            if known is None or _public(known) != _public(step):
                self._write("step", snapshot.at_ns, _public(step))
            self._seen[step.digest] = step
        for warning in snapshot.warnings[self._n_warnings :]:
            self._write(
                "warning",
                snapshot.at_ns,
                {
                    "step": warning.step,
                    "level": warning.level,
                    "short": warning.short,
                    "detail": list(warning.detail),
                    "url": warning.url,
                    "locations": [[at.filename, at.line, at.end_line] for at in warning.locations],
                },
            )
        self._n_warnings = len(snapshot.warnings)
        self._stream.flush()

    def close(self, snapshot: Snapshot) -> None:
        """Write the rest and the `end`."""
        self.show(snapshot)
        for digest, splitter in self._splitters.items():
            for line in splitter.rest():
                self._write(
                    "log", line.at_ns, {"step": digest, "stream": line.stream, "text": line.text}
                )
        counts = snapshot.counts._asdict()
        self._write(
            "end",
            snapshot.ended_ns or snapshot.at_ns,
            {"phase": str(snapshot.phase), "error": snapshot.error, "counts": counts},
        )
        self._stream.flush()

    def _log(self, step: Step, snapshot: Snapshot) -> None:
        start = self._next_byte.get(step.digest, 0)
        if snapshot.logs is None or step.log.n_bytes <= start:
            return
        splitter = self._splitters.get(step.digest)
        if splitter is None:
            splitter = self._splitters[step.digest] = LineSplitter(
                offset_ns=snapshot.logs.offset_ns
            )
        chunks, self._next_byte[step.digest] = snapshot.logs.read(step.digest, start_byte=start)
        for chunk in chunks:
            for line in splitter.feed(chunk):
                what = {"step": step.digest, "stream": line.stream, "text": line.text}
                self._write("log", line.at_ns, what)

    def _write(self, event: str, at_ns: int, what: dict[str, Any]) -> None:
        line = json.dumps({"event": event, "time": at_ns / 1e9, **what}, ensure_ascii=False)
        self._stream.write(line + "\n")


def _public(step: Step) -> dict[str, Any]:
    return {
        "step": step.digest,
        "number": step.number,
        "name": step.name,
        "state": str(step.state),
        "seconds": round(step.duration_s, 3),
        "inputs": list(step.inputs),
        "error": step.error,
        "transfers": [
            {"id": t.id, "current": t.current, "total": t.total, "done": t.is_done}
            for t in step.transfers
        ],
    }
