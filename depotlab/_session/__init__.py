"""What the daemon may ask us for while it builds: files, registry credentials, health.

May import `_rpc`, `_transfer`, `_proto` and `errors`.
"""

from depotlab._session.credentials import Credentials
from depotlab._session.filesync import Moved
from depotlab._session.service import Report, Service
from depotlab._session.session import Session
from depotlab._transfer import MemoryTree

__all__ = ["Credentials", "MemoryTree", "Moved", "Report", "Service", "Session"]
