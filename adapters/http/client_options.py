"""Options of everything that calls over HTTP, whatever is sent: the target, the way to it, credentials, connections."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from adapters.http.option_types import OWN_HEADERS, HeaderName, Options, PlainUrl, header_token
from adapters.http.proxy import Proxy
from adapters.http.server_options import Credentials
from adapters.http.token_options import LoginAuth, OAuth2Auth
from adapters.template import Template
from adapters.tls import ClientTls
from hub.contract import Duration, Size

__all__ = ["ClientOptions", "OutboundAuth", "Probe", "header_of"]


class OutboundAuth(Credentials):
    """How the hub proves who it is."""

    type: Literal["basic", "bearer", "api_key"]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self.check(self.type)
        value = self.user + self.secret.get_secret_value()
        if not value.isprintable() or (self.type != "basic" and not value.isascii()):
            raise ValueError("auth.user and auth.secret must be printable, a token or key also ASCII")
        return self


class Probe(Options):
    """A harmless call that tells whether the target is well."""

    method: Literal["GET", "HEAD"] = "GET"
    path: str = Field("", description="joined to url")
    expect: list[int] = Field(default_factory=list, description="statuses that mean well; default: 200 to 299")


class ClientOptions(Options):
    """What is sent to ``url``, and how often, is for the models that are derived from it."""

    url: PlainUrl = Field(
        description="http:// or https:// address; its path and query may hold {name} templates, percent-encoded"
    )
    headers: dict[HeaderName, str] = Field(
        default_factory=dict, description="of HTTP; values may hold {name} templates"
    )
    auth: Annotated[OutboundAuth | OAuth2Auth | LoginAuth, Field(discriminator="type")] | None = Field(
        None, description="how the hub proves who it is"
    )
    proxy: Proxy | None = Field(None, description="the way to the target, where it can't be reached directly")
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
    def _headers_do_not_collide(self) -> Self:
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
    def _address_and_headers_are_sound(self) -> Self:
        for text in (self.url, *self.headers.values()):
            Template(text)
        if self.probe is not None and Template(self.url + self.probe.path).names:
            raise ValueError("a probe has no message to fill {name} templates from: url must not hold any")
        return self


def header_of(auth: OutboundAuth | OAuth2Auth | LoginAuth) -> str:
    """The header that carries the credentials, in lower case; "" for none."""
    if isinstance(auth, LoginAuth) or auth.type == "api_key":
        return auth.header.lower()
    return "authorization"
