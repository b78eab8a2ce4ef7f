"""What a simulated party remembers between calls: records with a status, found by a key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hub.contract import SimulatedState
from hub.i18n import t
from hub.mapping import Context

__all__ = ["Memory", "Record", "StateRule", "Stopped"]

_MOST = 100_000
_MOST_ANSWERS = 1000


@dataclass(slots=True)
class Record:
    """``answers``: by interface and request (its SHA-256) what it was answered."""

    status: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    answers: dict[tuple[str, bytes], tuple[int, bytes]] = field(default_factory=dict)
    made: bytes = b""  # SHA-256 of the request that made it

    def shown(self) -> dict[str, Any]:
        """As ``$record``."""
        return {**self.values, "status": self.status}


@dataclass(slots=True)
class Memory:
    """All records of one simulator."""

    _records: dict[tuple[str, str], Record] = field(default_factory=dict)

    def get(self, kind: str, key: str) -> Record | None:
        return self._records.get((kind, key))

    def put(self, kind: str, key: str, record: Record) -> None:
        if (kind, key) not in self._records:
            while len(self._records) >= _MOST:
                self._records.pop(next(iter(self._records)))
        self._records[kind, key] = record

    def listed(self) -> list[dict[str, str]]:
        """Kind, key and status, without what the records hold."""
        return [{"record": kind, "key": key, "status": one.status} for (kind, key), one in self._records.items()]


class Stopped(Exception):
    """The call is not taken: refused with ``code``, or answered as before."""

    def __init__(self, code: str = "", answer: tuple[int, bytes] | None = None, text: str = "") -> None:
        super().__init__(code)
        self.code, self.answer, self.text = code, answer, text


class StateRule:
    """``simulate.state`` of one interface."""

    def __init__(
        self, interface: str, rule: SimulatedState, compiled: Callable[[str, str], Callable[[Any, Context], Any]]
    ) -> None:
        self._interface, self._rule = interface, rule
        self._key = compiled(rule.key, "state.key")
        self._becomes = compiled(rule.becomes, "state.becomes") if rule.becomes else None
        self._keep = {name: compiled(text, f"state.keep.{name}") for name, text in rule.keep.items()}
        self._changes = bool(rule.creates or rule.becomes or rule.keep)

    @property
    def kind(self) -> str:
        return self._rule.record

    def key(self, tree: Any, context: Context) -> str:
        value = self._key(tree, context)
        return "" if value is None else str(value)

    def find(self, memory: Memory, key: str, request: bytes, *, lenient: bool = False) -> Record:
        """The record the call is about, perhaps a new one. Raises :class:`Stopped`.

        ``lenient``: each call is looked at by itself, whatever was called before.
        """
        rule, digest = self._rule, hashlib.sha256(request).digest()
        record = memory.get(rule.record, key)
        if record is None:
            if not rule.creates and rule.missing and not lenient:
                raise Stopped(rule.missing, text=t("there is no such record", "没有该记录"))
            return Record(made=digest)
        before = record.answers.get((self._interface, digest))
        if before is not None and self._changes:
            if rule.repeat == "refuse" and not lenient:
                raise Stopped(rule.exists, text=t("the same request came before", "相同请求已处理"))
            raise Stopped(answer=before)
        if rule.creates and record.made != digest:
            if rule.exists and not lenient:
                raise Stopped(rule.exists, text=t("another request has made the record", "该记录已由另一请求创建"))
            return Record(made=digest)
        if rule.status and record.status not in rule.status and not lenient:
            code = rule.wrong_status.get(record.status) or rule.wrong_status.get("*")
            if code:
                raise Stopped(code, text=t(f"not in status {record.status}", f"状态 {record.status} 下不允许"))
        return record

    def after(self, record: Record, tree: Any, context: Context) -> Record:
        """The record as it will be; ``context`` has ``$record`` as it is. Raises :class:`HubError`, and nothing has changed."""
        values = record.values | {name: read(tree, context) for name, read in self._keep.items()}
        status = record.status if self._becomes is None else str(self._becomes(tree, context) or "")
        return Record(status, values, record.answers, record.made)

    def keep(
        self, memory: Memory, key: str, record: Record, after: Record, request: bytes, answer: tuple[int, bytes]
    ) -> None:
        """The call was taken: the record is what it has become, and the same request is answered so when it comes again."""
        record.values, record.status = after.values, after.status
        memory.put(self._rule.record, key, record)
        if self._changes and len(record.answers) < _MOST_ANSWERS:
            record.answers[self._interface, hashlib.sha256(request).digest()] = answer
