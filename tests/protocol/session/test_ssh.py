"""The SSH service between the programs of OpenSSH, and against peers that misbehave."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from depotlab import ssh
from depotlab._proto import sshforward_pb2
from depotlab._rpc import RpcFault, Status
from depotlab._session import Ssh
from depotlab._session.sshagent import MAX_FRAME_BYTES, frame
from depotlab.errors import DepotlabError, SessionError
from tests.conftest import unavailable
from tests.support.calls import MemoryCall, ask_once
from tests.support.sshkeys import pem
from tests.support.sshpeers import have_openssh, run_agent, step_socket, write_key

KINDS = [
    pytest.param("ed25519", (), id="ed25519"),
    pytest.param("rsa", ("-b", "2048"), id="rsa"),
    pytest.param("ecdsa", ("-b", "256"), id="ecdsa-256"),
    pytest.param("ecdsa", ("-b", "384"), id="ecdsa-384"),
    pytest.param("ecdsa", ("-b", "521"), id="ecdsa-521"),
]
LIST = frame(b"\x0b")
FAILURE = frame(b"\x05")


@pytest.fixture(autouse=True)
def openssh() -> None:
    if not have_openssh():
        unavailable("the programs of openssh-client are not installed")


class Service(Ssh):
    """The service, and what it reports."""

    def __init__(self, agents: dict[str, ssh.Agent]) -> None:
        self.problems: list[DepotlabError] = []
        super().__init__(agents, report=self.problems.append)


def run(main: Awaitable[Any]) -> Any:
    async def limited() -> Any:
        async with asyncio.timeout(60):
            return await main

    return asyncio.run(limited())


def run_step(
    service: Service, *commands: tuple[str, ...], name: str = "default"
) -> list[tuple[int, str]]:
    """Run programs in one step after the other; every connection must end well."""

    async def main() -> list[tuple[int, str]]:
        async with step_socket(service, name) as step:
            answers = [await step.run(*command) for command in commands]
        assert set(step.faults) == {None}, step.faults
        return answers

    found: list[tuple[int, str]] = run(main())
    return found


# --------------------------------------------------------------------- keys in memory


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_ssh_add_lists_and_verifies_a_key_that_ssh_keygen_wrote(
    tmp_path: Path, kind: str, options: tuple[str, ...]
) -> None:
    key = write_key(tmp_path, "id_key", "-t", kind, *options)
    public = key.with_suffix(".pub")
    listed, verified = run_step(
        Service({"default": ssh.keys(key)}),
        ("ssh-add", "-L"),
        ("ssh-add", "-v", "-T", str(public)),  # signs, and verifies with the public half
    )
    kind_and_blob = public.read_text().split()[:2]
    assert listed == (0, f"{' '.join(kind_and_blob)} id_key\n")
    assert verified[0] == 0, verified


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_ssh_keygen_signs_a_file_that_anybody_can_verify(
    tmp_path: Path, kind: str, options: tuple[str, ...]
) -> None:
    key = write_key(tmp_path, "id_key", "-t", kind, *options)
    (tmp_path / "file").write_bytes(b"content" * 10_000)
    public = key.with_suffix(".pub")
    (tmp_path / "allowed").write_text(f"me {public.read_text()}")
    # Given the public half only, ssh-keygen asks the agent.
    alone = tmp_path / "alone.pub"
    alone.write_text(public.read_text())
    sign = ("ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(alone), str(tmp_path / "file"))
    ((code, output),) = run_step(Service({"default": ssh.keys(key)}), sign)
    assert code == 0, output

    async def verify() -> tuple[int, str]:
        async with step_socket(Service({})) as step:
            return await step.run(
                "ssh-keygen", "-Y", "verify", "-n", "file", "-I", "me",
                "-f", str(tmp_path / "allowed"), "-s", str(tmp_path / "file.sig"),
                stdin=(tmp_path / "file").read_bytes(),
            )  # fmt: skip

    code, output = run(verify())
    assert code == 0, output
    assert "Good" in output


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("ed25519", "RFC4716"),
        ("rsa", "PEM"),
        ("rsa", "PKCS8"),
        ("ecdsa", "PEM"),
        ("ecdsa", "PKCS8"),
    ],
)
def test_keys_that_ssh_keygen_encrypted_are_read(tmp_path: Path, kind: str, form: str) -> None:
    key = write_key(tmp_path, "id_key", "-t", kind, "-m", form, passphrase="open sesame")
    service = Service({"default": ssh.keys(key, passphrase="open sesame")})
    (verified,) = run_step(service, ("ssh-add", "-T", str(key.with_suffix(".pub"))))
    assert verified[0] == 0, verified


def test_several_agents_are_told_apart(tmp_path: Path) -> None:
    first = write_key(tmp_path, "first", "-t", "ed25519")
    second = write_key(tmp_path, "second", "-t", "ed25519")
    service = Service({"default": ssh.keys(first, second), "deploy": ssh.keys(second)})
    for name, names in (("", ["first", "second"]), ("deploy", ["second"])):
        ((code, listed),) = run_step(service, ("ssh-add", "-L"), name=name)
        assert code == 0
        assert [line.split()[2] for line in listed.splitlines()] == names


# --------------------------------------------------------------- an agent on this machine


@pytest.fixture
def agent_socket() -> Iterator[Path]:
    with run_agent() as path:
        yield path


def use(agent_socket: Path) -> Service:
    return Service({"default": ssh.agent(agent_socket)})


@pytest.fixture
def held(agent_socket: Path, tmp_path: Path) -> Path:
    """A key that the agent holds."""
    key = write_key(tmp_path, "id_held", "-t", "ed25519")
    environment = {**os.environ, "SSH_AUTH_SOCK": str(agent_socket)}
    subprocess.run(["ssh-add", "-q", str(key)], check=True, env=environment)
    return key


def test_a_real_agent_lists_and_signs_through_us(agent_socket: Path, held: Path) -> None:
    public = held.with_suffix(".pub")
    listed, verified = run_step(
        use(agent_socket), ("ssh-add", "-L"), ("ssh-add", "-T", str(public))
    )
    assert listed == (0, public.read_text())
    assert verified[0] == 0, verified


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("ssh-add", "-D"), id="remove all"),
        pytest.param(("ssh-add", "-d", "{public}"), id="remove one"),
        pytest.param(("ssh-add", "{other}"), id="add"),
        pytest.param(("ssh-add", "-t", "60", "{other}"), id="add for a time"),
    ],
)
def test_a_step_cannot_change_the_agent(
    agent_socket: Path, held: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    other = write_key(tmp_path, "other", "-t", "ed25519")
    public = held.with_suffix(".pub")
    filled = tuple(word.format(public=public, other=other) for word in command)
    changed, listed = run_step(use(agent_socket), filled, ("ssh-add", "-L"))
    assert changed[0] != 0
    assert listed == (0, public.read_text())


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(b"\x16" + struct.pack(">I", 2) + b"pw", id="lock"),
        pytest.param(b"\x17" + struct.pack(">I", 2) + b"pw", id="unlock"),
        pytest.param(b"\x13", id="remove all"),
        pytest.param(b"\x1b" + struct.pack(">I", 5) + b"query", id="extension"),
        pytest.param(b"\x01", id="version 1"),
        pytest.param(b"\x14" + struct.pack(">II", 0, 0), id="smart card"),
        pytest.param(b"\xff", id="unknown"),
    ],
)
def test_everything_but_list_and_sign_is_refused_here(
    agent_socket: Path, held: Path, request_: bytes
) -> None:
    for agent in (ssh.agent(agent_socket), ssh.keys(held)):
        service = Service({"default": agent})
        # In one go with requests that are answered: each gets its own answer, in order.
        answers = run(talk(service, LIST + frame(request_) + LIST))
        listed = answers[: 4 + struct.unpack_from(">I", answers)[0]]
        assert listed[4] == 12
        assert answers == listed + FAILURE + listed


async def talk(service: Service, *chunks: bytes, name: str = "default") -> bytes:
    """Send bytes on one connection, then end it; return all that came back."""
    handler = service.methods["/moby.sshforward.v1.SSH/ForwardAgent"]
    call = MemoryCall({"buildkit.ssh.id": [name]}, high_water_bytes=1 << 30)
    for chunk in chunks:
        call.deliver(sshforward_pb2.BytesMessage(data=chunk).SerializeToString())
    call.half_close()
    fault = await call.serve(handler)
    if fault is not None:
        raise fault
    out = b""
    while (message := await call.take()) is not None:
        assert len(message) <= (32 << 10) + 16
        data = sshforward_pb2.BytesMessage.FromString(message).data
        assert data, "an empty chunk"
        out += data
    return out


def test_connections_do_not_wait_for_each_other(agent_socket: Path, held: Path) -> None:
    public = held.with_suffix(".pub")
    service = use(agent_socket)

    async def main() -> None:
        async with step_socket(service) as step:
            reader, writer = await asyncio.open_unix_connection(step.host_socket)  # says nothing
            answers = await asyncio.gather(
                *(step.run("ssh-add", "-T", str(public)) for _ in range(12))
            )
            assert [code for code, _ in answers] == [0] * 12
            writer.write(LIST[:3])
            writer.write_eof()  # in the middle of a request
            assert await reader.read() == b""
            writer.close()
        assert step.faults == [None] * 13

    run(main())
    assert service.problems == []


# --------------------------------------------------------------------- CheckAgent, unknown ids


async def check(service: Service, name: str) -> None:
    request = sshforward_pb2.CheckAgentRequest(ID=name).SerializeToString()
    answer = await ask_once(service.methods["/moby.sshforward.v1.SSH/CheckAgent"], request)
    assert answer == b""


def test_check_agent_knows_what_was_given() -> None:
    service = Service({"": ssh.keys(pem("ed25519")), "deploy": ssh.keys(pem("rsa"))})
    for name in ("", "default", "deploy"):
        run(check(service, name))


@pytest.mark.parametrize("asked", [check, lambda service, name: talk(service, LIST, name=name)])
def test_an_agent_that_was_not_given_is_not_there(
    asked: Callable[[Service, str], Awaitable[Any]],
) -> None:
    service = Service({"deploy": ssh.keys(pem("ed25519"))})
    for name in ("", "other"):
        with pytest.raises(RpcFault, match=name or "default") as caught:
            run(asked(service, name))
        assert caught.value.status is Status.NOT_FOUND
    assert service.problems == []  # a mount may be optional


# ----------------------------------------------------------------------- peers that misbehave


@pytest.mark.parametrize("length", [0, MAX_FRAME_BYTES + 1, 2**32 - 1])
def test_a_step_that_announces_too_much_is_cut_off(length: int) -> None:
    service = Service({"default": ssh.keys(pem("ed25519"))})
    with pytest.raises(RpcFault, match="a message of") as caught:
        run(talk(service, LIST + struct.pack(">I", length)))
    assert caught.value.status is Status.INVALID_ARGUMENT


def test_a_long_request_is_signed_however_it_is_cut(held: Path) -> None:
    service = Service({"default": ssh.keys(held)})
    listed = run(talk(service, LIST))
    (length,) = struct.unpack_from(">I", listed, 9)
    blob = listed[13 : 13 + length]
    data = bytes(200_000)
    body = (
        b"\x0d"
        + struct.pack(">I", len(blob))
        + blob
        + struct.pack(">I", len(data))
        + data
        + bytes(4)
    )
    request = frame(body)
    whole = run(talk(service, request))
    assert whole[4] == 14
    pieces = [request[at : at + 7001] for at in range(0, len(request), 7001)]
    assert run(talk(service, *pieces)) == whole  # ed25519 signs the same twice


class FakeAgent:
    """An agent that answers every request with the same bytes, then closes if it is told to."""

    def __init__(self, answer: bytes | None, *, closes: bool = False) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="dl-ssh-")
        self.path = Path(self.folder.name, "agent")
        self.n_asked = 0
        self._answer = answer
        self._closes = closes
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        self.folder.cleanup()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                while connection.recv(1 << 20):
                    self.n_asked += 1
                    if self._answer is not None:
                        connection.sendall(self._answer)
                    if self._closes:
                        break


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(None, "closed the connection", id="says nothing"),
        pytest.param(LIST[:3], "closed the connection", id="half a length"),
        pytest.param(struct.pack(">I", 100) + b"x", "closed the connection", id="half an answer"),
        pytest.param(struct.pack(">I", 2**31), "a message of", id="endless"),
        pytest.param(struct.pack(">I", 0), "a message of", id="empty"),
    ],
)
def test_an_agent_that_breaks_its_protocol_is_reported(answer: bytes | None, reason: str) -> None:
    with FakeAgent(answer, closes=True) as fake:
        service = Service({"default": ssh.agent(fake.path)})
        with pytest.raises(RpcFault) as caught:
            run(talk(service, LIST))
    (problem,) = service.problems
    assert isinstance(problem, SessionError)
    assert caught.value.status is Status.UNAVAILABLE
    assert caught.value.message == problem.message
    assert reason in problem.message
    assert problem.path == str(fake.path)
    assert "ssh-add -l" in problem.hint


def test_an_agent_that_is_gone_when_the_step_runs_is_reported() -> None:
    with FakeAgent(b"") as fake:
        service = Service({"default": ssh.agent(fake.path)})
    with pytest.raises(RpcFault):
        run(talk(service, LIST))
    (problem,) = service.problems
    assert "no such file" in problem.message


def test_what_is_refused_never_reaches_the_agent() -> None:
    with FakeAgent(FAILURE) as fake:
        service = Service({"default": ssh.agent(fake.path)})
        assert run(talk(service, frame(b"\x13") + frame(b"\x16abcd"))) == FAILURE * 2
        assert fake.n_asked == 0


def test_a_step_that_does_not_read_holds_up_the_agent_and_not_our_memory() -> None:
    answer = frame(b"\x0c" + bytes(200_000))
    with FakeAgent(answer) as fake:
        service = Service({"default": ssh.agent(fake.path)})

        async def main() -> int:
            call = MemoryCall({"buildkit.ssh.id": [""]}, high_water_bytes=100_000)
            call.deliver(*[sshforward_pb2.BytesMessage(data=LIST).SerializeToString()] * 500)
            call.half_close()
            handler = service.methods["/moby.sshforward.v1.SSH/ForwardAgent"]
            serving = asyncio.create_task(call.serve(handler))
            n_bytes = 0
            while n_bytes < 500 * len(answer):
                message = await call.take()
                assert message is not None
                n_bytes += len(sshforward_pb2.BytesMessage.FromString(message).data)
            assert await serving is None
            return call.peak_bytes

        assert run(main()) < 200_000


def test_a_cancelled_call_lets_go_of_the_agent() -> None:
    closed = threading.Event()

    with tempfile.TemporaryDirectory(prefix="dl-ssh-") as folder:
        path = Path(folder, "agent")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()
            service_agent = ssh.agent(path)

            def serve() -> None:
                server.accept()[0].close()  # the probe of check()
                connection, _ = server.accept()
                with connection:
                    while connection.recv(1000):
                        asked.set()  # and never answers, as one that waits for its user
                closed.set()

            asked = threading.Event()
            thread = threading.Thread(target=serve)
            thread.start()
            service = Service({"default": service_agent})

            async def main() -> None:
                talking = asyncio.create_task(talk(service, LIST))
                await asyncio.to_thread(asked.wait, 10)
                talking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await talking

            run(main())
            assert closed.wait(60)
            thread.join()
    assert service.problems == []
