"""Full comparison: added, changed and removed rows, each exactly once, through crashes at every step."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.api import HubError
from tests.adapters.sql_support import Died, Kept, Reader, lite

TABLE = "CREATE TABLE dept (code TEXT PRIMARY KEY, name TEXT)"
FILL = "INSERT INTO dept VALUES ('01','内科'), ('02','外科'), ('03','儿科')"


def options(folder: Path, *statements: str, **read: Any) -> dict[str, Any]:
    how = {"by": "compare", "key": "code", "state": str(folder / "dept.state"), **read}
    return {"database": lite(folder / "his.db", *statements), "table": "dept", "read": how, "page": 2}


async def test_each_pass_tells_what_was_added_changed_and_removed(tmp_path: Path) -> None:
    intake = Kept()
    async with Reader(intake, **options(tmp_path, TABLE, FILL)) as reader:
        assert (await reader.run()).taken == 3
        assert intake.bodies[0] == {"code": "01", "name": "内科", "_change": "added"}
        assert (await reader.run()).taken == 0
        lite(
            tmp_path / "his.db",
            "UPDATE dept SET name='心外科' WHERE code='02'; DELETE FROM dept WHERE code='01';"
            "INSERT INTO dept VALUES ('04','眼科')",
        )
        assert (await reader.run()).taken == 3
        assert intake.bodies[3:] == [
            {"code": "02", "name": "心外科", "_change": "changed"},
            {"code": "04", "name": "眼科", "_change": "added"},
            {"code": "01", "_change": "removed"},
        ]
        assert (await reader.run()).taken == 0
        # The same row again is a change of its own, not a repetition of the first.
        lite(tmp_path / "his.db", "INSERT INTO dept VALUES ('01','内科')")
        assert (await reader.run()).taken == 1
        assert intake.ids == ["01@1", "02@1", "03@1", "02@2", "04@1", "01@2", "01@3"]
    assert stat.S_IMODE((tmp_path / "dept.state").stat().st_mode) == 0o600


@pytest.mark.parametrize("when", ["die_before", "die_after"])
@pytest.mark.parametrize("page", range(5))
async def test_after_a_crash_every_change_is_told_exactly_once(tmp_path: Path, page: int, when: str) -> None:
    intake = Kept()
    given = options(tmp_path, TABLE, FILL)
    async with Reader(intake, **given) as reader:
        await reader.run()
    lite(
        tmp_path / "his.db",
        "UPDATE dept SET name = name || '2'; DELETE FROM dept WHERE code = '03'; INSERT INTO dept VALUES ('04','x')",
    )
    setattr(intake, when, intake.pages + page)
    died = False
    async with Reader(intake, **given) as reader:
        try:
            await reader.run()
        except Died:
            died = True
    assert died is (page < 3)
    intake.die_before = intake.die_after = -1
    async with Reader(intake, **given) as reader:
        await reader.run()
        await reader.run()
    assert sorted(intake.ids) == ["01@1", "01@2", "02@1", "02@2", "03@1", "03@2", "04@1"]
    assert not intake.duplicates


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables=st.lists(st.dictionaries(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=5), data=st.data())
async def test_what_is_told_adds_up_to_the_table(
    tmp_path_factory: pytest.TempPathFactory, tables: list[dict[int, int]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("compare")
    intake = Kept()
    given = options(folder, TABLE)
    for table in [*tables, tables[-1]]:
        values = ", ".join(f"('{key}', '{value}')" for key, value in table.items())
        lite(folder / "his.db", "DELETE FROM dept", f"INSERT INTO dept VALUES {values}" if values else "")
        intake.die_after = intake.pages + data.draw(st.integers(0, 6))
        async with Reader(intake, **given) as reader:
            try:
                await reader.run()
            except Died:
                continue
    intake.die_after = -1
    async with Reader(intake, **given) as reader:
        await reader.run()
        await reader.run()
    known: dict[str, str] = {}
    for body in intake.bodies:
        if body["_change"] == "removed":
            del known[body["code"]]
        else:
            assert (body["code"] in known) is (body["_change"] == "changed")
            known[body["code"]] = body["name"]
    assert known == {str(key): str(value) for key, value in tables[-1].items()}
    assert not intake.duplicates


async def test_a_table_that_was_emptied_is_not_told_as_removed(tmp_path: Path) -> None:
    intake = Kept()
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 300) INSERT INTO dept SELECT i, i FROM n"
    given = {**options(tmp_path, TABLE, many), "page": 100}
    async with Reader(intake, **given) as reader:
        await reader.run()
        lite(tmp_path / "his.db", "CREATE TABLE kept AS SELECT * FROM dept; DELETE FROM dept")
        with pytest.raises(HubError, match="300 of 300"):
            await reader.run()
        lite(tmp_path / "his.db", "INSERT INTO dept SELECT * FROM kept")
        assert (await reader.run()).taken == 0
        lite(tmp_path / "his.db", "DELETE FROM dept WHERE CAST(code AS INTEGER) > 180")
        assert (await reader.run()).taken == 120
    assert len(intake.items) == 420


async def test_the_file_is_kept_in_the_data_folder_unless_told_otherwise(tmp_path: Path) -> None:
    reader = Reader(Kept(), **options(tmp_path, TABLE, state=""))
    reader.receiver.bound.data = tmp_path / "data"
    async with reader:
        await reader.run()
    assert (tmp_path / "data" / "sql" / "his.rows.compare").exists()


async def test_removed_rows_may_be_of_no_interest(tmp_path: Path) -> None:
    intake = Kept()
    async with Reader(intake, **options(tmp_path, TABLE, FILL, removed=False)) as reader:
        await reader.run()
        lite(tmp_path / "his.db", "DELETE FROM dept")
        assert (await reader.run()).taken == 0


async def test_a_key_that_is_not_unique_is_an_error(tmp_path: Path) -> None:
    given = options(
        tmp_path, "CREATE TABLE dept (code TEXT, name TEXT)", "INSERT INTO dept VALUES ('1','a'), ('1','b')"
    )
    async with Reader(Kept(), **given) as reader:
        with pytest.raises(HubError, match="same key"):
            await reader.run()


async def test_a_file_that_can_not_be_used_says_so(tmp_path: Path) -> None:
    given = options(tmp_path, TABLE, "CREATE TABLE other (code TEXT)")
    (tmp_path / "dept.state").write_bytes(b"this is no database, whatever else it may be" * 50)
    with pytest.raises(HubError, match=r"dept\.state"):
        async with Reader(Kept(), **given):
            pass
    (tmp_path / "dept.state").unlink()
    async with Reader(Kept(), **given):
        pass
    with pytest.raises(HubError, match="belongs to"):
        async with Reader(Kept(), **{**given, "table": "other"}):
            pass
