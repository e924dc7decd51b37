"""What a runner of builds is given by tests: a store whose addresses are secrets, a journal, and a list of rows."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from depotlab.errors import ContextRefused, StorageError
from depotlab.service._boundary import ContextFacts, Line, Order, Upload, UploadedContext

__all__ = ["SIGNATURE", "Ticket", "WebStorage", "WrittenRows", "order", "tar_of", "when"]

SIGNATURE = "planted0signature0of0an0address"
PLATFORM = "linux/amd64"


def tar_of(files: Mapping[str, str]) -> bytes:
    """Return a plain tar with an extended header in front, as some programs write it."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, text in files.items():
            data = text.encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.pax_headers = {"comment": "x" * 2000}
            tar.addfile(member, io.BytesIO(data))
    return made.getvalue()


def order(project: str = "shop", deployment: str = "d1", **more: Any) -> Order:
    """Return an order of what was uploaded as PROJECT/1.tar.gz, unless it says otherwise."""
    given = {"build_id": "b1", "context": UploadedContext(f"{project}/1.tar.gz")} | more
    return Order(project=project, deployment=deployment, **given)


@dataclass
class WebStorage:
    """Archives in a folder that something serves.

    Attributes:
        folder: Of the archives.
        url: Where it is served; it ignores queries.
        fails: What is raised in place of every answer.
        asked: What was done, in order.
    """

    folder: Path
    url: str
    fails: StorageError | None = None
    asked: list[str] = field(default_factory=list)

    def put(self, key: str, data: bytes) -> None:
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def upload(self, key: str, *, expires_s: int, max_bytes: int) -> Upload:
        raise NotImplementedError

    async def check(self, key: str, *, max_bytes: int, max_unpacked_bytes: int) -> ContextFacts:
        self.asked.append("check")
        if self.fails is not None:
            raise self.fails
        path = self.folder / key
        if not path.exists():
            raise ContextRefused("Nothing was uploaded.", reason="missing")
        return ContextFacts(path.stat().st_size, max_unpacked_bytes, 1, "none")

    async def download_url(self, key: str, *, expires_s: int) -> str:
        self.asked.append("download_url")
        return f"{self.url}/{key}?X-Amz-Expires={expires_s}&X-Amz-Signature={SIGNATURE}"

    async def delete(self, key: str) -> None:
        (self.folder / key).unlink(missing_ok=True)


class Ticket:
    """The journal of one try.

    Attributes:
        stages: In order.
        kept: Lines, in order.
        facts: What Depot calls it.
        first: Offset of the first line.
    """

    def __init__(self, attempt: int = 1, first: int = 0) -> None:
        self.attempt = attempt
        self.first = first
        self.stages: list[str] = []
        self.kept: list[Line] = []
        self.facts: dict[str, str] = {}

    def stage(self, stage: str) -> None:
        self.stages.append(stage)

    def depot(self, *, project_id: str, build_id: str = "", build_url: str = "") -> None:
        self.facts = {"project_id": project_id, "build_id": build_id, "build_url": build_url}

    def lines(self, lines: Sequence[Line]) -> int:
        first = self.first + len(self.kept)
        self.kept += lines
        return first

    @property
    def texts(self) -> list[str]:
        return [line.text for line in self.kept]


class WrittenRows:
    """A writer that keeps what it is given.

    Attributes:
        rows: In order.
    """

    def __init__(self) -> None:
        self.rows: list[Any] = []

    def put(self, rows: Any) -> None:
        self.rows += rows

    def of(self, table: str) -> list[Any]:
        return [row for row in self.rows if row.table == table]

    @property
    def steps(self) -> list[Any]:
        return self.of("build_steps_v1")

    @property
    def logs(self) -> list[Any]:
        return self.of("build_step_logs_v1")


async def when(holds: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Wait until something holds that a build brings about."""
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 - there is no event for what a machine does
            await asyncio.sleep(0.01)
