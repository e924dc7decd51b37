"""The rows of a tree that is clicked through: what opens, what closes, what is shown beside it."""

import pytest

from depotlab._inside.browsing import Rows, _preview
from depotlab._proto import fsutil_stat_pb2
from depotlab.buildkit import FileTree
from depotlab.buildkit.fileinfo import file_info

DIR = 1 << 31


def node(path, *children, mode=0o644, **fields):
    info = file_info(fsutil_stat_pb2.Stat(mode=DIR | 0o755 if children else mode, **fields), path)
    return FileTree(info, children or None)


TOP = node("/", node("/bin", mode=DIR | 0o755), node("/etc", mode=DIR), node("/f", size=1200))
ETC = node("/etc", node("/etc/hosts", size=7), node("/etc/l", mode=1 << 27, linkname="hosts"))


def texts(rows):
    return [text.replace("\u00a0", " ") for text, _ in rows.listed()]


def test_the_first_level_is_closed():
    assert texts(Rows(TOP)) == ["▸ bin/", "▸ etc/", "   f · 1.2 kB"]


def test_a_directory_opens_in_place_and_closes_again():
    rows = Rows(TOP)
    assert not rows.is_known("/etc")
    rows.add(ETC)
    rows.toggle("/etc")
    assert texts(rows) == [
        "▸ bin/",
        "▾ etc/",
        "       hosts · 7 B",
        "       l → hosts",
        "   f · 1.2 kB",
    ]
    rows.toggle("/etc")
    assert texts(rows) == texts(Rows(TOP))
    assert rows.is_known("/etc")


@pytest.mark.parametrize(
    ("data", "size", "shown"),
    [
        (b"a < b\n", 6, "a &lt; b"),
        (b"", 0, "<pre"),
        (b"\x7fELF\0\1", 6, "7f 45 4c 46 00 01"),
        ("ä".encode() * 2048, 5000, "äää"),
        (b"x" * 4095 + "ä".encode()[:1], 9000, "xxx"),
    ],
    ids=["text", "nothing", "bytes", "a part of a text", "a letter cut in two"],
)
def test_the_beginning_of_a_file(data, size, shown):
    assert shown in _preview(data, size)
    assert ("in all" in _preview(data, size)) is (size > len(data) or data.startswith(b"\x7f"))
