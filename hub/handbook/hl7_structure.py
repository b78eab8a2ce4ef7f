"""The structure of HL7 v2 messages as far as examples show it: segments of each message type, fields that are filled."""

from __future__ import annotations

from collections.abc import Sequence

from hub.contract import Interface
from hub.handbook.blocks import Block, Heading, Inline, Para, Table, code, joined
from hub.handbook.examples import Example
from hub.i18n import t

__all__ = ["hl7_structure"]


def hl7_structure(interface: Interface, found: Sequence[Example]) -> list[Block]:
    """Nothing for other formats, or where a schema says it."""
    if interface.codec != "hl7v2" or interface.direction != "in" or not found:
        return []
    types: list[list[Inline]] = []
    filled: dict[str, set[int]] = {}
    for example in found:
        segments = [line.split("|") for line in example.text.splitlines() if line[3:4] == "|"]
        if not segments or segments[0][0] != "MSH" or len(segments[0]) < 9:
            continue
        types.append(
            [code(segments[0][8]), joined([code(name) for name in dict.fromkeys(one[0] for one in segments)], " ")]
        )
        for one in segments:
            first = 2 if one[0] == "MSH" else 1  # MSH-1 is the separator itself
            places = {number for number, text in enumerate(one[1:], first) if text}
            filled.setdefault(one[0], set()).update(places | ({1} if one[0] == "MSH" else set()))
    if not types:
        return []
    rows: list[list[Inline]] = [
        [code(name), joined([code(f"{name}-{number}") for number in sorted(places)], " ")]
        for name, places in filled.items()
    ]
    told = t(
        "HL7 v2 as the standard has it; the examples below have these segments and fields. Further ones are kept as they come.",
        "遵循 HL7 v2 标准；下列示例包含以下段与字段，其他内容原样保留。",
    )
    return [
        Heading(3, (t("Structure", "消息结构"),)),
        Para((told,)),
        Table([t("message type", "消息类型"), t("segments", "段")], types),
        Table([t("segment", "段"), t("fields filled in the examples", "示例中填写的字段")], rows),
    ]
