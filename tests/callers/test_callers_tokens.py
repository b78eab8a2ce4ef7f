"""Credentials of every kind, and what is tried with them: confusion of algorithms, other people's, expired and replayed ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.callers.errors import CallerRefused, CallersError
from hub.callers.shown import LONGEST
from hub.errors import HubError
from tests.callers.callers_support import AUDIENCE, Registry

RSA = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
REMOTE = "10.0.0.1"


def public(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def private(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def claims(**more: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {"iss": "east", "aud": AUDIENCE, "iat": now, "exp": now + 300, **more}
    return {name: value for name, value in made.items() if value is not None}


def bearer(token: str) -> str:
    return f"Bearer {token}"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], payload: dict[str, Any], key: bytes = b"") -> str:
    """A JWT no library would make."""
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(payload).encode())}"
    return f"{signed}.{b64(hmac.digest(key, signed.encode(), 'sha256')) if key else ''}"


def code(registry: Registry, **shown: Any) -> str:
    with pytest.raises(CallerRefused) as caught:
        registry.door().admit(remote=REMOTE, **shown)
    assert caught.value.status == 401
    return caught.value.code


@pytest.fixture
def rs256(registry: Registry) -> str:
    registry.caller()
    return registry.issue("jwt", public=public(RSA), facts={"alg": "RS256"}).credential.id


def test_each_kind_lets_its_caller_in(registry: Registry) -> None:
    registry.caller()
    door = registry.door()
    basic = registry.issue("basic")
    pair = base64.b64encode(f"{basic.credential.id}:{basic.secret}".encode()).decode()
    shown = [
        {"api_key": registry.issue("api_key").shown},
        {"authorization": bearer(registry.issue("bearer").shown)},
        {"authorization": f"Basic {pair}"},
        {"authorization": f"bAsIc {pair}"},
    ]
    for each in shown:
        for _ in range(2):  # the second time from memory
            assert door.admit(remote=REMOTE, **each) == "east"


def test_a_kind_that_is_not_accepted_is_refused_also_from_memory(registry: Registry) -> None:
    registry.caller()
    key = registry.issue("bearer").shown
    callers = registry.callers()
    assert callers.door("his/adt", ["bearer"]).admit(authorization=bearer(key), remote=REMOTE) == "east"
    for accept in (["basic"], ["jwt", "oauth2"], ["api_key"]):
        with pytest.raises(CallerRefused):
            callers.door("his/adt", accept).admit(authorization=bearer(key), remote=REMOTE)
    with pytest.raises(CallerRefused):
        callers.door("his/adt", ["api_key", "bearer"]).admit(api_key=key, remote=REMOTE)


def test_unknown_wrong_and_disabled_are_told_alike(registry: Registry) -> None:
    registry.caller()
    registry.caller("west")
    good, other = registry.issue(), registry.issue(caller="west")
    registry.orders.disable("west", "bob")
    texts = set()
    for key in (
        "nobody.secret",
        good.credential.id + ".wrong",
        f"{good.credential.id}.{other.secret}",
        other.shown,
        good.shown + "x",
        good.shown + ".x",
        "",
    ):
        with pytest.raises(CallerRefused) as caught:
            registry.door().admit(api_key=key or "x", remote=REMOTE)
        texts.add((caught.value.text, caught.value.code, caught.value.status, caught.value.remedy))
    assert len(texts) == 1
    assert code(registry) == "caller.missing"


def test_credentials_of_another_kind_under_the_same_id(registry: Registry) -> None:
    registry.caller()
    oauth = registry.issue("oauth2")
    assert code(registry, api_key=f"{oauth.credential.id}.{oauth.secret}") == "caller.wrong"
    assert code(registry, authorization=bearer(f"{oauth.credential.id}.{oauth.secret}")) == "caller.wrong"


@settings(max_examples=150, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=80), st.sampled_from(["Bearer ", "Basic ", "bearer a.b.", "Bearer tqt_", ""]), st.booleans())
def test_anything_shown_is_refused(registry: Registry, text: str, head: str, as_key: bool) -> None:
    registry.abuse = type(registry.abuse)(0, 1.0, 1.0)
    door = (
        registry.open[-1].door("his/adt", ["api_key", "bearer", "basic", "jwt", "oauth2"])
        if registry.open
        else registry.door()
    )
    with pytest.raises(CallerRefused):
        door.admit(remote=REMOTE, **({"api_key": head + text} if as_key else {"authorization": head + text}))


def test_a_jwt_of_the_registered_key(registry: Registry, rs256: str) -> None:
    door = registry.door()
    token = jwt.encode(claims(), private(RSA), "RS256")
    assert door.admit(authorization=bearer(token), remote=REMOTE) == "east"
    named = jwt.encode(claims(), private(RSA), "RS256", headers={"kid": rs256})
    assert door.admit(authorization=bearer(named), remote=REMOTE) == "east"


def test_algorithms_can_not_be_confused(registry: Registry, rs256: str) -> None:
    header = {"alg": "none", "typ": "JWT", "kid": rs256}
    pem = public(RSA).encode()
    tokens = {
        "none": by_hand(header, claims()),
        "None": by_hand({**header, "alg": "None"}, claims()),
        "HS256 with the public key": by_hand({**header, "alg": "HS256"}, claims(), pem),
        "HS256 with the public key, stripped": by_hand({**header, "alg": "HS256"}, claims(), pem.strip()),
        "HS256 called RS256": by_hand({**header, "alg": "RS256"}, claims(), pem),
        "PS256 of the same key": jwt.encode(claims(), private(RSA), "PS256", headers={"kid": rs256}),
        "RS512 of the same key": jwt.encode(claims(), private(RSA), "RS512", headers={"kid": rs256}),
        "another key": jwt.encode(claims(), private(OTHER), "RS256", headers={"kid": rs256}),
        "ES256": jwt.encode(claims(), private(EC), "ES256", headers={"kid": rs256}),
        "empty signature": jwt.encode(claims(), private(RSA), "RS256").rpartition(".")[0] + ".",
        "a key in the header": by_hand(
            {**header, "alg": "HS256", "jwk": {"kty": "oct", "k": b64(b"x" * 32)}}, claims(), b"x" * 32
        ),
        "crit": jwt.encode(claims(), private(RSA), "RS256", headers={"kid": rs256, "crit": ["exp"]}),
        "the hub's own kid": by_hand({"alg": "none", "kid": "hub"}, claims(client_id=rs256)),
        "kid of a path": jwt.encode(claims(iss="x"), private(RSA), "RS256", headers={"kid": "../../dev/null"}),
    }
    for what, token in tokens.items():
        registry.abuse = type(registry.abuse)(0, 1.0, 1.0)
        assert code(registry, authorization=bearer(token)) == "caller.wrong", what


@pytest.mark.parametrize(
    "wrong",
    [
        {"exp": int(time.time()) - 120},
        {"exp": None},
        {"exp": "soon"},
        {"exp": 10**30},
        {"nbf": int(time.time()) + 600},
        {"iat": int(time.time()) + 600, "exp": int(time.time()) + 900},
        {"aud": "another.hub"},
        {"aud": None},
        {"iss": "west"},
        {"iss": None},
        {"exp": int(time.time()) + 86_400},
        {"iat": int(time.time()) - 86_400},
    ],
)
def test_claims_that_are_not_right(registry: Registry, rs256: str, wrong: dict[str, Any]) -> None:
    token = jwt.encode(claims(**wrong), private(RSA), "RS256", headers={"kid": rs256})
    assert code(registry, authorization=bearer(token)) == "caller.wrong"


def test_a_caller_can_not_speak_for_another(registry: Registry, rs256: str) -> None:
    registry.caller("west")
    west = registry.issue("jwt", "west", public=public(OTHER), facts={"alg": "RS256"}).credential.id
    for token in (
        jwt.encode(claims(iss="east"), private(OTHER), "RS256", headers={"kid": west}),
        jwt.encode(claims(iss="east"), private(OTHER), "RS256", headers={"kid": rs256}),
        jwt.encode(claims(iss="west"), private(OTHER), "RS256", headers={"kid": rs256}),
        jwt.encode(claims(iss="east", sub="east"), private(OTHER), "RS256"),
    ):
        assert code(registry, authorization=bearer(token)) == "caller.wrong"
    token = jwt.encode(claims(iss="west", sub="east"), private(OTHER), "RS256")
    assert registry.door().admit(authorization=bearer(token), remote=REMOTE) == "west"


def test_a_one_time_token_counts_once_in_all_workers_and_after_a_restart(registry: Registry) -> None:
    registry.caller()
    registry.issue("jwt", public=public(EC), facts={"alg": "ES256", "once": True})
    without = jwt.encode(claims(), private(EC), "ES256")
    assert code(registry, authorization=bearer(without)) == "caller.wrong"
    token = jwt.encode(claims(jti="one"), private(EC), "ES256")
    one, other = registry.door(), registry.door()
    assert one.admit(authorization=bearer(token), remote=REMOTE) == "east"
    for door in (one, other, registry.door()):
        with pytest.raises(CallerRefused):
            door.admit(authorization=bearer(token), remote=REMOTE)
    again = jwt.encode(claims(jti="two"), private(EC), "ES256")
    assert other.admit(authorization=bearer(again), remote=REMOTE) == "east"


def test_a_token_in_memory_expires_all_the_same(registry: Registry, rs256: str) -> None:
    door = registry.door()
    token = jwt.encode(claims(), private(RSA), "RS256")
    assert door.admit(authorization=bearer(token), remote=REMOTE) == "east"
    registry.clock.ahead = 400
    with pytest.raises(CallerRefused):
        door.admit(authorization=bearer(token), remote=REMOTE)


def test_hs256_and_jwk_sets(registry: Registry) -> None:
    registry.caller()
    issued = registry.issue("jwt", facts={"alg": "HS256", "iss": "app-7"})
    token = jwt.encode(claims(iss="app-7"), issued.secret, "HS256")
    assert registry.door().admit(authorization=bearer(token), remote=REMOTE) == "east"
    keys = [
        {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": name}
        for name, key in (("a", RSA), ("b", OTHER))
    ]
    registry.issue("jwt", public=json.dumps({"keys": keys}), facts={"alg": "RS256", "iss": "set"})
    for name, key in (("a", RSA), ("b", OTHER)):
        token = jwt.encode(claims(iss="set"), private(key), "RS256", headers={"kid": name})
        assert registry.door().admit(authorization=bearer(token), remote=REMOTE) == "east"
    crossed = jwt.encode(claims(iss="set"), private(RSA), "RS256", headers={"kid": "b"})
    assert code(registry, authorization=bearer(crossed)) == "caller.wrong"


@pytest.mark.parametrize(
    "order",
    [
        {"facts": {"alg": "none"}},
        {"facts": {"alg": "RS256"}, "public": ""},
        {"facts": {"alg": "RS256"}, "public": private(RSA).decode()},
        {"facts": {"alg": "ES256"}, "public": public(RSA)},
        {"facts": {"alg": "RS256"}, "public": '{"keys": [{"kty": "oct", "k": "AAAA"}]}'},
        {"facts": {"alg": "RS256"}, "public": '{"keys": "x"}'},
        {"facts": {"alg": "RS256", "longest": 10**9}, "public": public(RSA)},
        {"facts": {"alg": "RS256", "secret": "x"}, "public": public(RSA)},
    ],
)
def test_credentials_that_are_not_issued(registry: Registry, order: dict[str, Any]) -> None:
    registry.caller()
    with pytest.raises(HubError):
        registry.issue("jwt", **order)
    assert registry.credentials.of("east") == []


@pytest.mark.parametrize("form", ["opaque", "jwt"])
def test_tokens_of_the_hub(registry: Registry, form: str) -> None:
    registry.caller()
    issued = registry.issue("oauth2")
    door, elsewhere = registry.door(), registry.door()
    client = door.token(issued.credential.id, issued.secret, REMOTE)
    assert client is not None
    token = door.callers.who.tokens.issue(client, int(registry.clock()) + 600, form)
    for each in (door, elsewhere):
        assert each.admit(authorization=bearer(token), remote=REMOTE) == "east"
    for altered in (token[:-2] + ("AA" if token[-2:] != "AA" else "BB"), token + "A", token[1:]):
        assert code(registry, authorization=bearer(altered)) == "caller.wrong"
    registry.credentials.revoke(issued.credential.id, "bob", "lost")  # its tokens go with it
    with pytest.raises(CallerRefused):
        elsewhere.admit(authorization=bearer(token), remote=REMOTE)


def test_tokens_of_another_hub_and_expired_ones(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> None:
    registry.caller()
    issued = registry.issue("oauth2")
    other = Registry(tmp_path_factory.mktemp("other"))
    try:
        for form in ("opaque", "jwt"):
            tokens = registry.callers().who.tokens
            now = int(registry.clock())
            foreign = other.callers().who.tokens.issue(issued.credential, now + 600, form)
            assert code(registry, authorization=bearer(foreign)) == "caller.wrong"
            assert (
                code(registry, authorization=bearer(tokens.issue(issued.credential, now - 1, form))) == "caller.wrong"
            )
    finally:
        other.close()


def test_the_token_endpoint_takes_only_its_own_kind(registry: Registry) -> None:
    registry.caller()
    oauth, basic = registry.issue("oauth2"), registry.issue("basic")
    door = registry.door()
    for client, secret in (
        (basic.credential.id, basic.secret),
        (oauth.credential.id, basic.secret),
        (oauth.credential.id, ""),
        ("", ""),
    ):
        assert door.token(client, secret, REMOTE) is None


def test_one_certificate_one_caller(registry: Registry) -> None:
    registry.caller()
    registry.caller("west")
    registry.issue("mtls", facts={"shows": "dns:client.example.org"})
    with pytest.raises(CallersError):
        registry.issue("mtls", "west", facts={"shows": "dns:client.example.org"})
    for shows in ("", "client.example.org", "dns:"):
        with pytest.raises(CallersError):
            registry.issue("mtls", facts={"shows": shows})


def test_what_is_remembered_is_no_secret(registry: Registry) -> None:
    registry.caller()
    key = registry.issue().shown
    door = registry.door()
    door.admit(api_key=key, remote=REMOTE)
    remembered = door.callers.who._known
    assert len(remembered) == 1
    plain = hashlib.blake2b(key.encode(), digest_size=16).digest()
    assert plain not in remembered
    assert key.encode() not in b"".join(remembered)
    assert code(registry, api_key="x" * (LONGEST + 1)) == "caller.wrong"
