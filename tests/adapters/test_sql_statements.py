"""The statements each product gets, compiled by its own dialect, without its driver.

DM is checked with Oracle's dialect, from which its maker's is derived; the others that are compatible with PostgreSQL or MySQL with
the dialect the hub speaks to them.
"""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Dialect

from adapters.sql.connect import Call, Dedupe, Rows
from adapters.sql.listen import SqlListen
from adapters.sql.options import Database
from adapters.sql.products import PRODUCTS
from adapters.sql.sessions import session_statements
from adapters.sql.source import DetailQuery, Query, settle
from adapters.sql.statements import call_statement, insert_rows, note_delivery, update_rows, upsert_rows

HOST: dict[str, Any] = {"host": "db", "user": "hub", "database": "his"}


def dialect(product: str) -> Dialect:
    return PRODUCTS["oracle" if product == "dm" else product].dialect()


def sql(statement: Any, product: str) -> str:
    return " ".join(str(statement.compile(dialect=dialect(product))).split())


def listen(product: str, **options: Any) -> SqlListen:
    database = {"product": product, **HOST} if product != "sqlite" else {"product": product, "database": "x.db"}
    given = {"table": "his.patient", "read": {"by": "timestamp", "column": "changed", "key": ["id", "No"]}}
    return SqlListen.model_validate({"database": database, **given, **options})


def page(product: str, **options: Any) -> str:
    given = listen(product, **options)
    query = Query(given, PRODUCTS[product].row_values)
    return sql(query.page(("2026", 1, "a"), 100), product)


LADDER = "changed >= {0} AND (changed > {0} OR changed = {0} AND (id > {1} OR id = {1} AND {2} > {3}))"


@pytest.mark.parametrize("product", ["postgresql", "kingbase", "gaussdb"])
def test_a_page_in_postgresql(product: str) -> None:
    assert page(product) == (
        'SELECT * FROM his.patient WHERE (changed, id, "No") > (%(after0)s, %(after1)s, %(after2)s) '
        'ORDER BY changed ASC, id ASC, "No" ASC LIMIT %(param_1)s::INTEGER'
    )


@pytest.mark.parametrize("product", ["mysql", "mariadb", "oceanbase", "gbase8a"])
def test_a_page_in_mysql(product: str) -> None:
    where = LADDER.format("%s", "%s", "`No`", "%s")
    assert page(product) == (f"SELECT * FROM his.patient WHERE {where} ORDER BY changed ASC, id ASC, `No` ASC LIMIT %s")


@pytest.mark.parametrize("product", ["oracle", "dm"])
def test_a_page_in_oracle(product: str) -> None:
    where = LADDER.format(":after0", ":after1", '"No"', ":after2")
    assert page(product) == (
        f'SELECT * FROM his.patient WHERE {where} ORDER BY changed ASC, id ASC, "No" ASC '
        "FETCH FIRST __[POSTCOMPILE_param_1] ROWS ONLY"
    )


def test_a_page_in_sql_server() -> None:
    found = page("sqlserver", columns=["id", "姓名"], read={"by": "sequence", "column": "id"})
    assert found == "SELECT TOP __[POSTCOMPILE_param_1] id, [姓名] FROM his.patient WHERE id > :after0 ORDER BY id ASC"


def test_a_page_in_sqlite() -> None:
    assert page("sqlite") == (
        'SELECT * FROM his.patient WHERE (changed, id, "No") > (?, ?, ?) '
        'ORDER BY changed ASC, id ASC, "No" ASC LIMIT ? OFFSET ?'  # of 0 rows: SQLAlchemy writes both or none
    )


@pytest.mark.parametrize("product", sorted(PRODUCTS.keys() - {"sqlite"}))
def test_no_product_ever_skips_rows_by_counting_them(product: str) -> None:
    assert "OFFSET" not in page(product)


def test_a_query_is_read_like_a_table() -> None:
    options: dict[str, Any] = {"table": None, "query": "SELECT id, changed FROM a WHERE x = :x", "params": {"x": 1}}
    assert page("oracle", **options, read={"by": "sequence", "column": "id"}, where="id <> :x").startswith(
        "SELECT * FROM (SELECT id, changed FROM a WHERE x = :x) source WHERE (id <> :x) AND id > :after0"
    )


def test_what_waits_is_counted_up_to_a_limit() -> None:
    query = Query(listen("postgresql", read={"by": "sequence", "column": "n"}), True)
    assert sql(query.waiting((5,), 10), "postgresql") == (
        "SELECT count(*) AS count_1, min(waiting.first) AS min_1 FROM (SELECT n AS first FROM his.patient "
        "WHERE n > %(after0)s ORDER BY n ASC LIMIT %(param_1)s::INTEGER) AS waiting"
    )


def test_details_of_one_and_of_several_columns() -> None:
    one = listen("mysql", details=[{"field": "i", "table": "item", "match": {"p": "id"}}]).details[0]
    assert sql(DetailQuery(one).rows([(1,), (2,)], 9), "mysql") == (
        "SELECT * FROM item WHERE p IN (__[POSTCOMPILE_keys]) LIMIT %s"
    )
    two = listen("oracle", details=[{"field": "i", "table": "item", "match": {"p": "id", "q": "No"}}]).details[0]
    assert "(p = :k0_0 AND q = :k0_1 OR p = :k1_0 AND q = :k1_1)" in sql(
        DetailQuery(two).rows([(1, 2), (3, 4)], 9), "oracle"
    ).replace("WHERE ", "WHERE (").replace(" FETCH", ") FETCH")


def test_an_outbox_is_settled_by_its_key() -> None:
    read = {"by": "outbox", "key": ["a", "b"], "pending": {"s": None}, "done": {"s": 1, "at": "now"}}
    given = listen("oracle", read=read)
    assert sql(settle(given, given.read, given.read.done), "oracle") == (  # type: ignore[arg-type, union-attr]
        "UPDATE his.patient SET s=:v0, at=CURRENT_TIMESTAMP WHERE a = :k0 AND b = :k1"
    )
    assert sql(settle(given, given.read, "delete"), "mysql") == "DELETE FROM his.patient WHERE a = %s AND b = %s"  # type: ignore[arg-type]
    assert "s IS NULL" in page("oracle", read={**read, "key": ["changed", "id", "No"]})


ROWS = Rows.model_validate(
    {"action": "upsert", "table": "his.patient", "columns": {"id": "i", "姓名": "n", "Born": "b"}, "key": "id"}
)


def upsert(product: str, rows: Rows = ROWS) -> str | None:
    found = upsert_rows(rows, PRODUCTS[product], dialect(product))
    return None if found is None else sql(found, product)


def test_upsert_by_conflict() -> None:
    wanted = (
        'INSERT INTO his.patient (id, "姓名", "Born") VALUES (%(p0)s, %(p1)s, %(p2)s) '
        'ON CONFLICT (id) DO UPDATE SET "姓名" = excluded."姓名", "Born" = excluded."Born"'
    )
    assert upsert("postgresql") == upsert("kingbase") == wanted
    assert upsert("sqlite") == wanted.replace("%(p0)s, %(p1)s, %(p2)s", "?, ?, ?")


def test_upsert_by_duplicate_key() -> None:
    wanted = (
        "INSERT INTO his.patient (id, `姓名`, `Born`) VALUES (%s, %s, %s) "
        "ON DUPLICATE KEY UPDATE `姓名` = VALUES(`姓名`), `Born` = VALUES(`Born`)"
    )
    assert upsert("mariadb") == upsert("mysql") == upsert("oceanbase") == wanted


def test_upsert_by_merge() -> None:
    oracle = (
        'MERGE INTO his.patient t USING (SELECT :p0 AS id, :p1 AS "姓名", :p2 AS "Born" FROM DUAL) s ON (t.id = s.id) '
        'WHEN MATCHED THEN UPDATE SET t."姓名" = s."姓名", t."Born" = s."Born" '
        'WHEN NOT MATCHED THEN INSERT (id, "姓名", "Born") VALUES (s.id, s."姓名", s."Born")'
    )
    assert upsert("oracle") == upsert("dm") == oracle
    assert upsert("sqlserver") == (
        "MERGE INTO his.patient WITH (HOLDLOCK) AS t USING (SELECT :p0 AS id, :p1 AS [姓名], :p2 AS [Born]) s ON (t.id = s.id) "
        "WHEN MATCHED THEN UPDATE SET t.[姓名] = s.[姓名], t.[Born] = s.[Born] "
        "WHEN NOT MATCHED THEN INSERT (id, [姓名], [Born]) VALUES (s.id, s.[姓名], s.[Born]);"
    )


def test_upsert_in_two_steps() -> None:
    assert upsert("gaussdb") is None
    assert upsert("gbase8a") is None
    assert sql(update_rows(ROWS), "gaussdb") == 'UPDATE his.patient SET "姓名"=%(p1)s, "Born"=%(p2)s WHERE id = %(p0)s'
    assert sql(insert_rows(ROWS), "gbase8a") == ("INSERT INTO his.patient (id, `姓名`, `Born`) VALUES (%s, %s, %s)")


def test_upsert_of_a_key_alone_changes_nothing() -> None:
    alone = Rows.model_validate({"action": "upsert", "table": "t", "columns": {"id": "i"}, "key": ["id"]})
    assert upsert("postgresql", alone) == "INSERT INTO t (id) VALUES (%(p0)s) ON CONFLICT (id) DO NOTHING"
    assert upsert("mysql", alone) == "INSERT INTO t (id) VALUES (%s) ON DUPLICATE KEY UPDATE id = VALUES(id)"
    assert upsert("dm", alone) == (
        "MERGE INTO t t USING (SELECT :p0 AS id FROM DUAL) s ON (t.id = s.id) WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)"
    )


@pytest.mark.parametrize(
    ("product", "wanted"),
    [
        ("postgresql", ([], "CALL his.register(:p0, NULL, :p2)", [])),
        (
            "mariadb",
            (["SET @tongqu_0 = NULL"], "CALL his.register(:p0, @tongqu_0, :p2)", ["SELECT @tongqu_0"]),
        ),
        ("oracle", ([], "BEGIN his.register(:p0, :p1, :p2); END;", [])),
        ("dm", ([], "BEGIN his.register(:p0, :p1, :p2); END;", [])),
        (
            "sqlserver",
            (
                [],
                "SET NOCOUNT ON; DECLARE @o0 BIGINT; EXEC his.register @name = :p0, @no = @o0 OUTPUT, @x = :p2; SELECT @o0",
                [],
            ),
        ),
    ],
)
def test_procedures(product: str, wanted: tuple[list[str], str, list[str]]) -> None:
    call = Call.model_validate(
        {"call": "his.register", "params": {"name": "n", "no": {"out": "integer"}, "x": {"value": 1}}}
    )
    found = call_statement(call, PRODUCTS[product], dialect(product))
    assert found == wanted
    text(found[1]).compile(dialect=dialect(product))


def test_a_delivery_is_noted_in_every_product() -> None:
    dedupe = Dedupe(table="hub.seen", column="key", at="at")
    for product in PRODUCTS:
        found = sql(note_delivery(dedupe), product)
        assert found.startswith("INSERT INTO hub.seen (")
        assert "CURRENT_TIMESTAMP" in found


@pytest.mark.parametrize("product", sorted(PRODUCTS))
def test_addresses(product: str) -> None:
    if product == "sqlite":
        given = Database.model_validate({"product": product, "database": "/data/a b.db"})
        url = given.address()
        assert (url.database, dict(url.query)) == ("file:/data/a%20b.db", {"mode": "rw", "uri": "true"})
        return
    given = Database.model_validate({"product": product, **HOST, "password": "p@ss/word"})
    url = given.address()
    assert (url.password, url.host, url.username, url.port) == ("p@ss/word", "db", "hub", PRODUCTS[product].port)
    assert "p@ss" not in given.place() + repr(given) + str(given)
    assert given.place() == f"db:{PRODUCTS[product].port}/his"


def test_sessions_that_read_may_not_write() -> None:
    def first(product: str, read_only: bool) -> list[str]:
        host = HOST if product != "sqlite" else {"database": "x"}
        given = Database.model_validate({"product": product, **host, "statement_timeout": "3s"})
        return [statement for statement, _ in session_statements(given, read_only)]

    assert first("postgresql", False) == ["SET statement_timeout = 3000", "SET TimeZone = 'Asia/Shanghai'"]
    assert "SET default_transaction_read_only = on" in first("kingbase", True)
    assert first("mariadb", True)[-1] == "SET SESSION TRANSACTION READ ONLY"
    assert "SET SESSION max_statement_time = 3.0" in first("mysql", False)
    assert first("sqlite", True) == ["PRAGMA query_only = ON"]
    assert first("sqlserver", True) == ["SET LOCK_TIMEOUT 3000"]
    assert first("oracle", True) == ["ALTER SESSION SET TIME_ZONE = 'Asia/Shanghai'"]


def test_mysql_gets_an_offset_where_there_is_one() -> None:
    for zone, wanted in (("Asia/Shanghai", "+08:00"), ("UTC", "+00:00"), ("Europe/Berlin", "Europe/Berlin")):
        given = Database.model_validate({"product": "mysql", **HOST, "tz": zone})
        assert session_statements(given, True)[0] == (f"SET SESSION time_zone = '{wanted}'", True)
