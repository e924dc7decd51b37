"""Contexts of every kind on the real daemon: what is offered is what a step sees."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from depotlab import llb
from depotlab._contexts import File, context
from depotlab.errors import ContextError, DaemonError, DepotlabError, DockerfileError, SessionError
from depotlab.frontend import dockerfile
from depotlab.llb import ImageConfig
from tests.support.dockerfiles import build

FILES = {"a.txt": b"hello\n", "sub/run.sh": b"#!/bin/sh\necho ran\n", "caf\u00e9": b"odd\n"}
SHOW = "RUN cd /c && find . -type f | sort && cat a.txt && ls -l sub/run.sh | cut -c1-10\n"
LISTED = "./Dockerfile\n./a.txt\n./café\n./sub/run.sh\nhello\n-rwxr-xr-x"


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


def archive(
    files: dict[str, bytes] = FILES, dockerfile: str = f"FROM busybox\nCOPY . /c\n{SHOW}"
) -> bytes:
    """A tar as Python writes it: with an extended header before every entry."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in {
            **files,
            **({"Dockerfile": dockerfile.encode()} if dockerfile else {}),
        }.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1_700_000_000.25
            info.mode = 0o755 if name.endswith(".sh") else 0o644
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


PACK = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
}


# --------------------------------------------------------------------------- archives


@pytest.mark.parametrize("packing", PACK)
def test_an_archive_is_unpacked_however_it_is_packed(engine, tmp_path: Path, packing: str) -> None:
    path = tmp_path / "context"
    path.write_bytes(PACK[packing](archive()))
    built = build(engine.address, dockerfile(path))
    assert built.log("RUN cd /c") == LISTED
    [n_bytes] = built.sent_bytes.values()
    # As it is, but for zstd, which old daemons do not know.
    assert n_bytes == (len(archive()) if packing == "zstd" else path.stat().st_size)


def pieces(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), 999):
        yield data[at : at + 999]


@pytest.mark.parametrize(
    "carry",
    [
        pytest.param(lambda data: data, id="bytes"),
        pytest.param(io.BytesIO, id="a file in memory"),
        pytest.param(pieces, id="a generator"),
        pytest.param(lambda data: lambda: pieces(data), id="a function"),
    ],
)  # fmt: skip
def test_an_archive_is_read_from_wherever_it_is(engine, carry) -> None:
    source = carry(gzip.compress(archive()))
    assert build(engine.address, dockerfile(source)).log("RUN cd /c") == LISTED


def test_an_archive_is_read_from_a_pipe(engine, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(archive())
    with subprocess.Popen(["gzip", "-c", tmp_path / "x"], stdout=subprocess.PIPE) as program:
        assert build(engine.address, dockerfile(program.stdout)).log("RUN cd /c") == LISTED


def test_the_same_archive_comes_from_the_cache_the_second_time(engine) -> None:
    unique = os.urandom(8).hex().encode()
    target = dockerfile(archive({**FILES, "unique": unique}))
    first = build(engine.address, target, no_cache=False)
    second = build(engine.address, target, no_cache=False)
    states = [{s.name: str(s.state) for s in b.snapshot.steps} for b in (first, second)]
    run = next(name for name in states[0] if "RUN cd /c" in name)
    assert (states[0][run], states[1][run]) == ("ran", "cached")


def test_a_large_archive_is_streamed_and_not_kept(engine) -> None:
    """Sixty-four megabytes from a generator that notices how far ahead it is read."""
    import tracemalloc

    def stream() -> Iterator[bytes]:
        header = tarfile.TarInfo("big")
        header.size = 64 << 20
        yield header.tobuf()
        block = os.urandom(1 << 20)
        for _ in range(64):
            yield bytes(block)
        yield archive({}, "FROM busybox\nCOPY big /\nRUN wc -c < /big\n")

    tracemalloc.start()
    built = build(engine.address, dockerfile(stream()))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert built.log("RUN wc") == f"{64 << 20}"
    assert peak_bytes < 24 << 20


def test_an_archive_with_a_dockerfile_from_elsewhere(engine, tmp_path: Path) -> None:
    (tmp_path / "My.Dockerfile").write_text(
        "FROM busybox\nCOPY a.txt /\nRUN echo file; cat /a.txt\n"
    )
    data = archive(dockerfile="")
    built = build(engine.address, dockerfile(data, filename=tmp_path / "My.Dockerfile"))
    assert built.log("RUN echo file") == "file\nhello"
    built = build(
        engine.address, dockerfile(data, text="FROM busybox\nCOPY a.txt /\nRUN cat /a.txt\n")
    )
    assert built.log("RUN cat") == "hello"
    inside = archive(
        {"deep/web.Dockerfile": b"FROM busybox\nCOPY a.txt /\nRUN echo deep\n", **FILES}, ""
    )
    built = build(engine.address, dockerfile(inside, filename="deep/web.Dockerfile"))
    assert built.log("RUN echo deep") == "deep"


def test_an_archive_without_a_dockerfile_says_so(engine) -> None:
    with pytest.raises(DepotlabError, match="Dockerfile"):
        build(engine.address, dockerfile(archive(dockerfile="")))


def test_a_generator_that_fails_or_gives_nonsense_is_the_error_of_the_build(engine) -> None:
    def breaks() -> Iterator[bytes]:
        yield archive()[:3000]
        raise RuntimeError("the disk of the other machine is full")

    text = "FROM busybox\nCOPY . /c\n"
    with pytest.raises(SessionError, match=r"a generator.*RuntimeError") as caught:
        build(engine.address, dockerfile(breaks(), text=text))
    assert "the disk of the other machine is full" in str(caught.value)
    with pytest.raises(ContextError, match="is no tar archive"):
        build(engine.address, dockerfile(iter([b"PK\x03\x04" + bytes(2000)]), text=text))


def test_an_archive_that_is_cut_off_fails_the_build(engine) -> None:
    data = gzip.compress(archive({"big": os.urandom(1 << 20)}))
    with pytest.raises(DepotlabError):
        build(engine.address, dockerfile(data[: len(data) // 2], text="FROM busybox\nCOPY big /\n"))


# --------------------------------------------------------------------------- trees


def test_files_in_memory_arrive_with_their_permissions(engine) -> None:
    files = {
        "Dockerfile": "FROM busybox\nCOPY . /c\nRUN cd /c && find . -type f | sort && sub/run.sh\n",
        "sub/run.sh": File(FILES["sub/run.sh"], mode=0o755),
        "caf\u00e9": "odd",
        "x.log": "no",
        ".dockerignore": "*.log\n",
    }
    built = build(engine.address, dockerfile(files))
    assert built.log("RUN cd /c") == "./.dockerignore\n./Dockerfile\n./café\n./sub/run.sh\nran"


def test_what_is_not_offered_is_never_sent(engine, tmp_path: Path) -> None:
    text = "FROM busybox\nCOPY . /c\nRUN cd /c && find . | sort\n"
    for name in ("app/a.py", "app/a.log", "docs/x", "secret.pem", "rules"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("**/*.log\nsecret.pem\nrules\n")
    (tmp_path / ".dockerignore").write_text("app\n")
    chosen = context(tmp_path, include=["app", "docs"], exclude=["**/*.log"])
    built = build(engine.address, dockerfile(chosen, text=text))
    assert built.log("RUN cd /c") == ".\n./app\n./app/a.py\n./docs\n./docs/x"
    assert built.session.moved["context"].n_files == 2
    own = context(tmp_path, ignore_file=tmp_path / "rules")
    built = build(engine.address, dockerfile(own, text=text))
    assert built.log("RUN cd /c") == ".\n./app\n./app/a.py\n./docs\n./docs/x"


@pytest.mark.parametrize("source", ["directory", "memory"])
def test_a_preview_lists_what_a_step_finds(engine, tmp_path: Path, source: str) -> None:
    files = {
        "Dockerfile": "FROM busybox\nCOPY . /c\nRUN cd /c && find . -type f | sort\n",
        ".dockerignore": "# data\n**/*.csv\n!keep/*.csv\nbuild/**\n!build/out\n*.md\n!README*\n",
        "a.csv": "", "keep/b.csv": "", "keep/deep/c.csv": "", "build/x/y": "", "build/out": "", "README.md": "",
        "NOTES.md": "", "docs/z.md": "", "é/ü": "",
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    target = dockerfile(tmp_path if source == "directory" else files)
    expected = sorted(f"./{file.path}".encode() for file in target.preview().files())
    assert build(engine.address, target).log("RUN cd /c").encode().split(b"\n") == expected
    assert len(expected) == 7


def test_an_empty_ignore_file_of_the_dockerfile_wins(engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nCOPY . /c\nRUN cd /c && find . -type f | sort\n"
    )
    (tmp_path / "Dockerfile.dockerignore").touch()
    (tmp_path / ".dockerignore").write_text("x\n")
    (tmp_path / "x").touch()
    target = dockerfile(tmp_path)
    ours = build(engine.address, target).log("RUN cd /c")
    assert ours.split() == [f"./{f.path}" for f in sorted(target.preview().files())]
    assert "./x" in ours


# --------------------------------------------------------------------------- further contexts


@pytest.fixture
def repository(http_folder, tmp_path: Path) -> str:
    """The URL of a bare repository behind plain HTTP, with a branch, a tag and a subdirectory."""
    git = shutil.which("git")
    assert git, "git is needed to make the repository"
    work = tmp_path / "work"
    (work / "app").mkdir(parents=True)
    (work / "app" / "Dockerfile").write_text("FROM busybox\nCOPY here /here\nRUN cat /here\n")
    (work / "app" / "here").write_text("main\n")

    def run(*args: str, cwd: Path = work) -> str:
        return subprocess.run(
            [git, "-c", "user.name=t", "-c", "user.email=t@t.invalid", *args],
            cwd=cwd, check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip

    run("init", "-q", "-b", "main")
    run("add", "-A")
    run("commit", "-q", "-m", "one")
    run("tag", "v1")
    run("checkout", "-q", "-b", "feature/x")
    (work / "app" / "here").write_text("feature\n")
    run("commit", "-q", "-am", "two")
    bare = http_folder.path / "repo.git"
    run("clone", "-q", "--bare", str(work), str(bare), cwd=tmp_path)
    run("update-server-info", cwd=bare)
    (tmp_path / "commit").write_text(run("rev-parse", "main"))
    return f"{http_folder.url}/repo.git"


def test_a_repository_by_branch_tag_commit_and_subdirectory(
    engine, repository: str, tmp_path: Path
) -> None:
    commit = (tmp_path / "commit").read_text()
    for end, said in {
        "#main:app": "main",
        "#v1:app": "main",
        "?branch=feature/x&subdir=app": "feature",
        f"?tag=v1&subdir=app&checksum={commit}": "main",
        "#feature%2Fx:app": "feature",
    }.items():
        built = build(engine.address, dockerfile(repository + end))
        assert built.log("RUN cat /here") == said, end
    with pytest.raises(DepotlabError):
        build(
            engine.address,
            dockerfile(f"{repository}?branch=feature/x&subdir=app&checksum={commit}"),
        )
    text = "FROM busybox\nCOPY app/here /here\nRUN echo mine; cat /here\n"
    built = build(engine.address, dockerfile(f"{repository}#v1", text=text))
    assert built.log("RUN echo mine") == "mine\nmain"


def test_an_archive_over_http(engine, http_folder) -> None:
    (http_folder.path / "context.tgz").write_bytes(gzip.compress(archive()))
    assert (
        build(engine.address, dockerfile(f"{http_folder.url}/context.tgz")).log("RUN cd /c")
        == LISTED
    )


@pytest.fixture
def layout(engine, tmp_path: Path) -> Path:
    """An OCI layout with busybox under the tag `bb`."""
    subprocess.run(
        [
            "skopeo", "copy", "--src-tls-verify=false",
            f"docker://{engine.registry}/library/busybox", f"oci:{tmp_path}/oci:bb",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return tmp_path / "oci"


def test_further_contexts_of_every_kind(
    engine, repository, http_folder, layout, tmp_path: Path
) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "x").write_text("from a directory\n")
    (tmp_path / "dir" / "y.log").write_text("no")
    (tmp_path / "dir" / ".dockerignore").write_text("*.log\n")
    (http_folder.path / "more.tar").write_bytes(archive({"x": b"from a download\n"}, ""))
    (http_folder.path / "data.csv").write_bytes(b"1,2\n")
    contexts = {
        "dir": tmp_path / "dir",
        "part": context(tmp_path / "dir", include=["y.log"]),
        "mem": {"x": "from memory\n"},
        "tar": gzip.compress(archive({"x": b"from an archive\n"}, "")),
        "zst": iter([zstandard.compress(archive({"x": b"from a packed stream\n"}, ""))]),
        "git": f"{repository}#v1:app",
        "web": f"{http_folder.url}/more.tar",
        "file": f"{http_folder.url}/data.csv",
        "graph": llb.scratch().mkfile("/x", b"from a graph\n"),
        "img": "docker-image://busybox",
        "oci": f"oci-layout://{layout}:bb",
        "none": "docker-image://scratch",
    }
    text = """FROM img AS one
COPY --from=dir . /dir
COPY --from=part . /part
COPY --from=mem x /mem
COPY --from=tar x /tar
COPY --from=zst x /zst
COPY --from=git here /git
COPY --from=web x /web
COPY --from=file context /file
COPY --from=graph x /graph
COPY --from=none . /none
RUN cat /dir/x /mem /tar /zst /git /web /file /graph && ls /dir /part /none
FROM oci
RUN --mount=from=mem,target=/m cat /m/x && echo from a layout
COPY --from=one /x* /dir/x /
"""
    built = build(engine.address, dockerfile(text=text, contexts=contexts))
    assert built.log("RUN cat /dir/x").split("\n") == [
        "from a directory", "from memory", "from an archive", "from a packed stream", "main", "from a download",
        "1,2", "from a graph", "/dir:", "x", "", "/none:", "", "/part:", "y.log",
    ]  # fmt: skip
    assert built.log("RUN --mount") == "from memory\nfrom a layout"


def test_a_context_takes_the_place_of_a_base_image(engine) -> None:
    base = (
        llb.image("busybox")
        .run("echo ours > /mark")
        .env(GREETING="hello")
        .dir("/srv")
        .user("nobody")
    )
    text = "FROM python:3.12\nRUN cat /mark; echo $GREETING from $(pwd) as $(whoami)\n"
    target = dockerfile(text=text, contexts={"python:3.12": base})
    configs = {
        llb.unresolved(base, llb.host_platform())[0]: ImageConfig(env={"PATH": "/bin:/usr/bin"})
    }
    built = build(engine.address, target, configs=configs)
    assert built.log("RUN cat /mark") == "ours\nhello from /srv as nobody"


def test_a_graph_with_directories_as_the_main_context(engine, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("print(1)\n")
    state = (
        llb.scratch()
        .copy(llb.local(tmp_path, name="src"), "app.py", "/app.py")
        .mkfile("/Dockerfile", b"FROM busybox\nCOPY . /c\nRUN cat /c/app.py\n")
    )
    built = build(engine.address, dockerfile(state))
    assert built.log("RUN cat") == "print(1)"
    assert built.session.moved["src"].n_files == 1


def test_an_image_and_a_layout_as_the_main_context(engine, layout: Path) -> None:
    text = "FROM busybox\nCOPY bin/busybox /x/busybox\nRUN /x/busybox echo copied\n"
    for source in ("docker-image://busybox", f"oci-layout://{layout}:bb"):
        assert build(engine.address, dockerfile(source, text=text)).log("RUN /x") == "copied"
    empty = dockerfile(
        "docker-image://scratch", text="FROM busybox\nCOPY . /c\nRUN ls /c; echo none\n"
    )
    assert build(engine.address, empty).log("RUN ls /c") == "none"


# --------------------------------------------------------------------------- options


def test_options_reach_the_steps(engine) -> None:
    text = (
        "FROM busybox\n"
        "RUN hostname; grep -E 'db|six' /etc/hosts; ulimit -Sn; ulimit -Hn; "
        "df /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2; ip link | grep -c '^[0-9]'\n"
    )
    target = dockerfile(
        text=text, hostname="box", add_hosts={"db": "10.0.0.5", "six": "fd00::1"},
        ulimits={"nofile": (100, 200)}, shm_size_bytes=8 << 20, network="none",
    )  # fmt: skip
    lines = build(engine.address, target).log("RUN hostname").split("\n")
    assert lines[0] == "box"
    assert sorted(" ".join(line.split()) for line in lines[1:3]) == ["10.0.0.5 db", "fd00::1 six"]
    assert lines[3:] == ["100", "200", "8192", "1"]  # the loopback alone


def test_checks_of_the_dockerfile_fail_or_are_skipped(engine) -> None:
    text = "FROM busybox\nCMD echo hi\n"
    with pytest.raises(DaemonError, match="JSONArgsRecommended"):
        build(engine.address, dockerfile(text=text, check="error=true"))
    for check in ("skip=JSONArgsRecommended;error=true", "skip=all;error=true"):
        build(engine.address, dockerfile(text=text, check=check))


def test_a_target_that_is_not_there_is_told_by_the_daemon(engine) -> None:
    with pytest.raises(DockerfileError, match="prdo"):
        build(engine.address, dockerfile(text="FROM busybox AS prod\n", target="prdo"))


def test_a_context_named_for_a_stage_replaces_it(engine) -> None:
    text = "FROM busybox AS base\nRUN false\nFROM busybox\nCOPY --from=base x /\nRUN cat /x\n"
    built = build(engine.address, dockerfile(text=text, contexts={"base": {"x": "instead\n"}}))
    assert built.log("RUN cat /x") == "instead"
    assert json.dumps([step.name for step in built.snapshot.steps]).count("RUN false") == 0
