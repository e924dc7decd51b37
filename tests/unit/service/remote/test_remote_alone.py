"""A client of a service needs none of the packages that a service needs."""

import subprocess
import sys

PROGRAM = """
import sys
for name in ("hypercorn", "connectrpc", "h11", "duckdb", "boto3", "clickhouse_connect"):
    sys.modules[name] = None  # as if it were not installed
from depotlab.service import RemoteBuildService, aio, git
from depotlab.errors import MissingExtra
from depotlab.cli import main
print(RemoteBuildService("http://127.0.0.1:1", "token"), aio.RemoteBuildService)
assert main(["serve"]) == main(["serve", "token", "list"]) == 1
"""


def test_a_client_needs_no_extra_and_a_server_names_its_own():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<RemoteBuildService at http://127.0.0.1:1>")
    assert done.stderr.count("pip install 'depotlab[service]'") == 2
