"""Mounts for `state.run(..., mounts=[...])`: `from depotlab import llb, mount`."""

# The constructors live beside the op that encodes them; this room only gives them their short name.
from depotlab.llb._mount import bind, cache, secret, ssh, tmpfs

__all__ = ["bind", "cache", "secret", "ssh", "tmpfs"]


def __dir__() -> list[str]:
    return sorted(__all__)
