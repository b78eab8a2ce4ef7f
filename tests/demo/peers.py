"""Stand-ins for the parties the demo delivers to: small servers that check what they get, and remember it.

Each one wants its token, judges a document by its own table of fields, tells a repetition by the key
in the header ``Idempotency-Key`` and answers it as the first time, and can be made to misbehave: to go away, to be busy, to do its
work and lose the answer.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web

from tests.demo.fields import ENCOUNTER, LAB_REPORT, NOTICE, PATIENT, WAYBILL, Number, complaints

__all__ = ["Gateway", "Ministry", "Peer", "Peers", "Province", "Taken"]


@dataclass(slots=True)
class Taken:
    """One document that took effect."""

    at: float  # time.perf_counter
    path: str
    document: dict[str, Any]


@dataclass(slots=True)
class Verdict:
    """What a party says to a document."""

    effect: bool  # whether it now has the document
    code: Any
    text: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Peer:
    """One party on a port of this machine. The port stays reserved while the party is away."""

    def __init__(self, name: str, header: str, secret: str) -> None:
        self.name = name
        self.taken: list[Taken] = []
        self.calls = 0
        self.repeated = 0  # calls whose key was known
        self.outcomes: Counter[str] = Counter()
        self.faults: deque[str] = deque()  # for the next calls: "busy", "lose_reply"
        self.port = 0
        self._header = header
        self._secret = secret.encode()
        self._answers: dict[str, tuple[int, bytes]] = {}
        self._runner: web.ServerRunner | None = None
        self._reserved: socket.socket | None = None

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self, port: int) -> None:
        """Reserve the port (0: any free one) and answer on it; raises OSError when it is taken."""
        reserved = socket.socket()
        try:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reserved.bind(("127.0.0.1", port))
        except OSError:
            reserved.close()
            raise
        self._reserved = reserved
        self.port = reserved.getsockname()[1]
        await self.come_back()

    async def come_back(self) -> None:
        server = web.Server(self._answer)
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_port=True).start()

    async def go_away(self) -> None:
        """Close every connection and refuse new ones."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def stop(self) -> None:
        await self.go_away()
        if self._reserved is not None:
            self._reserved.close()

    # -- one call ------------------------------------------------------------------------------------------------

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.calls += 1
        given = request.headers.get(self._header, "").encode()
        if not hmac.compare_digest(given, self._secret):
            self.outcomes["401"] += 1
            return web.json_response({"code": "401", "message": "token missing or wrong"}, status=401)
        body = await request.read()
        key = request.headers.get("Idempotency-Key", "")
        known = self._answers.get(key)
        if known is not None:
            self.repeated += 1
            self.outcomes["repeated"] += 1
            return _response(*known)
        fault = self.faults.popleft() if self.faults else ""
        if fault == "busy":
            verdict = self.busy()
        else:
            try:
                document = json.loads(body, parse_float=Number)
            except ValueError as error:
                verdict = Verdict(False, "400", f"not JSON: {error}", 400)
            else:
                verdict = self.judge(request.path, document)
                if not key:
                    verdict = Verdict(False, "400", "Idempotency-Key is missing", 400)
                elif verdict.effect:
                    self.taken.append(Taken(time.perf_counter(), request.path, document))
        answer = json.dumps(self.reply(verdict), ensure_ascii=False).encode()
        self.outcomes[str(verdict.code)] += 1
        if verdict.effect:
            self._answers[key] = (verdict.status, answer)
        if fault == "lose_reply" and request.transport is not None:
            request.transport.abort()
            await asyncio.sleep(0)
        return _response(verdict.status, answer, verdict.headers)

    def documents(self, path: str = "") -> list[dict[str, Any]]:
        """What took effect, in the order of arrival."""
        return [taken.document for taken in self.taken if taken.path.startswith(path)]

    def judge(self, path: str, document: Any) -> Verdict:
        raise NotImplementedError

    def busy(self) -> Verdict:
        raise NotImplementedError

    def reply(self, verdict: Verdict) -> dict[str, Any]:
        return {"code": verdict.code, "message": verdict.text}


def _response(status: int, body: bytes, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


class Province(Peer):
    """The provincial platform: patients, visits, laboratory reports."""

    _TABLES: ClassVar = {
        "/api/v1/patients": PATIENT,
        "/api/v1/encounters": ENCOUNTER,
        "/api/v1/lab-reports": LAB_REPORT,
    }

    def __init__(self, token: str) -> None:
        super().__init__("province", "Authorization", f"Bearer {token}")

    def judge(self, path: str, document: Any) -> Verdict:
        table = self._TABLES.get(path)
        if table is None:
            return Verdict(False, "404", "no such service", 404)
        wrong = complaints(document, table)
        if wrong:
            return Verdict(False, "1001", "; ".join(wrong))
        return Verdict(True, "0", "accepted")

    def busy(self) -> Verdict:
        return Verdict(False, "5001", "busy", 503)


class Ministry(Peer):
    """The ministry's exchange: takes WLHY_YD1001 of vehicles that were reported before."""

    def __init__(self, token: str) -> None:
        super().__init__("ministry", "Authorization", f"Bearer {token}")
        self.vehicles: set[str] = set()
        self._numbers: set[str] = set()  # of reports taken

    def judge(self, path: str, document: Any) -> Verdict:
        if path != "/wlhy/v2/documents":
            return Verdict(False, 404, "no such service", 404)
        wrong = complaints(document, WAYBILL)
        if wrong:
            return Verdict(False, 3005, "字段校验未通过：" + "；".join(wrong))
        header, body = document["root"]["header"], document["root"]["body"]
        if header["ipcType"] != "WLHY_YD1001":
            return Verdict(False, 3002, "ipcType 错误")
        number = header["messageReferenceNumber"]
        if number in self._numbers:
            return Verdict(False, 3001, "报文编号重复")
        if body["goodsReceiptDateTime"] <= body["despatchActualDateTime"]:
            return Verdict(False, 3005, "字段校验未通过：收货时间须晚于装货时间")
        if body["vehicleInfo"]["vehicleNumber"] not in self.vehicles:
            return Verdict(False, 3005, "字段校验未通过：vehicleInfo.vehicleNumber 车辆基本信息未上报（WLHY_CL1001）")
        self._numbers.add(number)
        return Verdict(True, 1001, "成功")

    def busy(self) -> Verdict:
        return Verdict(False, 9001, "服务器错误")

    def reply(self, verdict: Verdict) -> dict[str, Any]:
        return {"code": verdict.code, "msg": verdict.text, "data": None}


class Gateway(Peer):
    """The text message gateway, with a limit on the rate."""

    def __init__(self, key: str) -> None:
        super().__init__("sms", "X-Api-Key", key)

    def judge(self, path: str, document: Any) -> Verdict:
        if path != "/sms/v1/messages":
            return Verdict(False, "404", "no such service", 404)
        wrong = complaints(document, NOTICE)
        if wrong:
            return Verdict(False, "isv.INVALID_PARAMETERS", "; ".join(wrong), 400)
        return Verdict(True, "OK", "sent")

    def busy(self) -> Verdict:
        return Verdict(False, "isv.BUSINESS_LIMIT_CONTROL", "too many messages", 429, {"Retry-After": "1"})


class Peers:
    """The three parties the hub delivers to."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        """``secrets``: the token each of them wants, by name."""
        self.province = Province(secrets["province"])
        self.ministry = Ministry(secrets["ministry"])
        self.sms = Gateway(secrets["sms"])

    @property
    def all(self) -> tuple[Peer, ...]:
        return self.province, self.ministry, self.sms

    async def start(self, ports: Mapping[str, int]) -> dict[str, int]:
        """All of them, on these ports, else on any; the ports they have. Raises OSError, with none running, when one is taken."""
        try:
            for peer in self.all:
                await peer.start(ports.get(peer.name, 0))
        except OSError:
            await self.stop()
            raise
        return {peer.name: peer.port for peer in self.all}

    async def stop(self) -> None:
        for peer in self.all:
            await peer.stop()
