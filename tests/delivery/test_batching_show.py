"""``hub show`` of a message that shared a call."""

from __future__ import annotations

import asyncio
import json

from typer.testing import CliRunner

from hub.cli.app import app
from hub.ids import id_text
from hub.message import DeliveryState
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Site


async def test_show_names_the_call_and_the_place_in_it(site: Site, start: StartHub) -> None:
    site.target(order_by=None, collect={"messages": 3, "within": "1h"})
    hub = await start(site)
    await hub.send(3)
    done = await hub.reached(DeliveryState.DELIVERED, 3)
    (whole,) = [call for call in await hub.logged("sink/up", 4) if not call.delivery_id]

    def show(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["show", id_text(done[1].message_id), "--config", str(site.file), *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert f"number 2 of 3 in call {id_text(whole.id)}" in await asyncio.to_thread(show)
    answer = json.loads(await asyncio.to_thread(show, "--json", "--clear"))
    (shared,) = answer["shared_calls"]
    assert (shared["id"], shared["response"]) == (id_text(whole.id), {"text": '{"code":0}'})
    assert [item["id"] for item in json.loads(shared["request"]["text"])] == ["m0", "m1", "m2"]
    masked = json.loads(await asyncio.to_thread(show, "--json"))["shared_calls"][0]["request"]
    assert [item["id"] for item in json.loads(masked["text"])] == ["m0", "m1", "m2"]
