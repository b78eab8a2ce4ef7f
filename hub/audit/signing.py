"""Signatures of the trail: SM2 with SM3 (GB/T 32918, 32905) by the key ``audit`` of the key store, which the hub makes itself."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hub.contract import HubConfig
from hub.crypto import CryptoError, load_sm2_private, load_sm2_public, provider, software
from hub.errors import HubError
from hub.i18n import t
from hub.keys.model import Key, Kind, State
from hub.keys.opened import folder_of, key_store, key_store_exists, master_source
from hub.keys.orders import Orders
from hub.keys.store import KeyStore

__all__ = ["KEY", "Signature", "Signer", "Verifier"]

#: Name and purpose of the key.
KEY = "audit"


@dataclass(frozen=True, slots=True)
class Signature:
    """``key`` is NAME@VERSION; ``public`` x ‖ y in hex; ``value`` the DER signature in base64. Empty: not signed."""

    key: str = ""
    public: str = ""
    value: str = ""

    def as_dict(self) -> dict[str, str]:
        return {"key": self.key, "public": self.public, "signature": self.value}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Signature:
        """From what :meth:`as_dict` gave, or somebody made of it."""
        texts = [data.get(name) for name in ("key", "public", "signature")]
        return cls(*(text if isinstance(text, str) else "" for text in texts))


class Signer:
    """Signs with the key's active version; a rotated key is used from the next signature on."""

    def __init__(self, config: HubConfig, base: Path) -> None:
        self._config = config.keys
        self._base = base
        self.trouble: str = self._none()

    @staticmethod
    def _none() -> str:
        return t(
            "there is no key store: the audit trail is not signed -> hub keys init",
            "没有密钥库：审计记录未签名 -> hub keys init",
        )

    def prepare(self) -> None:
        """Make the key where it is missing; that is an entry in the key store's own chain, and the next checkpoint has it."""
        if key_store_exists(self._config, self._base):
            with suppress(HubError):  # signing says why
                _make_key(key_store(self._config, self._base))

    def sign(self, text: bytes) -> Signature:
        """The signature, or an empty one and the reason in :attr:`trouble`: an unsigned record is better than none."""
        if not key_store_exists(self._config, self._base):
            self.trouble = self._none()
            return Signature()
        try:
            store = key_store(self._config, self._base)
            _make_key(store)
            found = store.handle(KEY, purpose=KEY).current()
            private = load_sm2_private(found.secret)
            value = provider().sm2_sign(private, text)
            public = load_sm2_public(found.public)
        except HubError as error:
            self.trouble = t(f"the audit trail is not signed: {error.text}", f"审计记录未签名：{error.text}")
            return Signature()
        self.trouble = ""
        return Signature(f"{KEY}@{found.version}", bytes(public.point).hex(), base64.b64encode(value).decode())


def _make_key(store: KeyStore) -> None:
    """Unless there is one. It changes by itself, and what old versions have signed can be verified for ever."""
    if KEY in store.content.keys:
        return
    policy = replace(store.usual, rotation="auto", overlap_days=None, expired="alert")
    try:
        Orders(store, actor="hub").generate(KEY, Kind.SM2, KEY, policy=policy)
    except HubError as error:
        if error.code != "keys.exists":  # another process was quicker
            raise


@dataclass(slots=True)
class Verifier:
    """Whose signatures count. ``known`` is NAME@VERSION -> x ‖ y in hex; None: nobody says, so a signature proves nothing about who."""

    known: dict[str, str] | None = None
    revoked: set[str] = field(default_factory=set)
    trouble: str = ""

    @classmethod
    def of(cls, config: HubConfig, base: Path) -> Verifier:
        """The public keys in the key store of a configuration."""
        if not key_store_exists(config.keys, base):
            return cls()
        try:
            with KeyStore(folder_of(config.keys, base), master_source(config.keys.master, base)) as store:
                content = store.content
                return cls.from_versions(content.keys.get(KEY), content.versions.get(KEY, {}))
        except HubError as error:
            return cls(trouble=t(f"signatures can't be verified: {error.text}", f"无法验证签名：{error.text}"))

    @classmethod
    def from_versions(cls, key: Key | None, versions: Mapping[int, Any]) -> Verifier:
        known: dict[str, str] = {}
        revoked: set[str] = set()
        if key is not None and key.kind is Kind.SM2:
            for number, version in versions.items():
                known[f"{KEY}@{number}"] = bytes(load_sm2_public(version.public).point).hex()
                if version.state is State.REVOKED:
                    revoked.add(f"{KEY}@{number}")
        return cls(known, revoked)

    def problem(self, text: bytes, signature: Signature) -> str:
        """What is wrong with a signature; "" when nothing is."""
        if not signature.value:
            if self.known:
                return t("it is not signed, though there is a key", "有密钥却未签名")
            return ""
        if self.known is not None and self.known.get(signature.key) != signature.public:
            return t("it was signed with a key that is not the hub's", "签名所用的密钥不属于本枢纽")
        try:
            public = load_sm2_public(bytes.fromhex(signature.public))
            value = base64.b64decode(signature.value, validate=True)
            good = software().sm2_verify(public, text, value)
        except (CryptoError, ValueError, binascii.Error):
            good = False
        if not good:
            return t("its signature is wrong", "签名不正确")
        if signature.key in self.revoked:
            return t(f"it was signed with {signature.key}, which is revoked", f"签名密钥 {signature.key} 已吊销")
        return ""
