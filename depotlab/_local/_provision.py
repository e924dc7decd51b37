"""Put the engine's programs on this machine: the first way that works, and say what was tried.

1. A usable program that is on PATH already.
2. The official release archive, whose SHA-256 is in `engine/pins.json`.
3. The Go toolchain, with the `go.mod` and `go.sum` in `engine`.

Programs land in a folder of their own version by one rename, so that a half-done installation
cannot be seen, and a lock file lets two processes install at the same time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from depotlab.errors import EngineError

from . import _go, _locks
from ._archive import Progress, download, unpack
from ._host import refuse_other_systems
from ._places import engine_dir, make_private_dir
from ._programs import (
    Product,
    Program,
    ask_version,
    find,
    find_buildctl,
    find_runtime,
    products,
    this_platform,
)

_OTHER_INSTALL_TIMEOUT_S = 3600.0
_WORKSPACE = ".installing-"


@dataclass(frozen=True, slots=True)
class Programs:
    """Everything that the engine runs.

    Attributes:
        buildkitd: The daemon.
        registry: The CNCF distribution registry.
        runtime: runc or crun, or None where the system has neither.
        buildctl: BuildKit's own command line, or None; nothing here needs it.
    """

    buildkitd: Program
    registry: Program
    runtime: Program | None
    buildctl: Program | None


def silent(_line: str) -> None:
    """Be the progress that nobody hears."""


def install(
    *,
    on_progress: Progress | None = None,
    url: str | None = None,
    wanted: Sequence[Product] | None = None,
) -> Programs:
    """Provide buildkitd and the registry, unless they are there. Blocks, minutes at worst.

    Safe to call from several processes at once: one works, the others wait for it. The OCI
    runtime is not installed here, it comes from the system's packages.

    Args:
        on_progress: Told a line of text whenever something takes long.
        url: Folder that has the release archives, instead of the official places; the default
            is the environment variable `DEPOTLAB_ENGINE_URL`. The pinned sums hold all the same.
        wanted: What to provide, for tests; the default is what `pins.json` says.

    Raises:
        EngineError: No way worked. The message has every way and why not.
    """
    refuse_other_systems()
    told = on_progress or silent
    wanted = products() if wanted is None else wanted
    found = [find(product)[0] for product in wanted]
    if None in found:
        folder = make_private_dir(engine_dir())
        with _locks.held(
            folder / "install.lock",
            timeout_s=_OTHER_INSTALL_TIMEOUT_S,
            waiting_for="installing the engine",
            on_wait=lambda: told("another process is installing the engine; waiting for it"),
        ):
            _install_missing(wanted, url or os.environ.get("DEPOTLAB_ENGINE_URL"), told)
        found = [find(product)[0] for product in wanted]
    buildkitd, registry = found
    assert buildkitd is not None
    assert registry is not None
    return Programs(buildkitd, registry, find_runtime()[0], find_buildctl(wanted[0]))


def find_installed() -> Programs | None:
    """Return the programs when all that the engine needs is there; never installs."""
    buildkitd, registry = (find(product)[0] for product in products())
    if buildkitd is None or registry is None:
        return None
    return Programs(buildkitd, registry, find_runtime()[0], find_buildctl(products()[0]))


def _install_missing(wanted: Sequence[Product], url: str | None, told: Progress) -> None:
    tried: list[str] = []
    missing: list[Product] = []
    for product in wanted:
        program, reason = find(product)
        if program is not None:
            continue
        tried.append(f"{product.programs[0]} on PATH: {reason}")
        try:
            _from_archive(product, url, told)
        except EngineError as error:
            tried.append(f"release archive of {product.name}: {error.message}")
            missing.append(product)
    if not missing:
        return
    try:
        _from_go(missing, told)
    except EngineError as error:
        tried.append(f"Go toolchain: {error.message}")
    else:
        return
    names = " and ".join(product.programs[0] for product in missing)
    ways = "\n".join(f"  - {line}" for line in tried)
    raise EngineError(
        f"The engine needs {names}, and no way to get it worked:\n{ways}",
        hint="connect this machine to the network once and run `depotlab engine install`; "
        "with a mirror of the release archives set DEPOTLAB_ENGINE_URL; "
        "or install Go from https://go.dev/dl and run it again",
    )


def _from_archive(product: Product, url: str | None, told: Progress) -> None:
    on = this_platform()
    if on not in product.archives:
        raise EngineError(
            f"no SHA-256 is pinned for version {product.version} on {on}, "
            "and nothing is downloaded without one"
        )
    file, sha256 = product.archives[on]
    source = f"{(url or product.url).rstrip('/')}/{file}"
    with _workspace() as folder:
        told(f"downloading {source}")
        download(source, folder / file, sha256=sha256, on_progress=told)
        tree = folder / "tree"
        (tree / "bin").mkdir(parents=True)
        unpack(folder / file, tree)
        for program in product.programs:  # the registry's archive has it at the top
            if not (tree / "bin" / program).exists() and (tree / program).is_file():
                (tree / program).rename(tree / "bin" / program)
        _publish(product, tree)
    told(f"installed {product.name} {product.version} from its release archive")


def _from_go(missing: Sequence[Product], told: Progress) -> None:
    with _workspace() as folder:
        host_bin = folder / "bin"
        host_bin.mkdir()
        _go.build(missing, host_bin, on_progress=told)
        for product in missing:
            tree = folder / product.name
            (tree / "bin").mkdir(parents=True)
            for program in product.programs:
                (host_bin / program).rename(tree / "bin" / program)
            _publish(product, tree)
            told(f"installed {product.name} {product.version}, built with Go")


@contextmanager
def _workspace() -> Iterator[Path]:
    """Make a temporary folder beside the final ones, so that publishing is one rename.

    Runs under the install lock, so every other one was left by a process that was killed.
    """
    for left_over in engine_dir().glob(f"{_WORKSPACE}*"):
        shutil.rmtree(left_over)
    folder = Path(tempfile.mkdtemp(prefix=_WORKSPACE, dir=engine_dir()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _publish(product: Product, tree: Path) -> None:
    """Move a tree with `bin` in it to its final place, after running what is in it."""
    program = tree / "bin" / product.programs[0]
    if not program.is_file():
        raise EngineError(f"it holds no {product.programs[0]}")
    answer = ask_version(program)
    if product.version not in answer:
        raise EngineError(f"it holds another version: {answer!r}")
    if product.host_dir.exists():  # something incomplete: find() saw no program in it
        shutil.rmtree(product.host_dir)
    tree.rename(product.host_dir)
