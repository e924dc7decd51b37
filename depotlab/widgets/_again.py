"""A build that is over, opened again to be read: rows, boxes and bars to pick, all of the output, files.

What a build leaves in its cell is static, so that the saved file is whole without a kernel. (A widget beside the HTML
would be shown instead of it when the file is opened again, and be an error there: JupyterLab 4.6 takes the widget
whenever it trusts the file.) So this is an output of its own, which is asked for; its Close button makes it static too.
"""

from __future__ import annotations

import contextvars
import sys
import uuid
from typing import Any

from depotlab.progress import Snapshot
from depotlab.widgets._details import Details
from depotlab.widgets._html import final_html
from depotlab.widgets._live import Live
from depotlab.widgets._notebook import VIEW_TYPE, is_in_kernel, notebook_mode
from depotlab.widgets._plain import final_text

__all__ = ["show_again"]

_MAX_ROWS = 30


def show_again(snapshot: Snapshot, details: Details | None = None) -> None:
    """Show a build that is over: in a notebook to be read and clicked, elsewhere as text on standard output.

    Args:
        snapshot: The end of the build.
        details: What knows more of the steps.
    """
    mode = notebook_mode() if is_in_kernel() else "text"
    if mode == "text":
        sys.stdout.write(f"{final_text(snapshot)}\n")
    elif mode != "off":
        _Opened(snapshot, details).show(has_widgets=mode == "widgets", has_html=mode != "plain")


class _Opened:
    """One output."""

    def __init__(self, snapshot: Snapshot, details: Details | None) -> None:
        self._snapshot = snapshot
        self._details = details
        self._live: Live | None = None
        self._display_id = f"depotlab-{uuid.uuid4().hex}"

    def show(self, *, has_widgets: bool, has_html: bool) -> None:
        bundle: dict[str, Any] = {"text/plain": final_text(self._snapshot)}
        if has_html:
            bundle["text/html"] = final_html(self._snapshot, details=self._details)
        if has_widgets:
            self._live = Live(lambda: None, self._details)
            self._live.rest(
                self._snapshot,
                max_rows=_MAX_ROWS,
                on_close=self._close,
                context=contextvars.copy_context(),
            )
            bundle[VIEW_TYPE] = self._live.view()
        self._publish(bundle, is_update=False)

    def _close(self) -> None:
        if self._live is None:
            return
        html = final_html(self._snapshot, details=self._details)
        self._live.settle(html)
        self._live = None
        bundle = {"text/plain": final_text(self._snapshot), "text/html": html}
        self._publish(bundle, is_update=True)

    def _publish(self, bundle: dict[str, Any], *, is_update: bool) -> None:
        from IPython.display import display

        display(bundle, raw=True, display_id=self._display_id, update=is_update)  # type: ignore[no-untyped-call]
