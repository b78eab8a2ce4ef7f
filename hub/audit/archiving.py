"""Moving old rows of a chain into archives, and removing there what has been kept long enough."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hub.audit.archives import FORGOT, archives_of, border, forget, write_archive
from hub.audit.chain import ChainCheck
from hub.audit.config import AuditConfig
from hub.audit.entries import CLASSES
from hub.audit.errors import AuditUnreadable
from hub.audit.signing import Signer, Verifier
from hub.audit.sources import Source
from hub.audit.trail import Trail
from hub.i18n import t

__all__ = ["Archived", "archive_chain", "forget_old"]

#: Rows of one archive: they are held in memory while it is written.
MOST_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Archived:
    """What was done. ``last`` is the number up to which everything is in archives."""

    chain: str
    files: list[str]
    rows: int
    last: int

    def as_dict(self) -> dict[str, Any]:
        return {"chain": self.chain, "files": self.files, "rows": self.rows, "last": self.last}


def archive_chain(source: Source, before_us: int, signer: Signer, most: int = MOST_ROWS) -> Archived:
    """Write rows older than ``before_us`` into archives; the caller removes rows up to ``last`` from the live part afterwards.

    The last row stays live, since the next one goes on from it. A chain that is not sound is left alone, for whoever looks into it:
    raises :class:`AuditUnreadable`; also ``AuditUnwritable``.
    """
    last, previous = border(source.archive, source.name)
    files: list[str] = []
    count = 0
    check = ChainCheck(last, previous)
    rows: list[dict[str, Any]] = []
    waiting: dict[str, Any] | None = None  # is archived once there is a row after it
    done = last
    for row in source.live(max(0, last - 1)):
        if row["seq"] == last and row["hash"] == previous:
            continue  # archived, and not trimmed yet
        if waiting is not None:
            rows.append(waiting)
        if len(rows) >= most:
            files.append(write_archive(source.archive, source.name, rows, previous, signer).path.name)
            count, done, previous, rows = count + len(rows), rows[-1]["seq"], rows[-1]["hash"], []
        check.add(row)
        if check.problems:
            raise _broken(source, check.problems[0])
        waiting = row
        if not isinstance(row["at"], int) or row["at"] >= before_us:
            break
    if last and waiting is None:
        raise _broken(source, t("less is there than in the archives", "现存内容少于归档"))
    if rows:
        files.append(write_archive(source.archive, source.name, rows, previous, signer).path.name)
        count, done = count + len(rows), rows[-1]["seq"]
    return Archived(source.name, files, count, done)


def _broken(source: Source, why: str) -> AuditUnreadable:
    return AuditUnreadable(
        t(f"{source.name} is not archived: {why}", f"{source.name} 未归档：{why}"),
        code="audit.broken",
        remedy="hub audit verify",
    )


def forget_old(
    source: Source,
    config: AuditConfig,
    trail: Trail,
    signer: Signer,
    verifier: Verifier,
    clock: Callable[[], float] = time.time,
) -> list[str]:
    """Remove from the archives of a chain what has been kept as long as its class is; each removal is an entry, written before it."""
    now = clock()
    due = {kind: int((now - config.retention.of(kind)) * 1e6) for kind in CLASSES}
    done = []
    for archive in archives_of(source.archive, source.name):
        name = archive.path.name

        def tell(classes: list[Any], name: str = name) -> None:
            trail.record("hub", FORGOT, name, {"classes": classes}, "retention")

        if forget(archive, due, verifier, signer, tell):
            done.append(name)
    return done
