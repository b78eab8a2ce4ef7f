"""The 64 systems of the unified portal: each loads, says what the catalogue says, and can be deployed; examples pass schemas and mappings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.catalog import Catalog, compare
from hub.check import plugin_problems
from hub.config import load_config
from hub.deployment import Deployment, build
from hub.mapping import Context, MappingLibrary
from hub.message import Message
from hub.registry import LoadedPlugin, Registry
from tests.kernel.process import ROOT
from tests.plugins.portal_site import World, make_site

PROVINCIAL = ROOT / "plugins" / "provincial"
CATALOG = Catalog.read(ROOT / "docs" / "catalog")
APPS = tuple(name for name, system in CATALOG.systems.items() if CATALOG.group_of[name] == "portal_apps")
#: What happens inside the hub is no interface of the profile.
EXCHANGES = {name for name, one in CATALOG.profiles["portal_app"].items() if not one.internal}
#: What the plugins of the middle platform cover, which are not loaded here.
GOVERNMENT = {"usc_gov_service": {"result_collect"}}
NOW = 1_768_440_600_000_000


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """All 64, with the portal, in one hub; nothing runs. Their keys are not read: three do so where the hub runs."""
    world = World()
    loaded = load_config(make_site(tmp_path_factory.mktemp("all"), world, APPS, bare=True))
    registry = Registry.discover(loaded.plugin_folders)
    made, _ = build(loaded, registry, MappingLibrary(loaded.mapping_folders, registry.functions))
    yield made
    world.close()


def plugin_of(deployment: Deployment, name: str) -> LoadedPlugin:
    return deployment.registry.plugins[name]


def test_there_are_sixty_four(deployment: Deployment) -> None:
    assert len(APPS) == 64
    assert len(EXCHANGES) == 26
    assert deployment.problems == []
    assert {path.parent.name for path in PROVINCIAL.glob("*/plugin.yaml")} >= set(APPS)
    paths = [plugin_of(deployment, name).contract.settings["inbound_path"].default for name in APPS]
    assert len(set(paths)) == 64  # systems may share a port


def test_the_catalogue_shows_them_covered(deployment: Deployment) -> None:
    found = compare(CATALOG, [plugin_of(deployment, name) for name in APPS])
    assert found.problems == []
    rows = {row.id: row for row in found.systems}
    for name in APPS:
        assert rows[name].plugins == [name]
        assert rows[name].assumed
        assert set(rows[name].covered) >= EXCHANGES


@pytest.mark.parametrize("name", APPS)
def test_every_one(deployment: Deployment, name: str) -> None:
    plugin = plugin_of(deployment, name)
    contract, system = plugin.contract, CATALOG.systems[name]
    assert (contract.name, contract.catalog) == (system.name, name)
    assert set(contract.sources) >= set(system.sources)
    assert [profile.contract.id for profile in plugin.profiles] == ["portal_app", "gm_http"]
    assert plugin_problems(plugin, deployment.registry, deployment) == []
    assert name in deployment.systems
    for interface in contract.interfaces.values():
        if interface.listen.get("redirect"):  # a browser neither signs nor encrypts
            assert (interface.security, interface.listen["allow"]) == ([], "${browsers}")
            continue
        assert [next(iter(one)) for one in interface.security] == ["encryption", "signature"]  # 004:10446
        if interface.direction == "out":
            assert interface.retry is not None
            assert (interface.retry.attempts, interface.retry.interval) == (3, 5.0)  # 004:10472


def examples(plugin: LoadedPlugin) -> Iterator[tuple[str, Any]]:
    """(message type, tree) of every example, the type as the hub makes it of the interface's rule."""
    for interface in plugin.contract.interfaces.values():
        for example in interface.examples:
            tree = json.loads((plugin.folder / example).read_text(encoding="utf-8"))
            text = interface.type.strip()
            if text.startswith("'"):
                yield text.strip("'"), tree
            else:
                action, kind = tree.get("action"), tree.get("kind")
                yield f"portal.{action}.{tree['application']}" if action else f"portal.{kind}", tree


def takes(pattern: str, kind: str) -> bool:
    return kind == pattern or (pattern.endswith("*") and kind.startswith(pattern[:-1]))


def runs(deployment: Deployment, kind: str, tree: Any, targets: dict[str, str], source: str) -> int:
    """How many targets make a body of a message which its schema allows; ``targets``: place -> system."""
    made = 0
    for place, system in targets.items():
        bound = deployment.outbound[place]
        if not any(takes(pattern, kind) for pattern in bound.contract.accepts):
            continue
        context = Context(
            settings=bound.settings,
            now_us=NOW,
            variables={"target": place},
            message=Message(1, NOW, source, kind, "c1", b""),
        )
        for body in deployment.mappings.get(bound.contract.mapping).run(tree, context):
            made += 1
            if bound.checks is not None:
                raw = json.dumps(body).encode()
                found = [finding for check in bound.checks.fast for finding in check.check(raw, body, context)]
                assert found == [], f"{system}: {found}"
    return made


@pytest.mark.parametrize("name", APPS)
def test_what_the_portal_says_becomes_what_the_application_takes(deployment: Deployment, name: str) -> None:
    targets = {place: name for place in deployment.outbound if place.startswith(f"{name}/")}
    for side in ("unified_identity", "unified_portal"):
        for kind, tree in examples(plugin_of(deployment, side)):
            here = json.loads(json.dumps(tree).replace('"oa"', f'"{name}"'))
            assert runs(deployment, kind.replace(".oa", f".{name}"), here, targets, f"{side}/event") == 1, kind


def test_what_applications_say_becomes_what_the_portal_takes(deployment: Deployment) -> None:
    targets = {
        place: place.split("/")[0] for place in deployment.outbound if place.startswith(("identity/", "portal/"))
    }
    seen = set()
    for kind, tree in examples(plugin_of(deployment, "oa")):
        assert runs(deployment, kind, tree, targets, "oa/x") == 1, kind
        seen.add(kind)
    types = {one.contract.type.strip("'") for place, one in deployment.inbound.items() if place.startswith("oa/")}
    assert seen == types  # every interface that receives has an example


def test_what_is_not_covered_says_why(deployment: Deployment) -> None:
    found = compare(CATALOG, deployment.registry.plugins.values())
    for row in found.systems:
        if row.group == "portal_apps":
            assert set(row.open) >= set(row.missing) - GOVERNMENT.get(row.id, set())
            stale = {name for name, one in CATALOG.interfaces(row.id).items() if one.open} - set(row.open)
            assert stale == set(), row.id


def test_a_message_to_an_expert_is_one_a_gateway_sends(deployment: Deployment) -> None:
    plugin = plugin_of(deployment, "usc_review_expert")
    tree = json.loads((plugin.folder / "examples" / "sms.json").read_text(encoding="utf-8"))
    context = Context(
        settings={"sign_name": "虚构签名"},
        now_us=NOW,
        variables={},
        message=Message(1, NOW, "x", "sms.notice", "c1", b""),
    )
    functions = Registry.discover([ROOT / "plugins" / "messaging"]).functions
    [made] = MappingLibrary([ROOT / "mappings"], functions).get("cmpp_gateway/send").run(tree, context)
    assert made == {"phone": "13800000001", "text": "【虚构签名】请在移动端确认是否参加虚构评审"}


def test_ports_speak_tls_where_a_certificate_is_given(tmp_path: Path) -> None:
    world = World()
    file = make_site(tmp_path, world, ("oa",), bare=True)
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    config["systems"]["oa"]["settings"] |= {"certificate": "/etc/hub/oa.pem", "authorities": "/etc/hub/ca.pem"}
    file.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    loaded = load_config(file)
    registry = Registry.discover(loaded.plugin_folders)
    made, _ = build(loaded, registry, MappingLibrary(loaded.mapping_folders, registry.functions))
    world.close()
    own = [
        bound for place, bound in made.inbound.items() if place.startswith("oa/") and bound.contract.adapter == "http"
    ]
    assert {bound.options.tls.certificate for bound in own} == {"/etc/hub/oa.pem"}  # type: ignore[attr-defined]
    asked = [made.outbound["oa/conn_test"], made.inbound["oa/todo_pull"]]
    assert {bound.options.tls.ca for bound in asked} == {"/etc/hub/ca.pem"}  # type: ignore[attr-defined]
    assert made.inbound["identity/event"].options.tls is None  # type: ignore[attr-defined]


def test_notes_for_operators_are_in_both_languages() -> None:
    for profile in ("portal_app", "gm_http"):
        text = (ROOT / "plugins" / "profiles" / profile / "README.md").read_text(encoding="utf-8")
        assert "operator" in text.lower()
        assert "运维" in text
    assert Path(ROOT / "plugins" / "profiles" / "portal_app" / "README.md").stat().st_size > 2000
