"""What YAML can't say of Alipay: reading its bill."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hub.api import hookimpl

from .bill import alipay_bill


@hookimpl
def hub_functions() -> dict[str, Callable[..., Any]]:
    return {"alipay_bill": alipay_bill}
