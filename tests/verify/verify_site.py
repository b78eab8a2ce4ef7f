"""A site for contract tests: one sound plugin, and others that differ from it by one fault each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["VARIANTS", "make_site"]

CONTRACT = """\
id: ID
name: Desk ID
sources: [specification 1.2]
settings:
  url: {type: url, required: true, description: address of the party}
  token: {type: secret, required: true, description: its token}
  port: {type: port, required: true, description: port to listen on}
interfaces:
  send:
    direction: out
    accepts: desk.order
    adapter: http
    connect:
      url: ${url}
      path: /orders
      auth: {type: bearer, secret: "${token}"}
    codec: json
    mapping: ID/sent
    validate: {mode: warn, schema: ID.json}
    order_by: number
    success: code == '0'
    reply: {code: code, message: message}
    errors:
      "4001": {class: permanent, text: no such thing}
      "5001": {class: transient, text: busy}
      "2001": {class: delivered, text: known already}
    timeout: 5s
    retry: {attempts: 2, interval: 5s}
    examples: [examples/sent.json]
  receive:
    direction: in
    adapter: http
    listen:
      port: ${port}
      path: /answers
      auth: {type: bearer, secret: "${token}"}
    codec: json
    validate: {mode: warn, schema: ID.json}
    control_id: number
    examples: [examples/received.json]
"""
MAPPING = """\
from: {codec: json, types: [desk.order]}
to: {codec: json}
fields:
  number: number
  name: name
"""
TESTS = """\
cases:
  - name: an order
    message: {type: desk.order}
    input: {number: A-1, name: 欧阳样例, idCard: "110101199003070011"}
    output: {number: A-1, name: 欧阳样例}
"""
SCHEMA = """\
{"description": "specification 1.2, table 3", "type": "object", "properties": {"number": {"type": "string"}}, "required": ["number"]}
"""
NOTES = """\
# Desk

**For operators.** The desk sends what the hospital's systems say and takes the answers of the other party. When deliveries fail, look at the code and call the desk of the other party.

**运维须知。** 本插件负责将院内系统的消息发送至对方平台，并接收对方的应答。投递失败时请查看错误码，并联系对方平台的值班人员处理，处理完成后可在死信中重新发送，发送前请确认对方系统已经恢复正常。
"""
_CODE = '''\
import logging

from hub.api import HubError, hookimpl


def checked_NAME(value, *, now_us=0):
    """A customer."""
    BODY
    return value


@hookimpl
def hub_functions():
    return {"checked_NAME": checked_NAME}
'''


def _code(name: str, body: str) -> dict[str, tuple[str, str] | str]:
    return {
        "plugins/group/ID/plugin.py": _CODE.replace("NAME", name).replace("BODY", body),
        "mappings/ID/sent.yaml": ("name: name", f"name: name | checked_{name}"),
    }


CONTRACT_FILE = "plugins/group/ID/plugin.yaml"
MAPPING_FILE = "mappings/ID/sent.yaml"
#: name -> file -> (old, new), or its whole text.
VARIANTS: Mapping[str, Mapping[str, tuple[str, str] | str]] = {
    "sound": {},
    "believes": {CONTRACT_FILE: ("success: code == '0'", "success: \"true\"")},
    "blind": {CONTRACT_FILE: ("    success: code == '0'\n    reply: {code: code, message: message}\n", "")},
    "unordered": {CONTRACT_FILE: ("order_by: number", "order_by: $message.id")},
    "restless": {MAPPING_FILE: ("number: number", "number: concat(number, ' at ', $now)")},
    "wrong_form": {MAPPING_FILE: ("number: number", "number: {const: 7}")},
    "forgetful": {CONTRACT_FILE: ("control_id: number", "control_id: concat(number, $now)")},
    "dead_probe": {CONTRACT_FILE: ("path: /orders", "path: /orders\n      probe: {path: /well, expect: [418]}")},
    "talkative": _code("talkative", 'logging.getLogger("desk").warning("customer %s", value)'),
    "leaking": _code("leaking", 'if value != "欧阳样例": raise HubError(f"{value} is no customer")'),
    "unmapped": {CONTRACT_FILE: ("mapping: ID/sent", "mapping: ID/nothing")},
    "unreachable_adapter": {CONTRACT_FILE: ("    adapter: http\n    connect:", "    adapter: pigeon\n    connect:")},
}  # fmt: skip


def make_site(root: Path, variants: Mapping[str, Mapping[str, tuple[str, str] | str]] = VARIANTS) -> Path:
    """The plugins with their mappings and schemas; returns the configuration file."""
    for name, changes in variants.items():
        files = {
            CONTRACT_FILE: CONTRACT,
            MAPPING_FILE: MAPPING,
            "mappings/ID/sent.tests.yaml": TESTS,
            "schemas/ID.json": SCHEMA,
            "plugins/group/ID/README.md": NOTES,
            "plugins/group/ID/examples/sent.json": '{"number": "A-1", "name": "欧阳样例"}',
            "plugins/group/ID/examples/received.json": '{"number": "B-1"}',
        }
        for file, change in changes.items():
            if isinstance(change, str):
                files[file] = change
                continue
            old, new = change
            assert old in files[file], (name, file)
            files[file] = files[file].replace(old, new, 1)
        for file, text in files.items():
            path = root / file.replace("ID", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("ID", name), encoding="utf-8")
    config = root / "config" / "hub.yaml"
    config.parent.mkdir(exist_ok=True)
    config.write_text("{}\n", encoding="utf-8")
    return config
