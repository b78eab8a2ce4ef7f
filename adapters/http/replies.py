"""Answers in the words a caller expects: ``{"code": 0, "msg": "success"}``, ``SUCCESS``, ``<return_code>…``."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Self
from xml.sax.saxutils import escape

import orjson
from aiohttp import web
from pydantic import Field, field_validator, model_validator

from adapters.http.content import fill_tree
from adapters.http.option_types import Options, texts_of
from adapters.http.problem import SERVER
from adapters.template import Template

__all__ = ["Replies", "ReplyBody", "own_answer", "own_refusal"]

_ACCEPTED = frozenset(("message_id", "outcome"))
_REFUSED = frozenset(("code", "message", "status"))


class ReplyBody(Options):
    """One answer."""

    status: int = Field(0, ge=0, le=599, description="HTTP status; default: the one that fits")
    body: str | dict[str, Any] = Field(
        description="a text as it is, or the members of a JSON object; texts may hold {name} templates"
    )
    content_type: str = Field(
        "", description="default: application/json, of a text text/plain, of one with < first XML"
    )

    codes: dict[str, str | int] = Field(
        default_factory=dict,
        description="makes {code} the caller's: of an acceptance by its outcome (accepted, duplicate, conflict), of a refusal by the "
        "hub's code, its beginning (security.*), the HTTP status that fits, or * for all others; the first that fits",
    )

    @field_validator("status")
    @classmethod
    def _final(cls, status: int) -> int:
        if status and (status < 200 or status in (204, 205, 304)):
            raise ValueError("an answer with a body has a status from 200, but not 204, 205 or 304")
        return status

    @field_validator("content_type")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isascii() or not value.isprintable():
            raise ValueError("content_type must be printable ASCII")
        return value

    @property
    def kind(self) -> str:
        if self.content_type:
            return self.content_type
        if isinstance(self.body, dict):
            return "application/json"
        return "application/xml; charset=utf-8" if self.body.startswith("<") else "text/plain; charset=utf-8"

    def names(self) -> set[str]:
        """Of every variable it needs; raises ``ValueError`` for a template that is none."""
        return {name for text in texts_of(self.body) for name in Template(text).names}

    def code(self, *words: str) -> str | int:
        """The caller's word for the first of ``words`` there is one for; else the first of them."""
        for pattern, code in self.codes.items():
            if pattern in words or fnmatchcase(words[0], pattern):
                return code
        return words[0]

    def fill(self, variables: Mapping[str, Any]) -> bytes:
        if isinstance(self.body, dict):
            return orjson.dumps(fill_tree(self.body, variables))
        encode = escape if "xml" in self.kind else str
        return Template(self.body).fill(variables, encode).encode()


class Replies(Options):
    """Answers to calls in the caller's own words; of what is not given the hub's are used."""

    accepted: ReplyBody | None = Field(
        None,
        description="event style, once the message is stored; may hold {message_id}, {outcome} and, with codes, {code}",
    )
    refused: ReplyBody | None = Field(
        None,
        description="to everything that was not stored; may hold {code}, {message} and {status}, the HTTP status that fits. "
        "A status from 200 to 299 here must mean a refusal to the caller by what the body says",
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        for answer, known in ((self.accepted, _ACCEPTED), (self.refused, _REFUSED)):
            if answer is not None and answer.codes:
                known |= {"code"}
            unknown = answer.names() - known if answer is not None else set()
            if unknown:
                raise ValueError(f"there is no value for {{{min(unknown)}}}; known are {', '.join(sorted(known))}")
        return self


def own_answer(
    own: ReplyBody, status: int, variables: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        status=status, body=own.fill(variables), headers={**(headers or {}), **SERVER, "Content-Type": own.kind}
    )


def own_refusal(own: ReplyBody, status: int, code: str, text: str, headers: Mapping[str, str]) -> web.Response:
    """``status`` is the one that fits; the contract's goes before, but the body may tell the fitting one."""
    words = {"code": own.code(code, str(status)), "message": text, "status": status}
    return own_answer(own, own.status or status, words, headers)
