"""One hub for all attacks, and after each of them a look whether something leaked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.process import HubProcess, Sink
from tests.security.attacks.fortress import Fortress, build


@pytest.fixture(scope="session")
def _fort(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fortress]:
    folder: Path = tmp_path_factory.mktemp("fort")
    sink = Sink()
    with HubProcess(build(folder, sink)) as hub:
        yield Fortress(folder, hub, sink)
    sink.close()


@pytest.fixture
def fort(_fort: Fortress) -> Iterator[Fortress]:
    yield _fort
    _fort.alive()
    assert _fort.leaked() == []
    assert "Traceback" not in _fort.log
