"""Testing connections on demand, and reading a source at once."""

from __future__ import annotations

import pytest

from hub.api import HubError, UnreachableError
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Site
from tests.kernel.wire import WireSender


async def test_every_interface_of_a_system_is_tested(
    site: Site, start: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.target()
    site.target("other")
    hub = await start(site)

    async def probe(self: WireSender) -> str:
        raise UnreachableError("no route for 13812345678")

    monkeypatch.setattr(WireSender, "probe", probe)
    (result,) = await hub.node.probe("sink")
    assert (result.place, result.direction, result.code) == ("sink/up", "out", "send.unreachable")
    assert "13812345678" not in result.text
    (listening,) = await hub.node.probe("his/in")
    assert (listening.place, listening.direction, listening.code) == ("his/in", "in", "")
    assert await hub.node.probe("nobody") == []


async def test_an_adapter_that_fails_is_a_result_too(
    site: Site, start: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.target()
    hub = await start(site)

    async def probe(self: WireSender) -> str:
        raise ValueError("a bug")

    monkeypatch.setattr(WireSender, "probe", probe)
    (result,) = await hub.node.probe("sink/up")
    assert result.as_dict()["ok"] is False
    assert result.code == "hub.unexpected"


async def test_only_a_source_can_be_read_at_once(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    with pytest.raises(HubError) as listens:
        hub.node.run_now("his/in")
    assert listens.value.code == "interface.listens"
    with pytest.raises(HubError) as unknown:
        hub.node.run_now("his/nothing")
    assert unknown.value.code == "interface.unknown"
