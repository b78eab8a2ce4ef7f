"""What is asked of a search, checked and brought into the form in which it is compared."""

from __future__ import annotations

from dataclasses import dataclass

from hub.errors import HubError
from hub.i18n import t
from hub.ids import EPOCH_MS
from hub.message import DeliveryState
from hub.store.base import MessageQuery
from hub.store.keys import CONTROL, CORRELATION, Wanted, is_name, normalised
from hub.store.rows import keys_from
from hub.store.text import expression

__all__ = ["ID_END", "LIMIT", "Question"]

#: Rows of a page, at most.
LIMIT = 1_000
#: One more than the highest id there can be.
ID_END = (1 << 63) - 1
_VALUE_LENGTH = 512
_KEYS = 16
_LAST_MS = EPOCH_MS + (1 << 41) - 1


@dataclass(frozen=True, slots=True)
class Question:
    """A :class:`~hub.store.base.MessageQuery` without surprises. Empty and None mean: no condition."""

    since_ms: int
    until_ms: int
    system: str
    source: str
    type: str
    type_prefix: str | None
    control_id: str
    correlation: str
    state: DeliveryState | None
    target: str
    route: str
    keys: tuple[tuple[str, str], ...]
    match: str
    conflict: bool | None
    before: int
    limit: int

    @classmethod
    def of(cls, query: MessageQuery) -> Question | None:
        """None when nothing can match. Raises :class:`~hub.errors.HubError` for what is too long or can't be answered."""
        texts = [query.system, query.source, query.type, query.control_id, query.correlation, query.target, query.route]
        texts += [*query.keys, *query.keys.values()]
        if len(query.keys) > _KEYS or any(len(text) > _VALUE_LENGTH for text in texts):
            raise HubError(
                t(
                    f"a search has at most {_KEYS} business keys, and a value at most {_VALUE_LENGTH} characters",
                    f"一次搜索最多 {_KEYS} 个业务键，每个值最多 {_VALUE_LENGTH} 个字符",
                ),
                code="search.value",
                remedy=t("search for fewer or shorter values", "请减少或缩短搜索条件"),
            )
        match = expression(query.text) if query.text.strip() else ""
        impossible = (
            query.state is DeliveryState.IN_FLIGHT  # never stored
            or query.until_ms < 0
            or (query.until_ms and query.until_ms <= query.since_ms)
            or any(_unstorable(text) for text in (*texts, match))
        )
        if impossible:
            return None
        return cls(
            since_ms=min(max(query.since_ms, 0), _LAST_MS),
            until_ms=min(query.until_ms, _LAST_MS),
            system=query.system,
            source=query.source,
            type=query.type,
            type_prefix=query.type[:-1] if query.type.endswith("*") else None,
            control_id=query.control_id,
            correlation=query.correlation,
            state=query.state,
            target=query.target,
            route=query.route,
            keys=tuple((kind, normalised(value)) for kind, value in query.keys.items() if normalised(value)),
            match=match,
            conflict=query.conflict,
            before=min(query.before, ID_END) if query.before > 0 else ID_END,
            limit=min(max(query.limit, 1), LIMIT),
        )

    @property
    def wanted(self) -> list[Wanted]:
        """What the business-key index can look up."""
        wanted = [Wanted.key(kind, value) for kind, value in self.keys]
        if self.control_id:
            wanted.append(Wanted(CONTROL, self.control_id))
        if self.correlation:
            wanted.append(Wanted(CORRELATION, self.correlation))
        return wanted

    @property
    def asks_deliveries(self) -> bool:
        """Whether there is a condition on deliveries. One and the same delivery must meet state, target and route."""
        return self.state is not None or bool(self.target) or bool(self.route)

    def fits_keys(self, stored: str) -> bool:
        """Whether the business keys of a message, as JSON, meet the conditions on them."""
        if not self.keys:
            return True
        if not stored:
            return False
        keys = keys_from(stored)
        for kind, value in self.keys:
            present = keys.get(kind)
            if present is None:
                return False
            present = normalised(str(present))
            if not (value in present if is_name(kind) else value == present):
                return False
        return True

    def fits_time(self, received_at: int) -> bool:
        """Whether a message was received (microseconds) in the span asked for."""
        return received_at >= self.since_ms * 1000 and (not self.until_ms or received_at < self.until_ms * 1000)


def _unstorable(text: str) -> bool:
    """Half of a surrogate pair is in no stored text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
