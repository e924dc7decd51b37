"""What a daemon says when it refuses an output, a cache, a right or an attestation, or lacks what a step needs.

A table: the daemon's words, ours, and a hint what to do about it. The words are those of BuildKit 0.8 to 0.32.
Source: moby/buildkit `control/control.go`, `exporter/`, `cache/remotecache/`, `util/entitlements`,
`frontend/attestations`, `util/apicaps`, `session/secrets`, `solver/llbsolver/mounts`; moby/sys `user/`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Refused", "disk_full", "refused"]


class Refused(NamedTuple):
    """A refusal in our words.

    Attributes:
        message: What happened; one sentence.
        hint: What to do next; one sentence.
    """

    message: str
    hint: str


_OUTPUTS = "outputs come from depotlab.export: image, oci, docker, tar, local"
_ENGINE = "a Docker Engine has more when it uses the containerd image store"

_TABLE: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(words, re.DOTALL), message, hint)
    for words, message, hint in (
        (
            r'exporter "([^"]*)" could not be found',
            "The daemon has no output of type {0!r}.",
            f"{_OUTPUTS}; {_ENGINE}",
        ),
        (
            r'unknown cache exporter: "([^"]*)"',
            "The daemon cannot export a cache of type {0!r}.",
            f"caches come from depotlab.cache: registry, inline, local, gha, s3, azblob; {_ENGINE}",
        ),
        (
            r"duplicate cache exports \[?([^\]]*)\]?",
            "Two caches to export to are the same: {0}.",
            "leave one of them out of cache_to=",
        ),
        (
            r"specifying multiple cache exports is not supported",
            "This daemon exports one cache only.",
            "leave one in cache_to=, or update the daemon: BuildKit 0.11 exports several",
        ),
        (
            r"failed to configure (\S+) cache exporter: (.*)",
            "The cache of type {0!r} cannot be exported: {1}",
            "pass what is missing to depotlab.cache.{0}(...)",
        ),
        (
            r"unknown entitlement (\S+)",
            "There is no entitlement {0!r}.",
            "entitlements are 'network.host', 'security.insecure', and 'device' or 'device=NAME'",
        ),
        (
            r"(?:granting entitlement )?(\S+) is not allowed by build daemon configuration",
            "The daemon does not grant the entitlement {0!r}.",
            "start it with --allow-insecure-entitlement {0}, or use depotlab.local(), which grants it",
        ),
        (
            r"(network\.host|security\.insecure|device\S*) is not allowed$",
            "A step needs the entitlement {0!r}, and the build did not ask for it.",
            "pass allow={0!r} to the build",
        ),
        (
            r"^secret ([^\s:]+):? not found",
            "A step needs the secret {0!r}, and the build was not given it.",
            "pass it to the build, for example secrets={{{0!r}: secret.env('NAME')}}",
        ),
        (
            r'no SSH key "(?:default)?" forwarded from the client',
            "A step needs an SSH agent, and the build was not given one.",
            "pass ssh=ssh.agent() to the build",
        ),
        (
            r'no SSH key "([^"]+)" forwarded from the client',
            "A step needs the SSH agent {0!r}, and the build was not given it.",
            "pass it to the build, for example ssh={{{0!r}: ssh.agent()}}",
        ),
        (
            r"unable to find (user|group) ([^\s:]+): ",
            "A step runs as the {0} {1!r}, and its image has none of that name.",
            "make it in a step before, with adduser or the like, or give a number",
        ),
        (
            r'unknown attestation type "([^"]*)"',
            "There is no attestation of type {0!r}.",
            "attestations are provenance= and sbom=",
        ),
        (
            r"(invalid mode \"[^\"]*\"|invalid provenance SLSA version: .*)$",
            "The provenance cannot be made: {0}.",
            "mode is 'min' or 'max', version is 'v1' or 'v0.2'",
        ),
        (
            r"(non-\w+ value specified for \S+|invalid source-date-epoch).*: (parsing .*)",
            "An attribute of an output is wrong: {0}, {1}.",
            "see depotlab.export for what it may be",
        ),
        (
            r"unsupported compression type (\S+)",
            "The daemon does not know the compression {0!r}.",
            "use uncompressed, gzip, estargz or zstd; the last two need BuildKit 0.10",
        ),
        (
            r"(exporting attestations is not supported|"
            r"docker exporter does not (?:currently )?support exporting manifest lists)",
            "An image with several platforms or with attestations does not fit into this output.",
            "use export.oci(...), or leave out provenance=, sbom= and further platforms",
        ),
        (
            r"index annotations not supported for single platform export",
            "An annotation is for the index of the image, and an image of one platform has none.",
            "write its key without 'index:', or make an index: with several platforms, provenance= or sbom=",
        ),
        (
            r"requested (?:\w+ )?feature (\S+)\s.*?has been disabled on the build server(?:: (.*))?",
            "The daemon has {0} switched off{1}.",
            f"build on another daemon; {_ENGINE}",
        ),
        (
            r"(?:method (\S+) not supported by the client|the session does not serve (\S+))",
            "The daemon wanted to send or ask something that this build does not serve: {0}{1}.",
            "an output to this machine needs a destination; this is a mistake of the program that asked for the build",
        ),
    )
)


_NO_SPACE = re.compile(r"(?:\w+ \S+: )?(?:no space left on device|disk quota exceeded)")


def disk_full(text: str) -> Refused | None:
    """Return what to say when the daemon's disk is full, or None. A step that fails for it says so itself."""
    found = _NO_SPACE.search(text)
    if found is None:
        return None
    return Refused(
        f"The daemon has no space left on its disk: {found[0]}.",
        "look at bk.disk_usage(), and free space with bk.prune()",
    )


def refused(text: str) -> Refused | None:
    """Return a known refusal in our words, or None."""
    for words, message, hint in _TABLE:
        if found := words.search(text):
            parts = [part or "" for part in found.groups()]
            if "switched off" in message and parts[1]:
                parts[1] = f": {parts[1]}"
            said = message.format(*parts)
            return Refused(said, hint.format(*parts) if "{" in hint else hint)
    return None
