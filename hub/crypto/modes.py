"""Modes of block ciphers of 16 bytes, the same for SM4 and AES: what they ask for, and their work by ``cryptography``."""

from __future__ import annotations

from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES, SM4
from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR, ECB, GCM

from hub.crypto.errors import CryptoError, cannot_decrypt
from hub.crypto.padding import BLOCK, PADDINGS
from hub.i18n import t

__all__ = ["TAG", "Mode", "check_options", "check_size", "run"]

Mode = Literal["ecb", "cbc", "ctr", "gcm"]
TAG = 16

_IV_SIZES = {"ecb": (0, 0), "cbc": (BLOCK, BLOCK), "ctr": (BLOCK, BLOCK), "gcm": (8, 128)}


def check_options(mode: str, iv: bytes, padding: str, aad: bytes) -> None:
    """Raises :class:`CryptoError` for what the caller must not ask for; says nothing about data."""
    wrong = ""
    if mode not in _IV_SIZES:
        wrong = t(f"unknown mode {mode!r}: ecb, cbc, ctr or gcm", f"未知模式 {mode!r}：应为 ecb、cbc、ctr 或 gcm")
    elif not _IV_SIZES[mode][0] <= len(iv) <= _IV_SIZES[mode][1]:
        low, high = _IV_SIZES[mode]
        size = str(low) if low == high else f"{low}-{high}"
        wrong = t(f"the IV of mode {mode} has {size} bytes", f"{mode} 模式的 IV 应为 {size} 字节")
    elif padding not in PADDINGS:
        wrong = t(
            f"unknown padding {padding!r}: pkcs7, zero or none", f"未知填充 {padding!r}：应为 pkcs7、zero 或 none"
        )
    elif aad and mode != "gcm":
        wrong = t(f"mode {mode} has no additional data", f"{mode} 模式没有附加数据")
    if wrong:
        raise CryptoError(wrong, code="crypto.option")


def check_size(data: bytes, mode: Mode, padding: str) -> None:
    """Raises the error of failed decryptions for what can't be a ciphertext."""
    if mode == "gcm":
        wrong = len(data) < TAG
    else:
        wrong = mode != "ctr" and (len(data) % BLOCK != 0 or (padding == "pkcs7" and not data))
    if wrong:
        raise cannot_decrypt()


def run(cipher: SM4 | AES, data: bytes, mode: Mode, iv: bytes, aad: bytes, *, encrypt: bool) -> bytes:
    """``ecb`` and ``cbc``: whole blocks, not padded. ``gcm``: tag at the end, checked when decrypting."""
    if mode == "gcm":
        return _gcm(cipher, data, iv, aad, encrypt=encrypt)
    # ECB shows where blocks repeat, and is what most parties ask for.
    kind: ECB | CBC | CTR = ECB() if mode == "ecb" else CBC(iv) if mode == "cbc" else CTR(iv)  # noqa: S305
    both = Cipher(cipher, kind)
    running = both.encryptor() if encrypt else both.decryptor()
    return running.update(data) + running.finalize()


def _gcm(cipher: SM4 | AES, data: bytes, iv: bytes, aad: bytes, *, encrypt: bool) -> bytes:
    if encrypt:
        encryptor = Cipher(cipher, GCM(iv)).encryptor()
        encryptor.authenticate_additional_data(aad)
        return encryptor.update(data) + encryptor.finalize() + encryptor.tag
    decryptor = Cipher(cipher, GCM(iv, data[-TAG:])).decryptor()
    decryptor.authenticate_additional_data(aad)
    try:
        return decryptor.update(data[:-TAG]) + decryptor.finalize()
    except InvalidTag:
        raise cannot_decrypt() from None
