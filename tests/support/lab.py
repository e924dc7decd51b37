"""A real JupyterLab and a real browser for tests: start, open, run, look, stop.

The server listens on loopback with a token and directories of its own, so that nothing of a
user's settings shows; the browser is the system's Chromium, never one that playwright downloads.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import story
from tests.support.ports import held_port

REPO = Path(__file__).resolve().parents[2]
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_VIEWPORT = {"width": 1100, "height": 800}
PATIENCE_S = 180.0
"""How long what must come is waited for. A machine may be slow and busy, and only a failing test waits so long."""
_BROWSER_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--mute-audio",
)
_READY = """async () => {
  const w = window.jupyterapp && window.jupyterapp.shell.currentWidget;
  if (!w || !w.context || !w.sessionContext) return false;
  await w.context.ready; await w.sessionContext.ready;
  const k = w.sessionContext.session && w.sessionContext.session.kernel;
  if (!k || k.connectionStatus !== 'connected') return false;
  await k.info; return k.status === 'idle'; }"""
_LOADED = """async () => {
  const w = window.jupyterapp && window.jupyterapp.shell.currentWidget;
  if (!w || !w.context) return false;
  await w.context.ready; return w.content.widgets.length > 0; }"""


def kernel_path() -> str:
    """`PYTHONPATH` for kernels: the checkout, and the helpers as top-level modules.

    Not as `tests.support`: another package's top-level `tests` would come before ours.
    """
    inherited = os.environ.get("PYTHONPATH", "")
    return os.pathsep.join(filter(None, [str(REPO), str(REPO / "tests" / "support"), inherited]))


def artifacts() -> Path:
    """Where pictures go: `DEPOTLAB_ARTIFACTS`, else `build/screenshots` of the checkout."""
    folder = Path(os.environ.get("DEPOTLAB_ARTIFACTS", REPO / "build" / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def chromium() -> str | None:
    return next((path for name in _CHROMIUM if (path := shutil.which(name))), None)


def write_notebook(path: Path, cells: Sequence[str]) -> None:
    import nbformat

    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(notebook, str(path))


@dataclass
class Lab:
    """A running server. `root` is the folder that it shows."""

    port: int
    token: str
    root: Path
    process: subprocess.Popen[bytes]
    keeps_pages: bool = False
    """Whether a page that is closed is kept for the next notebook: to load JupyterLab takes far longer than a test."""
    _kept: list[tuple[Any, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def page(self, browser: Any, notebook: str, **options: Any) -> LabPage:
        """Open a notebook of `root` in a workspace of its own, or in the page of one that was closed."""
        workspace = f"test-{secrets.token_hex(4)}"
        kept = next((each for each in self._kept if each[0] is browser and not options), None)
        if kept is not None:
            self._kept.remove(kept)
            page = LabPage(self, browser, kept[1], notebook, workspace, is_usual=True)
            page.open()
            return page
        context = browser.new_context(**{"viewport": _VIEWPORT, **options})
        context.set_default_timeout(PATIENCE_S * 1000)
        page = LabPage(self, browser, context.new_page(), notebook, workspace, is_usual=not options)
        page.goto()
        return page

    def keep(self, browser: Any, page: Any) -> None:
        """Keep a page, in which no notebook is open any more, for the next one."""
        self._kept.append((browser, page))


@contextmanager
def running_lab(root: Path, state: Path, *, keeps_pages: bool = False) -> Iterator[Lab]:
    """Start JupyterLab on a free loopback port, and stop that very process at the end."""
    held = held_port()
    port = held.getsockname()[1]
    token = secrets.token_hex(16)
    env = dict(os.environ)
    for name in (
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_DATA_DIR",
        "JUPYTER_RUNTIME_DIR",
        "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR",
        "IPYTHONDIR",
    ):
        folder = state / name.lower()
        folder.mkdir(parents=True, exist_ok=True)
        env[name] = str(folder)
    env["PYTHONPATH"] = kernel_path()
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *("--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
        *(f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}"),
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        *("--LabApp.news_url=None", "--LabApp.extension_manager=readonly"),
        "--LabApp.expose_app_in_browser=True",
    ]
    with (state / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, cwd=root, stdout=log, stderr=log)
        lab = Lab(port, token, root, process, keeps_pages)
        try:
            _wait_for_server(lab, state / "server.log")
            yield lab
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            held.close()


def _wait_for_server(lab: Lab, log: Path, *, timeout_s: float = PATIENCE_S) -> None:
    give_up_s = time.monotonic() + timeout_s
    while time.monotonic() < give_up_s:
        if lab.process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{lab.url}/api/status?token={lab.token}", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text(errors='replace')[-3000:]}")


@contextmanager
def running_browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), headless=True, args=list(_BROWSER_ARGS)
        )
        try:
            yield browser
        finally:
            browser.close()


class LabPage:
    """One notebook, open in the browser."""

    def __init__(
        self, lab: Lab, browser: Any, page: Any, notebook: str, workspace: str, *, is_usual: bool
    ) -> None:
        self.lab = lab
        self.page = page
        self.notebook = notebook
        self._browser = browser
        self._workspace = workspace
        self._is_usual = is_usual
        self._counts: dict[int, int | None] = {}

    def go_on(self, until_s: float = math.inf) -> None:
        """Let a `story.Story` in this notebook be told up to this second of it; by default to its end."""
        story.allow((self.lab.root / self.notebook).with_suffix(".until"), until_s)

    def goto(self, *, with_kernel: bool = True) -> None:
        """Load the page (again), and wait until the notebook can be used."""
        path = f"{self.lab.url}/lab/workspaces/{self._workspace}/tree/{self.notebook}"
        self.page.goto(f"{path}?token={self.lab.token}&reset")
        self.wait_until(_READY if with_kernel else _LOADED, timeout_s=PATIENCE_S)

    def open(self) -> None:
        """Open the notebook in a JupyterLab that is loaded already, and wait until it can be used."""
        self.page.mouse.move(0, 0)
        self.command("docmanager:open", path=self.notebook)
        self.wait_until(_READY, timeout_s=PATIENCE_S)

    def wait_until(self, script: str, *, timeout_s: float) -> None:
        """Ask again and again until an async function of the page says true."""
        from playwright.sync_api import Error

        give_up_s = time.monotonic() + timeout_s
        answer: object = None
        while time.monotonic() < give_up_s:
            try:
                answer = self.page.evaluate(script)
            except Error as error:  # the page went elsewhere while it thought about it
                answer = error
            if answer is True:
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"the page never became ready: {answer!r}")

    def command(self, name: str, **arguments: object) -> None:
        """Begin a command of the front end, without waiting for its end."""
        self.page.evaluate(
            "([name, args]) => { window.jupyterapp.commands.execute(name, args); }",
            [name, arguments],
        )

    def start_cell(self, index: int) -> None:
        self._counts[index] = self.page.evaluate(
            """i => { const content = window.jupyterapp.shell.currentWidget.content;
                      content.activeCellIndex = i;
                      return content.widgets[i].model.executionCount; }""",
            index,
        )
        self.command("notebook:run-cell")

    def wait_for_cell(self, index: int, *, timeout_s: float = PATIENCE_S) -> None:
        """Wait until the cell has a new number, and the page has all that the kernel said of it."""
        self.page.wait_for_function(
            """([i, before]) => { const w = window.jupyterapp.shell.currentWidget;
                      const count = w.content.widgets[i].model.executionCount;
                      return count !== null && count !== before
                          && w.sessionContext.session.kernel.status === 'idle'; }""",
            arg=[index, self._counts.get(index)],
            timeout=timeout_s * 1000,
        )

    def run_cell(self, index: int, *, timeout_s: float = PATIENCE_S) -> None:
        self.start_cell(index)
        self.wait_for_cell(index, timeout_s=timeout_s)

    def wait_for_text(self, index: int, text: str, *, timeout_s: float = PATIENCE_S) -> None:
        """Wait until this stands below the cell."""
        self._output(index).get_by_text(text).first.wait_for(timeout=timeout_s * 1000)

    def wait_for_end(self, index: int, *, timeout_s: float = PATIENCE_S) -> None:
        """Wait until the live view of a build below the cell has become what will be saved."""
        self.page.wait_for_function(
            """i => { const outputs = window.jupyterapp.shell.currentWidget
                          .content.widgets[i].model.outputs.toJSON();
                      return outputs.some(o => o.data && o.data['text/html'])
                          && !outputs.some(o => o.data
                              && o.data['application/vnd.jupyter.widget-view+json']); }""",
            arg=index,
            timeout=timeout_s * 1000,
        )

    def wait_for_saved(self, index: int, text: str, *, timeout_s: float = PATIENCE_S) -> None:
        """Wait until this stands in the plain text that will be saved of the cell's first output."""
        self.page.wait_for_function(
            """([i, text]) => { const [first] = window.jupyterapp.shell.currentWidget
                          .content.widgets[i].model.outputs.toJSON();
                      return [first?.data?.['text/plain'] ?? ''].flat().join('').includes(text); }""",
            arg=[index, text],
            timeout=timeout_s * 1000,
        )

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """The outputs as they will be saved."""
        script = (
            "i => JSON.stringify(window.jupyterapp.shell.currentWidget"
            ".content.widgets[i].model.outputs.toJSON())"
        )
        found: list[dict[str, Any]] = json.loads(self.page.evaluate(script, index))
        return found

    def text(self, index: int) -> str:
        """What a reader sees below the cell."""
        return str(self._output(index).inner_text())

    def save(self) -> dict[str, Any]:
        """Save, and return the file."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")
        loaded: dict[str, Any] = json.loads((self.lab.root / self.notebook).read_text())
        return loaded

    def shut_down_kernel(self) -> None:
        self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()",
        )

    def theme(self, name: str) -> None:
        """Change the theme, and wait until the page is drawn in it."""
        self.command("apputils:change-theme", theme=name)
        self.page.wait_for_function(
            """name => document.body.dataset.jpThemeName === name
                && !document.getElementById('jupyterlab-splash')""",
            arg=name,
        )

    def hide_side_bar(self) -> None:
        """Leave all of a narrow page to the notebook."""
        self.command("application:toggle-left-area")
        self.page.locator("#jp-left-stack").wait_for(state="hidden")

    def picture(self, name: str, index: int | None = None) -> Path:
        """Save a picture of the page, or of one cell's output, and return where it is."""
        path = artifacts() / f"{name}.png"
        # Tall enough for the whole output: what is scrolled out of sight is not drawn.
        size = self.page.viewport_size
        if index is not None:
            self.page.set_viewport_size({**size, "height": 1_600})
            self.page.wait_for_timeout(200)
        for toast in self.page.query_selector_all(".Toastify, .jp-toast-container"):
            toast.evaluate("node => node.remove()")
        if index is None:
            self.page.screenshot(path=str(path))
        else:
            self._output(index).screenshot(path=str(path))
            self.page.set_viewport_size(size)
        return path

    def close(self) -> None:
        if not (self.lab.keeps_pages and self._is_usual):
            self.page.context.close()
            return
        # Disposed of, and not closed: that would ask whether to save.
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.dispose()")
        self.lab.keep(self._browser, self.page)

    def _output(self, index: int) -> Any:
        return self.page.locator(".jp-Cell").nth(index).locator(".jp-OutputArea").first
