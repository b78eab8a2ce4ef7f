"""Who may decide a manual step: those with the right and the role of the step, and nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hub.admin.backend import NodeBackend
from hub.admin.serve import AdminServer
from hub.contract import SecurityConfig
from hub.flows.desk import FlowDesk
from hub.node import salt_of
from hub.people.people import People
from tests.flows.conftest import StartFlows
from tests.flows.flow_support import SUPPLEMENT, order_site
from tests.people.conftest import FEW, TOKEN, Client, Clock, Place

_ROLES: dict[str, Any] = {
    "reviewer": {"rights": ["flows.read", "flows.complete"]},
    "porter": {"rights": ["flows.read", "flows.complete"]},
    "reader": {"rights": ["flows.read"]},
}


async def test_only_the_role_of_the_step_decides_it(tmp_path: Path, start: StartFlows) -> None:
    site = order_site(tmp_path, SUPPLEMENT)
    hub = await start(site)
    data = tmp_path / "var"
    backend = NodeBackend(hub.node)
    backend.flows = FlowDesk(data, [tmp_path / "flows"], salt_of(data), hub.node.store.sealer)
    clock = Clock()
    security = SecurityConfig.model_validate({"roles": _ROLES})

    async def send(where: str, raw: bytes, actor: str) -> None:
        """Nothing is sent to anybody here."""

    people = People(
        data,
        security,
        systems=lambda: hub.node.deployment.config.systems,
        send=send,
        url="",
        iterations=FEW,
        clock=clock,
    )
    await people.open()
    backend.people = people
    server = AdminServer(backend, TOKEN)
    await server.listen("127.0.0.1", 0)
    place = Place(hub, people, server.address, clock, Client(server.address, TOKEN), [])
    try:
        await hub.offer("his/in", id="1", type="apply", pid="A-1", text="first")
        row = await hub.until_at("check")
        path = f"/api/v1/flows/instances/{hub.text_of(row)}"
        for role in _ROLES:
            await place.person(f"{role}_1", role)
        reader, porter, reviewer = [await place.sign_in(f"{role}_1") for role in ("reader", "porter", "reviewer")]
        order = {"step": "check", "choice": "ok"}
        assert (await reader.call("GET", path)).status == 200
        await reader.refused(403, "auth.forbidden", "POST", f"{path}/complete", order)
        await porter.refused(403, "flow.role", "POST", f"{path}/complete", order)
        assert (await reviewer.call("POST", f"{path}/cancel", {"reason": "x"})).status == 403
        assert (await reviewer.call("GET", f"{path}?clear=1")).status == 403
        assert (await reviewer.call("GET", f"/console/flows/{hub.text_of(row)}")).status == 200
        await reviewer.done("POST", f"{path}/complete", order)
        await hub.until_state("ended")
    finally:
        for client in [place.root, *place.clients]:
            await client.session.close()
        await server.stop()
        await people.close()
