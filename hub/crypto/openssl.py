"""The fast provider: SM2 by the OpenSSL of this process, SM3 by hashlib, SM4 by ``cryptography``."""

from __future__ import annotations

from typing import ClassVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.algorithms import SM4

from hub.crypto import digests, libcrypto, modes
from hub.crypto.base import Provider
from hub.crypto.errors import CryptoError, cannot_decrypt
from hub.crypto.modes import Mode
from hub.crypto.sm2 import (
    Ciphertext,
    DeviceKey,
    Sm2PrivateKey,
    Sm2PublicKey,
    join_ciphertext,
    join_signature,
    split_ciphertext,
    split_signature,
)
from hub.i18n import t

__all__ = ["OpenSslProvider"]


class OpenSslProvider(Provider):
    """Raises :class:`CryptoError` when no OpenSSL on this machine does SM2."""

    name: ClassVar[str] = "openssl"

    def __init__(self, path: str = "") -> None:
        """``path``: a certain libcrypto (that of Tongsuo, say) instead of the one Python runs on."""
        for library in libcrypto.load(path):
            self._library = library
            try:
                self._try_out()
            except (CryptoError, UnsupportedAlgorithm):
                continue
            return
        raise CryptoError(
            t("no OpenSSL 3 with SM2 was found", "未找到支持 SM2 的 OpenSSL 3") + (f" ({path})" if path else ""),
            code="crypto.openssl",
            remedy=t(
                "install OpenSSL 3 with SM2, name its libcrypto in security.crypto.libcrypto, or install gmssl (slow)",
                "请安装支持 SM2 的 OpenSSL 3，在 security.crypto.libcrypto 中指定其 libcrypto，或安装 gmssl（较慢）",
            ),
        )

    def sm3_hash(self, data: bytes = b"") -> digests.Hash:
        return digests.sm3_hash(data)

    def sm3(self, data: bytes) -> bytes:
        return digests.sm3(data)

    def hmac_sm3(self, key: bytes, data: bytes) -> bytes:
        return digests.hmac_sm3(key, data)

    def _sm4(self, key: bytes | DeviceKey, data: bytes, mode: Mode, iv: bytes, aad: bytes, *, encrypt: bool) -> bytes:
        return modes.run(SM4(self.key_bytes(key)), data, mode, iv, aad, encrypt=encrypt)

    def _sm2_sign(self, private: Sm2PrivateKey | DeviceKey, digest: bytes) -> tuple[int, int]:
        parts = split_signature(self._private(private).sign(digest), "der")
        if parts is None:
            raise CryptoError(t("OpenSSL made no SM2 signature", "OpenSSL 未生成 SM2 签名"))
        return parts

    def _sm2_verify(self, public: Sm2PublicKey, digest: bytes, r: int, s: int) -> bool:
        return self._public(public).verify(digest, join_signature(r, s, "der"))

    def _sm2_encrypt(self, public: Sm2PublicKey, data: bytes) -> Ciphertext:
        return split_ciphertext(self._public(public).encrypt(data), "c1c3c2", "der")

    def _sm2_decrypt(self, private: Sm2PrivateKey | DeviceKey, parts: Ciphertext) -> bytes:
        key = self._private(private)
        try:
            return key.decrypt(join_ciphertext(parts, "c1c3c2", "der"))
        except CryptoError:
            raise cannot_decrypt() from None

    def _public(self, key: Sm2PublicKey) -> libcrypto.Key:
        handle: libcrypto.Key | None = key.handles.get("openssl")
        if handle is None or handle.library is not self._library:
            handle = key.handles["openssl"] = libcrypto.Key(self._library, key.point)
        return handle

    def _private(self, key: Sm2PrivateKey | DeviceKey) -> libcrypto.Key:
        own = self.in_memory(key)
        handle: libcrypto.Key | None = own.handles.get("openssl")
        if handle is None or handle.library is not self._library:
            handle = own.handles["openssl"] = libcrypto.Key(self._library, own.public.point, own.secret())
        return handle

    def _try_out(self) -> None:
        """Sign and verify, encrypt and decrypt once: whether all of it works is only known then."""
        key = self.sm2_generate()
        self.sm4_encrypt(bytes(16), b"tongqu", mode="ecb")
        wrapped = self.sm2_encrypt(key.public, self.sm3(b"tongqu"))
        signature = self.sm2_sign(key, b"tongqu")
        if not self.sm2_verify(key.public, b"tongqu", signature) or self.sm2_decrypt(key, wrapped) != self.sm3(
            b"tongqu"
        ):
            raise CryptoError(t("OpenSSL's SM2 does not work", "OpenSSL 的 SM2 不可用"))
