"""What crosses the border of segments: duplicates, late messages, attempts of old deliveries, reading and writing at once."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from hub.contract import StoreConfig
from hub.message import CallRecord, DeliveryState, Outcome
from hub.store.base import CallQuery, DeliveryQuery, MessageQuery, Put, PutResult
from hub.store.duplicates import ControlFilter
from hub.store.merged import open_reader
from hub.store.reader import SqliteReader
from hub.store.segment import list_segments
from hub.store.sqlite import SqliteStore
from tests.store.conftest import SqliteOpener
from tests.store.store_support import (
    DAY_US,
    HOUR_US,
    finish,
    make_call,
    make_delivery,
    make_message,
    put,
    put_one,
    until,
)


async def balanced(store: SqliteStore) -> None:
    report = await store.reader.verify_ledger()
    assert report.balanced, report.problems


class TestRolling:
    async def test_a_segment_never_gets_more_than_its_share(self, opener: SqliteOpener) -> None:
        store = await opener(segment_messages=50)
        results: list[PutResult] = []
        for number in range(520):
            store.put(make_message(store, raw=b"%d" % number), [], results.append)
        await put_one(store)
        segments = store.reader.segments()
        assert len(segments) == 11
        counts = await store.reader.ask(
            lambda found: [s.connection().execute("SELECT count(*) FROM message").fetchall()[0][0] for s in found]
        )
        assert max(counts) == 50
        assert sum(counts) == 521
        await balanced(store)

    async def test_messages_that_come_after_the_border_with_ids_from_before(self, opener: SqliteOpener) -> None:
        store = await opener(segment_messages=5)
        early = make_message(store, "E", b"early")
        deliveries = [make_delivery(store, early)]
        straddling = make_message(store, "S", b"straddling")
        for _ in range(12):
            await put_one(store)
        call = make_call(store)
        assert (await put(store, early, deliveries, window=DAY_US, call=call)).outcome is Outcome.OK
        later = [make_delivery(store, straddling, target) for target in ("lis/in", "pacs/in")]
        call = make_call(store)
        assert (await put(store, straddling, later, window=DAY_US, call=call)).outcome is Outcome.OK
        assert await store.reader.message(early.id) == early
        assert await store.reader.message(straddling.id) == straddling
        assert [d.id for d in await store.reader.deliveries_of(straddling.id)] == [d.id for d in later]
        assert [c.id for c in await store.reader.calls_of(straddling.id)] == [call.id]
        await balanced(store)
        for sent in (early, straddling):
            again = make_message(store, sent.control_id, sent.raw)
            result = await put(store, again, [make_delivery(store, again)], window=DAY_US)
            assert (result.outcome, result.earlier) == (Outcome.DUPLICATE, sent.id)
        await store.close()
        again = await opener(segment_messages=5)
        await put_one(again)
        await balanced(again)

    async def test_a_repeated_message_whose_deliveries_straddle_is_a_duplicate(self, opener: SqliteOpener) -> None:
        store = await opener(segment_messages=5)
        first = make_message(store, "S", b"same")
        await put(store, first, window=DAY_US)
        second = make_message(store, "S", b"same")
        for _ in range(12):
            await put_one(store)
        call = make_call(store)
        result = await put(store, second, [make_delivery(store, second)], window=DAY_US, call=call)
        assert (result.outcome, result.earlier) == (Outcome.DUPLICATE, first.id)
        assert [c.id for c in await store.reader.calls_of(first.id)] == [call.id]
        await balanced(store)

    async def test_messages_stored_together_that_fall_into_several_segments(self, opener: SqliteOpener) -> None:
        store = await opener(segment_messages=5)
        made = []
        for number in range(9):
            message = make_message(store, f"T{number}", b"together")
            made.append(Put(message, [make_delivery(store, message)], DAY_US, make_call(store)))
            await put_one(store)
        repeat = make_message(store, "T8", b"together")
        results = await store.put_together([*made, Put(repeat, (), DAY_US)], mark=("his/rows", "9"))
        assert [r.outcome for r in results] == [Outcome.OK] * 9 + [Outcome.DUPLICATE]
        assert results[-1].earlier == made[-1].message.id
        assert (await store.reader.mark("his/rows"))[1] == "9"
        for each in made:
            assert await store.reader.message(each.message.id) == each.message
            assert [d.id for d in await store.reader.deliveries_of(each.message.id)] == [each.deliveries[0].id]
        await balanced(store)
        results = await store.put_together(
            [Put(make_message(store, p.message.control_id, b"together"), (), DAY_US) for p in made]
        )
        assert {r.outcome for r in results} == {Outcome.DUPLICATE}
        await store.close()
        again = await opener(segment_messages=5)
        assert (await again.reader.mark("his/rows"))[1] == "9"
        await balanced(again)

    async def test_a_mark_noted_late_in_an_older_segment_is_the_newest(self, opener: SqliteOpener) -> None:
        store = await opener(segment_messages=5)
        late = make_message(store)
        for number in range(12):
            await store.put_together([Put(make_message(store))], mark=("m", str(number)))
        await store.put_together([Put(late)], mark=("m", "late"))
        assert (await store.reader.mark("m"))[1] == "late"

    async def test_marks_of_old_and_new_deliveries_in_one_batch_report_in_order(self, opener: SqliteOpener) -> None:
        store = await opener(segment_messages=5)
        made = [(await put_one(store))[1] for _ in range(40)]
        order: list[int] = []
        for number in (39, 0, 20, 1, 38, 10, 2):
            made[number].state = DeliveryState.DELIVERED
            store.finish(made[number], make_call(store, delivery_id=made[number].id), lambda n=number: order.append(n))  # type: ignore[misc]
        await put_one(store)
        assert order == [39, 0, 20, 1, 38, 10, 2]
        for number in order:
            found = await store.reader.delivery(made[number].id)
            assert found is not None
            assert found.state is DeliveryState.DELIVERED
        await balanced(store)

    async def test_new_attempts_of_old_deliveries_are_the_newest_calls(self, opener: SqliteOpener) -> None:
        store = await opener(segment_messages=5)
        _, old = await put_one(store)
        calls: list[CallRecord] = []
        for number in range(30):
            await put_one(store)
            call = make_call(store, "lis/in", Outcome.TRANSIENT if number % 2 else Outcome.OK, delivery_id=old.id)
            if number % 3:
                store.log(make_call(store, "other/in"))
            await finish(store, old, DeliveryState.RETRYING, call)
            calls.append(call)
        found = await store.reader.calls(CallQuery(place="lis", limit=10))
        assert [c.id for c in found] == [c.id for c in reversed(calls)][:10]
        failed = await store.reader.calls(CallQuery(place="lis/in", outcomes=[Outcome.TRANSIENT], limit=4))
        assert [c.id for c in failed] == [c.id for c in reversed(calls) if c.outcome is Outcome.TRANSIENT][:4]

    async def test_more_old_segments_than_are_kept_open(self, opener: SqliteOpener) -> None:
        store = await opener(segment_messages=5)
        made = [(await put_one(store))[1] for _ in range(60)]
        for delivery in made:
            await finish(store, delivery, DeliveryState.DELIVERED)
        assert await store.open_targets() == {}
        await balanced(store)


class TestDuplicatesAcrossSegments:
    @pytest.mark.parametrize("restart", [False, True])
    async def test_are_found_in_every_segment_of_the_window(self, opener: SqliteOpener, restart: bool) -> None:
        store = await opener(segment_messages=10)
        sent = [make_message(store, f"C{n}", b"%d" % n) for n in range(45)]
        for message in sent:
            await put(store, message, window=DAY_US)
        if restart:
            await store.close()
            store = await opener(segment_messages=10)
        for _ in range(2):  # the first time asks for the filters, later they are there
            for message in sent[::3]:
                again = await put(store, make_message(store, message.control_id, message.raw), window=DAY_US)
                assert (again.outcome, again.earlier) == (Outcome.DUPLICATE, message.id)
            loader = store._writer.detector._loader
            firsts = [entry.first_id for entry in store._writer.segments.entries[:-1]]
            await until(lambda: all(loader.get(first) is not None for first in firsts))  # noqa: B023
        conflict = await put(store, make_message(store, "C2", b"other"), window=DAY_US)
        assert (conflict.outcome, conflict.earlier) == (Outcome.CONFLICT, sent[2].id)
        fresh = await put(store, make_message(store, "new", b"other"), window=DAY_US)
        assert fresh.outcome is Outcome.OK
        await balanced(store)

    async def test_segments_before_the_window_do_not_count(self, opener: SqliteOpener) -> None:
        store = await opener(segment_messages=10)
        start = make_message(store).received_at
        for number in range(25):
            await put(store, make_message(store, f"C{number}", received_at=start - 3 * HOUR_US), window=HOUR_US)
        for number in range(25):
            result = await put(store, make_message(store, f"C{number}", received_at=start), window=HOUR_US)
            assert result.outcome is Outcome.OK
        for number in range(25):
            result = await put(store, make_message(store, f"C{number}", received_at=start), window=HOUR_US)
            assert result.outcome is Outcome.DUPLICATE

    def test_a_filter_never_forgets_and_seldom_errs(self) -> None:
        made = ControlFilter(10_000)
        for number in range(10_000):
            made.add("his/adt", str(number))
        assert all(("his/adt", str(number)) in made for number in range(10_000))
        wrong = sum(("his/adt", f"x{number}") in made for number in range(10_000))
        assert wrong < 500
        assert made.size <= 32_768


class TestReadingMeanwhile:
    async def test_a_reader_notices_new_segments(self, opener: SqliteOpener) -> None:
        store = await opener(segment_messages=5)
        reader = SqliteReader(store.folder)
        for _ in range(23):
            message, _ = await put_one(store)
            assert await reader.message(message.id) is not None
        assert len(reader.segments()) == 5
        await reader.close()

    async def test_another_process_reads_while_the_hub_writes(self, opener: SqliteOpener) -> None:
        store = await opener(segment_messages=200)
        stop = False

        async def write() -> None:
            while not stop:
                await put_one(store)

        writing = [asyncio.create_task(write()) for _ in range(8)]
        script = (
            "import asyncio, sys\nfrom pathlib import Path\nfrom hub.store.merged import open_reader\n"
            "async def main():\n"
            "    reader = open_reader([Path(sys.argv[1])])\n"
            "    last = 0\n"
            "    for _ in range(20):\n"
            "        report = await reader.verify_ledger()\n"
            "        assert report.balanced, report.problems\n"
            "        assert report.messages >= last\n"
            "        last = report.messages\n"
            "    print(last)\n"
            "asyncio.run(main())\n"
        )
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(store.folder), stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        output, _ = await asyncio.wait_for(child.communicate(), 120)
        stop = True
        await asyncio.gather(*writing)
        assert child.returncode == 0
        assert int(output) > 0

    async def test_the_ledger_balances_while_changes_of_several_files_are_made(self, opener: SqliteOpener) -> None:
        store = await opener(segment_messages=20)
        messages = [(await put_one(store))[0] for _ in range(50)]
        stop = False

        async def forward() -> None:
            number = 0
            while not stop:
                message = messages[number % 50]
                number += 1
                made = make_delivery(store, message, "emr/in", route="")
                await store.apply(create=[made], audit={"actor": "li"})
                await finish(store, made, DeliveryState.DELIVERED)

        working = asyncio.create_task(forward())
        for _ in range(15):
            await balanced(store)
        stop = True
        await working
        await balanced(store)

    async def test_what_is_stored_is_found_at_once(self, opener: SqliteOpener) -> None:
        store = await opener(segment_messages=5)
        sent = []
        for number in range(12):
            message = make_message(store, f"C{number}", keys={"patient_id": str(number % 3), "name": "张三丰"})
            await put(store, message, [make_delivery(store, message)])
            sent.append(message)
        for reader in (store.reader, open_reader([store.folder, store.folder / "none"])):
            (row,) = (await reader.search(MessageQuery(control_id="C7"))).rows
            assert (row.id, row.type, row.deliveries) == (sent[7].id, "ADT^A01", [("lis/in", DeliveryState.PENDING)])
            page = await reader.search(MessageQuery(keys={"patient_id": "1"}, limit=3))
            assert [row.id for row in page.rows] == [m.id for m in sent[::-1] if m.keys["patient_id"] == "1"][:3]
            assert page.more
        size = await store.reader.size()
        assert (size["messages"], size["key_lag"], size["text_lag"]) == (12, 12, 12)

    async def test_an_empty_or_missing_folder_has_no_answers(self, tmp_path: Path) -> None:
        reader = SqliteReader(tmp_path / "none")
        assert await reader.message(1) is None
        assert await reader.calls(CallQuery()) == []
        assert await reader.audit() == []
        assert (await reader.verify_ledger()).balanced
        assert (await reader.size())["messages"] == 0
        await reader.close()


class TestMerged:
    async def test_several_workers_read_as_one(self, tmp_path: Path) -> None:
        stores = [SqliteStore(tmp_path / str(w), StoreConfig(min_free_disk=0), worker=w) for w in range(3)]
        for store in stores:
            await store.open()
        made = [await put_one(stores[n % 3]) for n in range(12)]
        for number, (_, delivery) in enumerate(made[:6]):
            await finish(stores[number % 3], delivery, DeliveryState.DEAD, make_call(stores[number % 3], "lis/in"))
        await stores[1].apply(audit={"actor": "li"})
        reader = open_reader([store.folder for store in stores])
        for message, delivery in made:
            assert await reader.message(message.id) is not None
            assert await reader.delivery(delivery.id) is not None
            assert [d.id for d in await reader.deliveries_of(message.id)] == [delivery.id]
        found = await reader.deliveries(DeliveryQuery(limit=5))
        assert [d.id for d in found] == sorted((d.id for _, d in made), reverse=True)[:5]
        oldest = await reader.deliveries(DeliveryQuery(limit=5, oldest_first=True))
        assert [d.id for d in oldest] == sorted(d.id for _, d in made)[:5]
        calls = await reader.calls(CallQuery())
        assert len(calls) == 6
        assert [c.id for c in calls] == sorted((c.id for c in calls), reverse=True)
        counts = await reader.counts()
        assert counts == {("lis/in", DeliveryState.DEAD): 6, ("lis/in", DeliveryState.PENDING): 6}
        report = await reader.verify_ledger()
        assert report.balanced
        assert report.messages == 12
        assert [(row.routed, row.dead, row.moving) for row in report.rows] == [(12, 6, 6)]
        assert await reader.check() == []
        assert (await reader.size())["messages"] == 12
        assert [(e["worker"], e["seq"]) for e in await reader.audit()] == [(1, 1)]
        assert len(await reader.calls_of(made[0][0].id)) == 1
        await reader.close()
        for store in stores:
            await store.close()

    async def test_names_of_segments(self, opener: SqliteOpener) -> None:
        store = await opener(segment_messages=5)
        for _ in range(12):
            await put_one(store)
        segments = list_segments(store.folder)
        assert [s.first_id for s in segments] == sorted(s.first_id for s in segments)
        assert segments[0].first_id == 0
        assert segments[-1].last_id is None
        for older, newer in itertools.pairwise(segments):
            assert older.last_id == newer.first_id - 1
