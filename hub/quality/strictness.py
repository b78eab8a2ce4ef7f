"""Whether a change makes a rule looser: what the old rule would have found, the new one might not."""

from __future__ import annotations

import time
from typing import Any

from hub.quality.model import Length, Range, RuleModel
from hub.quality.moments import bound_of, limit_of, now_of

__all__ = ["looser"]

#: These change what is said of a finding, not what is found.
_WORDS = frozenset({"text", "advice", "at", "kind", "level"})
#: Texts of conditions can't be compared: any change may loosen.
_OPAQUE = frozenset(
    {"when", "path", "check", "pattern", "assert", "unique", "continuous", "order", "table", "quantity"}
)
#: All values must be there: more of them is stricter.
_MORE = frozenset({"required", "forbidden", "together"})


def looser(old: RuleModel, new: RuleModel, key: str) -> bool:
    """Whether what ``new`` says under a key is looser than what ``old`` says there, or can't be told to be no looser."""
    if key in _WORDS:
        return False
    if key == "disabled":
        return new.disabled and not old.disabled
    if key == "severity":
        return old.severity == "error" and new.severity == "warning"
    if key == "weight":
        return new.weight < old.weight
    if key == "priority":
        return new.priority < old.priority
    before, after = (model.said(key) if key in _TESTED else getattr(model, key, None) for model in (old, new))
    if before == after:
        return False
    if key == "when":
        return bool(after)  # without a condition the rule is asked always
    if key in _MORE:
        return not set(before or ()) <= set(after or ())
    if key in ("any_of", "one_of"):
        return not {repr(value) for value in after or ()} <= {repr(value) for value in before or ()}
    if isinstance(before, Length) and isinstance(after, Length):
        return _wider(before.min, before.max, after.min, after.max)
    if isinstance(before, Range) and isinstance(after, Range):
        return before.of_dates != after.of_dates or _wider(*_numbers(before), *_numbers(after))
    return True


_TESTED = _OPAQUE - {"when", "path"} | _MORE | {"any_of", "one_of", "length", "range"}


def _numbers(limits: Range) -> tuple[Any, Any]:
    return _number(limits.min), _number(limits.max)


def _number(bound: Any) -> Any:
    """A date as a number; ``now`` and dates moved from it as they are when the sets are loaded."""
    return limit_of(bound_of(bound), now_of(time.time_ns() // 1000)).first if isinstance(bound, str) else bound


def _wider(low: Any, high: Any, new_low: Any, new_high: Any) -> bool:
    return (low is not None and (new_low is None or new_low < low)) or (
        high is not None and (new_high is None or new_high > high)
    )
