"""What a build gives back: outputs as values. Nothing is sent or written here.

    export.image("ghcr.io/me/app:1", push=True)     an image, in a registry or in the builder's cache
    export.oci("app.tar", "me/app:1")               an image as an OCI archive, on this machine
    export.docker("app.tar", "me/app:1")            the same for `docker load`
    export.tar("rootfs.tar")                        the files of the result, as a tar archive
    export.local("out")                             the files of the result, in a directory

An archive goes to a path, to a binary file object, or, with None, into memory. Names and meanings of all
attributes are BuildKit's. Source: moby/buildkit `exporter/`.

May import `errors`.
"""

from depotlab.export._artifact import Artifact
from depotlab.export._destination import (
    Destination,
    ToDirectory,
    ToFile,
    ToLayout,
    ToMemory,
    ToStream,
)
from depotlab.export._files import local, tar
from depotlab.export._image import docker, image, oci
from depotlab.export._output import Output, destinations, layout

__all__ = [
    "Artifact",
    "Destination",
    "Output",
    "ToDirectory",
    "ToFile",
    "ToLayout",
    "ToMemory",
    "ToStream",
    "destinations",
    "docker",
    "image",
    "layout",
    "local",
    "oci",
    "tar",
]


# Other rooms of ours take these; nobody has to type them.
_FOR_ROOMS = (
    "Destination",
    "ToDirectory",
    "ToFile",
    "ToLayout",
    "ToMemory",
    "ToStream",
    "destinations",
    "layout",
)


def __dir__() -> list[str]:
    return sorted(set(__all__).difference(_FOR_ROOMS))
