"""``auth: {type: caller}`` over real connections: HTTP, the token endpoint, client certificates, signatures with the keys of callers."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat
from cryptography.hazmat.primitives.serialization import NoEncryption as Plain
from pydantic import ValidationError

from adapters.http import HttpAdapter
from adapters.http.options import HttpListen
from adapters.http.receiver import HttpReceiver
from hub.api import HubError, Opening, Refused, Wire
from hub.callers.limits import AbuseRule
from hub.callers.opened import give_callers
from hub.crypto import provider
from hub.security.schemes.signature import Signature, SignatureOptions
from tests.adapters.certificates import Authority
from tests.adapters.http_support import Answer, MemoryIntake, bound_in, call, raw_call
from tests.callers.callers_support import Registry

CALLER = {"type": "caller"}


@asynccontextmanager
async def serving(
    registry: Registry, intake: MemoryIntake, contract: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[HttpReceiver]:
    bound = bound_in(contract, **{"auth": CALLER, **options})
    assert bound.asks_caller
    give_callers(bound, registry.callers())
    receiver = HttpAdapter().receiver(bound, intake)
    assert isinstance(receiver, HttpReceiver)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop(5)


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


async def test_the_caller_is_told_to_the_hub_and_nobody_else_can_say_who_it_is(registry: Registry) -> None:
    registry.caller()
    key = registry.issue().shown
    intake = MemoryIntake()
    async with serving(registry, intake, path="/in/{caller}") as receiver:
        answer = await call(receiver, path="/in/west", headers={"X-Api-Key": key})
        assert answer.status == 202
    assert intake.taken[0].params["caller"] == "east"
    assert key not in json.dumps(intake.taken[0].params)


async def test_refusals_say_what_to_do_and_keep_nothing_of_the_secret(registry: Registry) -> None:
    registry.caller(limits={"per_day": 1})
    registry.caller("west", places=["lis/*"])
    east, west = registry.issue(), registry.issue(caller="west")
    intake = MemoryIntake()

    async def refused(headers: dict[str, str]) -> Answer:
        answer = await call(receiver, headers={"Accept-Language": "en", **headers})
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert answer.json["remedy"]
        return answer

    async with serving(registry, intake) as receiver:
        missing = await refused({})
        assert (missing.status, missing.json["code"]) == (401, "caller.missing")
        for scheme in ("Bearer", "Basic", "ApiKey"):
            assert scheme in missing.headers["www-authenticate"]
        wrong = [
            await refused({"X-Api-Key": f"{east.credential.id}.no"}),
            await refused({"X-Api-Key": "nobody.no"}),
            await refused(basic(east.credential.id, east.secret)),
        ]
        assert {(each.status, each.json["code"], each.json["detail"]) for each in wrong} == {
            (401, "caller.wrong", wrong[0].json["detail"])
        }
        other = await refused({"X-Api-Key": west.shown})
        assert (other.status, other.json["code"]) == (403, "caller.interface")
        assert (await call(receiver, headers={"X-Api-Key": east.shown})).status == 202
        over = await refused({"X-Api-Key": east.shown})
        assert (over.status, over.json["code"]) == (429, "caller.quota")
        assert int(over.headers["retry-after"]) > 0
    assert len(intake.taken) == 1
    assert [error.code for _, _, error in intake.refused][-2:] == ["caller.interface", "caller.quota"]
    told = repr([(error.text, error.remedy) for _, _, error in intake.refused])
    assert east.secret not in told
    assert west.secret not in told


async def test_a_restricted_address_gets_429_whatever_it_shows(registry: Registry) -> None:
    registry.abuse = AbuseRule(3, 60.0, 600.0)
    registry.caller()
    key = registry.issue().shown
    async with serving(registry, MemoryIntake()) as receiver:
        answers = [await call(receiver, headers={"X-Api-Key": "x.y"}) for _ in range(3)]
        assert [answer.status for answer in answers] == [401] * 3
        last = await call(receiver, headers={"X-Api-Key": key})
        assert (last.status, last.json["code"]) == (429, "caller.restricted")
        assert 0 < int(last.headers["retry-after"]) <= 600


async def test_without_the_registry_it_does_not_start() -> None:
    receiver = HttpAdapter().receiver(bound_in(auth=CALLER), MemoryIntake())
    with pytest.raises(HubError) as caught:
        await receiver.start()
    assert caught.value.code == "caller.unavailable"


@pytest.mark.parametrize(
    "options",
    [
        {"auth": {"type": "caller", "accept": ["mtls"]}},
        {"auth": {"type": "caller", "accept": []}},
        {"auth": {"type": "caller", "accept": ["hmac"]}},
        {"auth": {"type": "caller", "secret": "x"}},
        {"auth": {"type": "none", "accept": ["basic"]}},
        {"auth": {"type": "none"}, "token": {}},
        {"auth": CALLER, "token": {"path": "/in"}},
        {"auth": CALLER, "token": {"lifetime": "2d"}},
        {"auth": CALLER, "log_headers": ["X-Api-Key"]},
    ],
)
def test_options_that_can_not_be(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HttpListen.model_validate({"path": "/in", **options})


# -- tokens ----------------------------------------------------------------------------------------------------------------


async def token(receiver: HttpReceiver, body: str, **headers: str) -> Answer:
    given = {
        "Content-Type": "application/x-www-form-urlencoded",
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    return await call(receiver, body.encode(), path="/oauth2/token", headers=given)


@pytest.mark.parametrize("form", ["opaque", "jwt"])
async def test_a_token_is_issued_and_taken(registry: Registry, form: str) -> None:
    registry.caller()
    issued = registry.issue("oauth2")
    client, secret = issued.credential.id, issued.secret
    async with serving(registry, MemoryIntake(), token={"form": form, "lifetime": "2h"}) as receiver:
        for answer in (
            await token(receiver, "grant_type=client_credentials", **basic(client, secret)),
            await token(receiver, f"grant_type=client_credentials&client_id={client}&client_secret={secret}"),
        ):
            assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
            assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 7200)
            taken = await call(receiver, headers={"Authorization": f"Bearer {answer.json['access_token']}"})
            assert taken.status == 202
        registry.orders.disable("east", "bob")
        gone = await call(receiver, headers={"Authorization": f"Bearer {answer.json['access_token']}"})
        assert gone.status == 401
        assert (await token(receiver, "grant_type=client_credentials", **basic(client, secret))).status == 401


async def test_a_token_ends_with_its_credential(registry: Registry) -> None:
    registry.caller()
    issued = registry.issue("oauth2", valid_until=int(registry.clock()) + 120)
    async with serving(registry, MemoryIntake(), token={}) as receiver:
        answer = await token(receiver, "grant_type=client_credentials", **basic(issued.credential.id, issued.secret))
        assert 100 <= answer.json["expires_in"] <= 120


async def test_what_the_token_endpoint_refuses(registry: Registry) -> None:
    registry.abuse = AbuseRule(0, 1.0, 1.0)
    registry.caller()
    issued = registry.issue("oauth2")
    right = basic(issued.credential.id, issued.secret)
    grant = "grant_type=client_credentials"
    intake = MemoryIntake()
    async with serving(registry, intake, token={}) as receiver:
        cases = [
            (await token(receiver, grant), 401, "invalid_client"),
            (await token(receiver, grant, **basic(issued.credential.id, "wrong")), 401, "invalid_client"),
            (await token(receiver, grant, **basic("nobody", issued.secret)), 401, "invalid_client"),
            (
                await token(receiver, "grant_type=password&username=a&password=b", **right),
                400,
                "unsupported_grant_type",
            ),
            (await token(receiver, "", **right), 400, "invalid_request"),
            (await token(receiver, f"{grant}&{grant}", **right), 400, "invalid_request"),
            (await token(receiver, f"{grant}&client_secret=x", **right), 400, "invalid_request"),
            (await token(receiver, "&".join("a" * 30), **right), 400, "invalid_request"),
            (await token(receiver, grant + "x" * 20_000, **right), 413, "invalid_request"),
            (await token(receiver, grant, Content_Type="application/json", **right), 400, "invalid_request"),
            (await call(receiver, path="/oauth2/token", method="GET", body=b""), 405, None),
        ]
        for number, (answer, status, code) in enumerate(cases):
            assert (answer.status, answer.json.get("error")) == (status, code), number
        assert cases[0][0].json == {**cases[1][0].json}
        registry.orders.add_addresses("block", [{"network": "127.0.0.0/8"}], "bob")
        blocked = await token(receiver, grant, **right)
        assert (blocked.status, blocked.json["error"]) == (403, "access_denied")
    assert intake.taken == []


# -- client certificates ----------------------------------------------------------------------------------------------------


async def test_client_certificates(registry: Registry, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    for name in ("server", "known", "other"):
        authority.issue(name, *(["127.0.0.1"] if name == "server" else [f"{name}.example.org"]))
    registry.caller()
    registry.caller("west")
    registry.issue("mtls", public=(tmp_path / "known.pem").read_text())
    registry.issue("mtls", "west", facts={"shows": "dns:other.example.org"})
    key = registry.issue().shown
    tls = {
        n: str(tmp_path / f) for n, f in (("certificate", "server.pem"), ("key", "server.key"), ("client_ca", "ca.pem"))
    }
    intake = MemoryIntake()
    options = {"auth": {**CALLER, "accept": ["mtls", "api_key"]}, "tls": tls}

    async def shown(port: int, name: str, header: str = "") -> int:
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        context.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
        import asyncio

        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(f"POST /in HTTP/1.1\r\nHost: hub\r\nContent-Length: 2\r\n{header}\r\n{{}}".encode())
        status = int((await asyncio.wait_for(reader.readline(), 15)).split()[1])
        writer.close()
        return status

    async with serving(registry, intake, **options) as receiver:
        port = receiver.status()["port"]
        assert [await shown(port, "known"), await shown(port, "other"), await shown(port, "server")] == [202, 202, 401]
        assert await shown(port, "known", f"X-Api-Key: {key}\r\n") == 202
        assert await shown(port, "known", "X-Api-Key: x.y\r\n") == 401  # what is shown must be right
        registry.orders.disable("east", "bob")
        assert await shown(port, "known") == 401
    assert [taken.params["caller"] for taken in intake.taken] == ["east", "west", "east"]


# -- signatures with the keys of callers --------------------------------------------------------------------------------------

_SIGNED = {
    "text": "{method}\n{target}\n{time}\n{nonce}\n{body}",
    "values": {"time": {"now": "ms", "at": {"header": "X-Time"}}, "nonce": {"random": 16, "at": {"header": "X-Nonce"}}},
    "at": {"header": "X-Sign"},
}
_OF_CALLERS = {**_SIGNED, "keys": "caller", "key_id": {"header": "X-App-Id"}}


def signed(key_id: str, body: bytes = b"{}", **keys: Any) -> dict[str, str]:
    """Headers of a call that a client with these keys makes."""
    wire = Wire(body, {}, "POST", "/in", "hub")
    Signature(SignatureOptions.model_validate({**_SIGNED, **keys})).seal_request(wire)
    return {**wire.headers, "X-App-Id": key_id}


async def test_a_signature_tells_who_calls(registry: Registry) -> None:
    registry.abuse = AbuseRule(0, 1.0, 1.0)
    for name in ("east", "west"):
        registry.caller(name)
    east, west = registry.issue("hmac"), registry.issue("hmac", "west")
    intake = MemoryIntake()
    contract = {"security": [{"signature": _OF_CALLERS}]}
    async with serving(registry, intake, contract, auth={"type": "none"}) as receiver:
        good = signed(east.credential.id, secret=east.secret)
        assert (await call(receiver, headers=good)).status == 202
        assert (await call(receiver, headers=good)).status == 401  # the same again
        for wrong in (
            {},
            signed(east.credential.id, secret=west.secret),
            signed(west.credential.id, secret=east.secret),
            signed("nobody", secret=east.secret),
            signed("", secret=east.secret),
            {**signed(east.credential.id, secret=east.secret), "X-App-Id": west.credential.id},
            {**signed(east.credential.id, secret=east.secret), "X-Nonce": "0" * 16},
        ):
            assert (await call(receiver, headers=wrong)).status == 401
        altered = signed(east.credential.id, secret=east.secret)
        assert (await call(receiver, b'{"a":1}', headers=altered)).status == 401
        assert (await call(receiver, headers=signed(west.credential.id, secret=west.secret))).status == 202
        registry.orders.change("west", {"places": ["lis/*"]}, "bob")
        assert (await call(receiver, headers=signed(west.credential.id, secret=west.secret))).status == 403
        registry.credentials.revoke(east.credential.id, "bob", "lost")
        assert (await call(receiver, headers=signed(east.credential.id, secret=east.secret))).status == 401
    assert [taken.params["caller"] for taken in intake.taken] == ["east", "west"]


async def test_two_callers_may_use_one_nonce(registry: Registry) -> None:
    for name in ("east", "west"):
        registry.caller(name)
    made = {name: registry.issue("hmac", name) for name in ("east", "west")}
    scheme = Signature(SignatureOptions.model_validate({**_OF_CALLERS, "text": "{time}{nonce}"}))
    scheme.door = registry.door()
    for name, issued in made.items():
        wire = Wire(b"{}", {}, "POST", "/in", "hub", remote="10.0.0.1")
        signer = Signature(
            SignatureOptions.model_validate(
                {
                    **_SIGNED,
                    "text": "{time}{nonce}",
                    "secret": issued.secret,
                    "values": {
                        "time": {"now": "ms", "at": {"header": "X-Time"}},
                        "nonce": {"const": "same", "at": {"header": "X-Nonce"}},
                    },
                }
            )
        )
        signer.seal_request(wire)
        wire.headers["x-app-id"] = issued.credential.id
        opening = Opening()
        scheme.open_request(wire, opening)
        assert opening.notes["caller"] == name


@pytest.mark.parametrize("algorithm", ["sm2", "rsa-sha256"])
async def test_public_keys_of_callers(registry: Registry, algorithm: str) -> None:
    registry.caller()
    if algorithm == "sm2":
        pair = provider().sm2_generate()
        private, public = pair.secret().hex(), pair.public.point.hex()
        other = provider().sm2_generate().secret().hex()
    else:
        key, second = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
        private, other = (k.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, Plain()).decode() for k in (key, second))
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    name = algorithm.partition("-")[0]
    issued = registry.issue(name, public=public)
    intake = MemoryIntake()
    contract = {"security": [{"signature": {**_OF_CALLERS, "algorithm": algorithm}}]}
    async with serving(registry, intake, contract, auth={"type": "none"}) as receiver:
        key_id = issued.credential.id
        assert (await call(receiver, headers=signed(key_id, algorithm=algorithm, private=private))).status == 202
        assert (await call(receiver, headers=signed(key_id, algorithm=algorithm, private=other))).status == 401
        hmac = signed(key_id, secret=public)  # the public key taken for a shared secret
        assert (await call(receiver, headers=hmac)).status == 401
    assert intake.taken[0].params["caller"] == "east"


def test_who_calls_is_asked_once() -> None:
    bound = bound_in({"security": [{"signature": _OF_CALLERS}]}, auth=CALLER)
    assert bound.asks_caller


@pytest.mark.parametrize(
    "more",
    [
        {"keys": "caller"},
        {"key_id": {"header": "X-App-Id"}},
        {"keys": "caller", "key_id": {"header": "X"}, "secret": "x"},
        {"keys": "caller", "key_id": {"header": "X"}, "reply": {"at": {"header": "Y"}}},
    ],
)
def test_options_of_signatures_that_can_not_be(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SignatureOptions.model_validate({**_SIGNED, **more})


def test_a_scheme_without_the_registry_lets_nobody_in() -> None:
    scheme = Signature(SignatureOptions.model_validate(_OF_CALLERS))
    wire = Wire(b"{}", {}, "POST", "/in", "hub")
    with pytest.raises(Refused) as caught:
        scheme.open_request(wire, Opening())
    assert caught.value.status == 503
    with pytest.raises(HubError):
        scheme.seal_request(wire)


async def test_a_slow_body_of_the_token_endpoint_is_cut_off(registry: Registry) -> None:
    registry.caller()
    async with serving(registry, MemoryIntake(), token={}, body_timeout="100ms") as receiver:
        head = (
            "POST /oauth2/token HTTP/1.1\r\nHost: hub\r\nContent-Length: 29\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n\r\ngrant"
        )
        assert (await raw_call(receiver.status()["port"], head.encode())).status == 408
