from __future__ import annotations

from collections.abc import Iterator

import pytest

from hub.i18n import language, set_language


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    """The tests compare texts."""
    before = language()
    set_language("en")
    yield
    set_language(before)
