"""Where the files of a build come from: directories, archives, memory, URLs, images, graphs.

Values, and looks at them before anything is sent. May import `llb`, `_transfer`, `_oci` and `errors`.
"""

from depotlab._contexts.advice import Finding
from depotlab._contexts.kinds import Directory, File, Files, Graph, Image, OciImage
from depotlab._contexts.offer import OwnRules, offer_of, read_inside
from depotlab._contexts.preview import ContextFile, Preview, preview
from depotlab._contexts.remote import Git, Http
from depotlab._contexts.survey import Branch, Count
from depotlab._contexts.tar import Tar, compression_of, is_header, looks_like
from depotlab._contexts.value import Context, Source, Where, context
from depotlab._contexts.why import Why
from depotlab._contexts.zstd import ZstdDamaged, ZstdReader

__all__ = [
    "Branch",
    "Context",
    "ContextFile",
    "Count",
    "Directory",
    "File",
    "Files",
    "Finding",
    "Git",
    "Graph",
    "Http",
    "Image",
    "OciImage",
    "OwnRules",
    "Preview",
    "Source",
    "Tar",
    "Where",
    "Why",
    "ZstdDamaged",
    "ZstdReader",
    "compression_of",
    "context",
    "is_header",
    "looks_like",
    "offer_of",
    "preview",
    "read_inside",
]
