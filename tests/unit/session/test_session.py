from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from depotlab._rpc import Call, Handler
from depotlab._session import MemoryTree, Session
from depotlab.errors import ContextError

METHODS = [
    "/grpc.health.v1.Health/Check",
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.filesync.v1.Auth/FetchToken",
    "/moby.filesync.v1.Auth/GetTokenAuthority",
    "/moby.filesync.v1.Auth/VerifyTokenAuthority",
]


def test_the_metadata_names_the_session_its_key_and_every_method(tmp_path: Path) -> None:
    session = Session({"context": tmp_path})
    keys = [key for key, _ in session.metadata()]
    assert keys[:2] == ["x-docker-expose-session-uuid", "x-docker-expose-session-sharedkey"]
    assert set(keys[2:]) == {"x-docker-expose-session-grpc-method"}
    values = [value for _, value in session.metadata()]
    assert values == [session.id, session.shared_key, *METHODS]
    assert list(session.handlers) == METHODS


def test_ids_are_unique_and_have_no_colon() -> None:
    assert len({Session().id for _ in range(100)}) == 100
    assert ":" not in Session().id


def test_a_directory_has_the_same_key_in_every_session(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(".")
    key = Session({"context": tmp_path}).shared_key
    assert Session({"context": tmp_path}).shared_key == key
    assert Session({"context": tmp_path / "link"}).shared_key == key
    with_text = Session({"context": tmp_path, "dockerfile": MemoryTree({"Dockerfile": "FROM x"})})
    assert with_text.shared_key == key


def test_a_directory_that_is_not_there_is_an_error_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(ContextError):
        Session({"context": tmp_path / "nowhere"})


def test_further_services_add_their_methods_and_may_replace_ours() -> None:
    async def serve(_: Call) -> None:
        pass

    class Extra:
        methods: Mapping[str, Handler] = {"/x.Y/Z": serve, METHODS[2]: serve}

    session = Session(services=[Extra()])
    assert list(session.handlers) == [*METHODS, "/x.Y/Z"]
    assert session.handlers[METHODS[2]] is serve


def test_the_repr_shows_no_credentials(tmp_path: Path) -> None:
    session = Session({"context": tmp_path}, auth={"a.io": ("me", "s3cr3t")})
    assert "s3cr3t" not in repr(session)
    assert "context" in repr(session)
