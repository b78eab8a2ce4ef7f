"""The tables of callers in ``access.db``. Times are Unix seconds, 0 for none; lists and objects are JSON."""

from __future__ import annotations

from hub.access import Schema

__all__ = ["SCHEMA"]

SCHEMA = Schema(
    "callers",
    (
        """
CREATE TABLE caller (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, tenant TEXT NOT NULL,
    purpose TEXT NOT NULL, contact BLOB NOT NULL, reviewed_by TEXT NOT NULL, reason TEXT NOT NULL,
    places TEXT NOT NULL, types TEXT NOT NULL, limits TEXT NOT NULL,
    valid_from INTEGER NOT NULL, valid_until INTEGER NOT NULL, created_at INTEGER NOT NULL, changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE credential (
    id TEXT PRIMARY KEY, caller TEXT NOT NULL REFERENCES caller, kind TEXT NOT NULL, note TEXT NOT NULL,
    hash BLOB NOT NULL, sealed BLOB NOT NULL, public TEXT NOT NULL, facts TEXT NOT NULL,
    created_at INTEGER NOT NULL, valid_until INTEGER NOT NULL, revoked_at INTEGER NOT NULL, replaced_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX credential_caller ON credential (caller);
CREATE TABLE address (
    id INTEGER PRIMARY KEY, caller TEXT NOT NULL, effect TEXT NOT NULL, network TEXT NOT NULL, note TEXT NOT NULL,
    enabled INTEGER NOT NULL, expires_at INTEGER NOT NULL, created_at INTEGER NOT NULL, created_by TEXT NOT NULL,
    UNIQUE (caller, effect, network)
) STRICT;
""",
    ),
)
