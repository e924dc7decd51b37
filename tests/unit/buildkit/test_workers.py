"""The workers of a daemon as a table."""

from __future__ import annotations

from depotlab.buildkit import Worker, Workers

LABEL = "org.mobyproject.buildkit.worker."
FIRST = Worker("a" * 25, ("linux/amd64", "linux/386"), {LABEL + "executor": "oci", "other": "x"})
SECOND = Worker("b" * 25, ("linux/arm64",))


def test_workers_are_a_sequence_the_default_one_first():
    workers = Workers([FIRST, SECOND])
    assert (workers[0], len(workers), list(workers)) == (FIRST, 2, [FIRST, SECOND])
    assert repr(workers[1:]) == f"<Workers 1 worker: {'b' * 12}>"


def test_workers_are_a_table_with_what_their_labels_say():
    workers = Workers([FIRST, SECOND])
    assert workers.rows() == [
        {
            "id": "a" * 25,
            "platforms": "linux/amd64, linux/386",
            "executor": "oci",
            "snapshotter": "",
            "hostname": "",
        },
        {
            "id": "b" * 25,
            "platforms": "linux/arm64",
            "executor": "",
            "snapshotter": "",
            "hostname": "",
        },
    ]
    assert list(workers.to_pandas()["executor"]) == ["oci", ""]
    assert "linux/amd64, linux/386" in workers._repr_html_()
