"""The open database with the root key: reading what is verified, changing it in one transaction."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw

from hub.audit import ChainCheck
from hub.errors import HubError
from hub.keys.config import CHANGED
from hub.keys.database import Database, Meta, bound_to, verified
from hub.keys.master import MasterKey, MasterSource
from hub.keys.model import Content, Key, Kind, State, Version
from hub.keys.sealing import ROOT_BYTES, Suite

__all__ = ["Draft", "Vault"]

_TRIES = 4
_PAGE = 1000


class Vault:
    """One process's way to a key store; not to be used by two threads at once."""

    def __init__(self, folder: Path, master: MasterSource) -> None:
        """Raises :class:`KeysLocked`."""
        self.folder = folder
        self.master = master
        self._database = Database(folder)
        self._wrapped = b""  # the root key of ``suite``, as it is stored
        self.suite: Suite
        self.told = 0  # the generation with the last change of a key that a configuration may name

    @classmethod
    def create(cls, folder: Path, master: MasterSource, cipher: str, entry: dict[str, Any]) -> None:
        """Make an empty store, and the master key's file where it is missing. Raises :class:`KeysError`."""
        key = master.make()
        root = secrets.token_bytes(ROOT_BYTES)
        meta = Meta(secrets.token_hex(8), cipher, 1, 1, key.id, key.wrap(root, cipher))
        Database.create(folder, meta, Suite(cipher, root), entry).close()

    def close(self) -> None:
        self._database.close()

    def changes(self) -> int:
        """Another number after another process has changed something; -1 while one is about to, and while the file can't be read."""
        try:
            return self._database.changes()
        except apsw.Error:
            return -1

    def load(self, *, wait: bool = True) -> Content:
        """What is in the store. Raises :class:`KeysLocked`, :class:`KeysTampered`; what was loaded before stays good then.

        Without ``wait`` a store in which somebody is writing is ``keys.busy``.
        """
        for rest in reversed(range(_TRIES)):
            meta, keys, versions = self._database.read(wait=wait)
            try:
                suite = self._suite_of(meta)
            except HubError:
                # The master key may have been changed between our two looks.
                if not rest or self._database.read()[0].root == meta.root:
                    raise
                continue
            content = verified(meta, keys, versions, suite)
            self.suite, self._wrapped, self.told = suite, meta.root, meta.told
            return content
        raise AssertionError  # the last try returns or raises

    def _suite_of(self, meta: Meta) -> Suite:
        if meta.root == self._wrapped:
            return self.suite
        return Suite(meta.cipher, self.master.find(meta.master).unwrap(meta.root))

    @contextlib.contextmanager
    def change(self) -> Iterator[Draft]:
        """Nobody else writes within; at its end everything is durable, or, with an exception, nothing was done."""
        database = self._database
        database.begin()
        try:
            meta, keys, versions = database.read()
            suite = self._suite_of(meta)
            draft = Draft(database, meta, verified(meta, keys, versions, suite), suite)
            draft.changes = database.changes()  # our own commit does not alter it, and nobody else commits before it
            yield draft
            draft.finish()
        except BaseException as error:
            database.rollback()
            if isinstance(error, apsw.Error):
                raise database.failed(error) from error
            raise
        database.commit()
        self.suite, self._wrapped = draft.suite, meta.root
        if draft.tells:
            self.tell(meta.told)

    def settle_master(self, *, wait: bool = True) -> None:
        """Finish a change of the master key that was cut off, or has just been made; without ``wait`` not while somebody is writing."""
        if self.master.unsettled():
            self._database.begin(wait=wait)
            try:
                self.master.settle(self._database.read()[0].master)
            finally:
                self._database.rollback()

    def tell(self, generation: int) -> None:
        """Leave word for whoever watches files that a key has changed which a configuration may name."""
        path = self.folder / CHANGED
        with contextlib.suppress(OSError):
            if path.read_text("ascii").strip() == str(generation):
                return
        made = path.with_name(f"{CHANGED}.{os.getpid()}")
        with contextlib.suppress(OSError):  # only a hint: a reload by hand does the same
            made.write_text(f"{generation}\n", "ascii")
            os.replace(made, path)

    def journal(self, after: int = 0, limit: int = _PAGE) -> list[dict[str, Any]]:
        """Entries after a number, oldest first: ``seq``, ``at`` (Unix µs), ``entry`` (JSON), ``hash``."""
        return self._database.journal(after, limit)

    def verify_journal(self) -> list[str]:
        """What is wrong with the journal; nothing when no entry was altered, removed, moved or cut off the end."""
        meta, keys, versions = self._database.read()
        verified(meta, keys, versions, self._suite_of(meta))
        check = ChainCheck()
        while check.seq < meta.journal_seq and (rows := self._database.journal(check.seq, _PAGE)):
            for row in rows:
                if row["seq"] > meta.journal_seq:  # written since
                    break
                check.add(row)
        return check.finish((meta.journal_seq, meta.journal_hash))


class Draft:
    """A change in the making. ``content`` is what will be in the store."""

    def __init__(self, database: Database, meta: Meta, content: Content, suite: Suite) -> None:
        self.content = content
        self.suite = suite
        self.changed = False
        self.tells = False
        self.changes = -1
        self._database = database
        self._meta = meta

    @property
    def master(self) -> str:
        """The id of the master key the store is under now."""
        return self._meta.master

    def put_key(self, key: Key) -> None:
        """Add or replace a key that has no sealed versions yet, or none whose seal says otherwise."""
        self.content.keys[key.name] = key
        self.content.versions.setdefault(key.name, {})
        self._database.write_key(key)
        self.changed = True

    def add(self, version: Version, secret: bytes) -> Version:
        """Add a version; ``secret`` is empty where there is nothing to seal."""
        return self._put(version, secret)

    def alter(self, version: Version, **changes: Any) -> Version:
        """Another state or other times for a version: it is sealed anew, since its seal vouches for them."""
        secret = self.unseal(version) if version.sealed else b""
        altered = replace(version, **changes)
        return self._put(altered, b"" if altered.state is State.DESTROYED else secret)

    def unseal(self, version: Version) -> bytes:
        return self.suite.open(version.sealed, self._bound(version))

    def _bound(self, version: Version) -> bytes:
        return bound_to(self.content.store, self.content.keys[version.name], version)

    def _put(self, version: Version, secret: bytes) -> Version:
        self.tells = self.tells or self.content.keys[version.name].kind is not Kind.DATA
        return self._seal(version, secret)

    def _seal(self, version: Version, secret: bytes) -> Version:
        version = replace(version, sealed=self.suite.seal(secret, self._bound(version)) if secret else b"")
        self.content.versions[version.name][version.number] = version
        self._database.write_version(version)
        self.changed = True
        return version

    def new_root(self, master: MasterKey, cipher: str) -> int:
        """Everything under a new root key, and that under this master key; returns how many secrets were sealed anew."""
        every = [v for versions in self.content.versions.values() for v in versions.values() if v.sealed]
        opened = [(version, self.unseal(version)) for version in every]
        root = secrets.token_bytes(ROOT_BYTES)
        self.suite = Suite(cipher, root)
        self.content.cipher = self._meta.cipher = cipher
        self._meta.master, self._meta.root = master.id, master.wrap(root, cipher)
        for version, secret in opened:
            self._seal(version, secret)
        self.changed = True
        return len(opened)

    def note(self, entry: dict[str, Any]) -> None:
        """An entry of the journal, made by :func:`hub.audit.entry`; durable together with what it tells of."""
        self._database.write_entry(self._meta, entry)

    def finish(self) -> None:
        if self.changed:
            self._meta.generation += 1
            self.content.generation = self._meta.generation
        if self.tells:
            self._meta.told = self._meta.generation
        self._database.write_meta(self._meta, self.suite)
