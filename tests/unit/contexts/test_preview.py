"""Previews: what they count, list and explain is what file sync would send."""

from __future__ import annotations

import io
import os
import random
import shutil
import socket
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

import depotlab as dl
from depotlab import llb
from depotlab._contexts import Preview, context
from depotlab._contexts import look as looking
from depotlab._transfer import HostTree, make_filter, read_rules
from depotlab.errors import ContextError, SessionError, UsageError
from tests.support import treecases
from tests.support.nobody import nobodys_directory
from tests.unit.contexts.test_tar import PACKED, TAR, Pipe, archive

IGNORE = b"# what is big\n*.csv\n!keep.csv\nbuild/**\n!build/out.txt\n"
FILES: dict[str, str | bytes] = {
    ".dockerignore": IGNORE,
    "Dockerfile": "FROM scratch\nCOPY . /\n",
    "app/main.py": "print(1)\n",
    "big.csv": "1,2\n" * 100,
    "keep.csv": "1",
    "build/a.o": "xxx",
    "build/deep/b.o": "xxxx",
    "build/out.txt": "out",
}
SENT = [".dockerignore", "Dockerfile", "app/main.py", "build/out.txt", "keep.csv"]


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def paths(preview: Preview) -> list[str]:
    return sorted(file.path for file in preview.files())


@pytest.fixture(params=["directory", "memory"])
def project(request: pytest.FixtureRequest, tmp_path: Path):
    return write(tmp_path, FILES) if request.param == "directory" else FILES


def test_what_would_be_sent_is_counted_and_listed(project) -> None:
    preview = context(project).preview()
    assert paths(preview) == SENT
    kept = [name for name in FILES if name in SENT]
    assert preview.kept.n_files == len(SENT)
    assert preview.kept.n_bytes == sum(len(FILES[name]) for name in kept)
    assert preview.kept.n_directories == 2
    assert preview.dropped.n_files == 3
    assert preview.dropped.n_directories == 1  # build/deep
    assert preview.ignore_file == ".dockerignore"
    assert [rule.line for rule in preview.rules] == [2, 3, 4, 5]
    assert preview.biggest_files[0] == (".dockerignore", len(IGNORE))
    assert not preview.warnings
    assert not preview.problems


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("app/main.py", "app/main.py is sent: no rule speaks of it"),
        ("./app//main.py/", "app/main.py is sent: no rule speaks of it"),
        ("app", "app is sent: no rule speaks of it"),
        ("big.csv", "big.csv is left out by .dockerignore:2: *.csv"),
        ("keep.csv", "keep.csv is sent: because of .dockerignore:3: !keep.csv"),
        ("build/a.o", "build/a.o is left out by .dockerignore:4: build/**"),
        ("build/deep/b.o",
         "build/deep/b.o is left out by .dockerignore:4: build/** (it matches build/deep, and so all that is in it)"),
        ("build/out.txt", "build/out.txt is sent: because of .dockerignore:5: !build/out.txt"),
        ("app/mian.py", "app/mian.py is not in the context"),
    ],
)  # fmt: skip
def test_why_names_file_line_and_rule(project, path: str, text: str) -> None:
    why = context(project).preview().why(path)
    assert str(why).startswith(text)
    assert bool(why) is why.is_sent is (" is sent" in text)
    assert repr(why) == f"<{why}>"
    if why.rule is not None:
        line = IGNORE.decode().splitlines()[why.rule.line - 1]
        assert why.rule.text == line


def test_why_knows_the_arguments_too(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    (tmp_path / "mine").write_text("keep.csv\n")
    preview = context(tmp_path, include=["app", "*.csv"], exclude=["big*"]).preview()
    assert (
        str(preview.why("Dockerfile")) == "Dockerfile is left out: nothing in include= matches it"
    )
    assert str(preview.why("app/main.py")).endswith(
        "because of include=app (it matches app, and so all that is in it)"
    )
    assert str(preview.why("big.csv")) == "big.csv is left out by exclude=big*"
    # .dockerignore is not offered, so it is not used.
    assert paths(preview) == ["app/main.py", "keep.csv"]
    own = context(tmp_path, ignore_file=tmp_path / "mine").preview()
    assert str(own.why("keep.csv")) == f"keep.csv is left out by {tmp_path}/mine:1: keep.csv"
    assert str(own.why(".dockerignore")) == ".dockerignore is left out by ignore_file=.dockerignore"
    assert own.why("big.csv")
    assert own.ignore_file == str(tmp_path / "mine")


def test_why_of_a_directory_that_is_sent_for_what_is_below_it(tmp_path: Path) -> None:
    write(tmp_path, {"d/a": "", "d/b": "", "e/x": "", ".dockerignore": "*\n!d/a\n"})
    preview = context(tmp_path).preview()
    assert str(preview.why("d")) == (
        "d is sent only as the directory of what is below it; it is left out by .dockerignore:1: *"
    )
    assert str(preview.why("e")) == "e is left out by .dockerignore:1: *"


def test_why_of_what_is_not_there_or_never_sent(tmp_path: Path) -> None:
    write(tmp_path, {"real/file": "", "other.txt": ""})
    (tmp_path / "link").symlink_to("real")
    (tmp_path / ".fsutil-metadata").touch()
    preview = context(tmp_path).preview()
    assert str(preview.why("othre.txt")).endswith("is not in the context; did you mean other.txt?")
    assert str(preview.why("reel/file")).endswith("did you mean real?")
    assert "link is a link; ask for what it leads to" in str(preview.why("link/file"))
    assert preview.why("link")
    assert "never sent" in str(preview.why(".fsutil-metadata"))
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "s"))
        assert "is a socket" in str(preview.why("s"))
        assert "s" not in paths(preview)
    assert preview.why(tmp_path / "real" / "file")
    for outside in ("..", "../x", "/etc/passwd", ".", ""):
        with pytest.raises(UsageError, match="no path in the context"):
            preview.why(outside)


def test_counts_lists_and_reasons_are_those_of_file_sync(tmp_path: Path) -> None:
    rng = random.Random("previews")
    n_sent = n_left_out = 0
    for number in range(60):
        root = tmp_path / str(number)
        root.mkdir()
        listing = treecases.tree_listing(rng)
        treecases.make_tree(root, listing)
        lines = treecases.aimed_patterns(rng, listing) if number % 4 else []
        ignore = "\n".join(lines).encode("utf-8", "surrogateescape")
        if (root / ".dockerignore").exists() or any(
            line.startswith(".dockerignore") for line in listing
        ):
            continue
        (root / ".dockerignore").write_bytes(ignore)
        exclude = treecases.aimed_patterns(rng, listing, most=3) if number % 3 == 0 else []
        exclude = [
            p
            for p in exclude
            if not p.startswith("!") and b"\xff" not in p.encode("utf-8", "replace")
        ]
        try:
            preview = context(root, exclude=exclude).preview()
        except UsageError:
            continue  # a pattern that only a list can have
        offered = preview._where.choice.filter()  # type: ignore[union-attr]
        keeps_rules = offered is None or offered.explain(".dockerignore").keeps
        rules = [rule.pattern for rule in read_rules(ignore, "x")] if keeps_rules else []
        wanted = make_filter([], rules, None).within(offered)
        entries = [e for e in HostTree(root).walk(wanted) if e is not None]
        files = {e.path.decode("utf-8", "surrogateescape"): e for e in entries if e.mode < 1 << 31}
        assert [file.path for file in preview.files()] == list(files)
        assert preview.kept.n_files == len(files)
        assert preview.kept.n_directories == len(entries) - len(files)
        content = [e.size_bytes for e in files.values() if not e.link and not e.mode >> 16]
        assert (
            preview.kept.n_bytes == sum(content) == sum(file.size_bytes for file in preview.files())
        )
        for directory, names, filenames in os.walk(os.fsencode(root)):
            for name in (*names, *filenames):
                path = os.path.relpath(os.path.join(directory, name), os.fsencode(root))
                text = path.decode("utf-8", "surrogateescape")
                is_sent = any(e.path == path for e in entries)
                assert bool(preview.why(os.fsdecode(path))) is is_sent, (
                    text,
                    str(preview.why(os.fsdecode(path))),
                )
                n_sent += is_sent
                n_left_out += not is_sent
        assert str(preview)
        assert preview._repr_html_()
        shutil.rmtree(root)
    assert n_sent > 200
    assert n_left_out > 200


def test_a_file_with_several_names_counts_once(tmp_path: Path) -> None:
    write(tmp_path, {"a": "12345"})
    os.link(tmp_path / "a", tmp_path / "b")
    preview = context(tmp_path).preview()
    assert (preview.kept.n_files, preview.kept.n_bytes) == (2, 5)
    assert sorted(preview.files()) == [("a", 5), ("b", 0)]


def test_the_ignore_file_may_be_a_link_inside_the_context_only(tmp_path: Path) -> None:
    root = write(tmp_path / "in", {"rules": "a\n", "a": "", "b": ""})
    (root / ".dockerignore").symlink_to("rules")
    assert paths(context(root).preview()) == [".dockerignore", "b", "rules"]
    (tmp_path / "out").write_text("b\n")
    (root / ".dockerignore").unlink()
    (root / ".dockerignore").symlink_to("../out")
    assert "b" in paths(context(root).preview())
    (root / ".dockerignore").unlink()
    (root / ".dockerignore").mkdir()
    assert "a" in paths(context(root).preview())


def test_a_malformed_ignore_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, {".dockerignore": "a\n[\n", "x": ""})
    with pytest.raises(ContextError, match=r"\.dockerignore cannot be used"):
        context(tmp_path).preview()


# --------------------------------------------------------------------------- Dockerfiles


def test_the_ignore_file_of_the_dockerfile_counts(tmp_path: Path) -> None:
    own = {"web.Dockerfile": "FROM x", "web.Dockerfile.dockerignore": "app\n"}
    write(tmp_path, FILES | own)
    preview = dl.dockerfile(tmp_path, filename="web.Dockerfile").preview()
    assert preview.ignore_file == "web.Dockerfile.dockerignore"
    assert str(preview.why("app/main.py")) == (
        "app/main.py is left out by web.Dockerfile.dockerignore:1: app (it matches app, and so all that is in it)"
    )
    assert preview.why("big.csv")
    assert dl.dockerfile(tmp_path).preview().ignore_file == ".dockerignore"
    memory = dl.dockerfile(FILES | own, filename="web.Dockerfile").preview()
    assert memory.ignore_file == "web.Dockerfile.dockerignore"
    assert "most that can be sent" in str(preview)


def test_text_has_no_ignore_file_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, FILES | {"Dockerfile.dockerignore": "app\n"})
    preview = dl.dockerfile(tmp_path, text="FROM scratch").preview()
    assert preview.ignore_file == ".dockerignore"
    assert preview.why("app/main.py")


def test_the_ignore_file_of_a_dockerfile_elsewhere_is_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "context", FILES)
    write(tmp_path / "build", {"Dockerfile": "FROM x", "Dockerfile.dockerignore": "app\n"})
    preview = dl.dockerfile(
        tmp_path / "context", filename=tmp_path / "build" / "Dockerfile"
    ).preview()
    assert not preview.why("app/main.py")


# --------------------------------------------------------------------------- archives and others


@pytest.mark.parametrize("packing", PACKED)
def test_an_archive_is_listed_by_its_headers(packing: str, tmp_path: Path) -> None:
    data = PACKED[packing](archive("app/a.py", "app/b/c.py", ".dockerignore"))
    (tmp_path / "x").write_bytes(data)
    for source in (tmp_path / "x", data, io.BytesIO(data), lambda: iter([data])):
        preview = context(source).preview()
        assert paths(preview) == [".dockerignore", "app/a.py", "app/b/c.py"]
        assert preview.kept.n_directories == 2
        assert preview.rules == ()
        assert "ignore files do not apply to archives" in str(preview)
        assert str(preview.why("app/b")).startswith("app/b is sent")
        assert not preview.why("nowhere")
        assert "did you mean app/a.py" in str(preview.why("app/a.pi"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (iter([TAR]), "read only once"),
        (Pipe(TAR), "read only once"),
        ("https://host/x.git", "fetches a git repository itself"),
        ("https://host/x.tar", "fetches a download itself"),
        (llb.scratch(), "makes the files of a graph itself"),
        ("docker-image://busybox", "fetches an image itself"),
    ],
)
def test_what_is_not_sent_from_here_has_no_preview(source, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        context(source).preview()
    assert caught.value.hint


# --------------------------------------------------------------------------- odd places


@pytest.fixture
def nobodys_tree() -> Iterator[Path]:
    with nobodys_directory() as root:
        yield root


def test_what_cannot_be_read_is_a_problem_only_where_it_would_be_sent(nobodys_tree: Path) -> None:
    write(nobodys_tree, {"a": "", "dir/x": "", "file": "x", "half/y": ""})
    (nobodys_tree / "dir").chmod(0)
    (nobodys_tree / "file").chmod(0)
    (nobodys_tree / "half").chmod(0o400)
    preview = context(nobodys_tree).preview()
    assert list(preview.problems) == [
        "dir cannot be read: permission denied",
        "file cannot be read: permission denied",
        "half/y cannot be read: permission denied",
    ]
    assert all(
        problem in str(preview) and problem in preview._repr_html_() for problem in preview.problems
    )
    with pytest.raises(SessionError):  # and so would the build
        list(preview.files())
    (nobodys_tree / ".dockerignore").write_text("dir\nfile\nhalf/*\n")
    preview = context(nobodys_tree).preview()
    assert preview.problems == ()
    assert paths(preview) == [".dockerignore", "a"]
    (nobodys_tree / "dir").chmod(0o700)
    (nobodys_tree / "half").chmod(0o700)


def test_loops_of_links_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, {"d/f": "1"})
    (tmp_path / "d" / "up").symlink_to("..")
    (tmp_path / "self").symlink_to("self")
    preview = context(tmp_path).preview()
    assert paths(preview) == ["d/f", "d/up", "self"]


def test_names_that_are_no_text_are_shown_on_one_line(tmp_path: Path) -> None:
    write(tmp_path, {os.fsdecode(b"caf\xe9\n\xff"): "x", "<b>$x$ & \\(y\\)": "y"})
    preview = context(tmp_path).preview()
    assert "caf\\xe9\\n\\xff" in str(preview)
    assert "<b>" not in preview._repr_html_().replace("<b>Context</b>", "").replace(
        "<b>2 B</b>", ""
    )
    assert preview.why(os.fsdecode(b"caf\xe9\n\xff"))


def test_of_what_is_left_out_only_so_much_is_counted(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(looking, "_MAX_DROPPED", 5)
    write(
        tmp_path,
        {f"d{n}/f{m}": "x" for n in range(5) for m in range(5)} | {".dockerignore": "d*\n"},
    )
    preview = context(tmp_path).preview()
    assert preview.dropped_is_partial
    assert 5 < preview.dropped.n_files < 25
    assert preview.kept.n_files == 1
    assert "at least" in str(preview)
    assert "at least" in preview._repr_html_()


def test_an_empty_context_is_no_trouble(tmp_path: Path) -> None:
    for source in (tmp_path, {}):
        preview = context(source).preview()
        assert preview.kept.n_files == 0
        assert "nothing" in str(preview)
        assert "nothing" in preview._repr_html_()
        assert list(preview.files()) == []


# --------------------------------------------------------------------------- how it looks


def test_the_repr_is_one_line_and_the_text_is_not_long(project) -> None:
    preview = context(project).preview()
    title = str(preview.title)
    assert repr(preview) == f"<preview of {title}: 5 files, 89 B; 3 files, 407 B left out>"
    text = str(preview)
    assert text.splitlines()[0] == f"Context {title}"
    assert "  would be sent  5 files in 2 directories, 89 B" in text
    assert "  rules          4 rules in .dockerignore" in text
    assert "└─ ✗ big.csv" in text or "├─ ✗ big.csv" in text


class Balance(HTMLParser):
    """Fails if elements are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_html_is_whole_and_loads_nothing(tmp_path: Path) -> None:
    files = {f"src/d{n}/f{m}.py": "x" * (n * m) for n in range(40) for m in range(40)}
    write(tmp_path, files | {".env": "A=1", "big.csv": "x", ".dockerignore": "*.csv\n"})
    html = context(tmp_path).preview()._repr_html_()
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    assert parser.tags <= {"div", "span", "b", "s", "pre", "details", "summary"}
    assert len(html) < 80_000
    assert "likely a secret" in html
    assert "1,602 files" in html


def test_text_and_html_stay_small_for_wide_and_deep_trees(tmp_path: Path) -> None:
    wide = {f"f{n}": "x" for n in range(3000)}
    deep = {"/".join(["d"] * 200) + "/f": "x"}
    for files in (wide, deep, wide | deep):
        preview = context(files).preview()
        assert len(str(preview).splitlines()) < 80
        assert len(preview._repr_html_()) < 80_000


@pytest.mark.parametrize("path", [None, 5, b"app.py"])
def test_why_of_what_is_no_path_is_refused(path) -> None:
    with pytest.raises(UsageError, match="is no path in the context"):
        context({"app.py": ""}).preview().why(path)
