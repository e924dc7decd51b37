"""The benchmark's own judgement: what it calls equal, cold and unchanged."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from tests.benchmarks.transfers.jobs import ColdUpload, Log, Place, UnchangedUpload, layers
from tests.benchmarks.transfers.measure import Row
from tests.benchmarks.transfers.scenarios import scenarios
from tests.benchmarks.transfers.sides import Run
from tests.benchmarks.transfers.tasks import LOG_LINE
from tests.benchmarks.transfers.trees import BigFile, EqualFiles, Repository, differences, listing

TREES = [BigFile(3 << 20), EqualFiles(120), Repository(300)]


@dataclass
class FakeDaemon:
    """Has the directories that a test says."""

    copies: dict[str, Path] = field(default_factory=dict)

    def empty(self) -> None:
        self.copies.clear()

    def snapshots(self) -> dict[str, Path]:
        return dict(self.copies)

    def receive(self, folder: Path, number: str) -> Path:
        self.copies[number] = folder.parent / f"copy{number}"
        shutil.copytree(folder, self.copies[number], symlinks=True)
        return self.copies[number]


def ran(log: tuple[int, str] = (0, ""), *, seconds: float = 1.0, peak_mb: float = 1.0) -> Run:
    return Run(seconds, 0.1, peak_mb, lambda: log)


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: type(tree).__name__)
def test_a_tree_made_again_has_the_same_shape_and_other_contents(tree, tmp_path):
    tree.make(tmp_path, 1)
    first = listing(tmp_path)
    tree.make(tmp_path, 2)
    second = listing(tmp_path)

    def shape(found: dict[str, str]) -> dict[str, str]:
        return {path: what.rpartition(" ")[0] for path, what in found.items()}

    assert shape(first) == shape(second)
    files = [path for path, what in first.items() if what.startswith("-")]
    assert all(first[path] != second[path] for path in files)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        pytest.param(lambda path: path.write_text("xyzx"), "-rw", id="other contents, same size"),
        pytest.param(lambda path: path.chmod(0o600), "-rw-------", id="another mode"),
        pytest.param(lambda path: path.unlink(), "nothing", id="a file that is missing"),
        pytest.param(
            lambda path: path.with_name("more").touch(), "more", id="a file that is too many"
        ),
    ],
)
def test_any_difference_between_two_listings_is_told(spoil, told, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("abcd")
        (tmp_path / name / "file").chmod(0o644)
    assert differences(listing(tmp_path / "a"), listing(tmp_path / "b")) == []
    spoil(tmp_path / "b" / "file")
    lines = differences(listing(tmp_path / "a"), listing(tmp_path / "b"))
    assert lines[0] == "1 entries differ"
    assert told in lines[1]


def cold_round(job: ColdUpload, daemon: FakeDaemon, folder: Path, *, spoil: str = "") -> list[str]:
    job.renew()
    for side in ("ours", "buildctl"):
        job.before(side)
        assert daemon.snapshots() == {}
        copy = daemon.receive(folder / "context", side)
        if side == spoil:
            (copy / "d0000" / "f000001").write_bytes(b"something else")
        job.after(side, ran(), last=True)
    return job.verify()


def test_a_cold_upload_is_right_when_both_copies_are_the_directory(tmp_path):
    daemon = FakeDaemon()
    job = ColdUpload(Place(tmp_path, daemon), EqualFiles(5))
    assert cold_round(job, daemon, tmp_path) == []


@pytest.mark.parametrize("side", ["ours", "buildctl"])
def test_a_copy_that_differs_is_blamed_on_its_side(side, tmp_path):
    daemon = FakeDaemon()
    job = ColdUpload(Place(tmp_path, daemon), EqualFiles(5))
    lines = cold_round(job, daemon, tmp_path, spoil=side)
    assert lines[0] == f"{side}: 1 entries differ"


def test_two_cold_builds_of_one_round_have_keys_of_their_own_and_the_next_round_has_others(
    tmp_path,
):
    job = ColdUpload(Place(tmp_path, FakeDaemon()), EqualFiles(5))
    keys = []
    for _ in range(2):
        job.renew()
        keys += [job.task(side).arguments["key"] for side in ("ours", "buildctl")]
    assert len(set(keys)) == 4


def test_an_unchanged_upload_that_writes_to_the_copy_was_not_unchanged(tmp_path):
    daemon = FakeDaemon()
    job = UnchangedUpload(Place(tmp_path, daemon), EqualFiles(5))
    for side in ("ours", "buildctl"):
        daemon.receive(tmp_path / "context", side)
        job.after(side, ran(), last=False)
    for side in ("ours", "buildctl"):
        job.after(side, ran(), last=True)
    assert job.verify() == []
    path = daemon.copies["ours"] / "d0000" / "f000001"
    path.write_bytes(path.read_bytes())
    assert job.verify() == ["ours: the daemon's copy was written to: it was not unchanged"]


def test_an_unchanged_upload_that_makes_another_copy_was_not_unchanged(tmp_path):
    daemon = FakeDaemon()
    job = UnchangedUpload(Place(tmp_path, daemon), EqualFiles(5))
    for side in ("ours", "buildctl"):
        daemon.receive(tmp_path / "context", side)
        job.after(side, ran(), last=False)
    daemon.receive(tmp_path / "context", "third")
    job.after("ours", ran(), last=True)
    assert job.verify() == ["ours: the daemon has 1 new directories"]


def test_a_log_with_a_line_missing_is_wrong(tmp_path):
    job = Log(Place(tmp_path, FakeDaemon()), 3, "buffered")
    text = "\n".join(f"{LOG_LINE}{number}" for number in (1, 2, 3))
    job.after("buildctl", ran((3, sha256(text.encode()).hexdigest())), last=True)
    assert job.verify() == []
    short = text.rpartition("\n")[0]
    job.after("ours", ran((2, sha256(short.encode()).hexdigest())), last=True)
    assert job.verify() == ["ours: 2 lines, which are not the 3 printed"]


def oci_archive(path: Path, content: bytes, *, digest: str = "") -> Path:
    layer = digest or sha256(content).hexdigest()
    described = {"mediaType": "layer", "digest": f"sha256:{layer}", "size": len(content)}
    manifest = json.dumps({"layers": [described]}).encode()
    name = sha256(manifest).hexdigest()
    index = json.dumps({"manifests": [{"digest": f"sha256:{name}"}]}).encode()
    blobs = {f"blobs/sha256/{layer}": content, f"blobs/sha256/{name}": manifest}
    with tarfile.open(path, "w") as tar:
        for member, data in {**blobs, "index.json": index}.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_layers_are_compared_by_content_not_by_what_the_manifest_says(tmp_path):
    good = layers(oci_archive(tmp_path / "good", b"abc"))
    same = layers(oci_archive(tmp_path / "same", b"abc"))
    digest = sha256(b"abc").hexdigest()
    bad = layers(oci_archive(tmp_path / "bad", b"abd", digest=digest))
    assert good == same == {digest: "layer 3"}
    assert bad == {digest: "layer 3 but its content is another"}


@pytest.mark.parametrize(
    ("ours_s", "peak_mb", "wrong", "verdict"),
    [
        pytest.param(0.5, 100, [], "met", id="fast and small"),
        pytest.param(0.7, 100, [], "not met: time", id="too slow"),
        pytest.param(0.5, 200, [], "not met: memory", id="too large"),
        pytest.param(0.5, 100, ["x"], "WRONG FILES", id="fast, and not the same files"),
    ],
)
def test_a_row_is_met_only_with_time_memory_and_files(ours_s, peak_mb, wrong, verdict):
    scenario = scenarios(quick=True)[0]
    assert scenario.must == 0.6
    row = Row(scenario, [ran(seconds=ours_s, peak_mb=peak_mb)], [ran()], wrong=wrong)
    assert row.verdict == verdict


def test_the_ratio_is_the_median_of_pairs_and_not_of_sides():
    ours = [ran(seconds=s) for s in (1.0, 10.0, 3.0)]
    theirs = [ran(seconds=s) for s in (2.0, 10.0, 12.0)]
    assert Row(scenarios(quick=True)[0], ours, theirs).ratio == 0.5


def test_names_of_rows_are_unique_and_quick_has_the_same():
    names = [one.name for one in scenarios(quick=False)]
    assert len(set(names)) == len(names)
    assert names == [one.name for one in scenarios(quick=True)]


def test_links_in_a_listing_are_not_followed(tmp_path):
    os.symlink("/etc/passwd", tmp_path / "link")
    assert listing(tmp_path)["link"].endswith("-> b'/etc/passwd'")
