"""Secrets of steps and sources, through a real daemon."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from depotlab import llb, mount, secret
from depotlab._session import MemoryTree, Secrets
from depotlab.errors import DepotlabError
from depotlab.secret import MAX_BYTES
from tests.support.guarded import GuardedServer
from tests.support.servicebuilds import ServiceBuild

PLANTED = "pl4nted-s3cr3t"


Given = Mapping[str, secret.Secret | str | bytes]


def with_secrets(engine, given: Given, text: str | None = None) -> ServiceBuild:
    build = ServiceBuild(engine.address)
    if given:
        build.services = [Secrets(secret.check_all(given), report=build.problems.append)]
    if text is not None:
        tree = MemoryTree({"Dockerfile": text})
        build.folders = {"context": tree, "dockerfile": tree}
    return build


def dockerfile(engine, text: str, given: Given) -> ServiceBuild:
    build = with_secrets(engine, given, text)
    build.dockerfile()
    assert build.problems == []
    return build


def graph(engine, state: llb.State, given: Given) -> ServiceBuild:
    build = with_secrets(engine, given)
    build.graph(state)
    assert build.problems == []
    return build


def check_file(path: str, data: bytes) -> str:
    return f'echo "{hashlib.sha256(data).hexdigest()}  {path}" | sha256sum -c'


def fresh(state: llb.State, command: str, **more) -> llb.State:
    """A step that no cache has."""
    return state.run(f"{command}; : {time.time_ns()}".replace("; :", " && :"), **more)


# --------------------------------------------------------------------------------- steps


def test_a_dockerfile_sees_secrets_as_files_and_as_variables(
    engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = bytes(range(256)) * 2000  # 500 KiB
    assert len(binary) == MAX_BYTES
    (tmp_path / "key").write_bytes(binary)
    monkeypatch.setenv("DEPOTLAB_TEST_SECRET", PLANTED)
    build = dockerfile(
        engine,
        "FROM busybox\n"
        "RUN --mount=type=secret,id=file --mount=type=secret,id=variable,env=V "
        "--mount=type=secret,id=empty,target=/empty "
        f"{check_file('/run/secrets/file', binary)} && test \"$V\" = pl4nted-s3cr3t && "
        "test -f /empty && test ! -s /empty && echo done\n",
        {"file": secret.file(tmp_path / "key"), "variable": secret.env("DEPOTLAB_TEST_SECRET"), "empty": ""},
    )  # fmt: skip
    assert "done" in build.printed


def test_a_graph_sees_secrets_as_files_and_as_variables(engine) -> None:
    mounts = [
        mount.secret("a", mode=0o440, uid=7),
        mount.secret("b", "/etc/b", env="B"),
        mount.secret("none", "/none", optional=True),
        mount.secret("none", env="NONE", optional=True),
    ]
    command = (
        f"{check_file('/run/secrets/a', b'one')} && {check_file('/etc/b', b'two')} && "
        'test "$B" = two && test ! -e /none && test -z "$NONE" && '
        'test "$(stat -c %a:%u /run/secrets/a)" = 440:7'
    )
    state = fresh(llb.image("busybox"), command, mounts=mounts, name="use")
    assert graph(engine, state, {"a": "one", "b": b"two"}).state_of("use") == "ran"


@pytest.mark.parametrize("given", [{}, {"other": PLANTED}], ids=["none given", "another given"])
def test_a_step_without_its_secret_fails_by_name_and_an_optional_one_runs(
    engine, given: dict[str, str]
) -> None:
    optional = "FROM busybox\nRUN --mount=type=secret,id=npm test ! -e /run/secrets/npm\n"
    dockerfile(engine, optional, given)
    required = "FROM busybox\nRUN --mount=type=secret,id=npm,required=true true\n"
    with pytest.raises(DepotlabError, match=r"needs the secret 'npm'") as caught:
        dockerfile(engine, required, given)
    assert PLANTED not in str(caught.value)


def test_a_secret_changes_no_cache_and_stays_out_of_the_progress(engine) -> None:
    state = fresh(
        llb.image("busybox"), "test -s /run/secrets/key", mounts=[mount.secret("key")], name="use"
    )
    first = graph(engine, state, {"key": PLANTED})
    second = graph(engine, state, {"key": "another"})
    assert (first.state_of("use"), second.state_of("use")) == ("ran", "cached")
    assert PLANTED not in repr(first.events)
    assert PLANTED not in repr(state.marshal().to_bytes())


# ------------------------------------------------------------------------ http and git


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[GuardedServer]:
    with GuardedServer(tmp_path) as server:
        yield server


BASIC = "basic " + base64.b64encode(f"x-access-token:{PLANTED}".encode()).decode()


@pytest.mark.parametrize(
    ("given", "header"),
    [
        pytest.param({"HTTP_AUTH_TOKEN_127.0.0.1": PLANTED}, f"Bearer {PLANTED}", id="a token"),
        pytest.param({"HTTP_AUTH_HEADER_127.0.0.1": f"Odd {PLANTED}"}, f"Odd {PLANTED}", id="a header"),
        pytest.param(
            {"HTTP_AUTH_HEADER_127.0.0.1": "Odd x", "HTTP_AUTH_TOKEN_127.0.0.1": PLANTED},
            f"Bearer {PLANTED}", id="the token wins",
        ),
    ],
)  # fmt: skip
def test_a_file_is_fetched_with_the_header_that_its_host_wants(
    engine, guarded: GuardedServer, given: dict[str, str], header: str
) -> None:
    guarded.accepts = {header}
    dockerfile(
        engine,
        f"FROM busybox\nADD http://{guarded.host}/file /f\nRUN {check_file('/f', guarded.content.encode())}\n",
        given,
    )
    assert set(guarded.seen) == {header}


def test_a_graph_names_the_secret_of_a_file_itself(engine, guarded: GuardedServer) -> None:
    guarded.accepts = {f"Odd {PLANTED}"}
    file = llb.http(f"http://{guarded.host}/file", filename="f", auth_header_secret="mine")
    state = fresh(
        llb.image("busybox").copy(file, "/f", "/f"),
        check_file("/f", guarded.content.encode()),
        name="use",
    )
    assert graph(engine, state, {"mine": f"Odd {PLANTED}"}).state_of("use") == "ran"
    # It cannot do without: `llb` counts it as required.
    with pytest.raises(DepotlabError, match=r"HTTP auth secret mine.*not found"):
        graph(engine, state, {})


@pytest.mark.parametrize(
    ("given", "header"),
    [
        pytest.param({"GIT_AUTH_TOKEN": PLANTED}, BASIC, id="a token"),
        pytest.param({"GIT_AUTH_TOKEN.{host}": PLANTED, "GIT_AUTH_TOKEN": "x"}, BASIC, id="that of the host"),
        pytest.param(
            {"GIT_AUTH_HEADER": f"Odd {PLANTED}", "GIT_AUTH_TOKEN": "x"}, f"Odd {PLANTED}", id="a header first"
        ),
        pytest.param(
            {"GIT_AUTH_HEADER.{host}": f"Odd {PLANTED}", "GIT_AUTH_TOKEN.{host}": "x", "GIT_AUTH_HEADER": "y"},
            f"Odd {PLANTED}", id="the header of the host first of all",
        ),
        pytest.param({"GIT_AUTH_HEADER": "y", "GIT_AUTH_TOKEN.{host}": PLANTED}, BASIC, id="the host before all"),
    ],
)  # fmt: skip
def test_a_repository_is_fetched_with_the_credentials_for_its_host(
    engine, guarded: GuardedServer, given: dict[str, str], header: str
) -> None:
    guarded.accepts = {header}
    filled = {name.format(host=guarded.host): value for name, value in given.items()}
    source = llb.git(f"http://{guarded.host}/repo.git", ref="main")
    state = fresh(
        llb.image("busybox").copy(source, "/README", "/r"),
        check_file("/r", guarded.content.encode()),
        name="use",
    )
    assert graph(engine, state, filled).state_of("use") == "ran"
    assert header in guarded.seen
    assert set(guarded.seen) <= {None, header}


def test_a_repository_that_wants_credentials_is_not_fetched_without(
    engine, guarded: GuardedServer
) -> None:
    guarded.accepts = {BASIC}
    source = llb.git(f"http://{guarded.host}/repo.git", ref="main")
    with pytest.raises(DepotlabError) as caught:
        graph(engine, source, {"GIT_AUTH_TOKEN": f"{PLANTED}-wrong"})
    assert PLANTED not in str(caught.value)


def test_a_dockerfile_build_from_a_repository_uses_the_same_ids(
    engine, guarded: GuardedServer
) -> None:
    guarded.accepts = {BASIC}
    text = f"FROM busybox\nCOPY README /r\nRUN {check_file('/r', guarded.content.encode())}\n"
    build = with_secrets(engine, {"GIT_AUTH_TOKEN": PLANTED}, text)
    build.dockerfile(context=f"http://{guarded.host}/repo.git#main", dockerfilekey="dockerfile")
    assert BASIC in guarded.seen
