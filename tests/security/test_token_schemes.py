"""``login``, ``token`` and ``as_form``: what one gives the other takes, nothing else, and neither password nor token is kept."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hub.errors import HubError
from hub.security import Opening, Refused, Wire
from hub.security.schemes.form import AsForm, AsFormOptions
from hub.security.schemes.tokens import BodyToken, BodyTokenOptions, Login, LoginOptions

NOW = 1_796_000_000.0
ACCOUNT = {"user": "op1", "secret": "Pass-1", "key": "k" * 32}
JSON = {"content-type": "application/json"}


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def login(clock: Clock | None = None, **more: Any) -> Login:
    options = {
        **ACCOUNT,
        "user_at": {"field": "userName"},
        "secret_at": {"field": "passWord"},
        "token_at": {"field": "data"},
        "code_at": {"field": "code"},
        "success": "1001",
        **more,
    }
    return Login(LoginOptions.model_validate(options), clock or Clock())


def checker(clock: Clock | None = None, **more: Any) -> BodyToken:
    options = {"at": {"field": "root.header.token"}, **ACCOUNT, **more}
    return BodyToken(BodyTokenOptions.model_validate(options), clock or Clock())


def given_token(scheme: Login) -> str:
    reply = Wire(b'{"code":1001,"data":""}', dict(JSON), status=200)
    scheme.seal_reply(reply)
    return str(orjson.loads(reply.body)["data"])


def call(token: Any) -> Wire:
    header = {"ipcType": "X"} if token is None else {"ipcType": "X", "token": token}
    return Wire(orjson.dumps({"root": {"header": header}}), dict(JSON))


def refused(scheme: BodyToken | Login, wire: Wire) -> str:
    with pytest.raises(Refused) as caught:
        scheme.open_request(wire, Opening())
    return caught.value.code


def test_a_token_that_was_given_is_taken_and_taken_out() -> None:
    token = given_token(login())
    assert len(token) == 32
    wire = call(token)
    checker().open_request(wire, Opening())
    assert wire.body == b'{"root":{"header":{"ipcType":"X"}}}'
    assert wire.evidence == wire.body


@pytest.mark.parametrize(
    "change",
    [{"user": "op2"}, {"secret": "Pass-2"}, {"key": "j" * 32}],
    ids=["another account", "the password was changed", "another hub"],
)
def test_a_token_is_of_one_account_password_and_hub(change: dict[str, Any]) -> None:
    assert refused(checker(), call(given_token(login(**change)))) == "security.token"


def test_a_token_ends_when_it_says() -> None:
    clock = Clock()
    token = given_token(login(clock, lifetime="2h"))
    clock.now = NOW + 7199
    checker(clock).open_request(call(token), Opening())
    clock.now = NOW + 7200
    assert refused(checker(clock), call(token)) == "security.token"


def test_its_end_can_not_be_moved() -> None:
    shown = bytearray(base64.urlsafe_b64decode(given_token(login())))
    shown[2] ^= 1
    assert refused(checker(), call(base64.urlsafe_b64encode(bytes(shown)).decode())) == "security.token"


@given(st.none() | st.text(max_size=60) | st.integers(-(2**60), 2**60) | st.lists(st.text(max_size=5)))
@settings(derandomize=True, max_examples=150)
def test_nothing_else_is_taken_for_a_token(value: Any) -> None:
    wire = Wire(b'{"root":{"header":%b}}' % orjson.dumps({"token": value}), dict(JSON))
    with pytest.raises(HubError):
        checker().open_request(wire, Opening())


def test_the_password_is_checked_and_taken_out() -> None:
    good = Wire(b'{"userName":"op1","passWord":"Pass-1"}', dict(JSON))
    login().open_request(good, Opening())
    assert good.body == b'{"userName":"op1"}'
    for body in (b'{"userName":"op1","passWord":"Pass-2"}', b'{"userName":"op2","passWord":"Pass-1"}', b"{}"):
        wire = Wire(body, dict(JSON))
        assert refused(login(), wire) == "security.login"
        assert wire.evidence is not None
        assert b"Pass" not in wire.evidence


def test_a_digest_of_the_password_in_either_case() -> None:
    known = hashlib.md5(b"Pass-1", usedforsecurity=False).hexdigest()
    for shown in (known, known.upper()):
        login(hashed="md5").open_request(
            Wire(orjson.dumps({"userName": "op1", "passWord": shown}), dict(JSON)), Opening()
        )
    for shown in ("0" * 32, "Pass-1"):
        wire = Wire(orjson.dumps({"userName": "op1", "passWord": shown}), dict(JSON))
        assert refused(login(hashed="md5"), wire) == "security.login"


@pytest.mark.parametrize(("status", "code"), [(200, 2001), (503, 1001), (200, None)])
def test_only_an_answer_of_success_gets_a_token(status: int, code: int | None) -> None:
    body = orjson.dumps({"code": code})
    reply = Wire(body, dict(JSON), status=status)
    login().seal_reply(reply)
    assert reply.body == body


def test_out_the_token_moves_from_its_header_into_the_body() -> None:
    wire = call(None)
    wire.headers["x-access-token"] = "t0k"
    BodyToken(BodyTokenOptions.model_validate({"at": {"field": "root.header.token"}})).seal_request(wire)
    assert orjson.loads(wire.body)["root"]["header"]["token"] == "t0k"
    assert "x-access-token" not in wire.headers


def test_out_it_stands_for_a_mark_escaped() -> None:
    wire = Wire(b"<Id>ticket:__T__</Id>", {"x-access-token": 'a<"b'})
    BodyToken(BodyTokenOptions.model_validate({"mark": "__T__"})).seal_request(wire)
    assert wire.body == b"<Id>ticket:a&lt;&quot;b</Id>"


def test_out_nothing_is_sent_without_a_token() -> None:
    with pytest.raises(HubError) as caught:
        BodyToken(BodyTokenOptions.model_validate({"mark": "__T__"})).seal_request(Wire(b"__T__"))
    assert caught.value.code == "security.token"


@pytest.mark.parametrize("options", [{}, {"mark": "x", "at": {"field": "t"}}, {"at": {"field": "t"}, "key": "k"}])
def test_half_of_the_options_is_told(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BodyTokenOptions.model_validate(options)


def test_a_contract_that_sends_can_not_be_asked_to_check() -> None:
    scheme = BodyToken(BodyTokenOptions.model_validate({"at": {"field": "root.header.token"}}))
    with pytest.raises(HubError) as caught:
        scheme.open_request(call("x"), Opening())
    assert caught.value.code == "security.key"


# -- as_form -----------------------------------------------------------------------------------------------------------

_VALUES = st.text(st.characters(codec="utf-8"), max_size=10)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), _VALUES, max_size=5), _VALUES)
@settings(derandomize=True, max_examples=100)
def test_a_form_comes_back_as_the_object_it_was(fields: dict[str, str], inner: str) -> None:
    tree = {**fields, "data": {"root": {"x": inner, "n": 1}}}
    wire = Wire(orjson.dumps(tree), dict(JSON))
    scheme = AsForm(AsFormOptions(parsed=["data"]))
    scheme.seal_request(wire)
    assert wire.headers["content-type"] == "application/x-www-form-urlencoded"
    scheme.open_request(wire, Opening())
    assert orjson.loads(wire.body) == tree


def test_amounts_keep_their_digits_in_a_form() -> None:
    wire = Wire(b'{"data":{"amount":123456789012345.670}}', dict(JSON))
    scheme = AsForm(AsFormOptions(parsed=["data"]))
    scheme.seal_request(wire)
    scheme.open_request(wire, Opening())
    assert wire.body == b'{"data":{"amount":123456789012345.670}}'


@given(st.binary(max_size=80))
@settings(derandomize=True, max_examples=150)
def test_a_hostile_form_is_an_object_or_refused(body: bytes) -> None:
    wire = Wire(body)
    try:
        AsForm(AsFormOptions(parsed=["data"])).open_request(wire, Opening())
    except HubError:
        return
    assert isinstance(orjson.loads(wire.body), dict)
