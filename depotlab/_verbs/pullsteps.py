"""The progress of a pull: a step for each thing that comes."""

from __future__ import annotations

import time
from typing import Self

from depotlab._oci import Descriptor
from depotlab.progress import Fold, TransferUpdated, VertexUpdated

__all__ = ["Step", "Steps"]

_TOLD_EVERY_NS = 100_000_000


class Steps:
    """The progress: a step for each thing that comes."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold

    def step(self, key: str, name: str) -> Step:
        """Return a step, to be used in a `with` block."""
        return Step(self._fold, key, name)

    def transfer(self, layer: Descriptor) -> Step:
        """Return the step of a layer that comes."""
        digits = layer.digest.partition(":")[2][:12]
        return Step(self._fold, layer.digest, f"layer {digits}", total=layer.size_bytes)

    def skipped(self, layer: Descriptor) -> None:
        """Show a layer that need not come."""
        now_ns = time.time_ns()
        digits = layer.digest.partition(":")[2][:12]
        step = VertexUpdated(
            layer.digest, f"[pull] layer {digits}, which was there", started_ns=now_ns,
            completed_ns=now_ns, is_cached=True, is_local=True,
        )  # fmt: skip
        self._fold.feed([step])


class Step:
    """One step, from its first moment to its last. Called, it has moved so many bytes more."""

    def __init__(self, fold: Fold, key: str, name: str, *, total: int = 0) -> None:
        self._fold = fold
        self._key = f"pull {key}"
        self._name = f"[pull] {name}"
        self._total = total
        self._current = 0
        self._began_ns = self._told_ns = 0

    def __enter__(self) -> Self:
        self._began_ns = time.time_ns()
        self._tell()
        return self

    def __call__(self, n_bytes: int) -> None:
        self._current += n_bytes
        now_ns = time.time_ns()
        if now_ns - self._told_ns > _TOLD_EVERY_NS:
            self._told_ns = now_ns
            self._fold.feed([self._transfer(now_ns)])

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        now_ns = time.time_ns()
        if self._total:
            self._fold.feed([self._transfer(now_ns, now_ns)])
        cut = isinstance(error, GeneratorExit)
        text = "" if error is None else "cut off" if cut else (str(error) or "failed")
        self._tell(now_ns, text.splitlines()[0] if text else "")

    def _transfer(self, at_ns: int, ended_ns: int | None = None) -> TransferUpdated:
        return TransferUpdated(
            self._key, "layer", "", self._current, self._total, at_ns, self._began_ns, ended_ns
        )

    def _tell(self, ended_ns: int | None = None, error: str = "") -> None:
        step = VertexUpdated(
            self._key, self._name, started_ns=self._began_ns, completed_ns=ended_ns,
            error=error, is_local=True,
        )  # fmt: skip
        self._fold.feed([step])
