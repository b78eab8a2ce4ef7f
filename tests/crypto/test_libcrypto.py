"""The calls into libcrypto: many threads, many keys, and nothing left behind."""

from __future__ import annotations

import gc
import os
import ssl
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hub.crypto import CryptoError, Sm2PrivateKey, libcrypto
from hub.crypto.openssl import OpenSslProvider


class CountingLibrary:
    """A library that counts what is made and freed."""

    def __init__(self) -> None:
        self._real = next(libcrypto.load())
        self.version = self._real.version
        self.failed = self._real.failed
        self.counts: Counter[str] = Counter()
        self.call = {name: self._counted(name, function) for name, function in self._real.call.items()}

    def _counted(self, name: str, function: Any) -> Any:
        def counted(*arguments: Any) -> Any:
            result = function(*arguments)
            if name == "EVP_PKEY_fromdata" and result == 1:
                self.counts["keys"] += 1
            elif name == "EVP_PKEY_free":
                self.counts["keys"] -= 1
            elif name.startswith("EVP_PKEY_CTX_new") and result is not None:
                self.counts["contexts"] += 1
            elif name == "EVP_PKEY_CTX_free" and arguments[0] is not None:
                self.counts["contexts"] -= 1
            return result

        return counted


def _key(library: Any, number: int = 7) -> libcrypto.Key:
    key = Sm2PrivateKey(number.to_bytes(32))
    return libcrypto.Key(library, key.public.point, key.secret())


def test_it_is_the_openssl_python_runs_on() -> None:
    assert next(libcrypto.load()).version == ssl.OPENSSL_VERSION_NUMBER


def test_everything_made_is_freed() -> None:
    library = CountingLibrary()
    key = _key(library)
    signature = key.sign(bytes(32))
    assert key.verify(bytes(32), signature)
    assert not key.verify(bytes(32), signature[:-1])
    assert key.decrypt(key.encrypt(b"data")) == b"data"
    for wrong in (b"", b"\x30\x00", b"junk" * 50):
        with pytest.raises(CryptoError):
            key.decrypt(wrong)
    assert library.counts["keys"] == 1
    assert library.counts["contexts"] == 3  # sign, verify, encrypt; that of a failed decryption is thrown away
    del key
    gc.collect()
    assert +library.counts == Counter()


def test_a_key_that_is_none_is_refused_and_freed() -> None:
    library = CountingLibrary()
    with pytest.raises(CryptoError):
        libcrypto.Key(library, bytes(64))  # type: ignore[arg-type]
    assert +library.counts == Counter()


def test_a_public_key_does_not_sign() -> None:
    key = Sm2PrivateKey((7).to_bytes(32))
    public = libcrypto.Key(next(libcrypto.load()), key.public.point)
    for run in (lambda: public.sign(bytes(32)), lambda: public.decrypt(public.encrypt(b"data"))):
        with pytest.raises(CryptoError):
            run()


def test_errors_are_not_left_in_the_queue_of_openssl() -> None:
    """A later TLS call of the same thread would take them for its own."""
    library = next(libcrypto.load())
    key = _key(library)
    import ctypes

    peek = ctypes.CDLL(next(iter(libcrypto._candidates()))).ERR_peek_error
    peek.restype = ctypes.c_ulong
    for _ in range(3):
        with pytest.raises(CryptoError):
            key.decrypt(b"\x30\x03\x02\x01\x00")
        assert peek() == 0
        assert not key.verify(bytes(32), b"\x30\x06\x02\x01\x01\x02\x01\x01")
        assert peek() == 0
        assert not key.verify(bytes(32), b"junk")
        assert peek() == 0
    with pytest.raises(CryptoError):
        libcrypto.Key(library, bytes(64))
    assert peek() == 0


def test_many_threads_use_the_same_keys() -> None:
    provider = OpenSslProvider()
    keys = [provider.sm2_generate() for _ in range(3)]
    start = threading.Barrier(8)

    def work(number: int) -> int:
        start.wait(10)
        for turn in range(40):
            key = keys[(number + turn) % 3]
            data = os.urandom(50)
            assert provider.sm2_verify(key.public, data, provider.sm2_sign(key, data))
            assert provider.sm2_decrypt(key, provider.sm2_encrypt(key.public, data)) == data
            assert not provider.sm2_verify(
                keys[number % 3].public, data, provider.sm2_sign(keys[(number + 1) % 3], data)
            )
        return number

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(work, range(8))) == list(range(8))


def test_keys_survive_a_fork() -> None:
    provider = OpenSslProvider()
    key = provider.sm2_generate()
    mine = provider.sm2_sign(key, b"data")
    ear, mouth = os.pipe()
    child = os.fork()
    if not child:
        os.write(mouth, provider.sm2_sign(key, b"data", form="raw"))
        os._exit(0)
    os.close(mouth)
    theirs = os.read(ear, 100)
    os.close(ear)
    assert os.waitpid(child, 0)[1] == 0
    assert provider.sm2_verify(key.public, b"data", theirs, form="raw")
    again = provider.sm2_sign(key, b"data", form="raw")
    assert len({theirs, again}) == 2  # the random numbers of parent and child differ
    assert mine


def test_user_ids_from_messages_do_not_fill_the_memory() -> None:
    provider = OpenSslProvider()
    key = provider.sm2_generate()
    for number in range(100):
        provider.sm2_sign(key, b"data", user_id=str(number).encode())
    assert len(key.public.handles["identity"]) <= 16
