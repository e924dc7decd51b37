"""Files of a state as values: what they are called, how they are shown, how they are found."""

import pytest

from depotlab._proto import fsutil_stat_pb2
from depotlab.buildkit import FileTree, Listing, SizeEntry, Sizes
from depotlab.buildkit.fileinfo import file_info

DIR, LINK, SETUID, STICKY = 1 << 31, 1 << 27, 1 << 23, 1 << 20


def stat(path, mode=0o644, **fields):
    return file_info(fsutil_stat_pb2.Stat(path=path.rpartition("/")[2], mode=mode, **fields), path)


FILES = Listing(
    "/app",
    [
        stat("/app/src", DIR | 0o755),
        stat("/app/main.py", size=1200, modTime=1_700_000_000_000_000_001),
        stat("/app/now", LINK | 0o777, size=7, linkname="main.py"),
        stat("/app/twin.py", size=1200, linkname="main.py"),
    ],
)


@pytest.mark.parametrize(
    ("mode", "kind", "text", "octal"),
    [
        pytest.param(0o644, "file", "-rw-r--r--", 0o644, id="a file"),
        pytest.param(DIR | 0o755, "directory", "drwxr-xr-x", 0o755, id="a directory"),
        pytest.param(LINK | 0o777, "symlink", "lrwxrwxrwx", 0o777, id="a link"),
        pytest.param(SETUID | 0o755, "file", "-rwsr-xr-x", 0o4755, id="setuid"),
        pytest.param(SETUID | 0o644, "file", "-rwSr--r--", 0o4644, id="setuid, not executable"),
        pytest.param(DIR | STICKY | 0o777, "directory", "drwxrwxrwt", 0o1777, id="sticky"),
        pytest.param(1 << 25 | 0o600, "pipe", "prw-------", 0o600, id="a pipe"),
        pytest.param(1 << 26 | 1 << 21 | 0o600, "device", "crw-------", 0o600, id="a device"),
    ],
)
def test_modes_of_go_become_those_of_unix(mode, kind, text, octal):
    found = stat("/x", mode)
    assert (found.kind, found.mode_text, found.mode) == (kind, text, octal)


def test_a_hard_link_is_no_symlink():
    twin = FILES["twin.py"]
    assert twin.is_file
    assert twin.same_as == "/app/main.py"
    assert twin.link_target == ""
    assert FILES["now"].link_target == "main.py"


def test_a_listing_is_asked_by_name_and_by_path():
    assert "main.py" in FILES
    assert "/app/main.py" in FILES
    assert "src/" in FILES
    assert "main" not in FILES
    assert "/main.py" not in FILES
    assert FILES["main.py"] in FILES
    with pytest.raises(KeyError):
        FILES["nope"]


def test_a_listing_counts_hard_links_once():
    assert FILES.total_bytes == 1200


def test_a_listing_is_a_value():
    again = Listing("/app", list(FILES))
    assert again == FILES
    assert hash(again) == hash(FILES)
    assert again[1:3] == FILES[1:3]


def test_a_listing_says_itself_on_one_line_and_as_ls_does():
    assert repr(FILES) == "<4 entries in /app, 1.2 kB: src/, main.py, now, twin.py>"
    assert str(FILES).splitlines()[1] == (
        "-rw-r--r--     0     0       1200 2023-11-14 22:13 main.py"
    )
    assert str(FILES).splitlines()[2].endswith("now -> main.py")


def test_names_cannot_be_html():
    files = Listing("/", [stat("/<b>&", size=1)])
    assert "<b>&" not in files._repr_html_().replace("<b>1 entry", "")
    assert "&lt;b&gt;&amp;" in files._repr_html_()
    tree = FileTree(stat("/", DIR | 0o755), (FileTree(files[0]),))
    assert "&lt;b&gt;&amp;" in tree._repr_html_()


def test_a_long_listing_shows_a_part():
    many = Listing("/", [stat(f"/f{n}") for n in range(500)])
    assert many._repr_html_().count("<tr>") == 201
    assert "and 300 more" in many._repr_html_()


def test_a_tree_is_drawn_with_its_last_branches():
    tree = FileTree(
        stat("/app", DIR | 0o755),
        (
            FileTree(stat("/app/a", DIR | 0o755), (FileTree(stat("/app/a/x", size=5)),)),
            FileTree(stat("/app/b", DIR | 0o755)),
            FileTree(stat("/app/c", LINK, linkname="a")),
        ),
    )
    assert str(tree).splitlines() == [
        "/app",
        "├── a/",
        "│   └── x (5 B)",
        "├── b/ …",
        "└── c -> a",
    ]
    assert [info.path for info in tree.walk()] == ["/app", "/app/a", "/app/a/x", "/app/b", "/app/c"]
    assert repr(tree) == "<FileTree of /app: 4 entries>"


def test_the_saved_form_of_a_large_tree_stays_small():
    nodes = tuple(FileTree(stat(f"/directory-number-{n}", size=n)) for n in range(5000))
    html = FileTree(stat("/", DIR | 0o755), nodes)._repr_html_()
    assert len(html) < 60_000
    assert html.endswith("<div>…</div></div>")


def test_sizes_are_sorted_and_have_bars():
    sizes = Sizes("/", [SizeEntry(stat("/a"), 10, 1), SizeEntry(stat("/b", DIR), 3_000_000, 20)])
    assert [entry.info.name for entry in sizes] == ["b", "a"]
    assert (sizes.total_bytes, sizes.n_files) == (3_000_010, 21)
    assert repr(sizes) == "</: 3.0 MB in 21 files; b 3.0 MB, a 10 B>"
    assert "width:120px" in sizes._repr_html_()
