"""Opening: damage is named, leftovers are tidied up, older files are converted, a second writer is refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import apsw
import pytest

import hub.store.files
from hub.contract import StoreConfig
from hub.errors import HubError, StoreCorrupt
from hub.ids import IdGenerator, id_text
from hub.message import DeliveryState
from hub.store.base import CallQuery
from hub.store.reader import SqliteReader
from hub.store.segment import list_segments
from hub.store.sqlite import SqliteStore
from tests.store.conftest import SqliteOpener
from tests.store.store_support import DAY_US, finish, make_call, make_delivery, make_message, put, put_one

SMALL = StoreConfig.model_construct(segment_messages=10, min_free_disk=0)


async def filled(folder: Path, messages: int = 35, *, clean: bool = True) -> list[Path]:
    """A store of some segments of ten messages; ``clean=False``: as a crash would leave it. Returns the segments' files."""
    home = folder if clean else folder.with_name("running")
    store = SqliteStore(home, SMALL)
    await store.open()
    for number in range(messages):
        message = make_message(store, f"C{number}", os.urandom(3000))
        delivery = make_delivery(store, message)
        await put(store, message, [delivery], call=make_call(store))
        await finish(store, delivery, DeliveryState.DELIVERED)
    if not clean:
        shutil.copytree(home, folder)
    await store.close()
    return [segment.path for segment in list_segments(folder)]


async def opening_fails(folder: Path, name: str) -> StoreCorrupt:
    """Opening fails, names the file, says what to do, and leaves no lock behind."""
    for _ in range(2):
        with pytest.raises(StoreCorrupt) as caught:
            await SqliteStore(folder, SMALL).open()
        assert name in caught.value.text
        assert caught.value.remedy
    return caught.value


class TestDamage:
    @pytest.mark.parametrize("place", [0, 1, -1])
    async def test_a_truncated_segment(self, tmp_path: Path, place: int) -> None:
        path = (await filled(tmp_path / "s"))[place]
        os.truncate(path, path.stat().st_size // 2)
        error = await opening_fails(tmp_path / "s", path.name)
        assert "truncated" in error.text

    @pytest.mark.parametrize("size", [0, 50])
    async def test_an_empty_segment(self, tmp_path: Path, size: int) -> None:
        path = (await filled(tmp_path / "s"))[1]
        os.truncate(path, size)
        await opening_fails(tmp_path / "s", path.name)

    @pytest.mark.parametrize("place", [0, -1])
    async def test_an_overwritten_header(self, tmp_path: Path, place: int) -> None:
        path = (await filled(tmp_path / "s"))[place]
        with path.open("r+b") as file:
            file.write(os.urandom(100))
        await opening_fails(tmp_path / "s", path.name)

    async def test_an_overwritten_schema(self, tmp_path: Path) -> None:
        path = (await filled(tmp_path / "s"))[1]
        with path.open("r+b") as file:
            file.seek(100)
            file.write(os.urandom(4000))
        await opening_fails(tmp_path / "s", path.name)

    async def test_overwritten_pages_are_found_after_a_crash(self, tmp_path: Path) -> None:
        path = (await filled(tmp_path / "s"))[-1]
        catalog = apsw.Connection(str(tmp_path / "s" / "catalog.db"))
        catalog.execute("UPDATE meta SET value = 0 WHERE key = 'clean'")
        catalog.close()
        pages = path.stat().st_size // 8192
        with path.open("r+b") as file:
            for page in range(3, pages):
                file.seek(page * 8192)
                file.write(bytes([page % 251]) * 4000)
        await opening_fails(tmp_path / "s", path.name)

    async def test_overwritten_pages_are_found_by_a_check(self, tmp_path: Path) -> None:
        paths = await filled(tmp_path / "s")
        reader = SqliteReader(tmp_path / "s")
        assert await reader.check() == []
        with paths[1].open("r+b") as file:
            file.seek(20 * 8192)
            file.write(os.urandom(8192))
        findings = await reader.check()
        assert findings
        assert all(finding.startswith(paths[1].name) for finding in findings)
        await reader.close()

    async def test_a_missing_segment(self, tmp_path: Path) -> None:
        path = (await filled(tmp_path / "s"))[1]
        path.unlink()
        error = await opening_fails(tmp_path / "s", path.name)
        assert "missing" in error.text

    @pytest.mark.parametrize("place", [1, -1])
    async def test_a_missing_segment_can_be_given_up_and_the_ledger_says_so(self, tmp_path: Path, place: int) -> None:
        path = (await filled(tmp_path / "s"))[place]
        backup = path.read_bytes()
        path.unlink()
        path.with_suffix(".lost").touch()
        for _ in range(2):
            store = SqliteStore(tmp_path / "s", SMALL)
            await store.open()
            await put_one(store)
            report = await store.reader.verify_ledger()
            assert not report.balanced
            assert path.stem.removeprefix("segment-") in report.problems[0]
            assert ("11–20" in str(report.problems)) is (place == 1)
            await store.close()
        if place == 1:
            path.write_bytes(backup)
            store = SqliteStore(tmp_path / "s", SMALL)
            await store.open()
            report = await store.reader.verify_ledger()
            assert report.balanced, report.problems
            assert report.messages == 37
            await store.close()

    async def test_a_missing_catalog(self, tmp_path: Path) -> None:
        await filled(tmp_path / "s")
        (tmp_path / "s" / "catalog.db").unlink()
        await opening_fails(tmp_path / "s", "catalog.db")

    async def test_a_damaged_catalog(self, tmp_path: Path) -> None:
        await filled(tmp_path / "s")
        with (tmp_path / "s" / "catalog.db").open("r+b") as file:
            file.write(b"nonsense")
        await opening_fails(tmp_path / "s", "catalog.db")

    async def test_a_missing_table(self, tmp_path: Path) -> None:
        path = (await filled(tmp_path / "s"))[-1]
        connection = apsw.Connection(str(path))
        connection.execute("DROP TABLE fixed")
        connection.close()
        error = await opening_fails(tmp_path / "s", path.name)
        assert "fixed" in error.text

    async def test_a_torn_end_of_the_wal_loses_nothing_committed(self, tmp_path: Path) -> None:
        path = (await filled(tmp_path / "s", clean=False))[-1]
        wal = path.with_name(path.name + "-wal")
        with wal.open("ab") as file:
            file.write(os.urandom(5000))
        store = SqliteStore(tmp_path / "s", SMALL)
        await store.open()
        assert (await store.reader.size())["messages"] == 35
        assert (await store.reader.verify_ledger()).balanced
        await store.close()

    async def test_a_reader_names_damage_too(self, tmp_path: Path) -> None:
        path = (await filled(tmp_path / "s"))[-1]
        with path.open("r+b") as file:
            file.write(b"no database at all")
        reader = SqliteReader(tmp_path / "s")
        with pytest.raises(StoreCorrupt):
            await reader.calls(CallQuery())
        await reader.close()


class TestLeftovers:
    async def test_an_unfinished_segment_is_made_again(self, tmp_path: Path) -> None:
        await filled(tmp_path / "s")
        leftover = tmp_path / "s" / f"making-segment-{id_text(IdGenerator().next())}.db"
        leftover.touch()
        store = SqliteStore(tmp_path / "s", SMALL)
        await store.open()
        assert not leftover.exists()
        assert (await store.reader.size())["messages"] == 35
        await store.close()

    async def test_a_segment_the_catalog_does_not_know_yet_is_taken_in(self, tmp_path: Path) -> None:
        await filled(tmp_path / "s")
        catalog = apsw.Connection(str(tmp_path / "s" / "catalog.db"))
        catalog.execute("DELETE FROM segment WHERE first_id = (SELECT max(first_id) FROM segment)")
        catalog.close()
        store = SqliteStore(tmp_path / "s", SMALL)
        await store.open()
        await put_one(store)
        report = await store.reader.verify_ledger()
        assert report.balanced, report.problems
        assert report.messages == 36
        await store.close()

    async def test_a_removal_that_was_decided_is_finished(self, tmp_path: Path) -> None:
        path = (await filled(tmp_path / "s"))[0]
        catalog = apsw.Connection(str(tmp_path / "s" / "catalog.db"))
        catalog.execute("UPDATE segment SET state = 1 WHERE first_id = 0")
        catalog.execute("INSERT INTO pruned VALUES (1, 10, 0, 0)")
        catalog.close()
        store = SqliteStore(tmp_path / "s", SMALL)
        await store.open()
        assert not path.exists()
        assert (await store.reader.verify_ledger()).messages == 25
        await store.close()

    async def test_other_files_do_not_matter(self, tmp_path: Path) -> None:
        await filled(tmp_path / "s")
        (tmp_path / "s" / "segment-notes.db").write_text("mine")
        store = SqliteStore(tmp_path / "s", SMALL)
        await store.open()
        assert (await store.reader.size())["segments"] == 4
        await store.close()


class TestVersions:
    async def test_a_newer_schema_is_refused(self, tmp_path: Path) -> None:
        path = (await filled(tmp_path / "s"))[-1]
        connection = apsw.Connection(str(path))
        connection.execute("UPDATE meta SET value = 999 WHERE key = 'schema_version'")
        connection.close()
        error = await opening_fails(tmp_path / "s", path.name)
        assert "999" in error.text

    async def test_an_older_schema_is_converted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        paths = await filled(tmp_path / "s")
        version = hub.store.files.SCHEMA_VERSION
        monkeypatch.setattr(hub.store.files, "SCHEMA_VERSION", version + 2)
        steps = {
            version: "ALTER TABLE call ADD COLUMN extra",
            version + 1: lambda c: c.execute("UPDATE call SET extra = 7"),
        }
        monkeypatch.setitem(hub.store.files.MIGRATIONS, "segment", steps)
        monkeypatch.setitem(hub.store.files.MIGRATIONS, "catalog", {version: "SELECT 1", version + 1: "SELECT 1"})
        monkeypatch.setattr("hub.store.reader.SCHEMA_VERSION", version + 2)
        store = SqliteStore(tmp_path / "s", SMALL)
        await store.open()
        assert (await store.reader.verify_ledger()).balanced
        await store.close()
        for path in paths:
            connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            assert connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchall() == [
                (version + 2,)
            ]
            assert connection.execute("SELECT DISTINCT extra FROM call").fetchall() == [(7,)]
            connection.close()

    async def test_a_failing_conversion_changes_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = (await filled(tmp_path / "s", 5))[-1]
        version = hub.store.files.SCHEMA_VERSION
        with monkeypatch.context() as patch:
            patch.setattr(hub.store.files, "SCHEMA_VERSION", version + 2)
            patch.setitem(hub.store.files.MIGRATIONS, "segment", {version: "ALTER TABLE call ADD COLUMN extra"})
            patch.setitem(hub.store.files.MIGRATIONS, "catalog", {version: "SELECT 1", version + 1: "SELECT 1"})
            await opening_fails(tmp_path / "s", path.name)
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        assert connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchall() == [(version,)]
        assert "extra" not in str(connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'call'").fetchall())
        connection.close()

    async def test_a_reader_of_another_version_says_so(self, tmp_path: Path) -> None:
        await filled(tmp_path / "s", 5)
        catalog = apsw.Connection(str(tmp_path / "s" / "catalog.db"))
        catalog.execute("UPDATE meta SET value = 0 WHERE key = 'schema_version'")
        catalog.close()
        reader = SqliteReader(tmp_path / "s")
        with pytest.raises(HubError) as caught:
            await reader.calls(CallQuery())
        assert caught.value.code == "store.version"
        assert "start the hub once" in caught.value.remedy
        await reader.close()


class TestOneWriter:
    async def test_a_second_writer_is_refused_with_the_pid(self, opener: SqliteOpener) -> None:
        store = await opener()
        with pytest.raises(HubError) as caught:
            await SqliteStore(store.folder, SMALL).open()
        assert caught.value.code == "store.locked"
        assert str(os.getpid()) in caught.value.text
        await put_one(store)

    async def test_the_folder_is_private(self, opener: SqliteOpener) -> None:
        store = await opener()
        assert store.folder.stat().st_mode & 0o077 == 0


class TestClock:
    async def test_a_clock_set_back_does_not_break_order_or_numbers(
        self, opener: SqliteOpener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import time

        store = await opener()
        first, _ = await put_one(store)
        await store.close()
        real = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: real() - 3600 * 10**9)
        again = await opener()
        second = make_message(again, "C1", b"x")
        await put(again, second, [make_delivery(again, second)], window=DAY_US)
        assert second.id > first.id
        assert second.received_at < first.received_at
        opened = await again.open_deliveries("lis/in", 0, 10, 1 << 20)
        assert [d.message_id for d in opened] == [first.id, second.id]
        assert (await again.reader.verify_ledger()).balanced


class TestNumbers:
    @pytest.mark.parametrize("clean", [True, False])
    async def test_go_on_where_they_ended(self, tmp_path: Path, clean: bool) -> None:
        await filled(tmp_path / "s", 25, clean=clean)
        store = SqliteStore(tmp_path / "s", SMALL)
        await store.open()
        for _ in range(10):
            await put_one(store)
        report = await store.reader.verify_ledger()
        assert report.balanced, report.problems
        assert report.messages == 35
        await store.close()
