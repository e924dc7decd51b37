"""Run the quickstart notebook headless and say where its result is. Called by `make demo`."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

HERE = Path(__file__).parent
OUT = HERE.parent / "build" / "demo"


def main() -> int:
    OUT.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.read(HERE / "quickstart.ipynb", as_version=4)
    executed, page = OUT / "quickstart.ipynb", OUT / "quickstart.html"
    started_s = time.monotonic()
    print("Running notebooks/quickstart.ipynb on the embedded engine ...", flush=True)
    failure: CellExecutionError | None = None
    try:
        NotebookClient(
            notebook,
            timeout=300,
            kernel_name="python3",
            extra_arguments=[
                "--log-level=ERROR"
            ],  # it warns of TCP without encryption, on loopback
            store_widget_state=False,
            resources={"metadata": {"path": str(HERE)}},
        ).execute()
    except CellExecutionError as error:
        failure = error
    # Written in any case: a notebook that failed is what one wants to look at.
    nbformat.write(notebook, executed)
    page.write_text(HTMLExporter().from_notebook_node(notebook)[0])
    if failure is not None:
        print(f"The notebook failed; it is kept at {executed}\n{failure}", file=sys.stderr)
        return 1
    print(f"  done in {time.monotonic() - started_s:.1f} s")
    print(f"  executed notebook   {executed}")
    print(f"  as a page           {page}")
    for digest in digests(notebook):
        print(f"  pushed              {digest}")
    print("Try next:")
    print("  .venv/bin/jupyter lab notebooks/quickstart.ipynb    the same, live, with progress")
    print("  .venv/bin/depotlab engine status                    what runs, and where")
    print("  .venv/bin/depotlab doctor                           what this computer has and lacks")
    return 0


def digests(notebook: nbformat.NotebookNode) -> list[str]:
    """The image digests that the notebook shows as the value of a cell."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            text = output.get("data", {}).get("text/plain", "")
            found += re.findall(r"^'(sha256:[0-9a-f]{64})'$", text)
    return found


if __name__ == "__main__":
    sys.exit(main())
