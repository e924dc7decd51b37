"""Identifiers as Depot writes them: ten characters, digits and consonants, so that no words appear."""

from __future__ import annotations

import secrets

__all__ = ["ID_ALPHABET", "new_id"]

ID_ALPHABET = "0123456789bcdfghjklmnpqrstvwxz"
_LENGTH = 10


def new_id() -> str:
    """Return a fresh identifier: 49 random bits."""
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(_LENGTH))
