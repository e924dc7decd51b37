"""The programs of OpenSSH at both ends of our agent service: `ssh-agent` behind it, `ssh-add` in front."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from depotlab._proto import sshforward_pb2
from depotlab._rpc import RpcFault
from depotlab._session import Ssh
from tests.support.calls import MemoryCall

__all__ = ["Step", "have_openssh", "run_agent", "step_socket", "write_key"]

PROGRAMS = ("ssh-add", "ssh-agent", "ssh-keygen")


def have_openssh() -> bool:
    return all(shutil.which(program) for program in PROGRAMS)


@contextlib.contextmanager
def run_agent() -> Iterator[Path]:
    """Run a `ssh-agent` and yield its socket."""
    with tempfile.TemporaryDirectory(prefix="dl-ssh-") as folder:
        path = Path(folder, "agent")
        agent = subprocess.Popen(
            ["ssh-agent", "-D", "-a", str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            deadline_s = time.monotonic() + 10
            while not path.exists():
                assert time.monotonic() < deadline_s, "ssh-agent did not start"
                time.sleep(0.01)
            yield path
        finally:
            agent.terminate()
            agent.wait(10)


def write_key(folder: Path, name: str, *options: str, passphrase: str = "") -> Path:
    """Let `ssh-keygen` write a key; return the private half, the other lies beside it."""
    path = folder / name
    command = ["ssh-keygen", "-q", "-N", passphrase, "-C", f"{name}@test", "-f", str(path)]
    subprocess.run([*command, *options], check=True, stdin=subprocess.DEVNULL)
    return path


@dataclass
class Step:
    """What a step has: a socket, and programs that use it.

    Attributes:
        host_socket: The socket.
        faults: How each connection ended, None for well.
    """

    host_socket: Path
    faults: list[RpcFault | None]

    async def run(self, *command: str, stdin: bytes = b"") -> tuple[int, str]:
        """Run a program with the socket as its agent; return its exit code and all that it printed."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "SSH_AUTH_SOCK": str(self.host_socket)},
        )
        output, _ = await asyncio.wait_for(process.communicate(stdin), 30)
        assert process.returncode is not None
        return process.returncode, output.decode()


@contextlib.asynccontextmanager
async def step_socket(service: Ssh, name: str = "default") -> AsyncIterator[Step]:
    """Do what the daemon does for a step: one `ForwardAgent` call for each connection to a socket."""
    handler = service.methods["/moby.sshforward.v1.SSH/ForwardAgent"]
    with tempfile.TemporaryDirectory(prefix="dl-ssh-") as folder:
        step = Step(Path(folder, "step"), [])
        connections: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            connections.add(task)
            call = MemoryCall({"buildkit.ssh.id": [name]})
            async with asyncio.TaskGroup() as tasks:
                serving = tasks.create_task(call.serve(handler))
                tasks.create_task(_upwards(reader, call))
                await _downwards(call, writer)
                writer.close()
                step.faults.append(await serving)

        server = await asyncio.start_unix_server(connected, step.host_socket)
        try:
            yield step
        finally:
            server.close()
            await asyncio.gather(*connections)


async def _upwards(reader: asyncio.StreamReader, call: MemoryCall) -> None:
    while data := await reader.read(32 << 10):
        call.deliver(sshforward_pb2.BytesMessage(data=data).SerializeToString())
    call.half_close()


async def _downwards(call: MemoryCall, writer: asyncio.StreamWriter) -> None:
    while (message := await call.take()) is not None:
        writer.write(sshforward_pb2.BytesMessage.FromString(message).data)
        await writer.drain()
