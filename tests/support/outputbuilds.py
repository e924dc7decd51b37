"""Builds with outputs on this machine: ours below the verbs, and the same by `buildctl`."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from depotlab import export
from depotlab._local import install
from depotlab._rpc import Channel, Endpoint
from depotlab._session import FileSend, MemoryTree, Session
from depotlab.buildkit import SolveSpec, new_ref, solve
from depotlab.errors import DepotlabError
from depotlab.export import Artifact, Output
from depotlab.progress import Event

__all__ = ["OutputBuild", "buildctl"]


class OutputBuild:
    """One Dockerfile with outputs.

    Args:
        address: Of the daemon.
        dockerfile: As text.
        context: The directory to send, or nothing.
        attrs: Options of the frontend.

    Attributes:
        problems: What our side reported.
        response: The answer of Solve.
        received: The service, while and after a build.
    """

    def __init__(
        self,
        address: str,
        dockerfile: str,
        *,
        context: Path | None = None,
        attrs: Mapping[str, str] | None = None,
    ) -> None:
        self.address = address
        self.dockerfile = dockerfile
        self.context = context
        self.attrs = dict(attrs or {})
        self.problems: list[DepotlabError] = []
        self.response: dict[str, str] = {}

    def run(self, *outputs: Output, timeout_s: float = 100.0) -> tuple[Artifact, ...]:
        """Build, and return what became of the outputs that came here, in order."""
        return asyncio.run(self.build(*outputs, timeout_s=timeout_s))

    async def build(
        self,
        *outputs: Output,
        timeout_s: float = 100.0,
        on_events: Callable[[list[Event]], None] = lambda _: None,
    ) -> tuple[Artifact, ...]:
        """The same on a running loop; a task that is cancelled cancels the build and tidies up."""
        self.received = FileSend(export.destinations(outputs), report=self.problems.append)
        self.received.check()
        session = Session(
            {
                "context": self.context or MemoryTree({}),
                "dockerfile": MemoryTree({"Dockerfile": self.dockerfile}),
            },
            services=[self.received],
            problems=self.problems,
        )
        channel = Channel(Endpoint(self.address))
        try:
            async with asyncio.timeout(timeout_s):
                spec = SolveSpec(
                    new_ref(), frontend="dockerfile.v0", attrs=self.attrs, exporters=outputs
                )
                self.response = await solve(channel, spec, session, on_events)
            return tuple((await self.received.commit()).values())
        except BaseException as error:
            await self.received.discard(error)
            raise
        finally:
            await channel.close()


def buildctl(build: OutputBuild, folder: Path, *outputs: Output) -> list[Path]:
    """Run the same build by `buildctl`, with archives and directories below `folder`; return them.

    A directory that is there already is merged into. `buildctl` 0.32.2 may wait for ever when it receives some
    thousand files (it asks for all of them at once while the daemon sends), so give it fewer.
    """
    dockerfile = folder / "dockerfile"
    dockerfile.mkdir(exist_ok=True)
    (dockerfile / "Dockerfile").write_text(build.dockerfile)
    empty = folder / "empty"
    empty.mkdir(exist_ok=True)
    command = [
        str(install().buildctl.host_path),
        "--addr",
        build.address,
        "build",
        "--progress=plain",
    ]
    command += ["--frontend=dockerfile.v0", f"--local=dockerfile={dockerfile}"]
    command += [f"--local=context={build.context or empty}"]
    command += [f"--opt={key}={value}" for key, value in build.attrs.items()]
    paths = [folder / f"output {n}" for n in range(len(outputs))]
    for output, path in zip(outputs, paths, strict=True):
        attrs = "".join(f',"{key}={value}"' for key, value in output.attrs.items())
        command.append(f'--output=type={output.type},"dest={path}"{attrs}')
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return paths
