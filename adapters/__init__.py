"""The built-in adapters, offered to the kernel through the same hook as those of an installed package."""

from __future__ import annotations

from importlib import import_module

from hub.api import Adapter, Problem, hookimpl
from hub.i18n import t

__all__ = ["hub_adapters"]

_CLASSES = (("adapters.mllp", "MllpAdapter"), ("adapters.http", "HttpAdapter"))


@hookimpl
def hub_adapters() -> list[Adapter | Problem]:
    """One object per adapter; a problem in the place of one whose libraries are missing, so that the others work."""
    found: list[Adapter | Problem] = []
    for module, name in _CLASSES:
        try:
            found.append(getattr(import_module(module), name)())
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            text = t(f"this adapter can't be loaded: {reason}", f"无法加载此适配器：{reason}")
            remedy = t("install the hub with all its dependencies", "请安装枢纽的全部依赖")
            found.append(Problem(text, module, remedy=remedy))
    return found
