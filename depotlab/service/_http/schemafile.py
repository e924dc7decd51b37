"""The methods as a `.proto` file, from which other languages make a client: `protoc`, `buf`, `grpcurl`.

It is written from the descriptors by which the server itself reads and writes, so the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

from depotlab._proto import build_service_pb2 as messages
from depotlab._serving import Method

__all__ = ["schema"]

_HEAD: Final = (
    "// The build service of depotlab. Metadata of each call: authorization: Bearer TOKEN",
    'syntax = "proto3";',
)
_WORDS: Final = {
    number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()
}


def schema(service: str, methods: Iterable[Method]) -> str:
    """Return the text of the file.

    Args:
        service: With its package.
        methods: What is served.
    """
    file = FileDescriptorProto()
    messages.DESCRIPTOR.CopyToProto(file)
    package, _, name = service.rpartition(".")
    lines = [*_HEAD, "", f"package {package};", ""]
    lines += [f'import "{path}";' for path in file.dependency]
    lines += ["", f"service {name} {{"]
    for method in methods:
        takes, gives = method.takes.DESCRIPTOR.name, method.gives.DESCRIPTOR.name
        stream = "stream " if method.shape == "server_stream" else ""
        called = method.path.rpartition("/")[2]
        lines.append(f"  rpc {called}({takes}) returns ({stream}{gives});")
    lines.append("}")
    for choice in file.enum_type:
        values = [f"  {value.name} = {value.number};" for value in choice.value]
        lines += ["", f"enum {choice.name} {{", *values, "}"]
    for message in file.message_type:
        lines += ["", f"message {message.name} {{", *_fields(message, file.package), "}"]
    return "\n".join(lines) + "\n"


def _fields(message: DescriptorProto, package: str) -> Iterator[str]:
    entries = {one.name: one for one in message.nested_type if one.options.map_entry}
    within = ""
    for field in message.field:
        # An optional field is alone in a choice that has no name in the file.
        choice = ""
        if field.HasField("oneof_index") and not field.proto3_optional:
            choice = message.oneof_decl[field.oneof_index].name
        if choice != within:
            if within:
                yield "  }"
            if choice:
                yield f"  oneof {choice} {{"
            within = choice
        entry = entries.get(field.type_name.rpartition(".")[2])
        if entry is not None:
            key, value = (_word(one, package) for one in entry.field)
            said = f"map<{key}, {value}>"
        else:
            said = _word(field, package)
            if field.label == FieldDescriptorProto.LABEL_REPEATED:
                said = f"repeated {said}"
            elif field.proto3_optional:
                said = f"optional {said}"
        yield f"{'    ' if within else '  '}{said} {field.name} = {field.number};"
    if within:
        yield "  }"


def _word(field: FieldDescriptorProto, package: str) -> str:
    """The type of a field; those of the file itself without the package under which Python has them."""
    if field.type_name:
        return field.type_name.removeprefix(f".{package}.").removeprefix(".")
    return _WORDS[field.type]
