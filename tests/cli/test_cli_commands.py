"""Every command against a running hub, for people and for programs (``--json``)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.kernel.process import HubProcess, Sink, adt, wait_for

pytestmark = pytest.mark.xdist_group("command_line")

DeadLetters = Callable[[int], list[str]]


def delivered(hub: HubProcess, sink: Sink, *messages: bytes) -> list[str]:
    """Send messages, wait until their delivery is recorded, and give their ids, oldest first."""
    before = len(sink.bodies)
    hub.send(*messages)
    wait_for(lambda: len(sink.bodies) == before + len(messages), "delivery")
    hub.settled()
    rows = hub.call("GET", f"/api/v1/messages?limit={len(messages)}").json["messages"]
    return [row["id"] for row in rows][::-1]


def states(hub: HubProcess, ids: list[str]) -> list[str]:
    rows = hub.call("GET", "/api/v1/deliveries?limit=1000").json["deliveries"]
    return [next(row["state"] for row in rows if row["id"] == number) for number in ids]


def become(hub: HubProcess, ids: list[str], state: str) -> None:
    wait_for(lambda: states(hub, ids) == [state] * len(ids), f"all {state}")


def test_status(hub: HubProcess, sink: Sink, hub_command: Run) -> None:
    delivered(hub, sink, adt("S1"))
    found = hub_command("status")
    assert found.status == 0
    assert "east/adt" in found.out
    assert "east_platform/patient" in found.out
    assert "closed" in found.out
    (worker,) = hub_command("status", "--json").json["workers"]
    assert worker["figures"]["inbound"]["east/adt"]["accepted"] >= 1


def test_plugins(hub_command: Run) -> None:
    found = hub_command("plugins")
    assert found.status == 0
    assert "← adt" in found.out
    assert "→ patient" in found.out
    answer = hub_command("plugins", "--json").json
    assert [plugin["id"] for plugin in answer["plugins"]] == ["his", "platform"]
    assert answer["problems"] == []


def test_messages(hub: HubProcess, sink: Sink, hub_command: Run) -> None:
    ids = delivered(hub, sink, adt("M1", "PM", "欧阳"), adt("M2", "PM", "李"))
    found = hub_command("messages", "--key", "patient_id=PM")
    assert found.status == 0
    assert [line.split()[0] for line in found.out.splitlines()[1:3]] == ids[::-1]
    assert "east_platform/patient:delivered" in found.out
    assert "欧阳" not in found.out
    assert "欧阳" in hub_command("messages", "--key", "patient_id=PM", "--clear").out
    answer = hub_command("messages", "--json", "--key", "patient_id=PM", "--since", "-1h", "--type", "ADT^*").json
    assert [row["control_id"] for row in answer["messages"]] == ["M2", "M1"]
    found = hub_command("messages", "-n", "1", "--key", "patient_id=PM")
    assert ids[1] in found.out
    assert f"--before {ids[1]}" in found.out
    found = hub_command("messages", "-n", "1", "--key", "patient_id=PM", "--before", ids[1])
    assert ids[0] in found.out
    for options in (["--control-id", "M1"], ["--source", "east/adt"], ["--system", "east"], ["--state", "delivered"]):
        rows = hub_command("messages", "--json", "--key", "patient_id=PM", *options).json["messages"]
        assert ids[0] in [row["id"] for row in rows]
    assert hub_command("messages", "--json", "--target", "nowhere/up").json["messages"] == []


def test_show(hub: HubProcess, sink: Sink, hub_command: Run) -> None:
    raw = adt("W1", "PW", "欧阳")
    (number,) = delivered(hub, sink, raw)
    wait_for(lambda: hub_command("show", number, "--json").json["deliveries"][0]["state"] == "delivered", "delivery")
    found = hub_command("show", number)
    assert found.status == 0
    assert "control_id: W1" in found.out
    assert "← east/adt" in found.out
    assert "→ east_platform/patient" in found.out
    assert "欧阳" not in found.out
    assert hub_command("show", number, "--raw").raw == raw
    answer = hub_command("show", number, "--json", "--clear").json
    assert answer["keys"]["name"] == "欧阳"
    assert [call["outcome"] for call in answer["calls"]] == ["ok", "ok"]
    assert '"number":"W1"' in answer["calls"][1]["request"]["text"]
    masked = hub_command("show", number, "--json")
    assert '"number":"W1"' in masked.json["calls"][1]["request"]["text"]
    assert "欧阳" not in masked.out


def test_calls(hub: HubProcess, hub_command: Run, dead_letters: DeadLetters) -> None:
    dead_letters(1)
    found = hub_command("calls", "--failed", "--place", "east_platform")
    assert found.status == 0
    assert "HTTP 400" in found.out
    rows = hub_command("calls", "--json", "--direction", "out", "--outcome", "permanent", "-n", "1").json["calls"]
    assert [row["code"] for row in rows] == ["400"]
    assert hub_command("calls", "--json", "--since", "2099-01-01").json["calls"] == []


def test_dead_is_a_list_and_five_verbs(hub: HubProcess, hub_command: Run, dead_letters: DeadLetters) -> None:
    ids = dead_letters(5)
    found = hub_command("dead")
    assert found.status == 0
    assert all(number in found.out for number in ids)
    rows = hub_command("dead", "list", "--json", "--target", "east_platform", "--with-reason", "HTTP 400").json[
        "deliveries"
    ]
    assert set(ids) <= {row["id"] for row in rows}
    found = hub_command("dead", "hold", ids[0], ids[1], "--why", "asked by phone")
    assert (found.status, "2 done, 0 refused" in found.out) == (0, True)
    assert states(hub, ids[:2]) == ["held", "held"]
    answer = hub_command("dead", "delete", ids[0], "--json").json
    assert answer == {"done": [ids[0]], "made": [], "refused": {}}
    assert hub_command("dead", "ignore", ids[2]).status == 0
    assert states(hub, ids[:3]) == ["skipped", "held", "skipped"]
    found = hub_command("dead", "ignore", ids[2], ids[3])
    assert found.status == 1  # one of them could not be done
    assert "1 done, 1 refused" in found.out
    assert ids[2] in found.out
    answer = hub_command("dead", "forward", ids[4], "--to", "west_platform/patient", "--json").json
    become(hub, answer["made"], "delivered")
    assert hub_command("dead", "resend", ids[1], "--step", "map").status == 0
    become(hub, ids[1:2], "delivered")


def test_dead_in_bulk(hub: HubProcess, hub_command: Run, dead_letters: DeadLetters) -> None:
    ids = dead_letters(7)
    assert "refused" in hub_command("dead", "hold", "--all", "--target", "east_platform").out
    assert states(hub, ids) == ["held"] * 7
    answer = hub_command("dead", "resend", "--all", "--state", "held", "--since", "-1h", "--json").json
    assert set(ids) <= set(answer["done"])
    become(hub, ids, "delivered")


def test_replay(hub: HubProcess, sink: Sink, hub_command: Run) -> None:
    _, number = delivered(hub, sink, adt("R0", "PQ"), adt("R1", "PR"))
    mapping = hub.config.parent.parent / "mappings" / "patient.yaml"
    text = mapping.read_text()
    found = hub_command("replay", number)
    assert (found.status, "1 replayed, 1 the same" in found.out) == (0, True)
    try:
        mapping.write_text(text.replace("id: PID-3.1", "id: PID-3.1 | lower"))
        found = hub_command("replay", number)  # a dry run reads the files as they are now
        assert "id: 'PR' → 'pr'" in found.out
        answer = hub_command("replay", number, "--json").json
        assert answer["results"][0]["changes"] == [{"path": "id", "kind": "changed", "old": "PR", "new": "pr"}]
        assert (answer["dry_run"], answer["made"]) == (True, [])
        assert hub_command("reload").status == 0
        before = len(sink.bodies)
        found = hub_command("replay", number, "--send", "--why", "corrected")
        assert (found.status, "1 sent" in found.out) == (0, True)
        wait_for(lambda: len(sink.bodies) == before + 1, "delivery")
        assert sink.bodies[-1][1]["id"] == "pr"
        rows = hub_command("replay", "--json", "--since", "-1h", "--source", "east/adt", "--most", "2").json["results"]
        assert len({row["message_id"] for row in rows}) == 2
    finally:
        mapping.write_text(text)
        assert hub_command("reload").status == 0


def test_send(hub: HubProcess, sink: Sink, hub_command: Run, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.hl7", tmp_path / "bad.hl7"
    good.write_bytes(adt("F1"))
    bad.write_bytes(b"not a message")
    found = hub_command("send", "east/adt", str(good))
    assert (found.status, "accepted" in found.out, "ADT^A01" in found.out) == (0, True, True)
    wait_for(lambda: "F1" in sink.numbers(), "delivery")
    found = hub_command("send", "east/adt", str(good), str(bad), "--json")
    assert found.status == 1
    outcomes = [(row["outcome"], bool(row.get("error"))) for row in found.json["results"]]
    assert outcomes == [("duplicate", False), ("refused", True)]


def test_reload_and_what_it_refuses(hub: HubProcess, hub_command: Run) -> None:
    assert hub_command("reload").status == 0
    assert hub_command("reload", "--json").json["routes"] == []
    text = hub.config.read_text()
    try:
        hub.config.write_text(text.replace("to: east_platform/patient", "to: east_platform/patent"))
        found = hub_command("reload")
        assert found.status == 1
        assert "hub.yaml" in found.errors
        assert "patent" in found.errors
        found = hub_command("check")
        assert found.status == 1
        assert "1 errors" in found.out
        answer = hub_command("check", "--json")
        assert (answer.status, answer.json["ok"]) == (1, False)
        (problem,) = answer.json["problems"]
        assert problem["line"]
        assert problem["remedy"]
    finally:
        hub.config.write_text(text)


def test_check(hub_command: Run) -> None:
    found = hub_command("check")
    assert (found.status, "2 plugins, 4 systems, 2 routes, 1 mappings: 0 errors" in found.out) == (0, True)
    answer = hub_command("check", "--json").json
    assert {key: answer[key] for key in ("ok", "problems", "systems")} == {"ok": True, "problems": [], "systems": 4}


def test_verify_ledger(hub: HubProcess, sink: Sink, hub_command: Run) -> None:
    delivered(hub, sink, adt("L1"))
    found = hub_command("verify-ledger")
    assert (found.status, "the ledger balances" in found.out) == (0, True)
    answer = hub_command("verify-ledger", "--json").json
    assert (answer["balanced"], answer["problems"]) == (True, [])


def test_audit(hub: HubProcess, hub_command: Run, dead_letters: DeadLetters) -> None:
    (number,) = dead_letters(1)
    hub_command("dead", "ignore", number, "--why", "not needed")
    found = hub_command("audit", "--verify")
    assert (found.status, "the chain is whole" in found.out) == (0, True)
    entries = hub_command("audit", "--json", "--verify").json["entries"]
    last = entries[-1]["entry"]
    assert (last["actor"], last["action"], last["reason"]) == ("li", "delivery.ignore", "not needed")


def test_what_comes_from_outside_can_not_command_the_terminal(hub: HubProcess, sink: Sink, hub_command: Run) -> None:
    delivered(hub, sink, adt("T1", "PT\x1b[2J\x07[bold]x"))
    for options in (["messages"], ["messages", "--clear"]):
        out = hub_command(*options, "-n", "1").raw
        assert b"\x1b" not in out
        assert b"\x07" not in out
        assert b"[bold]x" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "zz"], "13 characters"),
        (["show", "0000000000000"], "no message 0000000000000"),
        (["messages", "--since", "yesterday"], "is not a time"),
        (["messages", "--state", "lost"], "is none of"),
        (["messages", "--key", "name"], "name=value"),
        (["calls", "--direction", "up"], "is none of"),
        (["dead", "explode"], "is none of"),
        (["dead", "resend"], "--all"),
        (["dead", "resend", "zz"], "13 characters"),
        (["dead", "resend", "0000000000000", "--all"], "--all"),
        (["dead", "forward", "0000000000000", "--to", "nowhere/up"], "no target"),
        (["dead", "resend", "0000000000000", "--step", "decode"], "step"),
        (["replay"], "name messages"),
        (["replay", "zz"], "13 characters"),
        (["replay", "--since", "-1h", "--mapping", "nonesuch"], "nonesuch"),
        (["send", "east", "FILE"], "system/interface"),
    ],
)
def test_mistakes_are_told_in_one_line(hub_command: Run, tmp_path: Path, arguments: list[str], told: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    found = hub_command(*(str(file) if argument == "FILE" else argument for argument in arguments))
    assert found.status == 1
    assert found.out == ""
    assert told in found.errors
    assert found.errors.startswith("hub: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["show"],
        ["messages", "--limit", "0"],
        ["send", "east/adt", "/no/such/file"],
        ["run", "--workers", "0"],
    ],
)
def test_wrong_usage_is_status_two(hub_command: Run, arguments: list[str]) -> None:
    found = hub_command(*arguments)
    assert (found.status, found.out) == (2, "")
    assert "Usage" in found.errors


def test_without_a_hub_looking_works_and_acting_says_how(
    hub: HubProcess, sink: Sink, hub_command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered(hub, sink, adt("N1"))
    monkeypatch.setenv("TONGQU_ADMIN_URL", "http://127.0.0.1:9")
    assert hub_command("messages").status == 0
    assert hub_command("replay", "--since", "-1h").status == 0
    for arguments in (["status"], ["reload"], ["dead", "resend", "--all"]):
        found = hub_command(*arguments)
        assert found.status == 1
        assert "http://127.0.0.1:9" in found.errors
        assert "hub run" in found.errors


def test_a_wrong_token_is_told(hub: HubProcess, command: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TONGQU_ADMIN_URL", hub.url)
    config: dict[str, Any] = {"store": {"path": str(tmp_path / "var")}}
    file = tmp_path / "hub.yaml"
    file.write_text(str(config))
    found = command("status", "--config", str(file))
    assert found.status == 1
    assert "token" in found.errors


def test_probe(hub: HubProcess, hub_command: Run) -> None:
    found = hub_command("probe", "east")
    assert (found.status, "listening" in found.out) == (0, True)
    (row,) = hub_command("probe", "east_platform/patient", "--json").json["probes"]
    assert (row["place"], row["direction"], row["ok"]) == ("east_platform/patient", "out", True)
    unknown = hub_command("probe", "nobody")
    assert (unknown.status, "nobody" in unknown.errors) == (1, True)


def test_poll_is_for_sources(hub_command: Run) -> None:
    refused = hub_command("poll", "east/adt")
    assert (refused.status, "listens" in refused.errors) == (1, True)
    assert hub_command("poll", "east").status == 1
