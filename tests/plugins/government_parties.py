"""The other sides of the government plugins, written without the hub: a middle platform and a department's system."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.hashes import SM3, Hash

from tests.plugins import sm2_check

__all__ = ["APP", "Department", "MiddlePlatform", "Server"]

APP = "HEALTH-APP-1"
#: How long somebody silent is waited for at most.
_SILENCE_S = 60.0
Answer = tuple[int, dict[str, str], bytes] | None
#: What the platform tells with each of its codes.
WORDS = {
    1001: "流水号重复",
    1002: "办件不存在",
    2001: "验签失败",
    2002: "时间戳超出范围或随机数已用",
    3001: "字段校验未通过",
    2003: "应用未授权此接口",
    3002: "缺少必要材料",
    3003: "事项或行政区划不存在",
    3004: "办件已办结",
    5001: "系统繁忙",
}


def sm3(data: bytes) -> str:
    digest = Hash(SM3())
    digest.update(data)
    return digest.finalize().hex()


def sealed(key: bytes, tree: Any) -> str:
    iv = secrets.token_bytes(12)
    encryptor = Cipher(SM4(key), modes.GCM(iv)).encryptor()
    data = encryptor.update(json.dumps(tree, ensure_ascii=False).encode()) + encryptor.finalize()
    return base64.b64encode(iv + data + encryptor.tag).decode()


def opened(key: bytes, text: str) -> Any:
    data = base64.b64decode(text, validate=True)
    decryptor = Cipher(SM4(key), modes.GCM(data[:12], data[-16:])).decryptor()
    return json.loads(decryptor.update(data[12:-16]) + decryptor.finalize())


class Server:
    """``answer`` gets path, headers and body; None closes the connection unanswered."""

    def __init__(self, answer: Callable[[str, dict[str, str], bytes], Answer]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                reply = answer(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                if reply is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                status, headers, out = reply
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(out))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(out)

            def log_message(self, *arguments: Any) -> None:
                return

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *arguments: Any) -> None:
                """Connections that were closed on purpose."""

        self.ended = threading.Event()
        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()


class MiddlePlatform:
    """Checks every signature, decrypts, keeps cases, and refuses what is out of place.

    ``forced``: codes the next calls are answered with before they are looked at; "lost" takes the call and closes the
    connection, "silent" does so at the end, "forged" takes it and signs the reply with another key.
    """

    def __init__(self) -> None:
        self.private = secrets.randbelow(1 << 250) + 1
        self.public = sm2_check.public_of(self.private)
        self.key = secrets.token_bytes(16)
        self.hub_private = secrets.randbelow(1 << 250) + 1
        self._hub_public = sm2_check.public_of(self.hub_private)
        self.calls: list[tuple[str, dict[str, Any]]] = []  # path, content: of every call that was taken
        self.tried: list[tuple[str, str]] = []  # path, orgbusno: of every call that could be read
        self.wrong: list[str] = []
        self.raw: list[bytes] = []
        self.forced: list[str | int] = []
        self._cases: dict[str, str] = {}  # number -> state
        self._seen: set[str] = set()
        self._nonces: set[str] = set()
        self._server = Server(self._answer)
        self.url = self._server.url

    def close(self) -> None:
        self._server.close()

    def taken(self, case: str) -> list[tuple[str, dict[str, Any]]]:
        return [(path, data) for path, data in self.calls if data.get("projid") == case]

    # -- as it is called ----------------------------------------------------------------------------------------------

    def _answer(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        self.raw.append(body)
        stamp, nonce = headers.get("x-timestamp", ""), headers.get("x-nonce", "")
        text = "\n".join((headers.get("x-app-id", ""), "POST", path, stamp, nonce, sm3(body))).encode()
        try:
            signature = bytes.fromhex(headers.get("x-signature", ""))
        except ValueError:
            signature = b""
        if headers.get("x-app-id") != APP or not sm2_check.verify(self._hub_public, text, signature):
            self.wrong.append(f"{path}: signature")
            return self._reply(2001)
        if not nonce or nonce in self._nonces or abs(int(stamp) / 1000 - time.time()) > 300:
            self.wrong.append(f"{path}: nonce or time")
            return self._reply(2002)
        self._nonces.add(nonce)
        try:
            data = opened(self.key, json.loads(body)["data"])
        except (InvalidTag, ValueError, KeyError):
            self.wrong.append(f"{path}: encryption")
            return self._reply(2001)
        self.tried.append((path, data.get("orgbusno", "")))
        forced = self.forced.pop(0) if self.forced else ""
        if isinstance(forced, int):
            return self._reply(forced)
        code, answer = self._take(path, data)
        if forced == "silent":
            self._server.ended.wait(_SILENCE_S)
        if forced in ("lost", "silent"):
            return None
        return self._reply(code, answer, forged=forced == "forged")

    def _take(self, path: str, data: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path in ("/hd1/cxbjlb", "/query/case"):
            cases = [{"projid": number, "projectstate": state} for number, state in self._cases.items()]
            return 0, {"total": len(cases), "list": [c for c in cases if c["projid"] == data.get("projid")]}
        if path == "/query/materials":
            return 0, {"materials": [{"attrid": each, "attrname": "营业执照", "istake": 1} for each in data["attrid"]]}
        number = data.get("orgbusno")
        if number and number in self._seen:
            return 1001, {}
        if not number and not path.startswith(("/hd1/1", "/hd2/")):
            return 3001, {}
        case = data.get("projid", "")
        if path == "/hd1/bjqlxxhj":
            if any(each["isneed"] == 1 and not each.get("files") for each in data["materials"]):
                return 3002, {}
            self._cases.setdefault(case, "已收件")
        elif path.startswith("/hd1/bj"):
            if case not in self._cases:
                return 1002, {}
            if self._cases[case] == "已办结":
                return 3004, {}
            if path == "/hd1/bjbj":
                self._cases[case] = "已办结"
        self._seen.add(number or "")
        self._seen.discard("")
        self.calls.append((path, data))
        return 0, {"serial": secrets.token_hex(8)}

    def _reply(self, code: int, answer: dict[str, Any] | None = None, *, forged: bool = False) -> Answer:
        tree = {"code": code, "msg": WORDS.get(code, "成功"), "data": answer or {}}
        body = json.dumps({"data": sealed(self.key, tree)}).encode()
        stamp = str(int(time.time() * 1000))
        key = secrets.randbelow(1 << 250) + 1 if forged else self.private
        signature = sm2_check.sign(key, f"200\n{stamp}\n{sm3(body)}".encode()).hex()
        return 200, {"Content-Type": "application/json", "X-Timestamp": stamp, "X-Signature": signature}, body

    # -- as it calls --------------------------------------------------------------------------------------------------

    def call(self, url: str, data: Any, **spoiled: Any) -> dict[str, Any]:
        """``spoiled``: key, data_key, app, stamp, nonce, body (what is sent in place of what was signed).

        Gives the reply. All but refusals of the signature must be signed and encrypted.
        """
        body = json.dumps({"data": sealed(spoiled.get("data_key", self.key), data)}).encode()
        app, nonce = spoiled.get("app", APP), spoiled.get("nonce") or secrets.token_hex(16)
        stamp = spoiled.get("stamp") or str(int(time.time() * 1000))
        path = "/" + url.split("/", 3)[3]
        text = "\n".join((app, "POST", path, stamp, nonce, sm3(body))).encode()
        headers = {
            "Content-Type": "application/json",
            "X-App-Id": app,
            "X-Timestamp": stamp,
            "X-Nonce": nonce,
            "X-Signature": sm2_check.sign(spoiled.get("key", self.private), text).hex(),
        }
        if data is not None and isinstance(data, dict) and "projid" in data:
            self._cases.setdefault(data["projid"], "已收件")
        request = urllib.request.Request(url, spoiled.get("body", body), headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return self._heard(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:  # what was refused by the other system has a status of its own
            return self._heard(error.code, error.headers, error.read())

    def _heard(self, status: int, headers: Message, out: bytes) -> dict[str, Any]:
        plain: dict[str, Any] = json.loads(out)
        if "X-Signature" not in headers:  # nothing is signed for somebody whose signature did not check
            assert plain["code"] in (2001, 2002)
            return plain
        signed = f"{status}\n{headers['X-Timestamp']}\n{sm3(out)}".encode()
        assert sm2_check.verify(self._hub_public, signed, bytes.fromhex(headers["X-Signature"]))
        reply: dict[str, Any] = opened(self.key, plain["data"])
        return reply


class Department:
    """Takes cases in versions, never replaces one, and answers searches."""

    def __init__(self) -> None:
        self.versions: dict[str, dict[int, dict[str, Any]]] = {}
        self.materials: list[dict[str, Any]] = []
        self.exchanges: list[dict[str, Any]] = []
        self.searches: list[dict[str, Any]] = []
        self.calls = 0
        self.fail_next: list[int] = []
        self._server = Server(self._answer)
        self.url = self._server.url

    def close(self) -> None:
        self._server.close()

    def _answer(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        self.calls += 1
        status, tree = self._take(path, headers, json.loads(body))
        return status, {"Content-Type": "application/json"}, json.dumps(tree, ensure_ascii=False).encode()

    def _take(self, path: str, headers: dict[str, str], tree: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if headers.get("authorization") != "Bearer token-of-the-department":
            return 401, {"message": "令牌无效"}
        if self.fail_next and self.fail_next[0] == 0:  # says nothing
            self.fail_next.pop(0)
            self._server.ended.wait(_SILENCE_S)
            return 503, {}
        if self.fail_next:
            return self.fail_next.pop(0), {"message": "测试"}
        if path == "/cases/search":
            self.searches.append(tree)
            if tree.get("regionCode") == "359998":
                return 422, {"message": "区划不在本机关范围"}
            found = [
                c for v in self.versions.values() for c in v.values() if c["case"]["number"] == tree.get("caseNumber")
            ]
            return 200, {"total": len(found), "cases": [{**c["case"], "state": "受理"} for c in found]}
        if path == "/cases/materials":
            self.materials.append(tree)
            return 200, {}
        if path == "/exchanges":
            self.exchanges.append(tree)
            return 200, {}
        kept = self.versions.setdefault(tree["case"]["number"], {})
        if path == "/cases/corrected" and tree["case"]["corrects"] not in kept:
            return 404, {"message": "没有被补正的版本"}
        if tree["case"]["version"] in kept:
            return 409, {"message": "该版本已收到"}
        kept[tree["case"]["version"]] = tree
        return 200, {}
