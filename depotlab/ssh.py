"""SSH agents for a build: steps and git sources sign with keys that stay on this machine.

    bk.build(app, ssh=ssh.agent())                            # the agent of this user, as `default`
    bk.build(app, ssh={"deploy": ssh.keys("~/.ssh/deploy")})  # an agent for one key, as `deploy`

A step that mounts one (`mount.ssh("deploy")`) sees the socket of an agent that lists keys and signs, and
refuses everything else. Nothing is read or connected to before the build starts.

Source: moby/buildkit `session/sshforward/sshprovider/agentprovider.go`.
"""

from __future__ import annotations

import os
import socket as sockets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from depotlab._values import Value
from depotlab.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    PrivateKey: TypeAlias = Ed25519PrivateKey | RSAPrivateKey | EllipticCurvePrivateKey

__all__ = ["DEFAULT_ID", "MAX_KEY_BYTES", "Agent", "Key", "agent", "check_all", "keys"]

DEFAULT_ID: Final = "default"
"""The id of the agent that steps get when they name none."""

MAX_KEY_BYTES: Final = 100 * 1024
"""The most that a private key may have as text. The Go client reads as much."""

_CONNECT_S = 2.0
_CURVES = frozenset(("secp256r1", "secp384r1", "secp521r1"))


@dataclass(frozen=True, slots=True, repr=False)
class Key(Value):
    """A private key that has been read.

    Attributes:
        name: The file's name, without its directory; steps see it when they list the keys.
        private: The key, ready to sign.
    """

    name: str
    private: PrivateKey

    def __repr__(self) -> str:
        return f"<ssh key {self.name!r}>"


@dataclass(frozen=True, slots=True, repr=False)
class Agent(Value):
    """What signs for a build: the socket of an agent, or private keys. Keys are never shown.

    Made by `agent` and `keys`.

    Attributes:
        host_socket: The socket, or None: that of `SSH_AUTH_SOCK` unless there are keys.
        sources: Keys to be read: files, or PEM text.
        keys: Keys that have been read.
    """

    host_socket: Path | None = None
    sources: tuple[Path | bytes, ...] = ()
    keys: tuple[Key, ...] = ()
    _passphrase: bytes | None = field(default=None, repr=False)

    def check(self) -> Agent:
        """Read the keys, or see that an agent answers; return an agent that is ready to be used.

        Raises:
            UsageError: There is no agent, a file is no private key that SSH knows, or the passphrase is missing
                or wrong.
            MissingExtra: A key is encrypted in the format of OpenSSH, and the package `bcrypt` is missing.
        """
        if self.sources:
            found = tuple(
                _load(source, number, self._passphrase)
                for number, source in enumerate(self.sources, start=1)
            )
            return replace(self, sources=(), keys=(*self.keys, *found), _passphrase=None)
        if self.keys:
            return self
        host_socket = self.host_socket or _own_socket()
        _connect(host_socket)
        return replace(self, host_socket=host_socket)

    def __repr__(self) -> str:
        if self.sources or self.keys:
            names = [s.name if isinstance(s, Path) else "PEM text" for s in self.sources]
            return f"<ssh keys {', '.join([*(key.name for key in self.keys), *names])}>"
        return f"<ssh agent at {str(self.host_socket or '$SSH_AUTH_SOCK')!r}>"


def agent(socket: str | os.PathLike[str] | None = None) -> Agent:
    """Use an SSH agent that runs on this machine. Steps can list its keys and sign with them, no more.

    Args:
        socket: Its socket; relative to the working directory of this call, `~` is the user's home. That of
            `SSH_AUTH_SOCK` when the build starts, if not given.

    Raises:
        UsageError: This is no path.

    Example:
        >>> agent("/run/agent.sock")
        <ssh agent at '/run/agent.sock'>
    """
    return Agent(None if socket is None else _as_path("ssh.agent()", socket))


def keys(
    *paths_or_pem: str | os.PathLike[str] | bytes, passphrase: str | bytes | None = None
) -> Agent:
    """Use private keys, without an agent: ed25519, RSA, or ECDSA on a NIST curve.

    Args:
        paths_or_pem: Files, or the text of keys, in the formats of OpenSSH and PEM (PKCS #1, PKCS #8, SEC 1), of
            at most `MAX_KEY_BYTES` each. Bytes, and text with a line `-----BEGIN`, are keys; other text is a path.
        passphrase: Of those that are encrypted.

    Raises:
        UsageError: There are no keys, or this is neither a path nor a key.
    """
    if not paths_or_pem:
        raise UsageError(
            "ssh.keys() needs at least one private key.",
            hint="for example ssh.keys('~/.ssh/id_ed25519'); for a running agent write ssh.agent()",
        )
    if passphrase is not None and not isinstance(passphrase, str | bytes):
        raise UsageError(
            f"passphrase= takes text, not {type(passphrase).__name__}.",
            hint="for example passphrase=getpass.getpass()",
        )
    sources = tuple(_as_source(one) for one in paths_or_pem)
    secret = passphrase.encode("utf-8", "ignore") if isinstance(passphrase, str) else passphrase
    return Agent(sources=sources, _passphrase=secret or None)


def check_all(given: Agent | Mapping[str, Agent] | None) -> dict[str, Agent]:
    """Make all agents of a build ready, so that nothing is sent if one is missing.

    Args:
        given: One agent, which is the default one, or agents by id; an empty id is the default one.

    Returns:
        Agents by id, with their keys read.

    Raises:
        UsageError: Naming the first id whose agent cannot be used.
    """
    agents = {DEFAULT_ID: given} if isinstance(given, Agent) else given
    if agents is not None and not isinstance(agents, Mapping):
        raise UsageError(
            f"ssh= takes an agent, or a dictionary of agents by id, not {type(given).__name__}.",
            hint="for example ssh=ssh.agent(), or ssh={'deploy': ssh.keys('~/.ssh/deploy')}",
        )
    checked: dict[str, Agent] = {}
    for name, one in (agents or {}).items():
        if not isinstance(name, str) or not isinstance(one, Agent):
            wrong = one if isinstance(name, str) else name
            raise UsageError(
                f"ssh= takes agents by id, not {type(wrong).__name__}.",
                hint="make one with ssh.agent() or ssh.keys('~/.ssh/id_ed25519')",
            )
        if (name or DEFAULT_ID) in checked:
            raise UsageError("ssh= has two default agents.", hint="leave one of them out")
        try:
            checked[name or DEFAULT_ID] = one.check()
        except MissingExtra:
            raise
        except UsageError as error:
            raise UsageError(
                f"The SSH agent {name or DEFAULT_ID!r} cannot be used. {error.message}",
                hint=error.hint,
            ) from error.__cause__
    return checked


# --------------------------------------------------------------------------------- agents


def _own_socket() -> Path:
    found = os.environ.get("SSH_AUTH_SOCK", "")
    if not found:
        raise UsageError(
            "SSH_AUTH_SOCK is not set: no SSH agent runs for this process.",
            hint="start ssh-agent and add a key, or name a key: ssh.keys('~/.ssh/id_ed25519')",
        )
    return Path(found)


def _connect(host_socket: Path) -> None:
    """See that somebody listens."""
    try:
        if stat.S_ISSOCK(host_socket.stat().st_mode):
            with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
                probe.settimeout(_CONNECT_S)
                probe.connect(str(host_socket))
            return
        reason, hint = "it is no socket", "for the file of a private key write ssh.keys(...)"
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        hint = "start ssh-agent, or name a key: ssh.keys('~/.ssh/id_ed25519')"
    raise UsageError(f"No SSH agent answers at {host_socket}: {reason}.", hint=hint)


# ----------------------------------------------------------------------------------- keys


def _as_source(given: str | os.PathLike[str] | bytes) -> Path | bytes:
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given)
    if isinstance(given, str) and ("-----BEGIN" in given or "\n" in given):
        return given.encode("utf-8", "replace")
    return _as_path("ssh.keys()", given)


def _as_path(call: str, given: str | os.PathLike[str]) -> Path:
    plain = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if not isinstance(plain, str) or not plain or "\0" in plain or not _names_a_file(plain):
        raise UsageError(
            f"{call} takes a path, not {type(given).__name__ if plain is None else repr(plain)}.",
            hint="for example ssh.agent('/run/agent.sock') or ssh.keys('~/.ssh/id_ed25519')",
        )
    return Path(os.path.expanduser(plain)).absolute()  # noqa: PTH111 - this one never raises


def _names_a_file(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def _load(source: Path | bytes, number: int, passphrase: bytes | None) -> Key:
    """Read one key; `number` counts the arguments, for messages about text."""
    if isinstance(source, Path):
        return Key(source.name, _parse(_read(source), str(source), passphrase))
    place = f"The text of key {number}"
    if len(source) > MAX_KEY_BYTES:
        raise _too_long(place)
    return Key(f"key {number}", _parse(source, place, passphrase))


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_open_at_once) as stream:
            if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                data = stream.read(MAX_KEY_BYTES + 1)
                if len(data) > MAX_KEY_BYTES:
                    raise _too_long(str(path))
                return data
            reason = "it is not a regular file"
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        if stat.S_ISSOCK(_mode(path)):
            reason = "it is a socket"
    raise UsageError(
        f"The private key {path} cannot be read: {reason}.",
        hint="check the path and its permissions; for the socket of an agent write ssh.agent(...)",
    )


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting: a pipe would wait for somebody who writes."""
    return os.open(path, flags | os.O_NONBLOCK)


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _too_long(place: str) -> UsageError:
    return UsageError(
        f"{place} is longer than {MAX_KEY_BYTES // 1024} KiB: this is no private key.",
        hint="name the file that ssh-keygen wrote, such as ~/.ssh/id_ed25519",
    )


def _parse(data: bytes, place: str, passphrase: bytes | None) -> PrivateKey:
    """Return the private key in a text. No error has anything of the text."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    is_openssh = b"-----BEGIN OPENSSH PRIVATE KEY-----" in data
    if not is_openssh and not (b"-----BEGIN" in data and b"PRIVATE KEY-----" in data):
        raise UsageError(f"{place} is no private key.", hint=_hint_for(data))
    found, problem = _decode(data, None, is_openssh=is_openssh)
    if problem == "TypeError":  # it is encrypted
        if passphrase is None:
            raise UsageError(
                f"{place} is encrypted.",
                hint="give its passphrase, ssh.keys(..., passphrase=getpass.getpass()), or use ssh.agent()",
            )
        if is_openssh:
            _need_bcrypt()
        found, problem = _decode(data, passphrase, is_openssh=is_openssh)
        if problem in ("ValueError", "InvalidTag"):
            raise UsageError(
                f"{place} cannot be decrypted: the passphrase is wrong, or the file is damaged.",
                hint="try `ssh-keygen -y -f FILE` with the same passphrase",
            )
    if isinstance(found, ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        return found
    if isinstance(found, ec.EllipticCurvePrivateKey) and found.curve.name in _CURVES:
        return found
    if problem == "ValueError":
        raise UsageError(
            f"{place} is damaged: it begins like a private key, but cannot be read.",
            hint="copy it again, with all its lines",
        )
    raise UsageError(
        f"{place} is a key of a kind that cannot be used here.",
        hint="use ed25519, RSA or ECDSA (NIST); for keys on a device start ssh-agent and use ssh.agent()",
    )


def _decode(data: bytes, passphrase: bytes | None, *, is_openssh: bool) -> tuple[object, str]:
    """Return the key, or None and the class of what went wrong: its text might quote the key."""
    from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import (
        load_pem_private_key,
        load_ssh_private_key,
    )

    load = load_ssh_private_key if is_openssh else load_pem_private_key
    try:
        return load(data, passphrase), ""
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidTag) as error:
        kinds = (ValueError, TypeError, UnsupportedAlgorithm, InvalidTag)
        return None, next(kind.__name__ for kind in kinds if isinstance(error, kind))


def _need_bcrypt() -> None:
    try:
        import bcrypt  # noqa: F401 - cryptography imports it for this format
    except ImportError:
        raise MissingExtra("Reading an encrypted OpenSSH key", extra="ssh") from None


def _hint_for(data: bytes) -> str:
    if data.startswith((b"ssh-", b"ecdsa-", b"sk-")):
        return "this is a public key: name the file without .pub"
    if data.startswith(b"PuTTY-User-Key-File"):
        return "convert it with: puttygen KEY.ppk -O private-openssh -o id_key"
    return "name the file that ssh-keygen wrote, such as ~/.ssh/id_ed25519"


# Other rooms of ours take these; nobody has to type them.
_FOR_ROOMS = ("check_all",)


def __dir__() -> list[str]:
    return sorted(set(__all__).difference(_FOR_ROOMS))
