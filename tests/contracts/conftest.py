from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.i18n import language, set_language
from hub.verify import Report, verify

CONFIG = Path(__file__).resolve().parents[2] / "config" / "hub.yaml"


@pytest.fixture(scope="session")
def report() -> Iterator[Report]:
    """One run of the contract tests of every plugin, with all processors unless the tests themselves share them out."""
    before = language()
    set_language("en")
    jobs = 1 if "PYTEST_XDIST_WORKER" in os.environ else os.cpu_count() or 1
    yield verify(CONFIG, jobs=min(jobs, 4))
    set_language(before)
