"""`ssh://` addresses: what they may be, and the command that connects through one.

Source: docker/cli `cli/connhelper/ssh/ssh.go`, moby/buildkit `client/connhelper/ssh/ssh.go`.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from depotlab.errors import UsageError

__all__ = ["SshAddress"]


@dataclass(frozen=True, slots=True)
class SshAddress:
    """Another computer, as `ssh` reaches it.

    Attributes:
        host: Name, address, or a `Host` of the user's ssh configuration; its case is kept.
        user: Empty for what the configuration says.
        port: As text, empty for what the configuration says.
        guest_socket: Path of a socket over there, or empty for the usual one.
    """

    host: str
    user: str = ""
    port: str = ""
    guest_socket: str = ""

    @classmethod
    def parse(cls, address: str) -> SshAddress:
        """Take `ssh://[user@]host[:port][/remote/socket]` apart.

        Raises:
            UsageError: It is something else, or holds a password.
        """
        url = urlsplit(address)
        login, at, place = url.netloc.rpartition("@")
        user, colon, _ = login.partition(":")
        if colon:
            raise UsageError(
                "An ssh:// address must not hold a password.",
                hint="use a key: ssh takes those of your agent and of ~/.ssh",
            )
        if place.startswith("["):
            host, _, rest = place[1:].partition("]")
            port = rest.removeprefix(":")
        else:
            host, _, port = place.partition(":")
        path = unquote(url.path)
        wrong = ""
        if url.scheme != "ssh" or not host or host.startswith("-") or (at and not user):
            wrong = "it needs a host"
        elif (port and not port.isascii()) or (port and not port.isdigit()):
            wrong = "its port is no number"
        elif url.query or url.fragment:
            wrong = "nothing may follow the path"
        elif not (host + unquote(user) + path).isprintable():
            wrong = "it has a character that cannot be shown"
        if wrong:
            raise UsageError(
                f"{address!r} is not an address for ssh: {wrong}.",
                hint="write ssh://user@host, ssh://user@host:2222 or ssh://host/remote/socket",
            )
        return cls(host, unquote(user), port, path if path.strip("/") else "")

    def argv(self, *remote: str, options: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the command that runs `remote` over there.

        The words are quoted: ssh joins them with spaces, and a shell reads them on the other side.
        """
        argv = ["ssh"]
        if self.user:
            argv += ["-l", self.user]
        if self.port:
            argv += ["-p", self.port]
        return (*argv, *options, "--", self.host, *(shlex.quote(word) for word in remote))
