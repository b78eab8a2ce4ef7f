"""A hospital whose systems speak HL7 by another library: python-hl7 frames, reads, acknowledges and sends; nothing of the hub's is in it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hl7
import pytest
from hl7.client import MLLPClient
from hl7.mllp import start_hl7_server

from tests.kernel.process import HubProcess, wait_for
from tests.plugins.hospital_support import HOSPITAL, Platform, example, site


class Peer:
    """A system that takes messages; it acknowledges what python-hl7 can read."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(30)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def _listen(self) -> Any:
        return await start_hl7_server(self._connected, "127.0.0.1", 0, encoding="utf-8")

    async def _connected(self, reader: Any, writer: Any) -> None:
        try:
            while True:
                message = await reader.readmessage()
                self.taken.append(message)
                writer.writemessage(message.create_ack())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def wait(self, kind: str, count: int = 1) -> list[Any]:
        """The messages of a kind, e.g. ``ORU^R01``, once there are so many."""

        def enough() -> list[Any]:
            found = [one for one in list(self.taken) if str(one.segment("MSH")(9)).startswith(kind)]
            return found if len(found) >= count else []

        return list(wait_for(enough, f"{count} {kind} arrive"))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)


def tell(port: int, raw: bytes) -> tuple[str, str]:
    """MSA-1 and MSA-2 of what the hub answers."""
    with MLLPClient("127.0.0.1", port) as client:
        answer = hl7.parse(client.send_message(raw).strip(b"\x0b\x1c\r").decode())
    return str(answer["MSA.F1"]), str(answer["MSA.F2"])


@pytest.fixture
def peers() -> Iterator[dict[str, Peer]]:
    found = {name: Peer() for name in ("his", "lis", "ris")}
    yield found
    for peer in found.values():
        peer.close()


def systems(peers: dict[str, Peer]) -> dict[str, Any]:
    return {
        name: {"plugin": f"{name}_hl7v2", "settings": {"port": 0, "send_port": peer.port}}
        for name, peer in peers.items()
    }


def test_what_the_systems_of_another_library_say_reaches_each_other(peers: dict[str, Peer], tmp_path: Path) -> None:
    routes = {
        "patients": {"from": "his/adt", "types": ["ADT^A04"], "to": ["lis/patients", "ris/patients"]},
        "examinations": {"from": "his/adt", "types": ["ORM^O01"], "to": "ris/orders", "mapping": ""},
        "results": {"from": "lis/oru", "types": ["ORU^R01"], "to": "his/results", "mapping": ""},
        "reports": {"from": "ris/messages", "types": ["ORU^R01"], "to": "his/results", "mapping": ""},
        "appointments": {"from": "ris/messages", "types": ["SIU^S12"], "to": "his/notices"},
    }
    with HubProcess(site(tmp_path, systems(peers), routes)) as hub:
        his, lis, ris = (hub.port(place) for place in ("his/adt", "lis/oru", "ris/messages"))
        sent = [
            (his, "his_hl7v2", "adt_a04.hl7", ["lis", "ris"]),
            (his, "his_hl7v2", "orm_o01.hl7", ["ris"]),
            (lis, "lis_hl7v2", "oru_corrected.hl7", ["his"]),
            (ris, "ris_hl7v2", "oru_report.hl7", ["his"]),
            (ris, "his_hl7v2", "siu_s12.hl7", ["his"]),
        ]
        wanted: dict[str, list[str]] = {name: [] for name in peers}
        for port, plugin, name, targets in sent:
            raw = example(plugin, name)
            message = hl7.parse(raw.decode())
            assert tell(port, raw) == ("AA", str(message["MSH.F10"]))
            for target in targets:
                wanted[target].append(str(message))
        wait_for(lambda: all(len(peers[name].taken) == len(wanted[name]) for name in peers), "each has all of its own")
        assert {name: sorted(map(str, peer.taken)) for name, peer in peers.items()} == {
            name: sorted(texts) for name, texts in wanted.items()
        }
        hub.settled()
        # Every acknowledgement of the library counted.
        rows = hub.call("GET", "/api/v1/deliveries?limit=50").json["deliveries"]
        assert {row["state"] for row in rows} == {"delivered"}


def test_a_laboratory_order_and_its_report_are_read_by_another_library(peers: dict[str, Peer], tmp_path: Path) -> None:
    """What the hub writes itself: an order, its status, a report."""
    platform = Platform()
    found = systems(peers)
    found["platform"] = {
        "plugin": "hospital_platform",
        "settings": {"url": platform.url, "port": 0, "sender_id": "TONGQU-0001", "receiver_id": "HIP-0000001"},
    }
    flow = {"to": "flow/hospital_lab_order"}
    routes = {
        "orders": {"from": "his/adt", "types": ["OML^O21"], "mapping": "canonical/order_from_v2", **flow},
        "states": {"from": "lis/oru", "types": ["OML^O21"], "mapping": "canonical/order_from_v2", **flow},
        "results": {"from": "lis/oru", "types": ["ORU^R01"], "mapping": "canonical/lab_report_from_v2", **flow},
    }
    with HubProcess(site(tmp_path, found, routes, flows=[str(HOSPITAL / "flows")])) as hub:
        assert tell(hub.port("his/adt"), example("his_hl7v2", "oml_o21.hl7"))[0] == "AA"
        (order,) = peers["lis"].wait("OML^O21")
        assert [str(order[f"ORC.F{n}"]) for n in (1, 2)] == ["NW", "O20261120001"]
        assert order["OBR.F4.R1.C1"] == "CBC"
        assert order["PID.F3.R1.C1"] == "P000012"
        assert order["PID.F5.R1.C1"] == "样本人"
        assert order["SPM.F2.R1.C2"] == "TM20261120001"

        assert tell(hub.port("lis/oru"), example("lis_hl7v2", "orm_sample.hl7"))[0] == "AA"
        (sampled,) = peers["his"].wait("ORM^O01")
        assert [str(sampled[f"ORC.F{n}"]) for n in (1, 2, 5)] == ["SC", "O20261120001", "IP"]

        final = {"||HM|C|": "||HM|F|", "5.80": "15.80", "|N|||C|": "|H|||F|"}
        assert tell(hub.port("lis/oru"), example("lis_hl7v2", "oru_corrected.hl7", **final))[0] == "AA"
        (report,) = peers["his"].wait("ORU^R01")
        assert [str(report[f"OBR.F{n}"]) for n in (2, 25)] == ["O20261120001", "F"]
        assert report["OBX.F3.R1.C1"] == "WBC"
        assert [str(report[f"OBX.F{n}"]) for n in (5, 11)] == ["15.80", "F"]
    platform.close()
