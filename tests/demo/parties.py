"""The other parties of the afternoon, played from their contracts as ``hub simulate`` does, and the configuration that leads to them.

Every run has a copy of ``config/afternoon``: the hub and all parties on free ports, keys made for the occasion. The telephone company's
gateway and the hospital's platform are stand-ins written without the hub, those of the tests of their protocols.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hub.config import load_config
from hub.mapping import MappingLibrary
from hub.registry import Registry
from hub.simulator import Simulator
from hub.simulator.calls import SimulatedCall, SimulatedReply
from tests.adapters.cmpp.ismg import Ismg
from tests.demo.bill import BILL, BILL_DIGEST
from tests.demo.hub import DemoError
from tests.demo.place import REPOSITORY, Place
from tests.plugins.hospital_support import Platform

__all__ = ["CONFIG", "NOT_PAID_FEN", "Parties", "make_secrets"]

CONFIG = REPOSITORY / "config" / "afternoon"
#: Whoever has to pay this much thinks better of it.
NOT_PAID_FEN = 8800
#: How long an order may stay unpaid in the demo, and how long the flow as it is shipped waits.
_PAY_WITHIN, _SHIPPED_WITHIN = "6s", "30m"
_GATEWAY = "cmpp"
_GATEWAY_PASSWORD = "secret-of-cmpp"
#: Systems whose other party is none of the simulator's: gateway and platform, and a database that is a file.
_OTHERS = frozenset((_GATEWAY, "platform", "monitor"))
#: What is played of a system; everything that is switched on, where it is not named.
_ONLY = {"books": ["alert", "ledger"]}
_LINK = "https://api.mch.weixin.qq.com/v3/billdownload/file?token=demo"
#: What the contracts leave to the occasion: who pays, what stands in the bill of yesterday.
_SAYS: dict[str, dict[str, Any]] = {
    "insurance": {
        "query": {
            "simulate": {
                "answer": {
                    "output": {
                        "setlinfo": {
                            "medfee_sumamt": "51.60",
                            "fund_pay_sumamt": "36.12",
                            "psn_cash_pay": "15.48",
                            "fulamt_ownpay_amt": "0",
                            "overlmt_selfpay": "0",
                            "preselfpay_amt": "0",
                            "inscp_scp_amt": "51.60",
                        }
                    }
                }
            }
        }
    },
    "vehicle_platform": {"truck_exists": {"simulate": {"answer": {"status": "1001", "result": "'yes'"}}}},
    "logink_gateway": {"vehicle_track_check": {"simulate": {"answer": {"data": {"pass": "true"}}}}},
    # One connection for both: the type tells them apart.
    "his": {
        "results": {"simulate": {"when": "MSH-9.1 == 'ORU'"}},
        "order_status": {"simulate": {"when": "MSH-9.1 != 'ORU'"}},
    },
    "wechat": {
        "native": {
            "simulate": {"callback": {"when": f"$record.status == 'NOTPAY' and $record.total != {NOT_PAID_FEN}"}}
        },
        "bill_request": {
            "simulate": {
                "answer": {"hash_type": "'SHA1'", "hash_value": f"'{BILL_DIGEST}'", "download_url": f"'{_LINK}'"}
            }
        },
        "bill_download": {"simulate": {"answer": BILL}},
    },
}


class Parties:
    """All of them; ``place`` is where the hub is run that talks to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = Place(folder / "config" / "hub.yaml", folder, {})
        self.ismg = Ismg(secret=_GATEWAY_PASSWORD.encode(), report="DELIVRD")
        self.platform = Platform()
        self.opens = ""  # when text messages may be sent again
        self._simulators: dict[str, Simulator] = {}
        self._ports: dict[str, int] = {}  # interface of the hub -> its port

    async def start(self) -> None:
        """Listen, write the keys and the configuration. Raises :class:`hub.errors.HubError`, :class:`OSError`."""
        await self._play()
        self._configure()

    async def _play(self) -> None:
        loaded = load_config(CONFIG / "hub.yaml")
        registry = Registry.discover(loaded.plugin_folders)
        mappings = MappingLibrary(loaded.mapping_folders, registry.functions)
        for name, system in loaded.hub.systems.items():
            if name in _OTHERS:
                continue
            plugin = registry.plugins[system.plugin]
            on = {key: value for key, value in system.interfaces.items() if value != "off"}
            simulator = await Simulator.start(
                plugin,
                registry,
                mappings,
                settings={k: v for k, v in system.settings.items() if k != "send_port" and not _made_here(v)},
                interfaces=_ONLY.get(name)
                or [key for key in plugin.contract.interfaces if system.interfaces.get(key) != "off"],
                # Seen from WeChat Pay, the order stands in the path as ever, whatever the hub takes it from.
                overrides=_merged({} if name == "wechat" else on, _SAYS.get(name, {})),
                schemas=loaded.schema_folders,
            )
            self._simulators[name] = simulator
            missing = [one for one in simulator.not_simulated if plugin.contract.interfaces[one].direction == "out"]
            if missing and name not in _ONLY:
                raise DemoError(f"{name}: {simulator.not_simulated}")
            for setting, declared in plugin.contract.settings.items():
                if declared.type == "secret" and setting in system.settings:
                    _write_secret(self.folder, f"{name}.{setting}", str(simulator.settings[setting]))
        _write_secret(self.folder, f"{_GATEWAY}.password", _GATEWAY_PASSWORD)

    def _configure(self) -> None:
        config = self.place.config.parent
        shutil.rmtree(config, ignore_errors=True)
        shutil.copytree(CONFIG, config)
        loaded = load_config(CONFIG / "hub.yaml")
        addresses = {
            f"{setting}: {value}\n": f"{setting}: {self._simulators[name].settings[setting]}\n"
            for name, system in loaded.hub.systems.items()
            for setting, value in system.settings.items()
            if name in self._simulators and (setting == "send_port" or _is_address(value))
        }
        addresses[f"url: {loaded.hub.systems['platform'].settings['url']}\n"] = f"url: {self.platform.url}\n"
        # Night at the gateway, whatever the time of day: it opens in three hours.
        begin = datetime.now(ZoneInfo("Asia/Shanghai")) + timedelta(hours=3)
        self.opens = f"{begin:%H:%M}"
        gateway = loaded.hub.systems[_GATEWAY].settings
        flow = REPOSITORY / "plugins" / "payment" / "flows" / "payment_order.yaml"
        text = flow.read_text("utf-8")
        (config / "flows" / flow.name).write_text(
            text.replace(f"within: {_SHIPPED_WITHIN}", f"within: {_PAY_WITHIN}"), "utf-8"
        )
        for file in config.rglob("*.yaml"):
            text = file.read_text("utf-8")
            text = text.replace(f"port: {gateway['port']}\n", f"port: {self.ismg.port} \n")
            text = text.replace(str(gateway["hours"]), f"{self.opens}-{begin + timedelta(hours=6):%H:%M}")
            text = re.sub(r"(?m)^(\s+(?:notify_)?port:) \d+$", r"\1 0", text)
            for before, after in addresses.items():
                text = text.replace(before, after)
            text = text.replace("../../plugins/payment/flows, ", "")
            text = text.replace("file:../../../var/afternoon/", f"file:{self.folder}/")
            text = text.replace("../../var/afternoon/", f"{self.folder}/")
            text = text.replace("/var/lib/tongqu/afternoon/", f"{self.folder}/")
            text = text.replace("../../", f"{REPOSITORY}/")
            file.write_text(text, "utf-8")
        shutil.rmtree(self.folder / "reports", ignore_errors=True)
        (self.folder / "reports").mkdir()
        database = self.folder / "monitor.db"
        database.unlink(missing_ok=True)
        tables = REPOSITORY / "plugins" / "freight" / "freight_monitor" / "schema.sql"
        with sqlite3.connect(database) as connection:
            connection.executescript(tables.read_text("utf-8"))

    def hear(self, inbound: Mapping[str, Any]) -> None:
        """Where the hub listens, as its status says."""
        self._ports = {place: found["port"] for place, found in inbound.items() if found.get("port")}
        self._simulators["wechat"].callback_to["notify"] = self.address("wechat/notify")

    def address(self, place: str) -> str:
        if place not in self._ports:
            raise DemoError(f"{place}: not listening; see {self.place.log}")
        return f"http://127.0.0.1:{self._ports[place]}"

    # -- what they say, and what they got ------------------------------------------------------------------------

    def __getitem__(self, system: str) -> Simulator:
        return self._simulators[system]

    async def send(self, place: str, document: Any) -> SimulatedReply:
        """A message of the other party to an interface of the hub, protected as its contract says; bytes are HL7 over MLLP."""
        system, _, interface = place.partition("/")
        body = document if isinstance(document, bytes) else json.dumps(document, ensure_ascii=False).encode()
        address = self.address(place)
        if isinstance(document, bytes):
            address = address.replace("http:", "mllp:")
        return await self._simulators[system].send(interface, address, body)

    def calls(self, place: str) -> list[SimulatedCall]:
        system, _, interface = place.partition("/")
        return [call for call in self._simulators[system].calls if call.interface == interface]

    def got(self, place: str) -> list[Any]:
        """What the party of ``system/interface`` accepted, decrypted, oldest first; JSON as a tree, else text."""
        bodies = [call.body for call in self.calls(place) if call.verdict == "accepted"]
        return [json.loads(body) if body[:1] in b"{[" else body.decode("utf-8") for body in bodies]

    def refused(self) -> list[str]:
        """Calls of the hub that a party did not believe or understand."""
        return [
            f"{name}/{call.interface}: {call.problem or call.code}"
            for name, simulator in self._simulators.items()
            for call in simulator.calls
            if call.verdict == "refused"
        ]

    async def stop(self) -> None:
        for simulator in self._simulators.values():
            await simulator.stop()
        await asyncio.to_thread(self.ismg.close)
        await asyncio.to_thread(self.platform.close)


async def make_secrets(folder: Path) -> None:
    """The keys that ``config/afternoon`` names, so that ``hub check`` finds them."""
    parties = Parties(folder)
    try:
        await parties._play()
    finally:
        await parties.stop()


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("http://127.0.0.1:")


def _made_here(value: Any) -> bool:
    return _is_address(value) or (isinstance(value, str) and value.startswith("file:"))


def _merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(base)
    for key, value in more.items():
        one = found.get(key)
        found[key] = _merged(one, value) if isinstance(one, dict) and isinstance(value, dict) else value
    return found


def _write_secret(folder: Path, name: str, value: str) -> None:
    file = folder / "secrets" / name
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(value)
