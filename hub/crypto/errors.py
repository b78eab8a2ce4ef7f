"""Errors of cryptography. None of them says which check failed: that would help whoever sends forged ciphertexts."""

from __future__ import annotations

from hub.errors import HubError
from hub.i18n import t

__all__ = ["CryptoError", "CryptoUnavailable", "KeyFormatError", "cannot_decrypt", "not_offered"]


class CryptoError(HubError):
    """An operation with a key could not be done; trying again with the same bytes gives the same result."""

    code = "crypto.failed"


class KeyFormatError(CryptoError):
    """A text or file is not the key or certificate it should be. The text itself is never repeated."""

    code = "crypto.key"


class CryptoUnavailable(CryptoError):
    """The device or server that holds the key can't be asked now; the same bytes may succeed later."""

    code = "crypto.unavailable"


def cannot_decrypt() -> CryptoError:
    """The one error of every failed decryption: length, padding, tag, point and hash are not told apart."""
    return CryptoError(
        t(
            "the data could not be decrypted: another key or mode, or the data was altered or cut",
            "数据无法解密：密钥或模式不符，或数据被篡改、截断",
        ),
        code="crypto.decrypt",
        remedy=t(
            "compare key, mode, padding and order of the ciphertext (C1C3C2, C1C2C3) with the other party",
            "请与对方核对密钥、模式、填充方式及密文排列（C1C3C2、C1C2C3）",
        ),
    )


def not_offered(provider: str, operation: str) -> CryptoError:
    """The provider has no such operation, or can't do it with this kind of key."""
    return CryptoError(
        t(f"the provider {provider} does not offer {operation}", f"密码服务 {provider} 不提供 {operation}"),
        code="crypto.not_offered",
        remedy=t("see docs/cryptography.md for what each provider offers", "各提供者的能力见 docs/cryptography.md"),
    )
