"""What a code table is: rows, and what the head of the file says of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from hub.mapping.tables_dates import ALWAYS, Days

__all__ = ["COLUMNS", "HEADS", "REVIEWS", "CodeTable", "Row"]

#: What the comments before the header may name.
HEADS = ("version", "source", "valid_from", "valid_to", "review", "from", "to")
#: States of ``# review:``.
REVIEWS = ("draft", "reviewed", "approved")
#: The first two are needed, in this order.
COLUMNS = ("from", "to", "note", "valid_from", "valid_to")


@dataclass(frozen=True, slots=True)
class Row:
    """One row; ``line`` is that of the file, ``days`` those on which the row counts."""

    line: int
    source: str
    target: str
    note: str = ""
    days: Days = ALWAYS


@dataclass(slots=True)
class CodeTable:
    """One file. ``hash`` is of the file's bytes, ``days`` those of its head.

    ``versions`` names the files of its other versions, and whether each says from when it is valid; a file with @ has none.
    ``from_system`` and ``to_system`` are the code systems of both sides: OID, URI or name, as the file says.
    """

    name: str
    file: str
    rows: list[Row] = field(default_factory=list)
    version: str = ""
    hash: str = ""
    source: str = ""
    review: str = ""
    from_system: str = ""
    to_system: str = ""
    days: Days = ALWAYS
    versions: dict[str, bool] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """The name without version: ``gender`` of ``gender@2003``."""
        return self.name.partition("@")[0]

    @property
    def label(self) -> str:
        """What ``version=`` calls this file: what stands behind the ``@``, else its ``# version:``."""
        return self.name.partition("@")[2] or self.version
