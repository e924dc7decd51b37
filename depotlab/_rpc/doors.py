"""From an address, as people write it, to an endpoint."""

from __future__ import annotations

from functools import partial

from depotlab._docker import find_docker
from depotlab._rpc.addresses import PROGRAM_SCHEMES, dialing_argv
from depotlab._rpc.docker import docker_endpoint
from depotlab._rpc.endpoint import ADDRESS_HINT, TLS, Endpoint
from depotlab._rpc.process import ProcessTransport
from depotlab.errors import UsageError

__all__ = ["endpoint_at"]


def endpoint_at(address: str, tls: TLS | None = None) -> Endpoint:
    """Find out what is behind an address. Reads Docker's configuration for `docker://`; opens nothing.

    Args:
        address: `unix://` or `tcp://`; `docker://` for the engine that the `docker` command uses, or
            `docker://NAME` for the one of a Docker context; or one of `dialing_argv`.
        tls: For `tcp` only.

    Raises:
        UsageError: It is no address, or tls= does not go with it.
        Unreachable: `docker://`, and there is no engine on this computer.
    """
    if not isinstance(address, str):
        raise UsageError(
            f"{address!r} is not an address of a BuildKit daemon: it is no text.", hint=ADDRESS_HINT
        )
    if tls is not None and not isinstance(tls, TLS):
        raise UsageError(
            f"tls= takes a depotlab.TLS, not {type(tls).__name__}.",
            hint="write tls=TLS.from_dir('certs'), or tls=TLS(ca=..., cert=..., key=...)",
        )
    scheme, separator, _ = address.partition("://")
    if not separator or scheme not in ("docker", *PROGRAM_SCHEMES):
        return Endpoint(address, tls)
    if tls is not None:
        raise UsageError(
            f"tls= does not go with {scheme}://.",
            hint="leave tls= out: what connects brings its own security",
        )
    if scheme == "docker":
        context = address.removeprefix("docker://").removesuffix("/")
        return docker_endpoint(find_docker(context), address=address)
    argv = dialing_argv(address)
    return Endpoint(address, dialer=partial(ProcessTransport.start, argv, address=address))
