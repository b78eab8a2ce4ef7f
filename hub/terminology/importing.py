"""Two columns of a CSV or TSV file as a new code table."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hub.codecs.csv_codec import CsvCodec
from hub.errors import ConfigError, HubError
from hub.i18n import t
from hub.mapping.tables import MAX_TABLE, load_table
from hub.masking import mask_text

__all__ = ["Imported", "import_table"]

_NAME = re.compile(r"[^\W_][\w.-]*(?:@[\w.-]+)?")
#: Most contradictions an error names.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Imported:
    """``repeated``: rows that say what one above says, taken once; ``empty``: rows without a value to translate, left out."""

    file: Path
    rows: int
    repeated: int
    empty: int


def import_table(
    source: Path,
    folder: Path,
    name: str,
    columns: tuple[str, str, str],
    head: Mapping[str, str],
    *,
    encoding: str = "",
) -> Imported:
    """Write ``<folder>/<name>.csv`` from the columns named (from, to, and note or ""); ``head`` are the comments before the header.

    Delimiter and character set are found out (:class:`hub.codecs.csv_codec.CsvCodec`). Raises :class:`HubError`, and writes nothing, when
    a column is missing, the table exists, or rows contradict each other (:class:`ConfigError`, with lines of the table to be).
    """
    if not _NAME.fullmatch(name):
        raise HubError(
            t(f"{name!r} can't be the name of a table", f"{name!r} 不能作为代码表名称"),
            remedy=t("letters, digits, _ . -, and a version behind @", "可用字母、数字、_ . -，@ 之后为版本"),
        )
    target = folder / f"{name}.csv"
    if target.exists():
        raise HubError(
            t(f"{target} exists", f"{target} 已存在"),
            code="table.exists",
            remedy=t(
                f"choose another name, e.g. {name.partition('@')[0]}@<version>, or remove the file",
                f"请换一个名称，如 {name.partition('@')[0]}@<版本>，或先删除该文件",
            ),
        )
    for key, value in head.items():
        if not value.isprintable():
            raise HubError(t(f"{key}: write one line", f"{key}：请写成一行"))
    rows, total, empty = _pairs(source, columns, encoding)
    text = _written(rows, bool(columns[2]), head)
    _save(target, text, name)
    return Imported(target, len(rows), total - empty - len(rows), empty)


def _pairs(source: Path, columns: tuple[str, str, str], encoding: str) -> tuple[list[tuple[str, str, str]], int, int]:
    """(the different rows in their order, how many there were, how many of them had no value to translate)"""
    try:
        if source.stat().st_size > MAX_TABLE:
            raise HubError(
                t(f"{source} is larger than {MAX_TABLE >> 20} MB", f"{source} 超过 {MAX_TABLE >> 20} MB"),
                remedy=t("split it", "请拆分"),
            )
        raw = source.read_bytes()
    except OSError as error:
        raise HubError(t(f"{source} can't be read: {error.strerror}", f"无法读取 {source}：{error.strerror}")) from None
    tree = CsvCodec().decode(raw, encoding=encoding)
    for column in filter(None, columns):
        if column not in tree["header"]:
            known = ", ".join(tree["header"])
            raise HubError(
                t(f"{source} has no column {column!r}", f"{source} 没有列 {column!r}"),
                code="table.column",
                remedy=t(f"it has {known}", f"现有：{known}"),
            )
    found: dict[str, tuple[int, str, str]] = {}
    clashes: list[str] = []
    empty = 0
    for number, row in enumerate(tree["rows"], 1):
        first, second, note = ((row.get(column) or "").strip() if column else "" for column in columns)
        if not first:
            empty += 1
            continue
        before = found.setdefault(first, (number, second, note))
        if before[1] != second:
            clashes.append(
                t(
                    f"{first!r} is {before[1]!r} in row {before[0]} and {second!r} in row {number}",
                    f"{first!r} 在第 {before[0]} 行为 {before[1]!r}，在第 {number} 行为 {second!r}",
                )
            )
    if clashes:
        more = t(f" and {len(clashes) - _NAMED} more", f"，另有 {len(clashes) - _NAMED} 处") if clashes[_NAMED:] else ""
        raise HubError(
            t(f"{source}: ", f"{source}：") + mask_text("; ".join(clashes[:_NAMED])) + more,
            code="table.conflict",
            remedy=t("rows are counted behind the header; mend the file", "行号自表头之后计；请先更正文件"),
        )
    rows = [(first, second, note) for first, (_, second, note) in found.items()]
    return rows, len(tree["rows"]), empty


def _written(rows: list[tuple[str, str, str]], notes: bool, head: Mapping[str, str]) -> str:
    out = io.StringIO()
    for key, value in head.items():
        if value:
            out.write(f"# {key}: {value}\n")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["from", "to", "note"] if notes else ["from", "to"])
    writer.writerows(row if notes else row[:2] for row in rows)
    return out.getvalue()


def _save(target: Path, text: str, name: str) -> None:
    """Written beside its place first and read as the hub will read it, so that nothing broken ever stands there."""
    draft = target.with_name(f".{target.name}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        errors = [problem for problem in load_table(draft, name)[1] if problem.severity == "error"]
        if errors:
            raise ConfigError([replace(problem, file=str(target)) for problem in errors])
        os.replace(draft, target)
    except OSError as error:
        raise HubError(
            t(f"{target} can't be written: {error.strerror}", f"无法写入 {target}：{error.strerror}")
        ) from None
    finally:
        draft.unlink(missing_ok=True)
