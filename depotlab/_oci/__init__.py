"""OCI image layouts on disk: index, manifests, blobs by digest. May import `errors` only."""

from depotlab._oci.archive import Archive, ArchivedImage, LayerFile, read_archive
from depotlab._oci.documents import Descriptor, as_descriptor, parse_document, split_digest
from depotlab._oci.ingest import Ingest
from depotlab._oci.layout import BlobInfo, Layout, Removed
from depotlab._oci.picked import Picked, archive_entries, pick
from depotlab._oci.source import OciStore, oci_store
from depotlab._oci.stream import Entry, tar_stream
from depotlab._oci.walk import Node

__all__ = [
    "Archive",
    "ArchivedImage",
    "BlobInfo",
    "Descriptor",
    "Entry",
    "Ingest",
    "LayerFile",
    "Layout",
    "Node",
    "OciStore",
    "Picked",
    "Removed",
    "archive_entries",
    "as_descriptor",
    "oci_store",
    "parse_document",
    "pick",
    "read_archive",
    "split_digest",
    "tar_stream",
]
