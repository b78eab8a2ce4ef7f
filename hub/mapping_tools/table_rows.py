"""The rows of a code table as people wrote them, with every column and the line."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from hub.mapping.tables import CodeTable

__all__ = ["Row", "Rows", "rows_of"]


@dataclass(frozen=True, slots=True)
class Row:
    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """``columns`` as the header names them; the first two are ``from`` and ``to``."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def rows_of(table: CodeTable) -> Rows:
    """Read the file of a table that has been loaded without problems; what can't be read is left out."""
    columns: tuple[str, ...] = ()
    rows: list[Row] = []
    try:
        with open(table.file, encoding="utf-8-sig", newline="") as file:
            skipped = 0
            start = file.tell()
            while file.readline().startswith("#"):
                skipped += 1
                start = file.tell()
            file.seek(start)
            reader = csv.reader(file)
            for cells in reader:
                if not columns:
                    columns = tuple(cell.strip() for cell in cells)
                elif any(cell.strip() for cell in cells):
                    rows.append(Row(skipped + reader.line_num, tuple(cell.strip() for cell in cells)))
    except (OSError, UnicodeError, csv.Error):
        pass
    return Rows(columns, tuple(rows))
