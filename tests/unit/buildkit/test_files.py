"""Reading files through a gateway: what is asked, and what the daemon's words become. Its faults are played here."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from depotlab._proto import fsutil_stat_pb2, gateway_pb2
from depotlab._rpc import RpcFailed, Status
from depotlab.buildkit import Files
from depotlab.errors import DaemonError, FileMissing, PathError


class Bridge:
    """A gateway with one file, or one answer to everything."""

    def __init__(self, data=b"", *, failure=None, served=None):
        self.data = data
        self.served = data if served is None else served
        self.failure = failure
        self.asked = []
        self.channel = SimpleNamespace(endpoint=SimpleNamespace(address="unix:///x"))

    async def call(self, method, request):
        self.asked.append(method)
        if self.failure is not None and method in self.failure:
            raise self.failure[method]
        if method.startswith("StatFile"):
            stat = fsutil_stat_pb2.Stat(path="f", mode=0o644, size=len(self.data))
            return gateway_pb2.StatFileResponse(stat=stat).SerializeToString()
        if method.startswith("ReadDir"):
            entries = [fsutil_stat_pb2.Stat(path=name, mode=0o644) for name in ("config", "f")]
            return gateway_pb2.ReadDirResponse(entries=entries).SerializeToString()
        asked = gateway_pb2.ReadFileRequest.FromString(request)
        piece = self.served
        if asked.HasField("Range"):
            piece = piece[asked.Range.Offset : asked.Range.Offset + asked.Range.Length]
        return gateway_pb2.ReadFileResponse(Data=piece).SerializeToString()


def failed(text, status=Status.UNKNOWN):
    return RpcFailed(status, text)


def read(bridge, **options):
    return asyncio.run(Files(bridge, "ref").read("/f", **options))


def test_a_file_is_asked_for_in_ranges():
    bridge = Bridge(bytes(range(256)) * 64 * 1024)  # 16 MiB, which no message holds
    assert read(bridge) == bridge.data
    assert bridge.asked.count("ReadFile") == 4


def test_an_empty_file_is_not_asked_for():
    bridge = Bridge(b"")
    assert read(bridge) == b""
    assert bridge.asked == ["StatFile"]


def test_a_file_that_became_shorter_ends():
    assert read(Bridge(b"abcdef", served=b"abc")) == b"abc"


def test_a_container_is_asked_by_its_own_calls():
    bridge = Bridge(b"xyz")
    assert asyncio.run(Files(bridge, "container", mount=2).read("/f", offset=1)) == b"yz"
    assert bridge.asked == ["StatFileContainer", "ReadFileContainer"]


@pytest.mark.parametrize(
    ("text", "status", "kind", "message"),
    [
        ("stat /m/f: not a directory", Status.UNKNOWN, PathError, "is not a directory"),
        ("open f: too many levels of symbolic links", Status.UNKNOWN, PathError, "back to itself"),
        ("too large", Status.RESOURCE_EXHAUSTED, PathError, "does not fit into one message"),
        ("something else", Status.UNKNOWN, DaemonError, "something else"),
    ],
)
def test_the_words_of_the_daemon_become_types(text, status, kind, message):
    bridge = Bridge(failure={"ReadDir": failed(text, status)})
    with pytest.raises(kind, match=message):
        asyncio.run(Files(bridge, "ref").list("/f"))


def test_what_is_missing_is_told_with_its_neighbours():
    bridge = Bridge(failure={"StatFile": failed("lstat /m/confg: no such file or directory")})
    with pytest.raises(FileMissing) as caught:
        asyncio.run(Files(bridge, "ref").stat("/confg"))
    assert caught.value.near == ("/config",)
    assert "did you mean /config?" in str(caught.value)


def test_a_missing_file_below_a_missing_root_ends():
    missing = failed("no such file or directory")
    bridge = Bridge(failure={"StatFile": missing, "ReadDir": missing})
    with pytest.raises(DaemonError, match="no such file"):
        asyncio.run(Files(bridge, "ref").stat("/a/b/c"))
