"""``signature``: what both sides sign agrees, and whatever was changed on the way is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hub.crypto import provider
from hub.security import Opening, Refused, Wire
from hub.security.schemes.signature import Signature, SignatureOptions

NOW = 1_764_300_000.0
SECRET = "shared-between-both"
TIMED = {
    "timestamp": {"now": "s", "at": {"header": "X-Time"}},
    "nonce": {"random": 16, "at": {"header": "X-Nonce"}},
}


class Clock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def scheme(clock: Callable[[], float] | None = None, **options: Any) -> Signature:
    return Signature(SignatureOptions.model_validate(options), clock or Clock())


def opened(checker: Signature, wire: Wire) -> Opening:
    opening = Opening()
    checker.open_request(wire, opening)
    return opening


def refused(checker: Signature, wire: Wire) -> str:
    with pytest.raises(Refused) as caught:
        opened(checker, wire)
    assert SECRET not in caught.value.text
    return caught.value.code


def call(body: bytes = b'{"a":1}', **more: Any) -> Wire:
    return Wire(body, {"content-type": "application/json"}, "POST", "/api/x?b=2&a=1", "example.org", **more)


PLAIN = {
    "secret": SECRET,
    "text": "{method}\n{path}\n{timestamp}\n{nonce}\n{body}",
    "values": TIMED,
    "at": {"header": "X-Sign"},
}


def test_it_is_the_hmac_of_the_text() -> None:
    wire = call()
    scheme(**PLAIN).seal_request(wire)
    stamp, nonce = wire.headers["x-time"], wire.headers["x-nonce"]
    assert stamp == str(int(NOW))
    assert len(nonce) == 16
    text = f'POST\n/api/x\n{stamp}\n{nonce}\n{{"a":1}}'
    assert wire.headers["x-sign"] == hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
    opened(scheme(**PLAIN), wire)


@pytest.mark.parametrize(
    "change",
    [
        lambda wire: setattr(wire, "body", wire.body + b" "),
        lambda wire: setattr(wire, "method", "PUT"),
        lambda wire: setattr(wire, "target", "/api/y?b=2&a=1"),
        lambda wire: wire.headers.update({"x-nonce": "0" * 16}),
        lambda wire: wire.headers.update({"x-time": str(int(NOW) + 1)}),
        lambda wire: wire.headers.update({"x-sign": "00" * 32}),
        lambda wire: wire.headers.update({"x-sign": wire.headers["x-sign"][:-2]}),
        lambda wire: wire.headers.update({"x-sign": "zz"}),
        lambda wire: wire.headers.update({"x-sign": "9" * 100_000}),
    ],
)
def test_whatever_was_changed_is_refused(change: Callable[[Wire], Any]) -> None:
    wire = call()
    scheme(**PLAIN).seal_request(wire)
    change(wire)
    assert refused(scheme(**PLAIN), wire) == "security.signature_wrong"


def test_without_a_signature_it_is_refused() -> None:
    assert refused(scheme(**PLAIN), call()) == "security.signature_missing"


def test_the_same_call_twice_is_refused_unless_it_was_not_taken_in() -> None:
    wire, checker = call(), scheme(**PLAIN)
    scheme(**PLAIN).seal_request(wire)
    opened(checker, wire).forget()
    opened(checker, wire)
    assert refused(checker, wire) == "security.replayed"


def test_a_call_outside_the_window_is_refused_on_both_sides() -> None:
    wire = call()
    scheme(**PLAIN).seal_request(wire)
    for offset in (301, -301):
        assert refused(scheme(Clock(NOW + offset), **PLAIN), wire) == "security.time"


def test_a_call_signed_before_the_hub_started_is_refused() -> None:
    """What was remembered is gone: somebody may be sending it for the second time."""
    wire = call()
    scheme(**PLAIN).seal_request(wire)
    assert refused(scheme(Clock(NOW + 60), **PLAIN), wire) == "security.restarted"


def test_more_than_can_be_remembered_is_refused_for_the_time_being() -> None:
    checker, sender = scheme(**PLAIN, remembered=100), scheme(**PLAIN)
    wires = [call() for _ in range(101)]
    for wire in wires:
        sender.seal_request(wire)
    for wire in wires[:100]:
        opened(checker, wire)
    with pytest.raises(Refused) as caught:
        opened(checker, wires[100])
    assert (caught.value.code, caught.value.status) == ("security.many", 429)


def test_the_former_secret_is_accepted_for_a_while() -> None:
    wire = call()
    scheme(**PLAIN).seal_request(wire)
    changed = PLAIN | {"secret": "new", "earlier": [SECRET]}
    opened(scheme(**changed), wire)
    assert refused(scheme(**(changed | {"earlier": ["other"]})), wire) == "security.signature_wrong"


def test_fields_of_a_form_are_sorted_and_empty_ones_left_out() -> None:
    """The usual Chinese style: k=v sorted by name, joined with &, the secret at the end, MD5 in upper case."""
    options = {
        "algorithm": "md5",
        "secret": SECRET,
        "text": "{fields}&key={secret}",
        "fields": {"of": ["body"]},
        "at": {"field": "sign"},
        "encoding": "HEX",
    }
    wire = Wire("b=二&a=1&empty=".encode(), {"content-type": "application/x-www-form-urlencoded"}, "POST", "/pay")
    scheme(**options).seal_request(wire)
    text = f"a=1&b=二&key={SECRET}"
    expected = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest().upper()
    assert wire.body.decode() == f"b={quote('二')}&a=1&empty=&sign={expected}"
    opened(scheme(**options), wire)
    wire.body = wire.body.replace(b"a=1", b"a=2")
    assert refused(scheme(**options), wire) == "security.signature_wrong"


def test_fields_below_an_object_of_a_json_body() -> None:
    options = {
        "secret": SECRET,
        "fields": {"of": ["body", "values"], "under": "head", "drop": ["ignored"]},
        "values": {"app": {"const": "APP1", "at": {"field": "head.app"}}},
        "at": {"field": "head.sign"},
        "encoding": "base64",
    }
    tree = {"head": {"b": 2, "a": "x", "ignored": 1, "list": [1, {"k": "v"}]}, "data": {"n": 1}}
    wire = Wire(orjson.dumps(tree))
    scheme(**options).seal_request(wire)
    text = 'a=x&app=APP1&app=APP1&b=2&list=[1,{"k":"v"}]'
    signed = base64.b64encode(hmac.digest(SECRET.encode(), text.encode(), "sha256")).decode()
    assert orjson.loads(wire.body)["head"]["sign"] == signed
    opened(scheme(**options), wire)
    wire.body = wire.body.replace(b"APP1", b"APP2")
    assert refused(scheme(**options), wire) == "security.signature_wrong"


@pytest.mark.parametrize("algorithm", ["sm2", "sm2-plain-digest"])
@pytest.mark.parametrize("form", ["der", "raw"])
def test_sm2(algorithm: str, form: str) -> None:
    private = provider().sm2_generate()
    other = provider().sm2_generate()
    shared = {"algorithm": algorithm, "form": form, "at": {"header": "X-Sign"}, "encoding": "base64"}
    wire = call()
    scheme(**shared, private=private.secret().hex()).seal_request(wire)
    opened(scheme(**shared, public=private.public.point.hex()), wire)
    opened(scheme(**shared, public=other.public.point.hex(), earlier=[private.public.point.hex()]), wire)
    assert refused(scheme(**shared, public=other.public.point.hex()), wire) == "security.signature_wrong"
    if algorithm == "sm2":
        wrong_user = scheme(**shared, public=private.public.point.hex(), user_id="somebody else")
        assert refused(wrong_user, wire) == "security.signature_wrong"


def test_replies_are_signed_with_the_hubs_own_key_and_checked_with_the_others() -> None:
    private = provider().sm2_generate()
    reply = {"text": "{status}\n{body}", "at": {"header": "X-Reply-Sign"}, "encoding": "hex"}
    shared = {"algorithm": "sm2", "at": {"header": "X-Sign"}, "reply": reply}
    answer = Wire(b"{}", status=200)
    scheme(**shared, private=private.secret().hex()).seal_reply(answer)
    checker = scheme(**shared, public=private.public.point.hex())
    checker.open_reply(answer)
    answer.status = 500
    with pytest.raises(Refused):
        checker.open_reply(answer)


def test_a_reply_is_good_for_the_call_it_answers_only() -> None:
    private = provider().sm2_generate()
    reply = {"text": "{asked.X-Nonce}\n{body}", "at": {"header": "X-Reply-Sign"}, "encoding": "hex"}
    shared = {"algorithm": "sm2", "at": {"header": "X-Sign"}, "reply": reply}
    answer = Wire(b"{}", status=200, asked={"x-nonce": "n1"})
    scheme(**shared, private=private.secret().hex()).seal_reply(answer)
    checker = scheme(**shared, public=private.public.point.hex())
    checker.open_reply(answer)
    for other in ({"x-nonce": "n2"}, {}):
        answer.asked = other
        with pytest.raises(Refused):
            checker.open_reply(answer)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (PLAIN | {"text": "{asked.X-Nonce}{secret}"}, "belongs to reply.text"),
        ({"at": {"header": "X"}, "text": "{nobody}", "secret": "s"}, "unknown name {nobody}"),
        ({"at": {"header": "X"}, "text": "{body|rot13}", "secret": "s"}, "unknown filter 'rot13'"),
        ({"at": {"header": "X"}, "text": "{body", "secret": "s"}, "a lone {"),
        ({"at": {"header": "X", "field": "y"}, "secret": "s"}, "give one of header, query, field"),
        ({"at": {"header": "X"}, "algorithm": "md5", "secret": "s"}, "is no secret by itself"),
        ({"at": {"field": "x"}, "text": "{body}", "secret": "s"}, "can't cover {body}"),
        ({"at": {"query": "x"}, "text": "{target}", "secret": "s"}, "can't cover the query"),
        ({"at": {"header": "X"}, "text": "{fields}", "secret": "s"}, "say which, below fields"),
        ({"at": {"header": "X"}, "text": "{secret}{body}", "algorithm": "sm3"}, "give secret"),
        (
            {"at": {"header": "X"}, "secret": "s", "values": {"n": {"random": 8, "at": {"header": "N"}}}},
            "a time beside",
        ),
        ({"at": {"header": "X"}, "secret": "s", "values": {"n": {"random": 8}}}, "say where it is sent"),
    ],
)
def test_options_that_protect_nothing_or_make_no_sense_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SignatureOptions.model_validate(options)
    assert told in str(caught.value)


@given(
    body=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-(2**53), 2**53), st.booleans()),
        max_size=8,
    ),
    as_form=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_what_one_side_signs_the_other_finds_good(body: dict[str, Any], as_form: bool) -> None:
    body.pop("sign", None)
    options = {
        "secret": SECRET,
        "fields": {"of": ["query", "body"]},
        "at": {"field": "sign"},
        "values": {"t": {"now": "ms", "at": {"query": "t"}}},
    }
    if as_form:
        text = "&".join(f"{quote(k, safe='')}={quote(str(v), safe='')}" for k, v in body.items())
        wire = Wire(text.encode(), {"content-type": "application/x-www-form-urlencoded"}, "POST", "/p?q=1")
    else:
        wire = Wire(orjson.dumps(body), {}, "POST", "/p?q=1")
    scheme(**options).seal_request(wire)
    opened(scheme(**options), wire)


@given(
    raw=st.binary(max_size=300),
    header=st.text(max_size=40),
    kind=st.sampled_from(["", "application/x-www-form-urlencoded"]),
)
@settings(max_examples=150, deadline=None)
def test_garbage_is_refused_and_nothing_else_happens(raw: bytes, header: str, kind: str) -> None:
    from hub.errors import HubError

    options = {"secret": SECRET, "fields": {}, "at": {"header": "X-Sign"}}
    with pytest.raises(HubError):
        opened(scheme(**options), Wire(raw, {"content-type": kind, "x-sign": header}))


def test_a_digest_of_a_digest() -> None:
    """As one province signs: MD5 of the hexadecimal SHA-1 of key, parameters, key."""
    options = {
        "algorithm": "md5",
        "first": ["sha1", "hex"],
        "secret": "K",
        "text": "{secret}a={field.a}{secret}",
        "at": {"field": "sign"},
    }
    wire = Wire(b'{"a":"1"}')
    Signature(SignatureOptions.model_validate(options)).seal_request(wire)
    inner = hashlib.sha1(b"Ka=1K").hexdigest().encode()
    assert orjson.loads(wire.body)["sign"] == hashlib.md5(inner).hexdigest()
    with pytest.raises(ValidationError):
        SignatureOptions.model_validate({**options, "first": ["rot13"]})
