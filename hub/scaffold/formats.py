"""What a skeleton says for each codec: an invented message, and how mappings read and write it.

The message has a number, a title and a time, whatever the format; mappings translate between it and plain JSON.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FORMATS", "PLAIN", "Format"]

#: The message as plain JSON, written in YAML.
PLAIN = '{number: N0001, title: 示例, at: "2026-11-20T08:00:00+08:00"}'


@dataclass(frozen=True, slots=True)
class Format:
    """``reads``: lines of a mapping from the format to plain JSON; ``writes``: lines of its fields, the other way round.

    ``read``, ``written``: how the tests of these say what they expect, and the lines of it. ``interface``: lines an ``in``
    interface needs besides.
    """

    suffix: str
    example: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    read: tuple[str, tuple[str, ...]]
    written: tuple[str, tuple[str, ...]]
    interface: tuple[str, ...]


_TYPED = "type: \"'ID.message'\""
_PLAIN_READS = ("fields:", "  number: number", "  title: title", "  at: at")
_PLAIN_WRITES = ("number: number", "title: title", "at: at")
_PLAIN_CONTAINS = ("contains", ("number: N0001", "title: 示例", 'at: "2026-11-20T08:00:00+08:00"'))
_PLAIN_INTERFACE = (_TYPED, "control_id: number", "keys: {number: number}")

FORMATS: dict[str, Format] = {
    "json": Format(
        "json",
        '{"number": "N0001", "title": "示例", "at": "2026-11-20T08:00:00+08:00"}\n',
        _PLAIN_READS,
        _PLAIN_WRITES,
        _PLAIN_CONTAINS,
        _PLAIN_CONTAINS,
        _PLAIN_INTERFACE,
    ),
    "xml": Format(
        "xml",
        '<?xml version="1.0" encoding="UTF-8"?>\n<message number="N0001">\n  <title>示例</title>\n'
        "  <at>2026-11-20T08:00:00+08:00</at>\n</message>\n",
        ("fields:", "  number: message/@number", "  title: message/title", "  at: message/at"),
        ("message:", '  "@number": number', "  title: title", "  at: at"),
        _PLAIN_CONTAINS,
        ("contains", ("message:", '  "@number": N0001', "  title: 示例", '  at: "2026-11-20T08:00:00+08:00"')),
        (_TYPED, "control_id: message/@number", "keys: {number: message/@number}"),
    ),
    "form": Format(
        "form",
        "number=N0001&title=%E7%A4%BA%E4%BE%8B&at=2026-11-20T08%3A00%3A00%2B08%3A00",
        _PLAIN_READS,
        _PLAIN_WRITES,
        _PLAIN_CONTAINS,
        _PLAIN_CONTAINS,
        _PLAIN_INTERFACE,
    ),
    "csv": Format(
        "csv",
        "number,title,at\nN0001,示例,2026-11-20T08:00:00+08:00\n",
        (
            "split: rows    # one message for each row / 每行一条",
            "fields:",
            "  number: .number",
            "  title: .title",
            "  at: .at",
        ),
        ("rows:", "  - number: number", "    title: title", "    at: at"),
        ("output", ("- number: N0001", "  title: 示例", '  at: "2026-11-20T08:00:00+08:00"')),
        ("contains", ("rows:", "  - number: N0001", "    title: 示例", '    at: "2026-11-20T08:00:00+08:00"')),
        (_TYPED, 'keys: {number: "rows[0].number"}'),
    ),
    "text": Format(
        "txt",
        "示例\n",
        ("fields:", "  title: text | trim"),
        ("text: title",),
        ("contains", ("title: 示例",)),
        ("contains", ("text: 示例",)),
        (_TYPED,),
    ),
    "hl7v2": Format(
        "hl7",
        "MSH|^~\\&|HIS|H9001|TONGQU|HUB|20261120080000||ADT^A04|N0001|P|2.5.1|||||CHN|UNICODE UTF-8\r"
        "EVN|A04|20261120080000\rPID|1||N0001^^^H9001^PI||示例^某||19800101|1\r",
        ("fields:", "  number: PID-3.1", "  title: concat(PID-5.1, PID-5.2)", "  at: MSH-7 | date"),
        (
            "MSH-3: {const: TONGQU}",
            "MSH-7: at | hl7_time",
            "MSH-9.1: {const: ADT}",
            "MSH-9.2: {const: A04}",
            "MSH-10: number",
            "MSH-11: {const: P}",
            "MSH-12: {const: 2.5.1}",
            "PID-3.1: number",
            "PID-5.1: title",
        ),
        ("contains", ("number: N0001", "title: 示例某", "at: 2026-11-20")),
        ("paths", ("MSH-9: ADT^A04", "MSH-10: N0001", "PID-3.1: N0001", "PID-5.1: 示例")),
        ("keys: {number: PID-3.1}",),
    ),
}
