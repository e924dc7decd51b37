"""What can be built on several machines, and what their parts become."""

import asyncio
import json

import pytest

from depotlab import aio, export, llb
from depotlab._session import Manifest
from depotlab._verbs import prepare
from depotlab._verbs.depot import _with_saved
from depotlab._verbs.split import _merged, can_be_split, part_of
from depotlab.errors import UsageError

NAME = "registry.example/me/app:1"
OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def request(*outputs):
    return prepare(llb.scratch().mkfile("/a", b""), output=list(outputs))


@pytest.mark.parametrize(
    ("output", "can"),
    [
        (export.image(NAME, push=True), True),
        (export.image(NAME), False),
        (export.image("registry.example/me/app", push=True, push_by_digest=True), False),
        (export.oci(None), False),
    ],
)
def test_only_what_goes_to_registries_under_tags_is_split(output, can):
    assert can_be_split(request(output)) is can
    assert can_be_split(request())


def test_a_part_is_pushed_without_tags_once_for_each_repository():
    names = (NAME, "registry.example/me/app:2", "other.example/app:1")
    part = part_of(request(export.image(*names, push=True)), ["linux/arm64"])
    assert part.platforms == ("linux/arm64",)
    assert part.outputs[0].attrs["push-by-digest"] == "true"
    assert part.outputs[0].attrs["name"] == "registry.example/me/app,other.example/app"


def test_parts_become_one_index_whether_they_are_images_or_indexes():
    inner = {"manifests": [{"digest": "sha256:1", "platform": {"architecture": "amd64"}}]}
    merged = _merged(
        [
            (Manifest(json.dumps(inner).encode(), INDEX), ["linux/amd64"]),
            (Manifest(b"{}", OCI), ["linux/arm64/v8"]),
        ]
    )
    entries = json.loads(merged.data)["manifests"]
    assert merged.media_type == INDEX
    assert entries[0] == inner["manifests"][0]
    assert entries[1]["size"] == 2
    assert entries[1]["platform"] == {"os": "linux", "architecture": "arm64", "variant": "v8"}


SAVED = ("depot.example/p:b1",)


def test_an_image_is_saved_by_the_exporter_that_pushes_it():
    (one,) = _with_saved((export.image(NAME, push=True),), SAVED)
    assert one.names == (NAME, *SAVED)
    assert one.attrs["name"] == f"{NAME},{SAVED[0]}"


@pytest.mark.parametrize(
    "other",
    [
        export.image(NAME, push=True, insecure=True),
        export.image("registry.example/me/app", push=True, push_by_digest=True),
        export.image(NAME),
        export.oci(None),
    ],
)
def test_the_login_of_depot_goes_with_no_exporter_that_is_not_its_own(other):
    first, second = _with_saved((other,), SAVED)
    assert first is other
    assert second.names == SAVED
    assert "registry.insecure" not in second.attrs


def test_a_question_does_not_finish_a_build_that_is_continued():
    async def main():
        client = await aio.depot(token="t", build="b1", url="http://127.0.0.1:9")
        try:
            with pytest.raises(UsageError, match="continues build b1"):
                await client.info()
        finally:
            await client.close()

    asyncio.run(main())
