"""One interface to national cryptography, whoever does the work: OpenSSL, gmssl, a device or a signature server.

Everything on which two implementations could differ is done here, once: user ids and Z, forms and orders, paddings, checks of
what came from outside. A provider only supplies the primitives at the end of :class:`Provider`.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from hub.crypto import curve
from hub.crypto.digests import Hash
from hub.crypto.errors import CryptoError, not_offered
from hub.crypto.modes import Mode, check_options, check_size
from hub.crypto.padding import BLOCK, Padding, pad, unpad
from hub.crypto.sm2 import (
    DEFAULT_USER_ID,
    Ciphertext,
    DeviceKey,
    Form,
    Order,
    Sm2PrivateKey,
    Sm2PublicKey,
    identity,
    join_ciphertext,
    join_signature,
    split_ciphertext,
    split_signature,
)
from hub.i18n import t

__all__ = ["IN_MEMORY", "OPERATIONS", "Provider"]


#: What every provider offers with keys in memory, and what devices may offer besides.
IN_MEMORY = ("sm2_sign", "sm2_verify", "sm2_encrypt", "sm2_decrypt", "sm3", "sm4")
OPERATIONS = (*IN_MEMORY, "wrap", "sign")

_MOST_IDENTITIES = 16  # user ids whose hash is kept with a key; most keys are used with one
_MOST_KDF = (1 << 32) - 2  # blocks (GB/T 32918.3, 5.4.3)


class Provider(ABC):
    """SM2, SM3 and SM4. Safe to use from several threads at once."""

    name: ClassVar[str]
    #: True when calls may wait for a device or the network: call it from a thread, not on the event loop.
    blocking: ClassVar[bool] = False

    def operations(self) -> Mapping[str, str]:
        """What is offered (:data:`OPERATIONS`) and where it is done: ``memory``, ``device`` or ``server``."""
        return dict.fromkeys(IN_MEMORY, "memory")

    # SM3 (GB/T 32905-2016)

    @abstractmethod
    def sm3_hash(self, data: bytes = b"") -> Hash:
        """A running hash that has absorbed ``data``."""

    def sm3(self, data: bytes) -> bytes:
        """The hash of some bytes, 32 bytes."""
        return self.sm3_hash(data).digest()

    def hmac_sm3(self, key: bytes, data: bytes) -> bytes:
        """HMAC with SM3 (RFC 2104, GB/T 15852.2), 32 bytes."""
        if len(key) > 64:
            key = self.sm3(key)
        key = key.ljust(64, b"\0")
        inner = self.sm3(bytes(byte ^ 0x36 for byte in key) + data)
        return self.sm3(bytes(byte ^ 0x5C for byte in key) + inner)

    def sm3_kdf(self, secret: bytes, length: int) -> bytes:
        """Key derivation of SM2 (GB/T 32918.3, 5.4.3): SM3(secret ‖ counter) until there are ``length`` bytes."""
        if not 0 <= length <= _MOST_KDF * 32:
            raise CryptoError(t("no key of this length can be derived", "无法派生该长度的密钥"), code="crypto.option")
        start = self.sm3_hash(secret)
        out = bytearray()
        for counter in range(1, (length + 31) // 32 + 1):
            step = start.copy()
            step.update(counter.to_bytes(4))
            out += step.digest()
        return bytes(out[:length])

    # SM4 (GB/T 32907-2016, modes GB/T 17964)

    def sm4_encrypt(
        self,
        key: bytes | DeviceKey,
        data: bytes,
        *,
        mode: Mode = "cbc",
        iv: bytes = b"",
        padding: Padding = "pkcs7",
        aad: bytes = b"",
    ) -> bytes:
        """Encrypt ``data`` with a key of 16 bytes. Raises :class:`CryptoError`.

        ``iv``: none for ``ecb``, 16 bytes for ``cbc`` and ``ctr``, 12 (8 to 128) for ``gcm``, where none may ever be used twice
        with a key. ``padding`` is for ``ecb`` and ``cbc``; ``zero`` adds nothing to whole blocks. ``gcm`` gives ciphertext ‖
        tag of 16 bytes over it and ``aad``.
        """
        _check_key(key)
        check_options(mode, iv, padding, aad)
        if mode in ("ecb", "cbc"):
            data = pad(data, padding)
        return self._sm4(key, data, mode, iv, aad, encrypt=True)

    def sm4_decrypt(
        self,
        key: bytes | DeviceKey,
        data: bytes,
        *,
        mode: Mode = "cbc",
        iv: bytes = b"",
        padding: Padding = "pkcs7",
        aad: bytes = b"",
    ) -> bytes:
        """The reverse of :meth:`sm4_encrypt`; ``zero`` cuts all zeros at the end, also those of the data.

        Raises :class:`CryptoError`, with one text whatever is wrong with the data.
        """
        _check_key(key)
        check_options(mode, iv, padding, aad)
        check_size(data, mode, padding)
        plain = self._sm4(key, data, mode, iv, aad, encrypt=False)
        return unpad(plain, padding) if mode in ("ecb", "cbc") else plain

    # SM2 (GB/T 32918-2016)

    def sm2_generate(self) -> Sm2PrivateKey:
        """A new key pair, 1 ≤ d ≤ n - 2, from the system's random source."""
        return Sm2PrivateKey((secrets.randbelow(curve.N - 2) + 1).to_bytes(32))

    def sm2_sign(
        self,
        private: Sm2PrivateKey | DeviceKey,
        data: bytes,
        *,
        user_id: bytes = DEFAULT_USER_ID,
        form: Form = "der",
    ) -> bytes:
        """Sign ``data`` (SM3withSM2 with Z of ``user_id``). Raises :class:`CryptoError`, :class:`CryptoUnavailable`."""
        if private.public is None:
            raise CryptoError(
                t(
                    "signing with a user id needs the public key of the device's key",
                    "带用户标识签名需要设备密钥的公钥",
                ),
                code="crypto.option",
            )
        return self.sm2_sign_digest(private, self._digest(private.public, user_id, data), form=form)

    def sm2_verify(
        self,
        public: Sm2PublicKey,
        data: bytes,
        signature: bytes,
        *,
        user_id: bytes = DEFAULT_USER_ID,
        form: Form = "der",
    ) -> bool:
        """Is it the signature of ``data``? False for whatever is no signature at all."""
        parts = split_signature(signature, form)
        return parts is not None and self._sm2_verify(public, self._digest(public, user_id, data), *parts)

    def sm2_sign_digest(self, private: Sm2PrivateKey | DeviceKey, digest: bytes, *, form: Form = "der") -> bytes:
        """Sign an e of 32 bytes that the caller has computed: SM3(Z ‖ data), or a plain SM3 where a party wants it without Z."""
        return join_signature(*self._sm2_sign(private, _digest32(digest)), form)

    def sm2_verify_digest(self, public: Sm2PublicKey, digest: bytes, signature: bytes, *, form: Form = "der") -> bool:
        """Is it the signature of this e of 32 bytes?"""
        parts = split_signature(signature, form)
        return parts is not None and self._sm2_verify(public, _digest32(digest), *parts)

    def sm2_encrypt(self, public: Sm2PublicKey, data: bytes, *, order: Order = "c1c3c2", form: Form = "raw") -> bytes:
        """Encrypt at least one byte (GB/T 32918.4). ``raw`` begins with 04; ``order`` does not apply to ``der``."""
        if not data:
            raise CryptoError(t("SM2 can't encrypt nothing: no data", "SM2 无法加密空数据"), code="crypto.option")
        while True:
            parts = self._sm2_encrypt(public, data)
            # A key stream of zeros would send the data as it is: the standard asks for another random number then.
            if parts[2] != data:
                return join_ciphertext(parts, order, form)

    def sm2_decrypt(
        self,
        private: Sm2PrivateKey | DeviceKey,
        data: bytes,
        *,
        order: Order = "c1c3c2",
        form: Form = "raw",
    ) -> bytes:
        """The reverse of :meth:`sm2_encrypt`; a ``raw`` ciphertext may lack the leading 04.

        Raises :class:`CryptoError`, with one text whatever is wrong with the data.
        """
        return self._sm2_decrypt(private, split_ciphertext(data, order, form))

    def _digest(self, public: Sm2PublicKey, user_id: bytes, data: bytes) -> bytes:
        """e = SM3(Z ‖ data); the hash that has absorbed Z is kept with the key."""
        kept = public.handles.get("identity")
        if kept is None:
            kept = public.handles.setdefault("identity", {})
        start = kept.get((self.name, user_id))
        if start is None:
            start = self.sm3_hash(self.sm3(identity(public, user_id)))
            if len(kept) >= _MOST_IDENTITIES:  # user ids taken from messages must not fill the memory
                kept.clear()
            kept[self.name, user_id] = start
        running: Hash = start.copy()
        running.update(data)
        return running.digest()

    # What a provider supplies. Arguments are checked.

    @abstractmethod
    def _sm4(self, key: bytes | DeviceKey, data: bytes, mode: Mode, iv: bytes, aad: bytes, *, encrypt: bool) -> bytes:
        """``ecb`` and ``cbc``: whole blocks, not padded. ``gcm``: tag at the end, checked when decrypting."""

    @abstractmethod
    def _sm2_sign(self, private: Sm2PrivateKey | DeviceKey, digest: bytes) -> tuple[int, int]: ...

    @abstractmethod
    def _sm2_verify(self, public: Sm2PublicKey, digest: bytes, r: int, s: int) -> bool: ...

    @abstractmethod
    def _sm2_encrypt(self, public: Sm2PublicKey, data: bytes) -> Ciphertext: ...

    @abstractmethod
    def _sm2_decrypt(self, private: Sm2PrivateKey | DeviceKey, parts: Ciphertext) -> bytes:
        """Checks C3; raises :func:`cannot_decrypt`."""

    def in_memory(self, private: Sm2PrivateKey | DeviceKey) -> Sm2PrivateKey:
        """The key itself; raises :class:`CryptoError` for one that is in a device."""
        if isinstance(private, DeviceKey):
            raise not_offered(self.name, t("keys of a device", "设备内密钥"))
        return private

    def key_bytes(self, key: bytes | DeviceKey) -> bytes:
        if isinstance(key, DeviceKey):
            raise not_offered(self.name, t("keys of a device", "设备内密钥"))
        return key


def _digest32(digest: bytes) -> bytes:
    if len(digest) != 32:
        raise CryptoError(t("a digest to sign has 32 bytes", "待签摘要应为 32 字节"), code="crypto.option")
    return digest


def _check_key(key: bytes | DeviceKey) -> None:
    if not isinstance(key, DeviceKey) and len(key) != BLOCK:
        raise CryptoError(t("an SM4 key has 16 bytes", "SM4 密钥应为 16 字节"), code="crypto.option")
