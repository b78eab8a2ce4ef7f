"""How the values of one folder's rows are kept: as they are, sealed, or in files of their own.

A text that is sealed is a BLOB in its TEXT column, so every value tells what it is; rows from before encryption was switched on stay
readable beside sealed ones. Of bytes the column ``form`` tells (for the two bodies of a call ``forms``: the request's in the low two bits, the response's
in the next two).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import apsw

from hub.store.bodies import BodyFolder, BodyMissing, Claims, place_of
from hub.store.sealed_file import FileReader
from hub.store.sealed_vfs import vfs_of
from hub.store.sealer import Sealer, no_keys, suite_of, tampered
from hub.store.sql import scalar

if TYPE_CHECKING:
    from hub.store.tokens import Tokens

__all__ = ["CLAIM_ABOVE", "IN_FILE", "LASTING_KEY", "SEALED", "BodyMissing", "Values"]

#: Bits of ``form``.
SEALED, IN_FILE = 1, 2
#: Bytes from which on a body goes to a file, unless told otherwise.
CLAIM_ABOVE = 1 << 20
#: Key of the catalog's ``meta``: what the store's lasting keys are, sealed.
LASTING_KEY = "lasting_key"
#: Column and length of the hash of a message.
HASH, HASH_BYTES = b"content_hash", 16
_LASTING_PLACE = b"catalog.lasting_key"
_TOKEN_KEY, _INDEX_KEY = 64, 32


class _Lasting(NamedTuple):
    """Made from the lasting keys of a store, which outlive every data key: what is looked up by them must stay the same."""

    tokens: Tokens
    vfs: str


class Values:
    """Writes and reads the values of one folder. ``sealer`` None: nothing is sealed, and what is sealed can't be read."""

    def __init__(self, folder: Path, sealer: Sealer | None = None, claim_above: int = CLAIM_ABOVE) -> None:
        self.folder = folder
        self.sealer = sealer
        self.sealing = sealer is not None and sealer.sealing
        self.claim_above = claim_above
        self.bodies = BodyFolder(folder)
        self._lasting: _Lasting | None = None
        #: Gives the sealed lasting keys from the catalog, None when there are none.
        self.lasting: Callable[[], bytes | None] | None = None

    @property
    def encrypted(self) -> bool:
        """Whether anything is sealed, or will be; known once the folder is open (:meth:`prepare`)."""
        return self.sealing or self._lasting is not None

    # -- lasting keys ----------------------------------------------------------------------------------------------

    def prepare(self, catalog: apsw.Connection) -> None:
        """Make the lasting keys of a store that is to be encrypted, or seal them with the present data key.

        Raises :class:`~hub.errors.HubError` when the store is encrypted and its keys are not there.
        """
        sealed = scalar(catalog, "SELECT value FROM meta WHERE key = ?", (LASTING_KEY,))
        sealer = self.sealer
        if sealer is None:
            if sealed is not None:
                raise no_keys(str(self.folder))
            return
        if sealed is None:
            if not self.sealing:
                return
            keys = bytes([sealer.suite.form]) + os.urandom(_TOKEN_KEY + _INDEX_KEY)
        else:
            keys = sealer.open(sealed, _LASTING_PLACE, 0)
        if self.sealing:
            sealer.renew()
            fresh = sealer.seal(keys, 0, _LASTING_PLACE, 0)
            if sealed is None or fresh[:5] != sealed[:5]:  # form and version of the data key
                catalog.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (LASTING_KEY, fresh))
        self._use(keys)

    def _use(self, keys: bytes) -> _Lasting:
        if len(keys) != 1 + _TOKEN_KEY + _INDEX_KEY:
            raise tampered(_LASTING_PLACE.decode())
        from hub.store.tokens import Tokens  # with its ciphers, for encrypted stores alone

        suite = suite_of(keys[0])
        tokens = Tokens(keys[1 : 1 + _TOKEN_KEY], sm4=suite is suite_of(0xA4))
        self._lasting = _Lasting(tokens, vfs_of(keys[1 + _TOKEN_KEY :], suite))
        return self._lasting

    def _keys(self) -> _Lasting | None:
        if self._lasting is None:
            sealed = None if self.lasting is None else self.lasting()
            if sealed is None:
                return None
            if self.sealer is None:
                raise no_keys(str(self.folder))
            return self._use(self.sealer.open(sealed, _LASTING_PLACE, 0))
        return self._lasting

    @property
    def index_vfs(self) -> str:
        """The SQLite VFS of the index files; "" for a store that was never encrypted."""
        keys = self._keys()
        return "" if keys is None else keys.vfs

    # -- texts that are looked up by equality ----------------------------------------------------------------------

    def token(self, text: str, column: bytes) -> str | bytes:
        """A text as it is stored in a column that is looked up; an empty one stays empty."""
        if not self.sealing or not text:
            return text
        return self._made().tokens.seal(text.encode(), column)

    def tokens(self, text: str, column: bytes) -> list[str | bytes]:
        """The forms in which a text may be stored in such a column."""
        keys = self._keys() if text else None
        return [text] if keys is None else [text, keys.tokens.seal(text.encode(), column)]

    def from_token(self, value: Any, column: bytes) -> str:
        if isinstance(value, str):
            return value
        return self._made().tokens.open(value, column).decode()

    def hash_token(self, content: bytes) -> bytes:
        """The hash of a message as it is stored: that of a short message would tell whoever guesses it."""
        return self._made().tokens.seal(content, HASH) if self.sealing and len(content) == HASH_BYTES else content

    def hash_tokens(self, content: bytes) -> list[bytes]:
        """The forms in which it may be stored, in the order of :meth:`tokens`."""
        keys = self._keys()
        if keys is None:
            return [content]
        return [content, keys.tokens.seal(content, HASH) if len(content) == HASH_BYTES else content]

    def from_hash_token(self, value: bytes) -> bytes:
        if len(value) != HASH_BYTES + 16 or self._keys() is None:
            return value
        return self._made().tokens.open(value, HASH)

    def _made(self) -> _Lasting:
        keys = self._lasting or self._keys()
        if keys is None:
            raise no_keys(str(self.folder))
        return keys

    # -- other texts -----------------------------------------------------------------------------------------------

    def sealed_text(self, text: str, scope: int, place: bytes, row_id: int) -> str | bytes:
        """A text as it is stored, for a message (``scope``), table and column (``place``) and row."""
        if not text or self.sealer is None or not self.sealing:
            return text
        return self.sealer.seal(text.encode(), scope, place, row_id)

    def text(self, value: Any, place: bytes, row_id: int) -> str:
        """The text of a stored value. Raises :class:`StoreCorrupt`, and :class:`~hub.errors.HubError` without the key."""
        if isinstance(value, str):
            return value
        try:
            return self.opened(value, place, row_id).decode()
        except UnicodeDecodeError as error:
            raise tampered(f"{place.decode()} {row_id}") from error

    # -- bytes -----------------------------------------------------------------------------------------------------

    def stored(self, data: bytes, scope: int, place: bytes, row_id: int, claims: Claims) -> tuple[bytes, int]:
        """Bytes as they are stored, with their form. Raises ``OSError`` when a file can't be written."""
        sealer = self.sealer if self.sealing else None
        if len(data) > self.claim_above:
            return claims.store(data, place, row_id, sealer), IN_FILE | (SEALED if sealer is not None else 0)
        if sealer is None:
            return data, 0
        return sealer.seal(data, scope, place, row_id), SEALED

    def data(self, value: bytes, form: int, place: bytes, row_id: int) -> bytes:
        """The bytes of a stored value. Raises like :meth:`text`, and :class:`BodyMissing`."""
        if not form:
            return value
        if form & IN_FILE:
            with self.file(value, form, place, row_id) as file:
                return file.read()
        return self.opened(value, place, row_id)

    def opened(self, sealed: bytes, place: bytes, row_id: int) -> bytes:
        """What was sealed for a place and row. Raises like :meth:`text`."""
        if self.sealer is None:
            raise no_keys()
        return self.sealer.open(sealed, place, row_id)

    def file(self, reference: bytes, form: int, place: bytes, row_id: int) -> FileReader:
        """The file of a value that is in one."""
        return self.bodies.open(reference, place_of(place, row_id), self.sealer, sealed=bool(form & SEALED))
