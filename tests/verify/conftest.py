from __future__ import annotations

from collections.abc import Iterator

import pytest

from hub.i18n import language, set_language


@pytest.fixture(autouse=True, scope="module")
def _english() -> Iterator[None]:
    before = language()
    set_language("en")
    yield
    set_language(before)
