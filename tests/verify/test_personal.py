"""What was written during a run is looked through to its end, however much it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from hub.message import Direction
from hub.store.base import CallQuery, DeliveryQuery
from hub.verify import personal
from hub.verify.model import Status
from hub.verify.samples import Sample


class _Rows:
    """In the place of the store: rows newest first, a page at a time."""

    def __init__(self, texts: list[str]) -> None:
        self._rows = [
            SimpleNamespace(id=number, error=text, params={}, reason=text) for number, text in enumerate(texts, 1)
        ]

    def _page(self, query: CallQuery | DeliveryQuery) -> list[Any]:
        rows = [row for row in reversed(self._rows) if not query.before or row.id < query.before]
        return rows[: query.limit]

    async def calls(self, query: CallQuery) -> list[Any]:
        return self._page(query) if query.direction in (None, Direction.OUT) else []

    async def deliveries(self, query: DeliveryQuery) -> list[Any]:
        return []


class _Reasons(_Rows):
    async def calls(self, query: CallQuery) -> list[Any]:
        return [SimpleNamespace(id=1, error="", params={})] if not query.before else []

    async def deliveries(self, query: DeliveryQuery) -> list[Any]:
        return self._page(query)


def _talk(reader: _Rows, log: list[tuple[str, str]]) -> Any:
    sample = Sample("a patient", '{"name": "欧阳样例"}'.encode(), "json")
    plugin = SimpleNamespace(folder="/plugins/desk")
    party = SimpleNamespace(id="desk", samples={"send": sample}, interfaces={}, subject=SimpleNamespace(plugin=plugin))
    node = SimpleNamespace(store=SimpleNamespace(reader=reader), problems=[])
    return cast(Any, SimpleNamespace(party=party, rig=SimpleNamespace(node=node, log=log, parties={"desk": party})))


@pytest.mark.parametrize("reader", [_Rows, _Reasons])
async def test_also_the_oldest_row_is_looked_at(monkeypatch: pytest.MonkeyPatch, reader: type[_Rows]) -> None:
    monkeypatch.setattr(personal, "_ROWS", 2)
    clean = await personal.leaks(_talk(reader(["fine"] * 7), []))
    assert clean.status is Status.PASSED, clean.why
    found = await personal.leaks(_talk(reader(["patient 欧阳样例 refused", *["fine"] * 6]), []))
    assert found.status is Status.FAILED


async def test_more_log_lines_than_are_kept_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(personal, "MOST_LINES", 3)
    log = [("hub/node.py", "fine")] * 3
    assert (await personal.leaks(_talk(_Rows(["fine"]), log[:2]))).status is Status.PASSED
    assert (await personal.leaks(_talk(_Rows(["fine"]), log))).status is Status.SKIPPED
