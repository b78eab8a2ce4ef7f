"""Archives: old rows of a chain in a compressed file of JSON lines whose last line, the seal, is signed.

The seal names the first and last number, the hash of the row before the first and that of the last, and the SM3 of all lines before
it, so that checking a chain goes on from file to file. When the retention of a class of entries is over, their texts are removed and
their numbers and hashes stay; the new seal says which classes are gone.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.audit.chain import GENESIS, canonical
from hub.audit.entries import AuditClass, class_of
from hub.audit.errors import AuditUnreadable, unreadable, unwritable
from hub.crypto.digests import sm3_hash
from hub.i18n import t

if TYPE_CHECKING:
    from hub.audit.signing import Signature, Signer, Verifier

__all__ = ["FORGOT", "Archive", "archives_of", "border", "forget", "write_archive"]

#: The action of entries that tell of entries whose retention is over; they stay for ever.
FORGOT = "audit.forget"

_LABEL = b"tongqu audit archive 1\n"
_NAME = re.compile(r"(?P<chain>[a-z0-9-]+)\.(?P<first>\d{12})-(?P<last>\d{12})\.jsonl\.gz")
#: Longest line, bytes: an entry names at most some thousand deliveries.
_MAX_LINE = 16 << 20


def _signed(seal: dict[str, Any]) -> bytes:
    facts = {k: v for k, v in seal.items() if k not in ("key", "public", "signature")}
    return _LABEL + canonical(facts).encode()


@dataclass(frozen=True)
class Archive:
    """A file as its name says."""

    path: Path
    chain: str
    first: int
    last: int

    def _lines(self) -> Iterator[bytes]:
        try:
            with gzip.open(self.path, "rb") as file:
                while line := file.readline(_MAX_LINE + 1):
                    if len(line) > _MAX_LINE:
                        raise ValueError("a line is too long")
                    yield line
        except (OSError, EOFError, ValueError) as error:  # BadGzipFile is an OSError
            raise unreadable(self.path, error) from error

    def rows(self) -> Iterator[dict[str, Any]]:
        """Its rows, oldest first; ``entry`` is None where the retention is over. Raises :class:`AuditUnreadable`."""
        for line in self._lines():
            row = self._parsed(line)
            if "seal" in row:
                return
            yield {"seq": row.get("seq"), "at": row.get("at"), "entry": row.get("entry"), "hash": row.get("hash")}

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise unreadable(self.path, error) from error
        if not isinstance(row, dict) or not ("seal" in row or isinstance(row.get("seq"), int)):
            raise AuditUnreadable(t(f"{self.path}: a line is no row", f"{self.path}：有一行不是记录"))
        return row

    def seal(self) -> dict[str, Any]:
        """What the last line says, with the SM3 of the others as ``found``. Raises :class:`AuditUnreadable`."""
        running = sm3_hash()
        seal: Any = None
        for line in self._lines():
            if seal is not None:
                raise AuditUnreadable(t(f"{self.path}: something follows the seal", f"{self.path}：封签之后还有内容"))
            if line.startswith(b'{"seal":'):
                seal = self._parsed(line)["seal"]
            else:
                running.update(line)
        if not isinstance(seal, dict):
            raise AuditUnreadable(t(f"{self.path}: it has no seal: cut off", f"{self.path}：没有封签：被截断"))
        return {**seal, "found": running.digest().hex()}

    def problems(self, verifier: Verifier, previous: str) -> list[str]:
        """What is wrong with the file itself; ``previous`` is the hash its first row goes on from."""
        name = self.path.name
        try:
            seal = self.seal()
            found = seal.pop("found")
            facts = [seal[key] for key in ("chain", "first", "last", "previous", "digest")]
        except AuditUnreadable as error:
            return [error.text]
        except KeyError:
            return [t(f"{name}: its seal is damaged", f"{name}：封签已损坏")]
        problems = []
        if facts[:3] != [self.chain, self.first, self.last]:
            problems.append(t(f"{name}: it was renamed, or its seal altered", f"{name}：文件被改名或封签被改动"))
        if facts[3] != previous:
            problems.append(t(f"{name}: it does not go on from what stands before it", f"{name}：与之前的内容不衔接"))
        if facts[4] != found:
            problems.append(t(f"{name}: it was altered after it was sealed", f"{name}：封签之后内容被改动"))
        if wrong := verifier.problem(_signed(seal), _signature(seal)):
            problems.append(f"{name}: {wrong}")
        if not seal.get("gone") and any(row["entry"] is None for row in self.rows()):
            problems.append(t(f"{name}: entries were removed from it", f"{name}：其中的条目被移除"))
        return problems


def archives_of(folder: Path, chain: str) -> list[Archive]:
    """The archives of a chain, the oldest first; of two with the same first number the longer one."""
    found: dict[int, Archive] = {}
    for path in folder.glob(f"{chain}.*.jsonl.gz") if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match is not None and match["chain"] == chain:
            archive = Archive(path, chain, int(match["first"]), int(match["last"]))
            if archive.first not in found or archive.last > found[archive.first].last:
                found[archive.first] = archive
    return [found[first] for first in sorted(found)]


def write_archive(folder: Path, chain: str, rows: Sequence[dict[str, Any]], previous: str, signer: Signer) -> Archive:
    """Put rows, at least one, into a new archive; it is there, and on the disk, when this returns. Raises ``AuditUnwritable``."""
    first, last = int(rows[0]["seq"]), int(rows[-1]["seq"])
    path = folder / f"{chain}.{first:012}-{last:012}.jsonl.gz"
    seal = {"chain": chain, "first": first, "last": last, "previous": previous, "hash": rows[-1]["hash"], "gone": []}
    _write(path, rows, seal, signer)
    return Archive(path, chain, first, last)


def _write(path: Path, rows: Iterable[dict[str, Any]], seal: dict[str, Any], signer: Signer) -> None:
    making = path.with_name(f"making-{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as raw:
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as file:
                _fill(file, rows, seal, signer)
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(making, path)
        _sync(path.parent)
    except OSError as error:
        with suppress(OSError):
            making.unlink()
        raise unwritable(path, error) from error


def _fill(file: gzip.GzipFile, rows: Iterable[dict[str, Any]], seal: dict[str, Any], signer: Signer) -> None:
    running = sm3_hash()
    for row in rows:
        line = json.dumps(row, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        running.update(line)
        file.write(line)
    facts = {**seal, "at": time.time_ns() // 1000, "digest": running.digest().hex()}
    whole = facts | signer.sign(_signed(facts)).as_dict()
    file.write(b'{"seal":' + canonical(whole).encode() + b"}\n")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _kind(row: dict[str, Any]) -> AuditClass | None:
    """The class a row is kept as long as; None for one that is kept for ever, or is gone."""
    if row["entry"] is None:
        return None
    action = str(json.loads(row["entry"]).get("action", ""))
    return None if action == FORGOT else class_of(action)


def _signature(seal: Mapping[str, Any]) -> Signature:
    from hub.audit.signing import Signature  # with keys and ciphers, which a chain that is only read needs none of

    return Signature.of(seal)


def forget(
    archive: Archive,
    due: Mapping[AuditClass, int],
    verifier: Verifier,
    signer: Signer,
    before_it: Callable[[list[AuditClass]], None],
) -> list[AuditClass]:
    """Remove the entries of classes whose retention is over for the whole archive; returns the classes removed now.

    ``due``: class -> the newest entry has to be older than this (Unix µs). ``before_it`` is told the classes before anything is removed.
    An archive that is not sound stays as it is.
    """
    seal = archive.seal()
    gone = set(seal.get("gone", ()))
    if seal.pop("found") != seal.get("digest") or verifier.problem(_signed(seal), _signature(seal)):
        return []
    newest: dict[AuditClass, int] = {}
    for row in archive.rows():
        if (kind := _kind(row)) is not None:
            newest[kind] = max(newest.get(kind, 0), int(row["at"]))
    over = sorted(kind for kind, at in newest.items() if at < due[kind] and kind not in gone)
    if not over:
        return []
    before_it(over)

    def left() -> Iterator[dict[str, Any]]:
        for row in archive.rows():
            yield {**row, "at": None, "entry": None} if _kind(row) in over else row

    facts = {name: seal[name] for name in ("chain", "first", "last", "previous", "hash")}
    _write(archive.path, left(), {**facts, "gone": sorted(gone | set(over))}, signer)
    return over


def border(folder: Path, chain: str) -> tuple[int, str]:
    """Number and hash of the last archived row; (0, zeros) where nothing is archived. Raises :class:`AuditUnreadable`."""
    found = archives_of(folder, chain)
    if not found:
        return 0, GENESIS
    last = found[-1]
    return last.last, str(last.seal().get("hash", ""))
