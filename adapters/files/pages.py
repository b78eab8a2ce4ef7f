"""A file that holds many messages, read page by page: cut, handed over with the mark in one commit, answered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from adapters.files.answering import AnswerFile, Result
from adapters.files.backend import BLOCK, Backend, Content, shown
from adapters.files.options import Reading
from adapters.files.splitting import HL7, Lines, Pieces, Splitter, Whole
from adapters.files.state import Part, fingerprint
from adapters.files.unpacking import Package, unpack
from hub.api import Bound, CodecError, HubError, Item, Receipt
from hub.masking import mask_text
from hub.message import Outcome

__all__ = ["PagedFile", "judged"]

Commit = Callable[[Sequence[Item]], Awaitable[list[Receipt]]]


@dataclass(frozen=True, slots=True)
class _Piece:
    raw: bytes
    record: int  # number of its first record
    records: int
    end: int  # byte of the member behind it


@dataclass(frozen=True, slots=True)
class _Page:
    pieces: list[_Piece]
    member: int  # the place behind it
    at: int
    record: int


class PagedFile:
    """One file. ``part`` says how far it is read and is moved on before each commit, so that the commit carries it."""

    def __init__(
        self,
        backend: Backend,
        answers: Backend,
        bound: Bound,
        options: Reading,
        part: Part,
        groups: dict[str, str],
        *,
        in_doubt: bool,
    ) -> None:
        """``in_doubt``: after a restart, when the answers to the last page may be missing."""
        self._backend, self._bound, self._options, self._part = backend, bound, options, part
        self._params = {key: mask_text(value) for key, value in groups.items()} | {"file": shown(part.path)}
        self._id = fingerprint(part.entry)
        self.answer = AnswerFile(answers, options.answer, part.path, groups) if options.answer else None
        if self.answer is not None:
            self.answer.size = part.answered
        #: Up to here everything is committed already; its results are found out again, for the answer only.
        self._committed = (part.member, part.at) if in_doubt and self.answer is not None and part.record else (0, 0)
        self._members: list[str] = []
        self._fault: CodecError | None = None

    async def read(self, commit: Commit, go_on: Callable[[], bool]) -> bool:
        """Read on to the end, or until ``go_on`` says no between pages: then False.

        Raises :class:`SendError` when the file can't be read now. One whose content is at fault is taken up to the fault, which
        is noted in ``part``.
        """
        part = self._part
        if part.end and self._committed == (0, 0):
            return True
        held = None  # a page is committed when the next is there, so that the last one is known to be the last
        async with contextlib.aclosing(self._pages()) as pages:
            async for page in pages:
                if held is not None:
                    await self._take(held, commit, end=False)
                    if not go_on():
                        return False
                held = page
        if self._fault is not None:
            part.code, part.text, part.remedy = self._fault.code, mask_text(self._fault.text), self._fault.remedy
        await self._take(held or _Page([], part.member, part.at, part.record), commit, end=True)
        return True

    async def _take(self, page: _Page, commit: Commit, *, end: bool) -> None:
        """Commit one page and answer it; a page that is committed already is only answered."""
        part = self._part
        receipts: list[Receipt] = []
        if (page.member, page.at) <= self._committed:
            receipts = await asyncio.to_thread(judged, self._bound, [piece.raw for piece in page.pieces])
        if not receipts or end != part.end:
            part.page = (part.member, part.at, part.record)
            part.member, part.at, part.record, part.end = page.member, page.at, page.record, end
            items = [] if receipts else [self._item(piece, page.member) for piece in page.pieces]
            receipts += await commit(items)
        if self.answer is not None:
            results = [
                Result.of(piece.record, piece.records, got) for piece, got in zip(page.pieces, receipts, strict=True)
            ]
            await self.answer.write(results, self.answer.size)
            part.answered = self.answer.size  # the mark of the next page says so; that of this one said where it began

    def _item(self, piece: _Piece, member: int) -> Item:
        params = {**self._params, "record": str(piece.record)}
        if self._members[member]:
            params["member"] = shown(self._members[member])
        return Item(piece.raw, f"{self._id}.{member}.{piece.record}", params)

    async def _pages(self) -> AsyncGenerator[_Page, None]:
        """What is still to do; a fault of the content ends it and is kept."""
        part, options = self._part, self._options
        member, at, record = part.page if self._committed > (0, 0) else (part.member, part.at, part.record)
        pieces: list[_Piece] = []
        size = 0

        def page() -> _Page:
            nonlocal at, record, pieces, size
            at, record = pieces[-1].end, pieces[-1].record + pieces[-1].records - 1
            found = _Page(pieces, member, at, record)
            pieces, size = [], 0
            return found

        try:
            package = await unpack(self._backend, part.entry, options.unpack, options.max_unpacked)
            self._members = package.members
            while member < len(package.members):
                async with contextlib.aclosing(self._pieces(package, member, at, record)) as found:
                    async for piece in found:
                        pieces.append(piece)
                        size += len(piece.raw)
                        full = len(pieces) >= options.page or size >= options.page_size
                        if full or (member, piece.end) == self._committed:
                            yield page()
                if pieces:
                    yield page()
                member, at = member + 1, 0
        except CodecError as error:
            self._fault = error
            if pieces:
                yield page()

    async def _pieces(self, package: Package, member: int, at: int, record: int) -> AsyncGenerator[_Piece, None]:
        header, begin = await self._header(package, member)
        records = self._options.records
        wanted = records.per_message if records else 1
        at = max(at, begin)
        group: list[bytes] = []
        end = at
        splitter = self._splitter(at)
        content = await package.open(member, at)
        try:
            more = True
            while more:
                block = await content.read(BLOCK)
                more = bool(block)
                for cut in splitter.feed(block) if block else splitter.finish():
                    group.append(cut.raw)
                    end = cut.end
                    if len(group) == wanted or (member, end) == self._committed:
                        yield _Piece(header + b"".join(group), record + 1, len(group), end)
                        record += len(group)
                        group = []
            if group:
                yield _Piece(header + b"".join(group), record + 1, len(group), end)
        finally:
            await content.close()

    async def _header(self, package: Package, member: int) -> tuple[bytes, int]:
        """The lines before the records, and where they end."""
        count = self._header_lines()
        if not count:
            return b"", 0
        content: Content = await package.open(member, 0)
        lines: list[bytes] = []
        end = 0
        try:
            splitter = self._splitter(0)
            more = True
            while more and len(lines) < count:
                block = await content.read(BLOCK)
                more = bool(block)
                for cut in splitter.feed(block) if block else splitter.finish():
                    lines.append(cut.raw)
                    end = cut.end
                    if len(lines) == count:
                        break
        finally:
            await content.close()
        return b"".join(lines), end

    def _header_lines(self) -> int:
        records, contract = self._options.records, self._bound.contract
        if records is None or records.by != "lines":
            return 0
        if records.header is not None:
            return records.header
        if contract.codec != "csv":
            return 0
        return int(contract.format.get("skip", 0)) + int(contract.format.get("header", "first") != "none")

    def _splitter(self, at: int) -> Splitter:
        options, contract = self._options, self._bound.contract
        records = options.records
        if records is None:
            return Whole(options.max_size)
        if records.by == "hl7":
            return HL7(records.max_record, at)
        if records.by == "length":
            return Pieces(records.length, at)
        quotes = records.quotes
        if quotes is None:
            quotes = contract.codec == "csv" and contract.format.get("quotes", True) is not False
        return Lines(records.max_record, quotes=quotes, at=at)


def judged(bound: Bound, raws: Sequence[bytes]) -> list[Receipt]:
    """What became of messages whose receipts were lost in a crash, as far as reading them tells; nothing is handed over."""
    receipts = []
    for raw in raws:
        try:
            bound.codec.decode(raw, encoding=bound.contract.encoding)
        except HubError as error:
            receipts.append(Receipt(Outcome.REFUSED, error=error))
        else:
            receipts.append(Receipt(Outcome.OK))
    return receipts
