"""``key:NAME`` in settings, and a running hub that takes up a rotated key."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from hub.errors import HubError
from hub.keys import material
from hub.keys.config import KeysConfig
from hub.keys.model import Kind, Policy
from hub.keys.opened import KeySecret, close_key_store, folder_of, key_store
from hub.keys.orders import Orders
from hub.keys.reference import References
from hub.keys.store import KeyStore
from hub.secrets import Secret, resolve
from tests.kernel.process import HubProcess, adt, make_site, wait_for
from tests.keys.keys_support import source

CONFIG = KeysConfig(path="keys", master="file:master.key")


@pytest.fixture
def references(tmp_path: Path) -> Iterator[References]:
    KeyStore.create(tmp_path / "keys", source(tmp_path))
    with KeyStore(tmp_path / "keys", source(tmp_path)) as store:
        orders = Orders(store, actor="li")
        orders.import_("app", Kind.SECRET, "login", material.read(Kind.SECRET, b"tiger"), policy=Policy())
        orders.import_("app", Kind.SECRET, "login", material.read(Kind.SECRET, b"lion"), policy=Policy())
        orders.generate("mac", Kind.HMAC, "mac", policy=Policy())
    yield References(CONFIG, tmp_path)
    close_key_store(CONFIG, tmp_path)


def test_references(references: References, tmp_path: Path) -> None:
    found = resolve("key:app", tmp_path, references)
    assert found.reveal() == "lion"
    assert repr(found) == "Secret(***)"
    assert resolve("key:app@1", tmp_path, references).reveal() == "tiger"
    assert len(bytes.fromhex(resolve("key:mac", tmp_path, references).reveal())) == 32
    assert resolve("key:app", tmp_path, references) == found


def test_the_handle_behind_a_setting_sees_what_comes_later(references: References, tmp_path: Path) -> None:
    found, pinned = references("app", system="his"), references("app@1")
    assert isinstance(found, KeySecret)
    assert isinstance(pinned, KeySecret)
    orders = Orders(key_store(CONFIG, tmp_path), actor="li")
    orders.import_("app", Kind.SECRET, "login", material.read(Kind.SECRET, b"panther"), policy=Policy())
    assert found.reveal() == "lion"
    assert found.handle.current().text().reveal() == "panther"
    assert [m.text().reveal() for m in found.handle.candidates()] == ["panther", "lion", "tiger"]
    assert pinned.handle.current().text().reveal() == "tiger"
    assert [m.version for m in pinned.handle.candidates()] == [1]
    assert type(copy.deepcopy(found)) is Secret


@pytest.mark.parametrize("reference", ["key:", "key:@1", "key:app@", "key:app@x", "key:app@-1", "key:app@1@2"])
def test_what_is_no_reference(references: References, tmp_path: Path, reference: str) -> None:
    with pytest.raises(HubError, match="not followed by the name of a key"):
        resolve(reference, tmp_path, references)


@pytest.mark.parametrize(("reference", "told"), [("key:nobody", "no key 'nobody'"), ("key:app@9", "no version 9")])
def test_what_is_not_there(references: References, tmp_path: Path, reference: str, told: str) -> None:
    with pytest.raises(HubError, match=told):
        resolve(reference, tmp_path, references)


def test_where_there_are_no_keys(tmp_path: Path) -> None:
    with pytest.raises(HubError, match="the key store can't be used here"):
        resolve("key:app", tmp_path)
    with pytest.raises(HubError) as caught:
        resolve("key:app", tmp_path, References(CONFIG, tmp_path))
    assert caught.value.remedy == "make it: hub keys init"
    assert not (tmp_path / "keys").exists()


class Target:
    """Remembers the bearer tokens it was shown."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        target = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                target.tokens.append(self.headers["Authorization"])
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *arguments: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def target() -> Iterator[Target]:
    server = Target()
    yield server
    server.close()


_PLATFORM = """
id: platform
name: 平台
settings: {token: {type: secret, required: true}}
interfaces:
  patient:
    direction: out
    adapter: http
    connect: {url: "URL", auth: {type: bearer, secret: "${token}"}}
    codec: json
    mapping: patient
"""


def test_a_running_hub_takes_up_a_new_version(tmp_path: Path, target: Target) -> None:
    config = make_site(tmp_path, target.url, watch=True)
    (tmp_path / "plugins" / "platform" / "plugin.yaml").write_text(
        _PLATFORM.replace("URL", target.url), encoding="utf-8"
    )
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    del settings["systems"]["west_platform"], settings["routes"]["west_up"]
    settings["systems"]["east_platform"]["settings"] = {"token": "key:app"}
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    keys = KeysConfig()
    folder, master = folder_of(keys, config.parent), source(config.parent)
    master.reference = keys.master
    KeyStore.create(folder, master)
    with KeyStore(folder, master) as store:
        orders = Orders(store, actor="li")

        def give(secret: bytes) -> None:
            found = material.read(Kind.SECRET, secret)
            orders.import_("app", Kind.SECRET, "login", found, owner="east_platform", policy=Policy())

        give(b"tiger")
        with HubProcess(config) as hub:
            hub.send(adt("1"))
            wait_for(lambda: target.tokens == ["Bearer tiger"], "the first token")
            give(b"lion")

            def reloaded() -> bool:
                entries = hub.call("GET", "/api/v1/audit").json["entries"]
                return any("east_platform/patient" in str(e["entry"]) for e in entries)

            wait_for(reloaded, "a reload by itself")
            hub.send(adt("2"))
            wait_for(lambda: target.tokens == ["Bearer tiger", "Bearer lion"], "the second token")
            assert "tongqu_key_store_trouble 0.0" in hub.call("GET", "/metrics").body.decode()
            log = (config.parent / "run.log").read_text()
            assert "tiger" not in log
            assert "lion" not in log
        uses = [row["entry"] for row in store.journal() if "keys.use" in row["entry"]]
        assert uses
        assert '"system":"east_platform"' in uses[0]
    assert sorted(os.listdir(folder)) == ["changed", "keys.db"]
