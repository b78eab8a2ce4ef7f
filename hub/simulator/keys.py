"""Keys of both sides: made when settings are invented, and found again by what the contract holds of them."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field
from typing import Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from hub.crypto import CryptoError, load_sm2_private, load_sm2_public, provider
from hub.crypto.classic import load_rsa_private, load_rsa_public
from hub.errors import HubError
from hub.i18n import t

__all__ = ["KeyBook", "KeyKind", "random_text"]

KeyKind = Literal["rsa", "sm2"]
_LETTERS = string.ascii_letters + string.digits
_RSA_BITS = 2048


def random_text(length: int = 32) -> str:
    """Letters and digits; for secrets that are invented."""
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


@dataclass(slots=True)
class KeyBook:
    """Private keys of the simulated party, by the public keys the contract holds of it."""

    _private: dict[tuple[KeyKind, bytes], str] = field(default_factory=dict, repr=False)

    def new_pair(self, kind: KeyKind) -> tuple[str, str]:
        """(private, public) as texts a setting takes; the private one is kept."""
        if kind == "sm2":
            key = provider().sm2_generate()
            private, public = key.secret().hex(), key.public.hex()
        else:
            made = rsa.generate_private_key(65537, _RSA_BITS)
            private = made.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode()
            public = _rsa_text(made.public_key())
        self.learn(kind, private)
        return private, public

    def learn(self, kind: KeyKind, private: str) -> None:
        """Know a private key of the simulated party. Raises :class:`HubError` when it can't be read."""
        self._private[kind, _identity(kind, public_of(kind, private))] = private

    def private_of(self, kind: KeyKind, public: str) -> str:
        """The private key of the simulated party to what the contract holds. Raises :class:`HubError` when it is not known."""
        found = self._private.get((kind, _identity(kind, public)))
        if found is None:
            raise HubError(
                t(
                    "the other party's private key is not known: only the party itself has it",
                    "不掌握对方的私钥：该私钥仅对方持有",
                ),
                code="simulate.private_key",
                remedy=t(
                    "leave the setting to the simulator, and give the system the public key it makes",
                    "请由模拟器生成该设置，并将其生成的公钥配置到系统",
                ),
            )
        return found


def public_of(kind: KeyKind, private: str, password: str = "") -> str:
    """The public key to a private one, as a text. Raises :class:`HubError`."""
    if kind == "sm2":
        key = load_sm2_private(private, password or None)
        return key.public.hex()
    return _rsa_text(load_rsa_private(private, password or None).public_key())


def _identity(kind: KeyKind, public: str) -> bytes:
    try:
        if kind == "sm2":
            return load_sm2_public(public).point
        return load_rsa_public(public).public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    except CryptoError:
        raise HubError(
            t("the other party's public key can't be read", "无法读取对方的公钥"), code="simulate.key"
        ) from None


def _rsa_text(key: rsa.RSAPublicKey) -> str:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
