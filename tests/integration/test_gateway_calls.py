"""Calls of the gateway that no verb of ours needs as they are: they do what their docstrings say."""

from __future__ import annotations

import hashlib

import pytest

from depotlab import frontend, llb
from depotlab._inside.opened import open_state
from depotlab._portal import portal
from depotlab._rpc import RpcFailed
from depotlab._verbs import prepare
from depotlab.errors import UsageError

BASE = llb.image("busybox")


def ask(bk, call):
    """Run calls in a build that is open."""

    async def run():
        opened = await open_state(bk._builder, prepare(BASE))
        try:
            return await call(opened)
        finally:
            await opened.aclose()

    return portal().run(run())


def test_a_download_is_described_before_it_is_fetched(bk, http_folder):
    (http_folder.path / "data.txt").write_text("hello")
    found = ask(bk, lambda opened: opened.bridge.resolve_source(f"{http_folder.url}/data.txt"))
    assert found.digest == "sha256:" + hashlib.sha256(b"hello").hexdigest()
    assert found.filename == "data.txt"
    assert found.last_modified_at.year > 2000


def test_an_image_is_described_with_its_configuration(bk):
    found = ask(
        bk,
        lambda opened: opened.bridge.resolve_source(
            "docker-image://docker.io/library/busybox:latest", platform="linux/amd64"
        ),
    )
    assert found.digest.startswith("sha256:")
    assert llb.ImageConfig.from_json(found.config).cmd == ("sh",)


def test_a_source_that_is_not_there_is_refused(bk, http_folder):
    with pytest.raises(RpcFailed, match="404"):
        ask(bk, lambda opened: opened.bridge.resolve_source(f"{http_folder.url}/nope"))


def test_a_dockerfile_is_solved_with_its_configuration_and_its_graph(bk):
    dockerfile = llb.scratch().mkfile("/Dockerfile", "FROM busybox\nENV A=b\nRUN echo 1 > /one\n")
    data = dockerfile.marshal("linux/amd64").to_bytes()

    async def solve(opened):
        result = await opened.bridge.solve_frontend(
            "dockerfile.v0", {}, {"dockerfile": data, "context": data}
        )
        (ref,) = result.refs.values()
        await opened.bridge.evaluate(ref.id)
        return result

    result = ask(bk, solve)
    assert llb.ImageConfig.from_json(result.config()).env["A"] == "b"
    (ref,) = result.refs.values()
    names = [stage.op.kind for stage in llb.lineage(llb.load(ref.definition).marshal())]
    assert names == ["source", "exec"]


def test_a_frontend_function_remarks_on_a_step(bk):
    @frontend.function
    def careful(gw):
        made = BASE.run("echo 1 > /one", name="one")
        if gw.stat(made, "/one").mode != 0o600:
            gw.warn(made, "Everybody can read /one.", detail=["its mode is 644"], url="https://x")
        with pytest.raises(UsageError, match="some step"):
            gw.warn(llb.scratch(), "nothing")
        return made

    result = bk.build(careful(), progress="quiet")
    assert result.warnings == ("Everybody can read /one.",)
    (warning,) = result.snapshot.warnings
    assert warning.detail == ("its mode is 644",)
    assert warning.step in result.definition.digests
