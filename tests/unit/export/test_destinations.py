"""Where outputs go: paths, file objects, memory, and what cannot be."""

import io
import os
import pickle
import sys
from pathlib import Path

import pytest

from depotlab import export
from depotlab.errors import UsageError
from depotlab.export import ToDirectory, ToFile, ToLayout, ToMemory, ToStream


def test_a_path_is_absolute_from_the_call_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert export.tar("x.tar").destination == ToFile(tmp_path / "x.tar")
    assert export.local(Path("out")).destination == ToDirectory(tmp_path / "out")
    assert export.oci("layout", tar=False).destination == ToLayout(tmp_path / "layout")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert export.tar("~/x.tar").destination == ToFile(tmp_path / "x.tar")


@pytest.mark.parametrize("make", [export.tar, export.oci, export.docker])
def test_an_archive_goes_to_memory_or_to_a_file_object(make):
    stream = io.BytesIO()
    assert make(None).destination == ToMemory()
    assert make(stream).destination == ToStream(stream)
    assert make(None, limit_bytes=10).destination == ToMemory(10)


def test_attributes_are_those_of_the_daemon(tmp_path):
    def attrs(output):
        return dict(output.attrs)

    assert attrs(export.oci(None, "a", "b", compression="zstd")) == {
        "name": "a,b",
        "compression": "zstd",
    }
    assert attrs(export.oci(tmp_path / "x", tar=False)) == {"tar": "false"}
    assert attrs(export.docker(None, "a", annotations={"k": "v"})) == {
        "name": "a",
        "annotation.k": "v",
    }
    assert attrs(export.tar(None, attestation_prefix="p-", source_date_epoch=1)) == {
        "attestation-prefix": "p-",
        "source-date-epoch": "1",
    }
    assert attrs(export.local(tmp_path, platform_split=False)) == {"platform-split": "false"}
    assert attrs(export.local(tmp_path / "x", mode="delete", platform_split=True)) == {
        "mode": "delete",
        "platform-split": "true",
    }


def test_what_a_destination_looks_like_says_where_and_shows_nothing_else(tmp_path):
    stream = io.BytesIO(b"private")
    assert repr(export.tar(stream)) == "<output tar: to a BytesIO>"
    assert repr(export.oci(None, "me/app:1")) == "<output oci: me/app:1, to memory>"
    assert repr(export.local(tmp_path)) == f"<output local: to {tmp_path}>"
    assert "private" not in repr(export.tar(stream).destination)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t: export.tar(t), "is a directory"),
        (lambda t: export.tar(t / "none" / "x.tar"), "there is no directory"),
        (lambda t: export.tar(""), "no path"),
        (lambda t: export.tar("a\0b"), "no path"),
        (lambda t: export.tar(3), "cannot write to an object of type int"),
        (lambda t: export.tar(b"x.tar"), "type bytes"),
        (lambda t: export.tar(io.StringIO()), "takes text"),
        (lambda t: export.tar(sys.stdout), "text|cannot write"),
        (lambda t: export.tar(_closed()), "closed"),
        (lambda t: export.tar(io.BufferedReader(io.BytesIO())), "reading only"),
        (lambda t: export.tar(None, limit_bytes=0), "number of bytes"),
        (lambda t: export.tar(None, limit_bytes="1G"), "number of bytes"),
        (lambda t: export.tar(None, attestation_prefix="a/b"), "no part of a file name"),
        (lambda t: export.local(t / "file"), "is a file"),
        (lambda t: export.local(None), "export.tar"),
        (lambda t: export.local(io.BytesIO()), "path of a directory"),
        (lambda t: export.local(t, mode="copi"), "did you mean 'copy'"),
        (lambda t: export.local(t, mode="mirror"), "use one of"),
        (lambda t: export.local(t, platform_split="yes"), "neither True nor False"),
        (lambda t: export.local(t, devices=1), "neither True nor False"),
        (lambda t: export.local("/", mode="delete"), "home or working directory"),
        (lambda t: export.local(Path.home(), mode="delete"), "home or working directory"),
        (lambda t: export.local(Path.home().parent, mode="delete"), "home or working directory"),
        (lambda t: export.local(".", mode="delete"), "home or working directory"),
        (lambda t: export.oci(None, tar=False), "writes a directory"),
        (lambda t: export.oci(t / "file", tar=False), "is a file"),
        (lambda t: export.oci(t, tar="no"), "neither True nor False"),
        (lambda t: export.oci(t, tar=False, limit_bytes=1), "archives only"),
        (lambda t: export.oci(None, "a", ""), "as strings"),
        (lambda t: export.docker(None, compression="lz4"), "not known"),
    ],
)
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_mistakes_are_raised_in_the_call(call, words, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=words) as caught:
        call(tmp_path)
    assert caught.value.hint


def _closed():
    stream = io.BytesIO()
    stream.close()
    return stream


def test_a_link_to_the_working_directory_may_not_be_emptied_either(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    (tmp_path / "link").symlink_to("work")
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(UsageError, match="working directory"):
        export.local(tmp_path / "link", mode="delete")


# ------------------------------------------------------------------------ several outputs


def test_destinations_are_numbered_as_the_daemon_numbers_exporters(tmp_path):
    outputs = [
        export.image("a"),
        export.tar(None),
        export.oci(tmp_path / "layout", tar=False),
        export.local(tmp_path / "out"),
    ]
    assert export.destinations(outputs) == {1: ToMemory(), 3: ToDirectory(tmp_path / "out")}
    assert export.layout(outputs) == tmp_path / "layout"
    assert export.layout(outputs[:2]) is None


@pytest.mark.parametrize("make", [export.tar, export.oci, export.local])
def test_a_path_that_the_system_refuses_is_refused_in_the_line_that_has_it(make, tmp_path):
    with pytest.raises(UsageError, match="file name too long") as caught:
        make(tmp_path / ("x" * 300))
    assert len(caught.value.message) < 250
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match="symbolic links"):
        make(tmp_path / "loop")


def test_a_directory_that_becomes_equal_may_hold_no_other_output(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for inner in (
        export.tar(out / "x.tar"),
        export.local(out / "in" / "it"),
        export.oci(out / "layout", tar=False),
    ):
        outer = export.local(out, mode="delete")
        for pair in ((outer, inner), (inner, outer)):
            with pytest.raises(UsageError, match="would be inside of"):
                export.destinations(pair)
        assert len(export.destinations((export.local(out), export.tar(None), inner))) >= 2
    export.destinations((export.local(out, mode="delete"), export.tar(tmp_path / "out.tar")))


def test_a_directory_that_appears_as_a_whole_may_hold_no_other_output(tmp_path):
    with pytest.raises(UsageError, match="would be inside of"):
        export.destinations((export.local(tmp_path / "a" / "b"), export.local(tmp_path / "a")))


def test_two_outputs_may_not_go_to_one_place(tmp_path):
    stream = io.BytesIO()
    (tmp_path / "link").symlink_to("x")
    pairs = [
        (export.tar(tmp_path / "x"), export.oci(tmp_path / "link")),
        (export.tar(stream), export.docker(stream)),
        (export.local(tmp_path / "x"), export.local(os.path.join(tmp_path, ".", "x"))),
    ]
    for pair in pairs:
        with pytest.raises(UsageError, match="same place"):
            export.destinations(pair)
    assert len(export.destinations([export.tar(None), export.oci(None)])) == 2
    assert len(export.destinations([export.tar(stream), export.tar(io.BytesIO())])) == 2


def test_a_build_has_one_layout_at_most(tmp_path):
    with pytest.raises(UsageError, match="one OCI layout"):
        export.destinations(
            [export.oci(tmp_path / "a", tar=False), export.oci(tmp_path / "b", tar=False)]
        )


def test_an_exporter_without_a_destination_is_refused_before_the_daemon_asks():
    with pytest.raises(UsageError, match="does not say where"):
        export.destinations([export.Output("tar")])
    assert export.destinations([export.Output("moby")]) == {}


def test_paths_and_memory_can_be_pickled(tmp_path):
    for output in (export.tar(tmp_path / "x"), export.local(tmp_path), export.oci(None, "a")):
        assert pickle.loads(pickle.dumps(output)) == output
