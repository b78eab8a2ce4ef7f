"""The index of plugins says what the plugins' files say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from docs.plugins import OUTPUT, page
from hub.i18n import language, set_language


@pytest.fixture(autouse=True)
def _language() -> Iterator[None]:
    before = language()
    yield
    set_language(before)


def test_the_page_is_current() -> None:
    assert OUTPUT.read_text(encoding="utf-8") == page(), "run python -m docs.plugins"
