"""The admin API of a hub with several workers: questions to the store are answered here, orders go to their worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from hub.admin.audit import ADDRESS_HEADER
from hub.admin.backend import Backend
from hub.admin.present import BadQuery
from hub.audit import address
from hub.errors import ConfigError, HubError, Problem, StoreBusy
from hub.i18n import t
from hub.ids import parse_id, worker_of
from hub.mapping.tables_unmapped import merge as merge_unmapped
from hub.metrics import merge
from hub.operations import VERBS
from hub.store.base import StoreReader

__all__ = ["FrontBackend"]


class WorkerRefused(HubError):
    """A worker answered with an error; its text is passed on."""

    code = "worker.refused"


def _refusal(worker: int, status: int, data: bytes) -> HubError:
    """A worker's refusal as the error it was there, so that the caller gets the same status."""
    try:
        detail = orjson.loads(data)
    except orjson.JSONDecodeError:
        return WorkerRefused(f"worker {worker}: HTTP {status}")
    text, code = str(detail.get("detail", "")), str(detail.get("code", ""))
    if status == 400:
        return BadQuery(text, code=code)
    if status == 503:
        return StoreBusy(text, code=code)
    if "problems" in detail:
        return ConfigError([Problem(**problem) for problem in detail["problems"]])
    return WorkerRefused(text, code=code, remedy=str(detail.get("remedy", "")))


class FrontBackend(Backend):
    """Spreads orders over the workers' socket files."""

    def __init__(self, sockets: Mapping[int, Path], reader: StoreReader, token: str, salt: bytes) -> None:
        self.reader = reader
        self.salt = salt
        self.on_reload: Callable[[], None] | None = None  # after every worker has read the configuration anew
        self._headers = {"Authorization": f"Bearer {token}"}
        self._sessions = {
            worker: aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)), base_url="http://worker")
            for worker, path in sockets.items()
        }

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        await self.reader.close()

    async def _ask(self, worker: int, method: str, path: str, body: bytes | None = None, actor: str = "") -> bytes:
        headers = {**self._headers, **({"X-Actor": actor} if actor else {})}
        if where := address():
            headers[ADDRESS_HEADER] = where
        try:
            async with self._sessions[worker].request(method, path, data=body, headers=headers) as response:
                data = await response.read()
        except aiohttp.ClientError as error:
            raise WorkerRefused(t(f"worker {worker} does not answer", f"工作进程 {worker} 无应答")) from error
        if response.status >= 400 and path != "/readyz":
            raise _refusal(worker, response.status, data)
        return data

    async def _all(self, method: str, path: str, body: bytes | None = None, actor: str = "") -> dict[int, Any]:
        answers = await asyncio.gather(*(self._ask(w, method, path, body, actor) for w in self._sessions))
        return {w: orjson.loads(a) for w, a in zip(self._sessions, answers, strict=True)}

    async def status(self) -> dict[str, Any]:
        answers = await self._all("GET", "/api/v1/status")
        return {"workers": [row for answer in answers.values() for row in answer["workers"]]}

    async def readiness(self) -> list[str]:
        reasons = []
        for worker in self._sessions:
            try:
                answer = orjson.loads(await self._ask(worker, "GET", "/readyz"))
                reasons += [f"{worker}: {reason}" for reason in answer["reasons"]]
            except HubError as error:
                reasons.append(error.text)
        return reasons

    async def metrics(self) -> bytes:
        texts = await asyncio.gather(*(self._ask(w, "GET", "/metrics") for w in self._sessions))
        return merge(dict(zip(self._sessions, texts, strict=True)))

    async def plugins(self) -> list[dict[str, Any]]:
        first = next(iter(self._sessions))
        answer = orjson.loads(await self._ask(first, "GET", "/api/v1/plugins"))
        return list(answer["plugins"])

    async def unmapped(self) -> list[dict[str, Any]]:
        answers = await self._all("GET", "/api/v1/tables/unmapped")
        return merge_unmapped(answer["unmapped"] for answer in answers.values())

    def _by_worker(self, order: dict[str, Any]) -> dict[int, dict[str, Any]]:
        """An order by ids goes to the workers the ids name, one by query to all of them."""
        if not order.get("ids"):
            return dict.fromkeys(self._sessions, order)
        if not isinstance(order["ids"], list):
            raise BadQuery(t("ids: a list of ids", "ids：编号列表"))
        shares: dict[int, list[str]] = {}
        for text in order["ids"]:
            try:
                worker = worker_of(parse_id(str(text)))
            except ValueError as error:
                raise BadQuery(str(error)) from error
            if worker not in self._sessions:
                raise WorkerRefused(t(f"{text}: no worker {worker}", f"{text}：没有工作进程 {worker}"))
            shares.setdefault(worker, []).append(str(text))
        return {worker: {**order, "ids": ids} for worker, ids in shares.items()}

    async def _spread(self, path: str, order: dict[str, Any], actor: str) -> list[dict[str, Any]]:
        shares = self._by_worker(order)
        answers = await asyncio.gather(
            *(self._ask(worker, "POST", path, orjson.dumps(share), actor) for worker, share in shares.items())
        )
        return [orjson.loads(answer) for answer in answers]

    async def act(self, verb: str, order: dict[str, Any], actor: str) -> dict[str, Any]:
        if verb not in VERBS:
            raise BadQuery(t(f"{verb!r} is none of {', '.join(VERBS)}", f"{verb!r} 不在 {', '.join(VERBS)} 之中"))
        answers = await self._spread(f"/api/v1/deliveries/{verb}", order, actor)
        return {
            "done": [i for a in answers for i in a["done"]],
            "made": [i for a in answers for i in a["made"]],
            "refused": {i: why for a in answers for i, why in a["refused"].items()},
        }

    async def replay(self, order: dict[str, Any], actor: str) -> dict[str, Any]:
        answers = await self._spread("/api/v1/replay", order, actor)
        return {
            "dry_run": all(a["dry_run"] for a in answers),
            "results": [r for a in answers for r in a["results"]],
            "made": [i for a in answers for i in a["made"]],
        }

    async def rerun(self, order: dict[str, Any], actor: str) -> dict[str, Any]:
        answers = await self._spread("/api/v1/quality/rerun", order, actor)
        return {name: sum(answer[name] for answer in answers) for name in answers[0]}

    async def _owner(self, place: str) -> int:
        """The worker that listens for, or reads, an interface."""
        status = await self.status()
        return next((w["worker"] for w in status["workers"] if place in w["inbound"]), next(iter(self._sessions)))

    async def poll(self, place: str, actor: str) -> dict[str, Any]:
        path = f"/api/v1/interfaces/{quote(place)}/poll"
        answer: dict[str, Any] = orjson.loads(await self._ask(await self._owner(place), "POST", path, b"", actor))
        return answer

    async def probe(self, order: dict[str, Any]) -> dict[str, Any]:
        """Several workers may send to one target: it is well when it is for all of them."""
        answers = await self._all("POST", "/api/v1/probe", orjson.dumps(order))
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for answer in answers.values():
            for row in answer["probes"]:
                known = rows.setdefault((row["direction"], row["place"]), row)
                if known["ok"]:
                    rows[row["direction"], row["place"]] = row
        return {"probes": [rows[key] for key in sorted(rows)]}

    async def send(self, place: str, raw: bytes, actor: str) -> dict[str, Any]:
        owner = await self._owner(place)
        answer: dict[str, Any] = orjson.loads(
            await self._ask(owner, "POST", f"/api/v1/interfaces/{quote(place)}/messages", raw, actor)
        )
        return answer

    async def reload(self, actor: str) -> dict[str, Any]:
        answers = await self._all("POST", "/api/v1/reload", b"", actor)
        if self.on_reload is not None:
            await asyncio.to_thread(self.on_reload)
        return {str(worker): answer for worker, answer in answers.items()}

    async def flow_act(self, verb: str, instance: str, order: dict[str, Any], actor: str) -> dict[str, Any]:
        """The worker that owns the flows carries it out."""
        status = await self.status()
        owner = next((w["worker"] for w in status["workers"] if w.get("flows")), next(iter(self._sessions)))
        path = f"/api/v1/flows/instances/{quote(instance)}/{verb}"
        answer: dict[str, Any] = orjson.loads(await self._ask(owner, "POST", path, orjson.dumps(order), actor))
        return answer

    async def archive_audit(self, order: dict[str, Any], actor: str) -> list[dict[str, Any]]:
        answers = await self._all("POST", "/api/v1/audit/archive", orjson.dumps(order), actor)
        return [row for answer in answers.values() for row in answer["archived"]]
