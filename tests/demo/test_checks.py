"""An expectation that is not met fails the demo and says what was expected and what was seen."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from hub.i18n import language, set_language
from tests.demo import checks as module
from tests.demo.checks import Checks
from tests.demo.report import percentile


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    before = language()
    set_language("en")
    yield
    set_language(before)


@pytest.fixture
def checks() -> Checks:
    return Checks(Console(file=io.StringIO()))


def test_what_is_as_told_is_counted(checks: Checks) -> None:
    assert checks.expect("the answer", 42, 42)
    assert checks.expect_that("it is large", True, "large", 42)
    assert (checks.met, checks.missed) == (2, [])


def test_what_is_not_as_told_is_kept_with_both_sides(checks: Checks) -> None:
    assert not checks.expect("the answer", 42, 41)
    assert not checks.expect_that("it is large", False, "large", 1)
    assert checks.met == 0
    assert checks.missed == ["the answer: expected 42, seen 41", "it is large: expected large, seen 1"]


async def test_what_comes_in_time_is_waited_for(checks: Checks) -> None:
    seen = iter(range(10))
    assert await checks.eventually("three", 3, lambda: next(seen))


async def test_what_never_comes_is_missed(checks: Checks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)

    async def look() -> str:
        return "nothing"

    assert not await checks.eventually("something", "something", look)
    assert checks.missed == ["something: expected 'something', seen 'nothing'"]


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_percentiles_are_values_that_occurred(share: float, value: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == value
    assert percentile([], share) == 0.0
