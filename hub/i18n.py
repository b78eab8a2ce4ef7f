"""User-facing texts in English and 简体中文, side by side where they are used.

A text is written as ``t("English", "中文")`` so that nobody can change one language and forget the other.
"""

from __future__ import annotations

import os

__all__ = ["language", "set_language", "t"]


def _from_environment() -> str:
    wanted = os.environ.get("TONGQU_LANG") or os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
    return "zh" if wanted.lower().startswith("zh") else "en"


_language = _from_environment()


def language() -> str:
    """The language of texts made by this process: ``"en"`` or ``"zh"``."""
    return _language


def set_language(code: str) -> None:
    """Choose the language of this process; anything that does not start with ``zh`` means English."""
    global _language
    _language = "zh" if code.lower().startswith("zh") else "en"


def t(en: str, zh: str) -> str:
    """The text in the language of this process."""
    return zh if _language == "zh" else en
