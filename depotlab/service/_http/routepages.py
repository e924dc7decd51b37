"""What a server says of its own operations: the page at `/`, the OpenAPI document, commands for a shell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from depotlab.service._http.routes import ROUTES, Kind

__all__ = ["curl_lines", "openapi", "page"]

_SCHEMAS: Final[Mapping[Kind, dict[str, Any]]] = {
    "text": {"type": "string"},
    "map": {"type": "object", "additionalProperties": {"type": "string"}},
    "git": {"oneOf": [{"type": "string"}, {"type": "object"}]},
    "number": {"type": "integer"},
    "flag": {"type": "boolean"},
    "names": {
        "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    },
}


def page(url: str) -> str:
    """Return the operations as text, with the calls of a first build.

    Args:
        url: Of the server, as its clients know it.
    """
    lines = ["A build service of depotlab.", ""]
    for route in ROUTES:
        need = f"needs {route.may}" if route.may else "open"
        lines.append(f"{route.method:<6} {route.path}  ({need})")
        lines.append(f"       {route.says}")
        for name, fields in (("query", route.query), ("body", route.body)):
            if fields:
                listed = ", ".join(f.name + ("*" if f.is_needed else "") for f in fields)
                lines.append(f"       {name}: {listed}")
    lines += [
        "",
        "Fields with * are needed. Errors are {code, message, hint}. Uploads, builds and logs are Connect and",
        "gRPC methods, too, of the schema /build_service.proto. A first build:",
        "",
        *curl_lines(url),
    ]
    return "\n".join(lines) + "\n"


def curl_lines(url: str, *, trust: str = "") -> list[str]:
    """Return shell commands that build the folder `.` and follow its log; `TOKEN` and `PROJECT` are to be set.

    Args:
        url: Of the server.
        trust: More arguments for curl, such as the authority of its certificate.
    """
    curl = f"curl -sS{' ' + trust if trust else ''}"
    build = '{\\"project\\": \\"$PROJECT\\", \\"deployment\\": \\"d1\\", \\"build_context_path\\": \\"$CONTEXT\\"}'
    return [
        f'AUTH="Authorization: Bearer $TOKEN"; URL={url}',
        f'UPLOAD=$({curl} -H "$AUTH" "$URL/v1/uploads" -d "{{\\"project\\": \\"$PROJECT\\"}}")',
        # Answers are one object on one line, so that a shell takes a field out without another program.
        'field() { sed -n \'s/.*"\'$1\'": *"\\([^"]*\\)".*/\\1/p\'; }',
        'CONTEXT=$(echo "$UPLOAD" | field build_context_path)',
        'ARCHIVE=$(mktemp); tar czf "$ARCHIVE" .',
        'curl -sSf -T "$ARCHIVE" "$(echo "$UPLOAD" | field upload_url)"',
        f'BUILD=$({curl} -H "$AUTH" "$URL/v1/builds" -d "{build}" | field build_id)',
        f'{curl} -N -H "$AUTH" -H "Accept: text/plain" "$URL/v1/builds/$BUILD/logs"',
        f'{curl} -H "$AUTH" "$URL/v1/builds/$BUILD"',
    ]


def openapi(url: str) -> dict[str, Any]:
    """Return the operations as an OpenAPI document.

    Args:
        url: Of the server, as its clients know it.
    """
    paths: dict[str, Any] = {}
    for route in ROUTES:
        said: dict[str, Any] = {
            "operationId": route.name,
            "summary": route.says,
            "responses": {
                "2XX": {"description": "done"},
                "default": {
                    "description": "refused",
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Error"}}
                    },
                },
            },
        }
        parameters: list[dict[str, Any]] = [
            {"name": f.name, "in": "query", "description": f.says, "schema": _SCHEMAS[f.kind]}
            for f in route.query
        ]
        if "{id}" in route.path:
            where = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
            parameters.insert(0, where)
        if parameters:
            said["parameters"] = parameters
        if route.body:
            schema = {
                "type": "object",
                "additionalProperties": False,
                "required": [f.name for f in route.body if f.is_needed],
                "properties": {
                    f.name: _SCHEMAS[f.kind] | {"description": f.says} for f in route.body
                },
            }
            said["requestBody"] = {"content": {"application/json": {"schema": schema}}}
        if route.may:
            said["security"] = [{"token": []}]
        paths.setdefault(route.path, {})[route.method.lower()] = said
    return {
        "openapi": "3.1.0",
        "info": {"title": "depotlab build service", "version": "1"},
        "servers": [{"url": url}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["code", "message"],
                    "properties": {
                        "code": {"type": "string"},
                        "message": {"type": "string"},
                        "hint": {"type": "string"},
                        "reason": {"type": "string"},
                    },
                }
            },
        },
    }
