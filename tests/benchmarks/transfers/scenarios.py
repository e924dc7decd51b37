"""The table: what is measured, by which way, and what has to be reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.benchmarks.transfers.jobs import (
    Cached,
    ColdUpload,
    Job,
    Log,
    Output,
    Place,
    UnchangedUpload,
)
from tests.benchmarks.transfers.trees import BigFile, EqualFiles, Repository
from tests.support.link import Shape

UNIX = "unix socket"
MTLS = "TCP + mTLS"
FAR = Shape(80, 1000)
SLOW = Shape(20, 100)
NEAR = Shape(20, 1000)
MOST_PEAK_MB = 150.0
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row.

    Attributes:
        name: For `--only`.
        title: For the table.
        way: `UNIX`, `MTLS`, or the shape of a link, over which it is TCP with mTLS too.
        must: The ratio ours / `buildctl` to be reached.
        job: Makes its untimed part in a place.
        repeats: How many times as many rounds, for builds that take a moment only.
        plain: Ours without compression is measured too.
        blind: A receiver that does nothing with what it gets is measured too.
    """

    name: str
    title: str
    way: str | Shape
    must: float
    job: Callable[[Place], Job]
    repeats: int = 1
    plain: bool = False
    blind: bool = False


def scenarios(*, quick: bool) -> list[Scenario]:
    """Return all rows; `quick` makes them small, which is for trying the benchmark, not for figures."""
    part = 16 if quick else 1
    big = BigFile(1024 * _MIB // part)
    middle = BigFile(256 * _MIB // part)
    files = EqualFiles(20_000 // part)
    masses = EqualFiles(200_000 // part)
    repository = Repository(30_000 // part)

    def cold(tree: BigFile | EqualFiles | Repository) -> Callable[[Place], Job]:
        return partial(ColdUpload, tree=tree)

    def same(tree: EqualFiles | Repository) -> Callable[[Place], Job]:
        return partial(UnchangedUpload, tree=tree)

    def output(
        kind: str,
        graph: str,
        attrs: dict[str, str] | None = None,
        *,
        discard: bool = False,
        **arguments: int,
    ) -> Callable[[Place], Job]:
        return partial(
            Output, kind=kind, graph=graph, arguments=arguments, attrs=attrs, discard=discard
        )

    gib = 1024 // part
    plain = {"compression": "uncompressed"}
    dependencies = "30 000 files, a repository with dependencies"
    tiny = "fully cached tiny Dockerfile build"
    return [
        Scenario("big", "one file of 1 GiB", UNIX, 0.60, cold(big)),
        Scenario("big-mtls", "one file of 1 GiB", MTLS, 0.60, cold(big)),
        Scenario("20k-cold", "20 000 files of 4 KiB, cold", UNIX, 0.80, cold(files)),
        Scenario("20k-same", "20 000 files of 4 KiB, unchanged", UNIX, 0.60, same(files)),
        Scenario("20k-cold-mtls", "20 000 files of 4 KiB, cold", MTLS, 0.80, cold(files)),
        Scenario("20k-same-mtls", "20 000 files of 4 KiB, unchanged", MTLS, 0.60, same(files)),
        Scenario("200k-cold", "200 000 files of 4 KiB, cold", UNIX, 0.80, cold(masses)),
        Scenario("200k-same", "200 000 files of 4 KiB, unchanged", UNIX, 0.60, same(masses)),
        Scenario("repo-cold", f"{dependencies}, cold", UNIX, 0.80, cold(repository)),
        Scenario("repo-same", f"{dependencies}, unchanged", UNIX, 0.65, same(repository)),
        Scenario("far-20k-cold", "20 000 files of 4 KiB, cold", FAR, 0.85, cold(files)),
        Scenario("far-20k-same", "20 000 files of 4 KiB, unchanged", FAR, 0.75, same(files)),
        Scenario("far-256m", "one file of 256 MiB", FAR, 1.00, cold(middle)),
        Scenario("fast-repo", f"{dependencies}, cold", MTLS, 0.80, cold(repository), plain=True),
        Scenario("near-repo", f"{dependencies}, cold", NEAR, 0.80, cold(repository), plain=True),
        Scenario("slow-repo", f"{dependencies}, cold", SLOW, 0.60, cold(repository), plain=True),
        Scenario("tar", "output `tar`, 1 GiB", UNIX, 0.90, output("tar", "big_file", n_mib=gib)),
        Scenario(
            "oci",
            "output `oci`, 1 GiB, received and thrown away",
            UNIX,
            0.55,
            output("oci", "big_file", plain, discard=True, n_mib=gib),
            blind=True,
        ),
        Scenario(
            "oci-file",
            "output `oci`, 1 GiB",
            UNIX,
            0.90,
            output("oci", "big_file", plain, n_mib=gib),
        ),
        Scenario(
            "local",
            "output `local`, 20 000 files",
            UNIX,
            0.55,
            output("local", "many_files", n_files=files.n_files),
            blind=True,
        ),
        Scenario(
            "near-tar",
            "output `tar`, 256 MiB",
            NEAR,
            0.45,
            output("tar", "big_file", n_mib=gib // 4),
        ),
        Scenario(
            "log",
            "a step that prints 500 000 lines, against `rawjson` to a file",
            UNIX,
            1.00,
            partial(Log, n_lines=500_000 // part, how="buffered"),
        ),
        Scenario(
            "log-lines",
            "a step that prints 500 000 lines, each written by itself, against `rawjson` to a file",
            UNIX,
            1.00,
            partial(Log, n_lines=500_000 // part, how="flushed"),
        ),
        Scenario("tiny", tiny, UNIX, 0.60, Cached, repeats=3),
        Scenario("far-tiny", tiny, FAR, 0.65, Cached, repeats=3),
    ]
