"""What differs between two trees or two payloads, field by field, in the paths of their own format.

Sequences are matched from both ends rather than by searching for the shortest edit: one inserted entry is still told as one
insertion, and hostile input costs time in proportion to its size and depth, never to the square of its size.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

__all__ = ["Change", "Kind", "diff_bytes", "diff_trees"]

Kind = Literal["added", "removed", "changed"]

ROOT = "$"
_PLAIN_KEY = re.compile(r"[^\W\d][\w-]*\Z")
_LONG_LINE = 200  # characters; a longer line is narrowed down to the part that differs
_LONGEST_HEX = 64  # bytes shown of binary data
_JSON_CODECS = ("json", "fhir")
_XML_CODECS = ("xml", "hl7v3", "cda", "fhir")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. ``old`` is ``None`` for what was added, ``new`` for what was removed."""

    path: str
    kind: Kind
    old: Any
    new: Any


# -- trees -----------------------------------------------------------------------------------------------------------


def diff_trees(old: Any, new: Any) -> list[Change]:
    """Differences between two JSON-like trees (dict, list, str, int, float, Decimal, bool, None).

    Paths read ``patient.name[0].text``, ``["odd key"].x``, ``$`` for the root. An index counts from 0, in ``old`` for what was
    removed and in ``new`` for what was added: taking the removals from the last to the first, then the
    additions from the first to the last, turns ``old`` into ``new``. Types count: ``1``, ``1.0``, ``true`` and ``"1"`` differ.
    """
    changes: list[Change] = []
    todo: list[tuple[str, Any, Any]] = [("", old, new)]  # a stack, not recursion: depth is the sender's choice
    while todo:
        path, before, after = todo.pop()
        if isinstance(before, dict) and isinstance(after, dict):
            inner = []
            for key in (*before, *(k for k in after if k not in before)):
                place = _join(path, str(key))
                if key not in after:
                    changes.append(Change(place, "removed", before[key], None))
                elif key not in before:
                    changes.append(Change(place, "added", None, after[key]))
                else:
                    inner.append((place, before[key], after[key]))
            todo.extend(reversed(inner))
        elif isinstance(before, list) and isinstance(after, list):
            paired, gone, come = _match(before, after, _same_tree)
            changes.extend(Change(f"{path or ROOT}[{i}]", "removed", before[i], None) for i in gone)
            changes.extend(Change(f"{path or ROOT}[{i}]", "added", None, after[i]) for i in come)
            todo.extend((f"{path or ROOT}[{i}]", before[i], after[i]) for i in reversed(paired))
        elif not _same_leaf(before, after):
            changes.append(Change(path or ROOT, "changed", before, after))
    return changes


def _join(path: str, key: str) -> str:
    if _PLAIN_KEY.match(key):
        return f"{path}.{key}" if path else key
    return f"{path or ROOT}[{json.dumps(key, ensure_ascii=False)}]"


def _same_leaf(old: Any, new: Any) -> bool:
    if old is new:
        return True
    if type(old) is not type(new):
        return False
    if isinstance(old, Decimal) and isinstance(new, Decimal):
        return old.as_tuple() == new.as_tuple()  # 1.10 and 1.1 are written differently
    return bool(old == new) or (old != old and new != new)  # not-a-number is equal to itself here


def _same_tree(old: Any, new: Any) -> bool:
    """Equality in the sense of :func:`diff_trees`, which ``==`` is not: it takes 1, 1.0 and True for the same."""
    todo = [(old, new)]
    while todo:
        before, after = todo.pop()
        if isinstance(before, dict) and isinstance(after, dict):
            if before.keys() != after.keys():
                return False
            todo.extend((value, after[key]) for key, value in before.items())
        elif isinstance(before, list) and isinstance(after, list):
            if len(before) != len(after):
                return False
            todo.extend(zip(before, after, strict=True))
        elif not _same_leaf(before, after):
            return False
    return True


def _match(old: Sequence[Any], new: Sequence[Any], same: Callable[[Any, Any], bool]) -> tuple[list[int], range, range]:
    """Match two sequences from both ends: (indices to compare one by one, indices only in old, indices only in new)."""
    shorter = min(len(old), len(new))
    if len(old) == len(new):
        return list(range(shorter)), range(0), range(0)
    head = 0
    while head < shorter and same(old[head], new[head]):
        head += 1
    tail = 0
    while tail < shorter - head and same(old[-1 - tail], new[-1 - tail]):
        tail += 1
    middle = shorter - tail  # entries up to here have a partner at the same place
    return list(range(head, middle)), range(middle, len(old) - tail), range(middle, len(new) - tail)


# -- payloads --------------------------------------------------------------------------------------------------------


def diff_bytes(old: bytes, new: bytes, codec: str) -> list[Change]:
    """Differences between two payloads of a codec.

    ``hl7v2``: by segment, field, repetition, component and subcomponent (``PID-5.1``, ``OBX[2]-5``, ``PID-3[2].4.2``; counted
    from 1, ``[1]`` left out); values as written, escapes included; empty fields at the end of a segment and the kind of
    line end do not count. ``json`` and ``fhir``: as :func:`diff_trees`; blanks and the order of keys do not count. XML: as
    :func:`hub.diff_xml.diff_xml`. Anything else, and what is not what its codec says: by lines if both are UTF-8 text, else by bytes
    (counted from 0, shown in hex).
    """
    if old == new:
        return []
    if codec in _JSON_CODECS:
        trees = _json(old), _json(new)
        if trees[0] is not None and trees[1] is not None:
            return diff_trees(trees[0][0], trees[1][0])
    if codec in _XML_CODECS:
        found = _diff_xml(old, new)
        if found is not None:
            return found
    elif codec == "hl7v2":
        messages = _Hl7.of(old), _Hl7.of(new)
        if messages[0] is not None and messages[1] is not None:
            return _diff_hl7(messages[0], messages[1])
    try:
        return _diff_lines(old.decode(), new.decode())
    except UnicodeDecodeError:
        start, old_end, new_end = _differing(old, new)
        return [_piece(f"bytes {_span(start, old_end)}", _hex(old[start:old_end]), _hex(new[start:new_end]))]


class _Number(str):
    """A number that a 64-bit integer or float would not give back as it was written."""

    __slots__ = ()


def _integer(text: str) -> int | _Number:
    return int(text) if len(text) < 19 else _Number(text)


def _decimal(text: str) -> float | _Number:
    return float(text) if repr(float(text)) == text else _Number(text)


def _json(raw: bytes) -> tuple[Any] | None:
    try:
        return (json.loads(raw, parse_float=_decimal, parse_int=_integer),)
    except (ValueError, RecursionError):
        return None


# -- HL7 version 2 (chapter 2, message construction rules) ---------------------------------------------------------------

_HEADERS = ("MSH", "FHS", "BHS")
_LONGEST_NAME = 16  # a line without separators is a segment name as far as it goes


@dataclass(slots=True)
class _Hl7:
    """A message split into segments, no deeper."""

    separators: str  # field, component, repetition, escape, subcomponent
    segments: dict[str, list[str]]  # name -> texts in order
    names: list[str]  # in order of appearance

    @classmethod
    def of(cls, raw: bytes) -> _Hl7 | None:
        text = _decoded(raw).strip("\x0b\x1c\r\n ")
        if len(text) < 5 or text[:3] not in _HEADERS:
            return None
        field = text[3]
        given = text[4:].split(field, 1)[0].split("\r", 1)[0].split("\n", 1)[0][:4]
        message = cls(field + given + "^~\\&"[len(given) :], {}, [])
        for line in re.split(r"[\r\n]+", text):
            name = line.split(field, 1)[0][:_LONGEST_NAME]
            message.segments.setdefault(name, []).append(line.rstrip(field))
            message.names.append(name)
        return message

    def fields(self, line: str) -> list[str]:
        """Fields by their HL7 number; in a header the separator itself is field 1."""
        parts = line.split(self.separators[0])
        return [parts[0], self.separators[0], *parts[1:]] if parts[0] in _HEADERS else parts


def _decoded(raw: bytes) -> str:
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")


def _diff_hl7(old: _Hl7, new: _Hl7) -> list[Change]:
    changes: list[Change] = []
    unpaired_old: set[tuple[str, int]] = set()
    unpaired_new: set[tuple[str, int]] = set()
    for name in dict.fromkeys((*old.names, *new.names)):
        before, after = old.segments.get(name, []), new.segments.get(name, [])
        paired, gone, come = _match(before, after, lambda a, b: bool(a == b))
        for i in paired:
            if before[i] != after[i] or old.separators != new.separators:
                _diff_segment(_nth(name, i), old, new, before[i], after[i], changes)
        changes.extend(Change(_nth(name, i), "removed", before[i], None) for i in gone)
        changes.extend(Change(_nth(name, i), "added", None, after[i]) for i in come)
        unpaired_old.update((name, i) for i in gone)
        unpaired_new.update((name, i) for i in come)
    orders = _order(old.names, unpaired_old), _order(new.names, unpaired_new)
    if orders[0] != orders[1]:
        changes.append(Change("segments", "changed", " ".join(old.names), " ".join(new.names)))
    return changes


def _order(names: list[str], without: set[tuple[str, int]]) -> list[str]:
    """Segment names in order, those left out that have no partner in the other message."""
    seen: dict[str, int] = {}
    order = []
    for name in names:
        index = seen.get(name, 0)
        seen[name] = index + 1
        if (name, index) not in without:
            order.append(name)
    return order


def _nth(name: str, index: int) -> str:
    return name if index == 0 else f"{name}[{index + 1}]"


def _diff_segment(path: str, old: _Hl7, new: _Hl7, before: str, after: str, changes: list[Change]) -> None:
    old_fields, new_fields = old.fields(before), new.fields(after)
    header = old_fields[0] in _HEADERS
    for number in range(1, max(len(old_fields), len(new_fields))):
        one, other = _at(old_fields, number), _at(new_fields, number)
        if one == other and old.separators == new.separators:
            continue
        place = f"{path}-{number}"
        if header and number <= 2:  # the separators themselves: nothing to split
            _leaf(place, one, other, changes)
            continue
        repetitions = one.split(old.separators[2]), other.split(new.separators[2])
        for i in range(max(map(len, repetitions))):
            _diff_field(_nth(place, i), _at(repetitions[0], i), _at(repetitions[1], i), old, new, changes)


def _diff_field(path: str, one: str, other: str, old: _Hl7, new: _Hl7, changes: list[Change]) -> None:
    """Compare one repetition by component and subcomponent, naming no level that neither side has."""
    components = one.split(old.separators[1]), other.split(new.separators[1])
    single = max(map(len, components)) == 1
    for i in range(max(map(len, components))):
        parts = _at(components[0], i).split(old.separators[4]), _at(components[1], i).split(new.separators[4])
        if max(map(len, parts)) == 1:
            _leaf(path if single else f"{path}.{i + 1}", parts[0][0], parts[1][0], changes)
            continue
        for j in range(max(map(len, parts))):
            _leaf(f"{path}.{i + 1}.{j + 1}", _at(parts[0], j), _at(parts[1], j), changes)


def _at(parts: list[str], index: int) -> str:
    return parts[index] if index < len(parts) else ""


def _leaf(path: str, old: str, new: str, changes: list[Change]) -> None:
    if old != new:
        changes.append(_piece(path, old, new))


def _diff_xml(old: bytes, new: bytes) -> list[Change] | None:
    """None when one of them is no XML."""
    from hub.diff_xml import diff_xml  # who compares no XML needs no parser of it

    changes: list[Change] = []

    def whole(path: str, before: str | None, after: str | None) -> None:
        changes.append(Change(path, "removed" if after is None else "added", before, after))

    sound = diff_xml(old, new, _match, lambda path, before, after: _leaf(path, before, after, changes), whole)
    return changes if sound else None


# -- text and bytes --------------------------------------------------------------------------------------------------


def _piece(path: str, old: str, new: str) -> Change:
    if not old:
        return Change(path, "added", None, new)
    if not new:
        return Change(path, "removed", old, None)
    return Change(path, "changed", old, new)


def _diff_lines(old: str, new: str) -> list[Change]:
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    start, old_end, new_end = _differing(before, after)
    if old_end != new_end:
        span = _span(start + 1, old_end + 1)
        path = f"lines {span}" if "-" in span else f"line {span}"
        return [_piece(path, "".join(before[start:old_end]), "".join(after[start:new_end]))]
    return [
        _line(number + 1, before[number], after[number])
        for number in range(start, old_end)
        if before[number] != after[number]
    ]


def _line(number: int, old: str, new: str) -> Change:
    if max(len(old), len(new)) <= _LONG_LINE:
        return _piece(f"line {number}", old, new)
    start, old_end, new_end = _differing(old, new)
    return _piece(f"line {number} characters {_span(start + 1, old_end + 1)}", old[start:old_end], new[start:new_end])


def _differing(old: Sequence[Any], new: Sequence[Any]) -> tuple[int, int, int]:
    """(start, end in old, end in new) of what is left when the common beginning and the common end are taken off."""
    shorter = min(len(old), len(new))
    start = 0
    while start < shorter and old[start] == new[start]:
        start += 1
    tail = 0
    while tail < shorter - start and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    return start, len(old) - tail, len(new) - tail


def _span(start: int, end: int) -> str:
    """A half-open range as people read it: first and last; for an empty one the place before which something is new."""
    return f"{start}-{end - 1}" if end - start > 1 else str(start)


def _hex(data: bytes) -> str:
    return data.hex(" ") if len(data) <= _LONGEST_HEX else f"{data[:_LONGEST_HEX].hex(' ')} … ({len(data)})"
