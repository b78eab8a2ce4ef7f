"""Credentials that are fetched before they are shown: OAuth2 client credentials, and a login call of whatever shape."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from adapters.http.option_types import OWN_HEADERS, HeaderName, Options, PlainUrl, texts_of
from adapters.template import Template
from hub.contract import Duration
from hub.errors import HubError
from hub.mapping import compile_expression

__all__ = ["LoginAuth", "OAuth2Auth", "TokenAuth"]


class _Fetched(Options):
    url: PlainUrl = Field(description="address the token comes from; the same proxy and tls as for the calls")
    early: Duration = Field(30.0, ge=0, description="a token is replaced so long before it expires")
    timeout: Duration = Field(10.0, gt=0, description="longest time to fetch a token")


class OAuth2Auth(_Fetched):
    """OAuth 2.0, client credentials (RFC 6749, 4.4): fetched once, kept until shortly before it expires, shown as a bearer token."""

    type: Literal["oauth2"]
    client_id: str = Field(min_length=1)
    client_secret: SecretStr
    client_auth: Literal["basic", "post"] = Field(
        "basic", description="how the client proves itself: client_secret_basic or client_secret_post"
    )
    scope: str = Field("", description="separated by blanks")
    parameters: dict[str, str] = Field(default_factory=dict, description="further fields of the form, e.g. audience")
    lifetime: Duration = Field(300.0, gt=0, description="of a token whose reply has no expires_in")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.client_secret.get_secret_value():
            raise ValueError("auth of type oauth2 needs a client_secret")
        taken = {"grant_type", "scope", "client_id", "client_secret"} & set(self.parameters)
        if taken:
            raise ValueError(f"parameters: {', '.join(sorted(taken))} is written by the adapter itself")
        return self


class LoginAuth(_Fetched):
    """A login call whose reply, in JSON, has the token. Calls may also show it elsewhere: ``{token}`` stands for it in headers and query."""

    type: Literal["login"]
    method: Literal["POST", "GET", "PUT"] = "POST"
    query: dict[str, str] = Field(default_factory=dict, description="values may hold {user} and {secret}")
    headers: dict[HeaderName, str] = Field(default_factory=dict, description="values may hold {user} and {secret}")
    body: dict[str, Any] = Field(
        default_factory=dict,
        description="members of the body; texts may hold {user} and {secret}: {username: '{user}', password: '{secret}'}",
    )
    form: bool = Field(False, description="send the body as a form instead of JSON")
    user: str = ""
    secret: SecretStr = SecretStr("")
    token: str = Field(description="expression on the reply, e.g. data.accessToken")
    lifetime: str = Field(
        "", description="expression on the reply for the seconds the token lives, e.g. data.expiresIn, or just 7200"
    )
    success: str = Field("", description="expression on the reply; default: there is a token")
    expired: str = Field(
        "", description="expression on the reply to a call that says the token is no longer good, besides HTTP 401"
    )
    security: list[str] = Field(
        default_factory=list,
        description="schemes of the interface's security that the login goes through as well, e.g. to be signed",
    )
    daily: int = Field(0, ge=0, description="most logins within a day, since the start of the hub; 0: any number")
    header: str = Field("Authorization", description="header that shows the token; '' for none")
    value: str = Field("Bearer {token}", description="what that header says")

    @field_validator("header")
    @classmethod
    def _writable(cls, name: str) -> str:
        if name and name.lower() in OWN_HEADERS:
            raise ValueError(f"header {name} is written by the adapter itself")
        return name

    @field_validator("token", "lifetime", "success", "expired")
    @classmethod
    def _understood(cls, text: str) -> str:
        if text:
            try:
                compile_expression(text, "json")
            except HubError as error:
                raise ValueError(error.text) from None
        return text

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.token:
            raise ValueError("auth of type login needs the expression token")
        texts = [*self.query.values(), *self.headers.values(), *texts_of(self.body)]
        unknown = {name for text in texts for name in Template(text).names} - {"user", "secret"}
        if unknown:
            raise ValueError(f"a login has no value for {{{min(unknown)}}}; it knows {{user}} and {{secret}}")
        if set(Template(self.value).names) != {"token"}:
            raise ValueError("value holds {token}, e.g. 'Bearer {token}'")
        if any(name.lower() in OWN_HEADERS for name in self.headers):
            raise ValueError("headers of the connection and of the body are written by the adapter itself")
        if self.form and any(isinstance(value, dict | list) for value in self.body.values()):
            raise ValueError("a form has texts and numbers, no lists or objects")
        return self


TokenAuth = OAuth2Auth | LoginAuth
