"""What is told to people of a trail that proves less than it could."""

from __future__ import annotations

from hub.audit.security import weaknesses
from hub.cli.audit_reads import audit_troubles
from hub.contract import HubConfig
from tests.audit.audit_support import World


def rules(world: World, **audit: object) -> set[str]:
    config = HubConfig.model_validate({"audit": audit})
    return {found.rule for found in weaknesses(config, world.file.parent)}


def test_what_check_security_says(world: World) -> None:
    assert rules(world) == {"audit.unsigned", "audit.no_copy"}
    world.make_keys()
    assert rules(world, export={"a": {"to": "tcp://collector:601"}}, allow_short=True) == {
        "audit.plain_copy",
        "audit.short_retention",
    }
    assert rules(world, export={"a": {"to": "tls://collector"}, "b": {"to": "file:x"}}) == set()


def test_what_status_says(world: World) -> None:
    assert audit_troubles({}) == []
    world.keeper.checkpoint()
    copies = [
        {"place": "siem", "trouble": "refused", "set_back": ["hub"]},
        {"place": "b", "trouble": "", "set_back": []},
    ]
    told = audit_troubles({"audit": world.keeper.status() | {"copies": copies}})
    assert ["not signed" in told[0], "siem: refused" in told[1], "shorter than it: hub" in told[2], len(told)] == [
        True,
        True,
        True,
        3,
    ]
