"""Options of everything that is served over HTTP, whatever stands in the body: the socket, who may call, and the limits of a call."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from adapters.access import check_allow
from adapters.http.limits import RateLimit
from adapters.http.option_types import SECRET_HEADERS, HeaderName, Options
from adapters.tls import ServerTls
from hub.contract import Duration, Size

__all__ = ["CallOptions", "Credentials", "InboundAuth", "ServerOptions", "ServerPath", "TokenEndpoint"]


class Credentials(Options):
    """What ``auth`` of callers and of targets has in common."""

    header: HeaderName = Field("X-Api-Key", description="api_key: the header that carries it")
    user: str = Field("", description="basic: the user name")
    secret: SecretStr = Field(SecretStr(""), description="password, token or key")

    def check(self, kind: str) -> None:
        """Raise ``ValueError`` when what this kind of authentication needs is missing."""
        if not self.secret.get_secret_value():
            raise ValueError(f"auth of type {kind} needs a secret")
        if kind == "basic" and (not self.user or ":" in self.user):
            raise ValueError("auth of type basic needs a user, without a colon in it")


def _absolute(path: str) -> str:
    if not path.startswith("/") or "?" in path or "#" in path:
        raise ValueError("path starts with / and has no query; write e.g. /api/waybills")
    return path


ServerPath = Annotated[str, AfterValidator(_absolute)]


CallerCredential = Literal["api_key", "bearer", "basic", "jwt", "oauth2", "mtls"]
_ACCEPTED: tuple[CallerCredential, ...] = ("api_key", "bearer", "basic", "jwt", "oauth2")


class TokenEndpoint(Options):
    """Client credentials (RFC 6749, 4.4). Validity of 1 to 24 hours: 004:10064."""

    path: ServerPath = "/oauth2/token"
    lifetime: Duration = Field(3600.0, ge=60, le=86_400, description="how long a token is valid")
    form: Literal["opaque", "jwt"] = Field("opaque", description="jwt: clients can read when it expires")


class InboundAuth(Credentials):
    """How callers prove who they are."""

    type: Literal["none", "basic", "bearer", "api_key", "caller"] = Field(
        description="none: everybody whom `allow` lets in; basic: RFC 7617; bearer: RFC 6750; api_key: a header; "
        "caller: a caller of `hub callers`, by whatever `accept` names"
    )
    accept: list[CallerCredential] = Field(
        default_factory=lambda: list(_ACCEPTED),
        min_length=1,
        description="caller: kinds of credentials taken; mtls needs tls.client_ca",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.type == "caller":
            if self.user or self.secret.get_secret_value():
                raise ValueError("auth of type caller has no user or secret of its own: hub callers issue makes them")
        elif "accept" in self.model_fields_set:
            raise ValueError("accept belongs to auth of type caller")
        elif self.type != "none":
            self.check(self.type)
        return self


class ServerOptions(Options):
    """The socket and who may use it. Interfaces with the same host and port share one server, also those of different adapters.

    A model that is derived from it has a ``path``.
    """

    server: ClassVar[str] = "http"  # may share its port with other interfaces of this server

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for every IPv4 address of the machine")
    port: int = Field(0, ge=0, le=65535, description="0 takes a free port, shown in the status")
    path: ServerPath
    auth: InboundAuth = Field(
        description="of HTTP; required: an interface open to everybody has to say `auth: {type: none}`"
    )
    allow: list[str] = Field(
        default_factory=list,
        description="addresses and networks (CIDR) that may call, * for everybody; "
        "default: this machine only, and only where host is a loopback address",
    )
    tls: ServerTls | None = None
    keepalive_timeout: Duration = Field(
        75.0, gt=0, description="a connection is closed after so long without a complete request head"
    )
    header_size: Size = Field(
        8 << 10, ge=1024, le=1 << 20, description="longest request line or header, bytes; 64 headers at most"
    )
    max_connections: int = Field(10_000, ge=1, description="further ones are closed at once")
    backlog: int = Field(1024, ge=1, description="connections the system holds until they are accepted")

    @field_validator("tls", mode="before")
    @classmethod
    def _settings_not_given(cls, tls: object) -> object:
        """``{certificate: "${certificate}"}`` of a contract, where a system gives no certificate."""
        return tls or None

    @model_validator(mode="after")
    def _allow_fits_host(self) -> Self:
        check_allow(self.host, self.allow)
        return self

    @model_validator(mode="after")
    def _certificates_are_asked_for(self) -> Self:
        wanted = self.auth.type == "caller" and "mtls" in self.auth.accept
        if wanted and (self.tls is None or not self.tls.client_ca):
            raise ValueError("auth.accept has mtls: give tls.client_ca, so that clients show a certificate")
        return self

    @property
    def asks_caller(self) -> bool:
        """See :attr:`hub.api.Bound.asks_caller`."""
        return self.auth.type == "caller"


class CallOptions(ServerOptions):
    """The limits of calls whose bodies are read as a whole."""

    max_size: Size = Field(
        64 << 20, ge=1, description="largest body, bytes, after decompression; max_size of the interface goes before"
    )
    max_buffered: Size = Field(
        256 << 20, ge=1 << 20, description="bytes of unfinished large bodies that all connections together may hold"
    )
    body_timeout: Duration = Field(60.0, gt=0, description="longest time to receive the body of a call")
    rate: RateLimit | None = Field(None, description="calls taken from each caller; default: no limit")
    concurrency: int = Field(0, ge=0, description="calls under way at once; further ones get 503; 0: no limit")
    log_headers: list[HeaderName] = Field(
        default_factory=lambda: ["Content-Type", "User-Agent", "X-Request-Id"],
        description="request headers kept in the call log, masked; credentials can't be named",
    )

    @field_validator("log_headers")
    @classmethod
    def _no_credentials(cls, values: list[str]) -> list[str]:
        for value in values:
            if value.lower() in SECRET_HEADERS:
                raise ValueError(f"{value} carries credentials and must not be logged")
        return values

    @model_validator(mode="after")
    def _nothing_secret_is_logged(self) -> Self:
        if self.auth.type in ("api_key", "caller") and self.auth.header.lower() in {
            h.lower() for h in self.log_headers
        }:
            raise ValueError(f"{self.auth.header} carries the API key and must not be logged")
        if self.rate is not None and self.rate.per == "credentials" and self.auth.type == "none":
            raise ValueError("rate.per credentials needs an auth other than none")
        return self
