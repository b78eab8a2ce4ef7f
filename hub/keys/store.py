"""The sealed key store as a process uses it: what it read last, the keys it has unsealed, and what was used how often.

Any number of processes have it open. Each looks once a second, when it needs a key, whether another has changed something. When the
store can't be read then, or is not what was written, the process goes on with what it read before and tells it in :attr:`KeyStore.trouble`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hub.audit import entry
from hub.errors import HubError
from hub.i18n import t
from hub.keys.database import bound_to
from hub.keys.errors import KeyUnavailable
from hub.keys.master import MasterSource
from hub.keys.model import Content, Policy, State, Version, check_name
from hub.keys.ring import DataKeys, KeyHandle, KeyMaterial
from hub.keys.vault import Draft, Vault
from hub.logs import get_logger

__all__ = ["KeyStore", "Use"]

log = get_logger(__name__)

#: Seconds between two looks for what other processes have changed.
LOOK_S = 1.0

#: (key, version, purpose, system)
Use = tuple[str, int, str, str]


class KeyStore:
    """An open key store. Safe to be used by several threads."""

    def __init__(
        self,
        folder: Path,
        master: MasterSource,
        *,
        usual: Policy = Policy(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open it; ``usual`` is what the policies of new keys start from. Raises :class:`KeysLocked` or :class:`KeysTampered`."""
        self.folder = folder
        self.usual = usual
        self.clock = clock
        self.trouble: HubError | None = None  # why what others changed is not in use here
        # Two locks, so that whoever needs a key on the event loop never waits for the disk: ``_lock`` is held for microseconds, ``_file``
        # by whoever reads or writes the file; ``_file`` is taken first.
        self._lock = threading.Lock()
        self._file = threading.RLock()
        self._unsealed: dict[tuple[str, int], bytearray] = {}
        self._uses: Counter[Use] = Counter()
        self._uses_since = clock()
        self._look_at = 0.0
        self._closed = False
        self._changing = False
        self._vault = Vault(folder, master)
        try:
            self._changes = self._vault.changes()
            self._content = self._vault.load()
            self._suite = self._vault.suite
            try:
                self._vault.settle_master(wait=False)
            except HubError as error:  # it can be found where it is as well
                if error.code != "keys.busy":
                    log.warning("%s", error)
            self._vault.tell(self._vault.told)
        except BaseException:
            self._vault.close()
            raise

    @classmethod
    def create(cls, folder: Path, master: MasterSource, *, cipher: str = "aes", actor: str = "hub") -> None:
        """Make an empty store, and the master key's file where it is missing. Raises :class:`KeysError`."""
        Vault.create(folder, master, cipher, entry(actor, "keys.init", "", {"cipher": cipher}))

    def close(self) -> None:
        """Write down what was used, and forget every key."""
        with self._file:
            try:
                self.flush_uses()
            except HubError as error:
                log.warning("the use of keys could not be recorded: %s", error)
            self._vault.close()
            with self._lock:
                self._closed = True
                for secret in self._unsealed.values():
                    _wipe(secret)
                self._unsealed.clear()

    def __enter__(self) -> KeyStore:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    # -- looking -------------------------------------------------------------------------------------------------

    @property
    def content(self) -> Content:
        """What is in the store, at most a second old; not to be changed."""
        self._look()
        return self._content

    def refresh(self) -> Content:
        """What is in the store now; waits for whoever is writing there."""
        with self._file:
            changes = self._vault.changes()
            if changes != self._changes:
                self._take_over(changes, wait=True)
        return self._content

    def _look(self) -> None:
        """Has another process changed something? Once a second, and never waiting: whoever writes just now is looked at later."""
        now = time.monotonic()
        if now < self._look_at or not self._file.acquire(blocking=False):
            return
        try:
            self._look_at = now + LOOK_S
            if self._closed or self._changing:
                return
            changes = self._vault.changes()
            if changes not in (-1, self._changes):
                self._take_over(changes, wait=False)
        finally:
            self._file.release()

    def _take_over(self, changes: int, *, wait: bool) -> None:
        try:
            content = self._vault.load(wait=wait)
        except HubError as error:
            if error.code == "keys.busy":
                return
            if self.trouble is None or self.trouble.text != error.text:
                log.error("what was changed in the key store is not in use: %s", error)
            self.trouble = error
            return
        self._changes, self.trouble = changes, None
        self._use(content)

    def _use(self, content: Content) -> None:
        """The new content; what may not be used any more does not stay in memory."""
        with self._lock:
            self._content, self._suite = content, self._vault.suite
            for place in list(self._unsealed):
                version = content.versions.get(place[0], {}).get(place[1])
                if version is None or version.state not in (State.ACTIVE, State.RETIRING):
                    _wipe(self._unsealed.pop(place))

    # -- using ---------------------------------------------------------------------------------------------------

    def use(self, name: str, version: int, purpose: str, system: str) -> KeyMaterial:
        """A version to open with, or with 0 the one to seal with; counted. Raises :class:`KeyUnavailable`."""
        self._look()
        with self._lock:
            content = self._content
            found = self._found(content, name, version)
            key = content.keys[name]
            if purpose and purpose != key.purpose:
                raise KeyUnavailable(
                    t(
                        f"key {name} is for {key.purpose}, not for {purpose}",
                        f"密钥 {name} 的用途为 {key.purpose}，不是 {purpose}",
                    ),
                    code="key.purpose",
                )
            self._uses[name, found.number, key.purpose, system] += 1
            return KeyMaterial(name, found.number, key.kind, found.state, self._secret(content, found), found.public)

    def secret(self, name: str, version: int) -> tuple[int, bytes]:
        """Number and secret of a key of the hub's own; like :meth:`use`, and quicker."""
        self._look()
        with self._lock:
            content = self._content
            found = self._found(content, name, version)
            self._uses[name, found.number, name, ""] += 1
            return found.number, self._secret(content, found)

    def _found(self, content: Content, name: str, version: int) -> Version:
        if self._closed:
            raise KeyUnavailable(t("the key store is closed", "密钥库已关闭"))
        now = self.clock()
        return content.opening(name, version, now) if version else content.sealing(name, now)

    def _secret(self, content: Content, version: Version) -> bytes:
        """A copy: what is kept here is wiped, perhaps while the caller still works with his."""
        if not version.sealed:
            return b""
        place = (version.name, version.number)
        kept = self._unsealed.get(place)
        if kept is None:
            kept = self._unsealed[place] = bytearray(
                self._suite.open(version.sealed, bound_to(content.store, content.keys[version.name], version))
            )
        return bytes(kept)

    def opening(self, name: str) -> list[int]:
        """The versions that open and verify: the active one, then those it replaced, the newest first."""
        content, now = self.content, self.clock()
        content.key(name)
        good = [v for v in content.versions[name].values() if content.may_open(v, now)]
        return [v.number for v in sorted(good, key=lambda v: (v.state is State.ACTIVE, v.number), reverse=True)]

    def handle(self, name: str, *, purpose: str = "", system: str = "", version: int = 0) -> KeyHandle:
        """A key by its name. Raises :class:`KeyUnavailable` when there is none, or it is for another purpose."""
        key = self.content.key(name)
        if version:
            self.content.version(name, version)
        if purpose and purpose != key.purpose:
            raise KeyUnavailable(
                t(f"key {name} is for {key.purpose}", f"密钥 {name} 的用途为 {key.purpose}"), code="key.purpose"
            )
        return KeyHandle(self, name, purpose=purpose, system=system, pinned=version)

    def data_keys(self, purpose: str) -> DataKeys:
        """The keys of the hub's own data of one kind: ``store``, ``pseudonym`` … Raises :class:`KeysError` for a name that can't be.

        The key is made when the first is wanted to seal with; never to open with, since nothing can have been sealed then.
        """
        check_name(purpose, purpose)
        return _StoreRing(self, purpose)

    # -- changing ------------------------------------------------------------------------------------------------

    @contextmanager
    def change(self) -> Iterator[Draft]:
        """A change of the store, for :class:`hub.keys.orders.Orders`; see :meth:`hub.keys.vault.Vault.change`."""
        with self._file:
            self._changing = True  # what is being changed is not to be taken for what is stored
            try:
                with self._vault.change() as draft:
                    yield draft
            finally:
                self._changing = False
            self._changes, self.trouble = draft.changes, None
            self._use(draft.content)

    def settle_master(self) -> None:
        """See :meth:`hub.keys.vault.Vault.settle_master`."""
        with self._file:
            self._vault.settle_master()

    def flush_uses(self) -> int:
        """Write down what was used since the last time, as one entry of the journal; returns how many uses that were."""
        with self._lock:
            uses, since, now = self._uses, self._uses_since, self.clock()
            self._uses, self._uses_since = Counter(), now
        if not uses:
            return 0
        rows = [
            {"key": key, "version": version, "purpose": purpose, "system": system, "count": count}
            for (key, version, purpose, system), count in sorted(uses.items())
        ]
        try:
            with self.change() as draft:
                draft.note(entry("hub", "keys.use", "", {"from": int(since), "until": int(now), "uses": rows}))
        except BaseException:
            with self._lock:  # the next time
                self._uses.update(uses)
                self._uses_since = since
            raise
        return sum(uses.values())

    def journal(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """What was done and used, oldest first: ``seq``, ``at`` (Unix µs), ``entry`` (JSON text), ``hash``."""
        with self._file:
            return self._vault.journal(after, limit)

    def verify_journal(self) -> list[str]:
        """What is wrong with the journal; nothing when it is as it was written."""
        with self._file:
            return self._vault.verify_journal()

    @property
    def master(self) -> MasterSource:
        return self._vault.master


class _StoreRing:
    """The :class:`DataKeys` of a key store."""

    def __init__(self, store: KeyStore, name: str) -> None:
        self._store = store
        self._name = name
        self._known = False

    def current(self) -> tuple[int, bytes]:
        if not self._known:
            from hub.keys.orders import Orders  # it is written with the store

            Orders(self._store, actor="hub").ensure_data_key(self._name)
            self._known = True
        return self._store.secret(self._name, 0)

    def get(self, version: int) -> bytes:
        return self._store.secret(self._name, version)[1]


def _wipe(secret: bytearray) -> None:
    secret[:] = bytes(len(secret))
