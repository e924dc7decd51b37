"""Addresses whose connection is a program: which program, with which arguments. Pure.

| address | program |
|---|---|
| `docker-container://NAME[?context=C]` | `docker [--context=C] exec -i NAME buildctl dial-stdio` |
| `podman-container://NAME` | `podman exec -i NAME buildctl dial-stdio` |
| `nerdctl-container://NAME[?namespace=N]` | `nerdctl exec [--namespace N] -i NAME buildctl dial-stdio` |
| `kube-pod://POD[?context=C&namespace=N&container=K]` | `kubectl exec` with all three, empty ones too |
| `ssh://[user@]host[:port][/socket]` | `ssh [-l user] [-p port] -- host buildctl [--addr …] dial-stdio` |

`buildctl dial-stdio` copies its input to the daemon's socket and back.
Source: moby/buildkit `client/connhelper/`, `cmd/buildctl/dialstdio.go`.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

from depotlab._docker import SshAddress
from depotlab.errors import UsageError

__all__ = ["PROGRAM_SCHEMES", "dialing_argv"]

_DIAL = ("buildctl", "dial-stdio")
_QUERIES = {
    "docker-container": {"context"},
    "podman-container": set[str](),
    "nerdctl-container": {"namespace"},
    "kube-pod": {"context", "namespace", "container"},
}

PROGRAM_SCHEMES = frozenset((*_QUERIES, "ssh"))
"""Schemes that `dialing_argv` knows."""

# Neither may begin with a dash: it would be read as an option.
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_KUBE_NAME = re.compile(r"[a-z0-9.][-a-z0-9.]*")


def dialing_argv(address: str) -> tuple[str, ...]:
    """Return the program and arguments that connect to an address.

    Raises:
        UsageError: The address is malformed.
    """
    url = urlsplit(address)
    if url.scheme == "ssh":
        where = SshAddress.parse(address)
        addr = ("--addr", f"unix://{where.guest_socket}") if where.guest_socket else ()
        return where.argv("buildctl", *addr, "dial-stdio")
    # Not url.hostname, which has lost its capitals.
    name = url.netloc
    known = _QUERIES[url.scheme]
    if url.path.strip("/") or url.fragment:
        raise UsageError(
            f"{address!r} has more than a name.", hint=f"write {url.scheme}://{name or 'NAME'}"
        )
    pairs = parse_qsl(url.query, keep_blank_values=True)
    for key, _ in pairs:
        if key not in known:
            raise UsageError(
                f"{address!r}: {url.scheme}:// does not take {key!r}.",
                hint=f"it takes {' and '.join(sorted(known)) or 'nothing'} after a question mark",
            )
    options = dict(pairs)
    if url.scheme == "kube-pod":
        return _kube_argv(address, name, options)
    if not _CONTAINER.fullmatch(name):
        raise UsageError(
            f"{address!r} does not name a container.", hint=f"write {url.scheme}://NAME"
        )
    if url.scheme == "docker-container":
        context = [f"--context={options['context']}"] if options.get("context") else []
        return ("docker", *context, "exec", "-i", name, *_DIAL)
    if url.scheme == "podman-container":
        return ("podman", "exec", "-i", name, *_DIAL)
    namespace = ["--namespace", options["namespace"]] if options.get("namespace") else []
    return ("nerdctl", "exec", *namespace, "-i", name, *_DIAL)


def _kube_argv(address: str, pod: str, options: dict[str, str]) -> tuple[str, ...]:
    names = {
        "pod": pod,
        "namespace": options.get("namespace", ""),
        "container": options.get("container", ""),
    }
    for what, name in names.items():
        if (name or what == "pod") and not _KUBE_NAME.fullmatch(name):
            raise UsageError(
                f"{address!r}: {name!r} is not a name of a {what} in Kubernetes.",
                hint="such names have small letters, digits, dashes and dots",
            )
    return (
        "kubectl",
        f"--context={options.get('context', '')}",
        f"--namespace={names['namespace']}",
        "exec",
        f"--container={names['container']}",
        "-i",
        pod,
        "--",
        *_DIAL,
    )
