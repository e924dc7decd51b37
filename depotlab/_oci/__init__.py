"""OCI image layouts on disk: index, manifests, blobs by digest. May import `errors` only."""

from depotlab._oci.archive import Archive, ArchivedImage, LayerFile, read_archive
from depotlab._oci.documents import Descriptor, as_descriptor, parse_document, split_digest
from depotlab._oci.ingest import Ingest
from depotlab._oci.layout import BlobInfo, Layout, Removed
from depotlab._oci.source import OciStore, oci_store
from depotlab._oci.walk import Node

__all__ = [
    "Archive",
    "ArchivedImage",
    "BlobInfo",
    "Descriptor",
    "Ingest",
    "LayerFile",
    "Layout",
    "Node",
    "OciStore",
    "Removed",
    "as_descriptor",
    "oci_store",
    "parse_document",
    "read_archive",
    "split_digest",
]
