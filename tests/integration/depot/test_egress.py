"""Behind an HTTP proxy: the API is asked through it, machines are dialled without it, as the official clients do."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest

from depotlab import aio, llb
from depotlab._local import find_installed
from depotlab._plane.authority import Authority
from depotlab._plane.up import Plane
from depotlab.errors import DepotlabError, LinkError
from tests.conftest import unavailable
from tests.support.httpproxy import proxying

HOST = "api.depot.test"


@pytest.fixture
def folder():
    """A folder for a plane; short, because sockets live in it."""
    found = find_installed()
    if found is None or found.runtime is None:
        unavailable("the engine is not installed: run `depotlab engine install`")
    with tempfile.TemporaryDirectory(prefix="dlf-") as path:
        yield Path(path)


def behind_a_proxy(folder: Path, monkeypatch, work, **environment: str):
    """Run `work(client, proxy, plane)` where the API can only be reached through a proxy."""
    authority = Authority(folder / "authority")
    leaf = authority.server(HOST)
    (folder / "ca.pem").write_text(authority.ca_pem)
    (folder / "cert.pem").write_text(leaf.cert_pem)
    (folder / "key.pem").write_text(leaf.key_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))

    async def run():
        tls = (folder / "cert.pem", folder / "key.pem")
        async with (
            Plane(folder / "p", tls=tls) as plane,
            proxying(int(plane.tls_url.rpartition(":")[2])) as proxy,
        ):
            for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
                monkeypatch.setenv(name, f"http://me:planted-pw@{proxy.address}")
            for name in ("NO_PROXY", "no_proxy"):
                monkeypatch.delenv(name, raising=False)
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            of = plane.environment
            client = await aio.depot(
                of["DEPOT_PROJECT_ID"], url=f"https://{HOST}", token=of["DEPOT_TOKEN"]
            )
            async with client:
                return await work(client, proxy, plane)

    return asyncio.run(run())


def test_a_build_behind_a_proxy(folder, monkeypatch):
    async def work(client, proxy, plane):
        made = await client.build(llb.scratch().mkfile("/a", b"hi"), progress="quiet")
        return plane.parts.history.build(made.depot.build_id).status, proxy.heads

    status, heads = behind_a_proxy(folder, monkeypatch, work)
    assert status == "success"
    assert {head.split("\r\n")[0] for head in heads} == {f"CONNECT {HOST}:443 HTTP/1.1"}
    assert all("proxy-authorization: Basic" in head for head in heads)


def test_who_is_excepted_is_asked_without_the_proxy(folder, monkeypatch):
    async def work(client, proxy, _):
        with pytest.raises(DepotlabError) as caught:  # no name server knows it
            await client.build(llb.scratch().mkfile("/a", b"hi"), progress="quiet")
        return caught.value, proxy.heads

    error, heads = behind_a_proxy(folder, monkeypatch, work, NO_PROXY="example.org,.depot.test")
    assert "cannot be reached" in str(error)
    assert heads == []


def test_a_proxy_that_refuses_is_named_and_its_password_is_not(folder, monkeypatch):
    async def work(client, proxy, _):
        proxy.refuses = (
            b"HTTP/1.1 407 Who\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n"
        )
        with pytest.raises(DepotlabError) as caught:
            await client.build(llb.scratch().mkfile("/a", b"hi"), progress="quiet")
        return caught.value, proxy.address

    error, address = behind_a_proxy(folder, monkeypatch, work)
    assert address in str(error)
    assert "407" in str(error)
    assert "planted-pw" not in str(error)
    assert not isinstance(error, LinkError)
