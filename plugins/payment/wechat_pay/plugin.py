"""What YAML can't say of WeChat Pay: reading its trade bill."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hub.api import hookimpl

from .bill import wechat_bill


@hookimpl
def hub_functions() -> dict[str, Callable[..., Any]]:
    return {"wechat_bill": wechat_bill}
