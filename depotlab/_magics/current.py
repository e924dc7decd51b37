"""The builder that magics build on, until another is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from depotlab import client
from depotlab.client import Client
from depotlab.errors import UsageError

__all__ = ["CurrentBuilder"]


class CurrentBuilder:
    """One builder at a time. What it opened itself it closes when another takes its place."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self._is_ours = False

    def get(self) -> Client:
        """Return the builder; without a choice the one that `depotlab.connect()` finds.

        Raises:
            LinkError: It cannot be reached.
        """
        if self._client is None:
            self._take(client.connect(), is_ours=True)
        assert self._client is not None
        return self._client

    @property
    def is_chosen(self) -> bool:
        """Whether there is one already."""
        return self._client is not None

    def choose(self, words: list[str], variables: Mapping[str, Any]) -> Client:
        """Take another builder. The old one stays when that fails.

        Args:
            words: `auto`; `local`; `depot [PROJECT]`, `depot local`; an address, as of `depotlab.connect`; or the
                name of a variable that holds a client.
            variables: Of the user.

        Raises:
            UsageError: They mean none.
            LinkError: It cannot be reached.
        """
        match words:
            case [name] if isinstance(variables.get(name), Client):
                self._take(variables[name], is_ours=False)
            case ["auto"]:
                self._take(client.connect(), is_ours=True)
            case ["local"]:
                self._take(client.local(), is_ours=True)
            case ["depot", "local"]:
                self._take(client.depot(local=True), is_ours=True)
            case ["depot", *project] if len(project) < 2:
                self._take(client.depot(*project), is_ours=True)
            case [address] if "://" in address:
                self._take(client.connect(address), is_ours=True)
            case _:
                raise UsageError(
                    f"{' '.join(words)!r} is no builder.",
                    hint="%builder auto | local | depot [PROJECT] | depot local | ADDRESS such as tcp://host:1234 | "
                    "NAME of a variable that holds a client",
                )
        return self.get()

    def close(self) -> None:
        """Let go of the builder."""
        old, self._client = self._client, None
        if old is not None and self._is_ours:
            old.close()

    def _take(self, chosen: Client, *, is_ours: bool) -> None:
        if chosen is not self._client:
            self.close()
            self._is_ours = is_ours
        self._client = chosen
