"""Image names, by the grammar of distribution/reference (regexp.go, normalize.go).

`busybox` means `docker.io/library/busybox:latest`; the first part is a registry when it has a
dot, a colon or a capital letter, or is `localhost`.
"""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from depotlab.errors import ReferenceInvalid

_ALNUM = r"[a-z0-9]+"
_COMPONENT = rf"{_ALNUM}(?:(?:[._]|__|-+){_ALNUM})*"
_LABEL = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])"
_DOMAIN = rf"{_HOST}(?::[0-9]+)?"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

_reference = re.compile(
    rf"(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    rf"(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?"
)
_hex_id = re.compile(r"[a-f0-9]{64}")
_tag = re.compile(_TAG)
_hex_lengths = {"sha256": 64, "sha384": 96, "sha512": 128}

# Longer than any name, tag and digest that the rules admit, so that no pattern sees much text.
_MAX_LENGTH = 2048
_MAX_PATH_LENGTH = 255


class Reference(NamedTuple):
    """A normalised image name. `str()` is the form that BuildKit reads."""

    domain: str
    path: str
    tag: str
    digest: str

    @property
    def name(self) -> str:
        return f"{self.domain}/{self.path}" if self.domain else self.path

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"

    def tagged(self) -> Reference:
        """Return the reference with the tag `latest` if it has neither tag nor digest."""
        return self if self.tag or self.digest else self._replace(tag="latest")

    def familiar(self) -> str:
        """Return the short form that people write, such as `busybox`."""
        text = str(self).removeprefix("docker.io/").removeprefix("library/")
        return text.removesuffix(":latest") if not self.digest else text


def parse_reference(ref: str) -> Reference:
    """Return the normalised reference, without adding a tag.

    Raises:
        ReferenceInvalid: `ref` is no image name; the message says which rule it breaks.
    """
    if not isinstance(ref, str):
        _refuse(repr(ref), f"not text but {type(ref).__name__}")
    if not ref:
        _refuse(ref, "the name is empty")
    if len(ref) > _MAX_LENGTH:
        _refuse(ref[:60] + "…", f"{len(ref)} characters are more than any image name has")
    if _hex_id.fullmatch(ref):
        _refuse(ref, "64 hexadecimal digits are an image id, not a name")
    domain, remainder = _split_domain(ref)
    path = remainder.partition(":")[0]
    if path.lower() != path:
        _refuse(
            ref,
            f"the repository name {path!r} must be lowercase",
            hint=f"did you mean {ref.replace(path.removeprefix('library/'), path.removeprefix('library/').lower())!r}?",
        )
    match = _reference.fullmatch(f"{domain}/{remainder}")
    if match is None:
        _refuse(ref, *_explain(domain, remainder))
    found = Reference(
        match["domain"] or "", match["path"], match["tag"] or "", match["digest"] or ""
    )
    if len(found.path) > _MAX_PATH_LENGTH:
        _refuse(ref, f"the repository name has more than {_MAX_PATH_LENGTH} characters")
    if found.digest and (why := digest_fault(found.digest)):
        _refuse(ref, why)
    return found


def digest_fault(digest: str) -> str:
    """Return what is wrong with a digest such as `sha256:…`, or an empty string.

    Source: opencontainers/go-digest; only sha256, sha384 and sha512, in lowercase hex.
    """
    algorithm, colon, encoded = digest.partition(":")
    if not colon or not algorithm or not encoded:
        return f"the digest {digest!r} is not of the form sha256:HEX"
    length = _hex_lengths.get(algorithm)
    if length is None:
        return f"the digest algorithm {algorithm!r} is not one of {', '.join(_hex_lengths)}"
    if len(encoded) != length:
        return f"a {algorithm} digest has {length} hexadecimal digits, this one has {len(encoded)}"
    if not re.fullmatch(r"[a-f0-9]+", encoded):
        return f"the digest {digest!r} is not in lowercase hexadecimal"
    return ""


def _split_domain(ref: str) -> tuple[str, str]:
    first, slash, rest = ref.partition("/")
    if not slash:
        return "docker.io", f"library/{ref}"
    if first == "index.docker.io":
        first = "docker.io"
    if first == "localhost" or "." in first or ":" in first or first.lower() != first:
        domain, remainder = first, rest
    else:
        domain, remainder = "docker.io", ref
    if domain == "docker.io" and "/" not in remainder:
        remainder = f"library/{remainder}"
    return domain, remainder


def _explain(domain: str, remainder: str) -> tuple[str, str]:
    """Return which part breaks the grammar, and a hint."""
    body, at, digest = remainder.partition("@")
    path, colon, tag = body.partition(":")
    if remainder.startswith("/") and domain.endswith(":"):
        return (
            "it looks like a URL",
            "give the image name without a scheme, such as ghcr.io/me/app:1",
        )
    if not re.fullmatch(_DOMAIN, domain):
        return f"{domain!r} is not a registry host", ""
    if not re.fullmatch(rf"{_COMPONENT}(?:/{_COMPONENT})*", path):
        shown = path.removeprefix("library/") if domain == "docker.io" else path
        return (
            f"the repository name {shown!r} may have lowercase letters and digits, "
            "separated by one of . _ __ - and /",
            "",
        )
    if colon and not _tag.fullmatch(tag):
        return (
            f"the tag {tag!r} may have up to 128 letters, digits, _ . and -, "
            "and starts with a letter, a digit or _",
            "",
        )
    if at:
        return digest_fault(digest) or f"the digest {digest!r} is malformed", ""
    return "it does not follow [registry/]name[:tag][@digest]", ""


def _refuse(ref: str, why: str, hint: str = "") -> NoReturn:
    raise ReferenceInvalid(
        f"invalid image reference {ref!r}: {why}.",
        ref=ref,
        hint=hint or "an image name looks like ghcr.io/me/app:1",
    )
