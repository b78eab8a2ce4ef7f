"""A hub with the plugins of medical insurance as they are delivered, and callers."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.kernel.process import ROOT, HubProcess
from tests.plugins.insurance_simulator import HOSPITAL

__all__ = ["DESK_TOKEN", "Desk", "call_of", "make_site"]

DESK_TOKEN = "desk-token-of-the-tests"
_EXAMPLES = ROOT / "plugins" / "insurance" / "insurance_desk" / "examples"
QUICK = {
    "retry": {"attempts": 3, "interval": "30ms"},
    "breaker": {"failures": 1000, "open_for": "50ms", "max_open_for": "100ms"},
}
_OFFICE = """
id: office
name: 医保办
settings: {url: {type: url, required: true}}
interfaces:
  list: {direction: out, adapter: http, connect: {url: "${url}"}, codec: json, order_by: ''}
"""
OUT = ("query", "upload", "settlement", "undo", "reversal", "sign_in", "sign_out", "file_upload", "file_download")


def make_site(
    folder: Path,
    url: str,
    *,
    office: str = "",
    settings: dict[str, Any] | None = None,
    every: dict[str, Any] | None = None,
    **keys: Any,
) -> Path:
    """``office``: where lists of differences go. ``settings`` of the platform; ``every``: keys for each of its interfaces; ``keys``: for interfaces by name."""
    (folder / "config").mkdir(parents=True)
    (folder / "plugins" / "office").mkdir(parents=True)
    (folder / "plugins" / "office" / "plugin.yaml").write_text(_OFFICE, encoding="utf-8")
    (folder / "token").write_text(DESK_TOKEN)
    (folder / "token").chmod(0o600)
    insurance: dict[str, Any] = {name: {**QUICK, **(every or {})} for name in OUT}
    insurance["settlement"] = {**(every or {})}
    for name, more in keys.items():
        insurance[name] = {**insurance.get(name, {}), **more}
    config = {
        "plugins": [str(ROOT / "plugins" / "insurance"), "../plugins"],
        "mappings": [str(ROOT / "mappings")],
        "schemas": [str(ROOT / "schemas")],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        "intake": {"request_timeout": "20s"},
        "systems": {
            "insurance": {
                "plugin": "medical_insurance",
                "settings": {
                    "base_url": url,
                    "fixmedins_code": HOSPITAL,
                    "fixmedins_name": "样例市第一医院",
                    "mdtrtarea_admvs": "359999",
                    "recer_sys_code": "YBXT",
                    "opter": "C001",
                    "opter_name": "收费员甲",
                    **(settings or {}),
                },
                "interfaces": insurance,
            },
            "office": {"plugin": "office", "settings": {"url": office or url}},
            "desk": {"plugin": "insurance_desk", "settings": {"port": 0, "token": "file:../token"}},
        },
        "routes": {
            "insurance": {
                "from": "desk/transaction",
                "to": [f"insurance/{name}" for name in OUT if name != "file_download"],
            },
            "downloads": {"from": "desk/download", "to": "insurance/file_download"},
            "statements": {
                "from": "insurance/file",
                "to": "office/list",
                "mapping": "medical_insurance/statement_differences",
            },
        },
    }
    file = folder / "config" / "hub.yaml"
    file.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    return file


def call_of(infno: str, number: str = "", **data: Any) -> dict[str, Any]:
    """The example call of a transaction, with another request number and other values in its first node."""
    call: dict[str, Any] = json.loads((_EXAMPLES / f"{infno}.json").read_text(encoding="utf-8"))
    if number:
        call["requestId"] = number
    for node in call["input"].values():
        for row in node if isinstance(node, list) else [node]:
            row.update({name: value for name, value in data.items() if name in row})
    return call


class Desk:
    """A program of the hospital that makes transactions and waits for their answers."""

    def __init__(self, hub: HubProcess) -> None:
        self._url = f"http://127.0.0.1:{hub.port('desk/transaction')}/insurance/transactions"

    def ask(self, call: dict[str, Any], seconds: float = 30) -> tuple[int, dict[str, Any]]:
        """(status, body)"""
        url = self._url.replace("transactions", "downloads") if call["infno"] == "9102" else self._url
        request = urllib.request.Request(url, data=json.dumps(call).encode(), method="POST")
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", f"Bearer {DESK_TOKEN}")
        try:
            with urllib.request.urlopen(request, timeout=seconds) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            body = error.read()
            return error.code, json.loads(body) if body else {}

    def together(self, calls: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
        """All at once, each in a thread of its own."""
        answers: list[tuple[int, dict[str, Any]]] = [(0, {})] * len(calls)

        def one(at: int) -> None:
            answers[at] = self.ask(calls[at])

        threads = [threading.Thread(target=one, args=(at,)) for at in range(len(calls))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers
