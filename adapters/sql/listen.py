"""Options of ``listen``: what is read from a database, and how new rows are told."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from adapters.schedule import Schedule
from adapters.sql.options import Column, Columns, Database, Options, Scalar, Table
from hub.contract import Duration, Size

__all__ = ["ByComparison", "ByOutbox", "BySequence", "ByTimestamp", "Detail", "SqlListen"]


class ByTimestamp(Options):
    """New and changed rows by the time they were changed, and a key that tells rows of the same time apart."""

    by: Literal["timestamp"]
    column: Column = Field(description="time of the last change; rows where it is NULL are never read")
    key: Columns = Field(min_length=1, description="columns that identify a row")
    overlap: Duration = Field(
        0.0,
        ge=0,
        description="each run reads so much time again, for rows that became visible late; what was taken already is "
        "recognised; not longer than duplicate_window",
    )
    start: str = Field("", description="the first run begins with this time, ISO 8601; default: with the oldest row")

    @field_validator("start")
    @classmethod
    def _iso(cls, text: str) -> str:
        if text:
            try:
                datetime.fromisoformat(text)
            except ValueError:
                raise ValueError(f"{text!r} is not a time; write e.g. 2026-01-15 or 2026-01-15 09:30:00") from None
        return text


class BySequence(Options):
    """New rows by a number that only grows."""

    by: Literal["sequence"]
    column: Column = Field(description="growing and unique: an identity column, a sequence, a row version")
    overlap: int = Field(0, ge=0, description="each run reads so many numbers again, for rows that became visible late")
    start: int | None = Field(None, description="the first run begins after this number; default: with the lowest")


class ByOutbox(Options):
    """Rows that a trigger or the other system puts there for the hub, marked or deleted once they are taken."""

    by: Literal["outbox"]
    key: Columns = Field(min_length=1, description="columns that identify a row; rows are read in their order")
    pending: dict[Column, Scalar] = Field(
        default_factory=dict, description="column -> value (null: IS NULL) of rows to read; default: all"
    )
    done: Literal["delete"] | dict[Column, Scalar] = Field(
        description="delete, or column -> value that taken rows get; the value 'now' writes the database's time"
    )
    failed: dict[Column, Scalar] = Field(
        default_factory=dict, description="column -> value for rows the hub refuses for good; default: as done"
    )

    @model_validator(mode="after")
    def _leaves_pending(self) -> ByOutbox:
        changes = {"done": self.done, "failed": self.failed or self.done}
        for name, values in changes.items():
            if isinstance(values, dict) and all(values.get(each, old) == old for each, old in self.pending.items()):
                raise ValueError(f"{name} must change a column of pending, or the same rows are read for ever")
        return self


class ByComparison(Options):
    """Added, changed and removed rows, by comparing the whole table with what was there at the last run."""

    by: Literal["compare"]
    key: Columns = Field(min_length=1, description="columns that identify a row")
    state: str = Field(
        "",
        description="file with a hash of each row, kept by the adapter; keys are in it, put it on a safe disk; "
        "default: in the hub's data folder",
    )
    removed: bool = Field(True, description="report rows that are gone; their message holds the key alone")
    most_removed: float = Field(
        0.5,
        gt=0,
        le=1,
        description="a run that misses more than this share of the rows (and more than 100) reports none of them and "
        "fails: a table that is just being filled looks like that",
    )
    change_field: str = Field("_change", min_length=1, description="field of the message: added, changed or removed")


class Detail(Options):
    """Rows of another table that belong to a row: they become a list in its message."""

    field: str = Field(min_length=1, description="name of the list in the message")
    table: Table | None = None
    query: str = Field("", description="a SELECT, instead of table")
    columns: Columns = Field(default_factory=list, description="default: all")
    match: dict[Column, Column] = Field(
        min_length=1, description="column of the detail -> column of the row it belongs to"
    )
    order_by: Columns = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_source(self) -> Detail:
        _one_of(self.table, self.query)
        return self


def _one_of(table: str | None, query: str) -> None:
    if bool(table) == bool(query.strip()):
        raise ValueError("give either table or query")


class SqlListen(Options):
    """``listen``: what is read from a database."""

    database: Database
    table: Table | None = Field(None, description="table or view, perhaps with its schema")
    query: str = Field("", description="a SELECT, instead of table; values as :name, from params")
    columns: Columns = Field(default_factory=list, description="columns of the message; default: all")
    where: str = Field("", description="SQL condition on the rows; values as :name, from params")
    params: dict[str, Scalar] = Field(default_factory=dict, description="values for query and where")
    read: Annotated[
        ByTimestamp | BySequence | ByOutbox | ByComparison,
        Field(discriminator="by", description="how new rows are told: by timestamp, sequence, outbox or compare"),
    ]
    details: list[Detail] = Field(default_factory=list, description="rows of other tables joined into the message")
    payload: Column | None = Field(None, description="column that holds the message itself; default: the row as JSON")
    version: Columns = Field(
        default_factory=list,
        description="columns that, with the key, make the control id; default: by timestamp its column, else none",
    )
    page: int = Field(1000, ge=1, le=5000, description="rows read and taken at once")
    page_bytes: Size = Field(16 << 20, ge=1 << 16, description="bytes of messages after which a page ends early")
    detail_rows: int = Field(100_000, ge=1, description="rows of one detail a page may have")
    count_waiting: bool = Field(True, description="count the rows waiting, up to 10,000, at the start of each run")
    schedule: Schedule = Schedule()

    @model_validator(mode="after")
    def _fits(self) -> SqlListen:
        _one_of(self.table, self.query)
        if isinstance(self.read, ByOutbox) and not self.table:
            raise ValueError("an outbox is a table: its rows are marked or deleted")
        if self.payload is not None and (self.details or self.columns):
            raise ValueError("payload is the whole message: it excludes columns and details")
        if self.payload is not None and isinstance(self.read, ByComparison):
            raise ValueError("a comparison makes messages of its own; payload can't be used with it")
        fields = [detail.field for detail in self.details]
        if len({*fields, *self.columns}) < len(fields) + len(self.columns):
            raise ValueError("columns and fields of details must have different names")
        return self
