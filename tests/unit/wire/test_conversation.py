"""A conversation is put together from what a tap hears."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

import depotlab as dl
from depotlab._proto import auth_pb2, control_pb2, filesync_pb2
from depotlab._rpc import begin_telling
from depotlab._transfer.packets import encode_request
from depotlab._wire import Wire
from depotlab.errors import UsageError
from tests.support.wirecalls import CONTROL, PLANTED, build, call


@pytest.fixture
def heard() -> Wire:
    with dl.wire() as wire:
        build()
    return wire


def test_every_call_is_an_exchange_with_its_sizes(heard: Wire) -> None:
    assert [one.name for one in heard.exchanges] == [
        "Control.Session",
        "Control.Solve",
        "Control.Status",
        "FileSync.DiffCopy",
        "Secrets.GetSecret",
        "Health.Check",
        "Health.Check",
    ]
    sync = heard["DiffCopy"][0]
    assert (sync.asker, sync.subject, sync.status) == ("daemon", "context", "OK")
    assert sync.counts == {"STAT": 4, "REQ": 1, "DATA": 1, "FIN": 2}
    assert [(m.sender, m.kind, m.n) for m in sync.messages] == [
        ("client", "STAT", 4),
        ("daemon", "REQ", 1),
        ("client", "DATA", 1),
        ("daemon", "FIN", 1),
        ("client", "FIN", 1),
    ]
    assert sync.received_bytes == len(encode_request(0)) + 2
    assert heard["Status"].counts == {"StatusRequest": 1, "StatusResponse": 2}
    assert heard["Solve"][0].subject == "dockerfile.v0"


def test_what_belongs_together_is_known(heard: Wire) -> None:
    session, solve, status, *asked = heard.exchanges
    assert solve.parent is None
    assert session.parent == status.parent == solve.number
    assert {one.parent for one in asked} == {session.number}
    assert list(heard.of(session)) == asked
    assert list(heard.asked_by("daemon")) == asked
    assert list(heard.about("npm")) == [heard["GetSecret"][0]]


def test_sums_leave_out_the_session_in_which_the_others_travel(heard: Wire) -> None:
    assert heard["Session"].sent_bytes == 900
    assert heard.sent_bytes == heard.exchanges.sent_bytes - 900


def test_names_may_be_short_or_whole(heard: Wire) -> None:
    for name in ("GetSecret", "Secrets", "Secrets.GetSecret", "moby.buildkit.secrets.v1.Secrets"):
        assert name in heard
        assert len(heard[name]) == 1
    assert "/moby.buildkit.secrets.v1.Secrets/GetSecret" in heard
    assert "FetchToken" not in heard


def test_a_name_that_is_not_there_is_told_with_those_that_are(heard: Wire) -> None:
    with pytest.raises(UsageError, match="FetchToken") as caught:
        heard["FetchToken"]
    assert "FileSync.DiffCopy" in caught.value.hint
    with pytest.raises(UsageError, match="nobody"):
        heard.asked_by("registry")  # type: ignore[arg-type]


def test_registries_are_known_from_the_status(heard: Wire) -> None:
    (pull,) = heard.registries
    assert (pull.host, pull.what, pull.size_bytes) == ("docker.io", "pull", 900)


def test_it_is_a_table(heard: Wire) -> None:
    rows = heard.rows()
    assert [row["method"] for row in rows] == [one.method for one in heard.exchanges]
    frame = heard.to_pandas()
    assert list(frame["method"])[:2] == ["Session", "Solve"]
    assert str(frame["sent_bytes"].dtype) == "int64"
    assert int(frame["n_sent"].sum()) == sum(row["n_sent"] for row in rows)


def test_it_tells_its_story(heard: Wire) -> None:
    story = heard.story()
    assert "You asked the daemon to solve a build with the frontend dockerfile.v0" in story
    assert "It asked you for the directory 'context': you listed 3 entries, it wanted 1 of" in story
    assert "It asked you for the secret 'npm'." in story
    assert "It asked 2 times whether you are still there." in story
    assert "pulled docker.io/library/busybox:latest from docker.io: 900 B of layers." in story


def test_what_belongs_to_no_build_is_told_where_it_was_said() -> None:
    with dl.wire() as wire:
        call(CONTROL + "Info")
        build()
        call(CONTROL + "DiskUsage")
        call(CONTROL + "Session", headers=[("x-docker-expose-session-uuid", "s2")])
        call("/moby.upload.v1.Upload/Pull", asker="daemon", session_id="s2")
    lines = wire.story().splitlines()
    assert lines[0] == "You asked the daemon: Control.Info."
    assert lines[1].startswith("You asked the daemon to solve")
    assert lines[-4:-1] == [
        "You asked the daemon: Control.DiskUsage.",
        "You asked the daemon: Control.Session.",
        "It pulled an upload from you: 0 B.",
    ]


def test_it_shows_itself_in_a_line_as_text_and_as_a_picture(heard: Wire) -> None:
    assert repr(heard).startswith("<Wire: 7 exchanges, 4 asked by the daemon, ")
    assert "\n" not in repr(heard)
    assert "DiffCopy context" in str(heard)
    html = heard._repr_html_()
    assert "data:image/svg+xml;base64," in html
    assert "the secret &#x27;npm&#x27;" in html
    for one in heard.exchanges:
        assert "\n" not in repr(one)
        assert one._repr_html_()
    assert repr(heard["Check"]) == "<2 exchanges: 0 B sent, 0 B received>"


@pytest.mark.parametrize("payloads", [False, True])
def test_a_secret_is_nowhere(payloads: bool) -> None:
    with dl.wire(payloads=payloads) as wire:
        build()
    assert_hidden(wire)


TEXT = PLANTED.decode()
AUTH = "/moby.filesync.v1.Auth/"
SEALED: list[tuple[str, bytes, bytes]] = [
    (
        AUTH + "Credentials",
        auth_pb2.CredentialsRequest(Host="docker.io").SerializeToString(),
        auth_pb2.CredentialsResponse(Username="me", Secret=TEXT).SerializeToString(),
    ),
    (
        AUTH + "FetchToken",
        auth_pb2.FetchTokenRequest(Host="docker.io").SerializeToString(),
        auth_pb2.FetchTokenResponse(Token=TEXT).SerializeToString(),
    ),
    (
        AUTH + "VerifyTokenAuthority",
        auth_pb2.VerifyTokenAuthorityRequest(Host="docker.io").SerializeToString(),
        auth_pb2.VerifyTokenAuthorityResponse(Signed=PLANTED).SerializeToString(),
    ),
    ("/moby.sshforward.v1.SSH/ForwardAgent", PLANTED, PLANTED),
]


@pytest.mark.parametrize(("path", "asked", "given"), SEALED, ids=[path for path, _, _ in SEALED])
def test_logins_tokens_and_agents_are_nowhere(path: str, asked: bytes, given: bytes) -> None:
    with dl.wire(payloads=True) as wire:
        call(
            path,
            [("daemon", asked), ("client", given)],
            asker="daemon",
            headers=[
                ("authorization", TEXT),
                ("x-registry-token", TEXT),
                ("a", f"https://u:{TEXT}@h"),
            ],
            session_id="s1",
        )
    assert wire.exchanges.sent_bytes == len(given)
    assert_hidden(wire)


def test_credentials_in_what_we_ask_for_are_nowhere() -> None:
    request = control_pb2.SolveRequest(
        Ref="r1",
        Session="s1",
        Frontend=f"https://me:{TEXT}@example.com/frontend",
        FrontendAttrs={
            "build-arg:NPM_TOKEN": TEXT,
            "context": f"https://me:{TEXT}@example.com/x.git",
            "cache-imports": json.dumps([{"Attrs": {"secret_access_key": TEXT}}]),
        },
    )
    request.Cache.Imports.add(Type="s3", Attrs={"secret_access_key": TEXT})
    with dl.wire(payloads=True) as wire:
        call(
            CONTROL + "Solve",
            [("client", request.SerializeToString())],
            status=2,
            text=f"failed to fetch https://me:{TEXT}@example.com/x.git",
        )
    assert "failed to fetch https://•••@example.com" in wire.story()
    assert_hidden(wire)


def assert_hidden(wire: Wire) -> None:
    """Look for the secret wherever a conversation can be looked at."""
    shown = [repr(wire), str(wire), wire._repr_html_(), wire.svg, wire.story(), repr(wire.rows())]
    shown += [wire.exchanges._repr_html_(), repr(list(wire.exchanges)), str(wire.to_pandas())]
    for one in wire.exchanges:
        shown += [repr(one), one._repr_html_(), repr(one.headers), repr(one.messages)]
        shown += [message._repr_html_() for message in one.messages]
    for text in shown:
        assert TEXT not in text
    assert PLANTED not in pickle.dumps(wire)


def test_texts_are_there_when_asked_for() -> None:
    with dl.wire(payloads=True) as wire:
        build()
    texts = {m.kind: m.text for one in wire.exchanges for m in one.messages}
    assert texts["SolveRequest"] == 'Ref: "r1" Session: "s1" Frontend: "dockerfile.v0"'
    assert texts["GetSecretRequest"] == 'ID: "npm"'
    assert texts["GetSecretResponse"] == ""
    assert 'path: "a.py"' in wire["DiffCopy"][0].messages[0].text
    assert "abcd" not in str([m.text for m in wire["DiffCopy"][0].messages])
    assert all(not m.text for one in wire["Session"] for m in one.messages)


def test_an_archive_that_is_sent_is_bytes() -> None:
    data = filesync_pb2.BytesMessage(data=b"x" * 100).SerializeToString()
    with dl.wire(payloads=True) as wire:
        call(
            "/moby.filesync.v1.FileSend/DiffCopy",
            [("daemon", data)] * 3,
            asker="daemon",
            headers=[("buildkit-attachable-exporter-id", "1")],
            session_id="s1",
        )
    (one,) = wire["FileSend"]
    assert (one.subject, one.counts) == ("output 1", {"BytesMessage": 3})
    assert one.received_bytes == 3 * len(data)
    assert one.messages[0].text == "data: <100 B>"


def test_failures_are_told() -> None:
    with dl.wire() as wire:
        call(CONTROL + "Solve", [("client", b"")], status=5, text="no such\nthing")
    (one,) = wire.exchanges
    assert (one.status, one.status_text) == ("NOT_FOUND", "no such thing")
    assert "NOT_FOUND" in wire.story()


def test_what_goes_on_can_be_looked_at() -> None:
    with dl.wire() as wire:
        telling = begin_telling("client", CONTROL + "Prune", (), endpoint="")
        assert telling is not None
        (one,) = wire.exchanges
        assert (one.status, one.duration_s) == ("", None)
        assert "listening" in repr(wire)
        assert wire._repr_html_()
        telling.ended()
    assert wire.exchanges[0].status == "OK"


def test_an_empty_conversation_is_one() -> None:
    with dl.wire() as wire:
        pass
    assert len(wire.exchanges) == 0
    assert wire.story() == "Nobody asked anybody for anything."
    assert wire._repr_html_()
    assert str(wire)


def test_a_conversation_is_listened_to_once() -> None:
    wire = dl.wire()
    with wire:
        pass
    with pytest.raises(UsageError, match="already"), wire:
        pass


def test_it_pickles_as_what_was_heard(heard: Wire) -> None:
    again = pickle.loads(pickle.dumps(heard))
    assert again.exchanges == heard.exchanges
    assert again.story() == heard.story()
    assert repr(again) == repr(heard)


def test_many_files_take_little_room() -> None:
    with dl.wire() as wire:
        build(n_files=20_000)
    (sync,) = wire["DiffCopy"]
    assert sync.counts["STAT"] == 20_001
    assert len(sync.messages) == 5


def test_many_changes_of_turn_are_counted_past_a_limit() -> None:
    packets: list[tuple[Any, bytes]] = []
    for _ in range(3000):
        packets += [("daemon", encode_request(1)), ("client", b"\x08\x02")]
    with dl.wire() as wire:
        call("/moby.filesync.v1.FileSync/DiffCopy", packets, asker="daemon", session_id="s1")
    (sync,) = wire["DiffCopy"]
    assert sync.counts == {"REQ": 3000, "DATA": 3000}
    assert len(sync.messages) <= 2000
    assert sync.sent_bytes == 6000


def test_a_long_conversation_stays_a_small_picture() -> None:
    with dl.wire() as wire:
        build()
        for number in range(1000):
            digest = f"sha256:{number:064}"
            call(
                "/containerd.services.content.v1.Content/Info",
                [("daemon", b"\x0a" + bytes([len(digest)]) + digest.encode())],
                asker="daemon",
                session_id="s1",
            )
            call(CONTROL + "ListWorkers", [("client", b""), ("daemon", b"x" * number)])
    assert len(wire.exchanges) == 2007
    assert len(wire._repr_html_()) <= 30_000
    assert len(str(wire).splitlines()) < 90
    assert "×1000" in str(wire)


def test_a_conversation_of_many_words_stays_small() -> None:
    with dl.wire() as wire:
        for number in range(300):
            call(
                f"/some.far.away.service.v{number}.Service{number}/AMethodWithALongName{number}",
                [("client", b"x" * number)],
                headers=[("dir-name", "w" * 500)],
            )
    assert len(wire._repr_html_()) <= 30_000
    assert "more" in wire.svg


def test_a_listener_that_fails_is_told_and_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from depotlab._wire import listening

    def broken(*_: Any) -> str:
        raise RuntimeError("cannot read this")

    monkeypatch.setattr(listening, "kind_of", broken)
    with dl.wire() as wire:
        build()
    assert wire.problem == "RuntimeError('cannot read this')"
    assert "cannot read this" in wire._repr_html_()
