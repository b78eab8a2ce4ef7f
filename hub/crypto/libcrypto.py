"""The OpenSSL that Python itself runs on, called through ctypes for the one thing Python has no interface to: SM2.

Of all ``libcrypto`` a machine may hold, the one inside this process is taken: it is there, it gets the system's security updates, and a second
copy would cost memory and could differ. Calls release the GIL. Every pointer has one owner that frees it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hub.crypto.errors import CryptoError
from hub.i18n import t

__all__ = ["Key", "Libcrypto", "load"]

_OLDEST = 3 << 28  # 3.0.0: the first whose SM2 can be reached without functions that are deprecated since
_EVP_PKEY_KEYPAIR = 0x87  # selection bits of <openssl/evp.h>: domain parameters, public and private key
_EVP_PKEY_PUBLIC_KEY = 0x86
_UTF8, _OCTETS, _UNSIGNED = 4, 5, 2  # data types of <openssl/core.h>
_SPARE = 16  # contexts kept per key and operation: as many as threads that use a key at once

_p, _n, _i = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "OpenSSL_version_num": (ctypes.c_ulong, []),
    "ERR_clear_error": (None, []),
    "EVP_PKEY_CTX_new_from_name": (_p, [_p, ctypes.c_char_p, ctypes.c_char_p]),
    "EVP_PKEY_CTX_new_from_pkey": (_p, [_p, _p, ctypes.c_char_p]),
    "EVP_PKEY_CTX_free": (None, [_p]),
    "EVP_PKEY_fromdata_init": (_i, [_p]),
    "EVP_PKEY_fromdata": (_i, [_p, ctypes.POINTER(_p), _i, _p]),
    "EVP_PKEY_free": (None, [_p]),
    "EVP_PKEY_sign_init": (_i, [_p]),
    "EVP_PKEY_sign": (_i, [_p, ctypes.c_char_p, ctypes.POINTER(_n), ctypes.c_char_p, _n]),
    "EVP_PKEY_verify_init": (_i, [_p]),
    "EVP_PKEY_verify": (_i, [_p, ctypes.c_char_p, _n, ctypes.c_char_p, _n]),
    "EVP_PKEY_encrypt_init": (_i, [_p]),
    "EVP_PKEY_encrypt": (_i, [_p, ctypes.c_char_p, ctypes.POINTER(_n), ctypes.c_char_p, _n]),
    "EVP_PKEY_decrypt_init": (_i, [_p]),
    "EVP_PKEY_decrypt": (_i, [_p, ctypes.c_char_p, ctypes.POINTER(_n), ctypes.c_char_p, _n]),
}


class _Param(ctypes.Structure):
    """OSSL_PARAM of <openssl/core.h>."""

    _fields_ = (
        ("key", ctypes.c_char_p),
        ("data_type", ctypes.c_uint),
        ("data", _p),
        ("data_size", _n),
        ("return_size", _n),
    )


class Libcrypto:
    """One loaded library; raises :class:`OSError` or :class:`AttributeError` when it isn't OpenSSL 3 or newer."""

    def __init__(self, library: ctypes.CDLL) -> None:
        functions = {}
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
            functions[name] = function
        self.call: dict[str, Callable[..., Any]] = functions
        self.version: int = functions["OpenSSL_version_num"]()
        if self.version < _OLDEST:
            raise OSError("older than OpenSSL 3.0")

    def failed(self) -> None:
        """Forget what OpenSSL noted about an error: left in its queue, it would be taken for one of TLS later."""
        self.call["ERR_clear_error"]()


class Key:
    """An EVP_PKEY of type SM2, with prepared contexts; freed with the object, or at the end of the process.

    A context serves one thread at a time. Threads take one from the key's spares and put it back.
    """

    def __init__(self, library: Libcrypto, point: bytes, secret: bytes = b"") -> None:
        """``point``: x ‖ y, 64 bytes; ``secret``: 32 bytes, or none for a public key. Raises :class:`CryptoError`."""
        self.library = library
        self._call = library.call
        pkey = _make(library, point, secret)
        self._spare: dict[str, deque[int]] = {name: deque() for name in ("sign", "verify", "encrypt", "decrypt")}
        self._pkey = pkey
        weakref.finalize(self, _free, library.call, pkey, self._spare)

    def sign(self, digest: bytes) -> bytes:
        """Signature of 32 bytes, in DER."""
        return self._run("sign", digest, 80)

    def verify(self, digest: bytes, signature: bytes) -> bool:
        """Does a signature in DER fit the digest?"""
        context = self._take("verify")
        if self._call["EVP_PKEY_verify"](context, signature, len(signature), digest, len(digest)) == 1:
            self._put("verify", context)
            return True
        self.library.failed()
        self._put("verify", context)
        return False

    def encrypt(self, data: bytes) -> bytes:
        """Ciphertext in DER."""
        return self._run("encrypt", data, len(data) + 128)

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Reverse of :meth:`encrypt`; raises :class:`CryptoError`."""
        return self._run("decrypt", ciphertext, len(ciphertext))

    def _run(self, what: str, data: bytes, room: int) -> bytes:
        context = self._take(what)
        out = ctypes.create_string_buffer(room)
        size = _n(room)
        if self._call[f"EVP_PKEY_{what}"](context, out, ctypes.byref(size), data, len(data)) != 1:
            self._call["EVP_PKEY_CTX_free"](context)
            self.library.failed()
            raise _failed(what)
        self._put(what, context)
        return out.raw[: size.value]

    def _take(self, what: str) -> int:
        try:
            return self._spare[what].pop()
        except IndexError:
            pass
        context: int | None = self._call["EVP_PKEY_CTX_new_from_pkey"](None, self._pkey, None)
        if context is None or self._call[f"EVP_PKEY_{what}_init"](context) != 1:
            self._call["EVP_PKEY_CTX_free"](context)
            self.library.failed()
            raise _failed(what)
        return context

    def _put(self, what: str, context: int) -> None:
        spare = self._spare[what]
        if len(spare) < _SPARE:
            spare.append(context)
        else:
            self._call["EVP_PKEY_CTX_free"](context)


def _free(call: dict[str, Callable[..., Any]], pkey: int, spare: dict[str, deque[int]]) -> None:
    for contexts in spare.values():
        while contexts:
            call["EVP_PKEY_CTX_free"](contexts.pop())
    call["EVP_PKEY_free"](pkey)


def _make(library: Libcrypto, point: bytes, secret: bytes) -> int:
    call = library.call
    values = [(b"group", _UTF8, b"SM2"), (b"pub", _OCTETS, b"\x04" + point)]
    if secret:
        # A number is handed over in the byte order of the machine.
        values.append((b"priv", _UNSIGNED, secret if sys.byteorder == "big" else secret[::-1]))
    buffers = [ctypes.create_string_buffer(value, len(value)) for _, _, value in values]
    params = (_Param * (len(values) + 1))()
    for param, (name, kind, value), buffer in zip(params, values, buffers, strict=False):
        param.key, param.data_type, param.data_size = name, kind, len(value)
        param.data = ctypes.cast(buffer, _p)
    context = call["EVP_PKEY_CTX_new_from_name"](None, b"SM2", None)
    pkey = _p()
    try:
        selection = _EVP_PKEY_KEYPAIR if secret else _EVP_PKEY_PUBLIC_KEY
        made = (
            context is not None
            and call["EVP_PKEY_fromdata_init"](context) == 1
            and call["EVP_PKEY_fromdata"](context, ctypes.byref(pkey), selection, params) == 1
        )
    finally:
        call["EVP_PKEY_CTX_free"](context)
        for buffer in buffers:
            ctypes.memset(buffer, 0, len(buffer))
    if not made or pkey.value is None:
        library.failed()
        raise _failed("load")
    return pkey.value


def _failed(what: str) -> CryptoError:
    return CryptoError(
        t(f"OpenSSL could not do this operation with the SM2 key: {what}", f"OpenSSL 无法用 SM2 密钥执行该操作：{what}")
    )


def load(path: str = "") -> Iterator[Libcrypto]:
    """Libraries that could serve, the likeliest first; with a ``path`` only that one.

    Whether one really does SM2 is found out by using it: distributions leave algorithms out, and modes forbid them.
    """
    for name in [path] if path else _candidates():
        try:
            yield Libcrypto(ctypes.CDLL(name))
        except (OSError, AttributeError, TypeError):
            continue


def _candidates() -> Iterator[str | None]:
    import _hashlib  # links libcrypto and nothing else of OpenSSL

    own: str | None = getattr(_hashlib, "__file__", None)
    if own is None:  # linked into the interpreter
        yield None
    elif sys.platform == "win32":  # where python.org puts the DLLs beside the modules
        yield from sorted((str(file) for file in Path(own).parent.glob("libcrypto-*.dll")), reverse=True)
    else:
        # A symbol is looked up in an extension module and then in what it was linked to: exactly the library in use.
        yield own
    if sys.platform == "darwin":  # never the unversioned name there: the system kills who opens it
        yield from ("libcrypto.4.dylib", "libcrypto.3.dylib")
    elif sys.platform != "win32":
        yield from ("libcrypto.so.4", "libcrypto.so.3")
        if found := ctypes.util.find_library("crypto"):
            yield found
