"""Options of WS-Security."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from hub.contract import Duration

__all__ = ["InboundSecurity", "OutboundSecurity", "SignWith"]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SignWith(_Options):
    """The key that signs and its certificate, which goes along."""

    certificate: str = Field(description="PEM file of the certificate")
    key: str = Field("", description="PEM file of the private key, RSA or EC; default: in the certificate file")
    key_password: SecretStr = Field(
        SecretStr(""), description="password of the private key, where the file is encrypted"
    )


class _Trust(_Options):
    trusted: str = Field(
        "",
        description="PEM file of certificates: a signature must be there, made with one of them or with one that one of "
        "them has issued directly",
    )
    signed: list[Literal["body", "timestamp"]] = Field(
        ["body", "timestamp"], min_length=1, description="what the signature must cover"
    )
    sha1: bool = Field(False, description="take signatures with SHA-1 as well; only for peers that can't do better")
    max_age: Duration = Field(
        300.0, gt=0, le=86400, description="oldest creation time taken, and how far clocks may differ"
    )


class InboundSecurity(_Trust):
    """What callers must show in a ``wsse:Security`` header, and what answers carry."""

    username: str = Field("", description="user name of a UsernameToken; default: none is needed")
    password: SecretStr = SecretStr("")
    password_type: Literal["any", "text", "digest"] = Field("any", description="how the password may be shown")
    sign: SignWith | None = Field(None, description="sign answers: body and timestamp")

    @model_validator(mode="after")
    def _asks_for_something(self) -> InboundSecurity:
        _user_with_password(self.username, self.password)
        if not (self.username or self.trusted or self.sign):
            raise ValueError("security needs a username, trusted certificates, or sign")
        return self


class OutboundSecurity(_Trust):
    """What the hub shows, and what replies must show."""

    username: str = Field("", description="user name of a UsernameToken; default: none")
    password: SecretStr = SecretStr("")
    password_type: Literal["text", "digest"] = Field("digest", description="text only over TLS")
    timestamp: bool = Field(False, description="send a timestamp; always where a signature is sent")
    lifetime: Duration = Field(300.0, gt=0, le=86400, description="how long the timestamp is valid")
    must_understand: bool = Field(True, description="let the target refuse the call if it does not check the header")
    sign: SignWith | None = Field(None, description="sign requests: body, timestamp and user name token")

    @model_validator(mode="after")
    def _says_something(self) -> OutboundSecurity:
        _user_with_password(self.username, self.password)
        if not (self.username or self.trusted or self.sign or self.timestamp):
            raise ValueError("security needs a username, timestamp, sign, or trusted certificates")
        return self


def _user_with_password(username: str, password: SecretStr) -> None:
    if bool(username) != bool(password.get_secret_value()):
        raise ValueError("security.username and security.password are given together")
