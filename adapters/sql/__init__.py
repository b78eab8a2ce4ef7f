"""Databases: tables, views and intermediate tables (中间库, 前置库) that are read, and databases that are written to."""

from adapters.sql.adapter import SqlAdapter

__all__ = ["SqlAdapter"]
