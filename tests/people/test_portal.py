"""Login through a portal: OpenID Connect against a provider in a process of its own, CAS against a strict server."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from hub.people.cas import read_answer
from hub.people.config import OidcConfig
from hub.people.errors import LoginRefused
from hub.people.oidc import OidcFlow
from tests.people.cas_server import CasServer
from tests.people.conftest import Answer, Client, OpenPlace, Place
from tests.ports import free_port

NAVIGATE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
CLAIMS = {"sub": "zhang", "name": "张三", "email": "z@example.org", "groups": ["ops", "other"]}


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    if importlib.util.find_spec("oidc_provider_mock") is None:
        pytest.skip("oidc-provider-mock is not installed")
    port = free_port()
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "oidc_provider_mock",
        "--port",
        str(port),
        "--require-nonce",
        "true",
    ]
    process = subprocess.Popen(
        [*command, "--user-claims", json.dumps(CLAIMS)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    issuer = f"http://127.0.0.1:{port}"
    end = time.monotonic() + 30
    try:
        while True:
            try:
                with urllib.request.urlopen(f"{issuer}/.well-known/openid-configuration", timeout=5):
                    break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.05)
        yield issuer
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
async def cas() -> AsyncIterator[CasServer]:
    server = CasServer()
    await server.start()
    yield server
    await server.stop()


class Browser:
    """Goes where it is sent, with its cookies."""

    def __init__(self, here: Place) -> None:
        self.here = here
        self.client: Client = here.client()

    async def begin(self, portal: str) -> str:
        answer = await self.client.call("GET", f"/api/v1/login/{portal}")
        assert answer.status == 302, answer.raw
        assert "SameSite=Lax" in answer.headers["Set-Cookie"]
        return str(answer.headers["Location"])

    async def at_the_portal(self, location: str, user: str = "zhang") -> str:
        """What the portal sends the browser back to, as a path of the hub."""
        async with aiohttp.ClientSession() as session:
            if "/cas/login" in location:
                response = await session.get(location, allow_redirects=False)
            else:
                response = await session.post(location, data={"sub": user}, allow_redirects=False)
            back = urlsplit(response.headers["Location"])
        return f"{back.path}?{back.query}"

    async def back(self, path: str) -> Answer:
        return await self.client.call("GET", path, **{k.replace("-", "_"): v for k, v in NAVIGATE.items()})

    async def through(self, portal: str) -> Answer:
        return await self.back(await self.at_the_portal(await self.begin(portal)))


URL = "http://127.0.0.1:1"  # the hub never calls itself: only the browser follows this


def oidc(issuer: str, **more: Any) -> dict[str, Any]:
    return {"portal": {"oidc": {"issuer": issuer, "client_id": "hub", "client_secret": "env:TEST_OIDC_SECRET", **more}}}


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_OIDC_SECRET", "the secret of the client")


async def test_login_by_openid_connect(place: OpenPlace, provider: str) -> None:
    here = await place(oidc(provider), url=URL)
    await here.person("zhang", "monitor")
    browser = Browser(here)
    location = await browser.begin("oidc")
    asked = {key: value[0] for key, value in parse_qs(urlsplit(location).query).items()}
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert asked["redirect_uri"] == f"{URL}/api/v1/login/oidc/back"
    path = await browser.at_the_portal(location)
    answer = await browser.back(path)
    assert (answer.status, answer.headers["Location"]) == (303, f"{URL}/")
    assert "tongqu_session=tqs_" in str(answer.headers.getall("Set-Cookie"))
    await browser.client.done("GET", "/api/v1/status")
    assert (await browser.client.done("GET", "/api/v1/me"))["name"] == "张三"
    assert (await browser.back(path)).status == 401  # what came back counts once
    rows = (await here.root.done("GET", "/api/v1/login-log"))["logins"]
    assert (rows[0]["user"], rows[0]["method"], rows[0]["outcome"]) == ("zhang", "oidc", "ok")


async def test_a_login_is_finished_in_the_browser_it_began_in(place: OpenPlace, provider: str) -> None:
    here = await place(oidc(provider), url=URL)
    await here.person("zhang", "monitor")
    attacker, victim = Browser(here), Browser(here)
    path = await attacker.at_the_portal(await attacker.begin("oidc"))
    answer = await victim.back(path)
    assert (answer.status, answer.json["code"]) == (401, "portal.refused")
    assert "Set-Cookie" not in answer.headers
    assert (await attacker.back(path)).status == 401  # and it is used up
    other = await victim.begin("oidc")
    assert (
        await victim.back(path.split("state=")[0] + "state=" + parse_qs(urlsplit(other).query)["state"][0])
    ).status == 401


async def test_only_a_page_that_is_opened_comes_back_from_another_site(place: OpenPlace, provider: str) -> None:
    here = await place(oidc(provider), url=URL)
    client = here.client()
    await client.refused(403, "auth.cross_site", "GET", "/api/v1/login/oidc/back?state=x", Sec_Fetch_Site="cross-site")
    await client.refused(401, "portal.refused", "GET", "/api/v1/login/oidc/back?state=x")


async def test_who_is_no_user_is_refused_or_made(place: OpenPlace, provider: str) -> None:
    here = await place(oidc(provider), url=URL)
    answer = await Browser(here).through("oidc")
    assert (answer.status, answer.json["code"]) == (401, "portal.refused")
    row = (await here.root.done("GET", "/api/v1/login-log"))["logins"][0]
    assert row["outcome"] == "unknown"
    assert "zhang" not in row["user"]


async def test_groups_become_roles_and_a_user_is_made(place: OpenPlace, provider: str) -> None:
    more = {"groups": "groups", "roles": {"ops": ["tester"], "boss": ["administrator"]}, "create": True}
    here = await place(oidc(provider, **more), url=URL)
    browser = Browser(here)
    assert (await browser.through("oidc")).status == 303
    me = await browser.client.done("GET", "/api/v1/me")
    assert (me["roles"], me["scope"]["systems"]) == (["tester"], [])  # nothing says whose data: none
    await browser.client.refused(403, "auth.forbidden", "GET", "/api/v1/users")


async def test_a_frozen_user_is_not_let_in_by_the_portal(place: OpenPlace, provider: str) -> None:
    here = await place(oidc(provider), url=URL)
    await here.person("zhang", "monitor")
    await here.people.run(lambda: here.people.records.book.set_state("test", "zhang", "frozen", reason="x"))
    answer = await Browser(here).through("oidc")
    assert (answer.status, answer.json["code"]) == (401, "login.state")


async def test_the_hub_may_ask_for_its_own_second_factor_too(place: OpenPlace, provider: str) -> None:
    security = oidc(provider)
    security["portal"]["second_factor"] = True
    here = await place({**security, "second_factor": {"roles": ["monitor"]}}, url=URL)
    await here.person("zhang", "monitor")
    browser = Browser(here)
    await browser.through("oidc")
    assert (await browser.client.done("GET", "/api/v1/me"))["state"] == "enrol"
    await browser.client.refused(401, "login.step", "GET", "/api/v1/status")


async def test_a_portal_that_does_not_answer_or_is_not_configured(place: OpenPlace) -> None:
    here = await place(oidc("http://127.0.0.1:9"), url=URL)
    await here.client().refused(401, "portal.unreachable", "GET", "/api/v1/login/oidc")
    await here.client().refused(422, "portal.unknown", "GET", "/api/v1/login/cas")


# -- what an ID token has to be ----------------------------------------------------------------------------------------

_KEY = rsa.generate_private_key(65537, 2048)
_OTHER = rsa.generate_private_key(65537, 2048)
_JWKS = {"keys": [{**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(_KEY.public_key())), "kid": "1", "use": "sig"}]}
_CONFIG = OidcConfig(issuer="https://portal.example", client_id="hub")


def token(key: Any = _KEY, algorithm: str = "RS256", **changed: Any) -> str:
    now = int(time.time())
    claims = {"iss": "https://portal.example", "aud": "hub", "sub": "zhang", "nonce": "n", "iat": now, "exp": now + 300}
    claims = {k: v for k, v in {**claims, **changed}.items() if v is not None}
    return jwt.encode(claims, key, algorithm, headers={"kid": "1"})


def test_a_sound_id_token() -> None:
    assert OidcFlow(_CONFIG)._checked(token(), _JWKS, "n")["sub"] == "zhang"
    assert OidcFlow(_CONFIG)._checked(token(aud=["hub", "x"], azp="hub"), _JWKS, "n")["sub"] == "zhang"


@pytest.mark.parametrize(
    "made",
    [
        lambda: token(_OTHER),
        lambda: token(nonce="m"),
        lambda: token(nonce=None),
        lambda: token(aud="other"),
        lambda: token(aud=["hub", "other"]),
        lambda: token(iss="https://evil.example"),
        lambda: token(exp=int(time.time()) - 120),
        lambda: token(exp=None),
        lambda: token(sub=None),
        lambda: token("x" * 64, "HS256"),
        lambda: token(None, "none"),
        lambda: token()[:-4] + "AAAA",
        lambda: "",
        lambda: "a.b.c",
    ],
)
def test_an_id_token_that_is_not_sound(made: Any) -> None:
    with pytest.raises(LoginRefused):
        OidcFlow(_CONFIG)._checked(made(), _JWKS, "n")


@given(
    st.text(max_size=60), st.dictionaries(st.text(max_size=5), st.lists(st.text(max_size=5), max_size=2), max_size=3)
)
def test_anything_may_come_as_a_token_or_as_keys(text: str, keys: dict[str, Any]) -> None:
    for given_keys in (keys, _JWKS):
        with pytest.raises(LoginRefused):
            OidcFlow(_CONFIG)._checked(text, given_keys, "n")


# -- CAS ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3])
async def test_login_by_cas(place: OpenPlace, cas: CasServer, version: int) -> None:
    cas.attributes = {"name": ["张三"], "unit": ["东院"], "groups": ["ops"]}
    more: dict[str, Any] = (
        {"groups": "groups", "roles": {"ops": ["monitor"]}, "institution": "unit"} if version == 3 else {}
    )
    here = await place({"portal": {"cas": {"url": cas.url, "version": version, **more}}}, url=URL)
    await here.person("zhang", "tester")
    browser = Browser(here)
    path = await browser.at_the_portal(await browser.begin("cas"))
    assert (await browser.back(path)).status == 303
    me = await browser.client.done("GET", "/api/v1/me")
    if version == 3:
        assert (me["roles"], me["scope"]["institutions"], me["name"]) == (["monitor"], ["东院"], "张三")
    else:
        assert me["roles"] == ["tester"]
    assert (await browser.back(path)).status == 401


async def test_a_ticket_counts_once_for_its_service_and_its_browser(place: OpenPlace, cas: CasServer) -> None:
    here = await place({"portal": {"cas": {"url": cas.url}}}, url=URL)
    await here.person("zhang", "tester")
    one, other = Browser(here), Browser(here)
    stolen = await one.at_the_portal(await one.begin("cas"))
    state = parse_qs(urlsplit(await other.begin("cas")).query)["service"][0].split("state=")[1]
    ticket = parse_qs(urlsplit(stolen).query)["ticket"][0]
    # The ticket was given for the service with another state.
    answer = await other.back(f"/api/v1/login/cas/back?state={state}&ticket={ticket}")
    assert (answer.status, answer.json["code"]) == (401, "portal.invalid")
    assert (await one.back(stolen)).status == 401  # CAS has used it up
    assert (await one.back("/api/v1/login/cas/back?ticket=ST-x")).status == 401


_GOOD = "<a:serviceResponse xmlns:a='http://www.yale.edu/tp/cas'><a:authenticationSuccess><a:user>li</a:user>{}</a:authenticationSuccess></a:serviceResponse>"


def test_answers_of_cas() -> None:
    more = "<a:attributes><!-- x --><a:g>1</a:g><a:g>2</a:g><a:n>李</a:n><a:user>evil</a:user></a:attributes>"
    assert read_answer(_GOOD.format(more).encode()) == {"user": "li", "g": ["1", "2"], "n": "李"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"yes\nli\n",
        b"<serviceResponse><authenticationSuccess><user>li</user></authenticationSuccess></serviceResponse>",
        b"<!DOCTYPE x [<!ENTITY e 'li'>]>" + _GOOD.format("").replace("li", "&e;").encode(),
        _GOOD.format("").replace(">li<", "><").encode(),
        _GOOD.format("").replace("Success", "Failure").encode(),
    ],
)
def test_what_is_no_success_of_cas(body: bytes) -> None:
    with pytest.raises(LoginRefused):
        read_answer(body)


@given(st.binary(max_size=80))
def test_anything_may_come_from_cas(body: bytes) -> None:
    with pytest.raises(LoginRefused):
        read_answer(body)
