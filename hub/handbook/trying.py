"""How to test an interface: with the hub's own commands and, over HTTP, with curl."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from urllib.parse import urlencode

from hub.contract import Interface
from hub.handbook.blocks import Block, Heading, Para, Pre, say
from hub.handbook.examples import Example
from hub.handbook.subject import Subject
from hub.handbook.transport import Transport
from hub.i18n import t

__all__ = ["trying"]

_TYPES = {
    "json": "application/json",
    "xml": "application/xml",
    "fhir": "application/fhir+json",
    "form": "application/x-www-form-urlencoded",
}


def trying(
    subject: Subject, name: str, interface: Interface, transport: Transport, found: Sequence[Example]
) -> list[Block]:
    """Commands for both sides."""
    if interface.adapter == "results":
        return []
    blocks: list[Block] = [Heading(3, (t("How to test", "测试方法"),))]
    plugin = subject.contract.id
    lines = [f"hub simulate {plugin}", f"hub verify {plugin}"]
    if interface.direction == "in":
        system = subject.id if subject.system else "SYSTEM"
        if found:
            lines.append(f"hub send {system}/{name} {shlex.quote(found[0].file)}")
        blocks.append(
            Para(
                (
                    t(
                        "At the hub: play the other side, check the contract, hand in an example.",
                        "在枢纽侧：模拟对方、校验契约、提交示例。",
                    ),
                )
            )
        )
    else:
        blocks.append(
            Para(
                (
                    t(
                        "At the hub: play the other side, and check the contract against it.",
                        "在枢纽侧：模拟对方，并据此校验契约。",
                    ),
                )
            )
        )
    blocks.append(Pre("\n".join(lines), "sh"))
    if transport.http == "server" and interface.direction == "in":
        blocks += _curl(interface, transport, found)
    return blocks


def _curl(interface: Interface, transport: Transport, found: Sequence[Example]) -> list[Block]:
    auth = interface.listen.get("auth")
    kind = auth.get("type") if isinstance(auth, dict) else ""
    lines = ["curl -i"]
    method = transport.methods()[0]
    if method != "POST":
        lines.append(f"  -X {method}")
    if kind == "basic":
        lines.append('  -u "$USER_NAME:$PASSWORD"')
    elif kind in ("bearer", "caller"):
        lines.append('  -H "Authorization: Bearer $TOKEN"')
    elif kind == "api_key" and isinstance(auth, dict):
        lines.append(f'  -H {shlex.quote(str(auth.get("header") or "X-Api-Key") + ": ")}"$API_KEY"')
    types = interface.listen.get("content_types")
    content = types[0] if isinstance(types, list) and types else _TYPES.get(interface.codec, "")
    if content and method != "GET":
        lines.append(f"  -H {shlex.quote(f'Content-Type: {content}')}")
    if method not in ("GET", "DELETE"):
        lines.append(f"  --data-binary {shlex.quote('@' + (found[0].file if found else 'message'))}")
    address = re.sub(r"[\x00-\x1f]", "", transport.address())
    if method == "GET" and interface.listen.get("query_as_body") and found and isinstance(found[0].tree, dict):
        address += f"?{urlencode(found[0].tree)}"
    lines.append(f"  {shlex.quote(address)}")
    told = t("At the caller:", "在调用方：")
    if interface.security:
        told = t("At the caller, after signing as described above:", "在调用方（按上文规则签名、加密之后）：")
    return [Para(say(told)), Pre(" \\\n".join(lines), "sh")]
