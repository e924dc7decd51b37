"""File sync without I/O: packets, patterns, and the sending side. One file of it opens files.

May import `_proto` and `errors`; so far it needs only the latter.
"""

from depotlab._transfer.filemode import is_requestable
from depotlab._transfer.filters import TreeFilter, make_filter
from depotlab._transfer.follow import resolve
from depotlab._transfer.memory import MemoryTree
from depotlab._transfer.packets import Entry, data_head, encode_error
from depotlab._transfer.patterns import BadPattern, Matcher
from depotlab._transfer.sender import Finished, ReceiverFailed, Sender, Wanted
from depotlab._transfer.tree import Content, Tree
from depotlab._transfer.walk import HostTree

__all__ = [
    "BadPattern",
    "Content",
    "Entry",
    "Finished",
    "HostTree",
    "Matcher",
    "MemoryTree",
    "ReceiverFailed",
    "Sender",
    "Tree",
    "TreeFilter",
    "Wanted",
    "data_head",
    "encode_error",
    "is_requestable",
    "make_filter",
    "resolve",
]
