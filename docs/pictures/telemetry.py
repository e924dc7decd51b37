"""The pictures of docs/telemetry.md: plots of made-up builds.

python -m docs.pictures.telemetry
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from depotlab.telemetry import Batch, DuckDB, Telemetry
from tests.support.recordedbuilds import made

HERE = Path(__file__).parent


def main() -> None:
    """Fill a store, and save its plots."""
    rows = made(48)
    with tempfile.TemporaryDirectory(prefix="dl-") as folder:
        store = DuckDB(Path(folder) / "builds.duckdb", keep=None)
        store.open()
        for number, some in enumerate((rows.builds, rows.steps, rows.logs)):
            store.write(Batch(str(number), some[0].table, some))
        with Telemetry(store) as t:
            plots = {"slowest-steps": t.plot.slowest_steps(), "trend": t.plot.trend()}
            for name, figure in plots.items():
                path = HERE / f"{name}.png"
                figure.savefig(path, dpi=144)
                print(f"{path.name}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
