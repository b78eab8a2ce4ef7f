"""Options of the HTTP adapter: ``listen`` of an ``in`` interface, ``connect`` of an ``out`` interface."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from adapters.http.client_options import ClientOptions
from adapters.http.replies import Replies
from adapters.http.server_options import CallOptions, ServerPath, TokenEndpoint
from adapters.template import Template

__all__ = ["HttpConnect", "HttpListen"]


class HttpListen(CallOptions):
    """``listen`` of an HTTP interface. Interfaces with the same host and port share one server."""

    path: ServerPath = Field(
        description="e.g. /api/waybills or /patients/{id}/visits; a {name} part matches one path segment"
    )
    methods: list[Literal["GET", "POST", "PUT", "PATCH", "DELETE"]] = Field(["POST"], min_length=1)
    content_types: list[str] = Field(
        default_factory=list, description="media types accepted, e.g. application/json; default: any"
    )
    token: TokenEndpoint | None = Field(
        None,
        description="an OAuth2 token endpoint for callers on the same port; its tokens are taken wherever oauth2 is",
    )
    replies: Replies = Field(default_factory=Replies)
    accepted_status: Literal[200, 201, 202, 204] = Field(202, description="answer to a stored message, event style")
    redirect: str = Field(
        "",
        pattern=r"^([A-Za-z_]\w*)?$",
        description="request style, JSON: the member of the answer with the http address a browser is led to; answered 303",
    )
    query_as_body: bool = Field(
        False, description="a call without a body becomes a JSON object of its query parameters and path parts"
    )

    @field_validator("path")
    @classmethod
    def _parts_are_whole(cls, path: str) -> str:
        for part in path.split("/"):
            if ("{" in part or "}" in part) and not re.fullmatch(r"\{[A-Za-z_][A-Za-z0-9_]*\}", part):
                raise ValueError(f"path: {part!r} must be one whole segment such as {{id}}")
        names = re.findall(r"\{(\w+)\}", path)
        if len(names) != len(set(names)):
            raise ValueError("path: every {name} may occur once")
        return path

    @model_validator(mode="after")
    def _tokens_are_for_callers(self) -> Self:
        if self.token is not None and self.auth.type != "caller":
            raise ValueError("token issues tokens to callers: auth must be of type caller")
        if self.token is not None and self.token.path == self.path:
            raise ValueError("token.path must not be the interface's own path")
        return self

    @field_validator("content_types")
    @classmethod
    def _media_types(cls, values: list[str]) -> list[str]:
        for value in values:
            if not re.fullmatch(r"[\w.+-]+/[\w.+*-]+", value):
                raise ValueError(f"{value!r} is not a media type; write e.g. application/json, without parameters")
        return [value.lower() for value in values]


class HttpConnect(ClientOptions):
    """``connect`` of an HTTP interface."""

    path: str = Field("", description="joined to the path of url; may hold {name} templates")
    method: Literal["POST", "PUT", "PATCH", "GET", "DELETE", "HEAD"] = Field(
        "POST", description="GET, DELETE and HEAD send no body"
    )
    query: dict[str, str] = Field(
        default_factory=dict, description="query parameters; values may hold {name} templates"
    )
    query_text: str = Field(
        "",
        pattern=r"^([A-Za-z_]\w*)?$",
        description="name of a business key that holds a whole query string, as the target itself gave it in an earlier reply",
    )
    content_type: str = Field("", description="default: that of the codec")

    @field_validator("path")
    @classmethod
    def _path_only(cls, path: str) -> str:
        if "?" in path or "#" in path:
            raise ValueError("path has no query; use the option query")
        return path

    @field_validator("content_type")
    @classmethod
    def _header_text(cls, value: str) -> str:
        if not value.isprintable() or not value.isascii():
            raise ValueError("content_type must be printable ASCII")
        return value

    @model_validator(mode="after")
    def _templates_are_sound(self) -> Self:
        for text in (self.path, *self.query.values()):
            Template(text)
        return self
