"""What a program with PyPI's depot-client does: a project's machine, as its own example takes it.

Prints one JSON object. Environment: DEPOT_API_TOKEN, PROJECT, and what leads api.depot.dev to the plane.
"""

import json
import os

import depot_client
import grpc


def main() -> None:
    told = {}
    with depot_client.Client() as client:
        told["projects"] = [project.name for project in client.list_projects()]
        with client.create_endpoint(os.environ["PROJECT"]) as endpoint:
            credentials = grpc.ssl_channel_credentials(
                endpoint.ca_cert.encode(), endpoint.key.encode(), endpoint.cert.encode()
            )
            options = [("grpc.ssl_target_name_override", endpoint.server_name)]
            target = endpoint.endpoint.removeprefix("tcp://")
            with grpc.secure_channel(target, credentials, options) as machine:
                workers = machine.unary_unary("/moby.buildkit.v1.Control/ListWorkers")(b"")
            told["workers_bytes"] = len(workers)
            told["during"] = [str(b.status) for b in client.list_builds(os.environ["PROJECT"])]
        told["after"] = [str(b.status) for b in client.list_builds(os.environ["PROJECT"])]
    print(json.dumps(told))


main()
