"""What the daemon may ask us for while it builds: files, credentials, secrets, SSH agents, archives, health.

May import `_rpc`, `_transfer`, `_oci`, `export`, `secret`, `ssh`, `_proto` and `errors`.
"""

from depotlab._session.blobs import fetch_blob
from depotlab._session.bytesinks import ByteSink, FileSink, MemorySink, StreamSink
from depotlab._session.content import ContentStores
from depotlab._session.credentials import Credentials
from depotlab._session.dockerconfig import find_credentials
from depotlab._session.dockerlogin import keep_login
from depotlab._session.filesend import FileSend
from depotlab._session.filesync import Moved
from depotlab._session.manifests import Manifest, Manifests, fetch_manifest
from depotlab._session.registry import Registry
from depotlab._session.secrets import Secrets
from depotlab._session.service import Report, Service
from depotlab._session.session import Session
from depotlab._session.ssh import Ssh
from depotlab._session.upload import Uploads
from depotlab._transfer import MemoryTree

__all__ = [
    "ByteSink",
    "ContentStores",
    "Credentials",
    "FileSend",
    "FileSink",
    "Manifest",
    "Manifests",
    "MemorySink",
    "MemoryTree",
    "Moved",
    "Registry",
    "Report",
    "Secrets",
    "Service",
    "Session",
    "Ssh",
    "StreamSink",
    "Uploads",
    "fetch_blob",
    "fetch_manifest",
    "find_credentials",
    "keep_login",
]
