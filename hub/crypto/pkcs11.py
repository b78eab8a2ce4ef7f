"""Keys in a device with a PKCS#11 module: an HSM, a card, a token.

PKCS#11 has no mechanisms for SM2 and SM4; makers number their own, which stand in the configuration. What has none is not offered for keys
of the device. Keys in memory, hashes and public keys are dealt with by the provider in memory.

Modules are initialised for one thread at a time, so calls are made one after another, in one session that is opened again when
it was lost.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import pkcs11 as cryptoki
from pkcs11 import exceptions as device_errors
from pkcs11.attributes import AttributeMapper, handle_ulong

from hub.crypto import der
from hub.crypto.base import IN_MEMORY, Provider
from hub.crypto.config import Pkcs11Config
from hub.crypto.digests import Hash
from hub.crypto.errors import CryptoError, CryptoUnavailable, cannot_decrypt, not_offered
from hub.crypto.modes import Mode
from hub.crypto.sm2 import (
    Ciphertext,
    DeviceKey,
    Sm2PrivateKey,
    Sm2PublicKey,
    join_ciphertext,
    split_signature,
)
from hub.i18n import t
from hub.secrets import resolve

__all__ = ["DeviceMaster", "Pkcs11Provider"]

T = TypeVar("T")
_LOST = (
    device_errors.SessionHandleInvalid,
    device_errors.SessionClosed,
    device_errors.DeviceRemoved,
    device_errors.TokenNotPresent,
    device_errors.UserNotLoggedIn,
    device_errors.ObjectHandleInvalid,
    device_errors.KeyHandleInvalid,
)
_BUSY = (
    *_LOST,
    device_errors.DeviceError,
    device_errors.DeviceMemory,
    device_errors.HostMemory,
    device_errors.FunctionCancelled,
    device_errors.SessionCount,
    device_errors.NoSuchToken,
    device_errors.TokenNotRecognised,
)
_WRONG_PIN = (
    device_errors.PinIncorrect,
    device_errors.PinInvalid,
    device_errors.PinLenRange,
    device_errors.PinLocked,
    device_errors.PinExpired,
)
_SIGNING = {
    "rsa-sha1": cryptoki.Mechanism.SHA1_RSA_PKCS,
    "rsa-sha256": cryptoki.Mechanism.SHA256_RSA_PKCS,
    "rsa-pss-sha256": cryptoki.Mechanism.SHA256_RSA_PKCS_PSS,
    "ecdsa-sha256": cryptoki.Mechanism.ECDSA,
}
_PSS = (cryptoki.Mechanism.SHA256, cryptoki.MGF.SHA256, 32)
_NONCE, _TAG = 12, 16

Signing = Literal["rsa-sha1", "rsa-sha256", "rsa-pss-sha256", "ecdsa-sha256"]


class Pkcs11Provider(Provider):
    """Works with :class:`DeviceKey`; keys in memory are used by ``software``."""

    name: ClassVar[str] = "pkcs11"
    blocking: ClassVar[bool] = True

    def __init__(self, config: Pkcs11Config, base: Path, software: Provider) -> None:
        """The device is opened by the first operation, and a PIN it has refused is not offered to it again."""
        self._config = config
        self._base = base
        self._software = software
        self._lock = threading.Lock()
        self._session: cryptoki.Session | None = None
        self._keys: dict[tuple[str, cryptoki.ObjectClass], Any] = {}
        self._refused: CryptoError | None = None

    def operations(self) -> Mapping[str, str]:
        """``device`` only for what the device itself lists. Opens it; raises :class:`CryptoError`, :class:`CryptoUnavailable`."""
        listed = self._do(lambda session: set(map(int, session.token.slot.get_mechanisms())))
        offered = dict.fromkeys(IN_MEMORY, "memory")
        for name, number in self._config.mechanisms.items():
            if number in listed:
                offered["sm4" if name.startswith("sm4") else name] = "device"
        if int(cryptoki.Mechanism.AES_GCM) in listed:
            offered["wrap"] = "device"
        if listed & set(map(int, _SIGNING.values())):
            offered["sign"] = "device"
        return offered

    def close(self) -> None:
        with self._lock:
            self._drop()

    def sm3_hash(self, data: bytes = b"") -> Hash:
        return self._software.sm3_hash(data)

    def sign(self, key: DeviceKey, data: bytes, scheme: Signing) -> bytes:
        """Sign with an RSA or elliptic-curve key (PKCS#1 v1.5, PSS with 32 bytes of salt, ECDSA in DER)."""
        mechanism = _SIGNING[scheme]
        private = cryptoki.ObjectClass.PRIVATE_KEY
        if scheme == "ecdsa-sha256":
            signature = self._with(
                key, private, lambda one: one.sign(hashlib.sha256(data).digest(), mechanism=mechanism)
            )
            half = len(signature) // 2
            return der.sequence(*(der.integer(int.from_bytes(part)) for part in (signature[:half], signature[half:])))
        param = _PSS if scheme == "rsa-pss-sha256" else None
        return self._with(key, private, lambda one: bytes(one.sign(data, mechanism=mechanism, mechanism_param=param)))

    def wrap(self, key: DeviceKey, data: bytes, context: bytes = b"") -> bytes:
        """Encrypt a few bytes (a master key, a data key) with an AES key of the device: nonce ‖ AES-GCM ‖ tag."""
        nonce = secrets.token_bytes(_NONCE)
        param = cryptoki.GCMParams(nonce, context or None, _TAG * 8)
        return nonce + self._with(
            key,
            cryptoki.ObjectClass.SECRET_KEY,
            lambda one: bytes(one.encrypt(data, mechanism=cryptoki.Mechanism.AES_GCM, mechanism_param=param)),
        )

    def unwrap(self, key: DeviceKey, data: bytes, context: bytes = b"") -> bytes:
        """The reverse of :meth:`wrap`; raises :class:`CryptoError`, with one text whatever is wrong with the data."""
        if len(data) < _NONCE + _TAG:
            raise cannot_decrypt()
        param = cryptoki.GCMParams(data[:_NONCE], context or None, _TAG * 8)
        return self._with(
            key,
            cryptoki.ObjectClass.SECRET_KEY,
            lambda one: bytes(one.decrypt(data[_NONCE:], mechanism=cryptoki.Mechanism.AES_GCM, mechanism_param=param)),
            decrypting=True,
        )

    def _sm2_sign(self, private: Sm2PrivateKey | DeviceKey, digest: bytes) -> tuple[int, int]:
        if not isinstance(private, DeviceKey):
            return self._software._sm2_sign(private, digest)
        mechanism = self._mechanism("sm2_sign")
        signature = self._with(
            private, cryptoki.ObjectClass.PRIVATE_KEY, lambda key: bytes(key.sign(digest, mechanism=mechanism))
        )
        parts = split_signature(signature, "raw" if len(signature) == 64 else "der")
        if parts is None or (private.public is not None and not self._sm2_verify(private.public, digest, *parts)):
            raise CryptoError(
                t("the device made no SM2 signature of the declared key", "设备签名与声明的公钥不符"),
                code="crypto.pkcs11",
                remedy=t(
                    "check mechanisms.sm2_sign, the key's label and its public key",
                    "请检查 mechanisms.sm2_sign、密钥标签与公钥",
                ),
            )
        return parts

    def _sm2_decrypt(self, private: Sm2PrivateKey | DeviceKey, parts: Ciphertext) -> bytes:
        if not isinstance(private, DeviceKey):
            return self._software._sm2_decrypt(private, parts)
        mechanism = self._mechanism("sm2_decrypt")
        data = join_ciphertext(parts, "c1c3c2", "der" if self._config.sm2_ciphertext == "der" else "raw")
        if self._config.sm2_ciphertext == "raw":
            data = data[1:]
        private_key = cryptoki.ObjectClass.PRIVATE_KEY
        return self._with(
            private, private_key, lambda key: bytes(key.decrypt(data, mechanism=mechanism)), decrypting=True
        )

    def _sm4(self, key: bytes | DeviceKey, data: bytes, mode: Mode, iv: bytes, aad: bytes, *, encrypt: bool) -> bytes:
        if not isinstance(key, DeviceKey):
            return self._software._sm4(key, data, mode, iv, aad, encrypt=encrypt)
        options: dict[str, Any] = {"mechanism": self._mechanism(f"sm4_{mode}"), "mechanism_param": iv or None}
        secret = cryptoki.ObjectClass.SECRET_KEY
        if encrypt:
            return self._with(key, secret, lambda one: bytes(one.encrypt(data, **options)))
        return self._with(key, secret, lambda one: bytes(one.decrypt(data, **options)), decrypting=True)

    def _sm2_verify(self, public: Sm2PublicKey, digest: bytes, r: int, s: int) -> bool:
        return self._software._sm2_verify(public, digest, r, s)

    def _sm2_encrypt(self, public: Sm2PublicKey, data: bytes) -> Ciphertext:
        return self._software._sm2_encrypt(public, data)

    def _mechanism(self, operation: str) -> cryptoki.Mechanism:
        number = dict(self._config.mechanisms).get(operation)  # type: ignore[call-overload]
        if number is None:
            raise not_offered(self.name, operation)
        try:
            return cryptoki.Mechanism(number)
        except ValueError:  # a maker's own: the library wants a member of its enumeration, and passes the number on
            member = int.__new__(cryptoki.Mechanism, number)
            member._name_, member._value_ = f"VENDOR_{number:#x}", number
            return member

    def _with(
        self, key: DeviceKey, kind: cryptoki.ObjectClass, use: Callable[[Any], T], *, decrypting: bool = False
    ) -> T:
        looked = False

        def run(session: cryptoki.Session) -> T:
            nonlocal looked
            found = self._keys.get((key.label, kind))
            if found is None:
                label = {cryptoki.Attribute.CLASS: kind, cryptoki.Attribute.LABEL: key.label}
                several = list(session.get_objects(label))
                if not several and not looked:
                    # Whoever else closes a session of this process logs all of them out, and private keys are hidden then.
                    looked = True
                    raise device_errors.UserNotLoggedIn
                if len(several) != 1:
                    raise CryptoError(
                        t("the device has no key, or several, with this label", "设备中没有或有多个该标签的密钥"),
                        code="crypto.pkcs11",
                    )
                found = self._keys[key.label, kind] = several[0]
            return use(found)

        return self._do(run, decrypting=decrypting)

    def _do(self, run: Callable[[cryptoki.Session], T], *, decrypting: bool = False) -> T:
        with self._lock:
            try:
                try:
                    return run(self._opened())
                except _LOST:  # a restarted device: once more, in a new session
                    self._drop()
                    return run(self._opened())
            except device_errors.PKCS11Error as error:
                raise self._told(error, decrypting=decrypting) from None
            except (AttributeError, NotImplementedError):  # the key's own attributes forbid this use
                raise not_offered(self.name, t("this use of the key", "该密钥的此种用途")) from None

    def _opened(self) -> cryptoki.Session:
        if self._refused is not None:
            raise self._refused
        if self._session is None:
            try:
                self._session = self._open()
            except device_errors.PKCS11Error as error:
                raise self._told(error, decrypting=False) from None
        return self._session

    def _open(self) -> cryptoki.Session:
        mapper = AttributeMapper()
        mapper.register_handler(cryptoki.Attribute.KEY_TYPE, *handle_ulong)  # makers' own are in no enumeration
        pin = resolve(self._config.pin, self._base).reveal()
        module = cryptoki.lib(str(self._base / self._config.module))
        token = module.get_token(token_label=self._config.token)
        try:
            return token.open(user_pin=pin, attribute_mapper=mapper)
        except device_errors.UserAlreadyLoggedIn:  # a process logs in once, for all its sessions
            return token.open(attribute_mapper=mapper)

    def _drop(self) -> None:
        self._keys.clear()
        session, self._session = self._session, None
        if session is not None:
            try:
                session.close()
            except device_errors.PKCS11Error:
                return

    def _told(self, error: device_errors.PKCS11Error, *, decrypting: bool) -> CryptoError:
        name = type(error).__name__
        if isinstance(error, _WRONG_PIN):
            # A device locks itself after a few wrong PINs: never offer this one again.
            self._refused = CryptoError(
                t(f"the device refuses the PIN ({name})", f"设备拒绝 PIN（{name}）"),
                code="crypto.pin",
                remedy=t(
                    "correct security.crypto.pkcs11.pin and restart the hub", "请更正 security.crypto.pkcs11.pin 后重启"
                ),
            )
            return self._refused
        if isinstance(error, _BUSY):
            self._drop()
            return CryptoUnavailable(t(f"the device can't be used now ({name})", f"设备当前不可用（{name}）"))
        if decrypting:
            return cannot_decrypt()
        return CryptoError(t(f"the device refuses ({name})", f"设备拒绝（{name}）"), code="crypto.pkcs11")


class DeviceMaster:
    """An AES key of the device as the key store's master key (:class:`hub.keys.master.MasterKey`): it never leaves the device."""

    def __init__(self, provider: Pkcs11Provider, label: str) -> None:
        self._provider = provider
        self._key = DeviceKey(label)
        self.id = f"pkcs11:{label}"

    def wrap(self, data: bytes, cipher: str) -> bytes:
        """Wrap the root key; the device's cipher is AES-GCM, whichever the store's is."""
        return self._provider.wrap(self._key, data, self.id.encode())

    def unwrap(self, data: bytes) -> bytes:
        return self._provider.unwrap(self._key, data, self.id.encode())
