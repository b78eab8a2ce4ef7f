"""Typed shorthands for reading rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

__all__ = ["all_rows", "first_row", "scalar"]


def all_rows(connection: apsw.Connection, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Every row of a query."""
    return connection.execute(sql, parameters).fetchall()


def first_row(connection: apsw.Connection, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
    """The first row of a query, None when there is none."""
    for row in connection.execute(sql, parameters).fetchall():
        return row
    return None


def scalar(connection: apsw.Connection, sql: str, parameters: Sequence[Any] = ()) -> Any:
    """The first column of the first row, None when there is none."""
    row = first_row(connection, sql, parameters)
    return None if row is None else row[0]
