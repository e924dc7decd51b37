"""`context(...)`: which kind a source is, and what is refused."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from depotlab import llb
from depotlab._contexts import Context, Directory, File, Files, Graph, Image, OciImage, context
from depotlab.errors import ContextError, DepotlabError, ReferenceInvalid, UsageError
from tests.unit.contexts.test_tar import TAR


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """A layout with one image, `app`."""
    root = tmp_path / "layout"
    (root / "blobs/sha256").mkdir(parents=True)
    import hashlib

    config = b"{}"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": "sha256:" + hashlib.sha256(config).hexdigest(),
                "size": len(config),
            },
            "layers": [],
        }
    ).encode()
    for blob in (config, manifest):
        (root / "blobs/sha256" / hashlib.sha256(blob).hexdigest()).write_bytes(blob)
    digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": len(manifest),
        "annotations": {"org.opencontainers.image.ref.name": "app"},
    }
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return root


def test_the_kind_is_found_from_the_source(tmp_path: Path, layout: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(TAR)
    sources = {
        "directory": [tmp_path, str(tmp_path)],
        "memory": [{}, {"a": "1", "b/c": b"2", "run": File("#!", 0o755)}],
        "tar": [path, str(path), TAR, io.BytesIO(TAR), iter([TAR]), lambda: iter([TAR])],
        "git": ["https://host/x.git", "git@host:x"],
        "http": ["https://host/x.tar"],
        "graph": [llb.scratch(), llb.image("busybox").run("true")],
        "image": ["docker-image://busybox", "docker-image://scratch"],
        "oci-layout": [f"oci-layout://{layout}", f"oci-layout://{layout}:app"],
    }
    for kind, some in sources.items():
        for source in some:
            assert context(source).kind == kind, source


def test_a_context_is_a_value(tmp_path: Path) -> None:
    assert context({"a": "1"}) == context({"a": File(b"1").content.decode()})
    assert context(tmp_path) == context(str(tmp_path))
    assert hash(context(tmp_path)) == hash(context(tmp_path))
    assert hash(context({"a": "1"})) == hash(context({"a": "1"}))
    found = context(tmp_path)
    assert context(found) is found
    with pytest.raises(AttributeError):
        found.where = None  # type: ignore[misc]


def test_the_repr_is_one_line(tmp_path: Path, layout: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(TAR)
    assert [
        repr(context(one)) for one in (tmp_path, path, {"a": "s3cret"}, {}, "docker-image://a")
    ] == [
        f"<context: directory {tmp_path}>",
        f"<context: tar {path}>",
        "<context: 1 file in memory>",
        "<context: 0 files in memory>",
        "<context: image a>",
    ]
    assert repr(context(iter([TAR]))) == "<context: tar a list_iterator>"
    assert repr(context(TAR)) == f"<context: tar {len(TAR):,} bytes>"
    assert repr(context(f"oci-layout://{layout}:app")) == f"<context: oci-layout {layout}:app>"
    assert "s3cret" not in repr(context({"a": "s3cret"}).where)
    assert "\n" not in repr(context(llb.image("busybox")))


def test_a_directory_is_absolute_and_its_choice_goes_along(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "rules").write_text("*.log\n")
    monkeypatch.chdir(tmp_path)
    where = context("app", include=["src"], exclude=["**/x"], ignore_file="rules").where
    assert isinstance(where, Directory)
    assert where.host_path == tmp_path / "app"
    assert where.choice.include == ("src",)
    assert where.choice.exclude == ("**/x",)
    assert where.choice.ignore_file == tmp_path / "rules"


def sent(found: Context) -> list[str]:
    where = found.where
    assert isinstance(where, Directory | Files)
    from depotlab._transfer import TreeFilter

    return [e.path.decode() for e in where.tree().walk(TreeFilter()) if e is not None]


def test_what_is_chosen_is_all_that_is_offered(tmp_path: Path) -> None:
    files = {"a.py": "", "a.log": "", "d/b.py": "", "d/b.log": "", ".dockerignore": "*.py\n"}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    rules = tmp_path.with_name(tmp_path.name + ".rules")
    rules.write_text("# mine\n**/*.log\n!/a.log\n")
    for source in (tmp_path, files):
        assert sent(context(source, include=["/d"])) == ["d", "d/b.log", "d/b.py"]
        assert sent(context(source, exclude=["d", "*.log"])) == [".dockerignore", "a.py"]
        # The ignore file of the tree is not sent, so that the builder does not use it too.
        assert sent(context(source, ignore_file=rules)) == ["a.log", "a.py", "d", "d/b.py"]
        assert sent(context(source, ignore_file=rules, exclude=["!.dockerignore"])) == [
            "a.log", "a.py", "d", "d/b.py",
        ]  # fmt: skip


def test_files_keep_their_permissions() -> None:
    where = context({"run": File("#!", mode=0o755), "data": "1"}).where
    assert isinstance(where, Files)
    from depotlab._transfer import TreeFilter

    assert {e.path: e.mode for e in where.tree().walk(TreeFilter())} == {
        b"run": 0o755,
        b"data": 0o644,
    }


def test_the_parts_of_a_layout(layout: Path) -> None:
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    for end, ref in (("", ""), (":app", "app"), (f"@{digest}", digest)):
        where = context(f"oci-layout://{layout}{end}").where
        assert where == OciImage(layout, ref)
        assert str(where) == f"{layout}{end}"


BAD: list[tuple[object, str, str]] = [
    (7, "7 is nothing", ""),
    (None, "None is nothing", ""),
    ([], "nothing that the files", "bk.to_state(dockerfile)"),
    (dict, "nothing that the files", ""),
    ("", "empty text", "'.'"),
    ({1: "x"}, "1 is no path", ""),
    ({"a": 1}, "content of 'a' is int", "File("),
    ({"a": {"b": "c"}}, "content of 'a' is dict", "'a/b'"),
    ({"/a": ""}, "'/a' cannot be the path", "relative"),
    ({"a/../b": ""}, "cannot be the path", ""),
    ({"a": "", "a/b": ""}, "a file and a directory at once", ""),
    ({"a\0b": ""}, "cannot be the path", ""),
    ({"a\ud800": ""}, "cannot be the path", ""),
    ({"a": "\udc80"}, "'a' in the context: The content of a file cannot be written", "bytes"),
    ("https://host/\ud800.git", "cannot be written as UTF-8", ""),
    ("docker-image://Not A Ref", "names no image", ""),
    ("docker-image://", "names no image", ""),
    ("oci-layout://", "", ""),
    ("docker-imag:busybox", "does not exist", "docker-image://"),
    ("gitlab.com/me/app", "does not exist", "https://gitlab.com/me/app.git"),
]


@pytest.mark.parametrize(("source", "words", "hint"), BAD)
def test_what_is_no_source_is_refused(source: object, words: str, hint: str) -> None:
    with pytest.raises(DepotlabError) as caught:
        context(source)  # type: ignore[arg-type]
    assert words in caught.value.message
    assert hint in caught.value.hint
    assert isinstance(caught.value, UsageError)


def test_a_path_that_is_nearly_right_is_named(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    with pytest.raises(ContextError) as caught:
        context(tmp_path / "projekt")
    assert caught.value.hint == f"did you mean {tmp_path / 'project'}?"
    with pytest.raises(ContextError) as caught:
        context(tmp_path / "zzz")
    assert str(Path.cwd()) in caught.value.hint


def test_the_home_of_nobody_is_a_path_like_any_other(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ContextError, match="does not exist"):
        context("~no-such-user-of-depotlab/app")
    (tmp_path / "~no-such-user-of-depotlab").mkdir()
    assert context("~no-such-user-of-depotlab").kind == "directory"


def test_what_is_refused_is_not_quoted_whole() -> None:
    with pytest.raises(UsageError) as caught:
        context([b"x" * 100_000])  # type: ignore[arg-type]
    assert len(caught.value.message) < 300


def test_a_file_that_cannot_be_read_from_is_refused_where_it_is_given(tmp_path: Path) -> None:
    closed = io.BytesIO(TAR)
    closed.close()
    with pytest.raises(UsageError, match="it is closed"):
        context(closed)
    with (tmp_path / "x").open("wb") as writing, pytest.raises(UsageError, match="writing only"):
        context(writing)  # type: ignore[arg-type]


def test_what_is_neither_a_directory_nor_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ContextError, match="a link to nothing"):
        context(tmp_path / "dangling")
    with pytest.raises(ContextError, match="neither a directory nor a file"):
        context(tmp_path / "pipe")


def test_a_directory_that_is_no_layout_and_a_tag_that_is_not_there(
    tmp_path: Path, layout: Path
) -> None:
    with pytest.raises(ContextError) as caught:
        context(f"oci-layout://{tmp_path}")
    assert str(tmp_path) in caught.value.message
    with pytest.raises(ContextError, match="app"):
        context(f"oci-layout://{layout}:other")
    archive = tmp_path / "image.tar"
    archive.write_bytes(TAR)
    with pytest.raises(ContextError, match="is a file; an OCI layout is a directory"):
        context(f"oci-layout://{archive}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"include": "src"}, "is one string"),
        ({"exclude": [""]}, "no pattern"),
        ({"exclude": [3]}, "no pattern"),
        ({"exclude": ["a["]}, "malformed"),
        ({"exclude": ["!"]}, "malformed"),
        ({"include": ["[]"]}, "malformed"),
        ({"exclude": ["\ud800"]}, "malformed"),
        ({"ignore_file": "not-there"}, "cannot be read"),
    ],
)
def test_choices_that_cannot_work_are_refused(tmp_path: Path, arguments, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        context(tmp_path, **arguments)


def test_only_trees_can_be_chosen_from() -> None:
    for source in (TAR, "https://host/x.git", llb.scratch(), "docker-image://x"):
        with pytest.raises(UsageError, match="go with a directory or a mapping"):
            context(source, exclude=["x"])
    with pytest.raises(UsageError, match="already"):
        context(context({}), exclude=["x"])


def test_a_malformed_ignore_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("ok\na[\n")
    with pytest.raises(ContextError, match=r"rules cannot be used: .*'a\['"):
        context(tmp_path, ignore_file=tmp_path / "rules")


@pytest.mark.parametrize(
    ("content", "mode"),
    [(1, 0o644), ("\ud800", 0o644), ("x", 755), ("x", -1), ("x", True), ("x", "755")],
)
def test_files_that_cannot_be_are_refused(content: object, mode: object) -> None:
    with pytest.raises(UsageError):
        File(content, mode)  # type: ignore[arg-type]


def test_errors_of_image_names_keep_their_type() -> None:
    with pytest.raises(ReferenceInvalid):
        context("docker-image://UPPER")
    assert context("docker-image://busybox:1").where == Image("busybox:1")
    assert isinstance(context(llb.scratch()).where, Graph)
