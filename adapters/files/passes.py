"""One run over a folder: what an earlier one left, then what is new, page by page into the hub and out of the way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from adapters.files.answering import AnswerFile
from adapters.files.backend import Backend, Entry, FileMissing, shown
from adapters.files.finishing import Finisher
from adapters.files.looking import Look
from adapters.files.naming import NameRules, unusable
from adapters.files.options import Reading
from adapters.files.pages import PagedFile, judged
from adapters.files.state import MAX_WAITING, Done, Part, State, fingerprint
from adapters.polling import PollingReceiver, Run
from hub.api import HubError, Item, Receipt, SendError
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["Memory", "Pass"]

#: Files remembered for which a failure was told.
_TOLD = 10_000
#: Failures of these kinds end a run: the next file would fail in the same way.
_CONNECTION = frozenset(("file.lost", "file.timeout", "file.unreachable", "file.login"))


@dataclass(slots=True)
class Memory:
    """What stays from one run to the next, until a restart."""

    look: Look
    rules: NameRules | None
    state: State | None = None  # None: to be read from the marks
    archived: dict[str, int] = field(default_factory=dict)  # see Finisher
    told: set[str] = field(default_factory=set)  # files with which something could not be done
    files: int = 0  # taken
    refused: int = 0  # files


class Pass:
    """One run over the folder."""

    def __init__(
        self,
        receiver: PollingReceiver,
        run: Run,
        options: Reading,
        memory: Memory,
        state: State,
        backend: Backend,
        answers: Backend,
        *,
        fresh: bool,
    ) -> None:
        """``answers``: a connection for answer files; ``fresh``: the state comes from the marks, and what followed the last commit
        is not known."""
        self._receiver, self._run, self._options, self._memory, self._state = receiver, run, options, memory, state
        self._backend, self._answers, self._fresh = backend, answers, fresh
        self._bound, self._rules = receiver.bound, memory.rules
        self._now = datetime.now(ZoneInfo(self._options.schedule.tz))
        self._finisher = Finisher(backend, self._options, memory.look.marker_of, self._now, memory.archived)
        self._failure: HubError | None = None
        self._page: list[tuple[Entry, Item]] = []
        self._size = 0

    async def go(self) -> None:
        look, state = self._memory.look, self._state
        entries = await look.candidates(self._backend)
        there = {entry.path: entry for entry in look.listing}
        own = {(item.path, item.size, item.stamp) for item in (*state.done, *([state.part] if state.part else ()))}
        await self._finish_left(there, whole=look.whole)
        if state.part is not None:
            await self._go_on_with(state.part, there, own, whole=look.whole)
        if self._options.after == "leave":
            if look.whole:
                state.forget_absent(look.listing)
            await state.turn_slot(self._put_slot)  # says so, before anything is taken, when there is no room left
            entries = [entry for entry in entries if fingerprint(entry) not in state.known]
        await self._take_all(entry for entry in entries if (entry.path, entry.size, entry.stamp) not in own)
        if self._failure is not None:
            raise self._failure

    # -- what an earlier run left ----------------------------------------------------------------------------------

    async def _finish_left(self, there: dict[str, Entry], *, whole: bool) -> None:
        """Move what was taken and is still there: after a crash, or because it could not be moved."""
        for done in list(self._state.done):
            current = there.get(done.path)
            if current is None or not _same(current, done.entry):
                if current is not None or whole:
                    self._state.done.remove(
                        done
                    )  # moved before the crash; another file of the name is read as a new one
                continue
            try:
                if not done.known:
                    await self._judge(done)
            except SendError as error:
                self._put_off(done.path, error)
                continue
            await self._finish(done)

    async def _judge(self, done: Done) -> None:
        raw = await self._content(done.entry)
        self._note(done, (await asyncio.to_thread(judged, self._bound, [raw or b""]))[0])

    async def _go_on_with(
        self, part: Part, there: dict[str, Entry], own: set[tuple[str, int, str]], *, whole: bool
    ) -> None:
        current = there.get(part.path)
        if current is not None and _same(current, part.entry):
            await self._read_part(part)
            return
        if current is None and not whole:
            raise HubError(
                t(f"more than {self._options.max_files} files: {shown(part.path)} is not among the first", "文件过多"),
                code="file.too_many",
            )
        self._state.part = None
        if part.end:
            return  # finished before the crash
        text = t(
            f"{shown(part.path)} was changed or removed while it was read; {part.record} records are taken",
            f"{shown(part.path)} 在读取期间被修改或删除；已接收 {part.record} 条记录",
        )
        error = HubError(
            text, code="file.changed", remedy=t("send what is missing as a new file", "请将缺失部分作为新文件发送")
        )
        self._refusal(part.path, error)
        if current is not None:
            done = Done(
                part.path, current.size, current.stamp, current.modified, True, error.code, error.text, error.remedy
            )
            own.add((done.path, done.size, done.stamp))
            self._state.done.append(done)
            await self._commit([])
            await self._finish(done)

    # -- new files -------------------------------------------------------------------------------------------------

    async def _take_all(self, entries: Iterable[Entry]) -> None:
        rules, options = self._rules, self._options
        waiting = 0
        for entry in entries:
            if self._state.part is not None or not self._receiver.go_on(self._run):
                break
            if unusable(entry.name):
                await self._refuse(entry, _unreadable_name())
                continue
            if rules is not None:
                try:
                    if rules.check(entry.name, self._state.numbers, self._now) == "wait":
                        waiting += 1
                        continue
                except HubError as error:
                    await self._refuse(entry, error)
                    continue
            if options.records is not None or self._packed(entry):
                await self._flush()
                if options.answer is not None:
                    try:
                        AnswerFile(self._answers, options.answer, entry.path, self._groups(entry.name))
                    except SendError as error:
                        await self._refuse(entry, error)
                        continue
                self._state.part = Part(entry.path, entry.size, entry.stamp, entry.modified)
                await self._read_part(self._state.part)
                continue
            await self._add(entry)
        await self._flush()
        if waiting:
            self._run.details["waiting"] = str(waiting)

    def _packed(self, entry: Entry) -> bool:
        how, name = self._options.unpack, entry.name.lower()
        return how in ("gzip", "zip") or (how == "auto" and name.endswith((".gz", ".gzip", ".zip")))

    async def _add(self, entry: Entry) -> None:
        """A file that is one message, onto the page."""
        if entry.size > self._options.max_size:
            limit = self._options.max_size
            text = t(f"{entry.size} bytes, at most {limit} are taken", f"{entry.size} 字节，最多接收 {limit} 字节")
            await self._refuse(entry, HubError(text, code="file.too_large"))
            return
        if self._page and self._size + entry.size > self._options.page_size:
            await self._flush()
        try:
            raw = await self._content(entry)
        except FileMissing:
            return  # somebody took it away
        except SendError as error:
            self._put_off(entry.path, error)
            return
        if raw is None:
            return  # it grew meanwhile: at the next look
        self._page.append((entry, Item(raw, fingerprint(entry), self._params(entry))))
        self._size += len(raw)
        if self._rules is not None:
            self._rules.count(entry.name, self._state.numbers)
        counted = self._options.naming is not None and self._options.naming.sequence
        if counted or len(self._page) >= min(self._options.page, MAX_WAITING) or self._size >= self._options.page_size:
            await self._flush()

    async def _flush(self) -> None:
        """Commit the page, then move its files."""
        if not self._page:
            return
        page, self._page, self._size = self._page, [], 0
        state = self._state
        if len(state.done) > MAX_WAITING:
            self._memory.state = None  # the numbers of this page are counted, and it is not taken
            raise self._failure or HubError(
                t("too many files can't be moved", "无法移走的文件过多"), code="file.not_moved"
            )
        found = [Done(e.path, e.size, e.stamp, e.modified) for e, _ in page]
        state.done += found
        if self._options.after == "leave":
            state.remember(entry for entry, _ in page)
        receipts = await self._commit([item for _, item in page])
        for done, receipt in zip(found, receipts, strict=True):
            self._memory.files += 1
            self._note(done, receipt)
            if done.code and self._rules is not None:
                self._rules.uncount(done.entry.name, state.numbers)
            await self._finish(done)
        await state.turn_slot(self._put_slot)

    async def _read_part(self, part: Part) -> None:
        state = self._state
        name = part.entry.name
        groups = self._groups(name)
        paged = PagedFile(self._backend, self._answers, self._bound, self._options, part, groups, in_doubt=self._fresh)
        self._fresh = False

        async def commit(items: Sequence[Item]) -> list[Receipt]:
            if part.end:
                if self._rules is not None and not part.code:
                    self._rules.count(name, state.numbers)
                if self._options.after == "leave":
                    state.remember([part.entry])
            return await self._commit(items)

        try:
            ended = await paged.read(commit, lambda: self._receiver.go_on(self._run))
        except SendError as error:
            if isinstance(error, FileMissing) or not (part.record or part.end):
                state.part = None  # nothing of it is taken: it does not hold up others
            elif paged.answer is not None:
                self._memory.state = None  # what is not answered is found by the mark
            self._put_off(part.path, error)
            return
        if not ended:
            return
        if paged.answer is not None:
            await paged.answer.finish()
        self._memory.files += 1
        done = Done(part.path, part.size, part.stamp, part.modified, True, part.code, part.text, part.remedy)
        if part.code:
            self._refusal(part.path, _reason(done))
        state.done.append(done)
        state.part = None
        await self._finish(done)
        await state.turn_slot(self._put_slot)

    # -- helpers ---------------------------------------------------------------------------------------------------

    async def _commit(self, items: Sequence[Item]) -> list[Receipt]:
        try:
            # What the mark no longer tells of must be out of the way for good, or it would be taken again.
            await self._backend.settle()
            return await self._receiver.take(self._run, items, self._state.text())
        except BaseException:
            self._memory.state = None  # whether it is committed is not known: the marks are
            raise

    async def _put_slot(self, name: str, value: str) -> None:
        try:
            await self._receiver.take(self._run, [], value, name)
        except BaseException:
            self._memory.state = None
            raise

    async def _refuse(self, entry: Entry, error: HubError) -> None:
        """A file that is not taken at all."""
        await self._flush()  # in order
        self._refusal(entry.path, error)
        if self._options.after == "leave":
            self._state.remember([entry])
            await self._commit([])
            await self._state.turn_slot(self._put_slot)
        done = Done(entry.path, entry.size, entry.stamp, entry.modified, True, error.code, error.text, error.remedy)
        self._state.done.append(done)
        await self._finish(done)

    def _refusal(self, path: str, error: HubError) -> None:
        self._memory.refused += 1
        self._run.refused += 1
        told = HubError(f"{shown(path)}: {mask_text(error.text)}", code=error.code, remedy=error.remedy)
        self._receiver.intake.refuse(self._bound, b"", told, remote=self._receiver.source)

    async def _finish(self, done: Done) -> None:
        """Move one file; one that can't be moved stays noted, and is tried again in the next run."""
        try:
            current = await self._backend.entry(done.path)
            exact = self._backend.exact_stamps
            if current is not None and current.size == done.size and (not exact or current.stamp == done.stamp):
                if done.code:
                    await self._finisher.refused(done.path, _reason(done))
                else:
                    await self._finisher.accepted(done.path)
        except SendError as error:
            self._put_off(done.path, error)
            return
        self._memory.told.discard(done.path)
        self._state.done.remove(done)

    def _put_off(self, path: str, error: SendError) -> None:
        """Something can't be done with one file now. The run goes on with others, unless it is the connection; it counts as
        failed when that is new, not in every run until somebody has put it right."""
        if error.code in _CONNECTION:
            raise error
        told = self._memory.told
        if path not in told:
            self._failure = self._failure or error
            if len(told) >= _TOLD:
                told.clear()
            told.add(path)

    def _note(self, done: Done, receipt: Receipt) -> None:
        done.known = True
        if not receipt.accepted:
            self._memory.refused += 1
            error = receipt.error or HubError(t("refused", "被拒绝"), code="file.refused")
            done.code, done.text, done.remedy = error.code, mask_text(error.text), error.remedy

    async def _content(self, entry: Entry) -> bytes | None:
        """All of a file; None when it is longer or shorter than it was at the look."""
        raw = await self._backend.whole(entry.path, entry.size)
        return raw if len(raw) == entry.size else None

    def _groups(self, name: str) -> dict[str, str]:
        return self._rules.groups(name) if self._rules else {}

    def _params(self, entry: Entry) -> dict[str, str]:
        groups = self._groups(entry.name)
        modified = datetime.fromtimestamp(entry.modified, UTC).isoformat(timespec="seconds")
        return {key: mask_text(value) for key, value in groups.items()} | {
            "file": shown(entry.path),
            "modified": modified,
        }


def _same(one: Entry, other: Entry) -> bool:
    return (one.size, one.stamp, one.modified) == (other.size, other.stamp, other.modified)


def _reason(done: Done) -> HubError:
    return HubError(done.text, code=done.code, remedy=done.remedy)


def _unreadable_name() -> HubError:
    return HubError(
        t(
            "the name has control characters, or is not in the character set of names",
            "文件名含控制字符，或不符合文件名字符集",
        ),
        code="file.name",
        remedy=t("set names, e.g. gb18030", "请设置 names，如 gb18030"),
    )
