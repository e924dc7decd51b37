"""The file in which a service keeps what it knows: its tables, and how it is opened."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from depotlab._serving import Database

__all__ = ["SCHEMA", "open_database"]

_VERSION = 1

SCHEMA = """
CREATE TABLE builds (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    build_id TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL,
    workspace TEXT NOT NULL,
    deployment TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued',
    asked TEXT NOT NULL,
    has_secrets INTEGER NOT NULL,
    image TEXT NOT NULL DEFAULT '',
    digest TEXT NOT NULL DEFAULT '',
    depot_project_id TEXT NOT NULL DEFAULT '',
    depot_build_id TEXT NOT NULL DEFAULT '',
    depot_build_url TEXT NOT NULL DEFAULT '',
    created_ns INTEGER NOT NULL,
    started_ns INTEGER,
    finished_ns INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    stage TEXT NOT NULL DEFAULT 'queued',
    stages TEXT NOT NULL DEFAULT '{}',
    category TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT '',
    raw TEXT NOT NULL DEFAULT '',
    cached_steps INTEGER NOT NULL DEFAULT 0,
    total_steps INTEGER NOT NULL DEFAULT 0,
    n_lines INTEGER NOT NULL DEFAULT 0,
    n_step_lines INTEGER NOT NULL DEFAULT 0,
    n_dropped INTEGER NOT NULL DEFAULT 0,
    log_bytes INTEGER NOT NULL DEFAULT 0,
    is_told INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX builds_of_project ON builds (project, number);
CREATE INDEX builds_of_project_in_state ON builds (project, state, number);
CREATE INDEX builds_in_state ON builds (state, number);
CREATE INDEX builds_ended ON builds (finished_ns);
CREATE INDEX builds_untold ON builds (number) WHERE is_told = 0;
CREATE TABLE log_steps (
    build INTEGER NOT NULL,
    step INTEGER NOT NULL,
    step_id TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (build, step)
) WITHOUT ROWID;
CREATE TABLE lines (
    build INTEGER NOT NULL,
    line INTEGER NOT NULL,
    at_ns INTEGER NOT NULL,
    step INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (build, line)
) WITHOUT ROWID;
CREATE TABLE uploads (
    key TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL,
    used_ns INTEGER
);
CREATE INDEX uploads_of_project ON uploads (project, used_ns);
CREATE TABLE idempotency (
    project TEXT NOT NULL,
    key TEXT NOT NULL,
    asked TEXT NOT NULL,
    build_id TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    PRIMARY KEY (project, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_by_age ON idempotency (created_ns);
CREATE TABLE tags (
    tag TEXT PRIMARY KEY,
    project TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE projects (
    project TEXT PRIMARY KEY,
    workspace TEXT,
    depot_project_id TEXT,
    claimed_ns INTEGER,
    updated_ns INTEGER
);
CREATE TABLE tokens (
    token_id TEXT PRIMARY KEY,
    hash BLOB NOT NULL,
    description TEXT,
    projects TEXT,
    may TEXT,
    created_ns INTEGER,
    expires_ns INTEGER
);
"""
"""All tables of the service. `projects` belongs to `_run.projects`, `tokens` to `_access`."""


def open_database(path: Path, *, now_ns: Callable[[], int] = time.time_ns) -> Database:
    """Open the service's file, made when it is missing.

    Args:
        path: Of the file, in a folder that is there.
        now_ns: The wall clock.

    Raises:
        EngineError: It cannot be used, or a newer version of this library wrote it.
    """
    whose = "The build service's"
    return Database(path, schema=SCHEMA, version=_VERSION, whose=whose, now_ns=now_ns)
