"""Signing and checking with whatever key an algorithm takes: MACs, plain digests over a text with the secret, SM2, RSA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from pydantic import Field, SecretStr

from hub.crypto import DEFAULT_USER_ID, load_sm2_private, load_sm2_public, provider
from hub.crypto.classic import (
    DigestName,
    RsaScheme,
    digest,
    hmac_digest,
    load_rsa_private,
    load_rsa_public,
    rsa_sign,
    rsa_verify,
    same,
)
from hub.errors import HubError
from hub.i18n import t
from hub.security.errors import no_key
from hub.security.scheme import SchemeOptions

__all__ = ["Algorithm", "KeyOptions", "Signer", "signer"]

Algorithm = Literal[
    "hmac-sha256",
    "hmac-sm3",
    "hmac-sha1",
    "hmac-sha512",
    "hmac-md5",
    "sm2",
    "sm2-plain-digest",
    "rsa-sha256",
    "rsa-sha1",
    "rsa-pss-sha256",
    "sm3",
    "sha256",
    "sha512",
    "sha1",
    "md5",
]
_RSA: dict[str, RsaScheme] = {
    "rsa-sha256": "pkcs1-sha256",
    "rsa-sha1": "pkcs1-sha1",
    "rsa-pss-sha256": "pss-sha256",
}
_DIGESTS: dict[str, DigestName] = {"sm3": "sm3", "sha256": "sha256", "sha512": "sha512", "sha1": "sha1", "md5": "md5"}


class KeyOptions(SchemeOptions):
    """An algorithm and the keys it needs."""

    algorithm: Algorithm = Field(
        "hmac-sha256",
        description="sm2: SM3withSM2 with user id; sm2-plain-digest: e is a plain SM3, as some parties sign; "
        "a digest alone (sm3, md5 …) needs {secret} in the text",
    )
    secret: SecretStr = Field(SecretStr(""), description="what both sides know: hmac and digests")
    earlier: list[SecretStr] = Field(
        default_factory=list,
        description="secrets or public keys of the other side that are still accepted after a change",
    )
    private: SecretStr = Field(
        SecretStr(""), description="our private key (sm2, rsa): PEM, hex or base64; signs what leaves"
    )
    password: SecretStr = Field(SecretStr(""), description="of ``private``, where it is encrypted")
    public: SecretStr = Field(
        SecretStr(""), description="public key or certificate of the other side (sm2, rsa); checks what comes"
    )
    user_id: str = Field(DEFAULT_USER_ID.decode(), description="sm2: user id both sides agreed")
    form: Literal["der", "raw"] = Field("der", description="sm2: ASN.1, or r and s, 32 bytes each")

    @property
    def keyless(self) -> bool:
        """Is it a plain digest, in whose text the secret has to stand?"""
        return self.algorithm in _DIGESTS


class Signer(Protocol):
    """``text`` holds the secret already where the algorithm is a plain digest."""

    def sign(self, text: bytes) -> bytes: ...

    def verify(self, text: bytes, signature: bytes) -> bool: ...


class _Mac:
    def __init__(self, options: KeyOptions) -> None:
        self._name: DigestName = _DIGESTS[options.algorithm.removeprefix("hmac-")]
        given = options.secret.get_secret_value()
        if not given:
            raise HubError(t("hmac needs a secret", "hmac 需要 secret"), remedy=t("add secret", "请添加 secret"))
        self._secrets = [given.encode(), *(each.get_secret_value().encode() for each in options.earlier)]

    def sign(self, text: bytes) -> bytes:
        return hmac_digest(self._name, self._secrets[0], text)

    def verify(self, text: bytes, signature: bytes) -> bool:
        found = [same(hmac_digest(self._name, secret, text), signature) for secret in self._secrets]
        return any(found)


class _Digest:
    def __init__(self, options: KeyOptions) -> None:
        self._name = _DIGESTS[options.algorithm]

    def sign(self, text: bytes) -> bytes:
        return digest(self._name, text)

    def verify(self, text: bytes, signature: bytes) -> bool:
        return same(digest(self._name, text), signature)


class _Sm2:
    def __init__(self, options: KeyOptions) -> None:
        self._user = options.user_id.encode()
        self._form = options.form
        self._plain = options.algorithm == "sm2-plain-digest"
        private, password = options.private.get_secret_value(), options.password.get_secret_value()
        self._private = load_sm2_private(private, password or None) if private else None
        self._publics = [load_sm2_public(text) for text in _publics(options)]

    def sign(self, text: bytes) -> bytes:
        if self._private is None:
            raise no_key("private")
        if self._plain:
            return provider().sm2_sign_digest(self._private, provider().sm3(text), form=self._form)
        return provider().sm2_sign(self._private, text, user_id=self._user, form=self._form)

    def verify(self, text: bytes, signature: bytes) -> bool:
        make = provider()
        if self._plain:
            e = make.sm3(text)
            return any(make.sm2_verify_digest(public, e, signature, form=self._form) for public in self._publics)
        return any(
            make.sm2_verify(public, text, signature, user_id=self._user, form=self._form) for public in self._publics
        )


class _Rsa:
    def __init__(self, options: KeyOptions) -> None:
        self._scheme = _RSA[options.algorithm]
        private, password = options.private.get_secret_value(), options.password.get_secret_value()
        self._private = load_rsa_private(private, password or None) if private else None
        self._publics = [load_rsa_public(text) for text in _publics(options)]

    def sign(self, text: bytes) -> bytes:
        if self._private is None:
            raise no_key("private")
        return rsa_sign(self._private, text, self._scheme)

    def verify(self, text: bytes, signature: bytes) -> bool:
        return any(rsa_verify(public, text, signature, self._scheme) for public in self._publics)


def signer(options: KeyOptions) -> Signer:
    """What signs and checks by these options. Raises :class:`HubError` for keys that can't be read."""
    if options.algorithm.startswith("hmac-"):
        return _Mac(options)
    if options.algorithm in _RSA:
        return _Rsa(options)
    if options.algorithm in _DIGESTS:
        return _Digest(options)
    return _Sm2(options)


def _publics(options: KeyOptions) -> Sequence[str]:
    given = [options.public.get_secret_value(), *(each.get_secret_value() for each in options.earlier)]
    return [text for text in given if text]
