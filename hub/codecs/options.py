"""A contract's ``format``: checked against what its codec takes, and the codec made for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.codecs.base import Codec
from hub.errors import Problem
from hub.i18n import t
from hub.validation import Origin, validate

__all__ = ["configure"]


def configure(codec: Codec, given: Mapping[str, Any], origin: Origin, problems: list[Problem]) -> Codec | None:
    """The codec with the options of one interface; None when they are wrong, which is then added to ``problems``.

    ``origin`` is where ``format`` is written.
    """
    model = codec.format_options
    if model is None:
        if not given:
            return codec
        text = t(f"codec {codec.name!r} takes no options", f"编解码器 {codec.name!r} 没有选项")
        problems.append(origin.problem(text, remedy=t("remove format:", "请删除 format:")))
        return None
    try:
        options = validate(model, dict(given), origin, problems)
        return None if options is None else codec.configured(options)
    except Exception as error:  # a codec of a package: its bug must cost this system only
        text = t(
            f"codec {codec.name!r} failed on its options: {type(error).__name__}",
            f"编解码器 {codec.name!r} 处理选项时出错：{type(error).__name__}",
        )
        problems.append(origin.problem(text, remedy=t("tell the author of the codec", "请联系编解码器的作者")))
        return None
