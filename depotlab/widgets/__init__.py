"""Views of a build: each is a function of a `progress.Snapshot` and a place to show it.

May import `progress` and `errors`. ipywidgets, IPython and rich are loaded when a view that needs
them is opened, never on import.
"""

from depotlab.widgets._ansi import colored_html
from depotlab.widgets._choose import ProgressMode, choose
from depotlab.widgets._details import Details
from depotlab.widgets._hearing import hears_while_busy
from depotlab.widgets._html import final_html, frame_html
from depotlab.widgets._json import JsonView
from depotlab.widgets._notebook import NotebookMode, NotebookView, is_in_kernel
from depotlab.widgets._plain import PlainView, PlainWriter, final_text
from depotlab.widgets._shell import Keys, ShellView, transcript_text
from depotlab.widgets._shell_notebook import NotebookShell
from depotlab.widgets._shell_terminal import TerminalShell, has_terminal
from depotlab.widgets._stepviews import StepViews
from depotlab.widgets._terminal import TerminalView, terminal_frame
from depotlab.widgets._ticker import Source, Ticker
from depotlab.widgets._timeline import Timeline, TimelineRow
from depotlab.widgets._view import QuietView, View

__all__ = [
    "Details",
    "JsonView",
    "Keys",
    "NotebookMode",
    "NotebookShell",
    "NotebookView",
    "PlainView",
    "PlainWriter",
    "ProgressMode",
    "QuietView",
    "ShellView",
    "Source",
    "StepViews",
    "TerminalShell",
    "TerminalView",
    "Ticker",
    "Timeline",
    "TimelineRow",
    "View",
    "choose",
    "colored_html",
    "final_html",
    "final_text",
    "frame_html",
    "has_terminal",
    "hears_while_busy",
    "is_in_kernel",
    "terminal_frame",
    "transcript_text",
]
