"""Options of ``connect``: how a message is written to a database."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, model_validator

from adapters.sql.options import Column, Columns, Database, JsonPath, Options, Scalar, Table, as_list

__all__ = ["Call", "Dedupe", "Out", "Rows", "Source", "SqlConnect", "Statement"]

Form = Literal["text", "integer", "decimal", "boolean", "date", "time", "datetime", "timestamptz", "binary", "json"]


class Source(Options):
    """Where a value comes from."""

    path: JsonPath = Field("", alias="from", description="in the row, e.g. patient.ids[0].value; $. begins at the body")
    value: Scalar = Field(None, description="the same for every row")
    form: Form | None = Field(
        None,
        alias="as",
        description="make it such a value first; datetime: in the database's time zone, without it; binary: from base64",
    )


def _as_source(value: Any) -> Any:
    return {"from": value} if isinstance(value, str) else value


Value = Annotated[Source, BeforeValidator(_as_source)]


class Rows(Options):
    """Insert, update or delete rows by a mapping of columns."""

    action: Literal["insert", "update", "upsert", "delete"]
    table: Table
    columns: dict[Column, Value] = Field(min_length=1, description="column -> path in the row of the body")
    key: Columns = Field(default_factory=list, description="columns that identify a row; not for insert")
    rows: JsonPath = Field("", description="list in the body, one row each; default: the body, an object or a list")
    returning: Columns = Field(default_factory=list, description="columns the reply tells, e.g. a generated number")
    must_exist: bool = Field(False, description="update, delete: a row that is not there is an error")
    idempotency_column: Column | None = Field(
        None, description="insert: unique column for the delivery's key, by which a repetition is recognised"
    )

    @model_validator(mode="after")
    def _fits(self) -> Rows:
        if self.action == "insert":
            if self.key or self.must_exist:
                raise ValueError("insert has neither key nor must_exist")
        elif not self.key:
            raise ValueError(f"{self.action} needs a key")
        missing = [name for name in self.key if name not in self.columns]
        if missing:
            raise ValueError(f"key column {missing[0]} has no value in columns")
        if self.action == "delete" and len(self.columns) > len(self.key):
            raise ValueError("delete takes the columns of its key alone")
        if self.action == "update" and len(self.columns) == len(self.key):
            raise ValueError("update changes nothing: columns holds the key alone")
        if self.idempotency_column and (self.action != "insert" or self.idempotency_column in self.columns):
            raise ValueError("idempotency_column goes with insert, and must not be among columns")
        if self.returning and self.action != "insert":
            raise ValueError("returning goes with insert")
        return self


class Statement(Options):
    """One statement with named parameters."""

    sql: str = Field(min_length=1, description="values as :name; they are bound, never pasted into the text")
    params: dict[str, Value] = Field(default_factory=dict, description="name -> path in the body")
    rows: JsonPath | None = Field(None, description="list in the body, the statement once for each; default: once")
    result: bool = Field(False, description="the rows it gives become ``result`` of the reply")


class Out(Options):
    """An output parameter of a procedure."""

    out: Literal["text", "integer", "decimal", "datetime"]


class Call(Options):
    """A stored procedure; output parameters become ``out`` of the reply."""

    call: Table = Field(description="its name, perhaps with the schema")
    params: dict[Column, Annotated[Out | Value, BeforeValidator(_as_source)]] = Field(
        default_factory=dict, description="in the order of the procedure: name -> path in the body, or {out: type}"
    )


def _kind_of_step(value: Any) -> str:
    given = value if isinstance(value, dict) else vars(value) if isinstance(value, BaseModel) else {}
    return "sql" if "sql" in given else "call" if "call" in given else "rows"


Step = Annotated[
    Annotated[Rows, Tag("rows")] | Annotated[Statement, Tag("sql")] | Annotated[Call, Tag("call")],
    Discriminator(_kind_of_step),
]


class Dedupe(Options):
    """A table that remembers which deliveries were written, in the same transaction."""

    table: Table
    column: Column = Field(description="unique; holds the delivery's key, up to 200 characters")
    at: Column | None = Field(None, description="column that gets the database's time")


class SqlConnect(Options):
    """``connect``: how a message is written to a database. All steps are one transaction."""

    database: Database
    write: Annotated[list[Step], BeforeValidator(as_list)] = Field(min_length=1, description="steps, in this order")
    dedupe: Dedupe | None = Field(None, description="recognise repetitions by a table")
    max_rows: int = Field(10_000, ge=1, description="rows one message may have, per step")
    reply_rows: int = Field(1000, ge=1, description="rows of ``result`` and ``keys`` the reply may hold")

    @model_validator(mode="after")
    def _product_can(self) -> SqlConnect:
        if self.database.product in ("sqlite", "gbase8a") and any(isinstance(step, Call) for step in self.write):
            raise ValueError(f"{self.database.product}: procedures can't be called here")
        return self
