"""The picture of docs/wire.md: the conversation of a real build, on an engine of its own.

python -m docs.pictures.wire
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import depotlab as dl
from depotlab import _local as engine_room
from depotlab import export

HERE = Path(__file__).parent
DOCKERFILE = """\
FROM busybox
COPY . /src
RUN --mount=type=secret,id=npm wc -c < /run/secrets/npm > /size
"""


def main() -> None:
    """Build once, and save what was said."""
    with tempfile.TemporaryDirectory(prefix="dl-") as name:
        folder, state = Path(name) / "project", Path(name) / "engine"
        folder.mkdir()
        for number in range(40):
            (folder / f"page-{number:02d}.md").write_text(f"# Page {number}\n" * (number + 1))
        page = dl.dockerfile(text=DOCKERFILE, context=folder)
        try:
            with dl.local(state_dir=state) as bk:
                bk.info()
                with dl.wire() as wire:
                    bk.build(page, secrets={"npm": "x"}, output=export.tar(None), progress="quiet")
        finally:
            engine_room.stop(state_dir=state)
    path = wire.save(HERE / "wire.svg")
    print(f"{path.name}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
