"""A hub as a process of its own with an interface of each kind, raw sockets to attack it with, and a look for what leaked.

Everything secret in it is planted: it must appear in no answer, log line, metric, error or refusal.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import socket
import sqlite3
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from adapters.mllp.framing import frame
from tests.adapters.certificates import Authority
from tests.kernel.process import HubProcess, Sink, wait_for

__all__ = ["Fortress", "Response", "build", "hl7"]

TOKEN = "planted-bearer-4c1f77e2a90b"
SIGNING = "planted-signing-83ab5510fe62"
KEY = "9f3a51c2d07be8461240aa97cc15de38"
OUT_TOKEN = "planted-outgoing-token-5e11c0d4"
PASSWORD = "planted-database-password-77"
#: With a correct check digit, of nobody: the region does not exist.
ID_CARD = "990101199003070012"
PATIENT = "欧阳甲乙"
PLANTED = (TOKEN, SIGNING, KEY, OUT_TOKEN, PASSWORD)

_SLOW_S = 1.0
_PEOPLE_CONNECT = 30

_PLUGIN: dict[str, Any] = {
    "id": "fort",
    "name": "fort",
    "settings": {
        name: {"type": "secret", "required": True} for name in ("token", "signing", "key")
    } | {"certificate": {"type": "string", "required": True}, "drop": {"type": "string", "required": True}},
    "interfaces": {
        "json": {
            "direction": "in", "adapter": "http", "codec": "json", "type": "type", "control_id": "id",
            "keys": {"id_number": "id_number", "where": "where", "name": "name"}, "max_size": "256KB",
            "listen": {
                "path": "/json", "auth": {"type": "bearer", "secret": "${token}"}, "body_timeout": f"{_SLOW_S}s",
                "keepalive_timeout": f"{_SLOW_S}s", "max_connections": _PEOPLE_CONNECT,
            },
        },
        "signed": {
            "direction": "in", "adapter": "http", "codec": "json", "type": "type", "control_id": "id",
            "listen": {"path": "/signed", "auth": {"type": "none"}, "host": "127.0.0.2"},
            "security": [
                {"encryption": {"algorithm": "sm4-gcm", "key": "${key}"}},
                {"signature": {
                    "algorithm": "hmac-sha256", "secret": "${signing}", "at": {"header": "X-Sign"},
                    "text": "{method}\n{target}\n{time}\n{nonce}\n{header.X-Client}\n{body}",
                    "values": {
                        "time": {"now": "ms", "at": {"header": "X-Time"}},
                        "nonce": {"random": 16, "at": {"header": "X-Nonce"}},
                    },
                }},
            ],
        },
        "tls": {
            "direction": "in", "adapter": "http", "codec": "json", "type": "type", "control_id": "id",
            "listen": {
                "host": "127.0.0.3", "path": "/tls", "auth": {"type": "bearer", "secret": "${token}"},
                "tls": {"certificate": "${certificate}.pem", "key": "${certificate}.key", "min_version": "1.3"},
            },
        },
        "xml": {
            "direction": "in", "adapter": "http", "codec": "xml", "type": "'x'", "max_size": "1MB",
            "listen": {"path": "/xml", "auth": {"type": "bearer", "secret": "${token}"}, "host": "127.0.0.4"},
        },
        "soap": {
            "direction": "in", "adapter": "soap", "codec": "xml", "type": "'x'", "max_size": "1MB",
            "listen": {"path": "/soap", "auth": {"type": "bearer", "secret": "${token}"}, "host": "127.0.0.5"},
        },
        "hl7": {
            "direction": "in", "adapter": "mllp", "codec": "hl7v2", "keys": {"id_number": "PID-19"},
            "max_size": "256KB",
            "listen": {"port": 0, "max_connections": _PEOPLE_CONNECT, "frame_timeout": f"{_SLOW_S}s", "idle_timeout": "3s"},
        },
        "tcp": {
            "direction": "in", "adapter": "tcp", "codec": "json", "type": "type", "control_id": "id",
            "listen": {
                "port": 0, "framing": {"type": "length", "digits": 8}, "max_size": "64KB", "frame_timeout": f"{_SLOW_S}s",
                "answers": {"accepted": "OK", "refused": "NO {code} {text}", "later": "WAIT"},
            },
        },
        "drop": {
            "direction": "in", "adapter": "file", "codec": "json", "type": "type", "control_id": "id",
            "listen": {"root": "${drop}", "match": ["*.json"], "schedule": {"every": "1s"}, "complete": {"by": "name"}},
        },
    },
}  # fmt: skip
_TARGETS: dict[str, Any] = {
    "id": "targets",
    "name": "targets",
    "settings": {
        "url": {"type": "url", "required": True},
        "token": {"type": "secret", "required": True},
        "folder": {"type": "string", "required": True},
        "database": {"type": "string", "required": True},
    },
    "interfaces": {
        "web": {
            "direction": "out", "adapter": "http", "codec": "json", "order_by": "key", "accepts": "web",
            "connect": {
                "url": "${url}", "path": "/in/{where}", "headers": {"X-Patient": "{name}"},
                "auth": {"type": "bearer", "secret": "${token}"},
            },
            "retry": {"attempts": 0},
        },
        "file": {
            "direction": "out", "adapter": "file", "codec": "json", "accepts": "file",
            "connect": {"root": "${folder}", "name": "{control_id}.json"}, "retry": {"attempts": 0},
        },
        "db": {
            "direction": "out", "adapter": "sql", "codec": "json", "accepts": "db", "order_by": "key",
            "connect": {
                "database": {"product": "sqlite", "database": "${database}"},
                "write": {"action": "insert", "table": "visit", "columns": {"id": "id", "name": "name"}},
            },
            "retry": {"attempts": 0},
        },
    },
}  # fmt: skip


@dataclass
class Response:
    status: int
    head: str
    body: bytes

    @property
    def code(self) -> str:
        import json

        try:
            return str(json.loads(self.body).get("code", ""))
        except (ValueError, AttributeError):
            return ""


@dataclass
class Fortress:
    """The running hub, and every byte it answered so far."""

    folder: Path
    hub: HubProcess
    sink: Sink
    answered: list[bytes] = field(default_factory=list)

    def address(self, name: str) -> tuple[str, int]:
        for worker in self.hub.workers():
            found = worker["inbound"].get(f"fort/{name}")
            if found:
                return str(found.get("host", "127.0.0.1")), int(found["port"])
        raise AssertionError(f"fort/{name} does not listen")

    # -- attacking -------------------------------------------------------------------------------------------------

    def connect(self, name: str, *, timeout: float = 10.0) -> socket.socket:
        return socket.create_connection(self.address(name), timeout=timeout)

    def raw(self, name: str, data: bytes, *, timeout: float = 10.0) -> bytes:
        """Send bytes and read until the hub closes, or says nothing for a while."""
        with self.connect(name, timeout=timeout) as wire:
            with contextlib.suppress(OSError):  # the hub may hang up before it has read everything
                wire.sendall(data)
            return self.read(wire)

    def read(self, wire: socket.socket) -> bytes:
        found = b""
        with contextlib.suppress(OSError):
            while data := wire.recv(65536):
                found += data
        self.answered.append(found)
        return found

    def http(
        self,
        name: str,
        body: bytes = b"",
        *,
        method: str = "POST",
        path: str = "",
        headers: dict[str, str] | None = None,
    ) -> Response:
        """One call with the right bearer token unless the headers say otherwise."""
        given = {
            "Host": "hub",
            "Content-Type": "application/json",
            "Authorization": f"Bearer {TOKEN}",
            **(headers or {}),
        }
        lines = "".join(f"{key}: {value}\r\n" for key, value in given.items() if value)
        head = (
            f"{method} {path or '/' + name} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return self.parsed(self.raw(name, head.encode("utf-8", "surrogateescape") + body))

    @staticmethod
    def parsed(data: bytes) -> Response:
        head, _, body = data.partition(b"\r\n\r\n")
        first = head.split(b" ", 2)
        status = int(first[1]) if len(first) > 1 and first[1].isdigit() else 0
        return Response(status, head.decode("latin-1"), body)

    def mllp(self, message: bytes) -> bytes:
        with self.connect("hl7") as wire:
            wire.sendall(frame(message))
            found = b""
            with contextlib.suppress(OSError):
                while not found.endswith(b"\x1c\r") and (data := wire.recv(65536)):
                    found += data
            self.answered.append(found)
            return found

    def tcp(self, body: bytes) -> bytes:
        with self.connect("tcp") as wire:
            wire.sendall(b"%08d" % len(body) + body)
            found = b""
            with contextlib.suppress(OSError):
                while len(found) < 8 or len(found) < 8 + int(found[:8]):
                    data = wire.recv(65536)
                    if not data:
                        break
                    found += data
            self.answered.append(found)
            return found

    # -- looking ---------------------------------------------------------------------------------------------------

    @property
    def log(self) -> str:
        return (self.folder / "config" / "run.log").read_text(encoding="utf-8", errors="replace")

    def stored(self) -> int:
        return sum(
            int(row["accepted"]) for w in self.hub.workers() for row in w["inbound"].values() if "accepted" in row
        )

    def messages(self) -> list[dict[str, Any]]:
        return list(self.hub.call("GET", "/api/v1/messages?limit=500").json["messages"])

    def calls(self, **query: str) -> list[dict[str, Any]]:
        text = "&".join(f"{key}={value}" for key, value in {"limit": "200", **query}.items())
        return list(self.hub.call("GET", f"/api/v1/calls?{text}").json["calls"])

    def refused_with(self, code: str, place: str = "") -> None:
        """Wait until the call log has a refusal of this code."""
        wait_for(
            lambda: any(call["code"] == code and (not place or call["place"] == place) for call in self.calls()),
            f"a refusal {code}",
            20.0,
        )

    def refused_at(self, place: str) -> None:
        """Wait until the call log has a refusal of this place."""
        wait_for(
            lambda: any(call["place"] == place and call["outcome"] == "refused" for call in self.calls()),
            f"a refusal at {place}",
            20.0,
        )

    def alive(self) -> None:
        """It still serves an honest caller."""
        number = os.urandom(6).hex()
        answer = self.http("json", b'{"type":"honest","id":"%b"}' % number.encode())
        assert answer.status == 202, (answer.head, answer.body)

    def leaked(self) -> list[str]:
        """Planted secrets found where nothing secret may stand."""
        metrics = self.hub.call("GET", "/metrics").body
        calls = repr(self.calls())
        places = {
            "answers": b"".join(self.answered),
            "log": self.log.encode(),
            "metrics": metrics,
            "calls": calls.encode(),
        }
        secrets = [*PLANTED, self.hub.token]
        found = [
            f"{place}: {secret[:12]}…"
            for place, text in places.items()
            for secret in secrets
            if secret.encode() in text
        ]
        encoded = [base64.b64encode(secret.encode()).rstrip(b"=") for secret in PLANTED]
        found += [f"{place}: base64" for place, text in places.items() for secret in encoded if secret in text]
        personal = (ID_CARD.encode(), PATIENT.encode())
        found += [
            f"{place}: personal" for place in ("log", "metrics", "calls") for word in personal if word in places[place]
        ]
        return found


def signed_call(body: bytes, **changed: Any) -> tuple[bytes, dict[str, str], str]:
    """(sealed body, headers, target) of a call as the partner makes it; ``changed``: what an attacker does otherwise."""
    from hub.crypto import provider

    key = bytes.fromhex(changed.get("key", KEY))
    iv = os.urandom(12)
    sealed = base64.b64encode(iv + provider().sm4_encrypt(key, body, mode="gcm", iv=iv))
    sealed = changed.get("sealed", sealed)
    stamp = str(int((time.time() + changed.get("late", 0)) * 1000))
    nonce = changed.get("nonce", os.urandom(8).hex())
    target = changed.get("target", "/signed")
    text = f"POST\n{target}\n{stamp}\n{nonce}\n{changed.get('client', 'lis')}\n".encode() + sealed
    digest = hmac.new(changed.get("signing", SIGNING).encode(), text, changed.get("digest", hashlib.sha256)).hexdigest()
    headers = {"X-Sign": digest, "X-Time": stamp, "X-Nonce": nonce, "X-Client": "lis", "Authorization": ""}
    return sealed, headers, target


def hl7(number: str, name: str = "A", pid: str = "P1") -> bytes:
    return f"MSH|^~\\&|H|A|B|C|20260101||ADT^A01|{number}|P|2.5.1\rPID|1||{pid}||{name}\r".encode()


def build(folder: Path, sink: Sink) -> Path:
    """Configuration, plugins, folders, a database; returns the configuration file."""
    for name, plugin in (("fort", _PLUGIN), ("targets", _TARGETS)):
        place = folder / "plugins" / name
        place.mkdir(parents=True)
        (place / "plugin.yaml").write_text(
            yaml.safe_dump(plugin, allow_unicode=True, sort_keys=False), encoding="utf-8"
        )
    for name in ("mappings", "config", "drop", "out"):
        (folder / name).mkdir()
    Authority(folder, "ca").issue("hub", "127.0.0.3")
    with sqlite3.connect(folder / "his.db") as database:
        database.execute("CREATE TABLE visit (id TEXT, name TEXT)")
        database.execute("CREATE TABLE secrets (password TEXT)")
        database.execute("INSERT INTO secrets VALUES (?)", (PASSWORD,))
    for name, value in (("token", TOKEN), ("signing", SIGNING), ("key", KEY), ("out_token", OUT_TOKEN)):
        file = folder / "config" / name
        file.write_text(value, encoding="utf-8")
        file.chmod(0o600)
    settings = {
        "plugins": ["../plugins"],
        "mappings": ["../mappings"],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "systems": {
            "fort": {
                "plugin": "fort",
                "settings": {
                    "token": "file:token",
                    "signing": "file:signing",
                    "key": "file:key",
                    "certificate": str(folder / "hub"),
                    "drop": str(folder / "drop"),
                },
            },
            "targets": {
                "plugin": "targets",
                "settings": {
                    "url": sink.url,
                    "token": "file:out_token",
                    "folder": str(folder / "out"),
                    "database": str(folder / "his.db"),
                },
            },
        },
        "routes": {name: {"from": "fort", "types": [name], "to": f"targets/{name}"} for name in ("web", "file", "db")},
    }
    file = folder / "config" / "hub.yaml"
    file.write_text(yaml.safe_dump(settings, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return file


def tls_context(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    return context
