"""Options of the SQL adapter that reading and writing share: names, and where the database is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from adapters.sql.paths import Path
from adapters.sql.products import PRODUCTS, Product, ProductName
from adapters.tls import ClientTls
from hub.contract import Duration

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

__all__ = ["Column", "Columns", "Database", "JsonPath", "Options", "Scalar", "Table", "as_list"]

#: A name as databases have them, also in Chinese. Nothing that could end a quoted name.
_NAME = re.compile(r"[^\W\d][\w$# -]{0,127}")
_SECRET_OPTION = re.compile(r"pass(word|wd|phrase)?|pwd|secret|token", re.IGNORECASE)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"{text!r} is not a name of a table or column: a letter or _ first, then letters, digits, _ $ # - and blanks"
        )
    return text


def _dotted(text: str) -> str:
    parts = text.split(".")
    if not 1 <= len(parts) <= 3:
        raise ValueError(f"{text!r}: write table, schema.table or database.schema.table")
    for part in parts:
        _name(part)
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone; write e.g. Asia/Shanghai or UTC") from None
    return name


def _path(text: str) -> str:
    Path(text)
    return text


def as_list(value: Any) -> Any:
    """One instead of a list of one."""
    return [value] if isinstance(value, str | dict) else value


Column = Annotated[str, AfterValidator(_name)]
Columns = Annotated[list[Column], BeforeValidator(as_list)]
Table = Annotated[str, AfterValidator(_dotted)]
JsonPath = Annotated[str, AfterValidator(_path)]
Zone = Annotated[str, AfterValidator(_zone)]
Scalar = str | int | float | bool | None


class Options(BaseModel):
    """Base of all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True)


class Database(Options):
    """Where the database is and who the hub is to it."""

    product: ProductName = Field(description="kind of database; decides the driver and how statements are written")
    host: str = Field("", description="name or address; not for sqlite")
    port: int = Field(0, ge=0, le=65535, description="default: that of the product")
    database: str = Field("", description="name of the database (oracle: service name; sqlite: path of the file)")
    user: str = ""
    password: SecretStr = SecretStr("")
    url: str = Field(
        "",
        description="SQLAlchemy address instead of host, port, database and user, e.g. "
        "dm+dmPython://HIS@10.1.0.9:5236; without the password",
    )
    driver: str = Field("", description="SQLAlchemy name of another driver, e.g. mssql+pymssql")
    options: dict[str, str] = Field(
        default_factory=dict, description="settings of the driver, as it names them; no secrets"
    )
    tls: ClientTls | None = Field(
        None, description="encrypt the connection; absent: not encrypted (where tls can't be given: see options)"
    )
    connections: int = Field(4, ge=1, le=64, description="connections, and threads that use them, at most")
    connect_timeout: Duration = Field(10.0, ge=1, description="longest time to connect")
    statement_timeout: Duration = Field(60.0, gt=0, description="longest time of one statement")
    idle_timeout: Duration = Field(900.0, gt=0, description="a connection is replaced after so long")
    tz: Zone = Field("Asia/Shanghai", description="time zone of the database's times that carry none")

    @field_validator("options")
    @classmethod
    def _no_secrets(cls, values: dict[str, str]) -> dict[str, str]:
        for name in values:
            if _SECRET_OPTION.search(name):
                raise ValueError(f"option {name} carries a secret; give it as password")
        return values

    @model_validator(mode="after")
    def _complete(self) -> Database:
        from sqlalchemy.exc import ArgumentError

        try:
            url = self._parsed()
        except (ArgumentError, ValueError):
            raise ValueError(
                "url is not a SQLAlchemy address; write e.g. postgresql+psycopg://hub@10.1.0.9/his"
            ) from None
        if self.url and (self.host or self.port or self.database or self.user or self.driver):
            raise ValueError("url excludes host, port, database, user and driver; keep one of them")
        if url.password is not None or any(_SECRET_OPTION.search(name) for name in url.query):
            raise ValueError("url carries a password; give it as database.password, from a secret")
        if self.product == "sqlite":
            if not url.database or url.database.startswith((":", "file:")):
                raise ValueError("sqlite needs the path of a file as database")
        elif not url.host and not url.query:
            raise ValueError(f"{self.product} needs a host")
        if self.tls is not None:
            if not self.kind.tls:
                raise ValueError(f"{self.product}: tls is set by the driver's own options, not by tls")
            if self.tls.server_name and self.kind.family == "mysql":
                raise ValueError("tls.server_name can't be given for this driver: host must be the certificate's name")
        return self

    @property
    def kind(self) -> Product:
        return PRODUCTS[self.product]

    def _parsed(self) -> URL:
        # Here and not above: it takes a while to load, which hubs without databases need not wait for.
        from sqlalchemy.engine import URL, make_url

        if self.url:
            return make_url(self.url)
        kind = self.kind
        query = {"service_name": self.database} if self.product == "oracle" and self.database else {}
        return URL.create(
            self.driver or kind.drivername,
            username=self.user or None,
            host=self.host or None,
            port=(self.port or kind.port or None) if self.host else None,
            database=(self.database or None) if not query else None,
            query=query,
        )

    def address(self) -> URL:
        """The address with the driver's options and the password; never log it."""
        url = self._parsed().update_query_dict(self.options)
        if self.product == "sqlite":  # never create a file that is missing
            url = url.set(database="file:" + quote(url.database or "")).update_query_dict({"mode": "rw", "uri": "true"})
        secret = self.password.get_secret_value()
        return url.set(password=secret) if secret else url

    def place(self) -> str:
        """Host, port and database for people; no user, no secrets."""
        url = self._parsed()
        name = url.database or dict(url.query).get("service_name") or ""
        if self.product == "sqlite":
            return str(name)
        return f"{url.host or ''}:{url.port or self.kind.port}/{name}"
