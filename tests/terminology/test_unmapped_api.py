"""``GET /api/v1/tables/unmapped`` of one worker: what a table did not list comes up there, and nowhere else."""

from __future__ import annotations

import aiohttp
import pytest

from hub.admin.backend import NodeBackend
from hub.admin.serve import AdminServer
from hub.mapping.tables_unmapped import Unmapped
from hub.message import DeliveryState
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Site


@pytest.fixture(autouse=True)
def _own_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's notes are the process's; here they are those of the test."""
    unmapped = Unmapped()
    for module in ("hub.mapping.functions.choice", "hub.admin.backend"):
        monkeypatch.setattr(f"{module}.UNMAPPED", unmapped)


async def test_values_of_messages_that_were_delivered_and_that_failed(site: Site, start: StartHub) -> None:
    tables = site.folder / "mappings" / "tables"
    tables.mkdir()
    (tables / "sex.csv").write_text("from,to\nM,1\nF,2\n", encoding="utf-8")
    site.mapping(
        "person",
        "from: {codec: json}\nto: {codec: json}\n"
        "fields: {id: id, sex: \"sex | table('sex', unmapped='9')\", kind: \"kind | table('sex')\"}\n",
    )
    site.target(mapping="person")
    hub = await start(site)
    for number, more in enumerate(({"sex": "M"}, {"sex": "男"}, {"sex": "男"}, {"kind": "13812345678"})):
        await hub.wire.submit("his/in", {"id": f"m{number}", "type": "t", "pid": "p", **more})
    await hub.reached(DeliveryState.DELIVERED, 3)
    await hub.reached(DeliveryState.DEAD, 1)
    server = AdminServer(NodeBackend(hub.node), "token")
    await server.listen("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(server.address, headers={"Authorization": "Bearer token"}) as session:
            async with session.get("/api/v1/tables/unmapped") as response:
                assert response.status == 200
                rows = (await response.json())["unmapped"]
            async with session.get("/api/v1/tables/unmapped", headers={"Authorization": "Bearer no"}) as response:
                assert response.status == 401
    finally:
        await server.stop()
    assert [(row["table"], row["value"], row["count"]) for row in rows] == [("sex", "男", 2), ("sex", "138****5678", 1)]
    assert all(row["first_seen"] <= row["last_seen"] for row in rows)
