"""``as_form``: a JSON object goes out as a form, and a form comes in as a JSON object, for platforms that sign JSON and want forms."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hub.errors import CodecError
from hub.security.errors import unreadable
from hub.security.places import as_text, form_pairs, form_text, json_object, json_text, json_value
from hub.security.scheme import Opening, Scheme, SchemeOptions
from hub.security.wire import Wire

__all__ = ["AsForm"]

_FORM = "application/x-www-form-urlencoded"


class AsFormOptions(SchemeOptions):
    """Options of ``as_form``."""

    place: Literal["body", "query"] = Field(
        "body", description="query: the fields are parameters of the address, and the body is empty"
    )
    parsed: list[str] = Field(default_factory=list, description="in: fields whose text is JSON")


class AsForm(Scheme):
    """``as_form``: objects and lists of the object are JSON text in the form."""

    name = "as_form"
    options = AsFormOptions
    needs_http = True

    def __init__(self, options: AsFormOptions) -> None:
        super().__init__(options)
        self._in_query = options.place == "query"
        self._parsed = frozenset(options.parsed)

    def seal_request(self, wire: Wire) -> None:
        fields = [(name, as_text(value)) for name, value in json_object(wire.body).items()]
        wire.headers["content-type"] = _FORM
        if self._in_query:
            wire.target = f"{wire.path}?{form_text([*form_pairs(wire.query), *fields])}"
            wire.body = b""
        else:
            wire.body = form_text(fields).encode()

    def open_request(self, wire: Wire, opening: Opening) -> None:
        fields = dict(form_pairs(wire.query if self._in_query else wire.body.decode("utf-8", "replace")))
        if self._in_query:
            wire.target = wire.path
        try:
            tree = {name: json_value(text.encode()) if name in self._parsed else text for name, text in fields.items()}
        except (CodecError, UnicodeEncodeError):
            raise unreadable() from None
        wire.body = json_text(tree)
        wire.headers["content-type"] = "application/json"
