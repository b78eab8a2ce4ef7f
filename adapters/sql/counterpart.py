"""The other end of databases for simulators: a server that speaks PostgreSQL's protocol, with the tables of the interfaces.

The tables are those of the ``.sql`` files beside the contract; what these don't have is laid out as ``connect`` and ``listen`` name it.
A transaction is one call of the interface whose statements it holds.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from adapters.sql.connect import Call, Rows, SqlConnect
from adapters.sql.counterpart_known import Known, declared_statements
from adapters.sql.counterpart_rows import RowsLaid, last_part, lay_source
from adapters.sql.counterpart_session import Base, Session
from adapters.sql.counterpart_tables import SqlRefusal, Tables
from adapters.sql.counterpart_wire import Wire
from adapters.sql.listen import SqlListen
from adapters.sql.options import Database
from adapters.sql.products import PRODUCTS
from hub.api import Bound, HubError
from hub.contract import Setting
from hub.i18n import t
from hub.settings import referenced
from hub.simulator.behaviour import Behaviour
from hub.simulator.calls import SimulatedReply
from hub.simulator.counterpart import Counterpart, Listening
from hub.simulator.invent import free_port
from hub.simulator.party import Facts, Party, Said
from hub.simulator.replies import Replies
from hub.simulator.side import Side
from hub.simulator.source import Source

if TYPE_CHECKING:
    from hub.mapping import Context
    from hub.simulator.texts import Writer

__all__ = ["SqlCounterpart"]

_NAME, _USER = "simulated", "hub"
#: SQLSTATE of tables and columns nobody knows.
_UNKNOWN = frozenset(("42P01", "42703"))
#: What a column holds that is made of ``as``.
_TYPES = {
    "text": "TEXT",
    "integer": "BIGINT",
    "decimal": "NUMERIC",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "time": "TIME",
    "datetime": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ",
    "binary": "BYTEA",
    "json": "JSON",
}


class SqlCounterpart(Counterpart):
    """Of ``sql``, for products that are spoken to in PostgreSQL's protocol."""

    def replies(self, bound: Bound, writer: Writer, expired: str) -> Replies:
        options = cast(SqlConnect, bound.options)
        if any(isinstance(step, Call) for step in options.write):
            raise HubError(t("procedures are not played", "不能模拟存储过程"), code="simulate.procedure")
        return Replies(bound, writer, expired, answered=False)  # a database answers by itself

    def listening(self, sides: Sequence[Side], party: Party) -> Listening:
        return _Databases(sides, party)

    def invented(
        self, entries: Iterable[Mapping[str, Any]], settings: Mapping[str, Setting], host: str
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for entry in entries:
            for part in ("connect", "listen"):
                database = (entry.get(part) or {}).get("database")
                if isinstance(database, dict):
                    found = _at(database, settings, host) | found
        return found

    async def send(
        self, side: Side, to: str, options: Mapping[str, Any], body: bytes, behaviour: Behaviour | None
    ) -> SimulatedReply:
        raise HubError(
            t("the hub reads a table, nobody calls it", "枢纽读取数据表，无对方调用"),
            code="simulate.source",
            remedy=t("lay a row out: offer", "请用 offer 放置记录"),
        )


def _at(database: Mapping[str, Any], settings: Mapping[str, Setting], host: str) -> dict[str, Any]:
    """The settings that say where a database is and which, with the values of one that is played."""
    names = {key: name for key, value in database.items() if (name := referenced(value))}
    port: Any = free_port(host)
    if "url" in names:
        return {names["url"]: f"postgresql+psycopg://{_USER}@{host}:{port}/{_NAME}"}
    if "port" not in names:
        # The product's own port, which a server of this machine may have, at another address of loopback.
        port = database.get("port")
        host = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"
    values = {"host": host, "port": port, "database": _NAME, "user": _USER}
    found = {names[key]: value for key, value in values.items() if key in names}
    if "product" in names:
        choices = settings[names["product"]].choices or ["postgresql"]
        spoken = [str(one) for one in choices if one in PRODUCTS and PRODUCTS[str(one)].family == "postgresql"]
        if not spoken:
            return {}
        found[names["product"]] = spoken[0]
    return found


class _Databases(Listening):
    """All interfaces of one plugin: those at one address share a server, those of one database its tables."""

    def __init__(self, sides: Sequence[Side], party: Party) -> None:
        self._ended = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._rows: dict[str, tuple[RowsLaid, Tables]] = {}
        self._bases: dict[tuple[str, int], dict[str, Base]] = {}
        self._logins: dict[tuple[str, int], tuple[str, str]] = {}
        together: dict[tuple[str, int, str], list[Side]] = {}
        for side in sides:
            database = _database(side)
            _check_product(database)
            address = database.address()
            at = (address.host or "127.0.0.1", address.port or database.kind.port)
            login = (address.username or "", database.password.get_secret_value())
            if self._logins.setdefault(at, login) != login:
                raise HubError(
                    t("one server is played for one user", "同一服务器只能模拟一个用户"), code="simulate.database"
                )
            together.setdefault((*at, address.database or address.username or ""), []).append(side)
        for (host, port, name), group in together.items():
            tables = self._laid(group)
            self._bases.setdefault((host, port), {})[name] = Base(tables, Known(group), party)

    def _laid(self, sides: Sequence[Side]) -> Tables:
        schemas = {name.rpartition(".")[0] for side in sides for name in _tables_of(side) if "." in name}
        files = dict.fromkeys(
            file for side in sides for folder in side.folders for file in sorted(folder.glob("*.sql"))
        )
        tables = Tables(_database(sides[0]).tz, sorted(schemas))
        for file in files:
            _run_script(tables, file)
        for side in sides:
            if isinstance(side.bound.options, SqlConnect):
                _lay_target(tables, side.bound.options)
            else:
                laid = lay_source(tables, cast(SqlListen, side.bound.options))
                self._rows[side.interface] = RowsLaid(side, tables, is_open=laid), tables
                side.source = _Read()
        for side in sides:
            for spoken in declared_statements(side):
                try:
                    tables.check(spoken.sql, [str(at) for at in range(1, len(spoken.names) + 1)])
                except SqlRefusal as refusal:
                    raise HubError(
                        t(
                            f"{side.interface}: its statement can't be run: {refusal.state} {refusal.text}",
                            f"{side.interface}：语句无法执行：{refusal.state} {refusal.text}",
                        ),
                        code="simulate.tables",
                        remedy=_tables_wanted() if refusal.state in _UNKNOWN else _other_words(),
                    ) from None
        return tables

    async def start(self) -> None:
        for (host, port), bases in self._bases.items():
            serve = partial(self._serve, self._logins[host, port], bases)
            try:
                self._servers.append(await asyncio.start_server(serve, host, port))
            except OSError as error:
                await self.stop()
                raise HubError(
                    t(f"can't listen on {host}:{port}: {error.strerror}", f"无法监听 {host}:{port}：{error.strerror}"),
                    code="simulate.listen",
                    remedy=t("choose a free port of this machine", "请选择本机空闲端口"),
                ) from error

    async def stop(self) -> None:
        self._ended.set()
        for server in self._servers:
            server.close()
        self._servers.clear()
        for writer in list(self._open):
            writer.transport.abort()

    async def offer(self, side: Side, body: bytes) -> None:
        rows, tables = self._rows[side.interface]
        async with tables.lock:
            rows.put(body)

    async def _serve(
        self,
        login: tuple[str, str],
        bases: Mapping[str, Base],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._open.add(writer)
        try:
            await Wire(reader, writer, Session(login, bases.get, self._ended)).serve()
        finally:
            self._open.discard(writer)


class _Read(Source):
    """What is asked of a table is answered by the table."""

    def read(self, body: bytes, context: Context) -> Any:
        return {}

    def answer(self, tree: Any, facts: Facts) -> Said:
        return Said(200, b"")

    def refused(self, code: str, text: str) -> tuple[int, bytes]:
        return 0, b""


def _database(side: Side) -> Database:
    return cast(SqlConnect | SqlListen, side.bound.options).database


def _check_product(database: Database) -> None:
    if database.kind.family != "postgresql":
        raise HubError(
            t(
                f"a database is played in PostgreSQL's protocol, and this one is {database.product}",
                f"数据库按 PostgreSQL 协议模拟，而此接口使用 {database.product}",
            ),
            code="simulate.product",
            remedy=t("make the product a setting that may be postgresql", "请将 product 设为可取 postgresql 的设置"),
        )
    if database.tls is not None:
        raise HubError(
            t("databases over TLS are played without a certificate: not yet", "尚不能模拟使用 TLS 的数据库"),
            code="simulate.tls",
        )


def _run_script(tables: Tables, file: Path) -> None:
    try:
        tables.script(file.read_text(encoding="utf-8"))
    except (SqlRefusal, OSError, UnicodeError) as error:
        raise HubError(
            t(f"the tables of {file.name} can't be made: {error}", f"无法按 {file.name} 建表：{error}"),
            code="simulate.tables",
            remedy=_other_words(),
        ) from None


def _other_words() -> str:
    return t("write what SQLite understands as well", "请使用 SQLite 也支持的写法")


def _tables_wanted() -> str:
    return t(
        "put the CREATE TABLE of its tables into a .sql file beside plugin.yaml",
        "请将建表语句写入 plugin.yaml 旁的 .sql 文件",
    )


def _lay_target(tables: Tables, options: SqlConnect) -> None:
    """Tables of rows and of deliveries that no file has."""
    if options.dedupe is not None and not tables.columns(last_part(options.dedupe.table)):
        moment = {options.dedupe.at: "TIMESTAMP"} if options.dedupe.at else {}
        tables.lay(
            last_part(options.dedupe.table), {options.dedupe.column: "VARCHAR(200)"} | moment, [options.dedupe.column]
        )
    for step in options.write:
        if isinstance(step, Rows) and not tables.columns(last_part(step.table)):
            columns = {name: _TYPES.get(source.form or "", "") for name, source in step.columns.items()}
            own = [step.idempotency_column] if step.idempotency_column else []
            made = [name for name in step.returning if name not in columns]
            columns |= dict.fromkeys(own, "VARCHAR(200)") | dict.fromkeys(made[1:], "")
            numbered = dict.fromkeys(made[:1], "INTEGER PRIMARY KEY")
            tables.lay(last_part(step.table), numbered | columns, step.key, own)


def _tables_of(side: Side) -> list[str]:
    options = side.bound.options
    if isinstance(options, SqlConnect):
        dedupe = [options.dedupe.table] if options.dedupe is not None else []
        return [*dedupe, *(step.table for step in options.write if isinstance(step, Rows))]
    listen = cast(SqlListen, options)
    return [name for name in (listen.table, *(detail.table for detail in listen.details)) if name]
