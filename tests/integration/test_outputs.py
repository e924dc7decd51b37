"""Outputs of a real daemon, compared with what `buildctl` writes for the same build."""

from __future__ import annotations

import io
import json
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from depotlab import export
from depotlab.errors import DepotlabError, ProtocolError
from tests.support.outputbuilds import OutputBuild, buildctl
from tests.support.trees import snapshot

KINDS = r"""FROM busybox AS make
RUN mkdir -p /out/deep/er /out/empty /out/sealed && cd /out \
 && echo deep > deep/er/file && touch nothing && dd if=/dev/urandom of=big bs=1M count=5 2>/dev/null \
 && echo '#!/bin/sh' > run && chmod 6755 run && ln run second && ln run deep/third \
 && ln -s deep/er/file link && ln -s /etc/passwd outside && ln -s ../../nowhere dangling \
 && mkfifo -m 640 pipe && mknod -m 660 null c 1 3 && mknod -m 600 disk b 7 200 \
 && echo odd > "$(printf 'caf\351\n\377')" && echo unicode > Größe \
 && echo mine > secret && chmod 600 secret && chown 1234:5678 secret && chmod 1775 deep \
 && echo inner > sealed/inner && chmod 444 sealed/inner && chmod 555 sealed \
 && touch -d '1985-10-26 01:21:00' sealed/inner sealed nothing
FROM scratch
COPY --from=make /out /
"""
SMALL = "FROM busybox\nRUN echo hello > /hello\n"
EPOCH = 1_000_000_000


def without_devices(tree: dict) -> dict:
    return {
        path: facts
        for path, facts in tree.items()
        if not (stat.S_ISCHR(facts[0]) or stat.S_ISBLK(facts[0]))
    }


def layer_names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getnames()


def skopeo(kind: str, path: Path) -> dict:
    done = subprocess.run(
        ["skopeo", "inspect", f"{kind}:{path}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# -------------------------------------------------------------------------------------- archives


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda dest: export.tar(dest), id="tar"),
        pytest.param(lambda dest: export.oci(dest, "me/app:1", source_date_epoch=EPOCH), id="oci"),
        pytest.param(
            lambda dest: export.docker(dest, "me/app:1", "me/app:2", source_date_epoch=EPOCH),
            id="docker",
        ),
        pytest.param(
            lambda dest: export.oci(dest, compression="zstd", source_date_epoch=EPOCH,
                annotations={"a.b": "manifest", "manifest-descriptor:c": "d"}),
            id="oci with zstd and annotations",
        ),
    ],
)  # fmt: skip
def test_an_archive_is_the_one_that_buildctl_writes(engine, tmp_path: Path, make) -> None:
    stream = io.BytesIO()
    build = OutputBuild(engine.address, KINDS)
    for dest in (tmp_path / "ours.tar", stream, None):
        (made,) = build.run(make(dest))
        ours = stream.getvalue() if dest is stream else made.read()
        (theirs,) = buildctl(build, tmp_path, make(None))
        assert len(ours) == made.size_bytes
        assert ours == theirs.read_bytes()


def test_archives_are_read_by_another_tool_and_described_by_the_daemon(
    engine, tmp_path: Path
) -> None:
    build = OutputBuild(engine.address, SMALL)
    oci, docker = build.run(
        export.oci(tmp_path / "oci.tar", "me/app:1"),
        export.docker(tmp_path / "docker.tar", "me/app:2"),
    )
    inspected = skopeo("oci-archive", tmp_path / "oci.tar")
    assert inspected["Digest"] == oci.digest == oci.descriptor["digest"]
    assert oci.names == ("docker.io/me/app:1",)
    assert docker.names == ("docker.io/me/app:2",)
    assert skopeo("docker-archive", tmp_path / "docker.tar")["Layers"]
    with tarfile.open(tmp_path / "docker.tar") as tar:
        manifest = json.load(tar.extractfile("manifest.json"))
    assert docker.config_digest.removeprefix("sha256:") in manifest[0]["Config"]
    assert build.response["containerimage.digest"] in (oci.digest, docker.digest)
    assert {path.name for path in tmp_path.iterdir()} == {"oci.tar", "docker.tar"}


def test_several_outputs_of_one_build(engine, tmp_path: Path) -> None:
    stream = io.BytesIO()
    outputs = (
        export.local(tmp_path / "tree"),
        export.image("not-pushed:1"),
        export.tar(tmp_path / "x.tar"),
        export.oci(None, "me/app:1"),
        export.tar(stream),
        export.local(tmp_path / "tree2"),
    )
    made = OutputBuild(engine.address, KINDS).run(*outputs)
    assert [one.path and one.path.name for one in made] == ["tree", "x.tar", None, None, "tree2"]
    assert stream.getvalue() == (tmp_path / "x.tar").read_bytes()
    assert snapshot(tmp_path / "tree") == snapshot(tmp_path / "tree2")
    assert "oci-layout" in layer_names(made[2].read())


# ----------------------------------------------------------------------------------- directories


def both(
    build: OutputBuild, folder: Path, before: Path | None = None, **options
) -> tuple[dict, dict, export.Artifact]:
    """Export with both clients, into copies of `before` or into nothing; return both trees."""
    ours = folder / "ours"
    theirs = folder / "theirs"
    theirs.mkdir()
    if before is not None:
        shutil.copytree(before, ours, symlinks=True)
        shutil.copytree(before, theirs / "output 0", symlinks=True)
    (made,) = build.run(export.local(ours, **options))
    options.pop("devices", None)
    (written,) = buildctl(build, theirs, export.local(folder / "not used", **options))
    # Of directories that were there, the Go client does not set the times again after filling them.
    times = before is None
    assert build.problems == []
    return (
        snapshot(ours, directory_times=times),
        snapshot(written, directory_times=times),
        made,
    )


def test_a_new_directory_is_the_one_that_buildctl_writes(engine, tmp_path: Path) -> None:
    ours, theirs, made = both(OutputBuild(engine.address, KINDS), tmp_path, devices=True)
    assert ours == theirs
    assert made.warnings == ()
    assert made.n_files == sum(stat.S_ISREG(facts[0]) for facts in ours.values())
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == 0o700


def test_device_nodes_are_left_out_unless_asked_for(engine, tmp_path: Path) -> None:
    ours, theirs, made = both(OutputBuild(engine.address, KINDS), tmp_path)
    assert ours == without_devices(theirs)
    assert len(made.warnings) == 2


def old(folder: Path) -> Path:
    """A directory with things in the way of all kinds."""
    root = folder / "old"
    (root / "deep").mkdir(parents=True)
    (root / "deep/mine").write_text("mine")
    (root / "deep/er").write_text("a file in place of a directory")
    (root / "nothing").mkdir()
    (root / "nothing/full").write_text("a directory in place of a file")
    (root / "run").symlink_to("../elsewhere")
    (root / "empty").symlink_to("../elsewhere")
    (root / "link").write_text("a file in place of a link")
    (root / "secret").write_text("old")
    (root / "also mine").mkdir()
    (root / "also mine/file").write_text("mine")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("must not change")
    return root


@pytest.mark.parametrize("mode", ["copy", "delete"])
def test_an_existing_directory_becomes_what_buildctl_makes_of_it(
    engine, tmp_path: Path, mode: str
) -> None:
    before = old(tmp_path)
    around = snapshot(tmp_path / "elsewhere")
    ours, theirs, _ = both(
        OutputBuild(engine.address, KINDS), tmp_path, before, mode=mode, devices=True
    )
    assert ours == theirs
    assert ("deep/mine" in ours) is (mode == "copy")
    assert snapshot(tmp_path / "elsewhere") == around


MULTI = {"platform": "linux/amd64,linux/arm64,linux/arm/v7"}
PER_PLATFORM = "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /$TARGETARCH\nCOPY shared /\n"


@pytest.fixture
def platforms(tmp_path: Path) -> Path:
    context = tmp_path / "context"
    for name in ("amd64", "arm64", "arm"):
        (context / name / "bin").mkdir(parents=True)
        for n in range(40):
            (context / name / "bin" / str(n)).write_text(f"{name} {n}")
    (context / "shared/both").mkdir(parents=True)
    return context


@pytest.mark.parametrize(
    ("mode", "split"),
    [("copy", None), ("copy", True), ("copy", False), ("delete", None), ("delete", True)],
)
def test_several_platforms_are_what_buildctl_writes(
    engine, tmp_path: Path, platforms: Path, mode: str, split: bool | None
) -> None:
    build = OutputBuild(engine.address, PER_PLATFORM, context=platforms, attrs=MULTI)
    ours, theirs, _ = both(
        build, tmp_path, mode=mode, platform_split=split, source_date_epoch=EPOCH
    )
    assert ours == theirs
    assert sorted(path for path in ours if "/" not in path) == (
        ["amd64", "arm", "arm64", "both"] if split is False else ["linux_amd64", "linux_arm64", "linux_arm_v7"]
    )  # fmt: skip


def test_files_that_the_daemon_sends_empty_fail_the_build(
    engine, tmp_path: Path, platforms: Path
) -> None:
    """BuildKit 0.32 cannot open files of merged platforms, and sends them empty; the Go client takes that.

    Source: moby/buildkit `util/staticfs/merge.go` (`os.IsNotExist` on a wrapped error).
    """
    build = OutputBuild(engine.address, PER_PLATFORM, context=platforms, attrs=MULTI)
    options = {"mode": "delete", "platform_split": False}
    (written,) = buildctl(build, tmp_path, export.local(tmp_path / "not used", **options))
    assert {path.stat().st_size for path in (written / "amd64/bin").iterdir()} == {0}
    with pytest.raises(ProtocolError, match=r"only 0 bytes of 'am.*, and had listed") as caught:
        build.run(export.local(tmp_path / "ours", **options))
    assert "platform_split=False" in caught.value.hint
    assert not (tmp_path / "ours").exists()


def test_platforms_that_have_the_same_file_cannot_share_a_directory(
    engine, tmp_path: Path, platforms: Path
) -> None:
    build = OutputBuild(
        engine.address, "FROM scratch\nCOPY amd64 /\n", context=platforms, attrs=MULTI
    )
    with pytest.raises(DepotlabError, match="cannot overwrite"):
        build.run(export.local(tmp_path / "out", platform_split=False))
    assert not (tmp_path / "out").exists()


def test_an_empty_result_is_an_empty_directory(engine, tmp_path: Path) -> None:
    context = tmp_path / "context"
    (context / "nothing").mkdir(parents=True)
    (made,) = OutputBuild(engine.address, "FROM scratch\nCOPY nothing /\n", context=context).run(
        export.local(tmp_path / "out")
    )
    assert list((tmp_path / "out").iterdir()) == []
    assert made.n_files == 0


def test_attestations_are_files_of_the_directory(engine, tmp_path: Path) -> None:
    build = OutputBuild(engine.address, SMALL, attrs={"attest:provenance": "mode=min"})
    build.run(export.local(tmp_path / "out", attestation_prefix="app-"))
    statement = json.loads((tmp_path / "out/app-provenance.json").read_text())
    assert "slsa.dev/provenance" in statement["predicateType"]


def test_twenty_thousand_files_arrive(engine, tmp_path: Path) -> None:
    """As many as the Go client often does not get: it asks for all of them at once."""
    dockerfile = (
        "FROM busybox AS make\n"
        "RUN mkdir /out && cd /out && for d in $(seq 200); do mkdir $d; for f in $(seq 100); do "
        "echo $d.$f > $d/$f; done; done\nFROM scratch\nCOPY --from=make /out /\n"
    )
    (made,) = OutputBuild(engine.address, dockerfile).run(export.local(tmp_path / "out"))
    assert made.n_files == 20_000
    assert all(
        (tmp_path / "out" / str(d) / str(f)).read_text() == f"{d}.{f}\n"
        for d in range(1, 201)
        for f in range(1, 101)
    )
