"""Options of the HTTP adapter: ``listen`` of an ``in`` interface, ``connect`` of an ``out`` interface."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from adapters.access import check_allow
from adapters.http.limits import RateLimit
from adapters.http.option_types import OWN_HEADERS, SECRET_HEADERS, HeaderName, Options, PlainUrl, header_token
from adapters.http.proxy import Proxy
from adapters.http.replies import Replies
from adapters.http.signature import Signature
from adapters.http.template import Template
from adapters.http.token_options import LoginAuth, OAuth2Auth
from adapters.tls import ClientTls, ServerTls
from hub.contract import Duration, Size

__all__ = ["HeaderName", "HttpConnect", "HttpListen", "InboundAuth", "OutboundAuth", "Probe", "header_of"]


class _Credentials(Options):
    header: HeaderName = Field("X-Api-Key", description="api_key: the header that carries it")
    user: str = Field("", description="basic: the user name")
    secret: SecretStr = Field(SecretStr(""), description="password, token or key")

    def check(self, kind: str) -> None:
        """Raise ``ValueError`` when what this kind of authentication needs is missing."""
        if not self.secret.get_secret_value():
            raise ValueError(f"auth of type {kind} needs a secret")
        if kind == "basic" and (not self.user or ":" in self.user):
            raise ValueError("auth of type basic needs a user, without a colon in it")


class InboundAuth(_Credentials):
    """How callers prove who they are."""

    type: Literal["none", "basic", "bearer", "api_key"] = Field(
        description="none: everybody whom `allow` lets in; basic: RFC 7617; bearer: RFC 6750; api_key: a header"
    )

    @model_validator(mode="after")
    def _complete(self) -> InboundAuth:
        if self.type != "none":
            self.check(self.type)
        return self


class OutboundAuth(_Credentials):
    """How the hub proves who it is."""

    type: Literal["basic", "bearer", "api_key"]

    @model_validator(mode="after")
    def _complete(self) -> OutboundAuth:
        self.check(self.type)
        value = self.user + self.secret.get_secret_value()
        if not value.isprintable() or (self.type != "basic" and not value.isascii()):
            raise ValueError("auth.user and auth.secret must be printable, a token or key also ASCII")
        return self


class HttpListen(Options):
    """``listen`` of an HTTP interface. Interfaces with the same host and port share one server."""

    server: ClassVar[str] = "http"  # may share its port with other interfaces of this server

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for every IPv4 address of the machine")
    port: int = Field(0, ge=0, le=65535, description="0 takes a free port, shown in the status")
    path: str = Field(description="e.g. /api/waybills or /patients/{id}/visits; a {name} part matches one path segment")
    methods: list[Literal["GET", "POST", "PUT", "PATCH", "DELETE"]] = Field(["POST"], min_length=1)
    auth: InboundAuth = Field(description="required: an interface open to everybody has to say `auth: {type: none}`")
    allow: list[str] = Field(
        default_factory=list,
        description="addresses and networks (CIDR) that may call, * for everybody; "
        "default: this machine only, and only where host is a loopback address",
    )
    tls: ServerTls | None = None
    content_types: list[str] = Field(
        default_factory=list, description="media types accepted, e.g. application/json; default: any"
    )
    max_size: Size = Field(
        64 << 20, ge=1, description="largest body, bytes, after decompression; max_size of the interface goes before"
    )
    max_buffered: Size = Field(
        256 << 20, ge=1 << 20, description="bytes of unfinished large bodies that all connections together may hold"
    )
    signature: Signature | None = Field(None, description="calls must be signed, besides what auth asks for")
    rate: RateLimit | None = Field(None, description="calls taken from each caller; default: no limit")
    concurrency: int = Field(0, ge=0, description="calls under way at once; further ones get 503; 0: no limit")
    replies: Replies = Field(default_factory=Replies)
    accepted_status: Literal[200, 201, 202, 204] = Field(202, description="answer to a stored message, event style")
    query_as_body: bool = Field(
        False, description="a call without a body becomes a JSON object of its query parameters and path parts"
    )
    log_headers: list[HeaderName] = Field(
        default_factory=lambda: ["Content-Type", "User-Agent", "X-Request-Id"],
        description="request headers kept in the call log, masked; credentials can't be named",
    )
    body_timeout: Duration = Field(60.0, gt=0, description="longest time to receive the body of a call")
    keepalive_timeout: Duration = Field(
        75.0, gt=0, description="a connection is closed after so long without a complete request head"
    )
    header_size: Size = Field(
        8 << 10, ge=1024, le=1 << 20, description="longest request line or header, bytes; 64 headers at most"
    )
    max_connections: int = Field(10_000, ge=1, description="further ones are closed at once")
    backlog: int = Field(1024, ge=1, description="connections the system holds until they are accepted")

    @field_validator("path")
    @classmethod
    def _path_is_absolute(cls, path: str) -> str:
        if not path.startswith("/") or "?" in path or "#" in path:
            raise ValueError("path starts with / and has no query; write e.g. /api/waybills/{id}")
        for part in path.split("/"):
            if ("{" in part or "}" in part) and not re.fullmatch(r"\{[A-Za-z_][A-Za-z0-9_]*\}", part):
                raise ValueError(f"path: {part!r} must be one whole segment such as {{id}}")
        names = re.findall(r"\{(\w+)\}", path)
        if len(names) != len(set(names)):
            raise ValueError("path: every {name} may occur once")
        return path

    @field_validator("content_types")
    @classmethod
    def _media_types(cls, values: list[str]) -> list[str]:
        for value in values:
            if not re.fullmatch(r"[\w.+-]+/[\w.+*-]+", value):
                raise ValueError(f"{value!r} is not a media type; write e.g. application/json, without parameters")
        return [value.lower() for value in values]

    @field_validator("log_headers")
    @classmethod
    def _no_credentials(cls, values: list[str]) -> list[str]:
        for value in values:
            if value.lower() in SECRET_HEADERS:
                raise ValueError(f"{value} carries credentials and must not be logged")
        return values

    @model_validator(mode="after")
    def _fits(self) -> HttpListen:
        check_allow(self.host, self.allow)
        if self.auth.type == "api_key" and self.auth.header.lower() in {h.lower() for h in self.log_headers}:
            raise ValueError(f"{self.auth.header} carries the API key and must not be logged")
        if self.rate is not None and self.rate.per == "credentials" and self.auth.type == "none":
            raise ValueError("rate.per credentials needs an auth other than none")
        return self


class Probe(Options):
    """A harmless call that tells whether the target is well."""

    method: Literal["GET", "HEAD"] = "GET"
    path: str = Field("", description="joined to url")
    expect: list[int] = Field(default_factory=list, description="statuses that mean well; default: 200 to 299")


class HttpConnect(Options):
    """``connect`` of an HTTP interface."""

    url: PlainUrl = Field(
        description="http:// or https:// address; its path and query may hold {name} templates, percent-encoded"
    )
    path: str = Field("", description="joined to the path of url; may hold {name} templates")
    method: Literal["POST", "PUT", "PATCH", "GET", "DELETE", "HEAD"] = Field(
        "POST", description="GET, DELETE and HEAD send no body"
    )
    query: dict[str, str] = Field(
        default_factory=dict, description="query parameters; values may hold {name} templates"
    )
    headers: dict[HeaderName, str] = Field(default_factory=dict, description="values may hold {name} templates")
    auth: Annotated[OutboundAuth | OAuth2Auth | LoginAuth, Field(discriminator="type")] | None = Field(
        None, description="how the hub proves who it is"
    )
    proxy: Proxy | None = Field(None, description="the way to the target, where it can't be reached directly")
    content_type: str = Field("", description="default: that of the codec")
    gzip: bool = Field(False, description="compress bodies above 1 KB; the target must understand it")
    idempotency_header: str = Field(
        "Idempotency-Key",
        description="header with the delivery's stable key, by which the target can tell a repetition; '' sends none",
    )
    connections: int = Field(8, ge=1, le=1024, description="connections kept open at most; one call each at a time")
    connect_timeout: Duration = Field(5.0, gt=0, description="longest time to connect, TLS included")
    idle_timeout: Duration = Field(30.0, gt=0, description="an unused connection is closed after so long")
    reply_limit: Size = Field(8 << 20, ge=1, description="largest reply, bytes, after decompression")
    tls: ClientTls = Field(default_factory=ClientTls)
    probe: Probe | None = Field(None, description="default: connect, TLS included, and close")

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

    @field_validator("idempotency_header")
    @classmethod
    def _header_or_nothing(cls, value: str) -> str:
        return header_token(value) if value else value

    @field_validator("headers")
    @classmethod
    def _printable(cls, values: dict[str, str]) -> dict[str, str]:
        for name, value in values.items():
            if not value.isprintable():
                raise ValueError(f"header {name} has control characters in its value")
        return values

    @model_validator(mode="after")
    def _headers_do_not_collide(self) -> HttpConnect:
        names = [name.lower() for name in self.headers]
        if self.idempotency_header:
            names.append(self.idempotency_header.lower())
        if self.auth is not None:
            names += [name for name in [header_of(self.auth)] if name]
        for name in names:
            if name in OWN_HEADERS:
                raise ValueError(f"header {name} is written by the adapter itself; remove it")
            if names.count(name) > 1:
                raise ValueError(f"header {name} is given twice; headers, auth and idempotency_header must differ")
        return self

    @model_validator(mode="after")
    def _templates_are_sound(self) -> HttpConnect:
        for text in (self.url, self.path, *self.query.values(), *self.headers.values()):
            Template(text)
        if self.probe is not None and Template(self.url + self.probe.path).names:
            raise ValueError("a probe has no message to fill {name} templates from: url must not hold any")
        return self


def header_of(auth: OutboundAuth | OAuth2Auth | LoginAuth) -> str:
    """The header that carries the credentials, in lower case; "" for none."""
    if isinstance(auth, LoginAuth) or auth.type == "api_key":
        return auth.header.lower()
    return "authorization"
