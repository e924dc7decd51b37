"""How widgets are heard while the cell that made them waits.

A cell that waits for its build keeps the kernel from its messages. From ipykernel 7 on there is a
thread that receives them all the same: JupyterLab has its own subshell for widgets, and ipykernel
7.4 asks the widget's comm where a message belongs, which is where we hear it (ipykernel
`kernelbase.py`, `shell_channel_thread_main`). Before that only the stop button reaches a busy cell.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["hear", "hears_while_busy"]


def hears_while_busy() -> bool:
    """Say whether a button can be heard while a cell of this kernel waits."""
    module = sys.modules.get("IPython.core.getipython")
    shell = module.get_ipython() if module is not None else None
    return getattr(getattr(shell, "kernel", None), "shell_channel_thread", None) is not None


def hear(widget: Any, on_click: Callable[[], None] | None = None) -> None:
    """Let a widget's messages be heard while the cell that made it waits, where the kernel can.

    ipykernel 7.4 sends what the page says to whichever shell the comm last spoke from, and that is
    the busy one. This gives back the choice to the page, and hears a click in passing, because
    front ends without subshells leave it to the busy shell.
    """
    if not hasattr(widget.comm, "_reply_subshell_for"):
        return

    def route(data: Any, asked: Any) -> Any:
        content = data.get("content") if isinstance(data, dict) else None
        if on_click is not None and isinstance(content, dict) and content.get("event") == "click":
            on_click()
        return asked

    widget.comm._reply_subshell_for = route  # noqa: SLF001 - the only way to be asked
