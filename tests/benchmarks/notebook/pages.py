"""What is measured in a real page: JupyterLab in Chromium, on the clock of the machine that also runs the kernel."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.notebook.kernels import FIRST_CELL
from tests.support.lab import Lab, LabPage, running_browser, running_lab, write_notebook

_MARK = "stamp "
# A frame has been drawn when the first task after its animation callbacks runs.
_SEE_STAMPS = """mark => {
  window.seen = {};
  const look = () => {
    const log = document.querySelector('.depotlab-log');
    for (const line of (log ? log.textContent : '').split(mark).slice(1)) {
      const stamp = line.slice(0, 19);
      if (stamp in window.seen) continue;
      window.seen[stamp] = null;
      requestAnimationFrame(() => setTimeout(() => { window.seen[stamp] = Date.now(); }));
    }
  };
  new MutationObserver(look).observe(document.body,
      {childList: true, subtree: true, characterData: true});
}"""
_COUNT_GAPS = """() => { window.gaps = []; let last = performance.now();
  const tick = now => { window.gaps.push(now - last); last = now; requestAnimationFrame(tick); };
  requestAnimationFrame(tick); }"""


class Pages:
    """A browser and a server; each measurement has a page and a kernel of its own."""

    def __init__(self, lab: Lab, browser: Any) -> None:
        self._lab = lab
        self._browser = browser
        self.browser_version: str = browser.version
        self._n_pages = 0

    @contextmanager
    def page(self, *cells: str) -> Iterator[LabPage]:
        """Open a notebook of these cells, the first of which is 1; the one before has run."""
        self._n_pages += 1
        name = f"measured-{self._n_pages}.ipynb"
        write_notebook(self._lab.root / name, [FIRST_CELL, *cells])
        page = self._lab.page(self._browser, name)
        try:
            page.run_cell(0)
            yield page
        finally:
            page.shut_down_kernel()
            page.close()

    def latencies_ms(self, n_stamps: int, *, n_steps: int) -> list[float]:
        """Return how long each of so many events took to be drawn, in a build of so many active steps."""
        cell = f"inkernel.stamped({n_stamps}, n_steps={n_steps}, mark={_MARK!r}, seed=1)"
        with self.page(cell) as page:
            page.page.evaluate(_SEE_STAMPS, _MARK)
            page.run_cell(1, timeout_s=60 + 2 * n_stamps)
            seen: dict[str, int | None] = page.page.evaluate("() => window.seen")
        drawn = [at_ms - int(stamp) / 1e6 for stamp, at_ms in seen.items() if at_ms is not None]
        assert len(drawn) == n_stamps, f"the page showed {len(drawn)} of {n_stamps} stamps"
        return drawn

    def gaps_ms(self, *, n_steps: int, n_lines: int, seconds: float) -> list[float]:
        """Return the times between the page's frames while a large build is shown."""
        cell = (
            f"inkernel.shown_cpu_s({n_steps}, n_lines={n_lines}, n_parallel=100, seconds={seconds})"
        )
        with self.page(cell) as page:
            page.page.evaluate(_COUNT_GAPS)
            page.run_cell(1, timeout_s=60 + 5 * seconds)
            gaps: list[float] = page.page.evaluate("() => window.gaps")
        return gaps

    def saved_bytes(self, n_steps: int) -> int:
        """Return how large the output of a build is in the saved file."""
        cell = (
            f"inkernel.shown_cpu_s({n_steps}, n_lines={n_steps * 100}, n_parallel=8, seconds=3.0)"
        )
        with self.page(f"{cell};") as page:
            page.run_cell(1)
            page.wait_for_end(1)
            outputs = page.save()["cells"][1]["outputs"]
        return len(json.dumps(outputs).encode())

    def stops_s(self, address: str, *, by: str, rounds: int) -> list[float]:
        """Return how long it took from the press to the cell's end, of a step that would not end by itself.

        Args:
            address: Of the daemon.
            by: `button` or `interrupt`.
            rounds: How often.
        """
        cell = (
            "import depotlab as dl\n"
            f"bk = dl.connect({address!r})\n"
            "bk.build(dl.dockerfile(text='FROM busybox\\nRUN echo begun-$((40 + 2)); sleep 600\\n'))"
        )
        found = []
        for _ in range(rounds):
            with self.page(cell) as page:
                page.start_cell(1)
                page.wait_for_text(1, "begun-42")
                began_s = time.perf_counter()
                if by == "button":
                    page.page.get_by_role("button", name="Cancel", exact=True).click()
                else:
                    page.command("notebook:interrupt-kernel")
                page.wait_for_cell(1)
                found.append(time.perf_counter() - began_s)
        return found


@contextmanager
def opened_pages(folder: Path) -> Iterator[Pages]:
    """Start JupyterLab and a browser, and stop both."""
    for name in ("notebooks", "state"):
        (folder / name).mkdir()
    with (
        running_lab(folder / "notebooks", folder / "state") as lab,
        running_browser() as browser,
    ):
        yield Pages(lab, browser)


def p95(values: list[float]) -> float:
    """Return the value that one in twenty is above."""
    return statistics.quantiles(values, n=20, method="inclusive")[-1]
