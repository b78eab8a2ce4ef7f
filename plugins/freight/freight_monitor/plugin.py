"""What YAML can't say of the checks: how far apart two times are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from hub.api import hookimpl

_BEIJING = timezone(timedelta(hours=8))


@hookimpl
def hub_functions() -> dict[str, Callable[..., Any]]:
    return {"hours_apart": hours_apart}


def hours_apart(first: Any, last: Any) -> Decimal | None:
    """Hours from one time to another to two decimals, negative backwards; None where one of them is absent or no time.

    Times are ISO 8601 or the 14 digits of the ministry's guide; without an offset they are Beijing time.
    """
    start, end = _moment(first), _moment(last)
    if start is None or end is None:
        return None
    seconds = Decimal(int((end - start).total_seconds()))
    return (seconds / 3600).quantize(Decimal("0.01"), ROUND_HALF_UP)


def _moment(value: Any) -> datetime | None:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    try:
        if len(text) == 14 and text.isascii() and text.isdigit():
            found = datetime.strptime(text, "%Y%m%d%H%M%S")
        else:
            found = datetime.fromisoformat(text)
        return found if found.tzinfo is not None else found.replace(tzinfo=_BEIJING)
    except ValueError:
        return None
