"""The answer file of a batch file: for each record, whether it was accepted and why not.

It grows page by page beside its final name and gets that once the last page is in. Where it ends before each page stands in the mark, so
that after a crash it goes on at the right place.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from adapters.files.backend import Backend, check_path
from adapters.files.naming import Template, fields_of, safe
from adapters.files.options import Answer
from hub.api import Receipt
from hub.ids import id_text
from hub.masking import mask_text
from hub.message import Outcome

__all__ = ["AnswerFile", "Result"]

_COLUMNS = ("record", "records", "status", "code", "reason", "message")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of the records of one message."""

    record: int  # number of the first, from 1
    records: int
    status: str  # accepted, duplicate, refused; stored: after a crash, one of these the answer can't tell any more
    code: str = ""
    reason: str = ""
    message: str = ""  # the hub's number of it

    @classmethod
    def of(cls, record: int, records: int, receipt: Receipt) -> Result:
        message = id_text(receipt.message_id) if receipt.message_id else ""
        if not receipt.accepted:
            error = receipt.error
            code, reason = (error.code, mask_text(error.text)) if error else ("", "")
            return cls(record, records, "refused", code, reason, message)
        status = "duplicate" if receipt.outcome is Outcome.DUPLICATE else "accepted" if message else "stored"
        return cls(record, records, status, message=message)


class AnswerFile:
    """The answer to one file; raises :class:`SendError` for one whose answer would have no possible name."""

    def __init__(self, backend: Backend, options: Answer, path: str, groups: dict[str, str]) -> None:
        self._backend, self._options = backend, options
        fields = {**groups, **fields_of(path.rpartition("/")[2])}
        name = Template(options.name).fill(fields, safe)
        self._final = f"{options.folder}/{name}" if options.folder else name
        self._temporary = f"{options.folder}/.{name}.part" if options.folder else f".{name}.part"
        check_path(self._temporary)  # now, not when the first page is taken
        self.size = 0

    async def write(self, results: Iterable[Result], at: int) -> None:
        """The answers of one page, from a byte of the file on; what stood behind is of the same page, before a crash."""
        if not at:
            await self._backend.make_folders(self._options.folder)
        text = self._render(
            [r for r in results if r.status in ("refused", "duplicate") or not self._options.only_refused]
        )
        if not at and self._options.format == "csv":
            text = _csv([_COLUMNS]) + text
        if text or not at:
            await self._backend.write(self._temporary, [text], at, None)
        self.size = at + len(text)

    async def finish(self) -> None:
        """Give it its name; an earlier answer to a file of the same name is replaced. Again after a crash: nothing."""
        if await self._backend.entry(self._temporary) is not None:
            await self._backend.rename(self._temporary, self._final, replace=True)
            await self._backend.settle()

    def _render(self, results: list[Result]) -> bytes:
        if self._options.format == "jsonl":
            return b"".join(
                orjson.dumps({name: getattr(r, name) for name in _COLUMNS}, option=orjson.OPT_APPEND_NEWLINE)
                for r in results
            )
        return _csv([[getattr(r, name) for name in _COLUMNS] for r in results])


def _csv(rows: Iterable[Iterable[object]]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()
