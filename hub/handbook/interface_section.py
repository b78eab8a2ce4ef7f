"""The part of a page that tells of one interface: how it is called, protected, what is in it, what comes of it."""

from __future__ import annotations

import json
import re

from hub.contract import Interface
from hub.handbook.blocks import (
    Block,
    Bullets,
    Heading,
    Inline,
    Link,
    Para,
    Pre,
    Strong,
    Table,
    code,
    joined,
    say,
)
from hub.handbook.examples import Example, examples
from hub.handbook.fields_table import FieldsTables
from hub.handbook.formats import format_name
from hub.handbook.hl7_structure import hl7_structure
from hub.handbook.material import Material
from hub.handbook.outcomes import errors
from hub.handbook.reliability import reliability
from hub.handbook.security_words import security_blocks
from hub.handbook.subject import Subject
from hub.handbook.transport import Transport
from hub.handbook.trying import trying
from hub.handbook.words import anchor, duration, in_language, references
from hub.i18n import t

__all__ = ["InterfaceSections", "interface_name"]


class InterfaceSections:
    """The interfaces of one page, in order: what was told before in the same words is referred to."""

    def __init__(self, material: Material, subject: Subject, fields: FieldsTables) -> None:
        self._material = material
        self._subject = subject
        self._fields = fields
        self._told: list[tuple[list[Block], Link]] = []

    def interfaces(self) -> list[Block]:
        blocks: list[Block] = []
        for name, interface in self._subject.interfaces.items():
            blocks += self._interface(name, interface)
        return blocks

    def _interface(self, name: str, interface: Interface) -> list[Block]:
        transport = Transport(self._subject, interface, self._material.registry)
        blocks: list[Block] = [Heading(2, (interface_name(name, interface),), anchor("interface", name))]
        facts: list[list[Inline]] = [
            [(t("Id", "编号"),), code(name)],
            [(t("Direction", "方向"),), (self.direction(interface),)],
        ]
        facts.append([(t("Style", "方式"),), (self._style(interface),)])
        facts += [[(words,), told] for words, told in transport.facts() if told]
        if interface.adapter == "results":
            facts.append([(t("Comes from", "来源"),), self._origin(name)])
        facts.append([(t("Format", "报文格式"),), self._format(interface)])
        types = self.types(interface)
        if types:
            facts.append([(t("Message types", "消息类型"),), types])
        if interface.direction == "in" and interface.keys:
            keys = joined(
                [
                    say("{name} = {rule}", name=code(key), rule=code(" ".join(rule.split())))
                    for key, rule in interface.keys.items()
                ],
                t("; ", "；"),
            )
            facts.append([(t("Business keys", "业务主键"),), keys])
        covered = self._covered(interface)
        if covered:
            facts.append([(t("In the catalogue", "目录中的接口"),), covered])
        blocks.append(Table([], facts))
        proof = transport.authentication()
        if proof:
            told: list[Block] = [Heading(3, (t("Authentication", "身份认证"),)), Bullets(proof, ordered=len(proof) > 1)]
            blocks += self._once(name, interface, told)
        schemes = self._material.registry.schemes
        blocks += self._once(name, interface, security_blocks(self._subject, interface, schemes, sends=transport.sends))
        blocks += self._fields.blocks(name, interface)
        found = examples(self._subject, interface, self._material.bench)
        blocks += hl7_structure(interface, found)
        blocks += _examples(interface, found)
        blocks += self._answer(interface)
        config = self._material.loaded.hub
        blocks += self._once(name, interface, errors(interface, transport.http, config))
        blocks += _later(interface)
        reads = transport.sends and interface.direction == "in"
        blocks += self._once(name, interface, reliability(interface, config, transport.http, reads=reads))
        blocks += trying(self._subject, name, interface, transport, found)
        return blocks

    def _once(self, name: str, interface: Interface, blocks: list[Block]) -> list[Block]:
        """What was told of an interface above in the same words is referred to."""
        if len(blocks) < 2:
            return blocks
        for earlier, place in self._told:
            if earlier == blocks:
                return [blocks[0], Para(say(t("As for {name}.", "与“{name}”相同。"), name=place))]
        self._told.append((blocks, Link(interface_name(name, interface), f"#{anchor('interface', name)}")))
        return blocks

    def direction(self, interface: Interface) -> str:
        adapter = self._material.registry.adapters.get(interface.adapter)
        if interface.adapter == "results":
            return t("replies of the other side → hub", "对方的应答 → 枢纽")
        if interface.direction == "in" and adapter is not None and adapter.reads_source:
            return t("the hub reads from the other side", "枢纽主动读取对方")
        if interface.direction == "in":
            return t("the other side → hub", "对方 → 枢纽")
        return t("hub → the other side", "枢纽 → 对方")

    def _style(self, interface: Interface) -> str:
        adapter = self._material.registry.adapters.get(interface.adapter)
        if interface.adapter == "results":
            return t("what is replied becomes messages; nothing is called", "应答内容转为消息，无需对方调用")
        if interface.direction == "in" and adapter is not None and adapter.reads_source:
            return t("read by schedule; each item becomes a message", "按计划读取，逐条转为消息")
        if interface.direction == "in" and interface.style == "request":
            return t("request: the caller waits for the business answer", "同步请求：调用方等待业务应答")
        if interface.direction == "in":
            return t("event: acknowledged once stored", "事件：存储后即确认")
        return t("call: the reply is read and judged", "调用：读取并判定应答")

    def _origin(self, name: str) -> Inline:
        """The interfaces whose replies become messages of this one."""
        found = [
            (Link(interface_name(key, one), f"#{anchor('interface', key)}"),)
            for key, one in self._subject.interfaces.items()
            if one.results is not None and one.results.to == name
        ]
        return say(
            t("replies to {interfaces}", "接口 {interfaces} 的应答"),
            interfaces=joined(found, t(", ", "、")) or code(name),
        )

    def _covered(self, interface: Interface) -> Inline:
        catalog, system = self._material.catalog, self._subject.contract.catalog
        if catalog is None or system not in catalog.systems:
            return ()
        known = catalog.interfaces(system)
        found = [known[claim] for claim in interface.catalog if claim in known]
        return joined(
            [(t(f"{one.name} ({one.source})", f"{one.name}（{one.source}）"),) for one in found], t(", ", "、")
        )

    def _format(self, interface: Interface) -> Inline:
        name = format_name(interface.codec)
        told: Inline = (name,)
        if interface.encoding:
            told = (
                *told,
                *say(t(", characters {encoding}", "，字符集 {encoding}"), encoding=references(interface.encoding)),
            )
        if interface.reply.codec and interface.reply.codec != interface.codec:
            reply = format_name(interface.reply.codec)
            told = (*told, t(f"; replies {reply}", f"；应答为 {reply}"))
        shown = {key: value for key, value in interface.format.items() if isinstance(value, str | int | bool)}
        if shown:
            told = (
                *told,
                " – ",
                *joined(
                    [
                        say("{name}: {value}", name=code(key), value=references(str(value)))
                        for key, value in shown.items()
                    ]
                ),
            )
        return told

    def types(self, interface: Interface, most: int = 0) -> Inline:
        """``most``: at most so many, 0 for all."""
        if interface.direction == "in":
            if interface.type:
                text = " ".join(interface.type.split())
                constant = re.fullmatch(r"'([^']*)'", text)
                return code(constant[1] if constant else text)
            return (t("MSH-9, e.g. ADT^A01", "取自 MSH-9，如 ADT^A01"),) if interface.codec == "hl7v2" else ()
        if interface.accepts == ["*"]:
            return (t("any that a route sends here", "由路由指定"),)
        shown = interface.accepts[:most] if most else interface.accepts
        more = len(interface.accepts) - len(shown)
        told = joined([code(one) for one in shown])
        return (*told, t(f" and {more} more", f" 等 {len(interface.accepts)} 种")) if more else told

    def _answer(self, interface: Interface) -> list[Block]:
        """What a caller in request style gets, or an acceptance in the caller's own words."""
        blocks: list[Block] = []
        replies = interface.listen.get("replies")
        own = replies.get("accepted") if isinstance(replies, dict) else None
        if isinstance(own, dict):
            body = own.get("body")
            blocks.append(Heading(3, (t("Answer of success", "成功应答"),)))
            blocks.append(Pre(body if isinstance(body, str) else _json(body), "json" if isinstance(body, dict) else ""))
        mapping = self._material.mappings.get(interface.reply_mapping) if interface.reply_mapping else None
        if mapping is not None:
            blocks.append(Heading(3, (t("Fields of the answer", "应答字段"),)))
            rows: list[list[Inline]] = [
                [
                    code(one.target),
                    (Strong(t("yes", "是")),) if one.required else (),
                    joined([code(source) for source in one.sources]) or code(one.constant),
                ]
                for one in mapping.fields
            ]
            blocks.append(
                Table(
                    [t("field", "字段"), t("always there", "必有"), t("from the target's reply", "取自目标系统应答")],
                    rows,
                    "fields",
                )
            )
        return blocks


def interface_name(name: str, interface: Interface) -> str:
    """What people call it, in the language of the page."""
    return in_language(interface.name) or name


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _examples(interface: Interface, found: list[Example]) -> list[Block]:
    if not found:
        return []
    blocks: list[Block] = [
        Heading(3, (t("Examples", "示例"),)),
        Para((t("People and numbers in examples are invented.", "示例中的人员与证件号码均为虚构。"),)),
    ]
    for example in found:
        if interface.direction == "out" and example.sent:
            blocks += [
                Para(
                    say(
                        t("{file}: what is sent, before signing and encrypting", "{file}：发送内容（签名、加密之前）"),
                        file=code(example.file),
                    )
                ),
                Pre(example.sent, example.sent_language),
            ]
            blocks += [
                Para((t("made of this message of the hub:", "由枢纽内部消息转换而来："),)),
                Pre(example.text, example.language),
            ]
        else:
            blocks += [Para(code(example.file)), Pre(example.text, example.language)]
    return blocks


def _later(interface: Interface) -> list[Block]:
    """Answers that come by a call of their own."""
    items: list[Inline] = []
    callback, answers = interface.callback, interface.answers
    if callback is not None:
        of = {
            "reply": t("the reply", "应答"),
            "sent": t("what was sent", "发送内容"),
            "message": t("the source message", "源消息"),
        }[callback.of]
        items.append(
            say(
                t(
                    "The answer comes later by a call of its own that carries the number {key} of {of}.",
                    "对方稍后以单独的调用回复，其中携带{of}中的编号 {key}。",
                ),
                key=code(callback.key),
                of=of,
            )
        )
        if callback.within:
            items.append(
                say(
                    t(
                        "After {time} without it the answer is overdue and an operator is told.",
                        "超过 {time} 未回复视为逾期，并提示运维人员。",
                    ),
                    time=duration(callback.within),
                )
            )
    if answers is not None:
        items.append(
            say(
                t(
                    "What comes in here answers an earlier call; the number is {key}.",
                    "此接口接收对先前调用的回复，编号取自 {key}。",
                ),
                key=code(answers.key),
            )
        )
        refused = answers.unknown == "refuse"
        items.append(
            (
                t("An answer to nothing known is refused.", "无法对应的回复被拒绝。")
                if refused
                else t(
                    "An answer to nothing known is taken as a message like any other.", "无法对应的回复按普通消息接收。"
                ),
            )
        )
    return [Heading(3, (t("Answers that come later", "异步回复"),)), Bullets(items)] if items else []
