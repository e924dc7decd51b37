"""Build caches as values: where a build looks for finished steps, and where it leaves them.

    cache.registry("ghcr.io/me/app:cache", mode="max")   an image of its own in a registry
    cache.inline()                                       inside the image that is built (only to leave it)
    cache.local("cache")                                 a directory on this machine
    cache.gha(scope="main")                              the cache of GitHub Actions
    cache.s3("my-bucket", region="eu-central-1")         objects in S3, or in what speaks its protocol
    cache.azblob("https://me.blob.core.windows.net")     Azure Blob Storage

One value serves for both `cache_from=` and `cache_to=`; what only matters for leaving a cache (`mode`, compression) is
not sent where it is looked for. What is imported makes a build faster and never makes it fail; what is exported
makes it fail when it cannot be written, unless `ignore_error=True`.

Nothing is read when a value is made. When a build is prepared, `as_exports` and `as_imports` fill in what only
this machine knows: credentials, tokens, the digest of a local cache. None of it is ever shown.
Source of all names: moby/buildkit `cache/remotecache/`, `client/solve.go`, `cmd/buildctl/build/`.

May import `_oci` and `errors`.
"""

from depotlab.cache._clouds import azblob, gha, s3
from depotlab.cache._exports import Exports, as_exports
from depotlab.cache._imports import Imports, as_imports
from depotlab.cache._places import inline, local, registry
from depotlab.cache._value import Attrs, Cache, Note

__all__ = [
    "Attrs",
    "Cache",
    "Exports",
    "Imports",
    "Note",
    "as_exports",
    "as_imports",
    "azblob",
    "gha",
    "inline",
    "local",
    "registry",
    "s3",
]


# Other rooms of ours take these; nobody has to type them.
_FOR_ROOMS = ("Attrs", "Exports", "Imports", "Note", "as_exports", "as_imports")


def __dir__() -> list[str]:
    return sorted(set(__all__).difference(_FOR_ROOMS))
