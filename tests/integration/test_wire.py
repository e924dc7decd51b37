"""The conversation of real builds, heard on the wire."""

from __future__ import annotations

import asyncio
import pickle
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import depotlab as dl
from depotlab import aio, export, llb
from depotlab._proto import fsutil_wire_pb2
from depotlab._rpc import Exchange, Side, tapped
from depotlab._wire import Wire
from depotlab.errors import DepotlabError
from tests.support.tokenregistry import token_registry

PLANTED = "pl4nted-s3cr3t"
SIZES = {"a.txt": 30, "b.bin": 700_000, "sub/c.txt": 20_000, "empty": 0}


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPOTLAB_UI", "off")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A context that no builder has seen, with a step that needs a secret."""
    (tmp_path / "sub").mkdir()
    for name, n_bytes in SIZES.items():
        (tmp_path / name).write_bytes(f"{time.time_ns()}".encode().ljust(n_bytes, b"x")[:n_bytes])
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nCOPY . /src\n"
        f"RUN --mount=type=secret,id=npm test -s /run/secrets/npm && : {time.time_ns()}\n"
    )
    return tmp_path


@dataclass
class Files:
    """A tap that counts the bytes of files in the packets of file sync."""

    wants_payloads: bool = True
    sent_bytes: dict[str, int] = field(default_factory=dict)

    def began(self, exchange: Exchange) -> None:
        pass

    def message(
        self, exchange: Exchange, sender: Side, size_bytes: int, payload: bytes | None, at_ns: int
    ) -> None:
        if exchange.method != "DiffCopy" or sender != "client":
            return
        assert payload is not None
        assert len(payload) == size_bytes
        packet = fsutil_wire_pb2.Packet.FromString(payload)
        name = exchange.headers["dir-name"][0]
        self.sent_bytes[name] = self.sent_bytes.get(name, 0) + len(packet.data)

    def ended(self, exchange: Exchange, code: int, text: str, at_ns: int) -> None:
        pass


class Broken(Files):
    """A tap that cannot bear a message."""

    def message(self, *_: Any) -> None:
        raise RuntimeError("no room left")


def test_a_dockerfile_build_is_heard_with_what_went_to_and_fro(
    bk: dl.Client, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.tar"
    files = Files()
    with dl.wire(payloads=True) as wire, tapped(files):
        bk.build(
            dl.dockerfile(folder),
            secrets={"npm": PLANTED},
            output=export.tar(out),
            progress="quiet",
        )
    size_of = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}

    # File sync: every entry and the end of the list; every file is asked for.
    (sync,) = wire.about("context")
    assert (sync.name, sync.asker, sync.status) == ("FileSync.DiffCopy", "daemon", "OK")
    assert sync.counts["STAT"] == len([*SIZES, "sub", "Dockerfile", "the end"])
    assert sync.counts["REQ"] == len([*SIZES, "Dockerfile"])
    content = sum(SIZES.values()) + size_of["Dockerfile"]
    assert files.sent_bytes == {"context": content}  # the Dockerfile went with the request
    assert content < sync.sent_bytes < content + 20_000

    # File send: the archive, in pieces with a few bytes before each.
    (output,) = wire["FileSend.DiffCopy"]
    n_pieces = output.counts["BytesMessage"]
    assert 0 < output.received_bytes - out.stat().st_size <= 6 * n_pieces

    # Who belongs to whom.
    (session,) = wire["Session"]
    solve = next(one for one in wire["Control.Solve"] if one.number == session.parent)
    assert solve.subject == "dockerfile.v0"
    assert {one.parent for one in wire.asked_by("daemon")} == {session.number}
    assert any(one.parent == solve.number for one in wire["Status"])
    # The session carries all that the daemon asked, and the frames around it.
    asked = wire.asked_by("daemon")
    assert session.received_bytes > asked.received_bytes
    assert session.sent_bytes > asked.sent_bytes
    # Only what we ask the history afterwards may still go on.
    assert all(one.status for one in [session, solve, *wire.of(solve), *wire.of(session)])

    assert wire["GetSecret"].about("npm")[0].status == "OK"
    assert_hidden(wire)


def assert_hidden(wire: Wire) -> None:
    shown = [repr(wire), str(wire), wire._repr_html_(), wire.svg, wire.story(), repr(wire.rows())]
    shown += [repr(one) + repr(one.messages) + repr(one.headers) for one in wire.exchanges]
    for text in shown:
        assert PLANTED not in text
    assert PLANTED.encode() not in pickle.dumps(wire)
    assert len(wire._repr_html_()) <= 30_000


def test_a_login_is_heard_without_the_password_and_the_token(
    bk: dl.Client, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    context = dl.context(folder, include=["a.txt"])
    page = dl.dockerfile(text="FROM scratch\nCOPY a.txt /\n", context=context)
    with (
        token_registry(user="me", password=PLANTED, identity=PLANTED) as registry,
        dl.wire(payloads=True) as wire,
    ):
        bk.build(
            page,
            output=export.image(f"{registry.host}/it/wire:1", push=True),
            auth={registry.host: ("me", PLANTED)},
            progress="quiet",
        )
        (push,) = [talk for talk in wire.registries if talk.what == "push"]
        assert push.host == registry.host
    assert wire["FetchToken"][0].subject == registry.host
    assert wire["FetchToken"][0].sent_bytes > 0
    assert all(not m.text for m in wire["FetchToken"][0].messages if m.sender == "client")
    assert_hidden(wire)


def test_a_graph_is_built_by_us_as_its_frontend(bk: dl.Client) -> None:
    with dl.wire() as wire:
        bk.build(llb.image("busybox").run(f": {time.time_ns()}"), progress="quiet")
    solve = next(one for one in wire["Control.Solve"] if one.subject == "own frontend")
    ours = {one.name for one in wire.of(solve)}
    assert {"Control.Session", "Control.Status", "LLBBridge.Solve", "LLBBridge.Return"} <= ours
    assert "a build whose frontend is this program" in wire.story()
    assert "DiffCopy" not in wire


def test_the_awaitable_client_is_heard_too(engine: Any) -> None:
    async def main() -> Wire:
        async with await aio.connect(engine.address) as bk:
            with dl.wire() as wire:
                await bk.info()
            await bk.info()
        return wire

    wire = asyncio.run(main())
    assert [one.name for one in wire.exchanges].count("Control.Info") == 1


def test_a_build_that_fails_is_told_as_it_ended(bk: dl.Client) -> None:
    with dl.wire() as wire, pytest.raises(DepotlabError):
        bk.build(llb.image("busybox").run(f"exit 3; : {time.time_ns()}"), progress="quiet")
    failed = next(one for one in wire["Control.Solve"] if one.subject == "own frontend")
    assert failed.status not in ("", "OK")
    assert "exit code: 3" in failed.status_text
    assert failed.status in wire.story()


def test_two_listen_at_once_and_hear_the_same(bk: dl.Client) -> None:
    with dl.wire() as first:
        bk.info()
        with dl.wire() as second:
            bk.build(llb.image("busybox").run(f": {time.time_ns()}"), progress="quiet")
    inner = [one.name for one in second.exchanges]
    outer = [one.name for one in first.exchanges]
    # After the second has ended, the first may hear how the build is remembered.
    assert inner in [outer[start : start + len(inner)] for start in range(1, len(outer))]
    n_heard = len(first.exchanges)
    bk.info()
    assert len(first.exchanges) == n_heard


def test_a_tap_that_raises_does_not_break_a_build(
    bk: dl.Client, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with tapped(Broken()) as opened, dl.wire() as wire:
        bk.build(dl.dockerfile(folder), secrets={"npm": PLANTED}, progress="quiet")
    assert repr(opened.failure) == "RuntimeError('no room left')"
    assert "a tap failed and is told nothing more" in caplog.text
    (solve,) = wire["Control.Solve"].about("dockerfile.v0")
    assert solve.status == "OK"
