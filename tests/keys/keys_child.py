"""A process of its own that works on a key store until it is killed: ``keys_child.py FOLDER WORK``."""

from __future__ import annotations

import sys
from pathlib import Path

from hub.keys.orders import Orders
from hub.keys.store import KeyStore
from tests.keys.keys_support import source


def main(folder: Path, work: str) -> None:
    if work == "ring":  # several at once: whoever comes first makes it
        with KeyStore(folder / "keys", source(folder)) as store:
            ring = store.data_keys("store")
            print(ring.current()[1].hex(), flush=True)
            for _ in range(10):
                version = Orders(store, actor="child").rotate("store").number
                print(version, ring.get(version).hex(), flush=True)
        return
    store = KeyStore(folder / "keys", source(folder))
    orders = Orders(store, actor="child")
    while True:
        if work == "master":
            orders.rotate_master("aes")
        else:
            print(orders.rotate("store").number, flush=True)
            continue
        print("done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
