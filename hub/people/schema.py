"""The tables of people in ``access.db``. Times are Unix seconds, 0 for none; lists and objects are JSON; BLOBs are sealed or hashes."""

from __future__ import annotations

from hub.access import Schema

__all__ = ["SCHEMA"]

SCHEMA = Schema(
    "people",
    (
        """
CREATE TABLE person (
    id TEXT PRIMARY KEY, name BLOB NOT NULL, institution TEXT NOT NULL, phone BLOB NOT NULL, mail BLOB NOT NULL, note TEXT NOT NULL,
    state TEXT NOT NULL, state_reason TEXT NOT NULL, roles TEXT NOT NULL, scope TEXT NOT NULL,
    password TEXT NOT NULL, password_at INTEGER NOT NULL, temporary_until INTEGER NOT NULL,
    totp BLOB NOT NULL, totp_new BLOB NOT NULL, totp_step INTEGER NOT NULL,
    created_at INTEGER NOT NULL, changed_at INTEGER NOT NULL, login_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE past_password (person TEXT NOT NULL, at INTEGER NOT NULL, password TEXT NOT NULL) STRICT;
CREATE INDEX past_password_person ON past_password (person, at);
CREATE TABLE recovery (person TEXT NOT NULL, code BLOB NOT NULL, PRIMARY KEY (person, code)) STRICT, WITHOUT ROWID;
CREATE TABLE session (
    id TEXT PRIMARY KEY, token BLOB NOT NULL UNIQUE, person TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, method TEXT NOT NULL,
    address TEXT NOT NULL, agent TEXT NOT NULL, note TEXT NOT NULL, rights TEXT NOT NULL,
    created_at INTEGER NOT NULL, used_at INTEGER NOT NULL, ends_at INTEGER NOT NULL, verified_at INTEGER NOT NULL,
    tries INTEGER NOT NULL, code BLOB NOT NULL, code_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX session_person ON session (person);
CREATE TABLE failure (
    what TEXT PRIMARY KEY, count INTEGER NOT NULL, last_at INTEGER NOT NULL, locked_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE login (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, person TEXT NOT NULL, method TEXT NOT NULL, outcome TEXT NOT NULL,
    address TEXT NOT NULL, region TEXT NOT NULL, agent TEXT NOT NULL
) STRICT;
CREATE INDEX login_person ON login (person, at);
CREATE INDEX login_address ON login (address, at);
CREATE INDEX login_at ON login (at);
CREATE TABLE approval (
    id TEXT PRIMARY KEY, action TEXT NOT NULL, subject TEXT NOT NULL, content BLOB NOT NULL, requester TEXT NOT NULL, reason TEXT NOT NULL,
    state TEXT NOT NULL, created_at INTEGER NOT NULL, ends_at INTEGER NOT NULL,
    decided_by TEXT NOT NULL, decided_at INTEGER NOT NULL, decision TEXT NOT NULL, result TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX approval_state ON approval (state, created_at);
""",
    ),
)
