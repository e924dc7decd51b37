from __future__ import annotations

import os
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest

from depotlab import secret
from depotlab.errors import DepotlabError, UsageError
from depotlab.secret import MAX_BYTES, Secret

PLANTED = "pl4nted-s3cr3t"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param("text", b"text", id="text"),
        pytest.param("é\n", b"\xc3\xa9\n", id="text as UTF-8, line break and all"),
        pytest.param(b"\x00\xff", b"\x00\xff", id="any bytes"),
        pytest.param(bytearray(b"x"), b"x", id="a buffer is copied"),
        pytest.param("", b"", id="nothing"),
        pytest.param("\udcff", b"\xff", id="what os.environ could not decode"),
    ],
)
def test_a_value_is_sent_as_it_is(given: Any, expected: bytes) -> None:
    assert secret.value(given).read() == expected


def test_a_variable_is_read_when_the_build_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    one = secret.env("DEPOTLAB_TEST_SECRET")
    monkeypatch.setenv("DEPOTLAB_TEST_SECRET", "later")
    checked = one.check()
    monkeypatch.setenv("DEPOTLAB_TEST_SECRET", "too late")
    assert checked.read() == b"later"
    assert checked.check() is checked
    assert one.read() == b"too late"


def test_an_empty_variable_is_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPOTLAB_TEST_SECRET", "")
    assert secret.env("DEPOTLAB_TEST_SECRET").read() == b""


def test_a_file_is_found_from_where_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_bytes(b"content\n")
    monkeypatch.chdir(tmp_path)
    one = secret.file("key")
    monkeypatch.chdir("/")
    assert one.read() == b"content\n"
    assert one.host_path == tmp_path / "key"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert secret.file("~/key").read() == b"content\n"
    assert secret.file(tmp_path / "key") == one


def test_what_was_read_is_what_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"first")
    checked = secret.check_all({"key": secret.file(path)})
    path.unlink()
    assert checked["key"].read() == b"first"


def make_none(path: Path) -> None:
    """There is nothing."""


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(make_none, "no such file", id="missing"),
        pytest.param(Path.mkdir, "is a directory", id="a directory"),
        pytest.param(os.mkfifo, "not a regular file", id="a pipe is not waited for"),
        pytest.param(lambda p: p.symlink_to(p), "symbolic links", id="a loop"),
        pytest.param(lambda p: p.write_bytes(b"x" * (MAX_BYTES + 1)), "500 KiB", id="too big"),
    ],
)
def test_a_file_that_cannot_be_sent_is_refused_by_name(
    tmp_path: Path, make: Any, reason: str
) -> None:
    path = tmp_path / "key"
    make(path)
    with pytest.raises(UsageError, match=reason) as caught:
        secret.check_all({"fine": "x", "npm": secret.file(path)})
    assert "'npm'" in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_the_limit_itself_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"x" * MAX_BYTES)
    assert len(secret.file(tmp_path / "key").read()) == MAX_BYTES == 512_000
    with pytest.raises(UsageError, match="500 KiB"):
        secret.value(b"x" * (MAX_BYTES + 1))


def test_a_variable_that_is_not_set_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEPOTLAB_TEST_SECRET", raising=False)
    with pytest.raises(UsageError, match="DEPOTLAB_TEST_SECRET is not set") as caught:
        secret.check_all({"npm": secret.env("DEPOTLAB_TEST_SECRET")})
    assert "'npm'" in caught.value.message


@pytest.mark.parametrize(
    ("call", "given"),
    [
        (secret.value, None), (secret.value, 5), (secret.value, ["x"]), (secret.value, "\ud800"),
        (secret.env, ""), (secret.env, "A=B"), (secret.env, "A\0"), (secret.env, "\ud800"), (secret.env, None),
        (secret.env, b"A"),
        (secret.file, ""), (secret.file, None), (secret.file, b"/x"),
        (secret.of, None), (secret.of, 5),
        (secret.check_all, "x"), (secret.check_all, [("a", "b")]), (secret.check_all, {"": "x"}),
        (secret.check_all, {1: "x"}), (secret.check_all, {"a": None}), (secret.check_all, {"a": 5}),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_with_what_to_write_instead(call: Any, given: Any) -> None:
    with pytest.raises(UsageError, match="secret") as caught:
        call(given)
    assert caught.value.hint


def test_text_and_bytes_in_a_dictionary_are_values() -> None:
    checked = secret.check_all({"a": "text", "b": b"bytes", "c": secret.value("c")})
    assert {name: one.read() for name, one in checked.items()} == {
        "a": b"text",
        "b": b"bytes",
        "c": b"c",
    }
    assert secret.check_all(None) == secret.check_all({}) == {}


@pytest.mark.parametrize("name", ["GIT_AUTH_TOKEN", "GIT_AUTH_HEADER.x.io", "HTTP_AUTH_TOKEN_x.io"])
def test_a_line_break_in_what_becomes_a_header_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="line break") as caught:
        secret.check_all({name: f"{PLANTED}\n"})
    assert PLANTED not in str(caught.value)
    secret.check_all({name: PLANTED, "npm": f"{PLANTED}\n"})


def test_no_value_is_ever_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text(PLANTED)
    monkeypatch.setenv("DEPOTLAB_TEST_SECRET", PLANTED)
    secrets: list[Secret] = [
        secret.value(PLANTED),
        secret.env("DEPOTLAB_TEST_SECRET").check(),
        secret.file(tmp_path / "key").check(),
    ]
    for one in secrets:
        assert one.read() == PLANTED.encode()
        shown = f"{one!r} {one} {one!s} {[one]} { ({'x': one}) }"
        assert PLANTED not in shown
    assert repr(secrets) == (
        f"[<secret •••>, <secret from variable 'DEPOTLAB_TEST_SECRET'>, "
        f"<secret from file '{tmp_path}/key'>]"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda: secret.value(PLANTED + "\ud800"), id="no UTF-8"),
        pytest.param(lambda: secret.value(PLANTED * 50_000), id="too big"),
        pytest.param(lambda: secret.check_all({"a": PLANTED * 50_000}), id="too big in a dictionary"),
        pytest.param(lambda: secret.check_all({"a": [PLANTED]}), id="a list"),  # type: ignore[dict-item]
        pytest.param(lambda: secret.check_all(PLANTED), id="no dictionary"),  # type: ignore[arg-type]
        pytest.param(lambda: secret.env(f"A={PLANTED}"), id="no name of a variable"),
        pytest.param(lambda: secret.check_all({"HTTP_AUTH_TOKEN_h": f"{PLANTED}\r"}), id="a header"),
    ],
)  # fmt: skip
def test_no_error_shows_what_was_given(wrong: Any) -> None:
    with pytest.raises(DepotlabError) as caught:
        wrong()
    error: BaseException | None = caught.value
    # No exception in the chain, since pytest, IPython and loggers show them all.
    while error is not None:
        assert PLANTED not in f"{error} {error!r} {error.args}"
        error = error.__cause__ or error.__context__
    frames = "".join(traceback.format_exception(caught.value))
    assert PLANTED not in frames.replace("PLANTED", "")


def test_secrets_are_values() -> None:
    assert secret.value("a") == secret.value(b"a")
    assert secret.value("a") != secret.value("b")
    assert secret.env("A") == secret.env("A")
    assert len({secret.env("A"), secret.env("A"), secret.value("A")}) == 2
    for one in (secret.value("a"), secret.env("A"), secret.file("/a")):
        assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(AttributeError):
        secret.value("a").variable = "x"  # type: ignore[misc]
