"""The loop of interfaces that are read: runs, failures, a busy store, orders, stopping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from adapters.polling import PollingReceiver, Run
from adapters.schedule import Schedule
from hub.api import Bound, HubError, IntakePort, Item, Receipt, StoreBusy, TransientError
from hub.message import Outcome


class Kept:
    """An intake that keeps what it is given, and refuses as often as it is told to."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.marks: dict[str, str] = {}
        self.runs: list[tuple[Mapping[str, str], HubError | None]] = []
        self.busy = 0

    async def take(
        self, bound: Bound, items: Sequence[Item], *, mark: str | None = None, name: str = "", remote: str = ""
    ) -> list[Receipt]:
        if self.busy:
            self.busy -= 1
            raise StoreBusy("full")
        self.items.extend(items)
        if mark is not None:
            self.marks[name] = mark
        return [Receipt(Outcome.REFUSED if item.raw == b"bad" else Outcome.OK) for item in items]

    async def mark(self, bound: Bound, name: str = "") -> str:
        return self.marks.get(name, "")

    def note_run(
        self,
        bound: Bound,
        *,
        started_us: int,
        params: Mapping[str, str],
        error: HubError | None = None,
        remote: str = "",
    ) -> None:
        self.runs.append((params, error))


class Numbers(PollingReceiver):
    """Reads the pages it was given, one run after the other."""

    def __init__(self, intake: Kept, pages: list[Any], **schedule: Any) -> None:
        bound = cast(Bound, type("Place", (), {"place": "his/rows"})())
        super().__init__(bound, cast(IntakePort, intake), Schedule(**schedule))
        self.pages = pages
        self.begun = 0
        self.changed = asyncio.Event()

    async def read(self, run: Run) -> None:
        self.begun += 1
        try:
            page = self.pages.pop(0) if self.pages else []
            if isinstance(page, Exception):
                raise page
            if callable(page):
                page = await page()
            if page:
                await self.take(run, [Item(raw) for raw in page], str(len(page)))
        finally:
            self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await asyncio.wait([asyncio.ensure_future(self.changed.wait())], timeout=0.05)


async def test_what_is_read_is_taken_with_its_mark_and_noted() -> None:
    intake = Kept()
    reader = Numbers(intake, [[b"a", b"bad"], [], [b"b"]], every="0.1s")
    await reader.start()
    await reader.until(lambda: len(intake.items) == 3 and len(intake.runs) == 2)
    await reader.stop(1)
    assert [item.raw for item in intake.items] == [b"a", b"bad", b"b"]
    assert intake.marks[""] == "1"
    assert intake.runs[0] == ({"run": "schedule", "taken": "1", "refused": "1"}, None)
    newest = reader.status()["runs"][0]
    assert (newest["error"], newest["reason"]) == ("", "schedule")


async def test_a_source_that_fails_is_tried_again_and_the_reason_is_kept() -> None:
    intake = Kept()
    reader = Numbers(intake, [TransientError("no route to 13812345678"), ValueError("bug"), [b"a"]], every="1h")
    await reader.start()
    await reader.until(lambda: reader.begun == 1)
    assert reader.status()["failures_in_a_row"] == 1
    reader.run_now()
    await reader.until(lambda: reader.begun == 2)
    reader.run_now()
    await reader.until(lambda: len(intake.runs) == 3)
    await reader.stop(1)
    assert reader.status()["failures_in_a_row"] == 0
    assert [item.raw for item in intake.items] == [b"a"]
    errors = [error for _, error in intake.runs]
    assert isinstance(errors[0], TransientError)
    assert "ValueError" in str(errors[1])
    assert "13812345678" not in str(reader.status())


async def test_a_failed_run_is_repeated_without_waiting_for_the_schedule() -> None:
    intake = Kept()
    reader = Numbers(intake, [TransientError("down"), [b"a"]], every="1h")
    await reader.start()
    await reader.until(lambda: bool(intake.items))
    await reader.stop(1)
    assert [params["run"] for params, _ in intake.runs] == ["schedule", "again"]


async def test_a_busy_store_holds_up_reading_and_loses_nothing() -> None:
    intake = Kept()
    intake.busy = 2
    reader = Numbers(intake, [[b"a"]], every="1h")
    await reader.start()
    await reader.until(lambda: bool(intake.runs))
    await reader.stop(1)
    assert [item.raw for item in intake.items] == [b"a"]
    assert intake.runs == [({"run": "schedule", "taken": "1"}, None)]


async def test_a_manual_interface_reads_when_asked_only() -> None:
    intake = Kept()
    reader = Numbers(intake, [[b"a"]], manual=True)
    await reader.start()
    await asyncio.sleep(0)
    assert (reader.begun, reader.status()["next_run"]) == (0, None)
    reader.run_now()
    await reader.until(lambda: bool(intake.runs))
    await reader.stop(1)
    assert intake.runs == [({"run": "manual", "taken": "1"}, None)]


async def test_stopping_waits_for_the_page_and_then_cuts_off() -> None:
    intake = Kept()
    slow = asyncio.Event()

    async def page() -> list[bytes]:
        await slow.wait()
        return [b"a"]

    reader = Numbers(intake, [page], every="1h")
    await reader.start()
    await reader.until(lambda: reader.status()["running"] is not None)
    stopping = asyncio.create_task(reader.stop(10))
    await asyncio.sleep(0)
    slow.set()
    await stopping
    assert [item.raw for item in intake.items] == [b"a"]

    async def never() -> list[bytes]:
        await asyncio.Event().wait()
        return []

    reader = Numbers(intake, [never], every="1h")
    await reader.start()
    await reader.until(lambda: reader.status()["running"] is not None)
    await reader.stop(0.01)
    assert reader.status()["running"] is None
    assert reader.status()["runs"][0]["error"]


async def test_cron_notes_when_it_ran_so_that_a_restart_makes_up_for_what_was_missed() -> None:
    intake = Kept()
    intake.marks["last run"] = "1000000000.000"
    reader = Numbers(intake, [[b"a"]], cron="30 2 * * *")
    await reader.start()
    await reader.until(lambda: bool(intake.runs))
    await reader.stop(1)
    assert float(intake.marks["last run"]) > 1.7e9
    again = Numbers(intake, [[b"b"]], cron="30 2 * * *")
    await again.start()
    await again.until(lambda: again.status()["next_run"] is not None)
    await again.stop(1)
    assert again.begun == 0


async def test_a_cron_line_is_kept_from_the_first_start_on() -> None:
    reader = Numbers(Kept(), [[b"a"]], cron="30 2 * * *")
    await reader.start()
    await reader.until(lambda: reader.status()["next_run"] is not None)
    reader.run_now()
    await reader.until(lambda: reader.begun == 1)
    await reader.stop(1)
