"""Exec ops as plans of containers, and parts of definitions."""

from __future__ import annotations

import pytest

from depotlab import llb, mount
from depotlab._proto import gateway_pb2, ops_pb2
from depotlab.buildkit import ExecPlan, part_of, source_lines
from depotlab.errors import ProtocolError

BASE = llb.image("busybox")
RUN = (
    BASE.env(A="1")
    .dir("/w")
    .run(
        ["make", "x"],
        user="7",
        mounts=[
            mount.bind("/src", llb.image("alpine"), source_path="/etc"),
            mount.cache("/c", id="mine", sharing="locked"),
            mount.secret("s"),
            mount.bind("/out"),
        ],
    )
)


def plan(state: llb.State = RUN) -> ExecPlan:
    return ExecPlan(state.marshal("linux/arm64").ops[-2].data)


def test_an_op_tells_what_runs_and_where():
    found = plan()
    assert (found.args, found.env["A"], found.cwd, found.user) == (("make", "x"), "1", "/w", "7")
    assert [(m.target, m.kind) for m in found.mounts] == [
        ("/", "bind"),
        ("/c", "cache"),
        ("/out", "bind"),
        ("/src", "bind"),
        ("/run/secrets/s", "secret"),
    ]
    assert found.root == 0
    assert found.mounts[3].selector == "/etc"
    assert found.mounts[3].readonly


def test_a_container_mounts_results_where_the_op_mounts_inputs():
    found = plan()
    ids = ["root", "", "", "alpine", ""]
    request = gateway_pb2.NewContainerRequest.FromString(found.container_request("id", ids))
    assert [m.resultID for m in request.Mounts] == ids
    assert request.Mounts[1].cacheOpt.ID == "mine"
    assert request.Mounts[1].cacheOpt.sharing == ops_pb2.LOCKED
    assert request.Mounts[4].secretOpt.ID == "s"
    assert request.platform.Architecture == "arm64"
    assert request.ContainerID == "id"


def test_a_process_is_the_op_itself_or_what_is_given_instead():
    found = plan()
    own = ops_pb2.Meta.FromString(found.process("id").meta)
    assert list(own.args) == ["make", "x"]
    other = found.process("id", args=["sh"], env={"A": "2", "B": "3"}, cwd="/", user="0", tty=True)
    meta = ops_pb2.Meta.FromString(other.meta)
    assert list(meta.args) == ["sh"]
    assert set(meta.env) >= {"A=2", "B=3"}
    assert (meta.cwd, meta.user, other.tty) == ("/", "0", True)


def test_a_part_of_a_graph_ends_with_another_op():
    whole = RUN.marshal("linux/arm64")
    base = next(op for op in whole.ops if op.kind == "source")
    part = ops_pb2.Definition.FromString(part_of(whole.to_bytes(), base.digest, 0))
    final = ops_pb2.Op.FromString(getattr(part, "def")[-1])
    assert [(i.digest, i.index) for i in final.inputs] == [(base.digest, 0)]
    assert len(getattr(part, "def")) == len(whole.data)
    with pytest.raises(ProtocolError, match="no op"):
        part_of(whole.to_bytes(), "sha256:other", 0)


def test_lines_come_with_the_text_they_are_in():
    definition = ops_pb2.Definition()
    definition.Source.infos.add(filename="Dockerfile", data=b"FROM a\nRUN b\n")
    place = definition.Source.locations["sha256:1"].locations.add(sourceIndex=0)
    line = place.ranges.add()
    line.start.line, line.end.line = 2, 2
    definition.Source.locations["sha256:2"].locations.add(sourceIndex=5)
    found = source_lines(definition.SerializeToString())
    assert list(found) == ["sha256:1"]
    assert (found["sha256:1"].filename, found["sha256:1"].line) == ("Dockerfile", 2)
    assert found["sha256:1"].excerpt(around=0) == "> 2 | RUN b"
