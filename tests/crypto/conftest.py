"""Fixtures: every provider that works in memory."""

from __future__ import annotations

import pytest

from hub.crypto.gmssl import GmsslProvider
from hub.crypto.openssl import OpenSslProvider
from hub.crypto.provider import Provider

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
