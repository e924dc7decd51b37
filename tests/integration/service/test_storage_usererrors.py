"""What customers are told, with the words of a real daemon: they change from release to release."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import depotlab as dl
from depotlab.errors import BuildsFailed, ImageNotFound
from depotlab.service._asking.git import git, git_url
from depotlab.service._reasons.usererrors import is_transient, user_error
from depotlab.service._run.buildrequest import _unpacked

BASE = "FROM busybox\n"

# Dockerfiles, by the category of their failure; what is behind a colon tells them apart.
DOCKERFILES = {
    "dockerfile_syntax: a flag": BASE + "COPY --nope a b\n",
    "stages: a circle": "FROM busybox AS a\nCOPY --from=b /x /\nFROM busybox AS b\nCOPY --from=a /x /\n",
    "image_reference: malformed": "FROM Bad:::ref\n",
    "missing_file: of an image": BASE + "COPY --from=busybox /nope /x\n",
    "build_arguments": BASE + "ENV a=b c\n",
    "registry": "FROM 127.0.0.1:1/x\n",
    "dockerfile": BASE + "EXPOSE abc\n",
    "dockerfile_syntax": BASE + "RUNN true\n",
    "dockerfile_path": "# nothing to do\n",
    "stages": "RUN true\n",
    "image_reference": "ARG BASE\nFROM ${BASE}\n",
    "image_not_found": "FROM acme/nowhere:1\n",
    "missing_file": BASE + "COPY nowhere /x\n",
    "expression": BASE + "ARG A\nENV X=${A:!b}\n",
    "lint": "# check=error=true\nFROM busybox as a\n",
    "command_failed": BASE + "RUN echo 'no such file or directory' && exit 3\n",
    "user": BASE + "USER nobody99\nRUN true\n",
    "command_not_found": "FROM scratch\nRUN true\n",
    "out_of_memory": BASE + "RUN exit 137\n",
    "secret": BASE + "RUN --mount=type=secret,id=npmrc,required true\n",
    "not_allowed": BASE + "RUN --security=insecure true\n",
}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Test output stays readable."""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a repository that has one branch: what `git` asks before it fetches."""
    folder: Path = tmp_path_factory.mktemp("web")
    refs = folder / "acme" / "shop.git" / "info" / "refs"
    refs.parent.mkdir(parents=True)
    refs.write_text(f"{'1' * 40}\trefs/heads/main\n")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def failures(
    engine: Any, web: str, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Exception]:
    """How they fail; all are built at once."""
    folder = tmp_path_factory.mktemp("image")
    host = web.removeprefix("http://")
    targets: dict[str, Any] = {
        name: dl.dockerfile({}, text=text) for name, text in DOCKERFILES.items()
    }
    targets["target"] = dl.dockerfile({}, text=BASE, target="prod")
    targets["git_ref"] = dl.dockerfile(git_url(git(host, "acme", "shop", "nope")))
    targets["git_access"] = dl.dockerfile(git_url(git(host, "acme", "nope", "main")))
    targets["download"] = dl.dockerfile(dl.context(_unpacked(f"{web}/none?X-Amz-Signature=hidden")))
    targets["export_format"] = {
        "target": dl.dockerfile({}, text="FROM scratch\nCMD x\n"),
        "platform": ["linux/amd64", "linux/arm64"],
        "output": dl.export.docker(folder / "image.tar"),
    }
    image = dl.export.image("127.0.0.1:1/shop:d1", push=True, insecure=True)
    targets["push"] = {"target": dl.dockerfile({}, text=BASE), "output": image}
    with dl.connect(engine.address) as bk, pytest.raises(BuildsFailed) as caught:
        dl.build_all(targets, bk, keep_going=True, progress="quiet")
    return caught.value.errors


@pytest.mark.parametrize(
    "category",
    [*DOCKERFILES, "target", "git_ref", "git_access", "download", "push", "export_format"],
)
def test_a_failure_has_its_category(failures: Mapping[str, Exception], category: str) -> None:
    told = user_error(failures[category])
    assert told.category == category.partition(":")[0], f"{told}, of {failures[category]!r}"
    assert told.raw
    assert "hidden" not in told.raw


def test_an_image_for_other_platforms_is_not_said_to_be_missing(engine: Any, bk: dl.Client) -> None:
    name = f"{engine.registry}/elsewhere:1"
    made = dl.dockerfile({}, text="FROM scratch\nCMD x\n")
    others = ["linux/arm64", "linux/s390x"]
    bk.build(made, platform=others, output=dl.export.image(name, push=True, insecure=True))
    with pytest.raises(ImageNotFound) as caught:
        bk.build(dl.dockerfile({}, text=f"FROM {name}\nRUN true\n"), platform="linux/amd64")
    assert user_error(caught.value).category == "platform"


def test_a_failed_command_is_named(failures: Mapping[str, Exception]) -> None:
    message = user_error(failures["command_failed"]).message
    assert "RUN echo" in message
    assert "exit code 3" in message


@pytest.mark.parametrize("category", ["dockerfile_syntax", "missing_file"])
def test_the_line_is_named(failures: Mapping[str, Exception], category: str) -> None:
    assert "(Dockerfile, line 2)" in user_error(failures[category]).message


def test_only_what_may_pass_is_tried_again(failures: Mapping[str, Exception]) -> None:
    assert {name for name, error in failures.items() if is_transient(error)} == {
        "push",
        "registry",
    }
