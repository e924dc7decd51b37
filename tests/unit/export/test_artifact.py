import base64
import json

import pytest

from depotlab.errors import ProtocolError, SessionError, UsageError
from depotlab.export import Artifact

DESCRIPTOR = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 476}
METADATA = {
    "containerimage.digest": "sha256:aa",
    "containerimage.config.digest": "sha256:bb",
    "containerimage.descriptor": base64.b64encode(json.dumps(DESCRIPTOR).encode()).decode(),
    "image.name": "docker.io/me/a:1,docker.io/me/b:1",
}


def test_what_the_daemon_says_is_read_from_the_metadata():
    made = Artifact(metadata=METADATA)
    assert made.digest == "sha256:aa"
    assert made.config_digest == "sha256:bb"
    assert made.names == ("docker.io/me/a:1", "docker.io/me/b:1")
    assert made.descriptor == DESCRIPTOR


def test_without_metadata_everything_is_empty():
    made = Artifact()
    assert (made.digest, made.config_digest, made.names, made.descriptor) == ("", "", (), {})


@pytest.mark.parametrize(
    "text", ["%%%", base64.b64encode(b"[1]").decode(), base64.b64encode(b"{").decode()]
)
def test_a_malformed_descriptor_is_an_error(text):
    with pytest.raises(ProtocolError):
        _ = Artifact(metadata={"containerimage.descriptor": text}).descriptor


def test_an_archive_can_be_read_wherever_it_is(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"abc")
    assert Artifact(path=tmp_path / "x.tar").read() == b"abc"
    assert Artifact(data=b"abc").read() == b"abc"


def test_what_is_no_archive_here_cannot_be_read(tmp_path):
    for made in (Artifact(path=tmp_path), Artifact()):
        with pytest.raises(UsageError, match="cannot be read as bytes"):
            made.read()
    with pytest.raises(SessionError, match="no such file"):
        Artifact(path=tmp_path / "gone.tar").read()


def test_data_are_never_shown(tmp_path):
    assert repr(Artifact(data=b"private", size_bytes=7)) == "<artifact 7 bytes in memory>"
    assert repr(Artifact(path=tmp_path, n_files=2, size_bytes=5)) == (
        f"<artifact {tmp_path}, 2 files, 5 bytes>"
    )
    assert repr(Artifact(metadata=METADATA)) == (
        "<artifact docker.io/me/a:1, docker.io/me/b:1, sha256:aa>"
    )
