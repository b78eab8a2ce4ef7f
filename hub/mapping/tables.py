"""Code tables: value ⇄ value, in CSV files under version control.

``<folder>/tables/*.csv`` with the columns ``from,to`` and, for people, ``note``. A first line ``# version: …`` names the version; the
file's own hash goes into the stamp of every mapping that uses the table, so a result can be traced to it.
"""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

from hub.errors import Problem
from hub.i18n import t

__all__ = ["CodeTable", "load_table"]

#: Largest table file, bytes.
MAX_TABLE = 64 << 20


@dataclass(slots=True)
class CodeTable:
    """``entries`` maps text to text; ``hash`` is of the file's bytes."""

    name: str
    file: str
    entries: dict[str, str] = field(default_factory=dict)
    version: str = ""
    hash: str = ""


def load_table(path: Path, name: str) -> tuple[CodeTable, list[Problem]]:
    """Read a table; everything wrong with it is a problem with its line, and the rest is still usable."""
    table = CodeTable(name, str(path))
    problems: list[Problem] = []

    def problem(text: str, line: int, remedy: str) -> None:
        problems.append(Problem(text, str(path), line, f"table {name}", remedy))

    utf8 = t("save it as UTF-8 CSV", "请另存为 UTF-8 编码的 CSV")
    try:
        if path.stat().st_size > MAX_TABLE:
            problem(t(f"larger than {MAX_TABLE >> 20} MB", f"超过 {MAX_TABLE >> 20} MB"), 0, t("split it", "请拆分"))
            return table, problems
        raw = path.read_bytes()
        table.hash = hashlib.sha256(raw).hexdigest()
        text = raw.decode("utf-8-sig")
    except OSError as error:
        problem(t(f"can't be read: {error.strerror}", f"无法读取：{error.strerror}"), 0, "")
        return table, problems
    except UnicodeDecodeError:
        problem(t("is not UTF-8", "不是 UTF-8 编码"), 0, utf8)
        return table, problems
    skipped = 0
    while text.startswith("#"):
        first, _, text = text.partition("\n")
        skipped += 1
        key, colon, value = first.lstrip("# ").partition(":")
        if colon and key.strip().lower() == "version":
            table.version = value.strip()
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
        if header[:2] != ["from", "to"] or header[2:] not in ([], ["note"]):
            problem(
                t("the columns must be from,to[,note]", "列名必须为 from,to[,note]"),
                skipped + 1,
                t("add the header line", "请添加表头行"),
            )
            return table, problems
        for row in reader:
            line = skipped + reader.line_num
            if not any(cell.strip() for cell in row):
                continue
            if len(row) < 2 or len(row) > len(header):
                problem(
                    t(f"{len(row)} columns instead of {len(header)}", f"有 {len(row)} 列，应为 {len(header)} 列"),
                    line,
                    t("quote values that contain a comma", "含逗号的值请加引号"),
                )
                continue
            source, target = row[0].strip(), row[1].strip()
            if source in table.entries:
                problem(
                    t(f"{source!r} is listed twice", f"{source!r} 重复"),
                    line,
                    t("remove one of the lines", "请删除其中一行"),
                )
                continue
            table.entries[source] = target
    except csv.Error as error:
        problem(t(f"not CSV: {error}", f"不是有效的 CSV：{error}"), skipped + reader.line_num, utf8)
    return table, problems
