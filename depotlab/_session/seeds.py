"""Seeds for the keys with which a client proves that it is still the one that fetched a token.

A daemon that keeps an access token asks each later session to sign something before it uses that
token for it. The key follows from the daemon's salt and from 16 random bytes for the registry,
kept where `docker login` keeps its things, so that all programs of one user prove the same
identity: `.token_seed` is `{host: {"Seed": base64}}`, guarded by a lock on `.token_seed.lock`.
Where they cannot be kept they live as long as the session.

Source: moby/buildkit `session/auth/authprovider/tokenseed.go`.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["TokenSeeds"]

_N_SEED = 16


class TokenSeeds:
    """Seeds by registry. Reads and writes files, so it belongs into a thread.

    Args:
        host_dir: The directory of the Docker configuration.
    """

    def __init__(self, host_dir: Path) -> None:
        self._host_dir = host_dir
        self._own: dict[str, bytes] = {}

    def get(self, host: str) -> bytes:
        """Return the seed for a registry, made and kept if it is new."""
        try:
            self._host_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            return self._mine(host)
        with self._locked():
            file = self._host_dir / ".token_seed"
            kept = _read(file)
            seed = _seed_in(kept.get(host))
            if seed is None:
                seed = self._mine(host)
                kept[host] = {"Seed": base64.b64encode(seed).decode()}
                _keep(file, json.dumps(kept, indent=2))
            return seed

    def _mine(self, host: str) -> bytes:
        return self._own.setdefault(host, secrets.token_bytes(_N_SEED))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            lock = os.open(self._host_dir / ".token_seed.lock", flags, 0o600)
        except OSError:  # a directory that we may only read has seeds that nobody changes now
            yield
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _read(file: Path) -> dict[str, Any]:
    try:
        kept = json.loads(file.read_bytes())
    except (OSError, ValueError):  # not there, or cut off when a writer died
        return {}
    return kept if isinstance(kept, dict) else {}


def _seed_in(entry: Any) -> bytes | None:
    try:
        return base64.b64decode(entry["Seed"]) or None
    except (KeyError, TypeError, binascii.Error):
        return None


def _keep(file: Path, text: str) -> None:
    try:
        # Written in place like the Go client does: it holds the same lock, not the same inode.
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError:
        return  # the session goes on with a seed of its own
