"""Dialects of products that speak PostgreSQL's protocol and call themselves otherwise."""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

__all__ = ["GaussDialect", "KingbaseDialect"]


class _PostgresLike(PGDialect_psycopg):
    """The version can't be read from what it says of itself."""

    supports_statement_cache = True
    _speaks_as = (9, 6)

    def _get_server_version_info(self, connection: Any) -> tuple[int, ...]:
        return self._speaks_as


class KingbaseDialect(_PostgresLike):
    """KingbaseES V8 and later: PostgreSQL 9.6 and more."""

    supports_statement_cache = True
    _speaks_as = (9, 6)


class GaussDialect(_PostgresLike):
    """openGauss and GaussDB: branched off PostgreSQL 9.2; neither ``ON CONFLICT`` nor identity columns."""

    supports_statement_cache = True
    _speaks_as = (9, 2)


registry.register("kingbase.psycopg", __name__, "KingbaseDialect")
registry.register("gaussdb.psycopg", __name__, "GaussDialect")
