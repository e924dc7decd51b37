"""What a failed step leaves behind, as the daemon tells it: JSON made of a protobuf message."""

from depotlab._proto import ops_pb2
from depotlab.buildkit.failedop import read_failed_op

EXEC = {
    "inputIDs": ["in0"],
    "mountIDs": ["m0", ""],
    "op": {
        "inputs": [{"digest": "sha256:abc"}],
        "exec": {
            "meta": {"args": ["/bin/sh", "-c", "false"], "cwd": "/"},
            "mounts": [
                {"dest": "/"},
                {"input": "-1", "dest": "/s", "output": "-1", "mountType": "SECRET"},
            ],
            "network": "HOST",
        },
    },
    "description": {"llb.customname": "deps"},
}


def test_an_exec_is_read_with_what_its_mounts_became():
    found = read_failed_op(EXEC)
    assert found.input_ids == ("in0",)
    assert found.mount_ids == ("m0", "")
    assert found.description == {"llb.customname": "deps"}
    op = ops_pb2.Op.FromString(found.op)
    assert list(op.exec.meta.args) == ["/bin/sh", "-c", "false"]
    assert op.exec.mounts[1].input == -1
    assert op.exec.mounts[1].mountType == ops_pb2.SECRET
    assert op.exec.network == ops_pb2.HOST
    assert found.action is None


def test_a_file_op_says_which_action_failed():
    assert read_failed_op({"op": {"file": {}}, "file": {"index": "2"}}).action == 2
    assert read_failed_op({"file": {}}).action == 0
    assert read_failed_op({"cache": {"index": "1"}}).cache_input == 1


def test_what_a_newer_daemon_adds_is_skipped():
    assert read_failed_op({"inputIDs": ["a"], "later": {"x": 1}}).input_ids == ("a",)


def test_what_is_not_the_message_is_skipped():
    assert read_failed_op({"inputIDs": 3}) is None
    assert read_failed_op({"op": {"exec": {"network": {}}}}) is None
