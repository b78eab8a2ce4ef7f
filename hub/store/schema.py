"""Tables of the SQLite store.

A worker's folder holds::

    catalog.db            settings of the store and the audit trail; written rarely
    segment-<ID>.db       messages in order of arrival with their deliveries and calls; <ID> is the first id that may be in it
    keys-<ID>.db          business-key index of that segment  } derived: built behind the writer's back,
    text-<ID>.db          free-text index of that segment     } may be deleted, are built again

A segment holds at most ``segment_messages`` messages, then the next begins. So every index stays small enough to be
fast however much is stored, pruning is deleting files, and nothing on the way of a message writes to a random
place: rows of ``message``, ``payload``, ``delivery`` and ``call`` are appended in id order. A delivery and its calls live in the segment its own id
falls into, which is that of its message unless an operator made it later.

``meta`` of a segment: ``schema_version``; ``intent``, the last intent of the catalog that was applied here; ``control_upto`` and
``control_seq``, highest id and number of the messages whose control ids are in runs (:mod:`hub.store.control_runs`); and, once the
segment is complete or the store was closed in an orderly way, ``messages``, ``seq_max`` and ``received_max``; ``mark:<name>``, how far a
source has been read (:mod:`hub.store.marks`); ``sealed``, 1 while every row is sealed (:mod:`hub.store.values`).
``meta`` of the catalog: ``schema_version``; ``clean``, 1 while the store is closed in an orderly way; ``lasting_key``, keys for
what is looked up, sealed with a data key, once the store has been encrypted.
"""

from __future__ import annotations

__all__ = ["CALLBACKS", "CATALOG", "FORMS", "REPORTS", "SCHEMA_VERSION", "SEGMENT"]

SCHEMA_VERSION = 3

#: Since version 2.
REPORTS = """
CREATE TABLE report (                -- what validation found; no rows for interfaces that are not checked
    id INTEGER PRIMARY KEY,          -- call.id: the receipt, the refusal or the attempt
    place INTEGER NOT NULL,          -- name.id
    verdict INTEGER NOT NULL,        -- hub.message.CheckVerdict
    errors INTEGER NOT NULL,
    warnings INTEGER NOT NULL,
    score REAL,
    took_us INTEGER NOT NULL,
    checks INTEGER NOT NULL,         -- name.id: the validators with their hashes
    findings TEXT NOT NULL           -- JSON list, '' when there are none
);
CREATE INDEX report_marked ON report (place, id) WHERE verdict <> 0;
"""

#: Since version 3.
CALLBACKS = """
CREATE TABLE awaited (               -- deliveries whose target answers later, by a message of its own
    id INTEGER PRIMARY KEY,          -- delivery.id
    message_id INTEGER NOT NULL,
    place INTEGER NOT NULL,          -- name.id: the target
    key TEXT NOT NULL,
    at INTEGER NOT NULL,
    due INTEGER NOT NULL,            -- microseconds since the Unix epoch; 0: never overdue, -1: not promised
    answered INTEGER NOT NULL        -- message.id of the first answer, 0 while there is none
);
CREATE INDEX awaited_key ON awaited (key, place);
CREATE INDEX awaited_open ON awaited (place, due) WHERE answered = 0;
CREATE TABLE answer (                -- messages that answer a delivery
    id INTEGER PRIMARY KEY,          -- message.id
    key TEXT NOT NULL,
    places TEXT NOT NULL,            -- JSON list of the targets whose answer it may be
    request INTEGER NOT NULL,        -- message.id of what it answers, 0 while that is not known
    delivery INTEGER NOT NULL,
    waiting INTEGER NOT NULL         -- 1: its routes have not been asked yet
);
CREATE INDEX answer_request ON answer (request) WHERE request <> 0;
CREATE INDEX answer_unbound ON answer (id) WHERE request = 0;
CREATE INDEX answer_waiting ON answer (id) WHERE waiting = 1;
"""

#: Since version 3, as added to segments of version 2: how bytes are kept, see hub.store.values.
FORMS = """
ALTER TABLE payload ADD COLUMN form INTEGER NOT NULL DEFAULT 0;
ALTER TABLE fixed ADD COLUMN form INTEGER NOT NULL DEFAULT 0;
ALTER TABLE body ADD COLUMN forms INTEGER NOT NULL DEFAULT 0;
"""

#: In all partial indexes, states 0 and 2 (pending, retrying) are the ones that move by themselves; see hub.message.DeliveryState.
SEGMENT = (
    REPORTS
    + CALLBACKS
    + """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE name (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,            -- 1, 2, 3 … within the store without a gap: a missing number is a lost message
    received_at INTEGER NOT NULL,    -- microseconds since the Unix epoch
    source INTEGER NOT NULL,         -- name.id
    type INTEGER NOT NULL,           -- name.id
    codec INTEGER NOT NULL,          -- name.id
    control_id TEXT NOT NULL,
    content_hash BLOB NOT NULL,
    size INTEGER NOT NULL,           -- bytes
    conflict INTEGER NOT NULL,
    causation INTEGER NOT NULL,
    correlation TEXT NOT NULL,
    routed TEXT NOT NULL,            -- "route>target,…" as name ids, one per delivery made: what the ledger expects
    keys TEXT NOT NULL               -- JSON object of business keys, '' when there are none
);
CREATE INDEX message_conflict ON message (source, control_id, content_hash) WHERE conflict = 1;
CREATE INDEX message_conflicts ON message (source, control_id) WHERE conflict = 1;
CREATE TABLE control (               -- of messages that don't conflict; those of the newest messages are in no run yet
    run INTEGER NOT NULL,
    control_id TEXT NOT NULL,
    source INTEGER NOT NULL,         -- name.id
    id INTEGER NOT NULL,             -- message.id; the message may have been removed
    PRIMARY KEY (run, control_id, source, id)
) WITHOUT ROWID;
CREATE TABLE payload (id INTEGER PRIMARY KEY, raw BLOB NOT NULL, form INTEGER NOT NULL DEFAULT 0);  -- form: see hub.store.values
CREATE TABLE delivery (
    id INTEGER PRIMARY KEY,
    message_id INTEGER NOT NULL,
    route INTEGER NOT NULL,          -- name.id
    target INTEGER NOT NULL,         -- name.id
    state INTEGER NOT NULL,
    order_key TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    step TEXT NOT NULL,
    reason TEXT NOT NULL,
    parent INTEGER NOT NULL,
    part INTEGER NOT NULL,
    parts INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE INDEX delivery_message ON delivery (message_id);
CREATE INDEX delivery_open ON delivery (target, id, order_key, state) WHERE state IN (0, 2);
CREATE INDEX delivery_parked ON delivery (state, id, target) WHERE state IN (4, 5, 6);
CREATE INDEX delivery_part ON delivery (target, id) WHERE parent <> 0 AND state IN (0, 2);
CREATE TABLE fixed (                 -- bytes to send as they are
    id INTEGER PRIMARY KEY,          -- delivery.id
    payload BLOB NOT NULL,
    form INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE call (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    direction INTEGER NOT NULL,
    place INTEGER NOT NULL,          -- name.id
    outcome INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    delivery_id INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    code TEXT NOT NULL,
    error TEXT NOT NULL,
    took_us INTEGER NOT NULL,
    remote TEXT NOT NULL,
    params TEXT NOT NULL,
    mapping INTEGER NOT NULL,        -- name.id
    plugin INTEGER NOT NULL          -- name.id
);
CREATE INDEX call_message ON call (message_id) WHERE message_id <> 0;
CREATE INDEX call_place ON call (place, id);
CREATE INDEX call_failed ON call (place, id, outcome) WHERE outcome <> 0;
CREATE TABLE body (
    id INTEGER PRIMARY KEY,          -- call.id
    request BLOB,
    response BLOB,
    forms INTEGER NOT NULL DEFAULT 0 -- bits 0 and 1: of the request, 2 and 3: of the response
);
CREATE TABLE pruned (                -- what was removed from this segment on purpose
    first_seq INTEGER PRIMARY KEY,
    last_seq INTEGER NOT NULL,
    first_id INTEGER NOT NULL,
    last_id INTEGER NOT NULL
);
"""
)

CATALOG = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE segment (
    first_id INTEGER PRIMARY KEY,    -- every segment there must be: a missing file is noticed
    state INTEGER NOT NULL           -- 0: must be there, 1: pruned, its files are to be deleted, 2: lost and given up
);
CREATE TABLE pruned (                -- segments removed on purpose
    first_seq INTEGER PRIMARY KEY,
    last_seq INTEGER NOT NULL,
    first_id INTEGER NOT NULL,
    last_id INTEGER NOT NULL
);
CREATE TABLE intent (                -- changes to several files at once, decided but perhaps not yet made everywhere
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    body BLOB NOT NULL
);
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,         -- 1, 2, 3 …
    at INTEGER NOT NULL,             -- microseconds since the Unix epoch
    entry TEXT NOT NULL,             -- JSON object
    hash TEXT NOT NULL               -- SM3 over the previous hash and this entry, hex
);
"""
