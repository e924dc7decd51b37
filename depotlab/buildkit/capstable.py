"""Which BuildKit release first had which capability, and what a user calls it. Data only.

Read from the tags of moby/buildkit, releases without candidates: the first one in which `solver/pb/caps.go`
(graphs, exporters, caches) or `frontend/gateway/pb/caps.go` (the gateway) registers the capability.
What release 0.8.0 has is left out: it is the oldest that depotlab is used with (Docker Engine 20.10 has it).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = [
    "ASSUMED_GATEWAY",
    "ASSUMED_LLB",
    "FRONTEND",
    "GATEWAY",
    "LLB",
    "OLDEST",
    "RELEASE_MARKS",
    "Since",
    "known_from_the_start",
]

OLDEST = "0.8.0"


class Since(NamedTuple):
    """One capability.

    Attributes:
        release: The first release that has it, as `0.10.0`.
        words: What a user asked for, as the subject of "… needs BuildKit 0.10".
    """

    release: str
    words: str


LLB: Mapping[str, Since] = {
    "cache.gha": Since("0.9.0", "a cache in GitHub Actions (cache.gha)"),
    "file.copy.includeexcludepatterns": Since("0.9.0", "copy() with include= or exclude="),
    "source.git.subdir": Since("0.9.0", "a git source with a subdirectory"),
    "source.local.differ": Since("0.9.0", "a local source with a choice of how to compare files"),
    "diffop": Since("0.10.0", "llb.diff()"),
    "exec.meta.cgroup.parent": Since("0.10.0", "run() with a cgroup parent"),
    "exec.meta.ulimit": Since("0.10.0", "run() with ulimits"),
    "exec.mount.tmpfs.size": Since("0.10.0", "mount.tmpfs() with a size"),
    "exec.secretenv": Since("0.10.0", "a secret as an environment variable"),
    "file.rm.nofollowsymlink": Since("0.10.0", "rm() of a symbolic link"),
    "mergeop": Since("0.10.0", "llb.merge()"),
    "cache.azblob": Since("0.11.0", "a cache in Azure Blob Storage (cache.azblob)"),
    "cache.s3": Since("0.11.0", "a cache in S3 (cache.s3)"),
    "exporter.image.annotations": Since("0.11.0", "annotations of an image"),
    "exporter.image.attestations": Since("0.11.0", "provenance and SBOM attestations"),
    "exporter.sourcedateepoch": Since("0.11.0", "a SOURCE_DATE_EPOCH for outputs"),
    "source.image.layerlimit": Since("0.11.0", "an image source with a limit of layers"),
    "source.ocilayout": Since("0.11.0", "an OCI layout as a source"),
    "source.policy": Since("0.11.0", "a source policy"),
    "exec.mount.cache.content": Since("0.13.0", "a mount with a content cache setting"),
    "exporter.multiple": Since("0.13.0", "more than one output in a build"),
    "file.copy.alwaysreplaceexistingdestpaths": Since(
        "0.14.0", "copy() that replaces what is in its way"
    ),
    "exec.validexitcode": Since("0.17.0", "run() with a choice of valid exit codes"),
    "gc.freespacefilter": Since("0.17.0", "pruning by used or free space"),
    "file.symlink.create": Since("0.19.0", "symlink()"),
    "exec.meta.cdi": Since("0.20.0", "devices (CDI)"),
    "history.filter": Since("0.20.0", "a filter of the build history"),
    "exporter.session": Since("0.21.0", "an output that the client decides on during the build"),
    "source.http.auth": Since("0.21.0", "a download with an authorization secret"),
    "source.http.header": Since("0.21.0", "a download with request headers"),
    "source.local.metadatatransfer": Since("0.21.0", "a local source of metadata only"),
    "source.git.checksum": Since("0.22.0", "a git source with a checksum"),
    "source.git.skipsubmodules": Since("0.24.0", "a git source without its submodules"),
    "source.image.checksum": Since("0.25.0", "an image source with a checksum"),
    "file.copy.requiredpaths": Since("0.26.0", "copy() with required paths"),
    "source.git.signatureverify": Since("0.26.0", "a git source with a verified signature"),
    "source.policy.session": Since("0.26.0", "a source policy that the client decides on"),
    "source.http.signatureverify": Since("0.28.0", "a download with a verified signature"),
    "source.imageblob": Since("0.28.0", "a blob of an image as a source"),
    "source.git.mtime": Since("0.29.0", "a git source with the times of its commits"),
    "source.git.bundle": Since("0.30.0", "a git bundle as a source"),
    "source.git.checkoutbundle": Since("0.30.0", "a git source as a bundle"),
    "source.git.fetchbycommit": Since("0.30.0", "a git source fetched by its commit"),
    "exec.meta.linux.resources": Since("0.31.0", "run() with limits of memory or processors"),
    "exec.meta.network.proxy": Since("0.31.0", "run() through the daemon's network proxy"),
    "passthroughop": Since("0.31.0", "a step that only waits for others"),
}

GATEWAY: Mapping[str, Since] = {
    "gateway.exec.extrahosts": Since("0.10.0", "a container with extra hosts"),
    "gateway.exec.signals": Since("0.10.0", "a signal to a process"),
    "gateway.warnings": Since("0.10.0", "a warning of our own"),
    "gateway.evaluate": Since("0.11.0", "the evaluation of a result"),
    "reference.attestations": Since("0.11.0", "attestations of our own"),
    "gateway.exec.secretenv": Since("0.12.0", "a container with secrets as environment variables"),
    "source.metaresolver": Since("0.13.0", "looking up a source that is no image"),
    "gateway.exec.filesystem": Since("0.27.0", "looking at the files of a container"),
    "source.metaresolver.http.checksumrequest": Since("0.28.0", "the checksum of a download"),
    "source.metaresolver.image.attestations": Since(
        "0.28.0", "looking up the attestations of an image"
    ),
}

FRONTEND: Mapping[str, Since] = {
    "moby.buildkit.frontend.contexts": Since("0.10.0", "contexts= of a Dockerfile"),
    "frontend.outline": Since("0.11.0", "the outline of a Dockerfile"),
    "frontend.targets": Since("0.11.0", "the stages of a Dockerfile"),
    "frontend.lint": Since("0.14.0", "the lint of a Dockerfile"),
}
"""What the Dockerfile frontend that a daemon brings can do: only it can say, when it is asked for it.

A `# syntax=` line may name a newer one. Source: the tags of moby/buildkit, `frontend/dockerfile/builder/caps.go`,
`frontend/subrequests`.
"""

RELEASE_MARKS: Mapping[str, str] = {
    "0.10.0": "exec.secretenv",
    "0.11.0": "source.policy",
    "0.13.0": "exporter.multiple",
    "0.17.0": "exec.validexitcode",
}
"""A capability by which a release can be told, for features that have none of their own.

No capability for them, but new in that release: zstd and estargz layers, and `tar=false`, in 0.10; more than
one cache export in 0.11; `rewrite-timestamp` in 0.13; the mode of a copy as text in 0.17. Older daemons
ignore what they do not know.
Source: the tags of moby/buildkit, `exporter/containerimage`, `util/compression`, `control/control.go`,
`solver/pb/ops.proto`.
"""

ASSUMED_GATEWAY = frozenset(("solve.base", "solve.inlinereturn", "resolveimage", "readfile"))
"""What a daemon has that lists nothing. Source: moby/buildkit `frontend/gateway/grpcclient/client.go`."""

_ASSUMED_LLB = """
    source.image source.local source.local.unique source.local.sessionid source.local.includepatterns
    source.local.followpaths source.local.excludepatterns source.local.sharedkeyhint source.git
    source.git.keepgitdir source.git.fullurl source.http source.http.checksum source.http.perm
    soruce.http.uidgid source.buildop.llbfilename exec.meta.base exec.meta.proxyenv exec.mount.bind
    exec.mount.cache exec.mount.cache.sharing exec.mount.selector exec.mount.tmpfs exec.mount.secret
    constraints platform meta.ignorecache meta.description meta.exportcache
"""
ASSUMED_LLB = frozenset(_ASSUMED_LLB.split())
"""The same of graphs; the spelling of `soruce.http.uidgid` is the daemon's."""

_HAD_BY_THEN = """
    exec.cgroup exec.meta.network exec.meta.setsdefaultpath exec.mount.ssh source.image.resolvemode
    exec.meta.security file.base exec.mount.bind.readwrite-nooutput exec.meta.security.devices.v1
    file.rm.wildcard source.git.httpauth source.git.knownsshhosts source.git.mountsshsock
    readdir resolveimage.resolvemode return returnmap statfile importcaches frontend.inputs
    proto.refarray reference.output gateway.solve.metadata frontend.caps gateway.exec
    gateway.solve.evaluate
"""
_AT_THE_OLDEST = frozenset(_HAD_BY_THEN.split())


def known_from_the_start(cap: str) -> bool:
    """Say whether every daemon that depotlab is used with has this capability."""
    return cap in _AT_THE_OLDEST or cap in ASSUMED_LLB or cap in ASSUMED_GATEWAY
