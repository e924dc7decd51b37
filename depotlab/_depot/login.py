"""Log in with a browser, once, as the official command line does, into the same file.

The server gives a URL for a person and an id for us; when the person has agreed, the waiting stream gives the token.
The file is the user's `depot.yaml`, which nobody else may read; what else is in it stays.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path

from depotlab._depot import methods
from depotlab._depot.address import DEFAULT_URL, check_token
from depotlab._depot.arguments import empty
from depotlab._depot.config import config_file
from depotlab._depot.connect import Connect
from depotlab._depot.errors import BadReply
from depotlab._depot.flatyaml import NotFlat, read_flat
from depotlab._depot.values import Organization, read_organization
from depotlab._proto import depot_clibeta_pb2 as beta
from depotlab._proto import depot_core_pb2 as core
from depotlab._values import Value
from depotlab.errors import ContextError, UsageError

__all__ = ["Login", "LoginBegun", "begin_login", "login", "logout", "write_login"]

_KEYS = ("api_token", "org_id")
_OURS = re.compile(r"""["']?(?:api_token|org_id)["']?\s*:""")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True, repr=False)
class Login(Value):
    """A login that was made. The token is in the file, and nowhere else.

    Attributes:
        host_path: The file.
        organization: Id of the organization that is used from now on, or empty.
        organizations: All that the user belongs to.
    """

    host_path: Path
    organization: str = ""
    organizations: tuple[Organization, ...] = ()

    def __repr__(self) -> str:
        names = {one.id: one.name for one in self.organizations}
        where = f" to {names.get(self.organization) or self.organization}" * bool(self.organization)
        return f"<logged in{where}; the token is in {self.host_path}>"


class LoginBegun:
    """A login that waits for a person. To be used on one event loop.

    Attributes:
        approve_url: What the person is to open.
    """

    def __init__(self, connect: Connect, login_id: str, approve_url: str) -> None:
        self.approve_url = approve_url
        self._connect = connect
        self._id = login_id

    async def finish(
        self,
        *,
        organization: str = "",
        timeout_s: float = 600.0,
        host_path: Path | None = None,
    ) -> Login:
        """Wait until the person has agreed, and keep the token; see `login`."""
        token = await _approved(self._connect, self._id, timeout_s)
        organizations = await _organizations(self._connect, token)
        if organization and organization not in {one.id for one in organizations}:
            raise UsageError(
                f"organization={organization!r} is none that you belong to.",
                hint=f"use one of {', '.join(f'{o.id} ({o.name})' for o in organizations)}",
            )
        if not organization and len(organizations) == 1:
            organization = organizations[0].id
        host_path = host_path or config_file()
        await asyncio.to_thread(write_login, host_path, token, organization)
        return Login(host_path, organization, organizations)

    def close(self) -> None:
        """Close the connection."""
        self._connect.close()


async def begin_login(base_url: str = DEFAULT_URL) -> LoginBegun:
    """Ask for a login; `close` what is returned.

    Raises:
        DepotError: The API cannot be reached, or does not let people log in.
    """
    connect = Connect(base_url)
    try:
        started = await connect.unary(methods.START_LOGIN, beta.StartLoginRequest())
        if not started.id or not started.approve_url.startswith(("https://", "http://")):
            raise empty("StartLogin", "URL")
    except BaseException:
        connect.close()
        raise
    return LoginBegun(connect, started.id, started.approve_url)


async def login(
    show: Callable[[str], None],
    *,
    organization: str = "",
    base_url: str = DEFAULT_URL,
    timeout_s: float = 600.0,
    host_path: Path | None = None,
) -> Login:
    """Let a person log in, and keep the token for this user of this computer.

    Args:
        show: Is given the URL that the person is to open.
        organization: Id of the one to use; left out, the only one if there is only one.
        base_url: Address of the API.
        timeout_s: How long the person may take.
        host_path: Where to keep it; None is where the official command line does.

    Raises:
        DeadlineExceeded: The person did not agree in time.
        UsageError: The person does not belong to this organization.
        ContextError: The file cannot be written.
    """
    begun = await begin_login(base_url)
    try:
        show(begun.approve_url)
        return await begun.finish(
            organization=organization, timeout_s=timeout_s, host_path=host_path
        )
    finally:
        begun.close()


def write_login(host_path: Path, token: str, organization: str = "") -> None:
    """Keep a token, and the organization if one is given, in a file that only this user may read.

    Raises:
        ContextError: It cannot be written, or what is there is not of a form that can be changed.
    """
    values = {"api_token": check_token(token), "org_id": check_token(organization)}
    try:
        host_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lines = _others(host_path)
        lines += [f"{key}: {_scalar(value)}" for key, value in values.items() if value]
        _replace(host_path, "\n".join((*lines, "")))
    except OSError as error:
        raise ContextError(
            f"{host_path} cannot be written: {error.strerror or error}.",
            path=str(host_path),
            hint="make its folder writable, or set DEPOT_TOKEN instead",
        ) from error


def logout(host_path: Path | None = None) -> bool:
    """Forget the token and the organization that are kept for this user; return whether there were any.

    The token itself stays good until it is deleted at Depot. What else is in the file stays.

    Raises:
        ContextError: The file cannot be changed.
    """
    host_path = host_path or config_file()
    try:
        before = host_path.read_text(encoding="utf-8")
        kept = _others(host_path)
        if len(kept) == len(before.splitlines()):
            return False
        if any(line.strip() for line in kept):
            _replace(host_path, "\n".join((*kept, "")))
        else:
            host_path.unlink()
    except FileNotFoundError:
        return False
    except UnicodeDecodeError:
        raise _unchangeable(host_path, "it is no text") from None
    except OSError as error:
        raise _unchangeable(host_path, (error.strerror or str(error)).lower()) from error
    return True


async def _approved(connect: Connect, login_id: str, timeout_s: float) -> str:
    request = beta.FinishLoginRequest(id=login_id)
    replies = connect.stream(methods.FINISH_LOGIN, [request], timeout_s=timeout_s)
    async with aclosing(replies):
        async for reply in replies:
            if not reply.token:
                break
            try:
                return check_token(reply.token)
            except UsageError:
                raise BadReply(
                    "FinishLogin: the answer cannot be used: its token is none.",
                    hint="report it to who runs the server",
                    code="internal",
                    method="FinishLogin",
                ) from None
    raise empty("FinishLogin", "token")


async def _organizations(connect: Connect, token: str) -> tuple[Organization, ...]:
    ours = connect.with_token(token)
    reply = await ours.unary(methods.LIST_ORGANIZATIONS, core.ListOrganizationsRequest())
    return tuple(map(read_organization, reply.organizations))


def _others(host_path: Path) -> list[str]:
    """The lines of the file that are not ours."""
    try:
        text = host_path.read_text(encoding="utf-8")
        read_flat(text, _KEYS)
        if text.lstrip().startswith(("{", "[")):
            raise NotFlat("it is JSON")
    except FileNotFoundError:
        return []
    except (NotFlat, UnicodeDecodeError) as error:
        why = str(error) if isinstance(error, NotFlat) else "it is no text"
        raise _unchangeable(host_path, why) from None
    return [line for line in text.splitlines() if not _OURS.match(line)]


def _unchangeable(host_path: Path, why: str) -> ContextError:
    return ContextError(
        f"{host_path} cannot be changed: {why}.",
        path=str(host_path),
        hint="delete it, and log in again",
    )


def _scalar(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else "'{}'".format(value.replace("'", "''"))


def _replace(host_path: Path, text: str) -> None:
    """Write a file anew, in one step; the temporary one is made with mode 0600."""
    descriptor, name = tempfile.mkstemp(prefix=".depot-", dir=host_path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(host_path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise
