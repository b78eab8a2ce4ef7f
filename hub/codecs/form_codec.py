"""Form data: ``application/x-www-form-urlencoded`` (WHATWG URL, section 5).

The tree is ``{name: text}``; a name that occurs more than once has a list. An empty value is the empty text.
"""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import quote_plus, unquote_to_bytes

from hub.codecs import text_charset
from hub.codecs.base import Codec
from hub.codecs.records import Received, cell_text, untouched
from hub.errors import CodecError
from hub.i18n import t

__all__ = ["MAX_FIELDS", "FormCodec", "collected", "fields_of"]

#: Most names and values of one form.
MAX_FIELDS = 10_000


class FormCodec(Codec):
    """See the module."""

    name: ClassVar[str] = "form"
    content_type: ClassVar[str] = "application/x-www-form-urlencoded"

    def decode(self, raw: bytes, *, encoding: str = "") -> Any:
        if raw.count(b"&") >= MAX_FIELDS:
            raise too_many(self.name)
        found: list[tuple[str, Any]] = []
        for number, pair in enumerate(raw.split(b"&"), 1):
            if not pair:
                continue
            name, _, value = pair.partition(b"=")
            try:
                found.append((_text(name, encoding), _text(value, encoding)))
            except CodecError as error:
                raise CodecError(
                    error.text.removeprefix(f"{error.place}: "),
                    place=t(f"field {number}", f"第 {number} 个字段"),
                    code=error.code,
                    remedy=error.remedy,
                ) from error
        return Received(collected(found), raw, self, encoding)

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        kept = untouched(tree, self, encoding)
        if kept is not None:
            return kept
        pairs = []
        for name, value in fields_of(tree, self.name):
            text = cell_text(value, self.name, 1, name)
            pairs.append("=".join(quote_plus(text_charset.encode(part, encoding, self.name)) for part in (name, text)))
        return "&".join(pairs).encode("ascii")


def _text(part: bytes, encoding: str) -> str:
    return text_charset.decode(unquote_to_bytes(part.replace(b"+", b" ")), encoding or "utf-8", FormCodec.name)


def collected(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Names and values as an object; values of one name in a list."""
    found: dict[str, Any] = {}
    lists: set[str] = set()
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif name in lists:
            found[name].append(value)
        else:
            lists.add(name)
            found[name] = [found[name], value]
    return found


def fields_of(tree: Any, codec: str) -> list[tuple[str, Any]]:
    """The names and values of a form to write, lists taken apart; what is null is not sent."""
    if not isinstance(tree, dict):
        raise CodecError(
            t("a form is an object of names and values", "表单须为键值对象"),
            code=f"{codec}.tree",
            remedy=t("give fields: names and values", "请在 fields: 中给出名称与值"),
        )
    found = [
        (str(name), item)
        for name, value in tree.items()
        for item in (value if isinstance(value, list) else (value,))
        if item is not None
    ]
    if len(found) > MAX_FIELDS:
        raise too_many(codec)
    return found


def too_many(codec: str) -> CodecError:
    return CodecError(t(f"more than {MAX_FIELDS} fields", f"超过 {MAX_FIELDS} 个字段"), code=f"{codec}.fields")
