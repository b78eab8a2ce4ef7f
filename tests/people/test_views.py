"""What people see of a message is what their roles are for; all of it only with the right, and when they ask."""

from __future__ import annotations

import pytest

from hub.ids import id_text
from hub.message import DeliveryState
from tests.kernel.kernel_support import Site
from tests.people.conftest import OpenPlace

NAME, PHONE = "欧阳明哲", "13900001234"


@pytest.mark.parametrize(
    ("role", "sees"),
    [("monitor", True), ("integration_engineer", True), ("tester", True), ("auditor", False), ("administrator", True)],
)
async def test_a_view_for_each_role(place: OpenPlace, site: Site, role: str, sees: bool) -> None:
    site.system("his", "his")
    site.target("lab")
    site.config["routes"]["to_lab"]["from"] = "his"
    here = await place()
    receipt = await here.hub.wire.submit("his/in", {"id": "m1", "type": "t", "pid": "P1", "name": NAME, "phone": PHONE})
    await here.hub.reached(DeliveryState.DELIVERED, 2)
    await here.person("eve", role)
    eve = await here.sign_in("eve")
    path = f"/api/v1/messages/{id_text(receipt.message_id)}"
    answer = await eve.call("GET", path)
    if answer.status == 403:  # this role does not look at messages at all
        return
    assert answer.status == 200
    assert NAME not in answer.raw.decode()
    assert PHONE not in answer.raw.decode()
    shown = answer.json["body"]
    assert bool(shown and shown.get("text")) is sees
