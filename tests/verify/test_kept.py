"""Replay sets of interfaces without a mapping: each thing that becomes of a kept message is compared, and told with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.verify import Options, PluginReport, Status, verify
from tests.verify.verify_site import make_site

FOLDER = "plugins/group/desk"
RULES = """\
for: {codec: json}
rules:
  sender:
    level: business
    assert: desk == $settings.desk
    at: desk
    text: {en: another desk, zh: 并非本窗口}
  late:
    level: plausibility
    severity: warning
    path: at
    range: {max: now}
    text: {en: in the future, zh: 晚于当前时间}
"""
SCHEMA = """\
{"type": "object", "properties": {"number": {"type": "string", "maxLength": 8}}, "required": ["number"]}
"""
CONTRACT = """\
id: desk
name: Desk
sources: [specification 1.2]
settings:
  url: {type: url, required: true}
  token: {type: secret, required: true}
  key: {type: secret, required: true}
  port: {type: port, required: true}
  desk: {type: string, required: true}
  base: {type: string, default: /v1}
interfaces:
  receive:
    direction: in
    adapter: http
    listen: {port: "${port}", path: /answers, auth: {type: bearer, secret: "${token}"}}
    security: [{token: {at: {field: token}, user: desk, secret: "${token}", key: "${key}"}}]
    codec: json
    validate: {mode: strict, schema: kept.json, quality: kept}
    type: "kind | match({'1': 'desk.order', '2': 'desk.refund'})"
    control_id: number
    keys: {order: number, phone: phone, call: $call}
    max_size: 1KB
  send:
    direction: out
    accepts: [desk.order, desk.refund.*]
    adapter: http
    connect: {url: "${url}", path: "${base}/orders/{order}"}
    codec: json
    validate: {mode: warn, schema: kept.json}
    order_by: number
    idempotency: number
  refund:
    direction: out
    accepts: desk.refund
    adapter: http
    connect: {url: "${url}"}
    codec: json
    validate: {mode: strict, schema: kept.json}
    order_by: ''
"""
RECEIVED: dict[str, Any] = {
    "name": "an order",
    "input": {"kind": "1", "number": "A-1", "desk": "D1", "phone": "19900000001", "at": "2026-01-15T09:00:00+08:00"},
    "variables": {"call": "C7"},
    "type": "desk.order",
    "control_id": "A-1",
    "keys": {"order": "A-1", "phone": "19900000001", "call": "C7"},
}
FOREIGN: dict[str, Any] = {
    **RECEIVED,
    "input": {**RECEIVED["input"], "desk": "D2"},
    "findings": [{"rule": "sender", "place": "desk"}],
    "refused": "validate.failed",
}
SENT: dict[str, Any] = {
    "name": "an order",
    "message": {"type": "desk.order", "keys": {"order": "A-1"}},
    "input": {"number": "A-1"},
    "order_key": "A-1",
    "idempotency": "A-1",
    "path": "/v1/orders/{order}",
}
LONG: dict[str, Any] = {
    **SENT,
    "input": {"number": "A-0000001"},
    "order_key": "A-0000001",
    "idempotency": "A-0000001",
    "findings": [{"rule": "json.maxLength", "place": "number"}],
}
REFUND: dict[str, Any] = {
    "name": "a refund",
    "message": {"type": "desk.refund"},
    "input": {},
    "findings": [{"rule": "json.required", "place": "number"}],
    "refused": "validate.failed",
}
TOO_LARGE = {"name": "too large", "input": {"number": "1" * 1100}, "refused": "intake.too_large"}
NO_JSON = {"name": "no JSON", "input": "<order/>", "refused": "json.invalid"}
NO_TYPE = {"name": "no type", "input": {"kind": "3", "number": "A-1"}, "refused": "mapping.failed"}
LATE = {
    **RECEIVED,
    "now": "2026-01-15T08:59:00+08:00",
    "findings": [{"rule": "late", "place": "at"}],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_site(tmp_path, {"desk": {}})
    (tmp_path / FOLDER / "plugin.yaml").write_text(CONTRACT, encoding="utf-8")
    (tmp_path / "schemas/kept.json").write_text(SCHEMA, encoding="utf-8")
    (tmp_path / "schemas/kept.rules.yaml").write_text(RULES, encoding="utf-8")
    (tmp_path / FOLDER / "replay").mkdir()
    return tmp_path


def judged(root: Path) -> PluginReport:
    return verify(root / "config" / "hub.yaml", ["desk"], options=Options(calls=False)).plugins["desk"]


def replayed(root: Path, interface: str, *cases: dict[str, Any], **defaults: Any) -> tuple[Status, str]:
    file = root / FOLDER / "replay" / f"{interface}.yaml"
    kept = {"defaults": {"settings": {"desk": "D1"}, **defaults}, "cases": list(cases)}
    file.write_text(yaml.safe_dump(kept, allow_unicode=True, sort_keys=False), encoding="utf-8")
    (result,) = judged(root).of("replay")
    return result.status, f"{result.why} {result.remedy}"


def named(case: dict[str, Any], name: str) -> dict[str, Any]:
    return {**case, "name": name}


def test_what_is_still_so_passes(root: Path) -> None:
    cases = (RECEIVED, named(FOREIGN, "foreign"), named(LATE, "late"), TOO_LARGE, NO_JSON, NO_TYPE)
    assert replayed(root, "receive", *cases) == (Status.PASSED, " ")
    (root / FOLDER / "replay/receive.yaml").unlink()
    assert replayed(root, "send", SENT, named(LONG, "long")) == (Status.PASSED, " ")
    (root / FOLDER / "replay/send.yaml").unlink()
    assert replayed(root, "refund", REFUND) == (Status.PASSED, " ")


FALSE: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "another type": ("receive", RECEIVED, {"type": "desk.refund"}, "cases[0].type: an order: expected 'desk.refund', found 'desk.order'"),
    "no type": ("receive", RECEIVED, {"type": ""}, "cases[0].type: an order: expected nothing, found 'desk.order'"),
    "another control id": ("receive", RECEIVED, {"control_id": "A-2"}, "cases[0].control_id"),
    "another key": ("receive", RECEIVED, {"keys": {**RECEIVED["keys"], "order": "A-2"}}, "cases[0].keys.order: an order: expected 'A-2', found 'A-1'"),
    "a key too few": ("receive", RECEIVED, {"keys": {"order": "A-1", "call": "C7"}}, "cases[0].keys.phone: an order: expected nothing"),
    "a key too many": ("receive", RECEIVED, {"keys": {**RECEIVED["keys"], "visit": "V1"}}, "cases[0].keys.visit: an order: expected 'V1', found nothing"),
    "another parameter": ("receive", RECEIVED, {"variables": {"call": "C8"}}, "expected 'C7', found 'C8'"),
    "a finding too few": ("receive", FOREIGN, {"findings": []}, "cases[0].findings: an order: expected nothing, found 'sender desk'"),
    "a finding too many": ("receive", RECEIVED, {"findings": [{"rule": "late", "place": "at"}]}, "cases[0].findings[0]: an order: expected 'late at', found nothing"),
    "a finding twice": ("receive", FOREIGN, {"findings": FOREIGN["findings"] * 2}, "cases[0].findings[1]"),
    "a finding elsewhere": ("receive", FOREIGN, {"findings": [{"rule": "sender", "place": "number"}]}, "expected 'sender number', found nothing"),
    "another time": ("receive", LATE, {"now": "2026-01-15T09:30:00+08:00"}, "cases[0].findings[0]"),
    "taken in": ("receive", FOREIGN, {"refused": ""}, "cases[0].refused: an order: expected nothing, found 'validate.failed' (sender: desk: another desk"),
    "refused": ("receive", RECEIVED, {"refused": "validate.failed"}, "cases[0].refused: an order: expected 'validate.failed', found nothing"),
    "another order": ("send", SENT, {"order_key": "*"}, "cases[0].order_key: an order: expected '*', found 'A-1'"),
    "another idempotency key": ("send", SENT, {"idempotency": ""}, "cases[0].idempotency: an order: expected nothing, found 'A-1'"),
    "another path": ("send", SENT, {"path": "/v2/orders/{order}"}, "cases[0].path: an order: expected '/v2/orders/{order}', found '/v1/orders/{order}'"),
    "a type it does not take": ("send", SENT, {"message": {"type": "desk.refund"}}, "cases[0].message.type: the interface does not take type 'desk.refund'"),
    "a finding of what is sent": ("send", LONG, {"findings": []}, "found 'json.maxLength number'"),
    "not sent": ("refund", REFUND, {"refused": ""}, "cases[0].refused: a refund: expected nothing, found 'validate.failed'"),
}  # fmt: skip


@pytest.mark.parametrize("case", FALSE)
def test_what_is_no_longer_so_is_told(root: Path, case: str) -> None:
    interface, kept, wrong, told = FALSE[case]
    status, why = replayed(root, interface, {**kept, **wrong})
    assert status is Status.FAILED
    assert told in why, why
    assert f"replay/{interface}.yaml:" in why, why
    assert "19900000001" not in why, "values that look like personal data are masked"


def test_a_change_of_the_contract_or_its_rules_is_felt(root: Path) -> None:
    assert replayed(root, "receive", RECEIVED)[0] is Status.PASSED
    for file, old, new in (
        (f"{FOLDER}/plugin.yaml", "control_id: number", "control_id: desk"),
        (f"{FOLDER}/plugin.yaml", "'1': 'desk.order'", "'1': 'desk.purchase'"),
        ("schemas/kept.json", '"number"]', '"number", "name"]'),
        ("schemas/kept.rules.yaml", "max: now", "max: now - 1h"),
    ):
        before = (root / file).read_text(encoding="utf-8")
        assert old in before
        (root / file).write_text(before.replace(old, new), encoding="utf-8")
        assert judged(root).status("replay") is Status.FAILED, (file, new)
        (root / file).write_text(before, encoding="utf-8")


WRITTEN: dict[str, tuple[str, dict[str, Any], str]] = {
    "a key of the other direction": ("send", {**SENT, "control_id": "A-1"}, "unknown key 'control_id'"),
    "a mistyped key": ("receive", {**RECEIVED, "finding": []}, "did you mean 'findings'"),
    "neither input nor file": ("receive", {"name": "nothing", "type": "desk.order"}, "exactly one of input: and input_file:"),
    "a file that is not there": ("receive", {"name": "away", "input_file": "away.json"}, "away.json can't be read"),
    "no time": ("receive", {**RECEIVED, "now": "yesterday"}, "'yesterday' is not a time"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRITTEN)
def test_a_mistake_in_the_set_is_told_with_its_line(root: Path, case: str) -> None:
    interface, kept, told = WRITTEN[case]
    status, why = replayed(root, interface, kept)
    assert status is Status.FAILED
    assert told in why, why
    assert f"replay/{interface}.yaml:" in why, why


def test_settings_nobody_knows_and_two_cases_of_a_name_are_told(root: Path) -> None:
    status, why = replayed(root, "send", SENT, settings={"desc": "D1"})
    assert (status, "desc" in why, "replay/send.yaml:3: defaults.settings.desc" in why) == (
        Status.FAILED,
        True,
        True,
    ), why
    status, why = replayed(root, "send", SENT, SENT)
    assert (status, "the name of two cases" in why) == (Status.FAILED, True), why


def test_a_message_in_a_file_of_its_own(root: Path) -> None:
    (root / FOLDER / "replay/order.json").write_text('{"number": "A-1"}', encoding="utf-8")
    kept = {key: value for key, value in SENT.items() if key != "input"} | {"input_file": "order.json"}
    assert replayed(root, "send", kept)[0] is Status.PASSED
    (root / FOLDER / "replay/order.json").write_text('{"number": "A-2"}', encoding="utf-8")
    assert judged(root).status("replay") is Status.FAILED


def test_a_set_of_no_interface_names_the_nearest(root: Path) -> None:
    status, why = replayed(root, "recieve", RECEIVED)
    assert (status, "no interface" in why, "'receive'" in why) == (Status.FAILED, True, True), why
