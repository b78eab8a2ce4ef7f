"""The audit trail as a hash chain: what people did, in an order nobody can change unseen (GB/T 32905 SM3).

Each row's hash covers the hash of the row before it and its own entry, so altering, removing, inserting or moving a row breaks
the chain at that place. Rows cut off the *end* leave a shorter chain that is sound in itself: the signed checkpoints of
:mod:`hub.audit.checkpoint`, kept elsewhere, show that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from hub.crypto.digests import sm3_hex as sm3
from hub.i18n import t

__all__ = ["GENESIS", "ChainCheck", "canonical", "chain_hash", "sm3", "verify"]

#: What stands in for "the hash before the first row".
GENESIS = "0" * 64

#: The column ``at`` is written by the store, a moment after the entry was made; more than this apart means somebody changed it.
CLOCK_SLACK_US = 300 * 1_000_000

_MOST_PROBLEMS = 1000


def canonical(entry: Mapping[str, Any]) -> str:
    """The one JSON text of an entry: keys sorted, no blanks, Chinese as it is. ``TypeError`` or ``ValueError`` if it is no JSON."""
    text = json.dumps(entry, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair can't be stored or hashed: escape it
        return json.dumps(entry, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text


def chain_hash(previous: str, entry_json: str) -> str:
    """Hash of a row: SM3 over the previous row's hash (64 hex digits; ``""`` for the first row) and the entry's text."""
    return sm3(((previous or GENESIS) + entry_json).encode())


class ChainCheck:
    """Checks rows of the trail one after the other, so that a trail of any length needs no memory.

    ``after`` and ``previous`` are number and hash of the row before the first one to come, when that is not the beginning.
    """

    def __init__(self, after: int = 0, previous: str = "") -> None:
        self.problems: list[str] = []
        self.seq = after
        self.hash = previous or GENESIS
        self._alternative = ""  # what the last row's hash should have been, when it wasn't
        self._seen = after > 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Check the next row ``{seq, at, entry, hash}``; ``entry`` is the stored text, or the object it stands for."""
        seq, stored, text = row.get("seq"), row.get("hash"), _text(row.get("entry"))
        if not isinstance(seq, int) or not isinstance(stored, str) or text is None:
            self._tell(
                t(
                    f"the row after number {self.seq} is damaged: number, entry or hash is missing or unreadable",
                    f"编号 {self.seq} 之后的一行已损坏:编号、内容或哈希缺失或无法读取",
                )
            )
            return
        if seq <= self.seq:
            self._tell(
                t(
                    f"entry {seq} stands after entry {self.seq}: repeated or moved",
                    f"条目 {seq} 出现在条目 {self.seq} 之后:重复或顺序被改动",
                )
            )
        elif seq > self.seq + 1:
            first, last = self.seq + 1, seq - 1
            self._tell(
                t(
                    f"entries {first} to {last} are missing" if last > first else f"entry {first} is missing",
                    f"缺少条目 {first} 至 {last}" if last > first else f"缺少条目 {first}",
                )
            )
        elif stored not in self._hashes(text):
            self._tell(
                t(
                    f"entry {seq} does not match its hash: it was altered, or what stood before it was removed or moved",
                    f"条目 {seq} 与其哈希不符:内容被改动,或其前面的条目被删除或移动",
                )
            )
        self._check_time(seq, row.get("at"), text)
        self._alternative = chain_hash(self.hash, text)
        self.seq, self.hash = seq, stored

    def gone(self, seq: int, stored: str) -> None:
        """A row whose entry was removed when its retention was over; the seal of its archive vouches for the hash."""
        if seq != self.seq + 1:
            self.add({"seq": seq, "at": None, "entry": "{}", "hash": stored})
            return
        self._alternative = ""
        self.seq, self.hash = seq, stored

    def finish(self, head: tuple[int, str] | None = None) -> list[str]:
        """The problems found; ``head`` is the last number and hash as known from elsewhere."""
        if head is not None and (self.seq, self.hash) != (head[0], head[1] or GENESIS):
            self._tell(
                t(
                    f"the trail ends at entry {self.seq}, it should end at {head[0]}, or the last entry is another one",
                    f"审计链止于条目 {self.seq},应止于 {head[0]},或最后一条已不是原来的",
                )
            )
        return self.problems

    def _hashes(self, text: str) -> tuple[str, ...]:
        """Hashes that prove the row is sound; a tampered hash of the row before must not be blamed on this one."""
        expected = chain_hash(self.hash, text)
        if self._alternative and self._alternative != self.hash:
            return expected, chain_hash(self._alternative, text)
        return (expected,)

    def _check_time(self, seq: int, at: Any, text: str) -> None:
        try:
            made = json.loads(text).get("at")
        except (ValueError, AttributeError):
            self._tell(t(f"entry {seq} is not a JSON object", f"条目 {seq} 不是 JSON 对象"))
            return
        if isinstance(made, int) and (not isinstance(at, int) or abs(at - made) > CLOCK_SLACK_US):
            self._tell(
                t(
                    f"the time of entry {seq} differs from the one inside the entry: the column was altered",
                    f"条目 {seq} 的时间与内容中的时间不一致:时间列被改动",
                )
            )

    def _tell(self, problem: str) -> None:
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem)
        elif len(self.problems) == _MOST_PROBLEMS:
            self.problems.append(t("further problems are not listed", "其余问题不再列出"))


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        try:
            return canonical(value)
        except (TypeError, ValueError):
            return None
    return None


def verify(entries: Iterable[Mapping[str, Any]], head: tuple[int, str] | None = None) -> list[str]:
    """Check a whole trail, rows ``{seq, at, entry, hash}`` oldest first; returns the problems, none when it is sound."""
    check = ChainCheck()
    for row in entries:
        check.add(row)
    return check.finish(head)
