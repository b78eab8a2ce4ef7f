"""Where in a call a value stands: a header, a query parameter, a field of a JSON or form body."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, quote

from pydantic import Field, field_validator, model_validator

from hub.codecs.json_codec import JsonCodec
from hub.errors import CodecError, HubError
from hub.i18n import t
from hub.security.scheme import SchemeOptions
from hub.security.wire import Wire

__all__ = [
    "Encoding",
    "Place",
    "as_text",
    "decode",
    "encode",
    "form_pairs",
    "form_text",
    "json_object",
    "json_text",
    "json_value",
]

Encoding = Literal["hex", "HEX", "base64", "base64url"]

_JSON = JsonCodec()
_MOST_FIELDS = 1000
_LONGEST_NAME = 200


class Place(SchemeOptions):
    """One of header, query, field."""

    header: str = Field("", description="name of a header", pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]*$", max_length=200)
    query: str = Field("", description="name of a query parameter")
    field: str = Field("", description="field of the JSON or form body; dots lead into objects: root.body.content")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(map(bool, (self.header, self.query, self.field))) != 1:
            raise ValueError("give one of header, query, field")
        return self

    @field_validator("header")
    @classmethod
    def _lower(cls, value: str) -> str:
        return value.lower()

    @property
    def outside_body(self) -> bool:
        return not self.field

    def read(self, wire: Wire) -> str:
        """The value as text; "" where there is none. Raises :class:`HubError` for a body that can't be read."""
        if self.header:
            return wire.headers.get(self.header, "").strip()
        if self.query:
            return dict(form_pairs(wire.query)).get(self.query, "")
        if is_form(wire):
            return dict(form_pairs(wire.body.decode("utf-8", "replace"))).get(self.field, "")
        found: Any = json_object(wire.body)
        for part in self.field.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return as_text(found)

    def write(self, wire: Wire, value: str) -> None:
        """Put the value there, in the place of one that is there. Raises :class:`HubError` for a body that has no fields."""
        if self.header:
            wire.headers[self.header] = value
        elif self.query:
            pairs = [pair for pair in form_pairs(wire.query) if pair[0] != self.query]
            wire.target = f"{wire.path}?{form_text([*pairs, (self.query, value)])}"
        elif is_form(wire):
            pairs = form_pairs(wire.body.decode())
            wire.body = form_text(_replaced(pairs, self.field, value)).encode()
        else:
            tree = json_object(wire.body) if wire.body else {}
            *path, last = self.field.split(".")
            below = tree
            for part in path:
                below = below.setdefault(part, {})
                if not isinstance(below, dict):
                    raise HubError(
                        t(f"{self.field}: {part} is not an object", f"{self.field}：{part} 不是对象"),
                        code="security.field",
                    )
            below[last] = value
            wire.body = json_text(tree)

    def remove(self, wire: Wire) -> None:
        """Take the value away; where there is none nothing changes."""
        if self.header:
            wire.headers.pop(self.header, None)
        elif self.query:
            pairs = [pair for pair in form_pairs(wire.query) if pair[0] != self.query]
            wire.target = f"{wire.path}?{form_text(pairs)}" if pairs else wire.path
        elif is_form(wire):
            pairs = form_pairs(wire.body.decode("utf-8", "replace"))
            wire.body = form_text(pair for pair in pairs if pair[0] != self.field).encode()
        else:
            tree = json_object(wire.body)
            *path, last = self.field.split(".")
            below: Any = tree
            for part in path:
                below = below.get(part) if isinstance(below, dict) else None
            if isinstance(below, dict) and last in below:
                del below[last]
                wire.body = json_text(tree)


def _replaced(pairs: list[tuple[str, str]], name: str, value: str) -> list[tuple[str, str]]:
    kept = [pair for pair in pairs if pair[0] != name]
    return [*kept, (name, value)]


def is_form(wire: Wire) -> bool:
    return wire.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded")


def form_pairs(text: str) -> list[tuple[str, str]]:
    """Fields of a form or query, decoded, in their order. Raises :class:`HubError` for too many."""
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise HubError(t("too many fields in form or query", "表单或查询字段过多"), code="security.body") from None


def form_text(pairs: Iterable[tuple[str, str]]) -> str:
    """Fields as a form or query, percent-encoded (RFC 3986)."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)


def json_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object, amounts with all their digits. Raises :class:`HubError` when it is none."""
    try:
        tree = _JSON.decode(body)
    except CodecError:
        tree = None
    if not isinstance(tree, dict):
        raise HubError(
            t("the body is not a JSON object", "正文不是 JSON 对象"),
            code="security.body",
            remedy=t("send the body as agreed for this interface", "请按该接口的约定发送正文"),
        )
    return tree


def json_text(tree: Any) -> bytes:
    """Compact, Chinese as it is, keys in their order, digits as they came."""
    return _JSON.encode(tree)


def json_value(text: bytes) -> Any:
    """Any JSON value, amounts with all their digits. Raises :class:`hub.errors.CodecError`."""
    return _JSON.decode(text)


def as_text(value: Any) -> str:
    """A field as it is signed: objects and lists as compact JSON, true and false in lower case, nothing as ""."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json_text(value).decode()


def encode(data: bytes, encoding: Encoding) -> str:
    """Bytes as text."""
    match encoding:
        case "hex":
            return data.hex()
        case "HEX":
            return data.hex().upper()
        case "base64":
            return base64.b64encode(data).decode()
        case "base64url":
            return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str, encoding: Encoding) -> bytes | None:
    """Text as bytes; None when it has not this form. Hex is read in either case."""
    try:
        if encoding in ("hex", "HEX"):
            return bytes.fromhex(text)
        if encoding == "base64":
            return base64.b64decode(text, validate=True)
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None
