"""A key store under a master key of SoftHSM, in a process of its own, since SoftHSM reads its configuration once: ``keys_device.py MODULE FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import pkcs11

from hub.crypto.config import CryptoConfig
from hub.crypto.select import use
from hub.errors import HubError
from hub.keys.config import KeysConfig
from hub.keys.opened import close_key_store, folder_of, key_store, master_source
from hub.keys.orders import Orders
from hub.keys.store import KeyStore

TOKEN, PIN = "tongqu-keys", "654321"


def fill(module: str) -> None:
    with pkcs11.lib(module).get_token(token_label=TOKEN).open(rw=True, user_pin=PIN) as session:
        for label in ("one", "two"):
            session.generate_key(pkcs11.KeyType.AES, 256, label=label, store=True)


def main(module: str, base: Path) -> None:
    fill(module)
    (base / "pin").write_text(PIN)
    (base / "pin").chmod(0o600)
    device = {"module": module, "token": TOKEN, "pin": "file:pin"}
    use(CryptoConfig.model_validate({"pkcs11": device}), base)
    one, two = (KeysConfig(path="keys", master=f"pkcs11:{label}", cipher="sm4") for label in ("one", "two"))
    folder = folder_of(one, base)
    KeyStore.create(folder, master_source(one.master, base), cipher="sm4")
    secret = key_store(one, base).data_keys("store").current()
    try:
        KeyStore(folder, master_source(two.master, base))
    except HubError as error:
        print("refused:", error.code)
    count = Orders(key_store(one, base), actor="li").rotate_master("aes", to=master_source(two.master, base))
    close_key_store(one, base)
    print("sealed anew:", count)
    print("same:", key_store(two, base).data_keys("store").current() == secret)
    close_key_store(two, base)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
