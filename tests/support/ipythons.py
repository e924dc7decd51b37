"""A real IPython without a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


@contextmanager
def ipython() -> Iterator[InteractiveShell]:
    """Yield one that keeps no history, and so has no thread for it."""
    made = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    yield made
    made.restore_sys_module_state()
