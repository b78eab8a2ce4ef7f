"""``access.db``: what decides who may do what while the hub runs (callers; people and their sessions), as opposed to what configuration says.

One process writes it: the hub, or with several workers their supervisor. Workers read it and see every change with their next call.
"""

from hub.access.database import AccessDatabase, AccessError, AccessReader, Schema

__all__ = ["AccessDatabase", "AccessError", "AccessReader", "Schema"]
