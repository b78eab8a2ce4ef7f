"""Values as people may see them: masked, unless they asked for clear text and may have it."""

from __future__ import annotations

from typing import Any

from hub.codecs.json_codec import JsonCodec
from hub.errors import CodecError
from hub.i18n import t
from hub.mapping.runtime import FunctionError, kind_of, plain_text
from hub.mapping_tools.steps import MISSING
from hub.masking import mask

__all__ = ["shown", "text_of"]

#: Longest value shown, characters.
_LONGEST = 200


def text_of(value: Any) -> str:
    """A value as text: of lists and objects their JSON."""
    if value is None:
        return "null"
    try:
        return plain_text(value)
    except FunctionError:
        pass
    try:
        return JsonCodec().encode(value).decode("utf-8")
    except CodecError:
        return kind_of(value)


def shown(value: Any, *, clear: bool) -> str:
    """A value for a screen. Masked, its shape is kept; of a list or object only the size."""
    if value is MISSING:
        return str(MISSING)
    if clear or isinstance(value, bool) or value is None:
        text = text_of(value)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)})"
    if isinstance(value, list | tuple | dict):
        return t(f"{kind_of(value)} of {len(value)}", f"{kind_of(value)}（{len(value)} 项）")
    return mask(text_of(value))
