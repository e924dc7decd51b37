"""What may be asked of a build service, checked at the call. Each refusal names the argument and what it may be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NoReturn

from depotlab.errors import ServiceError, UsageError
from depotlab.service._asking.git import git_url
from depotlab.service._boundary import (
    BuildContext,
    BuildState,
    GitContext,
    Order,
    Secrets,
    UploadedContext,
)

__all__ = [
    "asked_for",
    "check_expires_s",
    "check_id",
    "check_listing",
    "check_offset",
    "check_platform",
    "make_order",
    "no_build",
]

# Both go into the tag of an image, with a dash between: 128 characters of these. A project is a folder of uploads, too.
# Source: OCI distribution specification, "Pulling manifests".
_ID = {
    "project": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}"),
    "deployment": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"),
    "workspace": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"),
}
_LONGEST = {"project": 63, "deployment": 64, "workspace": 128}
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}/[0-9]{1,20}\.tar\.gz")
_TARGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
# Halves of pairs: what os.environ makes of bytes that are no UTF-8.
_HALF = re.compile(r"[\ud800-\udfff]")
_PLATFORMS = ("linux/amd64", "linux/arm64")
_STATES: tuple[BuildState, ...] = ("queued", "running", "succeeded", "failed", "canceled")
_MOST_PAGE = 500
_MOST_TEXT_BYTES = 64 << 10
# A secret of a session has 500 KiB at most. Source: moby/buildkit `session/secrets/secretsprovider`.
_MOST_ENV_BYTES = 256 << 10
_LONGEST_PATH = 1024
_LONGEST_S = 100 * 365 * 86400


def _refuse(message: str, hint: str) -> NoReturn:
    raise ServiceError(message, code="invalid_argument", hint=hint)


def no_build(build_id: str) -> ServiceError:
    """Return the error for a build that is not there, or not any more."""
    return ServiceError(
        f"There is no build {build_id!r:.60}.",
        code="not_found",
        hint="list_builds() has those that are kept",
    )


def check_id(name: str, value: object, *, may_be_empty: bool = False) -> str:
    """Return an id that may be part of an image's tag.

    Args:
        name: `project`, `deployment` or `workspace`.
        value: What was given.
        may_be_empty: Empty is no id, and allowed.

    Raises:
        ServiceError: `invalid_argument`.
    """
    if may_be_empty and value == "":
        return ""
    if not isinstance(value, str) or not _ID[name].fullmatch(value):
        given = "must be given" if value == "" else f"cannot be {_short(value)}"
        _refuse(
            f"{name} {given}.",
            f"use 1 to {_LONGEST[name]} of the letters A-Z and a-z, digits, _ . and -,"
            " the first a letter, a digit or _",
        )
    return value


def check_platform(value: object) -> str:
    """Return a platform that Depot has machines for.

    Raises:
        ServiceError: `invalid_argument`.
    """
    if value not in _PLATFORMS:
        _refuse(f"platform cannot be {_short(value)}.", f"use {' or '.join(_PLATFORMS)}")
    return str(value)


def check_offset(value: object) -> int:
    """Return the offset of a line.

    Raises:
        ServiceError: `invalid_argument`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**62:
        _refuse(
            f"offset cannot be {_short(value)}.",
            "use 0 for the whole log, or 1 more than the offset of the last line that is there",
        )
    return value


def check_expires_s(value: float | None) -> None:
    """Check for how long a token is to be good; None is for ever.

    Raises:
        UsageError: It is no time.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 < value <= _LONGEST_S):
        raise UsageError(
            f"expires_s={value!r:.60} is no time within the next hundred years.",
            hint="give a number of seconds, or None for a token that does not expire",
        )


def check_listing(*, project: object, state: object, page_size: object, page_token: object) -> None:
    """Check what a list of builds is asked with.

    Raises:
        ServiceError: `invalid_argument`.
    """
    if project is not None:
        check_id("project", project)
    if state is not None and state not in _STATES:
        _refuse(f"state cannot be {_short(state)}.", f"use one of {', '.join(_STATES)}")
    if isinstance(page_size, bool) or not isinstance(page_size, int) or page_size < 1:
        _refuse(f"page_size cannot be {_short(page_size)}.", f"use 1 to {_MOST_PAGE}")
    if page_size > _MOST_PAGE:
        _refuse(f"page_size cannot be {page_size}.", f"use 1 to {_MOST_PAGE}")
    is_token = isinstance(page_token, str) and len(page_token) < 19 and page_token.isascii()
    if page_token != "" and not (is_token and str(page_token).isdigit()):
        _refuse(
            f"page_token cannot be {_short(page_token)}.",
            "use the next_page_token of the page before, or leave it out",
        )


def make_order(
    context: object,
    *,
    build_id: str,
    project: object,
    deployment: object,
    workspace: object,
    dockerfile_path: object,
    target: object,
    platform: object,
    args: object,
    labels: object,
    env: object,
    git_token: object,
    idempotency_key: object,
) -> tuple[Order, Secrets]:
    """Check what `create_build` is given, and return it.

    Raises:
        ServiceError: `invalid_argument`, with the name of the argument.
    """
    if not isinstance(idempotency_key, str) or len(idempotency_key) > 255:
        _refuse("idempotency_key must be a text.", "use up to 255 characters, such as a UUID")
    if idempotency_key and not idempotency_key.isprintable():
        _refuse("idempotency_key has control characters.", "use a UUID, for example")
    order = Order(
        build_id=build_id,
        project=check_id("project", project),
        deployment=check_id("deployment", deployment),
        workspace=check_id("workspace", workspace, may_be_empty=True),
        context=_context(context),
        dockerfile_path=_path(dockerfile_path),
        target=_target(target),
        platform=check_platform(platform),
        args=_texts("args", args, _MOST_TEXT_BYTES, names=_NAME),
        labels=_texts("labels", labels, _MOST_TEXT_BYTES),
    )
    secrets = Secrets(
        git_token=_token(git_token, order.context),
        env=_texts("env", env, _MOST_ENV_BYTES, names=_NAME),
    )
    return order, secrets


def asked_for(order: Order, secrets: Secrets) -> str:
    """Return what calls with the same idempotency key have to agree in.

    Of the environment that is its names: values are not written down, not even a digest of them, from which a short
    one could be found. A token differs each time it is made, so it does not count.
    """
    context: object = (
        order.context.key
        if isinstance(order.context, UploadedContext)
        else [git_url(order.context), order.context.is_public]
    )
    return json.dumps(
        [
            context,
            order.deployment,
            order.workspace,
            order.dockerfile_path,
            order.target,
            order.platform,
            sorted(order.args.items()),
            sorted(order.labels.items()),
            sorted(secrets.env),
        ]
    )


def _context(value: object) -> BuildContext:
    match value:
        case UploadedContext():
            return _context(value.key)
        case GitContext():
            git_url(value)  # checks its parts
            return value
        case str() if _KEY.fullmatch(value):
            return UploadedContext(value)
    _refuse(
        f"context cannot be {_short(value)}.",
        "use the build_context_path of an upload, or service.git(...) for a repository",
    )


def _path(value: object) -> str:
    if (
        not isinstance(value, str)
        or not value.isprintable()
        or not 0 < len(value) <= _LONGEST_PATH
        or any(part in ("", ".", "..") for part in value.removeprefix("./").split("/"))
    ):
        _refuse(
            f"dockerfile_path cannot be {_short(value)}.",
            "use a path in the context, such as deploy/Dockerfile, with no .. in it",
        )
    return value.removeprefix("./")


def _target(value: object) -> str:
    if value == "":
        return ""
    if not isinstance(value, str) or not _TARGET.fullmatch(value):
        _refuse(
            f"target cannot be {_short(value)}.",
            "use the name of a stage, as after AS in the Dockerfile, or leave it out for the last",
        )
    return value


def _token(value: object, context: BuildContext) -> str:
    if value == "":
        return ""
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        _refuse("git_token cannot be one.", "use a token that may read this one repository")
    if not isinstance(context, GitContext) or context.is_public:
        _refuse(
            "git_token is for a git context that is not public.",
            "leave it out, or give service.git(...) without is_public",
        )
    return value


def _texts(
    argument: str, given: object, most_bytes: int, *, names: re.Pattern[str] | None = None
) -> Mapping[str, str]:
    """Check names and values. Messages name the name only: a value may be a secret that got into the wrong place."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        _refuse(f"{argument} must be a mapping.", f'for example {argument}={{"NAME": "value"}}')
    size_bytes = 0
    for name, value in given.items():
        if not isinstance(name, str) or not name or not name.isprintable():
            _refuse(f"{argument} has a name that is none.", "names are texts on one line")
        if names is not None and not names.fullmatch(name):
            _refuse(
                f"{argument} has the name {_short(name)}.",
                "names have letters, digits and _, and do not begin with a digit",
            )
        if not isinstance(value, str) or "\0" in value:
            _refuse(
                f"{argument}[{_short(name)}] must be a text without zero bytes.", "use str(...)"
            )
        if _HALF.search(value):
            _refuse(f"{argument}[{_short(name)}] is no Unicode.", "put bytes into the context")
        size_bytes += len(name.encode()) + len(value.encode())
    if size_bytes > most_bytes:
        _refuse(
            f"{argument} has {size_bytes} bytes.",
            f"names and values together may have {most_bytes}; put larger things into the context",
        )
    return dict(given)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
