from __future__ import annotations

from pathlib import Path

import pytest

from hub.privacy import Policy, load_policy

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"


@pytest.fixture(scope="session")
def policy() -> Policy:
    return load_policy(None, [SCHEMAS])
