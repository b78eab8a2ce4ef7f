"""Options: what is refused, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from adapters.sql.connect import SqlConnect
from adapters.sql.listen import ByTimestamp, SqlListen
from hub.contract import Plugin

DATABASE: dict[str, Any] = {
    "product": "postgresql",
    "host": "db",
    "database": "his",
    "user": "hub",
    "password": "secret",
}
READ: dict[str, Any] = {"by": "sequence", "column": "id"}
INSERT: dict[str, Any] = {"action": "insert", "table": "t", "columns": {"a": "x"}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"table": 't"; DROP TABLE x'}, "not a name"),
        ({"table": "a.b.c.d"}, "schema.table"),
        ({"columns": ["a]"]}, "not a name"),
        ({"columns": ["1a"]}, "not a name"),
        ({"columns": ["a\x00"]}, "not a name"),
        ({"read": {"by": "sequence", "column": "a`b"}}, "not a name"),
        ({"table": None}, "either table or query"),
        ({"query": "SELECT 1"}, "either table or query"),
        ({"read": {"by": "luck", "column": "id"}}, "by"),
        ({"read": {"by": "timestamp", "column": "at", "key": []}}, "at least 1"),
        ({"read": {"by": "timestamp", "column": "at", "key": "id", "start": "soon"}}, "not a time"),
        ({"read": {"by": "outbox", "key": "id", "done": {"s": 1}, "pending": {"s": 1}}}, "must change a column"),
        ({"read": {"by": "outbox", "key": "id", "done": {"s": 1}}}, "must change a column"),
        (
            {"read": {"by": "outbox", "key": "id", "done": {"s": 1}, "pending": {"s": 0}, "failed": {"t": 1}}},
            "failed must",
        ),
        ({"payload": "a", "columns": ["a"]}, "payload"),
        ({"payload": "a", "read": {"by": "compare", "key": "id", "state": "x"}}, "payload"),
        ({"columns": ["a"], "details": [{"field": "a", "table": "d", "match": {"x": "y"}}]}, "different names"),
        ({"page": 0}, "greater than"),
        ({"database": {**DATABASE, "host": ""}}, "needs a host"),
        ({"database": {**DATABASE, "url": "postgresql://x/y"}}, "excludes"),
        ({"database": {"product": "postgresql", "url": "postgresql://u:p@h/d"}}, "carries a password"),
        ({"database": {"product": "postgresql", "url": "postgresql://u@h/d?password=x"}}, "carries a password"),
        ({"database": {"product": "postgresql", "url": "nonsense"}}, "not a SQLAlchemy address"),
        ({"database": {**DATABASE, "options": {"sslpassword": "x"}}}, "carries a secret"),
        ({"database": {"product": "sqlite", "database": ":memory:"}}, "path of a file"),
        ({"database": {**DATABASE, "product": "oracle", "tls": {}}}, "driver's own options"),
        ({"database": {**DATABASE, "product": "mysql", "tls": {"server_name": "x"}}}, "server_name"),
        ({"database": {**DATABASE, "tz": "Peking"}}, "time zone"),
    ],
)
def test_listen_refuses(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        SqlListen.model_validate({"database": DATABASE, "table": "t", "read": READ, **change})
    assert "s3krit" not in str(caught.value)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        ({**INSERT, "key": ["a"]}, "neither key"),
        ({**INSERT, "action": "update"}, "needs a key"),
        ({**INSERT, "action": "update", "key": ["b"]}, "key column b"),
        ({**INSERT, "action": "update", "key": ["a"]}, "changes nothing"),
        ({**INSERT, "action": "delete", "key": ["a"], "columns": {"a": "x", "b": "y"}}, "its key alone"),
        ({**INSERT, "idempotency_column": "a"}, "idempotency_column"),
        ({**INSERT, "action": "upsert", "key": "a", "returning": ["a"]}, "returning"),
        ({**INSERT, "columns": {"a; --": "x"}}, "not a name"),
        ({**INSERT, "columns": {"a": "x..y"}}, "not a path"),
        ({**INSERT, "columns": {"a": {"from": "x", "as": "number"}}}, "as"),
        ({"call": "p()", "params": {}}, "not a name"),
        ({"sql": ""}, "at least 1"),
        ([], "at least 1"),
    ],
)
def test_connect_refuses(write: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SqlConnect.model_validate({"database": DATABASE, "write": write})


def test_procedures_are_refused_where_there_are_none() -> None:
    with pytest.raises(ValidationError, match="procedures"):
        SqlConnect.model_validate({"database": {"product": "sqlite", "database": "x"}, "write": {"call": "p"}})


def test_chinese_names_and_schemas_are_names() -> None:
    given = SqlListen.model_validate(
        {"database": DATABASE, "table": "院内.患者 信息$", "read": {"by": "sequence", "column": "患者ID"}}
    )
    assert given.table == "院内.患者 信息$"


def test_the_example_of_the_documentation_is_sound() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "adapters" / "sql.md").read_text(encoding="utf-8")
    text = page.split("```yaml\n", 1)[1].split("```", 1)[0]
    for name, value in {"host": "10.1.0.9", "user": "HUB", "password": "s3krit"}.items():
        text = text.replace(f"${{{name}}}", value)
    plugin = Plugin.model_validate(yaml.safe_load(text))
    given = SqlListen.model_validate(plugin.interfaces["lab_reports"].listen)
    assert isinstance(given.read, ByTimestamp)
    assert given.read.overlap == 600
    SqlConnect.model_validate(plugin.interfaces["register_visit"].connect)


def test_the_password_is_not_shown() -> None:
    given = SqlListen.model_validate({"database": DATABASE, "table": "t", "read": READ})
    assert "s3krit" not in repr(given)
