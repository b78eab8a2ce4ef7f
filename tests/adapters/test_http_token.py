"""Tokens fetched for calls: one at a time, kept, replaced, told to nobody; against a token endpoint on a real socket."""

from __future__ import annotations

import asyncio
import base64
import logging
from typing import Any
from urllib.parse import parse_qsl

import pytest
from pydantic import ValidationError

from adapters.http.options import HttpConnect
from hub.api import PermanentError, UnreachableError
from tests.adapters.http_source import Call, Kept, Said, Source, polling, read_once, run_once, source
from tests.adapters.http_support import calling, outgoing, scripted, until

SECRET = "s3cret &+%"


class World:
    """A token endpoint and a target behind it; ``good`` is the token the target accepts."""

    def __init__(self, **reply: Any) -> None:
        self.good = ""
        self.fetched: list[Call] = []
        self.called: list[Call] = []
        self.reply = {"access_token": "?", "token_type": "bearer", "expires_in": 3600, **reply}
        self.status = "200 OK"
        self.shown = lambda call: call.headers.get("authorization", "").removeprefix("Bearer ")

    def answer(self, call: Call) -> Said:
        if call.path == "/token":
            self.fetched.append(call)
            if not self.status.startswith("200"):
                return Said({"error": "invalid_client", "secret": SECRET}, self.status)
            self.good = f"token-{len(self.fetched)}"
            return Said(_named(self.reply, self.good))
        self.called.append(call)
        right = self.good and self.shown(call) == self.good
        return Said({"ok": True}) if right else Said({"error": "who?"}, "401 Unauthorized")


def _named(tree: Any, token: str) -> Any:
    if isinstance(tree, dict):
        return {name: _named(value, token) for name, value in tree.items()}
    return token if tree == "?" else tree


def oauth2(server: Source, **more: Any) -> dict[str, Any]:
    return {"type": "oauth2", "url": f"{server.url}/token", "client_id": "hub:1", "client_secret": SECRET, **more}


LOGIN = {
    "type": "login",
    "body": {"app": {"id": "{user}"}, "password": "p-{secret}", "version": 2},
    "user": "hub",
    "secret": SECRET,
    "token": "data.token",
    "lifetime": "data.seconds",
}


async def test_a_token_is_fetched_once_for_many_calls() -> None:
    world = World()
    async with source(world.answer) as server, calling(f"{server.url}/api", auth=oauth2(server, scope="a b")) as sender:
        replies = await asyncio.gather(*(sender.send(outgoing()) for _ in range(20)))
        assert all(reply.ok for reply in replies)
        assert sender.status()["tokens_fetched"] == 1
    [fetched] = world.fetched
    assert dict(parse_qsl(fetched.body.decode())) == {"grant_type": "client_credentials", "scope": "a b"}
    # RFC 6749, 2.3.1: both are encoded as in a form first.
    pair = base64.b64decode(fetched.headers["authorization"].removeprefix("Basic "))
    assert pair == b"hub%3A1:s3cret+%26%2B%25"
    assert fetched.headers["content-type"] == "application/x-www-form-urlencoded"


async def test_the_client_may_prove_itself_in_the_form() -> None:
    world = World()
    async with source(world.answer) as server:
        auth = oauth2(server, client_auth="post", parameters={"audience": "api"})
        async with calling(server.url, auth=auth) as sender:
            assert (await sender.send(outgoing())).ok
    assert dict(parse_qsl(world.fetched[0].body.decode())) == {
        "grant_type": "client_credentials",
        "audience": "api",
        "client_id": "hub:1",
        "client_secret": SECRET,
    }
    assert "authorization" not in world.fetched[0].headers


async def test_a_token_the_target_refuses_is_replaced_once() -> None:
    world = World()
    async with source(world.answer) as server, calling(f"{server.url}/api", auth=oauth2(server)) as sender:
        await sender.send(outgoing())
        world.good = "revoked"
        replies = await asyncio.gather(*(sender.send(outgoing()) for _ in range(10)))
        assert all(reply.ok for reply in replies)
        assert len(world.fetched) == 2
        world.shown = lambda call: "never right"
        reply = await sender.send(outgoing())
        assert (reply.ok, reply.status, reply.transient) == (False, 401, False)
        assert len(world.fetched) == 3


async def test_a_token_is_replaced_before_it_expires() -> None:
    world = World(expires_in=0)
    async with source(world.answer) as server, calling(f"{server.url}/api", auth=oauth2(server)) as sender:
        await sender.send(outgoing())
        loop = asyncio.get_running_loop()
        later = loop.time() + 0.002
        await until(lambda: loop.time() > later)
        await sender.send(outgoing())
    assert len(world.fetched) == 2
    assert len(world.called) == 2  # neither was refused


async def test_refused_credentials_are_not_shown_again_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world = World()
    world.status = "401 Unauthorized"
    async with source(world.answer) as server, calling(f"{server.url}/api", auth=oauth2(server)) as sender:
        for _ in range(3):
            with pytest.raises(PermanentError) as raised:
                await sender.send(outgoing())
            assert raised.value.code == "http.token_refused"
            assert SECRET not in raised.value.text
        with pytest.raises(PermanentError):
            await sender.probe()
    assert (len(world.fetched), world.called) == (1, [])
    assert SECRET not in caplog.text


@pytest.mark.parametrize("status", ["500 Oops", "503 Unavailable", "429 Too Many"])
async def test_an_endpoint_in_trouble_makes_the_target_unreachable(status: str) -> None:
    world = World()
    world.status = status
    async with source(world.answer) as server, calling(f"{server.url}/api", auth=oauth2(server)) as sender:
        with pytest.raises(UnreachableError):
            await sender.send(outgoing())
        world.status = "200 OK"
        assert (await sender.send(outgoing())).ok


async def test_an_endpoint_that_is_away_or_silent_makes_the_target_unreachable() -> None:
    async with source(lambda call: None) as server:
        async with calling(server.url, auth=oauth2(server)) as sender:
            with pytest.raises(UnreachableError):
                await sender.send(outgoing(timeout=0.2))
        away = oauth2(server)
    async with calling("http://127.0.0.1:9/", auth=away) as sender:
        with pytest.raises(UnreachableError):
            await sender.send(outgoing())


@pytest.mark.parametrize("reply", [b"<html>", b'{"access_token": 5}', b'{"access_token": "a\\r\\nX: y"}', b"[]", b""])
async def test_what_is_no_token_is_none(reply: bytes) -> None:
    async with source(lambda call: Said(reply)) as server, calling(server.url, auth=oauth2(server)) as sender:
        with pytest.raises(PermanentError) as raised:
            await sender.send(outgoing())
        assert raised.value.code == "http.token_refused"


async def test_a_login_call_is_whatever_the_contract_says() -> None:
    world = World()
    world.reply = {"code": 0, "data": {"token": "?", "seconds": "7200"}}
    async with source(world.answer) as server:
        auth = {**LOGIN, "url": f"{server.url}/token", "success": "code == 0"}
        async with calling(server.url, auth=auth) as sender:
            assert (await sender.send(outgoing())).ok
            assert "200" not in await sender.probe()
    assert world.fetched[0].json == {"app": {"id": "hub"}, "password": f"p-{SECRET}", "version": 2}
    assert world.called[0].headers["authorization"] == "Bearer token-1"


async def test_a_token_may_stand_in_the_query_or_in_another_header_and_expire_by_a_code() -> None:
    world = World()
    world.reply = {"data": {"token": "?", "seconds": 7200}}
    codes = iter([0, 40001, 0])

    def answer(call: Call) -> Said:
        return (
            world.answer(call) if call.path == "/token" else (world.called.append(call), Said({"code": next(codes)}))[1]
        )

    async with source(answer) as server:
        auth = {**LOGIN, "url": f"{server.url}/token", "form": True, "body": {"u": "{user}", "s": "{secret}"}}
        auth |= {"header": "X-Token", "value": "t={token}", "expired": "code == 40001"}
        async with calling(f"{server.url}/api", auth=auth, query={"access_token": "{token}"}) as sender:
            for _ in range(2):
                assert (await sender.send(outgoing())).ok
    assert dict(parse_qsl(world.fetched[0].body.decode())) == {"u": "hub", "s": SECRET}
    shown = [(call.query["access_token"], call.headers["x-token"]) for call in world.called]
    assert shown == [("token-1", "t=token-1"), ("token-1", "t=token-1"), ("token-2", "t=token-2")]


async def test_a_caller_that_gives_up_leaves_the_fetch_to_the_others() -> None:
    world = World()
    release = asyncio.Event()

    class Slow(Source):
        async def serve(self, peer: Any) -> None:
            await release.wait()
            await super().serve(peer)

    server = Slow(world.answer)
    async with scripted(server.serve) as port:
        server.port = port
        async with calling(f"{server.url}/api", auth=oauth2(server)) as sender:
            first, second = (asyncio.create_task(sender.send(outgoing())) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            release.set()
            assert (await second).ok
    assert len(world.fetched) == 1


async def test_a_sender_that_stops_while_a_token_is_fetched_has_sent_nothing() -> None:
    async with source(lambda call: None) as server:
        async with calling(server.url, auth=oauth2(server)) as sender:
            sending = asyncio.create_task(sender.send(outgoing()))
            await until(lambda: server.calls)
        with pytest.raises(UnreachableError):
            await sending


async def test_a_source_is_read_with_a_token_and_its_expiry_is_no_failure() -> None:
    world = World()
    kept = Kept()
    async with (
        source(world.answer) as server,
        polling(f"{server.url}/rows", kept, auth=oauth2(server), changed_only=False) as receiver,
    ):
        await run_once(receiver)
        world.good = "revoked"
        await run_once(receiver)
        assert "127.0.0.1" in await receiver.probe()
    assert (kept.errors, len(kept.items), len(world.fetched)) == ([], 2, 2)


async def test_a_source_whose_credentials_are_wrong_tells_so() -> None:
    world = World()
    world.status = "400 Bad Request"
    kept = Kept()
    async with source(world.answer) as server:
        run = await read_once(f"{server.url}/rows", kept, auth=oauth2(server))
    assert kept.errors == ["http.token_refused"]
    assert SECRET not in str(run)


@pytest.mark.parametrize(
    ("auth", "says"),
    [
        ({"type": "oauth2", "url": "http://x", "client_id": "a", "client_secret": ""}, "client_secret"),
        (
            {"type": "oauth2", "url": "http://x", "client_id": "a", "client_secret": "b", "parameters": {"scope": "x"}},
            "scope",
        ),
        ({**LOGIN, "url": "http://x", "token": "a.b("}, "token"),
        ({**LOGIN, "url": "http://x", "value": "Bearer"}, "{token}"),
        ({**LOGIN, "url": "http://x", "body": {"a": "{password}"}}, "{password}"),
        ({**LOGIN, "url": "http://x", "header": "Host"}, "Host"),
        ({"type": "magic"}, "magic"),
    ],
)
def test_wrong_options_are_refused(auth: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as raised:
        HttpConnect.model_validate({"url": "http://x", "auth": auth})
    assert says in str(raised.value)
    assert SECRET not in str(raised.value)
