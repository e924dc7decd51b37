"""File sync: packets, patterns, the sending and the receiving side, all without I/O; and the disk at both ends.

Files are read in `walk`, written in `treewriter`, and put in place by `merge` and `staging`.

May import `_proto` and `errors`.
"""

from depotlab._transfer.disk import cannot_write, temporary_name, write_all
from depotlab._transfer.filemode import is_requestable
from depotlab._transfer.filters import TreeFilter, Verdict, make_filter
from depotlab._transfer.follow import resolve
from depotlab._transfer.ignorefile import IgnoreRule, listed_rules, read_rules
from depotlab._transfer.memory import MemoryTree
from depotlab._transfer.packets import Entry, data_head, encode_error
from depotlab._transfer.patterns import BadPattern, Matcher
from depotlab._transfer.receiver import Receiver, SenderFailed
from depotlab._transfer.sender import Finished, ReceiverFailed, Sender, Wanted
from depotlab._transfer.staging import Staging
from depotlab._transfer.tree import Content, Tree
from depotlab._transfer.treewriter import TreeWriter
from depotlab._transfer.walk import HostTree

__all__ = [
    "BadPattern",
    "Content",
    "Entry",
    "Finished",
    "HostTree",
    "IgnoreRule",
    "Matcher",
    "MemoryTree",
    "Receiver",
    "ReceiverFailed",
    "Sender",
    "SenderFailed",
    "Staging",
    "Tree",
    "TreeFilter",
    "TreeWriter",
    "Verdict",
    "Wanted",
    "cannot_write",
    "data_head",
    "encode_error",
    "is_requestable",
    "listed_rules",
    "make_filter",
    "read_rules",
    "resolve",
    "temporary_name",
    "write_all",
]
