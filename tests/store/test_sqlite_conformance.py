"""The SQLite store does what every store must do, in one segment and in many."""

from __future__ import annotations

import pytest

import hub.store.segments
from hub.store.sealer import Sealer
from tests.store import conformance
from tests.store.conftest import SqliteOpener
from tests.store.sealed_support import LocalKeys


@pytest.fixture(params=["one segment", "many segments"], autouse=True)
def _segments(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of ten messages make every test cross borders."""
    if request.param == "many segments":
        monkeypatch.setattr(hub.store.segments.SegmentSet, "room", property(lambda self: 10 - self.current.messages))


@pytest.fixture(params=[None, "aes-256-gcm", "sm4-gcm"], ids=["plain", "aes", "sm4"])
def sealer(request: pytest.FixtureRequest) -> Sealer | None:
    """Everything holds for an encrypted store, too."""
    return None if request.param is None else Sealer(LocalKeys(), request.param)


class TestPut(conformance.PutConformance):
    pass


class TestDuplicates(conformance.DuplicateConformance):
    pass


class TestFinish(conformance.FinishConformance):
    pass


class TestApply(conformance.ApplyConformance):
    pass


class TestFeed(conformance.FeedConformance):
    pass


class TestQueries(conformance.QueryConformance):
    pass


class TestLedger(conformance.LedgerConformance):
    pass


class TestTogether(conformance.TogetherConformance):
    pass


class TestPrune(conformance.PruneConformance):
    pass


async def test_the_opener_gives_small_segments(opener: SqliteOpener, request: pytest.FixtureRequest) -> None:
    from tests.store.store_support import put_one

    store = await opener()
    for _ in range(25):
        await put_one(store)
    expected = 3 if "many" in request.node.name else 1
    assert (await store.reader.size())["segments"] == expected
