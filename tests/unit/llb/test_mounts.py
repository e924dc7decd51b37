"""Mounts of a run, and what becomes of them."""

from __future__ import annotations

import copy
import pickle

import pytest

from depotlab import llb, mount
from depotlab.errors import GraphError

from .support import last_exec, messages

ALPINE = llb.image("alpine")
BUSYBOX = llb.image("busybox")


def mounts(*given: object) -> list:
    return list(last_exec(ALPINE.run("x", mounts=given)).exec.mounts)[1:]


def test_bind_is_read_only_unless_it_starts_empty() -> None:
    files, empty = mounts(mount.bind("/a", BUSYBOX), mount.bind("/b"))
    assert (files.readonly, files.output, files.input) == (True, -1, 1)
    assert (empty.readonly, empty.output, empty.input) == (False, 1, -1)


def test_bind_of_scratch_starts_empty() -> None:
    assert mount.bind("/a", llb.scratch()) == mount.bind("/a")


def test_cache_has_its_target_as_id() -> None:
    (cache,) = mounts(mount.cache("/root/.cache/../pip/"))
    assert cache.cacheOpt.ID == "/root/pip"
    assert cache.dest == "/root/.cache/../pip/"


@pytest.mark.parametrize(
    ("given", "target", "env"),
    [
        pytest.param(mount.secret("tok"), "/run/secrets/tok", None, id="a file by default"),
        pytest.param(mount.secret("tok", env="TOK"), None, "TOK", id="only a variable"),
        pytest.param(mount.secret("tok", "/t"), "/t", None, id="a file somewhere"),
        pytest.param(mount.secret("tok", "/t", env="TOK"), "/t", "TOK", id="both"),
    ],
)
def test_secrets_appear_where_they_are_wanted(given: object, target: str, env: str) -> None:
    op = last_exec(ALPINE.run("x", mounts=[given])).exec
    assert [m.dest for m in op.mounts[1:]] == ([target] if target else [])
    assert [s.name for s in op.secretenv] == ([env] if env else [])


def test_ssh_sets_the_variable_that_programs_look_at() -> None:
    op = last_exec(ALPINE.run("x", mounts=[mount.ssh(), mount.ssh("second")])).exec
    assert list(op.meta.env) == ["SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0"]
    assert [m.dest for m in op.mounts[1:]] == [
        "/run/buildkit/ssh_agent.0",
        "/run/buildkit/ssh_agent.1",
    ]


def test_mounts_are_written_in_the_order_of_their_targets() -> None:
    found = mounts(mount.tmpfs("/z"), mount.bind("/b"), mount.cache("/c"), mount.bind("/a"))
    assert [(m.dest, m.output) for m in found] == [("/a", 1), ("/b", 2), ("/c", -1), ("/z", -1)]


def test_a_target_that_sorts_before_the_root_moves_its_output_number() -> None:
    run = ALPINE.run("x", mounts=[mount.bind("!first")])
    assert run.marshal().head_output == 1
    assert run.mounted("!first").marshal().head_output == 0
    assert run.mounted("/").marshal().head_output == 1


def test_equal_inputs_are_given_once() -> None:
    state = ALPINE.run(
        "x", mounts=[mount.bind("/a", llb.image("alpine")), mount.bind("/b", BUSYBOX)]
    )
    assert len(last_exec(state).inputs) == 2
    assert [m.input for m in last_exec(state).exec.mounts] == [0, 0, 1]


def test_what_a_run_left_at_a_mount_has_fresh_settings() -> None:
    run = ALPINE.env(A="1").dir("/w").run("x", mounts=[mount.bind("/out")])
    assert last_exec(run.mounted("/out").run("y")).exec.meta.cwd == "/"
    assert run.mounted("/out").image_config() == llb.scratch().image_config()


def test_a_read_only_mount_gives_back_what_was_mounted() -> None:
    run = ALPINE.run("x", mounts=[mount.bind("/b", BUSYBOX), mount.bind("/e", readonly=True)])
    assert run.mounted("/b").digest == BUSYBOX.digest
    assert run.mounted("/e") == llb.scratch()


def test_a_run_with_read_only_root_gives_the_state_before_it() -> None:
    run = ALPINE.run("x", mounts=[mount.bind("/out")], readonly_root=True)
    assert run.digest == ALPINE.digest
    assert len(messages(run.mounted("/out"))) == 2


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/c", "a cache, which belongs to no step"),
        ("/t", "a tmpfs, which is gone"),
        ("/n", "output=False"),
        ("/outt", "no mount at '/outt'"),
    ],
)
def test_mounts_that_cannot_become_a_state(target: str, message: str) -> None:
    given = [
        mount.cache("/c"),
        mount.tmpfs("/t"),
        mount.bind("/n", output=False),
        mount.bind("/out"),
    ]
    run = ALPINE.run("x", mounts=given)
    with pytest.raises(GraphError, match=message):
        run.mounted(target)


def test_the_nearest_mount_is_suggested() -> None:
    run = ALPINE.run("x", mounts=[mount.bind("/out"), mount.bind("/src", BUSYBOX)])
    with pytest.raises(GraphError) as caught:
        run.mounted("/sorc")
    assert caught.value.hint == "did you mean '/src'?"


def test_mounts_are_values() -> None:
    first, second = mount.bind("/a", ALPINE.run("x")), mount.bind("/a", ALPINE.run("x"))
    assert first == second
    assert hash(first) == hash(second)
    assert first != mount.bind("/a", ALPINE)
    assert first != mount.bind("/a", ALPINE.run("x"), readonly=False)
    assert pickle.loads(pickle.dumps(first)) == first
    assert copy.deepcopy(first) is first
    with pytest.raises(AttributeError):
        first.target = "/b"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (mount.bind("/a", BUSYBOX), "mount.bind('/a', <image busybox>, readonly=True)"),
        (mount.cache("/c", id="i"), "mount.cache('/c', id='i', sharing='shared')"),
        (mount.tmpfs("/t", size_bytes=5), "mount.tmpfs('/t', size_bytes=5)"),
    ],
)
def test_repr_of_a_mount(given: object, expected: str) -> None:
    assert repr(given) == expected
