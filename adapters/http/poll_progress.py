"""How far a REST source was read: the mark that is committed together with each page."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson

from hub.api import HubError
from hub.i18n import t

__all__ = ["Progress", "as_value", "digest", "larger", "no_progress"]

_NUMBER = re.compile(r"-?\d{1,40}(?:\.\d{1,20})?", re.ASCII)
#: Longest value or token kept, characters.
_LONGEST = 8192
#: Items with the largest value that are remembered: a source asked for "since" usually gives them again.
_MOST_KNOWN = 5000
_MOST_PASSED = 64


@dataclass(slots=True)
class Progress:
    """``since`` is what the source is asked for; what the run under way has found becomes the next ``since`` at its end."""

    since: str = ""
    known: set[str] = field(default_factory=set)  # digests of the items that have the value ``since``
    best: str = ""  # largest value of the run under way, or the token of its last page
    best_known: set[str] = field(default_factory=set)
    position: dict[str, Any] = field(default_factory=dict)  # of the next page of the run under way; empty: the first
    passed: list[str] = field(default_factory=list)  # digests of the last positions of the run under way
    until: float = 0.0  # Unix seconds: when the run under way began
    etag: str = ""
    modified: str = ""
    body: str = ""  # digest of the last reply

    @classmethod
    def load(cls, mark: str) -> Progress:
        """From a mark; one that can't be read counts as none."""
        try:
            found = orjson.loads(mark) if mark else {}
            for name in ("known", "best_known"):
                found[name] = set(found.get(name, ()))
            return cls(**found)
        except (orjson.JSONDecodeError, TypeError, AttributeError):
            return cls()

    def dump(self) -> str:
        kept = {name: getattr(self, name) for name in self.__slots__}
        found = {name: sorted(value) if isinstance(value, set) else value for name, value in kept.items() if value}
        return orjson.dumps(found).decode()

    def begin(self, now: float) -> None:
        """Another run, unless one was broken off between two pages: that one goes on."""
        if not self.position:
            self.until = now
            self.best, self.best_known, self.passed = self.since, set(self.known), []

    def passed_by(self, position: dict[str, Any]) -> None:
        """The run goes on there; raises :class:`HubError` when it has been there: the source leads in a circle."""
        key = digest(orjson.dumps(position))
        if key in self.passed:
            raise no_progress()
        self.passed = [*self.passed[1 - _MOST_PASSED :], key]

    def note(self, raws: Sequence[bytes], values: Sequence[str]) -> list[bytes]:
        """The items that were not taken before; remembers the largest value."""
        known = self.known | self.best_known
        fresh: list[bytes] = []
        for raw, value in zip(raws, values, strict=True):
            mark = digest(raw)
            if mark not in known:
                fresh.append(raw)
            if not value:
                continue
            if value == self.best:
                if len(self.best_known) < _MOST_KNOWN:
                    self.best_known.add(mark)
            elif not self.best or larger(value, self.best):
                self.best, self.best_known = value, {mark}
        return fresh

    def end(self) -> None:
        """The last page was read."""
        self.since, self.known = self.best, self.best_known
        self.best, self.best_known = "", set()
        self.position, self.passed, self.until = {}, [], 0.0


def no_progress() -> HubError:
    return HubError(
        t("the source gave the same page again", "来源重复返回同一页"),
        code="http.no_progress",
        remedy=t(
            "it seems not to look at the page that is asked for: check the names of the parameters, or tell the last "
            "page by paging.more or paging.total",
            "来源似乎未理会所请求的页：请检查参数名，或用 paging.more、paging.total 判断末页",
        ),
    )


def digest(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=10).hexdigest()


def as_value(value: Any) -> str:
    """A value of ``since`` as text; "" for none. Raises :class:`HubError` for what has no order."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise HubError(
            t("since.value is neither a text nor a number", "since.value 既不是文本也不是数字"),
            code="http.since",
            remedy=t("choose a field with a time or a number", "请选用时间或数字字段"),
        )
    text = format(value, "f") if isinstance(value, Decimal) else str(value)
    if len(text) > _LONGEST:
        raise HubError(t("since.value is too long", "since.value 过长"), code="http.since")
    return text


def larger(one: str, other: str) -> bool:
    """Whether ``one`` is the later: numbers by their value, everything else as text, as times in ISO 8601 and the like sort."""
    if _NUMBER.fullmatch(one) and _NUMBER.fullmatch(other):
        return Decimal(one) > Decimal(other)
    return one > other
