"""Guest paths, by the rules of Go's `path` package. Plain strings, `/` only."""

from __future__ import annotations


def clean(path: str) -> str:
    """Return the shortest equivalent path; the empty path becomes `.`.

    Unlike `posixpath.normpath` a leading `//` becomes `/`. Source: Go path.Clean.
    """
    if not path:
        return "."
    rooted = path[0] == "/"
    out: list[str] = []
    for part in path.split("/"):
        if part in {"", "."}:
            continue
        if part != "..":
            out.append(part)
        elif out and out[-1] != "..":
            out.pop()
        elif not rooted:
            out.append(part)
    joined = "/".join(out)
    if rooted:
        return "/" + joined
    return joined or "."


def join(*parts: str) -> str:
    """Return the parts joined and cleaned, empty ones left out. Source: Go path.Join."""
    present = [part for part in parts if part]
    return clean("/".join(present)) if present else ""


def change_dir(current: str, wanted: str) -> str:
    """Return the working directory after `cd wanted`.

    A directory that is not rooted stays relative: it continues the working directory of the
    base image once that is known, and `/` until then. An absolute one is kept as it is given,
    not cleaned. Source: buildkit client/llb/meta.go, dirf.
    """
    if wanted.startswith("/"):
        return wanted
    return join(current, wanted)


def effective_dir(directory: str) -> str:
    """Return the directory that an op is given: relative ones start at `/`."""
    return directory if directory.startswith("/") else join("/", directory)


def guest_path(directory: str, path: str, *, keep_slash: bool) -> str:
    """Return `path` made absolute against `directory` and cleaned.

    With `keep_slash` a trailing `/` or `/.` survives, since it makes a copy destination a
    directory. Source: buildkit client/llb/fileop.go, normalizePath.
    """
    result = clean(path)
    if not result.startswith("/"):
        result = join("/", directory, result)
    if keep_slash:
        if path.endswith("/") and not result.endswith("/"):
            result += "/"
        elif path.endswith("/."):
            result = ("/" if result == "/" else result + "/") + "."
    return result
