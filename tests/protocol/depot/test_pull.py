"""Pulling what Depot keeps: from an API and a registry in this process, with everything that can go wrong."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import tarfile
import threading
import traceback
import tracemalloc

import pytest

import depotlab as dl
from depotlab import aio, api, export
from depotlab._oci import Layout, read_archive
from depotlab._proto import depot_cli_pb2 as cli
from depotlab.errors import ReferenceInvalid, RegistryError, SessionError, UsageError
from tests.support.blobregistry import digest_of, image, index, layer, serving_registry
from tests.support.fakedocker import fake_docker
from tests.support.fakeplane import fault, message, serving

TOKEN = "planted_caller_0123456789"
PASSWORD = "planted_pull_0123456789"
LAYERS = [layer("a", os.urandom(700_000)), layer("b", os.urandom(300_000))]


def build_of(host, *, tags=(), **more):
    """What Depot says of a build that saved an image."""
    return message(
        cli.GetPullInfoResponse(
            reference=f"{host}/p1:b1",
            username="x-token",
            password=PASSWORD,
            registry_host=host,
            options=[cli.BuildOptions(command=cli.COMMAND_BUILD, save=True, tags=tags)],
            **more,
        )
    )


def token_of(host):
    return message(cli.GetPullTokenResponse(token=PASSWORD, registry_host=host))


def pull(has, image="b1", *, fault=None, answers=None, look=None, **options):
    """Pull from a registry that has this; return what came of it, the registry and the API."""

    async def run():
        with serving_registry(has, password=PASSWORD) as registry:
            if fault is not None:
                registry.fault = fault
            usual = {
                "GetPullInfo": build_of(registry.host),
                "GetPullToken": token_of(registry.host),
            }
            async with serving({**usual, **(answers(registry) if answers else {})}) as plane:
                given = {"url": plane.url, "token": TOKEN, "timeout_s": 5, "progress": "quiet"}
                pulled = await aio.pull(image, **{**given, **options})
                return pulled, registry, plane

    return asyncio.run(run())


def names_in(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}


def test_a_build_s_image_comes_as_an_archive_with_every_part(tmp_path):
    has = image(*LAYERS)
    pulled, registry, plane = pull(has, output=export.oci(tmp_path / "app.tar"))
    assert pulled.digest == has.root
    assert pulled.platforms == ("linux/amd64",)
    assert pulled.reference == f"{registry.host}/p1:b1"
    assert pulled.names == (pulled.reference,)
    parts = names_in((tmp_path / "app.tar").read_bytes())
    for digest, data in {**has.blobs, has.root: has.documents[has.root][0]}.items():
        assert parts[f"blobs/{digest.replace(':', '/')}"] == data
    (listed,) = json.loads(parts["index.json"])["manifests"]
    assert listed["digest"] == has.root
    assert listed["annotations"]["io.containerd.image.name"] == pulled.names[0]
    assert pulled.size_bytes == pulled.fetched_bytes > sum(map(len, LAYERS))
    assert pulled.output.path == tmp_path / "app.tar"
    assert plane.named("GetPullInfo")[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert sorted(os.listdir(tmp_path)) == ["app.tar"]


def test_equal_images_are_equal_archives():
    has = image(*LAYERS)
    one, two = (pull(has, output=export.oci(None), tags="me/app:1")[0] for _ in range(2))
    assert one.read() == two.read()
    assert one.names == ("docker.io/me/app:1",)


def test_the_docker_command_finds_its_list(tmp_path):
    has = image(*LAYERS)
    pulled, _, _ = pull(has, output=export.docker(tmp_path / "app.tar", "me/app:1"))
    (listed,) = json.loads(names_in(pulled.read())["manifest.json"])
    assert listed["RepoTags"] == ["docker.io/me/app:1"]
    assert [one.rpartition("/")[2] for one in listed["Layers"]] == [
        digest_of(one).partition(":")[2] for one in LAYERS
    ]
    found = read_archive(tmp_path / "app.tar")
    assert "docker.io/me/app:1" in found.names
    assert [one.manifest.digest for one in found.images] == [pulled.digest]


def test_names_are_those_that_the_build_gave():
    def answers(registry):
        return {"GetPullInfo": build_of(registry.host, tags=["me/app:1", "me/app:2"])}

    pulled, _, _ = pull(image(*LAYERS), output=export.oci(None), answers=answers)
    assert pulled.names == ("docker.io/me/app:1", "docker.io/me/app:2")


def test_all_platforms_come_with_their_attestations_or_only_one():
    has = index(amd64=image(LAYERS[0]), arm64=image(LAYERS[1], architecture="arm64"))
    whole, registry, _ = pull(has, output=export.oci(None))
    assert whole.digest == has.root
    assert whole.platforms == ("linux/amd64", "linux/arm64")
    assert len(names_in(whole.read())) == 2 + len(has.documents) + len(has.blobs)
    one, registry, _ = pull(has, output=export.oci(None), platform="linux/arm64/v8")
    assert one.platforms == ("linux/arm64",)
    assert one.digest != has.root
    fetched = [path.rpartition("/")[2] for path in registry.paths("blobs")]
    assert digest_of(LAYERS[1]) in fetched
    assert digest_of(LAYERS[0]) not in fetched
    with pytest.raises(UsageError, match="no image for linux/riscv64") as caught:
        pull(has, output=export.oci(None), platform="linux/riscv64")
    assert "linux/amd64, linux/arm64" in caught.value.hint


def test_a_layout_gets_what_it_does_not_have_and_mends_what_is_wrong(tmp_path):
    has = image(*LAYERS)
    place = export.oci(tmp_path / "layout", tar=False)
    first, _, _ = pull(has, output=place)
    assert first.fetched_bytes == first.size_bytes
    layout = Layout(tmp_path / "layout")
    assert layout.find(first.names[0]).digest == has.root
    second, _, _ = pull(has, output=place)
    assert second.fetched_bytes < 5000
    digits = digest_of(LAYERS[0]).partition(":")[2]
    broken = tmp_path / "layout" / "blobs" / "sha256" / digits
    broken.write_bytes(b"x" * len(LAYERS[0]))
    third, _, _ = pull(has, output=place)
    assert len(LAYERS[0]) < third.fetched_bytes < third.size_bytes
    assert broken.read_bytes() == LAYERS[0]
    assert all(node.present for node in layout.walk())


@pytest.mark.parametrize(
    "name", ["p1:v1", "HOST/p1:v1", "v1"], ids=["in a project", "whole", "with project="]
)
def test_what_a_project_keeps_comes_by_its_tag(name):
    async def run():
        with serving_registry(image(*LAYERS), password=PASSWORD) as registry:
            async with serving({"GetPullToken": token_of(registry.host)}) as plane:
                pulled = await aio.pull(
                    name.replace("HOST", registry.host),
                    project="p1" if name == "v1" else None,
                    output=export.oci(None),
                    url=plane.url,
                    token=TOKEN,
                    progress="quiet",
                )
                (asked,) = plane.named("GetPullToken")
                assert asked.parsed(cli.GetPullTokenRequest).project_id == "p1"
                assert pulled.reference == f"{registry.host}/p1:v1"

    asyncio.run(run())


def test_a_target_of_a_bake_is_named():
    def answers(registry):
        reply = cli.GetPullInfoResponse(reference=f"{registry.host}/p1:b1", password=PASSWORD)
        for name in ("api", "web"):
            reply.options.add(command=cli.COMMAND_BAKE, target_name=name, save=True)
        return {"GetPullInfo": message(reply)}

    has = image(*LAYERS)
    pulled, _, _ = pull(has, output=export.oci(None), target="web", answers=answers)
    assert pulled.reference.endswith("/p1:b1-web")
    with pytest.raises(UsageError, match="none of the build's targets") as caught:
        pull(has, output=export.oci(None), answers=answers)
    assert "api, web" in caught.value.hint


def loads(engine, said=b'{"stream":"Loaded image: me/app:1"}'):
    """Let an engine take what is loaded, and return what it gets."""
    taken = []

    def load(handler):
        taken.append(handler.read_body())
        handler.reply(said)

    engine.answers["/images/load"] = load
    version = b'{"Os": "linux", "Arch": "arm64"}'
    engine.answers["/version"] = lambda handler: handler.reply(version)
    return taken


def test_an_engine_gets_the_image_for_its_own_platform(tmp_path):
    has = index(amd64=image(LAYERS[0]), arm64=image(LAYERS[1], architecture="arm64"))
    with fake_docker(tmp_path / "engine.sock") as engine:
        taken = loads(engine)
        pulled, _, _ = pull(has, load=engine.address, tags="me/app:1")
    assert pulled.platforms == ("linux/arm64",)
    assert pulled.loaded == ("me/app:1",)
    (listed,) = json.loads(names_in(taken[0])["manifest.json"])
    assert listed["RepoTags"] == ["docker.io/me/app:1"]
    with pytest.raises(UsageError, match="loaded into a Docker Engine"):
        pulled.read()


def test_an_engine_never_gets_the_end_of_a_broken_image(tmp_path):
    has = image(*LAYERS)
    has.blobs[digest_of(LAYERS[1])] = bytes(len(LAYERS[1]))
    with fake_docker(tmp_path / "engine.sock") as engine:
        ended = []

        def load(handler):
            with pytest.raises(ValueError):  # there is no last chunk
                handler.read_body()
            ended.append(True)

        engine.answers["/images/load"] = load
        with pytest.raises(RegistryError, match="not what its digest says"):
            pull(has, load=engine.address)
    assert ended


# ---------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (fault(401, "unauthenticated", "no"), api.Unauthenticated),
        (fault(403, "permission_denied", "no"), api.PermissionDenied),
        (fault(404, "not_found", "no build"), api.NotFound),
        (message(cli.GetPullInfoResponse(reference="r.test/p:b", options=[{}])), api.DepotError),
    ],
    ids=["a wrong token", "no right", "an unknown build", "a build that saved nothing"],
)
def test_what_depot_refuses_is_told(answer, kind, tmp_path):
    with pytest.raises(kind) as caught:
        pull(
            image(*LAYERS),
            output=export.oci(tmp_path / "x.tar"),
            answers=lambda _: {"GetPullInfo": answer},
        )
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


def test_a_pull_token_that_the_registry_does_not_know_is_told(tmp_path):
    def other(registry):
        registry.password = "another"
        return {}

    with pytest.raises(RegistryError, match="401"):
        pull(image(*LAYERS), output=export.oci(tmp_path / "x.tar"), answers=other)


@pytest.mark.parametrize("tar", [True, False])
def test_a_layer_of_another_content_is_never_kept(tar, tmp_path):
    has = image(*LAYERS)
    has.blobs[digest_of(LAYERS[1])] = bytes(len(LAYERS[1]))
    with pytest.raises(RegistryError, match="not what its digest says"):
        pull(has, output=export.oci(tmp_path / "place", tar=tar))
    if tar:
        assert not list(tmp_path.iterdir())
    else:
        layout = Layout(tmp_path / "place")
        assert layout.info(digest_of(LAYERS[1])) is None
        assert not (tmp_path / "place" / "index.json").exists()


def test_a_connection_that_breaks_twice_gives_the_same_archive():
    has, left = image(*LAYERS), [2]

    def breaks(handler):
        body = handler.blob()
        if body is None or len(body) < 1000 or not left[0]:
            return False
        left[0] -= 1
        return handler.cut(body, 100_000)

    broken, registry, _ = pull(has, output=export.oci(None), fault=breaks, tags="a:1")
    whole, _, _ = pull(has, output=export.oci(None), tags="a:1")
    assert broken.read() == whole.read()
    assert next(h["Range"] for _, h in registry.asked if "Range" in h) == "bytes=100000-"


def test_a_cancelled_pull_ends_at_once_and_leaves_nothing(tmp_path):
    stalled, gone = threading.Event(), threading.Event()

    def stall(handler):
        body = handler.blob()
        if body is None or len(body) < 1000:
            return False
        handler.cut(body, 1000)
        handler.wfile.flush()
        stalled.set()
        gone.wait()
        return True

    async def run():
        with serving_registry(image(*LAYERS), password=PASSWORD) as registry:
            registry.fault = stall
            async with serving({"GetPullInfo": build_of(registry.host)}) as plane:
                work = aio.pull(
                    "b1",
                    output=export.oci(tmp_path / "x.tar"),
                    url=plane.url,
                    token=TOKEN,
                    progress="quiet",
                )
                task = asyncio.create_task(work)
                await asyncio.to_thread(stalled.wait, 60)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task  # and not of what it waits for, which goes on
                gone.set()

    asyncio.run(run())
    assert not list(tmp_path.iterdir())


def test_a_cancelled_pull_does_not_wait_for_the_engine_that_it_loads_into(tmp_path):
    read, ended = threading.Event(), threading.Event()

    def answer(handler):
        handler.read_body()
        read.set()
        ended.wait(30)

    async def run():
        with (
            fake_docker(tmp_path / "s") as engine,
            serving_registry(image(*LAYERS), password=PASSWORD) as registry,
        ):
            engine.answers["/images/load"] = answer
            engine.answers["/version"] = lambda handler: handler.reply(b"{}")
            async with serving({"GetPullInfo": build_of(registry.host)}) as plane:
                options = {"url": plane.url, "token": TOKEN, "progress": "quiet"}
                work = aio.pull("b1", load=engine.address, platform="linux/amd64", **options)
                task = asyncio.create_task(work)
                assert await asyncio.to_thread(read.wait, 60)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                pulling = [t for t in threading.enumerate() if "pull" in t.name]
                for thread in pulling:  # the last that it does is to say that it has ended
                    await asyncio.to_thread(thread.join, 60)
                left = [thread for thread in pulling if thread.is_alive()]
                ended.set()
                assert left == []

    asyncio.run(run())


def test_memory_does_not_grow_with_the_image(tmp_path):
    big = os.urandom(48 << 20)
    has = image(gzip.compress(big, compresslevel=0, mtime=0))
    del big
    tracemalloc.start()
    try:
        pulled, _, _ = pull(has, output=export.oci(tmp_path / "x.tar"))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert pulled.size_bytes > 48 << 20
    assert peak_bytes < 8 << 20


def test_the_blocking_face_waits_in_any_thread():
    async def run():
        with serving_registry(image(*LAYERS), password=PASSWORD) as registry:
            async with serving({"GetPullInfo": build_of(registry.host)}) as plane:
                options = {"url": plane.url, "token": TOKEN, "progress": "quiet"}
                work = lambda: dl.pull("b1", output=export.oci(None), **options)  # noqa: E731
                return await asyncio.to_thread(work), registry.image.root

    pulled, root = asyncio.run(run())
    assert pulled.digest == root


@pytest.mark.parametrize("document", [b'{"schemaVersion": 1}', b"[]", b"{", b'{"manifests": []}'])
def test_what_is_no_image_is_told(document, tmp_path):
    has = image(*LAYERS)
    has.root = digest_of(document)
    has.documents[has.root] = (document, "application/vnd.oci.image.index.v1+json")
    with pytest.raises(RegistryError, match=r"no image|could not be understood"):
        pull(has, output=export.oci(tmp_path / "x.tar"))
    assert not list(tmp_path.iterdir())


def test_an_archive_that_gets_too_long_is_given_up(tmp_path):
    with pytest.raises(SessionError, match="longer than 100000 bytes"):
        pull(image(*LAYERS), output=export.oci(tmp_path / "x.tar", limit_bytes=100_000))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        ("b1", {}, "one place to go to"),
        ("b1", {"output": export.tar(None)}, "an archive or a layout"),
        ("b1", {"output": export.oci(None, compression="zstd")}, "would change it"),
        ("b1", {"output": export.oci(None, "a"), "tags": "b"}, "named twice"),
        ("ghcr.io/me/app:1", {"output": export.oci(None)}, "no image that Depot keeps"),
        ("", {"output": export.oci(None)}, "no image that Depot keeps"),
        (None, {"output": export.oci(None)}, "no image that Depot keeps"),
        ("p2:v1", {"output": export.oci(None), "project": "p1"}, "another project"),
        ("p1:v1", {"output": export.oci(None), "target": "web"}, "pulled by its id"),
        ("b1", {"output": export.oci(None), "timeout_s": 0}, "timeout_s=0"),
        ("b1", {"output": export.oci(None), "local": True}, "leave token="),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sent(image, options, words):
    with pytest.raises(UsageError, match=words) as caught:
        dl.pull(image, token=TOKEN, progress="quiet", **options)
    assert caught.value.hint
    assert TOKEN not in str(caught.value)


def test_a_name_that_is_none_is_refused():
    with pytest.raises(ReferenceInvalid):
        dl.pull("b1", output=export.oci(None), tags="No Name", token=TOKEN)


def test_another_registry_is_not_pulled_from():
    with pytest.raises(UsageError, match="not in Depot's registry"):
        pull(image(*LAYERS), "ghcr.io/app:1", output=export.oci(None))


def test_no_secret_is_shown(capfd):
    texts = []
    pulled, _, _ = pull(image(*LAYERS), output=export.oci(None), progress="plain")
    texts += [repr(pulled), str(pulled), repr(pulled.output)]

    def says_it_back(handler):
        if "/blobs/" in handler.path:
            handler.answer(403, b'{"errors": [{"message": "no %s"}]}' % PASSWORD.encode())
            return True
        return False

    with pytest.raises(RegistryError) as caught:
        pull(image(*LAYERS), output=export.oci(None), fault=says_it_back, progress="plain")
    texts += ["".join(traceback.format_exception(caught.value)), repr(vars(caught.value))]
    texts += ["".join(capfd.readouterr())]
    assert any("layer" in text for text in texts)
    for text in texts:
        assert PASSWORD not in text
        assert TOKEN not in text
