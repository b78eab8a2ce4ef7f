"""The table of what becomes of the public sample files says what happens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from docs.samples import OUTPUT, SAMPLES, report
from hub.i18n import language, set_language


@pytest.fixture(autouse=True)
def _language() -> Iterator[None]:
    before = language()
    yield
    set_language(before)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no samples in {SAMPLES}")
def test_the_page_is_current() -> None:
    assert OUTPUT.read_text(encoding="utf-8") == report(SAMPLES), "run python -m docs.samples"
