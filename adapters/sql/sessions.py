"""How a connection is made and what its session is told first: time limits, zone and, for reading, not to write."""

from __future__ import annotations

import contextlib
import ipaddress
import sqlite3
from datetime import datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, event

from adapters.sql.options import Database
from adapters.tls import ClientTls, client_context
from hub.api import HubError
from hub.i18n import t

__all__ = ["connect_arguments", "prepare_sessions", "session_statements"]

# Python's driver for SQLite takes neither. As text every digit stays; a column of numbers makes numbers of them (SQLite, "Type Affinity").
sqlite3.register_adapter(Decimal, lambda value: format(value, "f"))
sqlite3.register_adapter(time, time.isoformat)


def connect_arguments(options: Database) -> dict[str, Any]:
    seconds = max(int(options.connect_timeout), 1)
    match options.address().get_driver_name():
        case "psycopg":
            arguments: dict[str, Any] = {"connect_timeout": seconds, "application_name": "tongqu"}
            arguments |= _libpq_tls(options.tls, options.address().host or "")
        case "pymysql":
            limit = max(int(options.statement_timeout) + 5, seconds)
            arguments = {
                "connect_timeout": seconds,
                "read_timeout": limit,
                "write_timeout": limit,
                "charset": "utf8mb4",
            }
            if options.tls is not None:
                arguments["ssl"] = client_context(options.tls)
            else:
                arguments["ssl_disabled"] = True
        case "pysqlite":
            arguments = {"timeout": options.statement_timeout}
        case "oracledb":
            arguments = {"tcp_connect_timeout": options.connect_timeout}
        case "pyodbc":
            arguments = {"timeout": seconds}
        case _:
            arguments = {}
    return arguments


def _libpq_tls(tls: ClientTls | None, host: str) -> dict[str, Any]:
    """PostgreSQL's client library reads the files itself (libpq, 32.19); a context made here would not reach it."""
    if tls is None:
        return {"sslmode": "disable"}
    client_context(tls)  # says which file can't be used, and why, better than the library does
    arguments: dict[str, Any] = {
        "sslmode": "verify-full" if tls.verify else "require",
        "ssl_min_protocol_version": f"TLSv{tls.min_version}",
    }
    if tls.verify:
        arguments["sslrootcert"] = tls.ca or "system"
    if tls.certificate:
        arguments |= {"sslcert": tls.certificate, "sslkey": tls.key or tls.certificate}
        if tls.key_password:
            arguments["sslpassword"] = tls.key_password
    if tls.server_name:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise HubError(
                t(
                    "tls.server_name needs an address as database.host",
                    "使用 tls.server_name 时 database.host 须为 IP 地址",
                ),
                code="sql.options",
                remedy=t("give the address of the server as host", "请以服务器的 IP 地址作为 host"),
            ) from None
        arguments |= {"host": tls.server_name, "hostaddr": host}
    return arguments


def prepare_sessions(engine: Engine, options: Database, read_only: bool) -> None:
    """Have every new connection set its time limits and, for reading, forbid itself to write."""
    family = options.kind.family
    milliseconds = max(int(options.statement_timeout * 1000), 1)

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, record: Any) -> None:
        if family == "oracle":
            with contextlib.suppress(AttributeError):
                connection.call_timeout = milliseconds
        if family == "sqlserver":
            with contextlib.suppress(AttributeError):
                connection.timeout = max(milliseconds // 1000, 1)
        if family == "sqlite":
            connection.isolation_level = None  # transactions begin where SQLAlchemy says, not where the driver guesses
        if options.address().get_driver_name() == "psycopg":
            _keep_json_exact(connection)
        cursor = connection.cursor()
        for statement, optional in session_statements(options, read_only):
            try:
                cursor.execute(statement)
            except Exception:
                if not optional:
                    raise
        cursor.close()
        if family == "postgresql":
            connection.commit()

    if family == "sqlite":

        @event.listens_for(engine, "begin")
        def _begun(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    if options.product == "oracle" and read_only:

        @event.listens_for(engine, "begin")
        def _begun_read_only(connection: Connection) -> None:
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")


def session_statements(options: Database, read_only: bool) -> list[tuple[str, bool]]:
    """What a new session is told first; True: for versions that know it. The name of a zone is one of the known names."""
    milliseconds = max(int(options.statement_timeout * 1000), 1)
    match options.kind.family:
        case "postgresql":
            found = [(f"SET statement_timeout = {milliseconds}", False), (f"SET TimeZone = '{options.tz}'", False)]
            if read_only:
                # One snapshot for a page and its details.
                found += [
                    ("SET default_transaction_read_only = on", False),
                    ("SET default_transaction_isolation = 'repeatable read'", False),
                ]
            return found
        case "mysql":
            found = [
                (f"SET SESSION time_zone = '{_offset(options.tz)}'", True),
                (f"SET SESSION innodb_lock_wait_timeout = {max(milliseconds // 1000, 1)}", True),
                (f"SET SESSION max_execution_time = {milliseconds}", True),  # MySQL
                (f"SET SESSION max_statement_time = {milliseconds / 1000}", True),  # MariaDB
                (f"SET SESSION ob_query_timeout = {milliseconds * 1000}", True),  # OceanBase
            ]
            return [*found, ("SET SESSION TRANSACTION READ ONLY", True)] if read_only else found
        case "sqlite":
            return [("PRAGMA query_only = ON", False)] if read_only else []
        case "sqlserver":
            return [(f"SET LOCK_TIMEOUT {milliseconds}", False)]
        case "oracle":
            return [(f"ALTER SESSION SET TIME_ZONE = '{options.tz}'", True)]


def _offset(zone: str) -> str:
    """For MySQL, which knows zones by name only where somebody loaded them: the offset, where it is always the same."""
    offsets = {datetime(2026, month, 1, tzinfo=ZoneInfo(zone)).strftime("%z") for month in (1, 7)}
    found = offsets.pop()
    return zone if offsets else f"{found[:3]}:{found[3:5]}"


def _keep_json_exact(connection: Any) -> None:
    """Columns of type json are passed on as they stand: parsed, their decimals would be rounded."""
    from orjson import Fragment
    from psycopg.types.json import set_json_loads

    set_json_loads(Fragment, connection)
