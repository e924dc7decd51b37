"""The official libraries for Node.js, Go and Python, unmodified, against a real plane with real machines."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from depotlab._plane.authority import Authority
from depotlab._plane.up import Plane
from depotlab._proto import depot_core_pb2 as core
from tests.conftest import unavailable
from tests.support.httpproxy import proxying
from tests.support.officialclients import ClientUnavailable, go_sdk, node_sdk, python_client

PROGRAMS = Path(__file__).parents[2] / "support" / "sdk"


def wanted(find):
    try:
        return find()
    except ClientUnavailable as error:
        unavailable(str(error))


def test_the_sdk_for_node_drives_the_plane(up, depot_program, tmp_path):
    modules = wanted(node_sdk)
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo from node\n")
    done = subprocess.run(
        ["node", str(PROGRAMS / "program.cjs")],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "NODE_PATH": str(modules),
            "CLI": str(depot_program),
            "CONTEXT": str(context),
            **up.environment,
        },
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["exit"] == 0, told["said"]
    assert told["organization"] == up.environment["DEPOT_ORG_ID"]
    assert told["policy"] == [25, 7]
    assert told["tokens"] == ["ci"]
    assert any("RUN echo from node" in name for name in told["steps"])
    assert "from node" in told["logs"]
    assert told["status"] == core.Build.STATUS_SUCCESS
    assert told["shared"].startswith(f"{up.url}/share/")
    assert told["endpoint"].startswith("tcp://127.0.0.1:")
    assert told["builds"] == [core.Build.STATUS_FAILED, core.Build.STATUS_SUCCESS]
    assert told["usage"] == 2
    assert told["codes"] == [5, 16], "not found, unauthenticated"


def with_go(up, home, *arguments):
    """Run a program with the SDK for Go against a plane, and return what it tells."""
    program = wanted(go_sdk)
    done = subprocess.run(
        [str(program), *map(str, arguments)],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), **up.environment},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def how_it_ended(up, build_id):
    return next(one for one in up.builds() if one["buildId"] == build_id)["status"]


def test_the_sdk_for_go_builds_a_dockerfile(up, tmp_path):
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM busybox\nCOPY word /word\nRUN cat /word\n")
    (context / "word").write_text(f"word of {tmp_path}\n")
    told = with_go(up, tmp_path, "dockerfile", context)
    assert told["build_error"] == ""
    assert told["project"] == up.environment["DEPOT_PROJECT_ID"]
    assert told["build_url"] == f"{up.url}/builds/{told['build_id']}"
    assert told["endpoint"].startswith("tcp://127.0.0.1:")
    assert f"word of {tmp_path}" in told["logs"]
    assert how_it_ended(up, told["build_id"]) == "STATUS_SUCCESS"
    kept = [step["name"] for step in up.steps(told["build_id"])]
    assert {"[3/3] RUN cat /word"} <= set(kept)
    again = with_go(up, tmp_path, "dockerfile", context)
    assert "[3/3] RUN cat /word" in again["cached"]

    (context / "Dockerfile").write_text("FROM busybox\nRUN exit 7\n")
    failed = with_go(up, tmp_path, "dockerfile", context)
    assert "exit code: 7" in failed["build_error"]
    assert how_it_ended(up, failed["build_id"]) == "STATUS_FAILED"


def test_a_program_that_calls_the_api_for_go_by_hand_runs_a_graph(up, tmp_path):
    word = f"said by {tmp_path.name}"
    told = with_go(up, tmp_path, "graph", f"echo {word}")
    assert told["n_workers"] == 1
    assert word in told["logs"]
    assert how_it_ended(up, told["build_id"]) == "STATUS_SUCCESS"
    assert any(word in step["name"] for step in up.steps(told["build_id"]))
    failed = with_go(up, tmp_path, "graph", "exit 9")
    assert "exit code: 9" in failed["build_error"]
    assert how_it_ended(up, failed["build_id"]) == "STATUS_FAILED"


def test_the_client_for_python_takes_a_machine(plane_folder, tmp_path):
    """It knows one address, with TLS. A proxy leads that to the plane, and sees that nothing else is asked for."""
    packages = wanted(python_client)
    folder = Path(tempfile.mkdtemp(dir=plane_folder))
    authority = Authority(tmp_path / "authority")
    leaf = authority.server("api.depot.dev")
    (tmp_path / "ca.pem").write_text(authority.ca_pem)
    (tmp_path / "cert.pem").write_text(leaf.cert_pem)
    (tmp_path / "key.pem").write_text(leaf.key_pem)

    async def work():
        tls = (tmp_path / "cert.pem", tmp_path / "key.pem")
        async with Plane(folder / "state", tls=tls) as plane:
            async with proxying(int(plane.tls_url.rpartition(":")[2])) as proxy:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, str(PROGRAMS / "program.py")),
                    env={
                        "PATH": os.environ["PATH"],
                        "PYTHONPATH": str(packages),
                        "DEPOT_API_TOKEN": plane.environment["DEPOT_TOKEN"],
                        "PROJECT": plane.environment["DEPOT_PROJECT_ID"],
                        "https_proxy": f"http://{proxy.address}",
                        "no_proxy": "127.0.0.1",
                        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(tmp_path / "ca.pem"),
                    },
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                )
                async with asyncio.timeout(500):
                    out, said = await process.communicate()
                assert process.returncode == 0, said.decode()
            return json.loads(out), {head.split()[1] for head in proxy.heads}

    told, asked = asyncio.run(work())
    assert told["projects"] == ["default"]
    assert told["workers_bytes"] > 0
    assert told["during"] == [str(core.Build.STATUS_RUNNING)]
    assert told["after"] == [str(core.Build.STATUS_SUCCESS)]
    assert asked == {"api.depot.dev:443"}
