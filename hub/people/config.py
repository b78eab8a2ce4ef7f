"""What ``security:`` of ``hub.yaml`` says about people. The limits of passwords and logins are those of 004:10277-10297."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from hub.people.rights import APPROVABLE, RIGHTS

__all__ = [
    "ApprovalsConfig",
    "CasConfig",
    "LoginConfig",
    "OidcConfig",
    "PasswordsConfig",
    "PortalConfig",
    "RoleConfig",
    "SecondFactorConfig",
    "SessionsConfig",
    "networks",
]


def _seconds(value: Any) -> float:
    from hub.contract import parse_duration  # late: the contract has these models as parts

    return parse_duration(value)


def _right(name: str) -> str:
    if name not in RIGHTS:
        raise ValueError(f"unknown right {name!r}; there are: {', '.join(sorted(RIGHTS))}")
    return name


def _network(text: str) -> str:
    ipaddress.ip_network(text, strict=False)
    return text


Seconds = Annotated[float, BeforeValidator(_seconds)]
Network = Annotated[str, AfterValidator(_network)]


def networks(texts: list[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(text, strict=False) for text in texts]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RoleConfig(_Model):
    """A role of one's own, or another set of rights for one of the hub's."""

    name: str = ""
    rights: list[Annotated[str, AfterValidator(_right)]]


class PasswordsConfig(_Model):
    """What a password must be like."""

    length: int = Field(8, ge=6, le=32, description="characters, at least")
    longest: int = Field(32, ge=6, le=32, description="characters, at most")
    letter: bool = Field(True, description="at least one capital or small letter")
    special: bool = Field(True, description="at least one special character")
    digit: bool = Field(True, description="at least one digit")
    strength: Literal["weak", "middle", "strong"] = Field("middle", description="least strength")
    valid_days: int = Field(90, ge=1, le=365, description="a password is valid for so many days")
    remind_days: int = Field(7, ge=0, le=30, description="its end is told so many days before")
    change_days: int = Field(
        1,
        ge=0,
        le=30,
        description="days between two changes by the user; 0: no pause; one that must be changed always can",
    )
    history: int = Field(5, ge=1, le=10, description="last passwords that can't be used again")
    temporary: Seconds = Field(86400.0, gt=0, description="a temporary password can be used for so long")


class LoginConfig(_Model):
    """Failed logins, and what is kept of logins."""

    tries: int = Field(5, ge=1, le=10, description="failures in a row until an account is locked")
    lock: Seconds = Field(3600.0, ge=3600, le=86400, description="for so long, 1h to 24h")
    address_tries: int = Field(
        50, ge=10, le=1000, description="failures from one address, of whatever accounts, until it waits"
    )
    keep_months: int = Field(12, ge=6, le=24, description="the login log is kept for so long")
    regions: dict[str, list[Network]] = Field(
        default_factory=dict,
        description="name -> networks, for the reminder of logins from elsewhere; an address in none: its first 16 (IPv6: 32) bits",
    )


class SecondFactorConfig(_Model):
    """The second proof of who somebody is."""

    required: bool = Field(False, description="of everybody")
    roles: list[str] = Field(default_factory=list, description="of those who have one of these roles")
    sms: str = Field("", description="system/interface that takes in {to, code, minutes} and sends a text message")
    mail: str = Field("", description="the same for mail; also reminders of logins from elsewhere")
    valid: Seconds = Field(300.0, ge=60, le=1800, description="a code sent is valid for so long")
    fresh: Seconds = Field(
        600.0, ge=60, le=86400, description="sensitive orders want a second proof no older than this"
    )


class SessionsConfig(_Model):
    """How long a login lasts. 30 minutes and 1 to 24 hours: 004:10064."""

    idle: Seconds = Field(1800.0, ge=60, le=86400, description="without a call for so long, it ends")
    longest: Seconds = Field(12 * 3600.0, ge=3600, le=86400, description="it ends after so long, whatever happens")
    most: int = Field(5, ge=1, le=100, description="at once, of one user; one more ends the oldest")


def _approvable(name: str) -> str:
    if name not in APPROVABLE:
        raise ValueError(f"unknown action {name!r}; there are: {', '.join(APPROVABLE)}")
    return name


class ApprovalsConfig(_Model):
    """What a second person has to approve (002:762)."""

    actions: list[Annotated[str, AfterValidator(_approvable)]] = Field(
        default_factory=list, description=f"some of {', '.join(APPROVABLE)}"
    )
    within: Seconds = Field(86400.0, ge=60, le=30 * 86400, description="a request lapses after so long")


class _Portal(_Model):
    """A person who comes from a portal, and what they may do here."""

    user: str = Field("sub", description="claim or attribute with the user's name here")
    name: str = Field("name", description="claim or attribute with the person's name; '': none")
    groups: str = Field("", description="claim or attribute with groups; '': roles stay as they are here")
    roles: dict[str, list[str]] = Field(default_factory=dict, description="group -> roles")
    institution: str = Field("", description="claim or attribute with the institution that becomes the scope; '': none")
    create: bool = Field(False, description="make a user at the first login; false: only who is a user already")


class OidcConfig(_Portal):
    """Login through OpenID Connect: authorization code with PKCE (RFC 7636)."""

    issuer: str = Field(description="https://…; the configuration is read below it (/.well-known/openid-configuration)")
    client_id: str
    client_secret: str = Field("", description="env:NAME or file:PATH; '': a public client")
    scope: str = "openid profile"


class CasConfig(_Portal):
    """Login through CAS, protocol 2 or 3."""

    url: str = Field(description="address of the CAS server, e.g. https://cas.example/cas")
    version: Literal[2, 3] = 3
    user: str = Field("user", description="user: the name CAS gives; otherwise an attribute (version 3)")


class PortalConfig(_Model):
    oidc: OidcConfig | None = None
    cas: CasConfig | None = None
    second_factor: bool = Field(False, description="ask for the second factor here also; false: the portal sees to it")
