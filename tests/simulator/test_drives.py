"""Messages the other party sends: into a hub that runs, over HTTP with login and keys, and over MLLP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.mllp.framing import frame
from hub.simulator import Behaviour, Simulator
from tests.kernel.process import ROOT, HubProcess, MllpClient
from tests.simulator.simulator_support import GROUPS, Played, played

PLUGINS = ("freight_province", "freight_operator", "his_hl7v2", "tencent_sms")


class Site:
    def __init__(self, party: Played, folder: Path) -> None:
        self.party = party
        self.simulators: dict[str, Simulator] = {name: party.start(name) for name in PLUGINS}
        self.systems = {name: party.system(name, one, folder / "secrets") for name, one in self.simulators.items()}
        self.systems["tencent_sms"]["interfaces"] = {"send": "off"}
        config = {
            "plugins": [*map(str, GROUPS)],
            "mappings": [str(ROOT / "mappings")],
            "schemas": [str(ROOT / "schemas")],
            "watch": False,
            "store": {"path": "../var", "min_free_disk": 0},
            "admin": {"port": 0},
            "systems": self.systems,
        }
        self.file = folder / "config" / "hub.yaml"
        self.file.parent.mkdir()
        self.file.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")

    def send(self, plugin: str, interface: str, *arguments: Any, **options: Any) -> Any:
        return self.party.run(self.simulators[plugin].send(interface, *arguments, **options))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with played() as party:
        found = Site(party, tmp_path_factory.mktemp("driven"))
        with HubProcess(found.file):
            yield found


def test_an_operator_logs_in_and_reports_each_document_once(site: Site) -> None:
    replies = [site.send("freight_province", "documents") for _ in range(5)]
    assert [(reply.ok, json.loads(reply.body)["code"]) for reply in replies] == [(True, 1001)] * 5
    assert [reply.problems for reply in replies] == [[]] * 5
    sent = replies[0].sent
    assert json.loads(site.send("freight_province", "documents", body=sent).body)["code"] == 3001


@pytest.mark.parametrize(
    ("plugin", "interface", "behaviour"),
    [
        ("freight_province", "documents", Behaviour("garbage")),
        ("freight_province", "documents", Behaviour("truncated")),
        ("freight_operator", "waybill", Behaviour("unauthorised")),
        ("tencent_sms", "report", Behaviour("unauthorised")),
    ],
    ids=lambda value: getattr(value, "kind", value),
)
def test_a_hub_refuses_what_it_should(site: Site, plugin: str, interface: str, behaviour: Behaviour) -> None:
    reply = site.send(plugin, interface, misbehave=behaviour)
    code = json.loads(reply.body).get("code") if plugin == "freight_province" else None
    assert not reply.ok or code not in (1001, None)


def test_bearer_and_basic_are_shown(site: Site) -> None:
    for plugin, interface in (
        ("freight_operator", "vehicle"),
        ("freight_operator", "driver"),
        ("tencent_sms", "report"),
    ):
        reply = site.send(plugin, interface)
        assert (reply.ok, reply.problems) == (True, [])


def test_hl7_messages_have_numbers_of_their_own(site: Site) -> None:
    replies = [site.send("his_hl7v2", "adt") for _ in range(8)]
    assert {reply.code for reply in replies} == {"AA"}
    numbers = {reply.sent.split(b"|")[9] for reply in replies}
    assert len(numbers) == 8


def test_the_command_drives_and_counts(site: Site, tmp_path: Path) -> None:
    settings = site.simulators["freight_operator"].settings
    command = [sys.executable, "-m", "hub.cli", "simulate", "freight_operator", "--config", str(site.file), "--drive"]
    given = [f"--set={name}={value}" for name, value in settings.items() if name in ("port", "token")]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *more], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)

    good = run("location", "--rate", "0", "--count", "20", "--json", *given)
    assert (good.returncode, json.loads(good.stdout)["good"]) == (0, 20), good.stderr
    wrong = run("location", "--rate", "0", "--count", "2", "--json", given[0] if "port" in given[0] else given[1])
    assert (wrong.returncode, json.loads(wrong.stdout)["good"]) == (1, 0), wrong.stderr


HL7_TARGET = """
id: lab
name: 检验
settings: {port: {type: port, required: true}}
interfaces:
  orders:
    direction: out
    adapter: mllp
    connect: {host: 127.0.0.1, port: "${port}"}
    codec: hl7v2
    simulate:
      checks: [{when: PID-3.1 == 'NOBODY', code: AR}]
"""


def test_a_target_over_mllp_acknowledges_and_refuses(party: Played, tmp_path: Path) -> None:
    from hub.registry import Registry
    from tests.simulator.simulator_support import plugins

    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "plugin.yaml").write_text(HL7_TARGET, encoding="utf-8")
    registry = Registry.discover([tmp_path])
    simulator = party.run(Simulator.start(registry.plugins["lab"], registry, plugins()[1]))
    message = "MSH|^~\\&|H|A|L|B|20260115093015||ORM^O01|{}|P|2.5.1\rPID|1||{}||张^三\r"
    try:
        client = MllpClient(simulator.settings["port"])
        assert client.ask(message.format("1", "P1").encode()) == "AA"
        assert client.ask(message.format("2", "NOBODY").encode()) == "AR"
        assert client.ask(b"no hl7 at all") in ("AE", "AR")
        simulator.misbehave("orders", Behaviour("error", "AE"))
        assert client.ask(message.format("3", "P1").encode()) == "AE"
        client.close()
        assert frame(b"x")
        assert [call.verdict for call in simulator.calls] == ["accepted", "refused", "refused", "misbehaved"]
    finally:
        party.run(simulator.stop())
