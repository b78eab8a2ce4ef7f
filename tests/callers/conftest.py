from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.callers.callers_support import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = Registry(tmp_path)
    yield made
    made.close()
