"""The platform of 医保移动支付, played by hand: keys, envelope and signature by other means than the hub's own."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.plugins.sm2_check import sign, verify

__all__ = ["MobilePlatform", "opened", "sealed"]

_PATHS = {
    "/org/local/api/hos/uldFeeInfo": "6201",
    "/org/local/api/hos/pay_order": "6202",
    "/org/local/api/hos/refund_Order": "6203",
    "/org/local/api/hos/query_order_info": "6301",
    "/org/local/api/hos/revoke_order": "6401",
    "/sync": "6204",
    "/terminal": "ec",
}


def _sm4(key: bytes, data: bytes, *, encrypt: bool) -> bytes:
    cipher = Cipher(algorithms.SM4(key), modes.ECB())
    pkcs7 = padding.PKCS7(128)
    if encrypt:
        padder = pkcs7.padder()
        worker = cipher.encryptor()
        return worker.update(padder.update(data) + padder.finalize()) + worker.finalize()
    worker = cipher.decryptor()
    plain = worker.update(data) + worker.finalize()
    unpadder = pkcs7.unpadder()
    return unpadder.update(plain) + unpadder.finalize()


def _key(app_id: str, secret: str) -> bytes:
    return _sm4(app_id[:16].encode(), secret.encode(), encrypt=True).hex().upper()[:16].encode()


def _text(call: dict[str, Any], data: str, secret: str) -> bytes:
    names = {
        "appId": call["appId"],
        "data": data,
        "encType": "SM4",
        "signType": "SM2",
        "timestamp": call["timestamp"],
        "version": call["version"],
        **({"transType": call["transType"]} if "transType" in call else {}),
    }
    return ("&".join(f"{name}={names[name]}" for name in sorted(names)) + f"&key={secret}").encode()


def _sorted(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def opened(call: dict[str, Any], app_id: str, secret: str, public: bytes) -> Any:
    """``data`` of a call; raises ``ValueError`` for one that is not as agreed."""
    if call["appId"] != app_id or call["encType"] != "SM4" or call["signType"] != "SM2" or "data" in call:
        raise ValueError("envelope")
    if abs(time.time() - int(call["timestamp"]) / 1000) > 300:
        raise ValueError("timestamp: milliseconds")
    data = json.loads(_sm4(_key(app_id, secret), bytes.fromhex(call["encData"]), encrypt=False))
    if not verify(public, _text(call, _sorted(data), secret), base64.b64decode(call["signData"])):
        raise ValueError("signData")
    return data


def sealed(data: Any, app_id: str, secret: str, private: int) -> dict[str, Any]:
    call: dict[str, Any] = {
        "appId": app_id, "encType": "SM4", "signType": "SM2", "timestamp": str(int(time.time() * 1000)), "version": "2.0.1",
    }  # fmt: skip
    text = _sorted(data)
    call["encData"] = _sm4(_key(app_id, secret), text.encode(), encrypt=True).hex()
    call["signData"] = base64.b64encode(sign(private, _text(call, text, secret))).decode()
    return call


class MobilePlatform:
    """Orders with their states; ``silent`` transactions get no answer."""

    def __init__(self, app_id: str, secret: str, public: bytes, private: int) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.wrong: list[str] = []
        self.states: dict[str, str] = {}
        self.silent: set[str] = set()
        self.kinds: list[str] = []  # transType of the calls that have one
        self._let_go = threading.Event()
        platform = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                infno = _PATHS[self.path]
                try:
                    call = json.loads(raw)
                    data = opened(call, app_id, secret, public)
                    if infno == "ec":
                        platform.kinds.append(call["transType"])
                except (ValueError, KeyError) as why:
                    platform.wrong.append(str(why))
                    body: dict[str, Any] = {"code": 401, "message": "验签失败", "success": False}
                else:
                    platform.calls.append((infno, data))
                    if infno in platform.silent:
                        platform._let_go.wait(30)
                        self.close_connection = True
                        return
                    code, text, out = platform.answer(infno, data)
                    body = {"code": code, "message": text, "success": code == 0}
                    if code == 0:
                        body |= sealed(out, app_id, secret, private)
                made = json.dumps(body, ensure_ascii=False).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(made)))
                self.end_headers()
                self.wfile.write(made)

            def log_message(self, *arguments: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *arguments: Any) -> None:
                """A caller that gave up."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, infno: str, data: dict[str, Any]) -> tuple[int, str, Any]:
        if infno == "6201":
            order = f"PO{len(self.states) + 1:010d}"
            self.states[order] = "0"
            return 0, "成功", {"payOrdId": order, "payToken": f"T{order}", "extData": {}}
        if infno == "ec":
            return 0, "成功", {"authNo": f"A{data['outBizNo']}", "ecToken": "EC1", "userName": "林样例"}
        order = data["payOrdId"]
        if order not in self.states:
            return 1001, "订单不存在", None
        amounts = {"feeSumamt": 51.6, "ownPayAmt": 15.48, "psnAcctPay": 0, "fundPay": 36.12}
        if infno == "6204":
            return 0, "成功", {}
        if infno == "6202":
            self.states[order] = "6"
        if infno == "6401":
            self.states[order] = "12"
            return 0, "成功", {"success": True}
        if infno == "6203":
            self.states[order] = "7"
            return (
                0,
                "成功",
                {
                    "refdSn": "R1",
                    "hiFefdSn": "H1",
                    "hiTrnsDate": "20261128",
                    "hiTrnsTime": "100000",
                    "refStatus": "SUCC",
                },
            )
        return 0, "成功", {"payOrdId": order, "ordStas": self.states[order], **amounts}

    def close(self) -> None:
        self._let_go.set()
        self._server.shutdown()
        self._server.server_close()
