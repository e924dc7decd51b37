"""What a request asks for, in short names for people. Values that may be confidential are digests."""

from __future__ import annotations

from depotlab._proto import control_pb2, gateway_pb2
from depotlab._recorded.canonical import digest_of

__all__ = ["describe"]

_PLAIN = ("target", "platform", "filename", "no-cache", "requestid")


def describe(method: str, request: bytes) -> list[tuple[str, str]]:
    """Return names and values of what is asked beside a graph."""
    name = method.rpartition("/")[2].removesuffix("Container")
    if "Control/" in method:
        return _of_control(control_pb2.SolveRequest.FromString(request)) if name == "Solve" else []
    match name:
        case "ReadFile":
            return [("path", gateway_pb2.ReadFileRequest.FromString(request).FilePath)]
        case "ReadDir":
            return [("path", gateway_pb2.ReadDirRequest.FromString(request).DirPath)]
        case "StatFile":
            return [("path", gateway_pb2.StatFileRequest.FromString(request).Path)]
        case "ResolveImageConfig":
            return [("image", gateway_pb2.ResolveImageConfigRequest.FromString(request).Ref)]
        case "ExecProcess":
            init = gateway_pb2.ExecMessage.FromString(request).Init
            return [("command", " ".join(init.Meta.args))]
        case _:
            return []


def _of_control(request: control_pb2.SolveRequest) -> list[tuple[str, str]]:
    told = [("frontend", request.Frontend)] if request.Frontend else []
    told += [("output", output.Type) for output in request.Exporters]
    told += [
        (name, value if name in _PLAIN else digest_of(value))
        for name, value in sorted(request.FrontendAttrs.items())
    ]
    return told
