"""Fixtures: every provider that works in memory."""

from __future__ import annotations

import pytest

from hub.crypto.base import Provider
from hub.crypto.gmssl import GmsslProvider
from hub.crypto.openssl import OpenSslProvider

_PROVIDERS: dict[str, Provider] = {"openssl": OpenSslProvider(), "gmssl": GmsslProvider()}


@pytest.fixture(params=sorted(_PROVIDERS))
def provider(request: pytest.FixtureRequest) -> Provider:
    return _PROVIDERS[request.param]


@pytest.fixture
def openssl() -> Provider:
    return _PROVIDERS["openssl"]


@pytest.fixture
def gmssl() -> Provider:
    return _PROVIDERS["gmssl"]
