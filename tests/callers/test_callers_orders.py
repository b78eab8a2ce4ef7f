"""The registry: applications, review, credentials, and the journal of all of it."""

from __future__ import annotations

import json
from pathlib import Path

import apsw
import pytest

from hub.access import AccessDatabase, AccessError, Schema
from hub.callers.errors import CallerRefused, CallersError
from hub.callers.schema import SCHEMA
from tests.callers.callers_support import Registry


def refused(registry: Registry, key: str) -> str:
    with pytest.raises(CallerRefused) as caught:
        registry.door().admit(api_key=key, remote="10.0.0.1")
    return caught.value.code


def test_an_application_can_call_only_once_it_is_approved(registry: Registry) -> None:
    registry.orders.apply({"id": "east", "name": "East", "kind": "institution", "places": ["his/*"]}, "ann")
    key = registry.issue().shown
    assert refused(registry, key) == "caller.wrong"
    registry.orders.review("east", "bob", approve=False, reason="no contract yet")
    assert refused(registry, key) == "caller.wrong"
    assert registry.orders.caller("east").reason == "no contract yet"
    registry.orders.review("east", "bob", approve=True)
    assert registry.door().admit(api_key=key, remote="10.0.0.1") == "east"
    with pytest.raises(CallersError, match="reviewed already"):
        registry.orders.review("east", "bob", approve=False, reason="late")


@pytest.mark.parametrize(
    "order",
    [
        {"id": "East Hospital"},
        {"kind": "friend"},
        {"name": " "},
        {"places": "his/*"},
        {"places": ["his\n"]},
        {"limits": {"per_minute": 3}},
        {"limits": {"per_day": -1}},
        {"limits": {"per_day": True}},
        {"valid_until": "next week"},
        {"state": "enabled"},
    ],
)
def test_what_an_application_can_not_say(registry: Registry, order: dict[str, object]) -> None:
    with pytest.raises(CallersError):
        registry.orders.apply({"id": "east", "name": "East", "kind": "institution", **order}, "ann")
    assert registry.orders.callers() == []


def test_a_rejection_needs_a_reason_and_an_approval_interfaces(registry: Registry) -> None:
    registry.orders.apply({"id": "east", "name": "East", "kind": "institution"}, "ann")
    for approve in (False, True):
        with pytest.raises(CallersError):
            registry.orders.review("east", "bob", approve=approve)


def test_contact_and_secrets_are_not_readable_in_the_file(registry: Registry) -> None:
    registry.caller(contact="Zhang San 13800138000")
    issued = [registry.issue(kind) for kind in ("api_key", "bearer", "basic", "oauth2", "hmac")]
    registry.orders.database.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    stored = b"".join(file.read_bytes() for file in registry.folder.iterdir() if file.is_file())
    assert b"13800138000" not in stored
    for each in issued:
        assert each.secret.encode() not in stored
        assert each.secret not in repr(each)
    assert registry.orders.contact(registry.orders.caller("east")) == "Zhang San 13800138000"
    assert {(file.stat().st_mode & 0o077) for file in registry.folder.iterdir()} == {0}


def test_a_sealed_value_can_not_be_moved_to_another_caller(registry: Registry) -> None:
    for name in ("east", "west"):
        registry.caller(name, contact=f"contact of {name}")
    db = registry.orders.database.db
    db.execute("UPDATE caller SET contact = (SELECT contact FROM caller WHERE id = 'west') WHERE id = 'east'")
    with pytest.raises(CallersError):
        registry.orders.contact(registry.orders.caller("east"))


def test_every_change_is_in_the_journal_without_a_secret(registry: Registry) -> None:
    registry.caller(contact="Zhang San 13800138000")
    issued = registry.issue()
    registry.credentials.rotate(issued.credential.id, 60, "carl")
    registry.credentials.revoke(issued.credential.id, "carl", "lost")
    registry.orders.change("east", {"limits": {"per_day": 5}}, "carl", "contract 7")
    registry.orders.restrict("caller", "east", 60, "carl", "too much")
    registry.orders.unrestrict("caller", "east", "carl")
    registry.orders.add_addresses("block", [{"network": "10.9.0.0/16"}], "carl")
    registry.orders.disable("east", "carl", "left")
    entries = [json.loads(row["entry"]) for row in registry.orders.database.journal()]
    assert [entry["action"] for entry in entries] == [
        "caller.apply",
        "caller.approve",
        "credential.issue",
        "credential.rotate",
        "credential.revoke",
        "caller.change",
        "caller.restrict",
        "caller.unrestrict",
        "address.block",
        "caller.disable",
    ]
    assert entries[5]["detail"] == {"limits": {"per_day": 5}}
    assert entries[5]["reason"] == "contract 7"
    text = json.dumps(entries)
    assert issued.secret not in text
    assert "13800138000" not in text
    assert registry.orders.database.verify_journal() == []
    registry.orders.database.db.execute("UPDATE journal SET entry = replace(entry, 'carl', 'dave') WHERE seq = 5")
    assert registry.orders.database.verify_journal() != []


def test_a_change_that_fails_leaves_neither_row_nor_entry(registry: Registry) -> None:
    registry.caller()
    before = registry.orders.database.journal()
    rows = [{"network": "10.0.0.0/8"}, {"network": "10.0.0.300"}]
    with pytest.raises(CallersError, match="row 2"):
        registry.orders.add_addresses("block", rows, "ann")
    with pytest.raises(AccessError), registry.orders.database.change(before_entry()) as db:
        db.execute("INSERT INTO address SELECT * FROM nowhere")
    assert registry.orders.addresses() == []
    assert registry.orders.database.journal() == before


def before_entry() -> dict[str, object]:
    from hub.audit import entry

    return entry("ann", "test", "")


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    AccessDatabase(tmp_path, [Schema("other", ("CREATE TABLE one (a)", "CREATE TABLE two (a)"))]).close()
    with pytest.raises(AccessError) as caught:
        AccessDatabase(tmp_path, [Schema("other", ("CREATE TABLE one (a)",)), SCHEMA])
    assert caught.value.code == "access.newer"


def test_schemas_are_brought_up_to_date_once(tmp_path: Path) -> None:
    steps = ("CREATE TABLE one (a)", "ALTER TABLE one ADD COLUMN b")
    AccessDatabase(tmp_path, [Schema("other", steps[:1])]).close()
    for _ in range(2):
        AccessDatabase(tmp_path, [Schema("other", steps)]).close()
    columns = [row[1] for row in apsw.Connection(str(tmp_path / "access.db")).execute("PRAGMA table_info(one)")]
    assert columns == ["a", "b"]


def test_rotation_overlaps_and_revocation_does_not(registry: Registry) -> None:
    registry.caller()
    door = registry.door()
    old = registry.issue()
    new = registry.credentials.rotate(old.credential.id, 3600, "bob")
    for key in (old.shown, new.shown):
        assert door.admit(api_key=key, remote="10.0.0.1") == "east"
    registry.clock.ahead = 3601
    with pytest.raises(CallerRefused):
        door.admit(api_key=old.shown, remote="10.0.0.1")
    assert door.admit(api_key=new.shown, remote="10.0.0.1") == "east"
    with pytest.raises(CallersError):  # what has expired has no successor
        registry.credentials.rotate(old.credential.id, 3600, "bob")
    registry.credentials.revoke(new.credential.id, "bob", "lost")
    with pytest.raises(CallerRefused):
        door.admit(api_key=new.shown, remote="10.0.0.1")


def test_rotation_does_not_lengthen_the_old_one(registry: Registry) -> None:
    registry.caller()
    until = int(registry.clock()) + 100
    old = registry.issue(valid_until=until)
    registry.credentials.rotate(old.credential.id, 3600, "bob")
    assert registry.credentials.credential(old.credential.id).valid_until == until
