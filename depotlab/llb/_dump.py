"""What `buildctl debug dump-llb` prints, turned back into the definition it was made from.

One JSON object a line, with an op, its digest and its metadata, by Go's encoding/json (buildkit
cmd/buildctl/debug/dumpllb.go, solver/pb/json.go). The print leaves things out (a symlink, for one), so every op is
checked against the digest beside it. Source maps are not in it at all.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from depotlab.llb._decode import malformed
from depotlab.llb._wire import INT, field, flag, integer, packed, text, texts

# Field number and type by JSON name, in the order of the numbers, for each message. A type that is the name of a
# message in this table is that message, with `*` many of them, with `%` a map from text to it.
_Fields = Mapping[str, tuple[int, str]]
_MESSAGES: Final[Mapping[str, _Fields]] = {
    "Platform": {
        "Architecture": (1, "text"),
        "OS": (2, "text"),
        "Variant": (3, "text"),
        "OSVersion": (4, "text"),
        "OSFeatures": (5, "texts"),
    },
    "Constraints": {"filter": (1, "texts")},
    "Input": {"digest": (1, "text"), "index": (2, "int")},
    "Exec": {
        "meta": (1, "Meta"),
        "mounts": (2, "*Mount"),
        "network": (3, "int"),
        "security": (4, "int"),
        "secretenv": (5, "*SecretEnv"),
        "cdiDevices": (6, "*Device"),
    },
    "Meta": {
        "args": (1, "texts"),
        "env": (2, "texts"),
        "cwd": (3, "text"),
        "user": (4, "text"),
        "proxy_env": (5, "Proxy"),
        "extraHosts": (6, "*Host"),
        "hostname": (7, "text"),
        "ulimit": (9, "*Ulimit"),
        "cgroupParent": (10, "text"),
        "removeMountStubsRecursive": (11, "flag"),
        "validExitCodes": (12, "ints"),
    },
    "Proxy": {
        "http_proxy": (1, "text"),
        "https_proxy": (2, "text"),
        "ftp_proxy": (3, "text"),
        "no_proxy": (4, "text"),
        "all_proxy": (5, "text"),
    },
    "Host": {"Host": (1, "text"), "IP": (2, "text")},
    "Ulimit": {"Name": (1, "text"), "Soft": (2, "int"), "Hard": (3, "int")},
    "SecretEnv": {"ID": (1, "text"), "name": (2, "text"), "optional": (3, "flag")},
    "Device": {"name": (1, "text"), "optional": (2, "flag")},
    "Mount": {
        "input": (1, "int"),
        "selector": (2, "text"),
        "dest": (3, "text"),
        "output": (4, "int"),
        "readonly": (5, "flag"),
        "mountType": (6, "int"),
        "TmpfsOpt": (19, "Tmpfs"),
        "cacheOpt": (20, "Cache"),
        "secretOpt": (21, "Agent"),
        "SSHOpt": (22, "Agent"),
        "resultID": (23, "text"),
        "contentCache": (24, "int"),
    },
    "Tmpfs": {"size": (1, "int")},
    "Cache": {"ID": (1, "text"), "sharing": (2, "int")},
    "Agent": {
        "ID": (1, "text"),
        "uid": (2, "int"),
        "gid": (3, "int"),
        "mode": (4, "int"),
        "optional": (5, "flag"),
    },
    "Source": {"identifier": (1, "text"), "attrs": (2, "%text")},
    "File": {"actions": (2, "*Action")},
    "Action": {
        "input": (1, "int"),
        "secondaryInput": (2, "int"),
        "output": (3, "int"),
        "Action": (0, "ActionMember"),
    },
    "ActionMember": {
        "copy": (4, "Copy"),
        "mkfile": (5, "Mkfile"),
        "mkdir": (6, "Mkdir"),
        "rm": (7, "Rm"),
    },
    "Copy": {
        "src": (1, "text"),
        "dest": (2, "text"),
        "owner": (3, "Owner"),
        "mode": (4, "int"),
        "followSymlink": (5, "flag"),
        "dirCopyContents": (6, "flag"),
        "attemptUnpackDockerCompatibility": (7, "flag"),
        "createDestPath": (8, "flag"),
        "allowWildcard": (9, "flag"),
        "allowEmptyWildcard": (10, "flag"),
        "timestamp": (11, "int"),
        "include_patterns": (12, "texts"),
        "exclude_patterns": (13, "texts"),
        "alwaysReplaceExistingDestPaths": (14, "flag"),
        "modeStr": (15, "text"),
        "required_paths": (16, "texts"),
    },
    "Mkfile": {
        "path": (1, "text"),
        "mode": (2, "int"),
        "data": (3, "bytes"),
        "owner": (4, "Owner"),
        "timestamp": (5, "int"),
    },
    "Mkdir": {
        "path": (1, "text"),
        "mode": (2, "int"),
        "makeParents": (3, "flag"),
        "owner": (4, "Owner"),
        "timestamp": (5, "int"),
    },
    "Rm": {"path": (1, "text"), "allowNotFound": (2, "flag"), "allowWildcard": (3, "flag")},
    "Owner": {"user": (1, "User"), "group": (2, "User")},
    "User": {"User": (0, "UserMember")},
    "UserMember": {"byName": (1, "Named"), "byId": (2, "int")},
    "Named": {"name": (1, "text"), "input": (2, "int")},
    "Build": {"builder": (1, "int"), "inputs": (2, "%BuildInput"), "attrs": (4, "%text")},
    "BuildInput": {"input": (1, "int")},
    "Merge": {"inputs": (1, "*BuildInput")},
    "Diff": {"lower": (1, "BuildInput"), "upper": (2, "BuildInput")},
    "Passthrough": {"id": (1, "text"), "outputs": (2, "ints")},
    "Metadata": {
        "ignore_cache": (1, "flag"),
        "description": (2, "%text"),
        "export_cache": (4, "ExportCache"),
        "caps": (5, "%flag"),
        "progress_group": (6, "Group"),
        "linux_resources": (7, "Resources"),
    },
    "ExportCache": {"Value": (1, "flag")},
    "Group": {"id": (1, "text"), "name": (2, "text"), "weak": (3, "flag")},
    "Resources": {
        "memory": (1, "int"),
        "memorySwap": (2, "int"),
        "cpuShares": (3, "int"),
        "cpuPeriod": (4, "int"),
        "cpuQuota": (5, "int"),
        "cpusetCpus": (6, "text"),
        "cpusetMems": (7, "text"),
    },
}
_MEMBERS: Final[_Fields] = {
    "exec": (2, "Exec"),
    "source": (3, "Source"),
    "file": (4, "File"),
    "build": (5, "Build"),
    "merge": (6, "Merge"),
    "diff": (7, "Diff"),
    "passthrough": (8, "Passthrough"),
}


def is_dump(data: bytes) -> bool:
    """Return whether this is a print; a definition never starts with a brace."""
    return data[:1] == b"{"


def definition_of_dump(data: bytes) -> bytes:
    """Return the `pb.Definition` message without source maps.

    Raises:
        GraphError: It is no such print, or something was lost in printing.
    """
    parts = []
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            op = _op(row["Op"])
            digest, beside = row["Digest"], row.get("OpMetadata") or {}
            metadata = _message("Metadata", beside)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            malformed(
                f"line {number} is not an op as `buildctl debug dump-llb` prints it ({error!r})"
            )
        found = f"sha256:{sha256(op).hexdigest()}"
        if found != digest:
            malformed(
                f"line {number} leaves something out: it makes {found[:19]}, its digest is {str(digest)[:19]}"
            )
        parts.append(field(1, op) + field(2, text(1, found) + field(2, metadata)))
    return b"".join(parts)


def _op(row: Mapping[str, Any]) -> bytes:
    """Return an op, its union member last."""
    parts = [field(1, _message("Input", each)) for each in row.get("inputs") or ()]
    if row.get("platform") is not None:
        parts.append(field(10, _message("Platform", row["platform"])))
    if row.get("constraints") is not None:
        parts.append(field(11, _message("Constraints", row["constraints"])))
    for name, value in row["Op"].items():
        number, kind = _MEMBERS[name]
        parts.append(field(number, _message(kind, value)))
    return b"".join(parts)


def _message(kind: str, values: Mapping[str, Any]) -> bytes:
    known = _MESSAGES[kind]
    for name in values:
        if name not in known:
            raise KeyError(name)
    if kind == "UserMember" and not values:
        values = {"byId": 0}  # printed as nothing, but a member of a union is always written
    return b"".join(
        _field(number, wanted, values[name], in_union=kind == "UserMember")
        for name, (number, wanted) in known.items()
        if values.get(name) is not None
    )


def _field(number: int, kind: str, value: Any, *, in_union: bool = False) -> bytes:
    match kind:
        case "text":
            return text(number, value)
        case "texts":
            return texts(number, value)
        case "int":
            return integer(number, value) or (INT[number] + b"\0" if in_union else b"")
        case "ints":
            return packed(number, value)
        case "flag":
            return flag(number, value)
        case "bytes":
            try:
                data = base64.b64decode(value, validate=True)
            except binascii.Error as error:
                raise ValueError(str(error)) from error
            return field(number, data) if data else b""
    if kind[0] == "*":
        return b"".join(field(number, _message(kind[1:], each)) for each in value)
    if kind[0] == "%":
        return b"".join(_entry(number, kind[1:], key, value[key]) for key in sorted(value))
    payload = _message(kind, value)
    # Go prints the members of a union inside an object of its own.
    return field(number, payload) if number else payload


def _entry(number: int, kind: str, key: str, value: Any) -> bytes:
    name = field(1, key.encode())
    match kind:
        case "text":
            return field(number, name + field(2, value.encode()))
        case "flag":
            return field(number, name + flag(2, value))
        case _:
            return field(number, name + field(2, _message(kind, value)))
