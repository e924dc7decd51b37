"""The tables of the plane: organizations, projects, tokens, builds and what their steps printed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from depotlab import _serving

__all__ = ["Database"]

_VERSION = 1
# Instants are integers, nanoseconds since 1970 in UTC: BuildKit's log records differ in nothing else.
_SCHEMA = """
CREATE TABLE organizations (organization_id TEXT PRIMARY KEY, name TEXT, created_ns INTEGER) STRICT;
CREATE TABLE users (user_id TEXT PRIMARY KEY, name TEXT, created_ns INTEGER) STRICT;
CREATE TABLE projects (
    project_id TEXT PRIMARY KEY, organization_id TEXT, name TEXT, region_id TEXT, created_ns INTEGER UNIQUE,
    keep_gb INTEGER, keep_days INTEGER, hardware INTEGER) STRICT;
CREATE TABLE tokens (
    token_id TEXT PRIMARY KEY, kind TEXT, hash BLOB, owner_id TEXT, project_id TEXT, build_id TEXT,
    description TEXT, created_ns INTEGER, expires_ns INTEGER) STRICT;
CREATE INDEX tokens_of_project ON tokens (project_id, kind);
CREATE INDEX tokens_of_build ON tokens (build_id);
CREATE TABLE trust_policies (
    trust_policy_id TEXT PRIMARY KEY, project_id TEXT, provider TEXT, owner TEXT, name TEXT,
    created_ns INTEGER) STRICT;
CREATE TABLE builds (
    build_id TEXT PRIMARY KEY, project_id TEXT, created_ns INTEGER UNIQUE, started_ns INTEGER,
    finished_ns INTEGER, status TEXT, error TEXT, note TEXT, cancels_ns INTEGER, options BLOB,
    share TEXT UNIQUE) STRICT;
CREATE INDEX builds_of_project ON builds (project_id, created_ns);
CREATE INDEX builds_by_status ON builds (status);
CREATE TABLE steps (
    step INTEGER PRIMARY KEY, build_id TEXT, digest TEXT, name TEXT, started_ns INTEGER,
    completed_ns INTEGER, cached INTEGER, error TEXT, UNIQUE (build_id, digest)) STRICT;
CREATE INDEX steps_that_ran ON steps (digest, step) WHERE cached = 0 AND completed_ns IS NOT NULL;
CREATE TABLE logs (
    log INTEGER PRIMARY KEY, build_id TEXT, digest TEXT, at_ns INTEGER, stream INTEGER, message BLOB,
    UNIQUE (build_id, digest, at_ns, stream, message)) STRICT;
CREATE TABLE contexts (
    build_id TEXT, target TEXT, filename TEXT, contents TEXT, PRIMARY KEY (build_id, target, filename)
    ) STRICT;
CREATE TABLE pushes (
    push_id TEXT PRIMARY KEY, build_id TEXT, tag TEXT, started_ns INTEGER, finished_ns INTEGER,
    error TEXT) STRICT;
"""


class Database(_serving.Database):
    """The plane's open file. Call `close` at the end.

    Args:
        path: Created, for its owner only, when it is missing.
        now_ns: The clock.

    Raises:
        EngineError: The file cannot be opened, or a newer version of this library wrote it.
    """

    def __init__(self, path: Path, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        super().__init__(path, schema=_SCHEMA, version=_VERSION, whose="The plane's", now_ns=now_ns)
