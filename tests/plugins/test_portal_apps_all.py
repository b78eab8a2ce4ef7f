"""All 64 applications of the unified portal in one running hub: what the identity service says reaches each, and each is answered by it.

Each is also asked for its lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hub.catalog import Catalog
from hub.registry import Registry
from tests.kernel.process import ROOT, HubProcess, wait_for
from tests.plugins.portal_site import LISTS, TIME, World, make_site

CATALOG = Catalog.read(ROOT / "docs" / "catalog")
APPS = tuple(name for name in CATALOG.systems if CATALOG.group_of[name] == "portal_apps")


class Site:
    """``told``: what the identity service answered to the event that concerns all."""

    def __init__(self, hub: HubProcess, world: World) -> None:
        self.hub, self.world = hub, world
        accounts = [{"application": app, "account": f"{app}-1"} for app in APPS]
        event = {"eventId": "e1", "kind": "user_status", "userName": "zhangsan", "status": "frozen", "changedAt": TIME}
        self.told = world.call(hub, "identity/event", "/identity/events", {**event, "accounts": accounts})
        plugins = Registry.discover([ROOT / "plugins"]).plugins
        self.paths = {app: plugins[app].contract.settings["inbound_path"].default for app in APPS}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    world = World()
    with HubProcess(make_site(tmp_path_factory.mktemp("all"), world, APPS)) as hub:
        yield Site(hub, world)
    world.close()


@pytest.mark.parametrize("app", APPS)
def test_a_frozen_user_reaches_it_and_the_identity_service_answers_it(site: Site, app: str) -> None:
    assert site.told["code"] == 0

    def arrived() -> list[dict[str, Any]]:
        return site.world.said(f"/apps/{app}/portal/users/status")

    wait_for(arrived, f"the event at {app}")
    # Told again, with the same number, where the busy stand-in answered too late.
    assert {(body["eventId"], body["account"]) for body in arrived()} == {("e1", f"{app}-1")}
    asked = {"requestId": f"s-{app}", "protocol": "oauth2", "token": "good"}
    path = f"{site.paths[app]}/sso/token-check"
    answer = site.world.call(site.hub, f"{app}/sso_token_check", path, asked)
    assert (answer["code"], answer["data"]["active"], answer["data"]["userName"]) == (0, True, "zhangsan")
    for name in LISTS:
        wait_for(lambda name=name: site.world.said(f"/apps/{app}/portal/{name}"), f"{name} is asked of {app}")
    assert [wrong for wrong in site.world.wrong if f"/{app}/" in wrong] == []
