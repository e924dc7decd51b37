"""A row of the table of builds, read as the values that others know."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any, cast

from depotlab.service._boundary import (
    BuildContext,
    BuildState,
    EndUserError,
    GitContext,
    Order,
    UploadedContext,
)
from depotlab.service._moments import moment, moment_or_none
from depotlab.service._values import BuildInfo
from depotlab.telemetry import BuildRow

__all__ = ["info_of", "order_of", "telemetry_row", "written"]


def written(order: Order) -> str:
    """Return what the column `asked` has of an order: what has no column of its own."""
    context: dict[str, object] = (
        {"key": order.context.key}
        if isinstance(order.context, UploadedContext)
        else {name: getattr(order.context, name) for name in GitContext.__slots__}
    )
    return json.dumps(
        {
            "context": context,
            "dockerfile_path": order.dockerfile_path,
            "target": order.target,
            "platform": order.platform,
            "args": dict(order.args),
            "labels": dict(order.labels),
        }
    )


def _context(asked: Mapping[str, Any]) -> BuildContext:
    fields = asked["context"]
    return UploadedContext(**fields) if "key" in fields else GitContext(**fields)


def order_of(row: sqlite3.Row) -> Order:
    """Read what was asked for."""
    asked = json.loads(row["asked"])
    return Order(
        build_id=row["build_id"],
        project=row["project"],
        deployment=row["deployment"],
        workspace=row["workspace"],
        **(asked | {"context": _context(asked)}),
    )


def info_of(row: sqlite3.Row) -> BuildInfo:
    """Read a build as users see it."""
    asked = json.loads(row["asked"])
    return BuildInfo(
        build_id=row["build_id"],
        project=row["project"],
        deployment=row["deployment"],
        workspace=row["workspace"],
        state=cast("BuildState", row["state"]),
        image=row["image"],
        digest=row["digest"],
        depot_project_id=row["depot_project_id"],
        depot_build_id=row["depot_build_id"],
        created_at=moment(row["created_ns"]),
        started_at=moment_or_none(row["started_ns"]),
        finished_at=moment_or_none(row["finished_ns"]),
        attempts=row["attempts"],
        stages=json.loads(row["stages"]),
        stage=row["stage"],
        error=EndUserError(row["category"], row["message"], row["raw"]) if row["message"] else None,
        cached_steps=row["cached_steps"],
        total_steps=row["total_steps"],
        n_log_lines=row["n_lines"],
        context=_context(asked),
        platform=asked["platform"],
    )


def telemetry_row(row: sqlite3.Row) -> BuildRow:
    """Read a build that has ended as telemetry keeps it."""
    stages: dict[str, float] = json.loads(row["stages"])
    return BuildRow(
        build_id=row["build_id"],
        workspace_id=row["workspace"],
        project_id=row["project"],
        deployment_id=row["deployment"],
        status=row["state"],
        image=row["image"],
        digest=row["digest"],
        error=row["message"],
        error_category=row["category"],
        created_at=row["created_ns"] // 10**6,
        started_at=(row["started_ns"] or 0) // 10**6,
        completed_at=(row["finished_ns"] or 0) // 10**6,
        attempts=row["attempts"],
        cached_steps=row["cached_steps"],
        total_steps=row["total_steps"],
        log_lines=row["n_step_lines"],
        stages_ms={name: round(took_s * 1000) for name, took_s in stages.items()},
    )
