"""Which certificate a connection to the gate is shown: the client says which machine it wants, by the server name.

The names of machines are not told to who does not know them: until a client has said a name, it is shown nothing.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from weakref import WeakKeyDictionary

__all__ = ["Names"]


class Names:
    """Which certificate answers to which name, and what each connection asked for.

    Args:
        find: Returns the context of a name, or None when there is no such machine.
        unnamed: Answers until the client has said a name; its certificate is never shown.
    """

    def __init__(
        self, find: Callable[[str], ssl.SSLContext | None], unnamed: ssl.SSLContext
    ) -> None:
        self._find = find
        self._asked: WeakKeyDictionary[ssl.SSLObject, str] = WeakKeyDictionary()
        self.context = unnamed
        unnamed.sni_callback = self._choose

    def asked_by(self, connection: ssl.SSLObject) -> str:
        """Return the name that a connection asked for; there is one once the handshake is over."""
        return self._asked[connection]

    def _choose(
        self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext
    ) -> ssl.AlertDescription | None:
        found = self._find(name or "")
        if found is None:
            return ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        self._asked[connection] = name or ""
        connection.context = found
        return None
