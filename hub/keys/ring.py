"""How keys are used: rings for the hub's own data, handles for what is signed and encrypted for others."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from hub.keys.model import Kind, State
from hub.secrets import Secret

__all__ = ["DataKeys", "KeyHandle", "KeyMaterial", "KeySource", "pem"]


class DataKeys(Protocol):
    """The keys of one kind of the hub's own data. Every call asks anew: a new version is seen without a restart."""

    def current(self) -> tuple[int, bytes]:
        """(version, 32 secret bytes) to seal with. Raises :class:`hub.keys.KeyUnavailable`."""

    def get(self, version: int) -> bytes:
        """The 32 secret bytes of a version, to open with. Raises :class:`hub.keys.KeyUnavailable`."""


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """A version of a key, ready for use. Ask the handle again for the next use; keep nothing of it longer than that."""

    name: str
    version: int
    kind: Kind
    state: State
    secret: bytes = field(repr=False)  # data, aes, sm4, hmac: the bytes; secret: UTF-8; pairs: PKCS#8 DER; else empty
    public: bytes = b""  # of pairs and public keys: SubjectPublicKeyInfo DER; of certificates: PEM, the first its own

    def text(self) -> Secret:
        """The key as a setting holds it: text as it is, pairs and what is public as PEM, other keys in hex."""
        if self.kind is Kind.SECRET:
            return Secret(self.secret.decode())
        if self.kind is Kind.CERTIFICATE:
            return Secret(self.public.decode())
        if self.kind is Kind.PUBLIC:
            return Secret(pem(self.public, "PUBLIC KEY"))
        if self.kind.pair:
            return Secret(pem(self.secret, "PRIVATE KEY"))
        return Secret(self.secret.hex())


def pem(der: bytes, label: str) -> str:
    """DER as PEM (RFC 7468)."""
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n"


class KeySource(Protocol):
    """Where rings and handles get their keys: :class:`hub.keys.store.KeyStore`."""

    def use(self, name: str, version: int, purpose: str, system: str) -> KeyMaterial:
        """A version to open with, or with 0 the one to seal with; counted. Raises :class:`hub.keys.KeyUnavailable`."""

    def secret(self, name: str, version: int) -> tuple[int, bytes]:
        """The same of a key of the hub's own, number and secret only."""

    def opening(self, name: str) -> list[int]:
        """The versions that open and verify, the newest first."""


class KeyHandle:
    """A key by its name, for one purpose and system. Each call asks anew, so a rotated key is used without a restart."""

    def __init__(self, source: KeySource, name: str, *, purpose: str = "", system: str = "", pinned: int = 0) -> None:
        self.name = name
        self._source = source
        self._purpose = purpose
        self._system = system
        self._pinned = pinned

    def current(self) -> KeyMaterial:
        """What to seal and sign with. Raises :class:`hub.keys.KeyUnavailable`."""
        return self._source.use(self.name, self._pinned, self._purpose, self._system)

    def version(self, number: int) -> KeyMaterial:
        """What was sealed or signed with this version. Raises :class:`hub.keys.KeyUnavailable`."""
        return self._source.use(self.name, number, self._purpose, self._system)

    def candidates(self) -> Iterator[KeyMaterial]:
        """What may have sealed or signed something that does not say its version, the likeliest first."""
        for number in [self._pinned] if self._pinned else self._source.opening(self.name):
            yield self._source.use(self.name, number, self._purpose, self._system)
