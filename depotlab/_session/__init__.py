"""What the daemon may ask us for while it builds: files, credentials, secrets, SSH agents, archives, health.

May import `_rpc`, `_transfer`, `_oci`, `export`, `secret`, `ssh`, `_proto` and `errors`.
"""

from depotlab._session.content import ContentStores
from depotlab._session.credentials import Credentials
from depotlab._session.dockerconfig import find_credentials
from depotlab._session.filesend import FileSend
from depotlab._session.filesync import Moved
from depotlab._session.manifests import Manifest, Manifests
from depotlab._session.secrets import Secrets
from depotlab._session.service import Report, Service
from depotlab._session.session import Session
from depotlab._session.ssh import Ssh
from depotlab._session.upload import Uploads
from depotlab._transfer import MemoryTree

__all__ = [
    "ContentStores",
    "Credentials",
    "FileSend",
    "Manifest",
    "Manifests",
    "MemoryTree",
    "Moved",
    "Report",
    "Secrets",
    "Service",
    "Session",
    "Ssh",
    "Uploads",
    "find_credentials",
]
