"""Archives as contexts, streamed to a real daemon."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import time
from collections.abc import Callable, Iterator

import pytest

from depotlab import llb
from depotlab._session import MemoryTree, Uploads
from depotlab.errors import DepotlabError, SessionError
from tests.support.servicebuilds import ServiceBuild

Source = Callable[[], Iterator[bytes]]


def archive(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def pieces(data: bytes, length: int = 10_000) -> Source:
    return lambda: (data[at : at + length] for at in range(0, len(data), length))


def uploading(engine, name: str, source: Source, text: str | None = None) -> ServiceBuild:
    build = ServiceBuild(engine.address)
    build.services = [Uploads({name: source}, report=build.problems.append)]
    if text is not None:
        build.folders = {"dockerfile": MemoryTree({"Dockerfile": text})}
    return build


def build(engine, source: Source) -> None:
    # A name of its own: the daemon keeps what it downloaded by URL.
    name = f"ctx{time.time_ns()}"
    one = uploading(engine, name, source)
    one.dockerfile(context=f"http://buildkit-session/{name}")
    assert one.problems == []


def check(content: bytes) -> bytes:
    digest = hashlib.sha256(content).hexdigest()
    return f'FROM busybox\nCOPY big /big\nRUN echo "{digest}  /big" | sha256sum -c\n'.encode()


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress], ids=["tar", "tar.gz"])
def test_an_archive_is_a_context(engine, pack: Callable[[bytes], bytes]) -> None:
    content = bytes(range(256)) * 40_000 + str(time.time_ns()).encode()
    data = pack(archive({"Dockerfile": check(content), "big": content}))
    build(engine, pieces(data))


def test_a_bare_dockerfile_is_a_context_without_files(engine) -> None:
    text = f"FROM busybox\nRUN test ! -e /Dockerfile && echo {time.time_ns()}\n".encode()
    build(engine, lambda: iter([text]))


def test_a_dockerfile_of_ours_builds_an_archive_from_a_generator(engine) -> None:
    content = str(time.time_ns()).encode()

    def generate() -> Iterator[bytes]:
        data = archive({"big": content})
        for byte in data[:1000]:
            yield bytes((byte,))
        yield data[1000:]

    one = uploading(engine, "gen", generate, check(content).decode())
    one.dockerfile(context="http://buildkit-session/gen", dockerfilekey="dockerfile")


def test_an_upload_is_pulled_once_for_a_build(engine) -> None:
    n_pulled = 0

    def source() -> Iterator[bytes]:
        nonlocal n_pulled
        n_pulled += 1
        return iter(
            [
                archive(
                    {"Dockerfile": b"FROM scratch\nCOPY f /\n", "f": str(time.time_ns()).encode()}
                )
            ]
        )

    source.once = True  # type: ignore[attr-defined]
    build(engine, source)
    assert n_pulled == 1


def test_a_source_that_fails_in_the_middle_is_named_as_the_cause(engine) -> None:
    data = archive({"Dockerfile": b"FROM scratch\n", "big": bytes(3_000_000)})

    def source() -> Iterator[bytes]:
        yield data[: 1 << 20]
        raise OSError("the disk said no")

    one = uploading(engine, "broken", source)
    with pytest.raises(DepotlabError) as caught:
        one.dockerfile(context="http://buildkit-session/broken")
    (problem,) = one.problems
    assert isinstance(problem, SessionError)
    assert "the disk said no" in problem.hint
    assert problem.message in str(caught.value)


def test_a_file_of_a_graph_can_be_uploaded(engine) -> None:
    content = str(time.time_ns()).encode()
    name = f"file{time.time_ns()}"
    file = llb.http(f"http://buildkit-session/{name}", filename="f")
    state = (
        llb.image("busybox")
        .copy(file, "/f", "/f")
        .run(f"grep -q {content.decode()} /f", name="use")
    )
    one = uploading(engine, name, lambda: iter([content]))
    one.graph(state)
    assert one.state_of("use") == "ran"
