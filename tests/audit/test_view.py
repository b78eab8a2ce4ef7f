"""All chains as one: order, filters, pages; and the files people take away."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.audit import entry
from hub.audit.config_state import config_state
from hub.audit.tables import written
from hub.audit.view import AuditQuery, find, newest, next_page
from tests.audit.audit_support import World


def numbers(world: World, **query: object) -> list[tuple[str, int]]:
    return [(row["chain"], row["seq"]) for _, row in find(world.keeper.chains(), AuditQuery(**query))]  # type: ignore[arg-type]


@pytest.fixture
def filled(world: World) -> World:
    world.fill(2)
    trail = world.keeper.trail
    trail.record("zhao", "access.message.read", "0SC9WMJQW0001", {"records": 1}, address="10.0.0.7")
    trail.record("-", "auth.refused", "/api/v1/messages", result="refused")
    return world


def test_in_the_order_of_time(filled: World) -> None:
    assert numbers(filled) == [
        *(("hub", 1), ("worker-00", 1), ("worker-01", 1)),
        *(("hub", 2), ("worker-00", 2), ("worker-01", 2)),
        *(("hub", 3), ("hub", 4)),
    ]
    rows = [row for _, row in find(filled.keeper.chains(), AuditQuery())]
    assert [row.get("worker") for row in rows[:3]] == [None, 0, 1]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"actor": "li"}, 2),
        ({"actor": "*"}, 8),
        ({"actor": "l*"}, 2),
        ({"actor": "[l]i"}, 0),
        ({"action": "delivery.*"}, 4),
        ({"action": "config.reload"}, 2),
        ({"subject": "1 deliveries"}, 2),
        ({"address": "10.0.0.7"}, 1),
        ({"kind": "access"}, 1),
        ({"kind": "security"}, 1),
        ({"result": "refused"}, 1),
        ({"result": "done"}, 7),
        ({"chain": "worker-01"}, 2),
        ({"after_number": 1}, 5),
        ({"until_us": 1}, 0),
        ({"since_us": 1 << 60}, 0),
    ],
)
def test_filters(filled: World, query: dict[str, object], count: int) -> None:
    assert len(numbers(filled, **query)) == count


@settings(max_examples=8, deadline=None, derandomize=True)
@given(limit=st.integers(1, 9))
def test_pages_are_the_whole(limit: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        world.fill(3)
        chains = world.keeper.chains()
        found: list[tuple[str, int]] = []
        query = AuditQuery()
        while True:
            page, following = next_page(chains, query, limit)
            assert len(page) <= limit
            found += [(row["chain"], row["seq"]) for row in page]
            if not following:
                break
            at, chain, seq = following.split(".")
            query = AuditQuery(after=(int(at), chain, int(seq)))
        assert found == numbers(world)
        assert [(row["chain"], row["seq"]) for row in newest(chains, AuditQuery(), limit)] == found[-limit:]
        world.close()


def test_a_clock_that_was_set_back_loses_nothing(world: World) -> None:
    for at in (3_000_000, 1_000_000, 2_000_000):
        world.keeper.trail.append(entry("li", "x.y", str(at)) | {"at": at})
    page, following = next_page(world.keeper.chains(), AuditQuery(), 2)
    at, chain, seq = following.split(".")
    rest, _ = next_page(world.keeper.chains(), AuditQuery(after=(int(at), chain, int(seq))), 2)
    assert [row["seq"] for row in [*page, *rest]] == [1, 2, 3]


def test_a_damaged_entry_is_shown_as_such(filled: World) -> None:
    filled.edit("worker-00", "UPDATE {t} SET entry = '[' WHERE seq = 1")
    assert len(numbers(filled)) == 8
    assert numbers(filled, actor="?") == [("worker-00", 1)]


# -- files -----------------------------------------------------------------------------------------------------------


def file(world: World, form: str) -> bytes:
    return b"".join(written((row for _, row in find(world.keeper.chains(), AuditQuery())), form))  # type: ignore[arg-type]


def test_csv(filled: World) -> None:
    filled.keeper.trail.record("=1+1", "x.y", '@SUM("A")', {}, "-2\n3,\x00")
    data = file(filled, "csv")
    assert data.startswith(b"\xef\xbb\xbftime,class,actor")
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert len(rows) == 9
    assert (rows[-1]["actor"], rows[-1]["subject"]) == ("'=1+1", '\'@SUM("A")')
    assert rows[-1]["reason"].startswith("'-2")
    assert (rows[6]["address"], rows[6]["class"], rows[7]["result"]) == ("10.0.0.7", "access", "refused")
    assert json.loads(rows[1]["detail"]) == {"n": 0}
    assert len(rows[0]["hash"]) == 64


def test_excel(filled: World) -> None:
    filled.keeper.trail.record("=1+1", "x.y", "a\x01b", {"long": ["x" * 1000] * 40}, "\ud800")
    sheet = openpyxl.load_workbook(io.BytesIO(file(filled, "xlsx")), read_only=True).active
    assert sheet is not None
    rows = list(sheet.iter_rows(values_only=True))
    assert (len(rows), rows[0][0], rows[-1][2]) == (10, "time", "=1+1")
    assert rows[-1][5] == "a·b"


def test_json(filled: World) -> None:
    rows = json.loads(file(filled, "json"))["entries"]
    assert [(row["chain"], row["seq"]) for row in rows] == numbers(filled)


# -- configuration ---------------------------------------------------------------------------------------------------


def test_what_changed_in_the_configuration(tmp_path: Path) -> None:
    hub = tmp_path / "config" / "hub.yaml"
    (tmp_path / "config" / "systems").mkdir(parents=True)
    more = tmp_path / "config" / "systems" / "his.yaml"
    hub.write_text("name: a\nlog: {level: info}\nadmin: {token: 'env:X'}\n")
    more.write_text("systems: {his: {plugin: his, settings: {password: tiger, url: 'http://a'}}}\n")
    before = config_state(hub)
    assert before.diff(config_state(hub)) == {"before": before.whole, "after": before.whole, "files": {}}
    hub.write_text("name: b\nlog: {level: info, format: json}\n")
    more.write_text("systems: {his: {plugin: his, settings: {password: lion, url: 'http://a'}}}\n")
    found = before.diff(config_state(hub))
    assert found["files"]["config/hub.yaml"]["keys"] == ["-admin.token", "+log.format", "~name"]
    assert found["files"]["config/systems/his.yaml"]["keys"] == ["~systems.his.settings.password"]
    assert found["before"] != found["after"]
    assert "tiger" not in str(found)
    assert "lion" not in str(found)
    assert "tiger" not in repr(before)
    more.unlink()
    found = before.diff(config_state(hub))["files"]["config/systems/his.yaml"]
    assert (found["after"], len(found["keys"])) == ("", 3)


def test_a_file_of_aliases_costs_no_more_than_others(tmp_path: Path) -> None:
    hub = tmp_path / "config" / "hub.yaml"
    hub.parent.mkdir()
    hub.write_text("name: a\n")
    before = config_state(hub)
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    hub.write_text(bomb)
    assert before.diff(config_state(hub))["files"]["config/hub.yaml"]["keys"] == ["-name"]
