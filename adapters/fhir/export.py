"""Bulk export (FHIR Bulk Data Access 2.0): kick-off, status, files; where it stands is kept with every page that is stored."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson

from adapters.fhir.options import FhirPoll
from adapters.fhir.source import FhirSource
from adapters.http.answer import retry_after
from adapters.http.connection import Response
from adapters.polling import Run
from hub.api import Item, PermanentError, SendError, TransientError
from hub.i18n import t

if TYPE_CHECKING:
    from adapters.fhir.poll import FhirPollReceiver

__all__ = ["export_run"]

_MARK = "export"
_NDJSON = "application/fhir+ndjson"
#: Pause between two questions for the state of an export, seconds, where the server does not say.
_PAUSE = 5.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 300.0
_PAGE_BYTES = 1 << 20
_MOST_FILES = 10_000


@dataclass(slots=True)
class _Progress:
    since: str = ""  # the transaction time of the last export that was read to its end
    job: str = ""  # target of the state of the one under way
    file: int = 0  # files of it that are done
    line: int = 0  # lines of the next that are done

    @classmethod
    def of(cls, text: str) -> _Progress:
        try:
            kept = orjson.loads(text)
            return cls(str(kept["since"]), str(kept["job"]), int(kept["file"]), int(kept["line"]))
        except (ValueError, KeyError, TypeError):
            return cls()

    def text(self) -> str:
        return orjson.dumps(asdict(self)).decode()


async def export_run(receiver: FhirPollReceiver, source: FhirSource, options: FhirPoll, run: Run) -> None:
    """One export, or the rest of one that was broken off. Raises :class:`~hub.api.SendError`."""
    progress = _Progress.of(await receiver.intake.mark(receiver.bound, _MARK))
    if not progress.job:
        progress.job = await _kick_off(source, options, progress.since or options.since)
        progress.file = progress.line = 0
        await receiver.take(run, [], progress.text(), _MARK)
    manifest = await _manifest(receiver, source, run, progress)
    if manifest is None:
        return
    files = manifest.get("output")
    if not isinstance(files, list) or len(files) > _MOST_FILES:
        raise PermanentError(t("the export has no list of files", "导出结果没有文件列表"), code="fhir.export")
    for number, file in enumerate(files):
        if number < progress.file:
            continue
        url = file.get("url") if isinstance(file, dict) else None
        if not isinstance(url, str) or not await _file(receiver, source, options, run, progress, url):
            return
        progress.file, progress.line = number + 1, 0
        await receiver.take(run, [], progress.text(), _MARK)
    time, job = manifest.get("transactionTime"), progress.job
    await receiver.take(run, [], _Progress(time if isinstance(time, str) else progress.since).text(), _MARK)
    with contextlib.suppress(SendError):  # the server may forget its files; it does so by itself as well
        await source.ask(job, method="DELETE")


async def _kick_off(source: FhirSource, options: FhirPoll, since: str) -> str:
    query = {"_type": options.resource, "_outputFormat": _NDJSON, **options.query}
    if since:
        query["_since"] = since
    target = source.target(options.export, urlencode(query))
    response = await source.ask(target, headers={"Prefer": "respond-async"})
    if response.status != 202:
        raise source.failure(response)
    return source.same_server(response.header(b"content-location"), target)


async def _manifest(
    receiver: FhirPollReceiver, source: FhirSource, run: Run, progress: _Progress
) -> dict[str, Any] | None:
    """What the export has made, once it is ready; None when the interface stops before."""
    while True:
        response = await source.ask(progress.job)
        if response.status == 200:
            try:
                found = orjson.loads(response.body)
            except orjson.JSONDecodeError:
                found = None
            if isinstance(found, dict):
                return found
            raise TransientError(t("the state of the export is no JSON", "导出状态不是 JSON"), code="fhir.export")
        if response.status != 202 and not _later(response):
            # It failed, or the server knows it no longer: the next run begins a new one.
            await receiver.take(run, [], _Progress(progress.since).text(), _MARK)
            raise source.failure(response)
        wanted = response.header(b"retry-after")
        pause = min(max(retry_after(wanted), _SHORTEST_PAUSE) if wanted else _PAUSE, _LONGEST_PAUSE)
        end = asyncio.get_running_loop().time() + pause
        while (left := end - asyncio.get_running_loop().time()) > 0:
            if not receiver.go_on(run):
                return None
            await asyncio.sleep(min(left, 0.5))


def _later(response: Response) -> bool:
    return response.status in (429, 502, 503, 504)


async def _file(
    receiver: FhirPollReceiver, source: FhirSource, options: FhirPoll, run: Run, progress: _Progress, url: str
) -> bool:
    """Store the lines of a file from where it was left; False when the interface stops before its end."""
    target = source.same_server(url, progress.job)
    items: list[Item] = []
    size = 0
    number = 0
    async with contextlib.aclosing(_lines(source.stream(target, _NDJSON), options.reply_limit)) as lines:
        async for line in lines:
            number += 1
            if number <= progress.line:
                continue
            if line:
                items.append(receiver.item_of(line))
                size += len(line)
            if len(items) >= options.page_size or size >= _PAGE_BYTES:
                progress.line = number
                await receiver.take(run, items, progress.text(), _MARK)
                items, size = [], 0
                if not receiver.go_on(run):
                    return False
    if items:
        progress.line = number
        await receiver.take(run, items, progress.text(), _MARK)
    return True


async def _lines(pieces: AsyncGenerator[bytes, None], limit: int) -> AsyncGenerator[bytes, None]:
    parts: list[bytes] = []
    size = 0
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            *ends, rest = piece.split(b"\n")
            for end in ends:
                parts.append(end)
                yield b"".join(parts).strip(b" \t\r")
                parts.clear()
                size = 0
            parts.append(rest)
            size += len(rest)
            if size > limit:
                raise PermanentError(
                    t(f"a line of the export is longer than {limit} bytes", f"导出文件有一行超过 {limit} 字节"),
                    code="fhir.export",
                )
    yield b"".join(parts).strip(b" \t\r")
