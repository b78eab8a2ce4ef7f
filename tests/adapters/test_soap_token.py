"""Tokens and proxies of SOAP calls, and of reading their WSDL: those of the HTTP adapter."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from adapters.soap.options import SoapConnect
from hub.api import PermanentError, UnreachableError
from tests.adapters.certificates import Authority
from tests.adapters.http_source import Call, Said, Source, source
from tests.adapters.http_support import Json, outgoing
from tests.adapters.soap_support import calling, envelope
from tests.adapters.test_http_proxy import AUTH, USER, proxy, via
from tests.adapters.test_http_token import LOGIN, SECRET
from tests.adapters.test_soap_sender import ANSWER, PATIENT, TYPES, WSDL

CALL = {"operation": "send", "namespace": "urn:a", "parameters": {"message": "{body}"}}


class Service:
    """A token endpoint, a WSDL and a service behind it."""

    def __init__(self) -> None:
        self.tokens = 0
        self.seen: list[tuple[str, str]] = []
        self.headers: list[str] = []

    def answer(self, call: Call) -> Said:
        if call.path == "/token":
            self.tokens += 1
            return Said(
                {"access_token": f"token-{self.tokens}", "data": {"token": f"token-{self.tokens}", "seconds": 900}}
            )
        shown = call.headers.get("authorization", "") or call.headers.get("x-token", "")
        self.seen.append((f"{call.method} {call.path}", shown))
        if not shown.endswith(f"token-{self.tokens}") or not self.tokens:
            return Said(envelope("<x/>"), "401 Unauthorized")
        if call.method == "GET":
            return Said((TYPES if "types" in call.path else WSDL).encode(), headers=self.headers)
        return Said(ANSWER, headers=self.headers)


def oauth2(server: Source) -> dict[str, Any]:
    return {"type": "oauth2", "url": f"{server.url}/token", "client_id": "hub", "client_secret": SECRET}


async def test_calls_show_a_token_and_fetch_a_new_one_when_it_is_no_longer_good() -> None:
    service = Service()
    async with source(service.answer) as server, calling(f"{server.url}/reg", auth=oauth2(server), **CALL) as sender:
        assert (await sender.send(outgoing(b"<a/>"))).ok
        assert (await sender.send(outgoing(b"<a/>"))).ok
        assert service.tokens == 1
        service.tokens += 1  # the first is no longer good
        assert (await sender.send(outgoing(b"<a/>"))).ok
        assert "connected" in await sender.probe()
        assert sender.status()["tokens_fetched"] == 2
    assert service.seen == [
        ("POST /reg", "Bearer token-1"),
        ("POST /reg", "Bearer token-1"),
        ("POST /reg", "Bearer token-1"),
        ("POST /reg", "Bearer token-3"),
    ]


async def test_a_login_whose_token_is_shown_in_a_header_of_its_own() -> None:
    service = Service()
    async with source(service.answer) as server:
        auth = {**LOGIN, "url": f"{server.url}/token", "header": "X-Token", "value": "{token}"}
        async with calling(f"{server.url}/reg", auth=auth, **CALL) as sender:
            assert (await sender.send(outgoing(b"<a/>"))).ok
    assert service.seen == [("POST /reg", "token-1")]


async def test_no_token_is_told_as_it_is_for_http() -> None:
    async with (
        source(lambda call: Said({"error": "invalid_client"}, "400 Bad Request")) as server,
        calling(f"{server.url}/reg", auth=oauth2(server), **CALL) as sender,
    ):
        with pytest.raises(PermanentError) as refused:
            await sender.send(outgoing(b"<a/>"))
    assert (refused.value.code, SECRET in refused.value.text) == ("http.token_refused", False)
    async with calling(f"{server.url}/reg", auth=oauth2(server), **CALL) as sender:
        with pytest.raises(UnreachableError) as away:
            await sender.send(outgoing(b"<a/>"))
    assert away.value.code == "http.token_unreachable"


async def test_a_wsdl_is_read_with_the_token_of_the_calls() -> None:
    service = Service()
    async with source(service.answer) as server:
        options = {"wsdl": f"{server.url}/reg?wsdl", "operation": "register", "auth": oauth2(server)}
        async with calling(f"{server.url}/reg", codec=Json(), **options) as sender:
            reply = await sender.send(outgoing(orjson.dumps(PATIENT)))
    assert orjson.loads(reply.body)["number"] == 7
    assert [what for what, _ in service.seen] == ["GET /reg", "GET /types.xsd", "POST /reg"]


@pytest.mark.parametrize("secure", [False, True])
async def test_calls_and_the_wsdl_go_through_the_proxy(tmp_path: Path, secure: bool) -> None:
    authority = Authority(tmp_path, "ca")
    authority.issue("server", "127.0.0.1")
    service = Service()
    service.tokens = 1
    service.headers = ["Connection: close"]  # the proxy of the tests forwards one call of a connection
    context = None
    if secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    async with source(service.answer, context) as server, proxy(AUTH) as way:
        url = f"https://127.0.0.1:{server.port}" if secure else server.url
        options: dict[str, Any] = {
            "wsdl": f"{url}/reg?wsdl",
            "operation": "register",
            "proxy": via(way, **USER),
            "auth": {"type": "bearer", "secret": "token-1"},
            "tls": {"ca": str(tmp_path / "ca.pem")},
        }
        async with calling(f"{url}/reg", codec=Json(), **options) as sender:
            assert (await sender.send(outgoing(orjson.dumps(PATIENT)))).ok
    assert [what for what, _ in service.seen] == ["GET /reg", "GET /types.xsd", "POST /reg"]
    asked = {line.split(" ")[0] for line in way.asked}
    assert asked == ({"CONNECT"} if secure else {"GET", "POST"})


async def test_a_proxy_that_refuses_is_no_answer_of_the_service() -> None:
    service = Service()
    async with source(service.answer) as server, proxy(AUTH) as way:
        wrong = via(way, user="user", password="other")
        async with calling(f"{server.url}/reg", proxy=wrong, **CALL) as sender:
            with pytest.raises(UnreachableError) as caught:
                await sender.send(outgoing(b"<a/>"))
        assert caught.value.code == "http.proxy_auth"
        # With a WSDL the interface starts all the same: it is read before the first call.
        options = {"wsdl": f"{server.url}/reg?wsdl", "operation": "register", "proxy": wrong}
        async with calling(f"{server.url}/reg", codec=Json(), **options) as sender:
            with pytest.raises(UnreachableError) as caught:
                await sender.send(outgoing(orjson.dumps(PATIENT)))
        assert caught.value.code == "soap.wsdl_unreachable"
    assert service.seen == []


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"soapaction": "x"}},
        {"headers": {"Authorization": "x"}, "auth": {"type": "bearer", "secret": "s"}},
        {"proxy": {"url": "socks5://127.0.0.1:1"}},
        {"auth": {"type": "oauth2", "url": "http://a/t", "client_id": "x", "client_secret": ""}},
    ],
)
def test_options_that_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SoapConnect.model_validate({"url": "http://127.0.0.1:1/", **CALL, **options})
