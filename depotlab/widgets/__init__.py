"""Views of a build: each is a function of a `progress.Snapshot` and a place to show it.

May import `progress` and `errors`. ipywidgets, IPython and rich are loaded when a view that needs
them is opened, never on import.
"""

from depotlab.widgets._choose import ProgressMode, choose
from depotlab.widgets._html import final_html, frame_html
from depotlab.widgets._json import JsonView
from depotlab.widgets._notebook import NotebookMode, NotebookView
from depotlab.widgets._plain import PlainView, PlainWriter, final_text
from depotlab.widgets._terminal import TerminalView, terminal_frame
from depotlab.widgets._ticker import Source, Ticker
from depotlab.widgets._view import QuietView, View

__all__ = [
    "JsonView",
    "NotebookMode",
    "NotebookView",
    "PlainView",
    "PlainWriter",
    "ProgressMode",
    "QuietView",
    "Source",
    "TerminalView",
    "Ticker",
    "View",
    "choose",
    "final_html",
    "final_text",
    "frame_html",
    "terminal_frame",
]
