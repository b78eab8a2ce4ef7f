"""A hub with people: its admin API over HTTP, and clients that sign in."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import pytest

from hub.admin.backend import NodeBackend
from hub.admin.serve import AdminServer
from hub.contract import SecurityConfig
from hub.people.people import People
from hub.people.totp import code_at
from tests.kernel.conftest import StartHub, _english, site, start, without_indexer
from tests.kernel.kernel_support import Hub, Site

__all__ = ["_english", "site", "start", "without_indexer"]

TOKEN = "a-token-for-tests"
PASSWORD = "Riverbank#2026"
#: Iterations of password hashes in tests; those of the hub are measured in nothing but time.
FEW = 20


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Answer:
    status: int
    json: Any
    headers: Any
    raw: bytes


class Client:
    """Somebody who calls: with a token, or with the cookie of a browser."""

    def __init__(self, address: str, token: str = "") -> None:
        self.session = aiohttp.ClientSession(address, cookie_jar=aiohttp.CookieJar(unsafe=True))
        self.token = token

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token and "Authorization" not in sent:
            sent["Authorization"] = f"Bearer {self.token}"
        data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        async with self.session.request(method, path, data=data, headers=sent, allow_redirects=False) as response:
            raw = await response.read()
            parsed = orjson.loads(raw) if "json" in response.content_type else None
            return Answer(response.status, parsed, response.headers, raw)

    async def done(self, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        answer = await self.call(method, path, body, **headers)
        assert answer.status == status, (path, answer.raw)
        return answer.json

    async def refused(self, status: int, code: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
        answer = await self.call(method, path, body, **headers)
        assert (answer.status, answer.json["code"]) == (status, code), answer.raw
        return answer.json


@dataclass
class Place:
    """One hub with its people."""

    hub: Hub
    people: People
    address: str
    clock: Clock
    root: Client
    sent: list[tuple[str, dict[str, Any], str]]
    clients: list[Client] = field(default_factory=list)

    def client(self, token: str = "") -> Client:
        self.clients.append(Client(self.address, token))
        return self.clients[-1]

    async def person(self, user: str, *roles: str, scope: Any = None, **fields: Any) -> str:
        """A user with a password of their own; returns its name."""
        records = self.people.records
        given = {"id": user, "roles": list(roles), "scope": {"everything": True} if scope is None else scope, **fields}

        def make() -> None:
            records.book.add("test", given, records.roles)
            records.first_password("test", user, PASSWORD)

        await self.people.run(make)
        return user

    async def sign_in(self, user: str, password: str = PASSWORD) -> Client:
        client = self.client()
        answer = await client.done("POST", "/api/v1/login", {"user": user, "password": password})
        assert answer["state"] == "full", answer
        client.token = answer["token"]
        return client

    async def fresh(self, user: str) -> Client:
        """Signed in, and proved it again."""
        client = await self.sign_in(user)
        await client.done("POST", "/api/v1/session/verify", {"method": "password", "code": PASSWORD})
        return client

    async def with_totp(self, client: Client) -> bytes:
        """Set up an authenticator; returns its secret. The code that confirmed it is used up."""
        made = await client.done("POST", "/api/v1/second-factor/totp")
        secret = base64.b32decode(made["secret"] + "=" * (-len(made["secret"]) % 8))
        await client.done("POST", "/api/v1/second-factor/totp/confirm", {"code": code_at(secret, self.clock.now)})
        return secret

    def entries(self) -> list[dict[str, Any]]:
        return [orjson.loads(row["entry"]) for row in self.people.records.database.journal()]


OpenPlace = Callable[..., Awaitable[Place]]


@pytest.fixture
async def place(site: Site, start: StartHub) -> AsyncIterator[OpenPlace]:
    places: list[tuple[Place, AdminServer]] = []

    async def open_place(
        security: dict[str, Any] | None = None, *, token: str = TOKEN, url: str = "", proxies: Any = ()
    ) -> Place:
        if "sink" not in site.config["systems"]:
            site.target()
        hub = await start(site)
        backend = NodeBackend(hub.node)
        sent: list[tuple[str, dict[str, Any], str]] = []

        async def send(where: str, raw: bytes, actor: str) -> None:
            sent.append((where, orjson.loads(raw), actor))

        clock = Clock()
        people = People(
            site.folder / "var",
            SecurityConfig.model_validate(security or {}),
            systems=lambda: hub.node.deployment.config.systems,
            send=send,
            url=url,
            iterations=FEW,
            clock=clock,
        )
        await people.open()
        backend.people = people
        server = AdminServer(backend, token, proxies)
        await server.listen("127.0.0.1", 0)
        made = Place(hub, people, server.address, clock, Client(server.address, token), sent)
        places.append((made, server))
        return made

    yield open_place
    for made, server in places:
        for client in [made.root, *made.clients]:
            await client.session.close()
        await server.stop()
        await made.people.close()
