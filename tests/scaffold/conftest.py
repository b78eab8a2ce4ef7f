"""An empty site for skeletons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.i18n import language, set_language


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    before = language()
    set_language("en")
    yield
    set_language(before)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for folder in ("plugins", "mappings", "schemas", "config"):
        (tmp_path / folder).mkdir()
    file = tmp_path / "config" / "hub.yaml"
    file.write_text("name: site\nlanguage: en\n", encoding="utf-8")
    return file
