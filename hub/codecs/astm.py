r"""Records of laboratory analysers (ASTM E1394, CLSI LIS2-A2) ⇄ a tree of records, one message ``H`` … ``L`` at a time.

``{"delimiters": "|\^&", "H": {…}, "P": [{…, "O": [{…, "R": [{…}]}]}], "L": {…}}``: each record stands in a list below the record it
belongs to (H > P, Q > O > R; C, M, S and the letters of vendors belong to the record before them). Field n is ``f<n>``, a list of its
repeats; a repeat is an object of its components ``c1``, ``c2`` …; what is empty is absent. So ``.f4.c1`` is the value of an ``R``, and ``.f3.c4``
the fourth part of its test id. Fields count from 1 as in the standard: the type of the record, which is no member of it, and its number ``f2``; in
``H`` the delimiters, which are no member either.

Writing takes the same tree; a plain value stands for one repeat with one component. A number that is not given (``f2``) is the
position in its list, a missing ``L`` says normal end. Escape sequences are read and written; one that is unknown stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from hub.codecs import text_charset
from hub.codecs.base import Codec
from hub.codecs.records import Received, cell_text, untouched
from hub.errors import CodecError
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["AstmCodec"]

Record = dict[str, Any]

_CODEC = "astm"
_DEFAULT = "|\\^&"
_MOST_RECORDS = 100_000
#: Fields of one record, and repeats or components of one field.
_MOST_PARTS = 1_000
_MOST_VALUES = 2_000_000
_LINES = re.compile(r"[\r\n]+")
_TYPE = re.compile(r"[A-Z]", re.ASCII)
_FIELD = re.compile(r"f([1-9]\d{0,3})", re.ASCII)
_COMPONENT = re.compile(r"c([1-9]\d{0,3})", re.ASCII)
#: How deep a record stands; any other letter belongs to the record before it.
_LEVELS = {"H": 0, "P": 1, "Q": 1, "O": 2, "R": 3, "L": 0}
#: What a message is, by the first of these it has.
_CONTENTS = {"Q": "query", "R": "result", "O": "order"}
#: Types below a record, in the order they are written: what belongs to the record itself comes first, what is deeper follows.
_FIRST, _LAST = "CMS", "ROPQ"


class _Marks(NamedTuple):
    field: str
    repeat: str
    component: str
    escape: str

    @classmethod
    def of(cls, text: str, place: str) -> _Marks:
        if (
            len(text) != 4
            or len(set(text)) != 4
            or any(c.isalnum() or c.isspace() or not c.isprintable() for c in text)
        ):
            raise CodecError(
                t(
                    "H must declare four different delimiters, usually H|\\^&",
                    "H 记录须声明四个互不相同的分隔符，通常为 H|\\^&",
                ),
                place=place,
                code="astm.delimiters",
            )
        return cls(*text)


class AstmCodec(Codec):
    """See the module."""

    name: ClassVar[str] = _CODEC
    content_type: ClassVar[str] = "text/plain"

    def decode(self, raw: bytes, *, encoding: str = "") -> Any:
        text = text_charset.decode(raw, encoding, _CODEC)
        lines = [line for line in _LINES.split(text) if line.strip()]
        if not lines or lines[0][:1] != "H" or len(lines[0]) < 5:
            raise CodecError(
                t("the message does not begin with a header record (H)", "消息未以头记录（H）开始"),
                place=_place(1),
                code="astm.header",
            )
        if len(lines) > _MOST_RECORDS:
            raise CodecError(t(f"more than {_MOST_RECORDS} records", f"超过 {_MOST_RECORDS} 条记录"), code="astm.size")
        marks = _Marks.of(lines[0][1:5], _place(1, "H"))
        if sum(map(text.count, marks[:3])) > _MOST_VALUES:
            raise CodecError(t(f"more than {_MOST_VALUES} values", f"超过 {_MOST_VALUES} 个值"), code="astm.size")
        return Received(self._tree(lines, marks), raw, self, encoding)

    def _tree(self, lines: list[str], marks: _Marks) -> Record:
        escapes = _Escapes(marks)
        tree: Record = {"delimiters": "".join(marks)}
        above: list[tuple[int, Record]] = []  # the open records with their levels, H first
        for number, line in enumerate(lines, 1):
            kind = line[0]
            if not _TYPE.match(kind) or line[1:2] not in ("", marks.field):
                raise CodecError(
                    t("a record begins with its letter and a delimiter", "记录须以类型字母和分隔符开始"),
                    place=_place(number),
                    code="astm.record",
                )
            record = _read(line, marks, escapes, number)
            level = _LEVELS.get(kind)
            if level == 0:
                if kind in tree or (kind == "H" and number > 1):
                    raise CodecError(
                        t(f"a second {kind} in one message", f"一条消息中出现第二个 {kind}"),
                        place=_place(number, kind),
                        code="astm.record",
                    )
                tree[kind] = record
                above = [(0, record)]
                continue
            if "L" in tree and level is not None:
                raise CodecError(
                    t("a record after the last one (L)", "终止记录（L）之后还有记录"),
                    place=_place(number, kind),
                    code="astm.record",
                )
            if level is None:
                above[-1][1].setdefault(kind, []).append(record)
                continue
            above = [one for one in above if one[0] < level]
            # Below H stand its comments only: patients and queries are members of the message.
            below = tree if len(above) == 1 else above[-1][1]
            below.setdefault(kind, []).append(record)
            above.append((level, record))
        return tree

    def envelope(self, tree: Any) -> tuple[str, str]:
        """``astm.query``, ``astm.result``, ``astm.order`` or ``astm.message`` by what is in it; H-3 of the header."""
        kinds = set(_kinds(tree))
        name = next((name for kind, name in _CONTENTS.items() if kind in kinds), "message")
        found = tree["H"].get("f3")
        return f"{_CODEC}.{name}", found[0].get("c1", "") if found else ""

    # -- writing -------------------------------------------------------------------------------------------------

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        kept = untouched(tree, self, encoding)
        if kept is not None:
            return kept
        if not isinstance(tree, Mapping):
            raise _no_tree(_place(1))
        marks = _Marks.of(str(tree.get("delimiters") or _DEFAULT), "delimiters")
        header = _Writer(marks)
        header.record("H", tree.get("H") or {}, 1)
        header.below({**tree, "H": None, "L": None, "delimiters": None})
        last = tree.get("L")
        header.record("L", {"f3": "N"} if last is None else last, 1)
        return text_charset.encode("\r".join((*header.lines, "")), encoding, _CODEC)


def _read(line: str, marks: _Marks, escapes: _Escapes, number: int) -> Record:
    cells = line.split(marks.field, _MOST_PARTS)
    if len(cells) > _MOST_PARTS:
        raise _too_many(number, line[0])
    record: Record = {}
    for at, cell in enumerate(cells, 1):
        if not cell or at == 1 or (at == 2 and line[0] == "H"):  # the type and the delimiters are no values
            continue
        repeats = cell.split(marks.repeat, _MOST_PARTS)
        if len(repeats) > _MOST_PARTS:
            raise _too_many(number, line[0])
        values = []
        for repeat in repeats:
            parts = repeat.split(marks.component, _MOST_PARTS)
            if len(parts) > _MOST_PARTS:
                raise _too_many(number, line[0])
            values.append({f"c{n}": escapes.read(part) for n, part in enumerate(parts, 1) if part})
        if any(values):
            record[f"f{at}"] = values
    return record


def _kinds(tree: Mapping[str, Any]) -> Iterator[str]:
    """The letters of the records that are not H, L or comments; three levels deep, as they are read."""
    for kind in "PQOR":
        below = tree.get(kind)
        if isinstance(below, list) and below:
            yield kind
            for record in below:
                if isinstance(record, Mapping):
                    yield from _kinds(record)


class _Escapes:
    """``&F&`` and the like; a sequence that is not known stays."""

    def __init__(self, marks: _Marks) -> None:
        letters = {"F": marks.field, "S": marks.component, "R": marks.repeat, "E": marks.escape}
        mark = re.escape(marks.escape)
        self._mark = marks.escape
        self._letters = letters
        self._sequence = re.compile(rf"{mark}(?:([FSRE])|X((?:[0-9A-Fa-f]{{2}}){{1,32}})){mark}")
        table = {char: f"{marks.escape}{letter}{marks.escape}" for letter, char in letters.items()}
        # What would end a record or a frame.
        self._table = str.maketrans(
            {**{chr(code): f"{marks.escape}X{code:02X}{marks.escape}" for code in range(0x20)}, **table}
        )

    def read(self, text: str) -> str:
        if self._mark not in text:
            return text
        return self._sequence.sub(self._one, text)

    def _one(self, found: re.Match[str]) -> str:
        if found[1]:
            return self._letters[found[1]]
        data = bytes.fromhex(found[2])
        return data.decode("ascii") if data.isascii() else found[0]

    def write(self, text: str) -> str:
        return text.translate(self._table)


class _Writer:
    def __init__(self, marks: _Marks) -> None:
        self.lines: list[str] = []
        self._marks = marks
        self._escapes = _Escapes(marks)

    def record(self, kind: str, record: Any, number: int, depth: int = 0) -> None:
        """A record and those below it; ``number`` is its place among its siblings."""
        here = len(self.lines) + 1
        if not isinstance(record, Mapping):
            raise _no_tree(_place(here, kind))
        if here > _MOST_RECORDS:
            raise CodecError(t(f"more than {_MOST_RECORDS} records", f"超过 {_MOST_RECORDS} 条记录"), code="astm.size")
        cells: dict[int, str] = {1: kind}
        if kind != "H":
            cells[2] = str(number)
        for key, value in record.items():
            found = _FIELD.fullmatch(key) if isinstance(key, str) else None
            if found is None:
                if value is not None and not (isinstance(key, str) and _TYPE.fullmatch(key)):
                    raise _unknown(key, _place(here, kind))
                continue
            at = int(found[1])
            if at > _MOST_PARTS:
                raise _too_many(here, kind)
            if value is not None and at > 1 and not (kind == "H" and at == 2):
                cells[at] = self._cell(value, here, kind, at)
        marks = self._marks
        last = max(at for at, cell in cells.items() if cell)
        fields = [cells.get(at, "") for at in range(1, last + 1)]
        if kind == "H":
            fields[1:2] = [marks.repeat + marks.component + marks.escape]
        self.lines.append(marks.field.join(fields))
        self.below(record, depth)

    def below(self, record: Mapping[str, Any], depth: int = 0) -> None:
        kinds = [key for key in record if isinstance(key, str) and _TYPE.fullmatch(key) and record[key] is not None]
        first = [kind for kind in _FIRST if kind in kinds]
        others = sorted(kind for kind in kinds if kind not in _FIRST + _LAST)
        for kind in (*first, *others, *(kind for kind in _LAST if kind in kinds)):
            records = record[kind]
            if kind in "HL" or depth > 4:
                raise _unknown(kind, _place(len(self.lines), kind))
            for number, one in enumerate(records if isinstance(records, list) else [records], 1):
                self.record(kind, one, number, depth + 1)

    def _cell(self, value: Any, line: int, kind: str, at: int) -> str:
        repeats = value if isinstance(value, list) else [value]
        if len(repeats) > _MOST_PARTS:
            raise _too_many(line, kind)
        return self._marks.repeat.join([self._repeat(repeat, line, kind, at) for repeat in repeats])

    def _repeat(self, value: Any, line: int, kind: str, at: int) -> str:
        if not isinstance(value, Mapping):
            return self._escapes.write(cell_text(value, _CODEC, line, f"{kind}-{at}"))
        parts: dict[int, str] = {}
        for key, part in value.items():
            found = _COMPONENT.fullmatch(key) if isinstance(key, str) else None
            if found is None:
                raise _unknown(key, _place(line, kind))
            if int(found[1]) > _MOST_PARTS:
                raise _too_many(line, kind)
            parts[int(found[1])] = self._escapes.write(cell_text(part, _CODEC, line, f"{kind}-{at}"))
        return self._marks.component.join([parts.get(n, "") for n in range(1, max(parts, default=0) + 1)])


def _place(number: int, kind: str = "") -> str:
    return t(f"record {number}", f"第 {number} 条记录") + (f" ({kind})" if kind else "")


def _too_many(number: int, kind: str) -> CodecError:
    return CodecError(
        t(f"more than {_MOST_PARTS} fields, repeats or components", f"字段、重复或组件超过 {_MOST_PARTS} 个"),
        place=_place(number, kind),
        code="astm.size",
    )


def _no_tree(place: str) -> CodecError:
    return CodecError(
        t("a record must be an object with the members f3, f4 …", "记录须为含 f3、f4 … 的对象"),
        place=place,
        code="astm.tree",
        remedy=t("write fields: {P: [{f3: …, O: …}]}", "请写 fields: {P: [{f3: …, O: …}]}"),
    )


def _unknown(key: Any, place: str) -> CodecError:
    return CodecError(
        t(f"there is no member {mask_text(str(key)[:40])}", f"没有成员 {mask_text(str(key)[:40])}"),
        place=place,
        code="astm.tree",
        remedy=t(
            "fields are f1, f2 …, components c1, c2 …, records one letter",
            "字段为 f2、f3 …，组件为 c1、c2 …，记录为单个字母",
        ),
    )
