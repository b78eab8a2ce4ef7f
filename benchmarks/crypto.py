"""What cryptography costs, per provider and operation, on data of 2 KB; operations per second of one core's time.

``python -m benchmarks.crypto [--rounds N]``. Processor time, because it says the same on a busy machine; each figure is the best of
several rounds. The goals are in the last column: SM2 3,000, SM4 40,000, SM3 100,000.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.asymmetric import rsa

from hub.crypto import Provider, Sm2PrivateKey, classic
from hub.crypto.envelope import open_envelope, seal_envelope
from hub.crypto.gmssl import GmsslProvider
from hub.crypto.modes import Mode
from hub.crypto.openssl import OpenSslProvider

DATA = bytes(range(256)) * 8
SM4_KEY = bytes(range(16))
_SECONDS = 0.2  # of each round
_IVS: dict[Mode, bytes] = {"ecb": b"", "cbc": bytes(16), "ctr": bytes(16), "gcm": bytes(12)}


def rate(call: Callable[[], object], rounds: int) -> float:
    """Calls per second of processor time, the best of several rounds."""
    call()
    best = 0.0
    for _ in range(rounds):
        count = 0
        begin = time.process_time()
        while True:
            call()
            count += 1
            passed = time.process_time() - begin
            if passed > _SECONDS:
                break
        best = max(best, count / passed)
    return best


def _of(provider: Provider) -> Iterator[tuple[str, Callable[[], object], float]]:
    """(name, call, goal) of each operation; 0 = no goal."""
    key = provider.sm2_generate()
    public = key.public
    signature = provider.sm2_sign(key, DATA)
    ciphertext = provider.sm2_encrypt(public, DATA)
    yield "SM2 sign", lambda: provider.sm2_sign(key, DATA), 3_000
    yield "SM2 verify", lambda: provider.sm2_verify(public, DATA, signature), 3_000
    yield "SM2 encrypt", lambda: provider.sm2_encrypt(public, DATA), 0
    yield "SM2 decrypt", lambda: provider.sm2_decrypt(key, ciphertext), 0
    yield "SM2 load a private key", lambda: Sm2PrivateKey(key.secret()), 0
    yield "SM3", lambda: provider.sm3(DATA), 100_000
    yield "HMAC-SM3", lambda: provider.hmac_sm3(SM4_KEY, DATA), 0
    for mode, iv in _IVS.items():
        sealed = provider.sm4_encrypt(SM4_KEY, DATA, mode=mode, iv=iv)
        name = f"SM4-{mode.upper()}"
        yield f"{name} encrypt", _sealing(provider, mode, iv), 40_000
        yield f"{name} decrypt", _opening(provider, mode, iv, sealed), 40_000
    wrapped, content = seal_envelope(provider, public, DATA)
    yield "envelope, seal", lambda: seal_envelope(provider, public, DATA), 0
    yield "envelope, open", lambda: open_envelope(provider, key, wrapped, content), 0


def _sealing(provider: Provider, mode: Mode, iv: bytes) -> Callable[[], object]:
    return lambda: provider.sm4_encrypt(SM4_KEY, DATA, mode=mode, iv=iv)


def _opening(provider: Provider, mode: Mode, iv: bytes, sealed: bytes) -> Callable[[], object]:
    return lambda: provider.sm4_decrypt(SM4_KEY, sealed, mode=mode, iv=iv)


def _classic() -> Iterator[tuple[str, Callable[[], object], float]]:
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key()
    signature = classic.rsa_sign(key, DATA)
    yield "RSA-2048 sign, SHA-256", lambda: classic.rsa_sign(key, DATA), 0
    yield "RSA-2048 verify, SHA-256", lambda: classic.rsa_verify(public, DATA, signature), 0
    yield "AES-256-GCM encrypt", lambda: classic.aes_encrypt(bytes(32), DATA, mode="gcm", iv=bytes(12)), 0
    yield "HMAC-SHA256", lambda: classic.hmac_digest("sha256", SM4_KEY, DATA), 0


def main(rounds: int = 3) -> list[tuple[str, float, str]]:
    """(name, value, unit) of every operation."""
    found = []
    for provider in (OpenSslProvider(), GmsslProvider()):
        for name, call, _ in _of(provider):
            found.append((f"{provider.name}: {name}", rate(call, rounds if provider.name == "openssl" else 1), "/s"))
    found += [(f"cryptography: {name}", rate(call, rounds), "/s") for name, call, _ in _classic()]
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    goals = {f"openssl: {name}": goal for name, _, goal in _of(OpenSslProvider())}
    for label, value, unit in main(parser.parse_args().rounds):
        goal = goals.get(label, 0)
        print(f"{label:40} {value:10,.0f} {unit}" + (f"   goal {goal:,.0f}" if goal else ""))
