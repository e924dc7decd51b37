"""A Python function as a frontend: it is asked what to build while the build runs.

The function gets a gateway to the build, looks at files, decides, and returns what is to be built. Calling it with its
other arguments runs nothing: it gives a target, as `depotlab.dockerfile` does. The arguments are checked then,
against the signature.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from depotlab._values import Value
from depotlab.errors import UsageError

__all__ = ["FrontendCall", "FrontendFunction", "function"]


class FrontendFunction(Value):
    """A function that says what to build. Made by the decorator `depotlab.frontend.function`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.signature = inspect.signature(function)
        parameters = list(self.signature.parameters.values())
        if not parameters or parameters[0].kind not in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            raise UsageError(
                f"{self.name}() takes no gateway: its first parameter is the way to the build.",
                hint=f"write def {self.name}(gw, ...)",
            )
        self._rest = self.signature.replace(parameters=parameters[1:])

    @property
    def _text(self) -> str:
        """The call, with types by their last name."""
        return self.name + re.sub(r"\b(?:[a-z_]\w*\.)+([A-Za-z_]\w*)", r"\1", str(self._rest))

    @property
    def name(self) -> str:
        """The function's own name."""
        return getattr(self.function, "__name__", "frontend")

    @property
    def is_async(self) -> bool:
        """Whether it is a coroutine function; it then gets a gateway whose verbs are awaited."""
        return inspect.iscoroutinefunction(self.function)

    def __call__(self, *args: Any, **kwargs: Any) -> FrontendCall:
        """Return a target to build: this function with these arguments. Nothing runs.

        Raises:
            UsageError: An argument is missing, unknown or of the wrong type; the message names it.
        """
        try:
            bound = self._rest.bind(*args, **kwargs)
        except TypeError as error:
            raise UsageError(
                f"{self.name}(): {error}.",
                hint=f"it is {self._text}; the gateway is not passed",
            ) from None
        self._check(bound)
        return FrontendCall(
            self, bound.args, types.MappingProxyType(bound.kwargs), contextvars.copy_context()
        )

    def _check(self, bound: inspect.BoundArguments) -> None:
        try:
            hints = typing.get_type_hints(self.function)
        except Exception:  # noqa: BLE001 - a hint that cannot be read, such as a name that is not there yet, checks nothing
            return
        for name, value in bound.arguments.items():
            if name not in hints:
                continue
            kind = self._rest.parameters[name].kind
            values = (
                value
                if kind is inspect.Parameter.VAR_POSITIONAL
                else value.values()
                if kind is inspect.Parameter.VAR_KEYWORD
                else (value,)
            )
            for each in values:
                if not fits(each, hints[name]):
                    raise UsageError(
                        f"{self.name}({name}={_short(each)}): {name} is {_words(hints[name])}, "
                        f"not {type(each).__name__}.",
                        hint=f"it is {self._text}",
                    )

    def __repr__(self) -> str:
        return f"<frontend {self._text}>"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class FrontendCall(Value):
    """A frontend with its arguments: a target to build.

    Attributes:
        frontend: The function.
        args: What it is called with after the gateway.
        kwargs: The same by name.
    """

    frontend: FrontendFunction
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    # What it prints belongs to the cell that made the call: ipykernel 7 keeps that in a context variable.
    _context: contextvars.Context = field(repr=False)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.frontend.name

    def run(self, gateway: Any) -> Any:
        """Call the function; of a coroutine function that gives the coroutine."""
        return self._context.copy().run(self.frontend.function, gateway, *self.args, **self.kwargs)

    def __repr__(self) -> str:
        given = [_short(value) for value in self.args]
        given += [f"{name}={_short(value)}" for name, value in self.kwargs.items()]
        return f"<{self.name}({', '.join(given)})>"


def function(wrapped: Callable[..., Any]) -> FrontendFunction:
    """Make a frontend of a function: it decides what to build while the build runs. A decorator.

    Its first parameter is a `depotlab.Gateway` (`depotlab.aio.Gateway` for a coroutine function), with which it solves
    states and looks at their files. It returns what is to be built: a state, a Dockerfile, or a state for each
    platform. It runs on a thread of its own, and again if the connection breaks before any step has started.

    Called without the gateway it gives a target: every output, cache, secret and platform of a build goes with it.

    Args:
        wrapped: A function, or a coroutine function.

    Raises:
        UsageError: It has no parameter for the gateway.

    Example:
        >>> @function
        ... def app(gw, source, version: str = "3.12"):
        ...     base = llb.image(f"python:{version}-slim").copy(source, ".", "/app/")
        ...     if "requirements.txt" in gw.ls(source):
        ...         base = base.run("pip install -r /app/requirements.txt")
        ...     return base
        >>> app
        <frontend app(source, version: str = '3.12')>
        >>> app("source", version="3.13")
        <app('source', '3.13')>
    """
    if not callable(wrapped):
        raise UsageError(
            f"frontend.function() decorates functions, not {wrapped!r}.",
            hint="write @frontend.function above def",
        )
    return FrontendFunction(wrapped)


def fits(value: object, hint: Any) -> bool:
    """Say whether a value is what an annotation says, as far as can be seen without looking into it deeply."""
    origin = typing.get_origin(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True
    if hint is None or hint is type(None):
        return value is None
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, each) for each in typing.get_args(hint))
    if origin is typing.Literal:
        return any(value == each and type(value) is type(each) for each in typing.get_args(hint))
    if origin is typing.Annotated:
        return fits(value, typing.get_args(hint)[0])
    kind = origin or hint
    if not isinstance(kind, type):
        return True
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if getattr(kind, "_is_protocol", False):
        return True
    if not isinstance(value, kind):
        return False
    inner = typing.get_args(hint)
    if isinstance(value, list | set | frozenset) and len(inner) == 1:
        return all(fits(each, inner[0]) for each in value)
    if isinstance(value, dict) and len(inner) == 2:
        return all(fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items())
    return True


def _words(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:59] + "…"
