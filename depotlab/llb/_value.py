"""What a state consists of, and what makes it a value: equality, hashing, copying, pickling."""

# ruff: noqa: SLF001  (a State hides its pieces from users, not from the files of its room)
from __future__ import annotations

from typing import Any, NoReturn, Self

from depotlab.llb._config import ImageConfig
from depotlab.llb._op import Edge, Op, content_key
from depotlab.llb._settings import Settings

_set = object.__setattr__


class Value:
    """The pieces of a state, which never change.

    Attributes:
        _edge: The op output that makes its files; None is scratch.
        _settings: What later steps inherit, relative to `_origin`.
        _origin: The image or lazy state whose settings are still to be learned, if any.
        _config: The image config, relative to that of `_origin`.
    """

    __slots__ = ("_config", "_edge", "_origin", "_settings")
    _edge: Edge | None
    _settings: Settings
    _origin: Op | None
    _config: ImageConfig

    @property
    def _op(self) -> Op | None:
        return None if self._edge is None else self._edge[0]

    def _content(self) -> tuple[Any, ...]:
        return (
            None if self._edge is None else (content_key(self._edge[0]), self._edge[1]),
            self._settings,
            b"" if self._origin is None else content_key(self._origin),
            self._config,
        )

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Value):
            return NotImplemented
        return self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a State never changes; its methods return new ones (set {name!r})")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a State never changes (delete {name!r})")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def pass_platform(state: Value) -> None:
    """Let a platform that was given to the op of a new state hold for later runs."""
    op = state._op
    if op is not None and op.constraints.platform is not None and op.passes_platform:
        platform = op.constraints.platform.normalized()
        if platform != state._settings.platform:
            _set(state, "_settings", state._settings.changed(platform=platform))
