"""Errors of drivers, as each product gives them, and their classes."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from adapters.sql.errors import Kind, classify, send_error
from adapters.sql.products import PRODUCTS
from hub.api import PermanentError, TransientError, UnreachableError


class _Error(Exception):
    """As PEP 249 names them; drivers have classes of these names."""


class ProgrammingError(_Error):
    pass


class DataError(_Error):
    pass


def of_state(state: str) -> Exception:
    found = _Error("text")
    found.sqlstate = state  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize(
    ("product", "error", "kind", "code"),
    [
        ("postgresql", of_state("40P01"), Kind.DEADLOCK, "40P01"),
        ("postgresql", of_state("40001"), Kind.DEADLOCK, "40001"),
        ("kingbase", of_state("23505"), Kind.DUPLICATE, "23505"),
        ("gaussdb", of_state("23503"), Kind.CONSTRAINT, "23503"),
        ("postgresql", of_state("57014"), Kind.TIMEOUT, "57014"),
        ("postgresql", of_state("57P01"), Kind.LOST, "57P01"),
        ("postgresql", of_state("28P01"), Kind.CREDENTIALS, "28P01"),
        ("postgresql", of_state("22P02"), Kind.DATA, "22P02"),
        ("postgresql", of_state("42P01"), Kind.STATEMENT, "42P01"),
        ("postgresql", of_state("25006"), Kind.BUSY, "25006"),
        ("mysql", _Error(1213, "x"), Kind.DEADLOCK, "1213"),
        ("mariadb", _Error(1205, "x"), Kind.TIMEOUT, "1205"),
        ("oceanbase", _Error(1062, "x"), Kind.DUPLICATE, "1062"),
        ("gbase8a", _Error(1146, "x"), Kind.STATEMENT, "1146"),
        ("mysql", _Error(2013, "x"), Kind.LOST, "2013"),
        ("mysql", _Error(1406, "x"), Kind.DATA, "1406"),
        ("oracle", _Error("ORA-00001: unique constraint (HIS.PK) violated"), Kind.DUPLICATE, "ORA-00001"),
        ("oracle", _Error("ORA-00060: deadlock detected"), Kind.DEADLOCK, "ORA-00060"),
        ("oracle", _Error("ORA-12541: no listener"), Kind.LOST, "ORA-12541"),
        ("oracle", _Error("ORA-01400: cannot insert NULL"), Kind.CONSTRAINT, "ORA-01400"),
        ("dm", DataError("[CODE:-6149]"), Kind.DATA, ""),
        (
            "sqlserver",
            _Error("23000", "[23000] Violation of PRIMARY KEY (2627) (SQLExecDirectW)"),
            Kind.DUPLICATE,
            "2627",
        ),
        ("sqlserver", _Error("40001", "[40001] deadlock victim (1205)"), Kind.DEADLOCK, "1205"),
        ("sqlserver", _Error("08S01", "[08S01] Communication link failure (0)"), Kind.LOST, "08S01"),
        ("sqlserver", _Error(547, b"conflicted with the FOREIGN KEY"), Kind.CONSTRAINT, "547"),
        ("dm", ProgrammingError("x"), Kind.STATEMENT, ""),
        ("postgresql", of_state("P0001"), Kind.RAISED, "P0001"),
        ("mysql", _Error(1644, "x"), Kind.RAISED, "1644"),
        ("oracle", _Error("ORA-20001: closed"), Kind.RAISED, "ORA-20001"),
        ("sqlserver", _Error("42000", "[42000] closed (50001)"), Kind.RAISED, "50001"),
        (
            "kingbase",
            _Error('connection failed: FATAL:  password authentication failed for user "hub"'),
            Kind.CREDENTIALS,
            "",
        ),
        ("kingbase", _Error('connection failed: 致命错误:  用户 "hub" Password 认证失败'), Kind.CREDENTIALS, ""),
        ("postgresql", _Error("x"), Kind.UNKNOWN, ""),
    ],
)
def test_classes(product: str, error: Exception, kind: Kind, code: str) -> None:
    assert classify(error, PRODUCTS[product]) == (kind, code)
    assert classify(DBAPIError("SELECT 1", None, error), PRODUCTS[product]) == (kind, code)


def test_a_broken_connection_without_a_code() -> None:
    lost = OperationalError("SELECT 1", None, _Error("server closed the connection"), connection_invalidated=True)
    found = send_error(lost, PRODUCTS["postgresql"], "db")
    assert isinstance(found, TransientError)
    assert found.code == "sql.lost"
    found = send_error(lost, PRODUCTS["postgresql"], "db", connecting=True)
    assert isinstance(found, UnreachableError)
    assert found.code == "sql.unreachable"


def test_a_syntax_error_of_mysql_is_not_cited() -> None:
    error = _Error(1064, "You have an error in your SQL syntax near '张三丰')'")
    assert "张三丰" not in send_error(DBAPIError("x", None, error), PRODUCTS["mysql"], "db").text


def test_what_a_procedure_says_is_told_masked() -> None:
    found = send_error(DBAPIError("x", None, _Error(1644, "closed for 13812345678")), PRODUCTS["mysql"], "db")
    assert isinstance(found, PermanentError)
    assert "closed for 138****5678" in found.text


def test_a_refused_certificate_has_a_code_of_its_own() -> None:
    error = _Error(2003, "Can't connect ([SSL: CERTIFICATE_VERIFY_FAILED])")
    assert send_error(error, PRODUCTS["mysql"], "db", connecting=True).code == "sql.tls"


def test_the_text_of_an_error_about_data_is_never_told() -> None:
    error: Any = sqlite3.IntegrityError("UNIQUE constraint failed: 110101199003070038")
    error.sqlite_errorname = "SQLITE_CONSTRAINT_UNIQUE"
    found = send_error(IntegrityError("INSERT", ("张三",), error), PRODUCTS["sqlite"], "db")
    assert isinstance(found, PermanentError)
    assert "1101" not in found.text
    assert "SQLITE_CONSTRAINT_UNIQUE" in found.text
