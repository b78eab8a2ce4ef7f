"""The other party of a configured system: its own secrets, and what can't be had replaced and told."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import yaml

from hub.deployment import load_deployment
from hub.errors import HubError
from hub.simulator.deployed import deployed
from hub.simulator.keys import KeyBook
from tests.plugins.freight_support import sm2_pair
from tests.simulator.simulator_support import ROOT, Played


def make_site(folder: Path, public: str) -> Path:
    for name, value in (("password", "password-of-the-site"), ("platform", public)):
        (folder / name).write_text(value)
        (folder / name).chmod(0o600)
    config = {
        "plugins": [str(ROOT / "plugins" / "freight")],
        "mappings": [str(ROOT / "mappings")],
        "schemas": [str(ROOT / "schemas")],
        "systems": {
            "ministry": {
                "plugin": "freight_exchange",
                "settings": {
                    "base_url": "https://ministry.example.org",
                    "user": "operator1",
                    "password": "file:password",
                    "platform_key": "file:platform",
                    "sender_code": "359999",
                    "enterprise_code": "DEMO0001",
                },
                "interfaces": {"location": "off", "vehicle": {"timeout": "7s"}},
            }
        },
    }
    file = folder / "hub.yaml"
    file.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return file


def test_what_only_the_real_party_has_is_replaced_and_told(party: Played, tmp_path: Path) -> None:
    deployment = load_deployment(make_site(tmp_path, sm2_pair()[1]))
    found = deployed(deployment, "ministry", KeyBook())
    assert found.replaced == ["base_url", "platform_key"]
    assert found.settings["password"] == "password-of-the-site"
    assert "password-of-the-site" not in repr(found)
    simulator = party.start("freight_exchange", settings=found.settings, overrides=found.overrides)
    assert simulator.settings["base_url"].startswith("http://127.0.0.1:")
    assert simulator.settings["password"] == "password-of-the-site"
    assert simulator.settings["platform_key"]


@pytest.mark.parametrize(
    ("address", "stays"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("http://localhost:8080", True),
        ("https://127.0.0.1.example.org", False),
        ("https://127.example.org", False),
    ],
)
def test_an_address_that_only_looks_like_loopback_is_replaced(tmp_path: Path, address: str, stays: bool) -> None:
    file = make_site(tmp_path, sm2_pair()[1])
    file.write_text(file.read_text("utf-8").replace("https://ministry.example.org", address), "utf-8")
    assert ("base_url" in deployed(load_deployment(file), "ministry", KeyBook()).replaced) != stays


def test_with_the_private_key_the_public_one_stays(tmp_path: Path) -> None:
    private, public = sm2_pair()
    keys = KeyBook()
    keys.learn("sm2", private)
    found = deployed(load_deployment(make_site(tmp_path, public)), "ministry", keys)
    assert found.replaced == ["base_url"]
    assert found.settings["platform_key"] == public


def test_a_system_nobody_configured_is_told(tmp_path: Path) -> None:
    with pytest.raises(HubError) as caught:
        deployed(load_deployment(make_site(tmp_path, sm2_pair()[1])), "minstry", KeyBook())
    assert "ministry" in caught.value.remedy


def test_secrets_are_handed_over_in_files_of_their_own(party: Played, tmp_path: Path) -> None:
    simulator = party.start("freight_exchange")
    system = party.system("freight_exchange", simulator, tmp_path / "given")
    file = Path(system["settings"]["password"].removeprefix("file:"))
    assert file.read_text() == simulator.settings["password"]
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert simulator.settings["password"] not in yaml.safe_dump(system)


def test_a_database_is_one_of_its_own_with_the_password_of_the_site(party: Played, tmp_path: Path) -> None:
    file = make_site(tmp_path, sm2_pair()[1])
    config = yaml.safe_load(file.read_text("utf-8"))
    there = {"product": "postgresql", "host": "10.1.0.9", "database": "monitor", "user": "province"}
    config["systems"] = {"monitor": {"plugin": "freight_monitor", "settings": {**there, "password": "file:password"}}}
    file.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    found = deployed(load_deployment(file), "monitor", KeyBook())
    assert sorted(found.replaced) == ["database", "host", "port", "product", "user"]
    simulator = party.start("freight_monitor", settings=found.settings, overrides=found.overrides)
    assert not simulator.not_simulated
    assert (simulator.settings["host"], simulator.settings["password"]) == ("127.0.0.1", "password-of-the-site")
