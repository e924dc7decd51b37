"""One daemon and the builds on it. Every coroutine here runs on the I/O thread."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from depotlab._rpc import Channel, Endpoint
from depotlab._session import Credentials, MemoryTree, Session
from depotlab._verbs.request import BuildRequest, check_locals
from depotlab.buildkit import (
    Bridge,
    DaemonInfo,
    SolveSpec,
    Worker,
    daemon_info,
    list_workers,
    new_ref,
    solve,
)
from depotlab.errors import BuildCanceled, BuildTimeout, ContextError, StepFailed
from depotlab.frontend import Dockerfile
from depotlab.llb import (
    Definition,
    ImageConfig,
    Platform,
    State,
    mkfile,
    scratch,
    unresolved,
)
from depotlab.progress import BuildEnded, BuildStarted, Fold, Phase

__all__ = ["Answer", "Builder"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a build came to.

    Attributes:
        ref: The name of the build on the daemon.
        response: The daemon's answer by key.
        definition: The graph that was sent, None for a Dockerfile.
    """

    ref: str
    response: Mapping[str, str]
    definition: Definition | None


class Builder:
    """A connection to one daemon that builds over it.

    Args:
        endpoint: Where the daemon is.
        auth: Credentials given in code, for all builds.
        where: What views call the daemon; its address when left out.
    """

    def __init__(
        self, endpoint: Endpoint, auth: Mapping[str, Credentials], *, where: str = ""
    ) -> None:
        self.endpoint = endpoint
        self.where = where or endpoint.address
        self._auth = auth
        self._channel: Channel | None = None
        self._workers: tuple[Worker, ...] = ()

    async def connect(self, *, timeout_s: float = 10.0) -> Channel:
        """Return the open connection, made or repaired when needed.

        Raises:
            Unreachable: With the reason.
        """
        if self._channel is None:
            self._channel = Channel(self.endpoint)
        await self._channel.ready(timeout_s=timeout_s)
        return self._channel

    async def info(self) -> DaemonInfo:
        """Ask for the version."""
        return await daemon_info(await self.connect())

    async def workers(self) -> tuple[Worker, ...]:
        """List the workers, the default one first."""
        return await list_workers(await self.connect())

    async def platform(self, channel: Channel) -> str:
        """The platform that the daemon builds for when nobody says: its first worker's native one."""
        if not self._workers:
            self._workers = await list_workers(channel)
        return next(iter(self._workers[0].platforms), "linux/amd64")

    async def close(self) -> None:
        """Close the connection; running builds end."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def build(self, request: BuildRequest, fold: Fold) -> Answer:
        """Run one build, feeding `fold`; the fold always gets its end event.

        Raises:
            BuildTimeout: `timeout_s` is over; the build was cancelled on the daemon.
            DepotlabError: The build failed.
        """
        fold.feed([BuildStarted(time.time_ns(), request.title, self.where)])
        try:
            async with asyncio.timeout(request.timeout_s) as limit:
                answer = await self._build(request, fold)
        except TimeoutError:
            if not limit.expired():
                raise
            assert request.timeout_s is not None
            error = BuildTimeout(
                f"The build took longer than {request.timeout_s:g} s and was cancelled.",
                timeout_s=request.timeout_s,
                hint="finished steps are in the cache; raise timeout_s= and build again",
            )
            _end(fold, Phase.CANCELED, error.message)
            raise error from None
        except asyncio.CancelledError:
            _end(fold, Phase.CANCELED)
            raise
        except BuildCanceled as error:
            _end(fold, Phase.CANCELED, error.message)
            raise
        except StepFailed as error:
            _complete(error, fold)
            _end(fold, Phase.FAILED)  # the failed step says it all
            raise
        except Exception as error:
            _end(fold, Phase.FAILED, str(error).splitlines()[0] if str(error) else repr(error))
            raise
        _end(fold, Phase.SUCCEEDED)
        return answer

    async def _build(self, request: BuildRequest, fold: Fold) -> Answer:
        if isinstance(request.target, Dockerfile):
            return await self._build_dockerfile(request, request.target, fold)
        return await self._build_graph(request, request.target, fold)

    def _session(self, request: BuildRequest, folders: Mapping[str, Path | MemoryTree]) -> Session:
        return Session(folders, auth={**self._auth, **request.auth})

    async def _build_graph(self, request: BuildRequest, state: State, fold: Fold) -> Answer:
        """Build a graph as our own frontend: resolve image configurations, solve, return."""
        unique_id = secrets.token_hex(13)
        channel = await self.connect()
        platform = Platform.parse(request.platform or await self.platform(channel))

        def marshal(graph: State) -> Definition:
            return graph.marshal(
                platform,
                local_unique_id=unique_id,
                ignore_cache=request.no_cache,
                source="calls",
            )

        # What is impossible is found here, before anything is sent.
        plan = marshal(state)
        check_locals(plan.locals)
        sent: list[Definition] = []

        async def run(bridge: Bridge) -> None:
            wanted = unresolved(state, platform)
            found = await asyncio.gather(
                *(bridge.resolve_image(image.ref, str(image.platform)) for image in wanted)
            )
            configs: dict[tuple[str, Platform | None], ImageConfig] = {
                image: ImageConfig.from_json(answer.config)
                for image, answer in zip(wanted, found, strict=True)
            }
            # Pinned, so that the layers are those that the configuration belongs to.
            digests: dict[tuple[str, Platform | None], str] = {
                image: answer.digest for image, answer in zip(wanted, found, strict=True)
            }
            graph = state.resolved(configs, platform=platform, digests=digests)
            definition = marshal(graph)
            sent.append(definition)
            ref = await bridge.solve(definition.to_bytes()) if definition.head else ""
            config = graph.image_config().to_json(platform)
            await bridge.finish(ref, {"containerimage.config": config})

        spec = SolveSpec(ref=new_ref(), exporters=request.outputs, run=run)
        session = self._session(request, plan.locals)
        response = await solve(channel, spec, session, fold.feed)
        return Answer(spec.ref, response, sent[0])

    async def _build_dockerfile(
        self, request: BuildRequest, target: Dockerfile, fold: Fold
    ) -> Answer:
        channel = await self.connect()
        attrs, inputs, folders = dockerfile_request(target, request)
        spec = SolveSpec(
            ref=new_ref(),
            frontend="dockerfile.v0",
            attrs=attrs,
            inputs=inputs,
            exporters=request.outputs,
        )
        response = await solve(channel, spec, self._session(request, folders), fold.feed)
        return Answer(spec.ref, response, None)


def dockerfile_request(
    target: Dockerfile, request: BuildRequest
) -> tuple[dict[str, str], dict[str, bytes], dict[str, Path | MemoryTree]]:
    """Return the frontend's options, its inputs, and the directories that the session serves.

    The Dockerfile goes with the request where it can (`_as_input`): that saves the daemon two transfers.
    With a remote context the frontend takes the Dockerfile from there, unless
    `dockerfilekey` says that it is ours. Source: moby/buildkit `frontend/dockerui/context.go`.
    """
    attrs: dict[str, str] = {"filename": target.filename}
    inputs: dict[str, bytes] = {}
    folders: dict[str, Path | MemoryTree] = {}
    if target.target:
        attrs["target"] = target.target
    if request.platform:
        attrs["platform"] = request.platform
    for key, value in target.args.items():
        attrs[f"build-arg:{key}"] = value
    for key, value in target.labels.items():
        attrs[f"label:{key}"] = value
    if request.no_cache or target.no_cache is True:
        attrs["no-cache"] = ""
    elif target.no_cache:
        attrs["no-cache"] = ",".join(target.no_cache)
    if target.text is not None:
        folders["dockerfile"] = MemoryTree({"Dockerfile": target.text})
    elif target.directory is not None:
        folders["dockerfile"] = target.directory
    if isinstance(target.context, str):
        attrs["context"] = target.context
        if "dockerfile" in folders:
            attrs["dockerfilekey"] = "dockerfile"
        return attrs, inputs, folders
    folders["context"] = target.context if target.context is not None else MemoryTree({})
    definition = _as_input(target)
    if definition is not None:
        inputs["dockerfile"] = definition
        del folders["dockerfile"]
    return attrs, inputs, folders


def _as_input(target: Dockerfile) -> bytes | None:
    """Return the Dockerfile and its ignore rules as a graph, or None where they must be served as a directory.

    That is the case for a `# syntax=` line or BUILDKIT_SYNTAX, since not every frontend image takes inputs, for a
    file below the directory, for one that the frontend finds under another name, and for links, which it follows
    inside the context only. The ignore rules always go along under the Dockerfile's own name: what stands
    there wins over the context's `.dockerignore`, which the frontend then need not fetch.
    """
    if "BUILDKIT_SYNTAX" in target.args or "/" in target.filename:
        return None
    if target.text is not None:
        content: bytes | None = target.text.encode()
    else:
        content = _plain_file(target.directory, target.filename)
    if content is None or b"syntax" in content[:1024].lower():
        return None
    for folder, name in (
        (target.directory, f"{target.filename}.dockerignore"),
        (target.context, ".dockerignore"),
    ):
        if not isinstance(folder, Path) or not os.path.lexists(folder / name):
            continue
        rules = _plain_file(folder, name)
        if rules is None:
            return None
        break
    else:
        rules = b""
    step = f"[internal] load build definition from {target.filename}"
    return (
        scratch()
        .file(
            mkfile(f"/{target.filename}", content),
            # Never empty: the frontend would take an empty file for none, and look in the context.
            mkfile(f"/{target.filename}.dockerignore", rules or b"# no ignore file\n"),
            name=step,
        )
        .marshal("linux/amd64")
        .to_bytes()
    )


def _plain_file(folder: Path | None, name: str) -> bytes | None:
    """Return the content of a small regular file that is no link."""
    path = (folder or Path()) / name
    if path.is_symlink() or not path.is_file() or path.stat().st_size > 1 << 20:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise ContextError(
            f"{path} cannot be read: {error.strerror}.",
            path=str(path),
            hint="check its permissions",
        ) from error


def _end(fold: Fold, phase: Phase, error: str = "") -> None:
    fold.feed([BuildEnded(time.time_ns(), phase, error)])


def _complete(error: StepFailed, fold: Fold) -> None:
    """Add what the progress knows to what the daemon said: the step's name and its last lines."""
    snapshot = fold.snapshot(at_ns=time.time_ns())
    step = next((s for s in snapshot.steps if error.vertex in (s.digest, *s.members)), None)
    if step is None and len(snapshot.failed) == 1:
        step = snapshot.failed[
            0
        ]  # daemons rename a vertex when its op also occurs with ignore-cache
    if step is not None:
        error.step = step.name
        error.log_tail = tuple(line.text for line in step.log.lines(20))
        error.message = f"The step {step.name!r} failed with exit code {error.exit_code}."
