"""The unified portal and its applications, written without the hub, and a hub between them with the plugins as they are delivered.

Envelope by ``cryptography`` (SM4) and plain integers (SM2); what an application accepts is written from the contract by hand.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.hashes import SM3, Hash

from tests.kernel.process import ROOT, HubProcess, wait_for
from tests.plugins.freight_support import secret_file
from tests.plugins.sm2_check import public_of, sign, verify

__all__ = ["APPS", "LISTS", "OWN", "TIME", "World", "arrived", "make_site"]

#: The applications of the site, by the names of their systems in the hub, which are their codes.
APPS = (
    *("oa", "tcm", "blood_center", "cloud_imaging", "phip", "phip_hr", "usc_gov_service", "usc_review_expert"),
    "usc_gov_service_fertility_registration",
)
TIME = "2026-01-15T09:30:00+08:00"
EVENTS = ("user_info_sync", "user_status_push", "perm_change_push", "user_mapping", "todo_status_sync")
COMMANDS = (
    *("nonsso_temp_token_issue", "nonsso_token_check", "third_party_user_list", "perm_manual_refresh"),
    *("todo_jump", "app_launch", "mobile_user_pass", "conn_test"),
)
RECEIVES = (
    *("sso_authorize_forward", "sso_oauth2_login", "sso_cas_login"),
    *("sso_token_issue", "sso_token_check", "sso_userinfo_sync", "nonsso_login_status_callback"),
    *("role_query", "perm_query_data", "perm_query_function", "perm_query_menu", "todo_pull", "todo_status_received"),
    *("notice_pull", "notice_received", "app_info", "call_log_sync"),
)
#: What an application is read, below its ``/portal/``.
LISTS = (
    *("roles", "permissions/data", "permissions/function", "permissions/menu"),
    *("todos", "notices", "app-info", "call-logs"),
)
#: Interfaces some of them have besides, by application.
OWN = {
    "cloud_imaging": (
        *("history_exam_query", "report_view", "image_view", "image_download", "image_share", "authorise"),
        "referral_results",
    ),
    "phip": (
        *("referral_history", "referral_visit_detail", "referral_full_record", "referral_process_sync"),
        "lab_report_source",
    ),
    "usc_gov_service_fertility_registration": ("qhbm", "zidian", "progress"),
    "usc_review_expert": ("mobile_confirm",),
    "phip_hr": ("qualification_query",),
    "oa": ("sync_case", "fetch_result"),
}
#: A business system that tells and asks what only some applications know.
_ASKER = """
id: asker
name: 业务系统
interfaces:
  tell: {direction: in, adapter: http, listen: {port: 0, path: /tell, auth: {type: none}}, codec: json, type: kind, control_id: eventId}
  ask:
    direction: in
    style: request
    adapter: http
    listen: {port: 0, path: /ask, auth: {type: none}}
    codec: json
    type: kind
    control_id: requestId
    reply_mapping: portal/answer
    error_mapping: portal/refusal
"""
#: What arrives at the portal and its identity service.
_UP = {
    "identity": ("login_status", "roles", "permissions"),
    "portal": ("todo", "todo_status", "notice", "app_info", "call_log"),
}
_QUICK = {
    "retry": {"attempts": 3, "interval": "30ms"},
    "breaker": {"failures": 1000, "open_for": "50ms", "max_open_for": "100ms"},
}


def _hash(data: bytes) -> str:
    digest = Hash(SM3())
    digest.update(data)
    return digest.finalize().hex()


class Envelope:
    """One side of an exchange: its own private key, the other's public key, the key both have."""

    def __init__(self, private: int, other: bytes, key: bytes) -> None:
        self.private, self.other, self.key = private, other, key

    def seal(self, tree: Any, about: str) -> tuple[bytes, dict[str, str]]:
        """``about``: what is signed besides: method and path of a call, the nonce of the call of an answer."""
        plain = json.dumps(tree, ensure_ascii=False).encode()
        pad = 16 - len(plain) % 16
        iv = secrets.token_bytes(16)
        cipher = Cipher(SM4(self.key), modes.CBC(iv)).encryptor()
        body = json.dumps({"data": base64.b64encode(iv + cipher.update(plain + bytes([pad]) * pad)).decode()}).encode()
        stamp, nonce = str(int(time.time() * 1000)), secrets.token_hex(16)
        raw = sign(self.private, f"{about}\n{stamp}\n{nonce}\n{_hash(body)}".encode())
        signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        headers = {"X-Timestamp": stamp, "X-Nonce": nonce, "X-Signature": base64.b64encode(signature).decode()}
        return body, headers

    def open(self, body: bytes, headers: dict[str, str], about: str) -> Any:
        """Raises ``ValueError`` for what the other side did not sign."""
        text = f"{about}\n{headers['x-timestamp']}\n{headers['x-nonce']}\n{_hash(body)}".encode()
        r, s = decode_dss_signature(base64.b64decode(headers["x-signature"], validate=True))
        if not verify(self.other, text, r.to_bytes(32, "big") + s.to_bytes(32, "big")):
            raise ValueError("signature")
        tree = json.loads(body)
        if set(tree) != {"data"}:
            raise ValueError("envelope")
        sealed = base64.b64decode(tree["data"], validate=True)
        cipher = Cipher(SM4(self.key), modes.CBC(sealed[:16])).decryptor()
        plain = cipher.update(sealed[16:])
        return json.loads(plain[: -plain[-1]])


class World:
    """The portal, its identity service and the applications behind one address; every body is opened, checked and kept."""

    def __init__(self) -> None:
        hub, partner = (secrets.randbelow(1 << 250) + 1 for _ in range(2))
        self.key = secrets.token_bytes(16)
        self.side = Envelope(partner, public_of(hub), self.key)
        self.hub_private, self.partner_public = f"{hub:064x}", public_of(partner).hex()
        self.got: list[tuple[str, dict[str, Any]]] = []  # (path, what was said)
        self.numbers: dict[str, list[str]] = {}  # path -> Idempotency-Key of each call
        self.wrong: list[str] = []
        self.fail: dict[str, list[int]] = {}  # path -> codes of the next answers
        self.forge = False  # answer with a signature nobody made
        self.answered: tuple[bytes, dict[str, str]] | None = None  # the last answer
        self.replay: tuple[bytes, dict[str, str]] | None = None  # one of another call, said to every call
        self.lists: dict[str, list[dict[str, Any]]] = {}  # path -> items of a list, of others it is empty
        self._ports: dict[str, int] = {}  # of the hub's interfaces; its status is long
        world = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                told = {name.lower(): value for name, value in self.headers.items()}
                out, headers = world._answer(self.path, told, body)
                self.send_response(200)
                for name, value in {**headers, "Content-Length": str(len(out))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(out)

            def log_message(self, *arguments: Any) -> None:
                return

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def said(self, path: str) -> list[dict[str, Any]]:
        return [body for where, body in list(self.got) if where == path]

    def _answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[bytes, dict[str, str]]:
        try:
            tree = self.side.open(body, headers, f"POST\n{path}")
        except (ValueError, KeyError) as error:
            self.wrong.append(f"{path}: {error}")
            return self._sealed({"code": 401, "message": "签名或密钥不符", "data": {}}, headers)
        self.got.append((path, tree))
        self.numbers.setdefault(path, []).append(headers.get("idempotency-key", ""))
        if self.fail.get(path):
            code = self.fail[path].pop(0)
            return self._sealed({"code": code, "message": "测试", "data": {}}, headers)
        return self._sealed({"code": 0, "message": "ok", "data": self._data(path, tree)}, headers)

    def _sealed(self, tree: Any, asked: dict[str, str]) -> tuple[bytes, dict[str, str]]:
        if self.replay is not None:
            return self.replay
        body, headers = self.side.seal(tree, asked.get("x-nonce", ""))
        if self.forge:
            headers["X-Signature"] = self.side.seal({"other": 1}, "")[1]["X-Signature"]
        self.answered = body, headers
        return body, headers

    def _data(self, path: str, tree: dict[str, Any]) -> Any:
        _, _, rest = path.partition("/portal/")
        if rest in LISTS:
            items = [
                item
                for item in self.lists.get(path, [])
                if item.get("updatedAt", item.get("calledAt", "")) >= tree.get("since", "")
            ]
            return {"items": items, "total": len(items)} if "page" in tree else {"items": items}
        if path.startswith("/identity/sso/authorize"):
            said = {
                name: tree[name]
                for name in ("clientId", "state", "redirectUri", "codeChallenge", "renew")
                if name in tree
            }
            return {"location": f"https://portal.example/login?{urllib.parse.urlencode(said)}"}
        if path == "/identity/sso/token":
            return {"accessToken": "good", "tokenType": "Bearer", "expiresIn": 3600}
        if path.startswith("/identity/sso/"):
            known = tree["token"] == "good"
            return {"active": known, "application": tree["application"], **({"userName": "zhangsan"} if known else {})}
        answers: dict[str, Callable[[], Any]] = {
            "token": lambda: {"token": f"T-{tree['account']}-{tree['expiresIn']}"},
            "token/check": lambda: {"valid": tree["token"] == "T-a1-3600"},
            "users/list": lambda: {"total": 1, "items": [{"account": "a1", "name": tree.get("keyword", "")}]},
            "permissions/user": lambda: {"menus": [{"name": "办件", "path": "/cases", "level": 1}]},
            "todos/jump": lambda: {"url": f"https://app.example/todo/{tree['todoId']}?u={tree['account']}"},
            "launch": lambda: {"url": f"https://app.example/?u={tree['account']}&m={tree['mode']}"},
            "mobile-entry": lambda: {"url": f"https://m.app.example/?u={tree['account']}"},
        }
        return answers[rest]() if rest in answers else {} if rest else {"asked": path}

    # -- calling the hub -----------------------------------------------------------------------------------------

    def call(
        self,
        hub: HubProcess,
        place: str,
        path: str,
        tree: Any,
        *,
        forged: bool = False,
        sent: tuple[bytes, dict[str, str]] | None = None,
    ) -> dict[str, Any]:
        """Call an interface of the hub and open its answer; ``sent``: a call as it was sent before."""
        body, headers = sent or self.side.seal(tree, f"POST\n{path}")
        if forged:
            headers["X-Signature"] = self.side.seal({"other": 1}, "")[1]["X-Signature"]
        if place not in self._ports:
            self._ports = {
                name: told["port"]
                for worker in hub.workers()
                for name, told in worker["inbound"].items()
                if "port" in told
            }
        port = self._ports[place] if place in self._ports else hub.port(place)
        url = f"http://127.0.0.1:{port}{path}"
        request = urllib.request.Request(url, body, {**headers, "Content-Type": "application/json"}, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                raw, told = answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            raw, told = error.read(), error.headers
        found = {name.lower(): value for name, value in told.items()}
        if "x-signature" not in found:  # a refusal of a call that nobody signed as agreed
            assert forged or sent is not None
            return dict(json.loads(raw))
        return dict(self.side.open(raw, found, headers["X-Nonce"]))


def make_site(folder: Path, world: World, apps: tuple[str, ...] = APPS, *, bare: bool = False) -> Path:
    """The configuration of a hub between the portal and the applications, which share a port; ``bare``: without cryptography."""
    keys = {
        "sm4_key": secret_file(folder, "sm4", world.key.hex()),
        "private_key": secret_file(folder, "private", world.hub_private),
        "partner_key": secret_file(folder, "partner", world.partner_public),
        "port": 0,
    }
    long = dict.fromkeys(("permissions_every", "todo_every", "notice_every", "app_info_every", "call_log_every"), "24h")
    systems: dict[str, Any] = {
        side: {
            "plugin": f"unified_{side}",
            "settings": {**keys, "base_url": f"{world.url}/{side}"},
            "interfaces": dict.fromkeys(
                _UP[side] + (("authorize", "token", "token_check", "user_info") if side == "identity" else ()), _QUICK
            ),
        }
        for side in _UP
    }
    for app in apps:
        own = OWN.get(app, ())
        quick: dict[str, Any] = dict.fromkeys((*EVENTS, *COMMANDS, *own), _QUICK)
        systems[app] = {
            "plugin": app,
            "settings": {**keys, **long, "base_url": f"{world.url}/apps/{app}"},
            "interfaces": {key: {"security": []} for key in (*EVENTS, *COMMANDS, *RECEIVES, *own)} if bare else quick,
        }
    routes: dict[str, Any] = {
        "events": {
            "from": ["identity/event", "portal/event"],
            "to": [f"{app}/{name}" for app in apps for name in EVENTS],
        },
        "login": {
            "from": list(apps),
            "types": "sso.*",
            "to": [f"identity/{name}" for name in ("authorize", "token", "token_check", "user_info")],
        },
        "up": {
            "from": list(apps),
            "types": "app.*",
            "to": [f"{side}/{name}" for side, names in _UP.items() for name in names],
        },
    }
    for app in apps:
        routes[f"commands_{app}"] = {
            "from": ["identity/command", "portal/command"],
            "types": f"portal.*.{app}",
            "to": [f"{app}/{name}" for name in COMMANDS],
        }
    if {"oa", "usc_gov_service"} <= set(apps):
        to = ["oa/sync_case", "oa/fetch_result"]
        routes["approval"] = {"from": "usc_gov_service", "types": "approval.*", "to": to}
    systems["asker"] = {"plugin": "asker"}
    routes["own"] = {"from": "asker", "to": [f"{app}/{name}" for app in apps for name in OWN.get(app, ())]}
    asker = folder / "plugins" / "asker" / "plugin.yaml"
    asker.parent.mkdir(parents=True)
    asker.write_text(_ASKER, encoding="utf-8")
    config = {
        "plugins": [str(ROOT / "plugins" / "profiles"), str(ROOT / "plugins" / "provincial"), "../plugins"],
        "mappings": [str(ROOT / "mappings")],
        "schemas": [str(ROOT / "schemas")],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": systems,
        "routes": routes,
    }
    file = folder / "config" / "hub.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return file


def arrived(world: World, path: str, count: int = 1) -> list[dict[str, Any]]:
    """What arrived at a path, once there is so much."""
    wait_for(lambda: len(world.said(path)) >= count, f"{count} at {path}")
    return world.said(path)
