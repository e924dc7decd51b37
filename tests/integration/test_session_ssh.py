"""SSH agents of steps, through a real daemon: OpenSSH in the step, our service here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from depotlab import llb, mount, ssh
from depotlab._session import Ssh
from depotlab.errors import DepotlabError, SessionError, StepFailed
from tests.conftest import unavailable
from tests.support.servicebuilds import ServiceBuild
from tests.support.sshpeers import have_openssh, run_agent, write_key


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `ssh-add` and the libraries that it loads, as they lie on this machine."""
    if not have_openssh():
        unavailable("the programs of openssh-client are not installed")
    folder = tmp_path_factory.mktemp("tools")
    program = shutil.which("ssh-add")
    assert program is not None
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for found in {program, *re.findall(r"(/\S+)", listed)}:
        copy = folder / found.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(found, copy)
    return folder


@pytest.fixture
def context(tools: Path, tmp_path: Path) -> Path:
    """A context with those tools, to which a test adds public keys."""
    shutil.copytree(tools, tmp_path / "context")
    return tmp_path / "context"


def build(engine, context: Path, steps: str, agents: Mapping[str, ssh.Agent]) -> str:
    """Run steps in an image with the tools; return what they printed."""
    (context / "Dockerfile").write_text(f"FROM busybox\nCOPY . /\n{steps}\n")
    build = ServiceBuild(engine.address, folders={"context": context, "dockerfile": context})
    if agents:
        build.services = [Ssh(ssh.check_all(agents), report=build.problems.append)]
    build.dockerfile()
    assert build.problems == []
    return build.printed


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_a_step_lists_and_signs_with_a_key_in_memory(
    engine, context: Path, tmp_path: Path, kind: str
) -> None:
    key = write_key(tmp_path, "id_key", "-t", kind, passphrase="open sesame")
    shutil.copy(key.with_suffix(".pub"), context / "key.pub")
    printed = build(
        engine,
        context,
        "RUN --mount=type=ssh ssh-add -L && ssh-add -T /key.pub && echo verified\n"
        # Several connections to one socket at once.
        "RUN --mount=type=ssh for n in 1 2 3 4 5; do ssh-add -T /key.pub && echo ok$n & done; wait",
        {"default": ssh.keys(key, passphrase="open sesame")},
    )
    assert " ".join(key.with_suffix(".pub").read_text().split()[:2]) in printed
    assert "verified" in printed
    assert set(re.findall(r"(?m)^ok\d$", printed)) == {f"ok{n}" for n in range(1, 6)}


def test_a_step_uses_the_agent_of_this_machine_and_cannot_change_it(
    engine, context: Path, tmp_path: Path
) -> None:
    key = write_key(tmp_path, "id_key", "-t", "ed25519")
    shutil.copy(key.with_suffix(".pub"), context / "key.pub")
    with run_agent() as agent:
        environment = {**os.environ, "SSH_AUTH_SOCK": str(agent)}
        subprocess.run(["ssh-add", "-q", str(key)], env=environment, check=True)
        printed = build(
            engine,
            context,
            "RUN --mount=type=ssh,required=true ssh-add -T /key.pub && ! ssh-add -D && "
            "! ssh-add -d /key.pub && ! ssh-add -x </dev/null && ssh-add -L",
            {"default": ssh.agent(agent)},
        )
        left = subprocess.run(["ssh-add", "-L"], env=environment, capture_output=True, check=True)
    assert left.stdout.decode().strip() in printed


def test_steps_choose_between_agents(engine, context: Path, tmp_path: Path) -> None:
    first = write_key(tmp_path, "first", "-t", "ed25519")
    second = write_key(tmp_path, "second", "-t", "ed25519")
    printed = build(
        engine,
        context,
        "RUN --mount=type=ssh,id=a --mount=type=ssh,id=b,target=/b "
        'echo "A $(ssh-add -L)"; echo "B $(SSH_AUTH_SOCK=/b ssh-add -L)"',
        {"a": ssh.keys(first), "b": ssh.keys(second)},
    )
    for letter, key in (("A", first), ("B", second)):
        (line,) = [line for line in printed.splitlines() if line.startswith(letter)]
        assert line.split()[2] == key.with_suffix(".pub").read_text().split()[1]


@pytest.mark.parametrize(
    ("given", "reason"),
    [({}, "needs an SSH agent"), ({"other": ssh.keys}, "given no SSH agent 'default'")],
    ids=["none given", "another given"],
)
def test_a_step_without_its_agent_fails_and_an_optional_one_runs(
    engine, context: Path, tmp_path: Path, given: dict[str, type], reason: str
) -> None:
    key = write_key(tmp_path, "id_key", "-t", "ed25519")
    agents = {name: make(key) for name, make in given.items()}
    optional = 'RUN --mount=type=ssh test ! -e "$SSH_AUTH_SOCK" && echo went on'
    assert "went on" in build(engine, context, optional, agents)
    with pytest.raises(DepotlabError, match=reason):
        build(engine, context, "RUN --mount=type=ssh,required=true true", agents)


def test_an_agent_that_has_gone_is_reported_and_fails_the_step(engine, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nCOPY . /\nRUN --mount=type=ssh ssh-add -l\n")
    build = ServiceBuild(engine.address, folders={"context": context, "dockerfile": context})
    with run_agent() as agent:
        build.services = [Ssh(ssh.check_all(ssh.agent(agent)), report=build.problems.append)]
    with pytest.raises(StepFailed):
        build.dockerfile()
    (problem,) = build.problems
    assert isinstance(problem, SessionError)
    assert str(agent) in problem.message


def test_a_graph_uses_an_agent(engine, tmp_path: Path, context: Path) -> None:
    key = write_key(tmp_path, "id_key", "-t", "ed25519")
    shutil.copy(key.with_suffix(".pub"), context / "key.pub")
    state = (
        llb.image("busybox")
        .copy(llb.local(context, name="tools"), "/", "/")
        .run(f"ssh-add -T /key.pub && : {time.time_ns()}", mounts=[mount.ssh("deploy")], name="use")
    )
    build = ServiceBuild(engine.address, folders={"tools": context})
    build.services = [Ssh({"deploy": ssh.keys(key)}, report=build.problems.append)]
    build.graph(state)
    assert build.state_of("use") == "ran"
