"""The options of a Dockerfile build, checked where the call is made; what is nearly right is named."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from depotlab._values import is_unicode
from depotlab.errors import ReferenceInvalid, UsageError
from depotlab.llb import Platform, parse_reference

NETWORKS = ("sandbox", "host", "none")
RESOLVE_MODES = ("default", "pull", "local")
# Source: docker/go-units ulimit.go.
_ULIMITS = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
    *("rss", "rtprio", "rttime", "sigpending", "stack"),
)
# Source: moby/buildkit frontend/dockerfile/linter/ruleset.go.
_LINT_RULES = (
    *("StageNameCasing", "FromAsCasing", "NoEmptyContinuation", "ConsistentInstructionCasing"),
    *("DuplicateStageName", "ReservedStageName", "JSONArgsRecommended", "MaintainerDeprecated"),
    *(
        "UndefinedArgInFrom",
        "WorkdirRelativePath",
        "UndefinedVar",
        "MultipleInstructionsDisallowed",
    ),
    *("LegacyKeyValueFormat", "InvalidBaseImagePlatform", "RedundantTargetPlatform"),
    *("SecretsUsedInArgOrEnv", "InvalidDefaultArgInFrom", "FromPlatformFlagConstDisallowed"),
    *(
        "CopyIgnoredFile",
        "InvalidDefinitionDescription",
        "ExposeProtoCasing",
        "ExposeInvalidFormat",
    ),
)
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?")


def check_text_arguments(
    text: Any, filename: Any, args: Any, labels: Any, no_cache: Any, target: Any
) -> None:
    for name, value in (("args", args), ("labels", labels)):
        _check_texts(name, value)
    if text is not None and filename is not None:
        _refuse("dockerfile() takes text= or filename=, not both.", "leave one of them out")
    if text is not None and (not isinstance(text, str) or not text.strip()):
        what = "empty" if isinstance(text, str) else f"{type(text).__name__}, not text"
        _refuse(f"dockerfile(text=...) is {what}.", "the shortest one is text='FROM busybox'")
    if text is not None and not is_unicode(text):
        _refuse("dockerfile(text=...) cannot be written as UTF-8.", "read the file as UTF-8")
    word("target", target)
    if isinstance(no_cache, str):
        _refuse(f"no_cache={no_cache!r} is one string.", f"write no_cache=[{no_cache!r}]")
    if not isinstance(no_cache, bool):
        for stage in no_cache:
            if not isinstance(stage, str) or not stage or "," in stage:
                _refuse(f"no_cache= has {stage!r}, which names no stage.", "True is for all stages")


def _check_texts(name: str, value: Any) -> None:
    for key, item in mapping(name, value).items():
        if not isinstance(key, str) or not isinstance(item, str):
            _refuse(
                f"{name}={{{key!r}: {item!r}}} must map strings to strings.",
                f"leave {key!r} out, or give its value, such as os.environ[{key!r}]"
                if item is None
                else f"write {name}={{{str(key)!r}: {str(item)!r}}}",
            )
        if not key:
            _refuse(f"{name}= has an empty name.", "leave it out")
        if not is_unicode(key + item):
            # Not shown: an argument may be a password.
            _refuse(
                f"{name}= has a value that cannot be written as UTF-8.", "BuildKit takes UTF-8 only"
            )


def mapping(name: str, value: Any) -> Mapping[Any, Any]:
    if value is not None and not isinstance(value, Mapping):
        _refuse(
            f"{name}= is {type(value).__name__}, not a mapping.",
            f"write {name}={{'NAME': 'value'}}",
        )
    return value or {}


def context_name(name: Any) -> str:
    """Return a name as the frontend looks it up: like that of an image, short, a platform after `::`."""
    if not isinstance(name, str):
        _refuse(f"contexts= has the name {name!r}.", "names are text, such as 'base'")
    image, colons, platform = name.partition("::")
    try:
        short = parse_reference(image).familiar()
    except ReferenceInvalid as error:
        raise UsageError(
            f"contexts= has the name {name!r}, which no Dockerfile can use: {error.message}",
            hint="names follow the rules of image names: small letters, digits, and . _ - / between them",
        ) from error
    return f"{short}::{Platform.parse(platform)}" if colons else short


def syntax(syntax: Any, args: Mapping[str, str]) -> str:
    word("syntax", syntax)
    if syntax:
        _not_twice("syntax", "BUILDKIT_SYNTAX", args)
        parse_reference(syntax.split()[0])
    return str(syntax)


def lint(check: Any, args: Mapping[str, str]) -> str:
    if not isinstance(check, str):
        _refuse(
            f"check={check!r} is {type(check).__name__}, not text.",
            "write check='skip=all' to check nothing",
        )
    if check.strip():
        _not_twice("check", "BUILDKIT_DOCKERFILE_CHECK", args)
    for part in filter(None, check.split(";")):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key not in ("skip", "error", "experimental") or not equals:
            _refuse(
                f"check={check!r} has the part {part!r}.",
                _nearest(key, ("skip", "error", "experimental"))
                or "its parts are skip=…, error=true and experimental=…",
            )
        if key == "error" and value not in ("true", "false", "1", "0"):
            _refuse(f"check={check!r} has error={value}.", "write error=true or error=false")
        for rule in value.split(",") if key != "error" and value != "all" else ():
            # A rule that we do not know may be one of a newer daemon; one that is nearly a known one is a slip.
            near = _nearest(rule.strip(), _LINT_RULES, cutoff=0.8)
            if rule.strip() not in _LINT_RULES and near:
                _refuse(f"check={check!r} names the rule {rule.strip()!r}.", near)
    return check.strip()


def _not_twice(argument: str, arg: str, args: Mapping[str, str]) -> None:
    if arg in args:
        _refuse(f"{argument}= and args={{{arg!r}: …}} say the same thing.", "leave one of them out")


def hosts(hosts: Any) -> dict[str, str]:
    _check_texts("add_hosts", hosts)
    for name, address in hosts.items():
        host_name("add_hosts", name)
        try:
            ipaddress.ip_address(address)
        except ValueError:
            hint = "give an IP address, such as '10.0.0.5'"
            if address == "host-gateway":
                hint = "that is a word of the Docker Engine; " + hint
            _refuse(f"add_hosts={{{name!r}: {address!r}}} has no IP address.", hint)
    return dict(hosts)


def host_name(argument: str, name: Any) -> str:
    if not isinstance(name, str) or not _HOST_NAME.fullmatch(name):
        _refuse(
            f"{argument}= has {name!r}, which is no host name.", "it has letters, digits, . and -"
        )
    return str(name)


def size(argument: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        _refuse(f"{argument}={value!r} is no number of bytes.", f"64 MiB are {argument}={64 << 20}")
    return int(value)


def ulimit(name: Any, value: Any) -> tuple[int, int]:
    if name not in _ULIMITS:
        _refuse(
            f"ulimits= has {name!r}, which is no limit.",
            _nearest(name, _ULIMITS) or f"there are {', '.join(_ULIMITS)}",
        )
    pair = value if isinstance(value, tuple) else (value, value)
    if len(pair) != 2 or not all(
        isinstance(one, int) and not isinstance(one, bool) and one >= -1 for one in pair
    ):
        _refuse(
            f"ulimits={{{name!r}: {value!r}}} is no limit.",
            "write 1024, or (1024, 4096); -1 is no limit",
        )
    soft, hard = pair
    if hard != -1 and (soft == -1 or soft > hard):
        _refuse(
            f"ulimits={{{name!r}: {value!r}}} has a soft limit above the hard one.",
            "soft comes first",
        )
    return soft, hard


def choice(argument: str, value: Any, legal: Sequence[str]) -> str:
    if value is None:
        return ""
    if value not in legal:
        hint = _nearest(value, legal) or f"use {', '.join(map(repr, legal))}"
        _refuse(f"{argument}={value!r} is none of {', '.join(legal)}.", hint)
    return str(value)


def word(argument: str, value: Any) -> str:
    if not isinstance(value, str):
        _refuse(
            f"{argument}={value!r} is {type(value).__name__}, not text.",
            f"write {argument}={str(value)!r}",
        )
    if not is_unicode(value):
        _refuse(f"{argument}={value!r} cannot be written as UTF-8.", "BuildKit takes UTF-8 only")
    return str(value)


def _nearest(word: Any, legal: Sequence[str], *, cutoff: float = 0.6) -> str:
    known = {one.lower(): one for one in legal}
    close = difflib.get_close_matches(str(word).lower(), known, n=1, cutoff=cutoff)
    return f"did you mean {known[close[0]]!r}?" if close else ""


def _refuse(message: str, hint: str) -> NoReturn:
    raise UsageError(message, hint=hint)
