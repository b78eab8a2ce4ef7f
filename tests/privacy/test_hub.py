"""A running hub with planted people: nothing of them in logs, figures, errors, the API or the command line; what is stored is found."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
import yaml

from hub.cli import main, personal
from hub.config import load_config
from hub.keys.opened import folder_of, master_source
from hub.keys.store import KeyStore
from tests.kernel.process import HubProcess, MllpClient, Sink, make_site, wait_for
from tests.privacy.planted import message_of, person_of

PEOPLE = [person_of(seed) for seed in (7, 8, 9)]
MAPPING = """
from: {codec: hl7v2, types: ["*"]}
to: {codec: json}
fields:
  number: {expr: MSH-10, required: true}
  id: PID-3.1
  name: PID-5[2].1
  phone: PID-13.1
  address: PID-11.1
  diagnosis: DG1-4
  masked: PID-19 | mask('id_number')
  replaced: PID-19 | pseudonym('id_number')
  born: {when: "MSH-10 == 'M2'", expr: "PID-5[2].1 | date"}
"""
CHANGED = MAPPING.replace("name: PID-5[2].1", "name: PID-5[2].1 | concat('X')").replace("  address: PID-11.1\n", "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HubProcess, Sink, Path]]:
    folder = tmp_path_factory.mktemp("planted")
    sink = Sink()
    config = make_site(
        folder, sink.url, keys={"path": "../keys", "master": "file:../master.key"}, log={"level": "debug"}
    )
    plugin = folder / "plugins" / "his" / "plugin.yaml"
    contract = yaml.safe_load(plugin.read_text("utf-8"))
    contract["interfaces"]["adt"]["keys"] = {
        "patient_id": "PID-1",
        "id_number": "PID-19",
        "name": "PID-5[2].1",
        "own_name": "PID-5[2].1",
        "phone": "PID-13.1",
    }
    plugin.write_text(yaml.safe_dump(contract, allow_unicode=True), "utf-8")
    (folder / "mappings" / "patient.yaml").write_text(MAPPING, "utf-8")
    (config.parent / "privacy.yaml").write_text("keys: {own_name: name, phone: phone}\n", "utf-8")
    keys = load_config(config).hub.keys
    KeyStore.create(folder_of(keys, config.parent), master_source(keys.master, config.parent))
    with HubProcess(config) as hub:
        client = MllpClient(hub.port())
        for number, person in enumerate(PEOPLE, 1):
            raw = message_of("hl7v2", person).replace(b"|M1|", f"|M{number}|".encode())
            assert client.ask(raw) == "AA"
        client.close()
        broken = MllpClient(hub.port())
        broken.ask(
            f"PID|1||{PEOPLE[0].id_number}||{PEOPLE[0].name}\rNTE|{PEOPLE[0].phone}".encode()
        )  # no header: refused
        broken.close()
        sink.status = 500
        hub.settled()
        sink.status = 200
        yield hub, sink, config
    sink.close()


def leaks(text: str) -> list[str]:
    """Also as a JSON or URL would write it."""
    planted = [value for person in PEOPLE for value in person.planted]
    return [value for value in planted if value in text or json.dumps(value)[1:-1] in text]


Run = Callable[..., str]


@pytest.fixture
def command(
    site: tuple[HubProcess, Sink, Path], monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Run:
    """Run ``hub …`` as the program does, in this process: what it prints, on either side."""
    monkeypatch.setenv("TONGQU_ADMIN_URL", site[0].url)

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["hub", *arguments, "--config", str(site[2])])
        capsysbinary.readouterr()
        with pytest.raises(SystemExit):
            main()
        out, errors = capsysbinary.readouterr()
        return out.decode() + errors.decode()

    return run


def test_the_api_shows_no_person(site: tuple[HubProcess, Sink, Path]) -> None:
    hub, _, _ = site
    rows = wait_for(lambda: hub.call("GET", "/api/v1/messages?limit=100").json["messages"], "messages")
    assert len(rows) == 3
    paths = [f"/api/v1/messages/{row['id']}" for row in rows]
    paths += [
        "/api/v1/messages",
        "/api/v1/deliveries",
        "/api/v1/calls?bodies=1",
        "/api/v1/calls?failed=1&bodies=1",
        "/api/v1/status",
        "/metrics",
        "/api/v1/audit",
        "/api/v1/plugins",
    ]
    told = ""
    for path in paths:
        answer = hub.call("GET", path)
        assert answer.status == 200, path
        text = answer.body.decode()
        assert leaks(text) == [], path
        told += text
    assert "PID|" in told  # bodies are there, and readable
    assert '"dead"' in told  # the mapping did fail for one
    assert '"refused"' in told
    clear = hub.call("GET", f"{paths[0]}?clear=1").body.decode()
    assert len(leaks(clear)) > 5


def test_replays_show_that_something_differs_but_not_what(site: tuple[HubProcess, Sink, Path], command: Run) -> None:
    _, _, config = site
    mapping = config.parent.parent / "mappings" / "patient.yaml"
    mapping.write_text(CHANGED, "utf-8")
    try:
        text = command("replay", "--since", "-1h")
        assert "address" in text
        assert "name" in text
        assert leaks(text) == []
        assert leaks(command("replay", "--since", "-1h", "--clear"))
    finally:
        mapping.write_text(MAPPING, "utf-8")


def test_the_command_line_and_the_log_show_no_person(site: tuple[HubProcess, Sink, Path], command: Run) -> None:
    hub, _, config = site
    ids = [row["id"] for row in hub.call("GET", "/api/v1/messages").json["messages"]]
    for arguments in (
        ("messages",),
        ("messages", "--json"),
        ("show", ids[0]),
        ("show", ids[1], "--json"),
        ("show", ids[2], "--json"),
        ("calls", "--json", "--bodies"),
        ("calls", "--failed"),
        ("dead",),
        ("status",),
        ("audit",),
    ):
        text = command(*arguments)
        assert "Traceback" not in text
        assert leaks(text) == [], arguments
    assert "PID|" in command("show", ids[0])
    log = (config.parent / "run.log").read_text("utf-8")
    assert log
    assert leaks(log) == []


def test_protected_keys_are_found_by_their_full_value_only(site: tuple[HubProcess, Sink, Path]) -> None:
    hub, _, _ = site
    person = PEOPLE[0]

    def found(key: str, value: str) -> int:
        from urllib.parse import quote

        return len(hub.call("GET", f"/api/v1/messages?key.{key}={quote(value)}").json["messages"])

    wait_for(lambda: found("id_number", person.id_number) == 1, "the index", 10)
    assert found("id_number", person.id_number.lower()) == 1
    assert found("id_number", person.id_number[:17]) == 0
    assert found("own_name", person.name) == 1
    assert found("own_name", f"{person.name[0]} {person.name[1:]}") == 1
    assert found("own_name", person.given) == 0
    assert found("name", person.given) == 1  # not protected: found by its part
    assert found("phone", f"+86 {person.phone}") == 1
    assert found("phone", person.phone[:10]) == 0


def test_mappings_can_mask_and_replace(site: tuple[HubProcess, Sink, Path]) -> None:
    _, sink, _ = site
    wait_for(lambda: len(sink.bodies) >= 2, "deliveries")
    body = next(body for _, body in sink.bodies if body["number"] == "M1")
    number = PEOPLE[0].id_number
    assert body["masked"] == f"{number[:6]}********{number[14:]}"
    assert body["replaced"] != number
    assert body["replaced"][:6] == number[:6]


def test_a_tester_exports_messages(site: tuple[HubProcess, Sink, Path], tmp_path: Path) -> None:
    _, sink, config = site
    personal.export(to=tmp_path / "out", config=config)
    files = sorted((tmp_path / "out").iterdir())
    assert [file.suffix for file in files] == [".hl7"] * 3
    text = "".join(file.read_text("utf-8") for file in files)
    assert [v for p in PEOPLE for v in (p.name, p.given, p.id_number, p.phone, p.card, p.email) if v in text] == []
    replaced = {body["replaced"] for _, body in sink.bodies}
    assert any(value in text for value in replaced)  # the same pseudonym as mappings make
    assert text.startswith("MSH|")


def test_files_are_anonymised(site: tuple[HubProcess, Sink, Path], tmp_path: Path) -> None:
    _, _, config = site
    person = PEOPLE[1]
    (tmp_path / "a.json").write_bytes(message_of("json", person))
    (tmp_path / "b.json").write_bytes(b"no json")
    with pytest.raises(typer.Exit):
        personal.anonymise(
            files=[tmp_path / "a.json", tmp_path / "b.json", tmp_path / "c.json"],
            codec="json",
            to=tmp_path / "out",
            config=config,
        )
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a.json"]
    made = (tmp_path / "out" / "a.json").read_text("utf-8")
    assert json.loads(made)["head"] == {"tranId": "1", "hospital": {"name": "某市医院"}}
    assert [value for value in (person.name, person.id_number, person.phone, person.card) if value in made] == []


def test_a_mistake_in_the_classes_is_told_and_masks_stay(site: tuple[HubProcess, Sink, Path], command: Run) -> None:
    hub, _, config = site
    file = config.parent / "privacy.yaml"
    good = file.read_text("utf-8")
    file.write_text("names:\n  nonsense: [x]\n", "utf-8")
    try:
        text = command("check")
        assert "privacy.yaml:2" in text
        assert "nonsense" in text
        assert hub.call("POST", "/api/v1/reload", b"").status != 200
        (row, *_) = hub.call("GET", "/api/v1/messages").json["messages"]
        assert leaks(hub.call("GET", f"/api/v1/messages/{row['id']}").body.decode()) == []
    finally:
        file.write_text(good, "utf-8")
