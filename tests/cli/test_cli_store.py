"""``hub store``: what is encrypted, and encrypting the rest."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hub.cli.store import app
from hub.config import load_config
from hub.errors import HubError
from hub.keys.opened import close_key_store, folder_of, master_source
from hub.keys.store import KeyStore
from hub.store.merged import open_reader
from hub.store.sealing import store_sealer
from hub.store.sqlite import SqliteStore
from tests.store.store_support import put_one


def configuration(folder: Path, encryption: str) -> Path:
    file = folder / "config" / "hub.yaml"
    file.parent.mkdir(exist_ok=True)
    settings = {
        "store": {"path": "../var", "min_free_disk": 0, "encryption": encryption},
        "keys": {"path": "../keys", "master": "file:../master.key"},
    }
    file.write_text(json.dumps(settings), encoding="utf-8")
    return file


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    if isinstance(done.exception, HubError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_a_plain_store_is_encrypted_and_the_status_tells(tmp_path: Path) -> None:
    file = configuration(tmp_path, "off")
    config = load_config(file).hub

    async def fill() -> int:
        store = SqliteStore(tmp_path / "var" / "worker-00", config.store)
        await store.open()
        message, _ = await put_one(store, raw=b"Penicillinallergie")
        await store.close()
        return message.id

    message_id = asyncio.run(fill())
    with pytest.raises(HubError, match="is off"):
        run("encrypt", "--config", str(file))
    configuration(tmp_path, "aes-256-gcm")
    KeyStore.create(folder_of(config.keys, file.parent), master_source(config.keys.master, file.parent))
    assert "1 segments encrypted" in run("encrypt", "--config", str(file))
    assert "0 segments encrypted" in run("encrypt", "--config", str(file))
    status = json.loads(run("status", "--config", str(file), "--json"))
    assert status["encryption"] == "aes-256-gcm"
    assert [(row["worker"], row["messages"], row["unsealed"]) for row in status["workers"]] == [("worker-00", 1, 0)]
    assert "worker-00" in run("status", "--config", str(file))
    content = b"".join(path.read_bytes() for path in (tmp_path / "var").rglob("*") if path.is_file())
    assert b"Penicillin" not in content

    async def read() -> bytes | None:
        reader = open_reader([tmp_path / "var" / "worker-00"], store_sealer(load_config(file).hub, file.parent))
        try:
            return await reader.raw_part(message_id, 0, 100)
        finally:
            await reader.close()

    assert asyncio.run(read()) == b"Penicillinallergie"
    close_key_store(config.keys, file.parent)
