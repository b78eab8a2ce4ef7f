"""The database products: which SQLAlchemy dialect and driver serve each, and how they differ.

Several are compatible with another one, and are spoken to in its dialect:

* PostgreSQL's: KingbaseES, openGauss and GaussDB (and GBase 8c, which is built on openGauss);
* MySQL's: MariaDB, OceanBase in MySQL mode, GBase 8a;
* Oracle's: DM 达梦, whose maker ships a SQLAlchemy dialect derived from Oracle's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

__all__ = ["PRODUCTS", "Product", "ProductName"]

ProductName = Literal[
    "postgresql",
    "mysql",
    "mariadb",
    "sqlite",
    "oracle",
    "sqlserver",
    "dm",
    "kingbase",
    "gaussdb",
    "oceanbase",
    "gbase8a",
]


@dataclass(frozen=True, slots=True)
class Product:
    """What a product needs."""

    name: str
    drivername: str  # of SQLAlchemy
    package: str  # distributions to install; "" = part of Python
    family: Literal["postgresql", "mysql", "sqlite", "oracle", "sqlserver"]  # whose errors and session settings it has
    port: int
    #: How a row is inserted or, where it exists, updated. ``two_step``: UPDATE, and INSERT when it met no row.
    upsert: Literal["on_conflict", "duplicate_key", "merge", "two_step"]
    row_values: bool = False  # whether ``(a, b) > (1, 2)`` works and uses an index
    tls: bool = False  # whether ``tls`` can be given here; otherwise it is set by the driver's own ``options``

    def dialect(self, drivername: str = "") -> Dialect:
        """The dialect without its driver, to write statements with."""
        from sqlalchemy.engine import URL

        import adapters.sql.dialects  # noqa: F401 - makes those of ours known

        return URL.create(drivername or self.drivername).get_dialect()()


PRODUCTS: dict[str, Product] = {
    product.name: product
    for product in (
        Product("postgresql", "postgresql+psycopg", "psycopg", "postgresql", 5432, "on_conflict", True, True),
        Product("mysql", "mysql+pymysql", "pymysql", "mysql", 3306, "duplicate_key", tls=True),
        Product("mariadb", "mariadb+pymysql", "pymysql", "mysql", 3306, "duplicate_key", tls=True),
        Product("sqlite", "sqlite+pysqlite", "", "sqlite", 0, "on_conflict", True),
        Product("oracle", "oracle+oracledb", "oracledb", "oracle", 1521, "merge"),
        Product("sqlserver", "mssql+pyodbc", "pyodbc", "sqlserver", 1433, "merge"),
        Product("dm", "dm+dmPython", "dmPython dmSQLAlchemy", "oracle", 5236, "merge"),
        Product("kingbase", "kingbase+psycopg", "psycopg", "postgresql", 54321, "on_conflict", True, True),
        Product("gaussdb", "gaussdb+psycopg", "psycopg", "postgresql", 5432, "two_step", True, True),
        Product("oceanbase", "mysql+pymysql", "pymysql", "mysql", 2881, "duplicate_key", tls=True),
        Product("gbase8a", "mysql+pymysql", "pymysql", "mysql", 5258, "two_step", tls=True),
    )
}
