"""``as_form``: a JSON object goes out as a form, and a form comes in as a JSON object, for platforms that sign JSON and want forms."""

from __future__ import annotations

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

    parsed: list[str] = Field(default_factory=list, description="in: fields whose text is JSON")


class AsForm(Scheme):
    """``as_form``: objects and lists of the object are JSON text in the form."""

    name = "as_form"
    options = AsFormOptions
    needs_http = True

    def __init__(self, options: AsFormOptions) -> None:
        super().__init__(options)
        self._parsed = frozenset(options.parsed)

    def seal_request(self, wire: Wire) -> None:
        wire.body = form_text((name, as_text(value)) for name, value in json_object(wire.body).items()).encode()
        wire.headers["content-type"] = _FORM

    def open_request(self, wire: Wire, opening: Opening) -> None:
        fields = dict(form_pairs(wire.body.decode("utf-8", "replace")))
        try:
            tree = {name: json_value(text.encode()) if name in self._parsed else text for name, text in fields.items()}
        except (CodecError, UnicodeEncodeError):
            raise unreadable() from None
        wire.body = json_text(tree)
        wire.headers["content-type"] = "application/json"
