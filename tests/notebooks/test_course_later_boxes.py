"""The Dockerfiles in the boxes of lessons 7, 8 and 10 do what the lesson says."""

import re

import nbformat
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import depotlab as dl
from depotlab import llb, ssh
from notebooks.course import make


def box(lesson: str) -> str:
    (path,) = (path for path in make.LESSONS if path.name.startswith(lesson))
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    (found,) = re.findall(r"^```dockerfile\n(.*?)^```", text, re.M | re.S)
    return found


def test_the_five_mounts_are_flags_of_one_run(bk):
    key = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
    )
    tools = llb.scratch().mkfile("/greet.sh", "test -f /run/secrets/token && test -d /memory\n")
    page = dl.dockerfile(text=box("07"), contexts={"tools": tools})
    bk.build(page, secrets={"token": "hush"}, ssh=ssh.keys(key), progress="quiet")


@pytest.mark.parametrize("tool", ["saw", "drill"])
def test_copy_with_link_puts_what_was_made_apart_on_one_base(bk, tool):
    page = dl.dockerfile(text=box("08"))
    assert bk.read_text(page, f"/opt/{tool}/version") == f"{tool} 1\n"


def test_the_compiler_runs_on_the_platform_of_the_builder(bk):
    stages = bk.targets(
        dl.dockerfile({"main.go": ""}, text=box("10").replace("golang:", "busybox:"))
    )
    assert (stages[0].name, stages[0].platform) == ("build", "$BUILDPLATFORM")
