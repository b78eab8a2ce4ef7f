"""The other side of the freight plugins, written without the hub: SM2 in plain integers, SM4 and AES by ``cryptography``, a ministry."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import shutil
import threading
from collections.abc import Callable
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES, SM4
from cryptography.hazmat.primitives.hashes import SM3, Hash

from tests.kernel.process import ROOT

__all__ = ["Exchange", "Server", "aes_cbc", "make_site", "secret_file", "sm2_open", "sm2_pair", "sm2_seal", "sm4_ecb"]

# GB/T 32918.5: the curve
_P = int("FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF", 16)
_A = _P - 3
_N = int("FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123", 16)
_G = (
    int("32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7", 16),
    int("BC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0", 16),
)
_Point = tuple[int, int] | None


def _add(one: _Point, two: _Point) -> _Point:
    if one is None or two is None:
        return one or two
    if one[0] == two[0]:
        if (one[1] + two[1]) % _P == 0:
            return None
        slope = (3 * one[0] * one[0] + _A) * pow(2 * one[1], -1, _P)
    else:
        slope = (two[1] - one[1]) * pow(two[0] - one[0], -1, _P)
    x = (slope * slope - one[0] - two[0]) % _P
    return x, (slope * (one[0] - x) - one[1]) % _P


def _times(factor: int, point: _Point) -> tuple[int, int]:
    found: _Point = None
    while factor:
        if factor & 1:
            found = _add(found, point)
        point = _add(point, point)
        factor >>= 1
    assert found is not None
    return found


def _bytes(point: tuple[int, int]) -> bytes:
    return point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


def _sm3(data: bytes) -> bytes:
    digest = Hash(SM3())
    digest.update(data)
    return digest.finalize()


def _kdf(shared: bytes, length: int) -> bytes:
    blocks = [_sm3(shared + count.to_bytes(4, "big")) for count in range(1, length // 32 + 2)]
    return b"".join(blocks)[:length]


def sm2_pair() -> tuple[str, str]:
    """(private, public) in hexadecimal, the public key with 04 in front."""
    private = secrets.randbelow(_N - 2) + 1
    return f"{private:064x}", "04" + _bytes(_times(private, _G)).hex()


def sm2_seal(public: str, data: bytes, order: str) -> bytes:
    """04, C1, then C2 and C3 in ``order``."""
    point = int(public[2:66], 16), int(public[66:], 16)
    k = secrets.randbelow(_N - 1) + 1
    shared = _bytes(_times(k, point))
    cipher = bytes(a ^ b for a, b in zip(data, _kdf(shared, len(data)), strict=True))
    check = _sm3(shared[:32] + data + shared[32:])
    head = b"\x04" + _bytes(_times(k, _G))
    return head + (cipher + check if order == "c1c2c3" else check + cipher)


def sm2_open(private: str, sealed: bytes, order: str) -> bytes:
    assert sealed[:1] == b"\x04"
    point = int.from_bytes(sealed[1:33], "big"), int.from_bytes(sealed[33:65], "big")
    rest = sealed[65:]
    cipher, check = (rest[:-32], rest[-32:]) if order == "c1c2c3" else (rest[32:], rest[:32])
    shared = _bytes(_times(int(private, 16), point))
    data = bytes(a ^ b for a, b in zip(cipher, _kdf(shared, len(cipher)), strict=True))
    if _sm3(shared[:32] + data + shared[32:]) != check:
        raise ValueError("C3")
    return data


def sm4_ecb(key: bytes, data: bytes, *, seal: bool) -> bytes:
    """ECB with PKCS #7."""
    if not seal:
        cipher = Cipher(SM4(key), modes.ECB()).decryptor()
        plain = cipher.update(data) + cipher.finalize()
        if not 1 <= plain[-1] <= 16 or plain[-plain[-1] :] != bytes([plain[-1]]) * plain[-1]:
            raise ValueError("padding")
        return plain[: -plain[-1]]
    pad = 16 - len(data) % 16
    encryptor = Cipher(SM4(key), modes.ECB()).encryptor()
    return encryptor.update(data + bytes([pad]) * pad) + encryptor.finalize()


def aes_cbc(key: bytes, iv: bytes, data: bytes) -> bytes:
    cipher = Cipher(AES(key), modes.CBC(iv)).decryptor()
    plain = cipher.update(data) + cipher.finalize()
    return plain[: -plain[-1]]


class Server:
    """An HTTP server in threads. ``answer`` gets method, path with query, headers and body; None closes the connection unanswered."""

    def __init__(self, answer: Callable[[str, str, dict[str, str], bytes], Any]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                reply = answer(self.command, self.path, headers, body)
                if reply is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                out = reply if isinstance(reply, bytes) else json.dumps(reply, ensure_ascii=False).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(out)))
                self.end_headers()
                self.wfile.write(out)

            do_GET = do_POST

            def log_message(self, *arguments: Any) -> None:
                return

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *arguments: Any) -> None:
                """Connections that were closed on purpose."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Exchange:
    """A platform with the ministry's envelope. ``forced``: what the next documents are answered with, before they are looked at;
    "lost" takes the document and closes the connection."""

    def __init__(self) -> None:
        self.private, self.public = sm2_pair()
        self.documents: dict[str, list[dict[str, Any]]] = {}  # by ipcType, opened
        self.references: list[str] = []  # of every call that got as far
        self.raw: list[bytes] = []
        self.logins = 0
        self.forced: list[str] = []
        self._tokens: set[str] = set()
        self._known: set[str] = set()
        self._server = Server(self._answer)
        self.url = self._server.url
        self.close = self._server.close

    def forget_tokens(self) -> None:
        self._tokens.clear()

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        tree = json.loads(body)
        if path == "/wlhy/token":
            self.logins += 1
            if tree != {"userName": "demo", "passWord": "Pass-1234"}:
                return {"code": 2001, "msg": "账号或密码错误"}
            token = secrets.token_hex(16)
            self._tokens.add(token)
            return {"code": 1001, "msg": "成功", "data": token}
        self.raw.append(body)
        header = tree["root"]["header"]
        if header.get("token") not in self._tokens:
            return {"code": 2001, "msg": "token 已失效"}
        self.references.append(header["messageReferenceNumber"])
        if header["messageReferenceNumber"] in self._known:
            return {"code": 3001, "msg": "报文编号重复"}
        forced = self.forced.pop(0) if self.forced else ""
        if forced and forced != "lost":
            return {"code": int(forced), "msg": "字段 permitNumber 校验未通过" if forced == "3005" else "测试"}
        sealed = tree["root"]["body"]
        if set(sealed) != {"encryptedCode", "encryptedContent"}:
            return {"code": 3004, "msg": "报文无法解析"}
        try:
            key = sm2_open(self.private, bytes.fromhex(sealed["encryptedCode"]), "c1c2c3")
            assert len(key) == 16
            assert key.decode().isalnum()
        except (ValueError, AssertionError):
            return {"code": 3006, "msg": "对称密钥解密失败"}
        plain = sm4_ecb(key, base64.b64decode(sealed["encryptedContent"], validate=True), seal=False)
        self._known.add(header["messageReferenceNumber"])
        self.documents.setdefault(header["ipcType"], []).append(json.loads(plain, parse_float=Decimal))
        return None if forced == "lost" else {"code": 1001, "msg": "成功"}


def form(body: bytes) -> dict[str, str]:
    return dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True))


def query(path: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(path).query))


def sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def secret_file(folder: Path, name: str, text: str) -> str:
    file = folder / "secrets" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    return f"file:{file}"


def make_site(folder: Path, systems: dict[str, Any], routes: dict[str, Any]) -> Path:
    """A hub with the freight plugins, their mappings and schemas as they are shipped; returns its configuration file."""
    shutil.copytree(ROOT / "plugins" / "freight", folder / "plugins" / "freight")
    for source in ("tables", "freight_ministry", "freight_tianjin", "freight_shaanxi", "logink_exchange"):
        shutil.copytree(ROOT / "mappings" / source, folder / "mappings" / source)
    for source in ("freight_monitor", "vehicle_platform"):
        shutil.copytree(ROOT / "mappings" / source, folder / "mappings" / source)
    own = {file.parent.name for file in (ROOT / "plugins" / "freight").glob("*/plugin.yaml")}
    for source in sorted({*own, "canonical"} & {file.name for file in (ROOT / "schemas").iterdir()}):
        shutil.copytree(ROOT / "schemas" / source, folder / "schemas" / source)
    (folder / "schemas" / "quality").mkdir()
    for file in (ROOT / "schemas" / "quality").glob("freight*.rules.yaml"):
        shutil.copy(file, folder / "schemas" / "quality")
    config = {
        "plugins": ["../plugins"],
        "mappings": ["../mappings"],
        "schemas": ["../schemas"],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": systems,
        "routes": routes,
    }
    file = folder / "config" / "hub.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return file
