"""The tables of ``flows.db``. Bodies are one byte, plain or sealed, and what it says."""

from __future__ import annotations

__all__ = ["INDEXES", "SCHEMA", "VERSION"]

VERSION = 1

SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE definition (version TEXT PRIMARY KEY, flow TEXT NOT NULL, at INTEGER NOT NULL, raw BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE instance (
    id INTEGER PRIMARY KEY,
    flow TEXT NOT NULL,
    version TEXT NOT NULL,
    lookup BLOB NOT NULL,        -- keyed hash of the business key
    state TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,   -- 0: open
    due INTEGER NOT NULL,        -- 0: nothing is timed
    body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX instance_open ON instance (flow, lookup) WHERE ended_at = 0;
CREATE INDEX instance_key ON instance (flow, lookup, id);
CREATE INDEX instance_due ON instance (due) WHERE due > 0;
CREATE INDEX instance_state ON instance (state, id);
CREATE INDEX instance_ended ON instance (flow, ended_at) WHERE ended_at > 0;
CREATE TABLE event (id TEXT PRIMARY KEY, instance INTEGER NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX event_instance ON event (instance);
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY,
    control TEXT NOT NULL UNIQUE,
    instance INTEGER NOT NULL,
    state INTEGER NOT NULL,      -- 0: to be handed in, 1: is a message of the hub, 2: its fate is known
    message INTEGER NOT NULL,    -- id of that message
    at INTEGER NOT NULL,
    head TEXT NOT NULL,          -- JSON: step, undo, target, type, route
    body BLOB
) STRICT;
CREATE INDEX outbox_state ON outbox (state, seq) WHERE state < 2;
CREATE INDEX outbox_message ON outbox (message) WHERE message > 0;
CREATE INDEX outbox_instance ON outbox (instance, seq);
CREATE TABLE note (
    seq INTEGER PRIMARY KEY,
    instance INTEGER NOT NULL,
    at INTEGER NOT NULL,
    what TEXT NOT NULL,
    step TEXT NOT NULL,
    message INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX note_instance ON note (instance, seq);
CREATE TABLE document (
    seq INTEGER PRIMARY KEY,
    instance INTEGER NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    message INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (instance, name, version)
) STRICT;
CREATE TABLE early (
    seq INTEGER PRIMARY KEY,
    flow TEXT NOT NULL,
    lookup BLOB NOT NULL,
    event TEXT NOT NULL UNIQUE,
    until INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX early_key ON early (flow, lookup, seq);
CREATE INDEX early_until ON early (until);
"""

#: Counting and looking for versions must not read the bodies of all instances.
INDEXES = """
CREATE INDEX IF NOT EXISTS instance_counted ON instance (flow, state);
CREATE INDEX IF NOT EXISTS instance_version ON instance (version, ended_at);
"""
