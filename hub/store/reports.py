"""What validation found, as it is stored: with a message, in lists, and counted by interface and day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import orjson

from hub.ids import EPOCH_MS, first_id_at, millis_of
from hub.message import CallRecord, CheckRecord
from hub.store.base import PlaceQuality, ReportQuery
from hub.store.rows import CALL_COLUMNS, FINDINGS, REPORT_COLUMNS, call_from, check_from
from hub.store.segment import SegmentFile
from hub.store.sql import all_rows, first_row

__all__ = ["SUMS", "add_up", "find_reports", "quality", "read_sums", "report_of"]

#: Folder of the sums that rows don't tell, below that of the worker: one file a day, <day>.json.
SUMS = "quality"

_HIGHEST = (1 << 63) - 1
_MOST_ROWS = 1_000
_EPOCH_DAY = date(1970, 1, 1)
_DAY_MS = 86_400_000
_BEIJING_MS = 8 * 3_600_000
_REPORT = f"SELECT {REPORT_COLUMNS} FROM report WHERE id = ?"  # noqa: S608
_CALL = f"SELECT {CALL_COLUMNS} FROM call WHERE id = ?"  # noqa: S608
_COUNTS = """
SELECT place, ((id >> 22) + ?) / 86400000 AS day,
    sum(verdict <> 3), sum(verdict = 1), sum(verdict <> 3 AND errors > 0), sum(verdict = 2), sum(verdict = 3),
    count(score), coalesce(sum(score), 0.0)
FROM report WHERE id BETWEEN ? AND ? GROUP BY place, day
"""
_MARKED = "SELECT id, findings FROM report WHERE verdict <> 0 AND place = ? AND id BETWEEN ? AND ?"


def report_of(segment: SegmentFile, call_id: int) -> CheckRecord | None:
    """The report of a call that is in this segment."""
    row = first_row(segment.connection(), _REPORT, (call_id,))
    return None if row is None else check_from(row, segment)


def _range(since_ms: int, until_ms: int) -> tuple[int, int]:
    return first_id_at(since_ms) if since_ms else 0, first_id_at(until_ms) - 1 if until_ms else _HIGHEST


def find_reports(segments: Sequence[SegmentFile], query: ReportQuery) -> list[CallRecord]:
    """An attempt is kept with its delivery, so an old segment may hold new reports: results are merged by id."""
    low, high = _range(query.since_ms, query.until_ms)
    if query.before:
        high = min(high, query.before - 1)
    limit = max(0, min(query.limit, _MOST_ROWS))
    found: list[tuple[Any, SegmentFile]] = []
    for segment in reversed(segments):
        found.extend((row, segment) for row in _reports_in(segment, query, low, high, limit))
        found.sort(key=lambda item: item[0][0], reverse=True)
        del found[limit:]
    calls = []
    for row, segment in found:
        call = first_row(segment.connection(), _CALL, (row[0],))
        if call is not None:
            calls.append(call_from(call, segment, None, None, check_from(row, segment)))
    return calls


def _reports_in(segment: SegmentFile, query: ReportQuery, low: int, high: int, limit: int) -> list[Any]:
    conditions, values = ["verdict <> 0", "id BETWEEN ? AND ?"], [low, high]
    if query.verdicts:
        conditions.append(f"verdict IN ({', '.join('?' * len(query.verdicts))})")
        values += map(int, query.verdicts)
    if query.place:
        places = segment.places(query.place)
        conditions.append(f"place IN ({', '.join('?' * len(places))})")
        values += places
    texts: list[Any] = []
    if query.rule:
        # A rule stands in the list as "rule":"<id>"; a prefix leaves the closing quote open.
        prefix = query.rule.endswith("*")
        mark = '"rule":' + orjson.dumps(query.rule.removesuffix("*")).decode()
        conditions.append("instr(opened('report.findings', id, findings), ?) > 0")
        texts.append(mark[:-1] if prefix else mark)
    text = " AND ".join(conditions)
    sql = f"SELECT {REPORT_COLUMNS} FROM report WHERE {text} ORDER BY id DESC LIMIT ?"  # noqa: S608
    return all_rows(segment.connection(), sql, [*values, *texts, limit])


def quality(segments: Sequence[SegmentFile], since_ms: int, until_ms: int, place: str) -> list[PlaceQuality]:
    """Counted from the rows, and what rows don't tell from the sums beside them, day by day in Beijing time."""
    low, high = _range(since_ms, until_ms)
    rows: list[PlaceQuality] = []
    for segment in segments:
        wanted = set(segment.places(place)) if place else None
        days: dict[int, dict[int, PlaceQuality]] = {}
        for number, day, *counts in all_rows(segment.connection(), _COUNTS, (EPOCH_MS + _BEIJING_MS, low, high)):
            if wanted is not None and number not in wanted:
                continue
            checked, marked, failed, refused, not_checked, scored, total = counts
            row = PlaceQuality(segment.name(number), str(_EPOCH_DAY + timedelta(days=day)), checked, marked, failed)
            row.refused, row.not_checked = refused, not_checked
            row.scored, row.score = scored, total / scored if scored else 0.0
            days.setdefault(number, {})[day] = row
        for number, by_day in days.items():
            for row_id, findings in all_rows(segment.connection(), _MARKED, (number, low, high)):
                rules = by_day[(millis_of(row_id) + _BEIJING_MS) // _DAY_MS].rules
                text = segment.values.text(findings, FINDINGS, row_id)
                for rule in {finding["rule"] for finding in orjson.loads(text or "[]")}:
                    rules[rule] = rules.get(rule, 0) + 1
            rows += by_day.values()
    for folder in {segment.path.parent for segment in segments}:
        rows += _sums(folder, since_ms, until_ms, place)
    return add_up(rows)


def read_sums(path: Path) -> dict[str, dict[str, Any]]:
    """Interface -> counts as ``DayCounts.as_dict`` of one day; nothing when the file can't be read: they are only figures."""
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _sums(folder: Path, since_ms: int, until_ms: int, place: str) -> Iterator[PlaceQuality]:
    """Whole days: a span that begins at noon has the sums of the whole first day."""
    first, last = _day(since_ms), _day(until_ms - 1) if until_ms else "9999-12-31"
    for path in (folder / SUMS).glob("????-??-??.json"):
        if not first <= path.stem <= last:
            continue
        for name, counts in read_sums(path).items():
            if not place or name == place or name.startswith(f"{place}/"):
                row = PlaceQuality(name, path.stem)
                row.fields, row.filled, row.delays = (counts.get(key) or {} for key in ("fields", "filled", "delays"))
                yield row


def _day(unix_ms: int) -> str:
    return str(_EPOCH_DAY + timedelta(days=(unix_ms + _BEIJING_MS) // _DAY_MS))


def add_up(rows: Iterable[PlaceQuality]) -> list[PlaceQuality]:
    """One row for each place and day, by place, the newest day first."""
    totals: dict[tuple[str, str], PlaceQuality] = {}
    for row in rows:
        total = totals.setdefault((row.place, row.day), PlaceQuality(row.place, row.day))
        scored = total.scored + row.scored
        if scored:
            total.score = (total.score * total.scored + row.score * row.scored) / scored
        total.scored = scored
        for name in ("checked", "marked", "failed", "refused", "not_checked"):
            setattr(total, name, getattr(total, name) + getattr(row, name))
        for name in ("rules", "fields", "filled", "delays"):
            counts = getattr(total, name)
            for key, number in getattr(row, name).items():
                counts[key] = counts.get(key, 0) + number
    by_day = sorted(totals.values(), key=lambda row: row.day, reverse=True)
    return sorted(by_day, key=lambda row: row.place)
