"""Keys, their versions, and the policy they live by."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

from hub.errors import HubError
from hub.i18n import t
from hub.keys.errors import KeysError, KeyUnavailable

__all__ = [
    "DAY",
    "FILE",
    "FIXED_PURPOSES",
    "OWN_PURPOSES",
    "Content",
    "Key",
    "Kind",
    "Policy",
    "State",
    "Version",
    "check_name",
]

DAY = 86400
#: Name of the file of a key store.
FILE = "keys.db"
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_PURPOSE = re.compile(r"[a-z][a-z0-9_]{0,31}")

#: Purposes the hub alone has keys for: nobody else has to be told of a new version.
OWN_PURPOSES = frozenset({"store", "pseudonym", "search", "people", "callers"})
#: What these make is compared with what they made before: a new version breaks every comparison, so none comes by itself.
FIXED_PURPOSES = frozenset({"pseudonym", "search"})


Rotation = Literal["auto", "remind", "manual"]


class Kind(StrEnum):
    """What a key is."""

    DATA = "data"  # 32 bytes from which the hub makes what it needs for its own data
    AES = "aes"
    SM4 = "sm4"
    HMAC = "hmac"
    SM2 = "sm2"
    RSA = "rsa"
    PUBLIC = "public"  # public key of another party
    CERTIFICATE = "certificate"  # of another party, or an authority
    SECRET = "secret"  # noqa: S105 - the word, not a secret: text such as an app secret or password

    @property
    def secret(self) -> bool:
        """True where there is something to seal."""
        return self not in (Kind.PUBLIC, Kind.CERTIFICATE)

    @property
    def pair(self) -> bool:
        return self in (Kind.SM2, Kind.RSA)


class State(StrEnum):
    """What a version may be used for."""

    PENDING = "pending"  # nothing yet: the other party has still to learn of it
    ACTIVE = "active"  # everything; one version of a key
    RETIRING = "retiring"  # opens and verifies what was made with it
    REVOKED = "revoked"  # nothing
    DESTROYED = "destroyed"  # nothing, and its secret is gone


@dataclass(frozen=True, slots=True)
class Policy:
    """How long versions of a key live. Days."""

    validity_days: int = 180
    rotate_days: int = 90
    rotation: Rotation = "remind"  # auto: the hub does it; manual: nothing is due
    overlap_days: int | None = 7  # None: a replaced version opens until it is destroyed
    warn_days: int = 30
    expired: Literal["refuse", "alert"] = "refuse"  # alert: goes on being used past its validity, and is told

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def fitting(self, kind: Kind, purpose: str) -> Policy:
        """The policy of a new key, where this one says what is usual in this hub.

        Only the hub's own keys change by themselves, and only where nothing is compared with what an earlier version made. What comes
        from the other party, and what is the hub's own, goes on working past its validity: an outage would be worse than
        a late change, and it is told long before. What the hub signs and encrypts with for others stops.
        """
        if purpose in OWN_PURPOSES:
            rotation: Rotation = "manual" if purpose in FIXED_PURPOSES else "auto"
            return replace(self, rotation=rotation, overlap_days=None, expired="alert")
        if kind is Kind.CERTIFICATE:
            return replace(self, rotation="manual", expired="refuse")
        if kind in (Kind.PUBLIC, Kind.SECRET):
            return replace(self, rotation="manual" if kind is Kind.PUBLIC else "remind", expired="alert")
        return self

    def check(self) -> None:
        """Raises :class:`KeysError` for what 004:10327 and 002:742 don't allow."""
        allowed = (
            ("validity_days", self.validity_days, 30, 365),
            ("rotate_days", self.rotate_days, 1, min(90, self.validity_days)),
            ("overlap_days", self.overlap_days or 0, 0, 365),
            ("warn_days", self.warn_days, 1, 180),
        )
        for name, value, least, most in allowed:
            if not least <= value <= most:
                raise KeysError(
                    t(f"{name} is {value}, not {least} to {most}", f"{name} 为 {value}，应在 {least} 至 {most} 之间"),
                    code="keys.policy",
                )


@dataclass(frozen=True, slots=True)
class Key:
    """A named key. ``owner`` is the system it is for, "" where it is the hub's own."""

    name: str
    kind: Kind
    purpose: str
    owner: str = ""
    policy: Policy = field(default_factory=Policy)
    created_at: int = 0  # Unix seconds, as all times of keys


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a key. ``sealed`` is the secret under the store's key, ``public`` what anybody may have of it."""

    name: str
    number: int
    state: State
    created_at: int
    active_from: int = 0  # 0: was never active
    expires_at: int = 0  # 0: never
    opens_until: int = 0  # of a retiring version; 0: no end
    fingerprint: str = ""
    public: bytes = b""
    sealed: bytes = b""

    def opens(self, now: float) -> bool:
        """True where it may open and verify."""
        if self.state is State.RETIRING:
            return not self.opens_until or now < self.opens_until
        return self.state is State.ACTIVE

    def expired(self, now: float) -> bool:
        return bool(self.expires_at) and now >= self.expires_at


@dataclass(slots=True)
class Content:
    """What is in a key store at one moment; not changed once it is read."""

    store: str  # the store's own id
    cipher: str
    generation: int  # goes up with every change of a key
    keys: dict[str, Key]
    versions: dict[str, dict[int, Version]]

    def key(self, name: str) -> Key:
        """Raises :class:`KeyUnavailable`."""
        found = self.keys.get(name)
        if found is None:
            raise KeyUnavailable(
                t(f"there is no key {name!r}", f"没有密钥 {name!r}"),
                code="key.unknown",
                remedy=t(
                    "see hub keys list; make it with hub keys generate or import",
                    "见 hub keys list；用 hub keys generate 或 import 建立",
                ),
            )
        return found

    def version(self, name: str, number: int) -> Version:
        """Raises :class:`KeyUnavailable`."""
        self.key(name)
        found = self.versions[name].get(number)
        if found is None:
            raise KeyUnavailable(
                t(f"key {name} has no version {number}", f"密钥 {name} 没有版本 {number}"), code="key.unknown"
            )
        return found

    def active(self, name: str) -> Version | None:
        """The version in use; mostly the newest, so these are looked at first."""
        for version in reversed(self.versions.get(name, {}).values()):
            if version.state is State.ACTIVE:
                return version
        return None

    def sealing(self, name: str, now: float) -> Version:
        """The version to seal and sign with. Raises :class:`KeyUnavailable`."""
        key = self.key(name)
        version = self.active(name)
        if version is None:
            raise KeyUnavailable(
                t(f"key {name} has no active version", f"密钥 {name} 没有启用中的版本"),
                code="key.inactive",
                remedy=t(f"hub keys rotate {name}", f"hub keys rotate {name}"),
            )
        if version.expired(now) and key.policy.expired == "refuse":
            raise KeyUnavailable(
                t(f"key {name}@{version.number} has expired", f"密钥 {name}@{version.number} 已过有效期"),
                code="key.expired",
                remedy=t(f"hub keys rotate {name}", f"hub keys rotate {name}"),
            )
        return version

    def may_open(self, version: Version, now: float) -> bool:
        """Public keys and certificates vouch for others only as long as they are valid."""
        key = self.keys[version.name]
        if not key.kind.secret and version.expired(now) and key.policy.expired == "refuse":
            return False
        return version.opens(now)

    def opening(self, name: str, number: int, now: float) -> Version:
        """A version to open or verify with. Raises :class:`KeyUnavailable`."""
        version = self.version(name, number)
        if not self.may_open(version, now):
            raise KeyUnavailable(
                t(
                    f"key {name}@{number} can't be used any more: {version.state}",
                    f"密钥 {name}@{number} 已不可用：{version.state}",
                ),
                code="key.closed",
            )
        return version


def check_name(name: str, purpose: str = "") -> None:
    """Raises :class:`HubError` for what can't be a name or a purpose."""
    if not _NAME.fullmatch(name):
        raise KeysError(
            t(f"{name!r} can't be the name of a key", f"{name!r} 不能作为密钥名称"),
            code="keys.name",
            remedy=t(
                "a small letter, then small letters, digits and _ . -", "小写字母开头，其后为小写字母、数字与 _ . -"
            ),
        )
    if purpose and not _PURPOSE.fullmatch(purpose):
        raise HubError(
            t(f"{purpose!r} can't be a purpose", f"{purpose!r} 不能作为用途"),
            code="keys.name",
            remedy=t("e.g. sign, encrypt, mac, store, login", "例如 sign、encrypt、mac、store、login"),
        )
