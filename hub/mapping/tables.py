"""Code tables: value ⇄ value, in CSV files under version control.

``<folder>/tables/<name>.csv`` with the columns ``from,to`` and, in any order, ``note,valid_from,valid_to``. Comments before the header
say what the table is (``# version: …``); ``HEADS`` has all of them. ``<name>@<version>.csv`` beside it is another version of the
table. The file's own hash goes into the stamp of every mapping that uses the table, so a result can be traced to it.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

from hub.errors import Problem
from hub.i18n import t
from hub.mapping.tables_dates import ALWAYS, Days, parse_day
from hub.mapping.tables_model import COLUMNS, HEADS, REVIEWS, CodeTable, Row

__all__ = ["CodeTable", "load_table"]

#: Largest table file, bytes.
MAX_TABLE = 64 << 20
#: Longest code or text of a row, characters.
MAX_VALUE = 4000
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def _head_of(comment: str) -> tuple[str, str]:
    """(key, value) of a comment before the header; ("", "") when it is free text."""
    key, colon, value = comment.lstrip("# ").partition(":")
    return (key.strip().lower().replace("-", "_"), value.strip()) if colon else ("", "")


def _says_from_when(path: Path) -> bool:
    """Whether a file has ``# valid_from:``. Only then it is read for, and stands in the stamp of, mappings that choose by date."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            while (line := file.readline(MAX_VALUE)).startswith("#"):
                key, value = _head_of(line)
                if key == "valid_from" and value:
                    return True
    except OSError:
        pass
    return False


def load_table(path: Path, name: str) -> tuple[CodeTable, list[Problem]]:
    """Read a table; everything wrong with it is a problem with its line and column, and the rest is still usable."""
    reader = _Reader(path, name)
    reader.read()
    return reader.table, reader.problems


class _Reader:
    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.table = CodeTable(name, str(path))
        self.problems: list[Problem] = []

    def problem(self, text: str, line: int, remedy: str, column: str = "", severity: str = "error") -> None:
        key = f"table {self.table.name}" + (f", {column}" if column else "")
        self.problems.append(Problem(text, str(self.path), line, key, remedy, severity))

    def read(self) -> None:
        raw = self._bytes()
        if raw is None:
            return
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            self.problem(
                t("is not UTF-8", "不是 UTF-8 编码"),
                line,
                t(
                    "save it as UTF-8 CSV, or convert it with hub tables import",
                    "请另存为 UTF-8 编码的 CSV，或用 hub tables import 转换",
                ),
            )
            return
        self._siblings()
        self._rows(*self._head(text))

    def _bytes(self) -> bytes | None:
        try:
            if self.path.stat().st_size > MAX_TABLE:
                self.problem(
                    t(f"larger than {MAX_TABLE >> 20} MB", f"超过 {MAX_TABLE >> 20} MB"), 0, t("split it", "请拆分")
                )
                return None
            raw = self.path.read_bytes()
        except OSError as error:
            self.problem(t(f"can't be read: {error.strerror}", f"无法读取：{error.strerror}"), 0, "")
            return None
        self.table.hash = hashlib.sha256(raw).hexdigest()
        return raw

    # -- other versions ------------------------------------------------------------------------------------------

    def _siblings(self) -> None:
        family, at, _ = self.table.name.partition("@")
        if not at:
            found = [path for path in self.path.parent.glob("*@*.csv") if path.stem.partition("@")[0] == family]
            self.table.versions = {path.stem: _says_from_when(path) for path in sorted(found)}
        elif not (self.path.parent / f"{family}.csv").is_file():
            self.problem(
                t(f"{family}.csv does not stand beside it", f"同一目录中没有 {family}.csv"),
                0,
                t(
                    f"only table('{family}', version=…) finds it; name one version {family}.csv",
                    f"仅 table('{family}', version=…) 能找到它；请将其中一个版本命名为 {family}.csv",
                ),
                severity="warning",
            )

    # -- head ----------------------------------------------------------------------------------------------------

    def _head(self, text: str) -> tuple[str, int]:
        """Take the comments in; gives the rest of the text and how many lines were skipped."""
        skipped = 0
        found: dict[str, tuple[str, int]] = {}
        while text.startswith("#"):
            comment, _, text = text.partition("\n")
            skipped += 1
            key, value = _head_of(comment)
            if not key:
                continue
            if key not in HEADS:
                self._unknown_head(key, skipped)
            elif key in found:
                self.problem(
                    t(f"# {key}: is given twice", f"# {key}: 重复"),
                    skipped,
                    t("remove one of them", "请删除其中之一"),
                    key,
                )
            else:
                found[key] = value, skipped
        self._take(found)
        return text, skipped

    def _unknown_head(self, key: str, line: int) -> None:
        """Comments are free text, but a slip in one that means something must not go unnoticed."""
        near = difflib.get_close_matches(key, HEADS, 1, 0.75)
        if near:
            self.problem(
                t(f"# {key}: means nothing", f"# {key}: 没有含义"),
                line,
                t(f"did you mean # {near[0]}:?", f"是否为 # {near[0]}:？"),
                severity="warning",
            )

    def _take(self, found: dict[str, tuple[str, int]]) -> None:
        table = self.table
        values = {key: value for key, (value, _) in found.items()}
        table.version, table.source = values.get("version", ""), values.get("source", "")
        table.from_system, table.to_system = values.get("from", ""), values.get("to", "")
        table.review = values.get("review", "").lower()
        if "review" in found and table.review not in REVIEWS:
            self.problem(
                t(f"{values['review']!r} is no state of review", f"{values['review']!r} 不是审核状态"),
                found["review"][1],
                t(f"write {', '.join(REVIEWS)}", f"请写 {'、'.join(REVIEWS)} 之一"),
                "review",
            )
        elif table.review == "draft":
            self.problem(
                t("is a draft", "尚为草稿"),
                found["review"][1],
                t("have it reviewed, then write # review: approved", "审核后请改为 # review: approved"),
                "review",
                "warning",
            )
        line = max((found[key][1] for key in ("valid_from", "valid_to") if key in found), default=0)
        table.days = self._days(values.get("valid_from", ""), values.get("valid_to", ""), line)

    def _days(self, first: str, last: str, line: int) -> Days:
        days = []
        for column, text, open_end in (("valid_from", first, ALWAYS.first), ("valid_to", last, ALWAYS.last)):
            day = parse_day(text) if text else open_end
            if day is None:
                self.problem(
                    t(f"{text!r} is not a date", f"{text!r} 不是日期"),
                    line,
                    t("write it as 2024-04-01", "请写成 2024-04-01"),
                    column,
                )
                day = open_end
            days.append(day)
        if days[0] > days[1]:
            self.problem(
                t(f"ends before it begins ({first} to {last})", f"止于起始之前（{first} 至 {last}）"),
                line,
                t(
                    "valid_to is the last day that counts, not before valid_from",
                    "valid_to 为最后有效日，不得早于 valid_from",
                ),
                "valid_to",
            )
        return Days(days[0], days[1])

    # -- rows ----------------------------------------------------------------------------------------------------

    def _records(self, text: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
        """The records with the line each begins in."""
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        while True:
            line = skipped + reader.line_num + 1
            try:
                record = next(reader, None)
            except csv.Error as error:
                self.problem(
                    t(f"not CSV: {error}", f"不是有效的 CSV：{error}"),
                    line,
                    t('double every " inside a quoted value, and close it', '引号内的 " 请写两遍，并补全结尾引号'),
                )
                return
            if record is None:
                return
            yield line, record

    def _rows(self, text: str, skipped: int) -> None:
        records = self._records(text, skipped)
        line, header = next(records, (skipped + 1, []))
        header = [column.strip() for column in header]
        if not self._columns(header, line):
            return
        seen: dict[str, list[Row]] = {}
        for line, cells in records:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) < 2 or len(cells) > len(header):
                self.problem(
                    t(f"{len(cells)} columns instead of {len(header)}", f"有 {len(cells)} 列，应为 {len(header)} 列"),
                    line,
                    t("quote values that contain a comma", "含逗号的值请加引号"),
                )
                continue
            row = self._row(dict(zip(header, (cell.strip() for cell in cells), strict=False)), line)
            if row is not None and not self._listed(row, seen.setdefault(row.source, [])):
                seen[row.source].append(row)
                self.table.rows.append(row)

    def _columns(self, header: list[str], line: int) -> bool:
        if header[:2] != ["from", "to"]:
            self.problem(
                t(
                    "the columns must be from,to[,note,valid_from,valid_to]",
                    "列名必须为 from,to[,note,valid_from,valid_to]",
                ),
                line,
                t("add the header line; separate columns with commas", "请添加表头行，并以逗号分隔各列"),
            )
            return False
        good = True
        for number, column in enumerate(header):
            if column in COLUMNS and column not in header[:number]:
                continue
            known = column in COLUMNS
            good = False
            self.problem(
                t(f"column {column!r} is there twice", f"列 {column!r} 重复")
                if known
                else t(f"there is no column {column!r} in code tables", f"代码表没有列 {column!r}"),
                line,
                t(
                    f"columns are {', '.join(COLUMNS)}; put remarks into note",
                    f"可用的列：{'、'.join(COLUMNS)}；备注请写入 note",
                ),
                column,
            )
        return good

    def _row(self, cells: dict[str, str], line: int) -> Row | None:
        source, target = cells["from"], cells["to"]
        if not source:
            self.problem(
                t("from is empty", "from 为空"),
                line,
                t("an absent value is never looked up: remove the row", "缺失的值不会查表：请删除此行"),
                "from",
            )
            return None
        for column in ("from", "to"):
            if len(cells[column]) > MAX_VALUE or _CONTROL.search(cells[column]):
                self.problem(
                    t("line break, control character, or too long", "含换行或控制字符，或过长"),
                    line,
                    t(f"write one value of at most {MAX_VALUE} characters", f"请写一个不超过 {MAX_VALUE} 字符的值"),
                    column,
                )
                return None
        days = self._days(cells.get("valid_from", ""), cells.get("valid_to", ""), line)
        return Row(line, source, target, cells.get("note", ""), days)

    def _listed(self, row: Row, before: list[Row]) -> bool:
        """Whether a row says again, or otherwise, what one above says for the same days."""
        other = next((other for other in before if other.days.overlap(row.days)), None)
        if other is None:
            return False
        if other.target == row.target:
            self.problem(
                t(f"{row.source!r} is listed twice (line {other.line})", f"{row.source!r} 重复（第 {other.line} 行）"),
                row.line,
                t("remove one of the lines", "请删除其中一行"),
                "from",
            )
        else:
            self.problem(
                t(
                    f"{row.source!r} is listed twice, to {other.target!r} (line {other.line}) and to {row.target!r}",
                    f"{row.source!r} 重复且冲突：{other.target!r}（第 {other.line} 行）与 {row.target!r}",
                ),
                row.line,
                t(
                    "remove one of the lines, or give them valid_from and valid_to",
                    "请删除其一，或用 valid_from、valid_to 区分",
                ),
                "from",
            )
        return True
