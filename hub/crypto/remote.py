"""Keys on a signature server (签名验签服务器), asked by HTTP with JSON.

Every maker has its own interface. What is assumed of one is in the configuration: a POST with a JSON body built from a template, a
reply with a code and a result (:class:`hub.crypto.config.RemoteOperation`). What needs no private key is done in memory.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError

from hub.crypto.base import IN_MEMORY, Provider
from hub.crypto.config import RemoteConfig, RemoteOperation, filled, placeholders
from hub.crypto.digests import Hash
from hub.crypto.errors import CryptoError, CryptoUnavailable, cannot_decrypt, not_offered
from hub.crypto.modes import Mode
from hub.crypto.sm2 import (
    DEFAULT_USER_ID,
    Ciphertext,
    DeviceKey,
    Form,
    Sm2PrivateKey,
    Sm2PublicKey,
    join_ciphertext,
    join_signature,
    split_signature,
)
from hub.i18n import t
from hub.secrets import resolve

__all__ = ["RemoteProvider"]

_MOST_REPLY = 1 << 20
_CODE = re.compile(r"[\w.:-]{1,40}")


class RemoteProvider(Provider):
    """Signs and decrypts with a :class:`DeviceKey`; keys in memory are used by ``software``."""

    name: ClassVar[str] = "remote"
    blocking: ClassVar[bool] = True

    def __init__(self, config: RemoteConfig, base: Path, software: Provider) -> None:
        """Connects to nothing yet. Raises :class:`HubError` for a secret or certificate that can't be read."""
        self._config = config
        self._software = software
        url = urllib3.util.parse_url(config.url)
        self._prefix = (url.path or "").rstrip("/")
        secrets = {name: resolve(reference, base).reveal() for name, reference in config.headers.items()}
        self._headers = {**secrets, "Content-Type": "application/json", "Accept": "application/json"}
        options: dict[str, Any] = {"maxsize": config.connections, "block": True, "timeout": config.timeout}
        if url.scheme == "https":
            options["ssl_context"] = _tls(config, base)
            self._pool: urllib3.HTTPConnectionPool = urllib3.HTTPSConnectionPool(url.host or "", url.port, **options)
        else:
            self._pool = urllib3.HTTPConnectionPool(url.host or "", url.port, **options)

    def operations(self) -> Mapping[str, str]:
        offered = dict.fromkeys(IN_MEMORY, "memory")
        for name in ("sm2_sign", "sm2_decrypt"):
            if getattr(self._config, name) is not None:
                offered[name] = "server"
        return offered

    def close(self) -> None:
        self._pool.close()

    def sm3_hash(self, data: bytes = b"") -> Hash:
        return self._software.sm3_hash(data)

    def sm2_sign(
        self,
        private: Sm2PrivateKey | DeviceKey,
        data: bytes,
        *,
        user_id: bytes = DEFAULT_USER_ID,
        form: Form = "der",
    ) -> bytes:
        """As the base says; a server whose template takes the data computes Z itself, and is told the user id."""
        operation = self._config.sm2_sign
        if not isinstance(private, DeviceKey) or operation is None or _takes_digest(operation):
            return super().sm2_sign(private, data, user_id=user_id, form=form)
        values = {**_both("data", data), "user_id": user_id.decode(errors="replace"), "user_id_hex": user_id.hex()}
        signature = self._signature(operation, private, values)
        if private.public is not None and not self.sm2_verify(
            private.public, data, join_signature(*signature, "raw"), user_id=user_id, form="raw"
        ):
            raise _another_key()
        return join_signature(*signature, form)

    def _sm2_sign(self, private: Sm2PrivateKey | DeviceKey, digest: bytes) -> tuple[int, int]:
        if not isinstance(private, DeviceKey):
            return self._software._sm2_sign(private, digest)
        operation = self._config.sm2_sign
        if operation is None or not _takes_digest(operation):
            raise not_offered(self.name, "sm2_sign")
        signature = self._signature(operation, private, _both("digest", digest))
        if private.public is not None and not self._sm2_verify(private.public, digest, *signature):
            raise _another_key()
        return signature

    def _sm2_decrypt(self, private: Sm2PrivateKey | DeviceKey, parts: Ciphertext) -> bytes:
        if not isinstance(private, DeviceKey):
            return self._software._sm2_decrypt(private, parts)
        operation = self._config.sm2_decrypt
        if operation is None:
            raise not_offered(self.name, "sm2_decrypt")
        sent = join_ciphertext(parts, operation.order, operation.form)
        data = self._ask(operation, private, _both("data", sent))
        if len(data) != len(parts[2]):
            raise cannot_decrypt()
        return data

    def _sm4(self, key: bytes | DeviceKey, data: bytes, mode: Mode, iv: bytes, aad: bytes, *, encrypt: bool) -> bytes:
        return self._software._sm4(self.key_bytes(key), data, mode, iv, aad, encrypt=encrypt)

    def _sm2_verify(self, public: Sm2PublicKey, digest: bytes, r: int, s: int) -> bool:
        return self._software._sm2_verify(public, digest, r, s)

    def _sm2_encrypt(self, public: Sm2PublicKey, data: bytes) -> Ciphertext:
        return self._software._sm2_encrypt(public, data)

    def _signature(self, operation: RemoteOperation, key: DeviceKey, values: dict[str, str]) -> tuple[int, int]:
        signature = split_signature(self._ask(operation, key, values), operation.form)
        if signature is None:
            raise _bad_reply(t("no SM2 signature of the configured form", "不是所配置形式的 SM2 签名"))
        return signature

    def _ask(self, operation: RemoteOperation, key: DeviceKey, values: dict[str, str]) -> bytes:
        body = json.dumps(filled(operation.body, {"key": key.label, **values}), ensure_ascii=False).encode()
        reply = self._call(self._prefix + operation.path, body)
        if operation.code:
            code = _text_at(reply, operation.code)
            if code not in map(str, operation.success):
                raise _refused(code, transient=code in map(str, operation.transient))
        result = _text_at(reply, operation.result)
        try:
            return bytes.fromhex(result) if operation.encoding == "hex" else base64.b64decode(result, validate=True)
        except (ValueError, binascii.Error):
            raise _bad_reply(
                t(f"{operation.result} is not {operation.encoding}", f"{operation.result} 不是 {operation.encoding}")
            ) from None

    def _call(self, path: str, body: bytes) -> Any:
        try:
            response = self._pool.urlopen(
                "POST",
                path,
                body=body,
                headers=self._headers,
                retries=False,
                redirect=False,
                preload_content=False,
                pool_timeout=math.ceil(self._config.timeout),
            )
            with response:
                status = response.status
                content = response.read(_MOST_REPLY + 1, decode_content=True)
        except NewConnectionError:
            raise _unavailable(t("no connection", "无法连接")) from None
        except HTTPError as error:  # its text can hold headers and addresses
            raise _unavailable(type(error).__name__) from None
        except (OSError, ValueError) as error:
            raise _unavailable(type(error).__name__) from None
        if status in (408, 425, 429) or status >= 500:
            raise _unavailable(f"HTTP {status}")
        if status != 200:
            raise _refused(f"HTTP {status}", transient=False)
        if len(content) > _MOST_REPLY:
            raise _bad_reply(t("too long", "过长"))
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise _bad_reply(t("no JSON", "不是 JSON")) from None


def _takes_digest(operation: RemoteOperation) -> bool:
    return bool(placeholders(operation.body) & {"digest_base64", "digest_hex"})


def _both(name: str, data: bytes) -> dict[str, str]:
    return {f"{name}_base64": base64.b64encode(data).decode(), f"{name}_hex": data.hex()}


def _text_at(reply: Any, path: str) -> str:
    for step in path.split("."):
        reply = reply.get(step) if isinstance(reply, dict) else None
    if isinstance(reply, bool) or not isinstance(reply, str | int):
        raise _bad_reply(t(f"nothing at {path}", f"{path} 处无值"))
    return str(reply)


def _tls(config: RemoteConfig, base: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(base / config.ca) if config.ca else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if config.certificate:
            key = str(base / config.certificate_key) if config.certificate_key else None
            context.load_cert_chain(str(base / config.certificate), key, password=lambda: "")
    except (OSError, ssl.SSLError):
        raise CryptoError(
            t("the certificates for the signature server can't be read", "无法读取签名服务器所用证书"),
            code="crypto.remote",
        ) from None
    return context


def _unavailable(why: str) -> CryptoUnavailable:
    return CryptoUnavailable(
        t(f"the signature server does not answer: {why}", f"签名服务器无应答：{why}"),
        remedy=t("check security.crypto.remote and the server", "请检查 security.crypto.remote 与服务器"),
    )


def _refused(code: str, *, transient: bool) -> CryptoError:
    shown = code if _CODE.fullmatch(code) or code.startswith("HTTP ") else "?"  # never a text of the other party
    kind = CryptoUnavailable if transient else CryptoError
    return kind(
        t(f"the signature server refuses: {shown}", f"签名服务器拒绝：{shown}"),
        code="crypto.remote" if not transient else "",
    )


def _bad_reply(why: str) -> CryptoError:
    return CryptoError(
        t(f"the signature server's reply can't be used: {why}", f"签名服务器的应答不可用：{why}"), code="crypto.remote"
    )


def _another_key() -> CryptoError:
    return CryptoError(
        t("the signature server signed with another key than declared", "签名服务器所用密钥与声明的公钥不符"),
        code="crypto.remote",
        remedy=t("compare the key's label, its public key and the user id", "请核对密钥标识、公钥与用户标识"),
    )
