"""What the tests of the audit trail share: the files of a deployment, filled without a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw

from hub.audit import entry
from hub.audit.keeper import AuditKeeper
from hub.audit.signing import Verifier
from hub.audit.sources import Source
from hub.audit.verifying import Verified, verify_trail
from hub.contract import HubConfig
from hub.keys.opened import close_key_store, folder_of, key_store, master_source
from hub.keys.orders import Orders
from hub.keys.store import KeyStore
from hub.store.catalog import Catalog

__all__ = ["FILES", "World", "edit"]

#: Chain -> its file and table.
FILES = {
    "hub": ("var/data/audit.db", "entry"),
    "worker-00": ("var/data/worker-00/catalog.db", "audit"),
    "worker-01": ("var/data/worker-01/catalog.db", "audit"),
    "keys": ("var/keys/keys.db", "journal"),
}


def edit(file: Path, *statements: str) -> None:
    """Change a database as somebody with a shell would."""
    db = apsw.Connection(str(file))
    try:
        for statement in statements:
            db.execute(statement)
        db.pragma("wal_checkpoint(TRUNCATE)")
    finally:
        db.close()


class World:
    """The data folder and the key store of a deployment."""

    def __init__(self, folder: Path, *, keys: bool = False, workers: int = 2, **audit: Any) -> None:
        self.folder = folder
        self.config = HubConfig.model_validate({"audit": audit})
        self.file = folder / "config" / "hub.yaml"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text("name: test\n")
        self.data = folder / "var" / "data"
        self.data.mkdir(parents=True)
        if keys:
            self.make_keys()
        self.catalogs = []
        for number in range(workers):
            place = self.data / f"worker-{number:02d}"
            place.mkdir()
            self.catalogs.append(Catalog(place / "catalog.db"))
        self.keeper = AuditKeeper(self.file, self.config, self.data)

    def make_keys(self) -> None:
        base = self.file.parent
        master = master_source(self.config.keys.master, base)
        KeyStore.create(folder_of(self.config.keys, base), master)

    def keys(self) -> KeyStore:
        return key_store(self.config.keys, self.file.parent)

    def orders(self) -> Orders:
        return Orders(self.keys(), actor="li")

    def restart_keys(self) -> None:
        close_key_store(self.config.keys, self.file.parent)

    def close(self) -> None:
        self.keeper.trail.close()
        for catalog in self.catalogs:
            catalog.close()
        self.restart_keys()

    def path(self, chain: str) -> Path:
        return self.folder / FILES[chain][0]

    def table(self, chain: str) -> str:
        return FILES[chain][1]

    def source(self, chain: str) -> Source:
        return next(source for source in self.keeper.chains() if source.name == chain)

    def fill(self, count: int = 3) -> None:
        """So many entries in the hub's and in each worker's chain."""
        for number in range(count):
            self.keeper.trail.record("li", "config.reload", "hub.yaml", {"n": number})
            for catalog in self.catalogs:
                catalog.append_audit(entry("wang", "delivery.resend", f"{number} deliveries", {"n": number}, "why"))

    def verify(self, *against: Path) -> Verified:
        self.restart_keys()
        return verify_trail(self.keeper.chains(), Verifier.of(self.config, self.file.parent), against)

    def edit(self, chain: str, *statements: str) -> None:
        edit(self.path(chain), *(text.format(t=self.table(chain)) for text in statements))

    def rows(self, chain: str) -> list[dict[str, Any]]:
        return list(self.source(chain).live())
