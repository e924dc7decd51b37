"""Conversations that nobody has: calls that are told to taps without being made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from depotlab._proto import control_pb2, secrets_pb2
from depotlab._rpc import begin_telling
from depotlab._transfer.packets import Entry, encode_request, encode_stat

__all__ = ["CONTROL", "PLANTED", "build", "call"]

CONTROL = "/moby.buildkit.v1.Control/"
SESSION = [("x-docker-expose-session-uuid", "s1")]
PLANTED = b"pl4nted-s3cr3t"


def call(
    path: str,
    messages: Sequence[tuple[Any, bytes]] = (),
    *,
    asker: Any = "client",
    headers: Sequence[tuple[str, str]] = (),
    session_id: str | None = None,
    status: int = 0,
    text: str = "",
) -> None:
    """Say a whole call."""
    telling = begin_telling(
        asker, path, headers, endpoint="unix:///run/buildkitd.sock", session_id=session_id
    )
    assert telling is not None
    for sender, data in messages:
        telling.message(sender, data)
    telling.ended(status, text)


def build(*, n_files: int = 3) -> None:
    """Say what a build says, in an order that one really has."""
    session = begin_telling("client", CONTROL + "Session", SESSION, endpoint="unix:///s")
    request = control_pb2.SolveRequest(Ref="r1", Session="s1", Frontend="dockerfile.v0")
    solve = begin_telling("client", CONTROL + "Solve", (), endpoint="unix:///s")
    assert session is not None
    assert solve is not None
    solve.message("client", request.SerializeToString())
    session.size("client", 900)
    status = control_pb2.StatusRequest(Ref="r1").SerializeToString()
    told = control_pb2.StatusResponse()
    told.vertexes.add(digest="sha256:a", name="[1/2] FROM docker.io/library/busybox")
    told.statuses.add(ID="resolve docker.io/library/busybox:latest", vertex="sha256:a")
    layer = f"sha256:{'b' * 64}"
    told.statuses.add(ID=layer, vertex="sha256:a", current=900, total=1000)
    call(CONTROL + "Status", [("client", status), *[("daemon", told.SerializeToString())] * 2])
    stat = encode_stat(Entry(b"a.py", 0o644, 4, 0))
    packets: list[tuple[Any, bytes]] = [("client", stat)] * n_files
    packets += [("client", b""), ("daemon", encode_request(0))]
    packets += [
        ("client", b"\x08\x02\x22\x04abcd"),
        ("daemon", b"\x08\x03"),
        ("client", b"\x08\x03"),
    ]
    call(
        "/moby.filesync.v1.FileSync/DiffCopy",
        packets,
        asker="daemon",
        headers=[("dir-name", "context")],
        session_id="s1",
    )
    asked = secrets_pb2.GetSecretRequest(ID="npm").SerializeToString()
    given = secrets_pb2.GetSecretResponse(data=PLANTED).SerializeToString()
    call(
        "/moby.buildkit.secrets.v1.Secrets/GetSecret",
        [("daemon", asked), ("client", given)],
        asker="daemon",
        session_id="s1",
    )
    call("/grpc.health.v1.Health/Check", asker="daemon", session_id="s1")
    call("/grpc.health.v1.Health/Check", asker="daemon", session_id="s1")
    solve.message("daemon", control_pb2.SolveResponse().SerializeToString())
    solve.ended()
    session.ended()
