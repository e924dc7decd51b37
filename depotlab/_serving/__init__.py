"""What a server stands on: a listener for HTTP/1.1 and HTTP/2, methods as Connect, gRPC and JSON, a database file.

The Depot of this computer and the build service are made of it. May import `errors`. Needs connectrpc and hypercorn
(the extras `plane` and `service`), so it is imported where it is used.
"""

from depotlab._serving.database import Database
from depotlab._serving.faults import Fault, FaultCode
from depotlab._serving.listener import App, Listener
from depotlab._serving.rpc import Method, RpcApp, methods

__all__ = ["App", "Database", "Fault", "FaultCode", "Listener", "Method", "RpcApp", "methods"]
