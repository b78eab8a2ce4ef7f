"""``encryption``: what one side encrypts the other reads; plain, cut, altered or foreign contents are refused alike."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hub.crypto import provider
from hub.errors import HubError, PermanentError
from hub.security import Opening, Refused, Wire
from hub.security.schemes.encryption import Encryption, EncryptionOptions

KEY = "0123456789abcdeffedcba9876543210"


def scheme(**options: Any) -> Encryption:
    return Encryption(EncryptionOptions.model_validate(options))


def opened(checker: Encryption, wire: Wire) -> bytes:
    checker.open_request(wire, Opening())
    return wire.body


def test_the_standards_own_vector() -> None:
    """GB/T 32907-2016, appendix A.1: one block in ECB mode."""
    wire = Wire(bytes.fromhex(KEY))
    scheme(algorithm="sm4-ecb", key=KEY, padding="none", encoding="hex").seal_request(wire)
    assert wire.body == b"681edf34d206965e86b3e94f536e4246"


@pytest.mark.parametrize(
    "algorithm", ["sm4-ecb", "sm4-cbc", "sm4-ctr", "sm4-gcm", "aes-ecb", "aes-cbc", "aes-ctr", "aes-gcm"]
)
@pytest.mark.parametrize("encoding", ["base64", "hex", "raw"])
def test_a_whole_body_comes_back(algorithm: str, encoding: str) -> None:
    body = '{"姓名":"测试"}'.encode()
    options = {"algorithm": algorithm, "key": KEY, "encoding": encoding}
    wire = Wire(body)
    scheme(**options).seal_request(wire)
    assert body not in wire.body
    assert opened(scheme(**options), wire) == body


def test_a_field_is_encrypted_in_place_and_the_rest_stays() -> None:
    options = {"algorithm": "sm4-cbc", "key": KEY, "what": "input.data", "iv": {"at": {"field": "iv"}}}
    wire = Wire(orjson.dumps({"infno": "1101", "input": {"data": {"a": 1}, "b": 2}}))
    scheme(**options).seal_request(wire)
    sent = orjson.loads(wire.body)
    assert sent["infno"] == "1101"
    assert sent["input"]["b"] == 2
    assert isinstance(sent["input"]["data"], str)
    assert len(sent["iv"]) == 32
    assert orjson.loads(opened(scheme(**options), wire))["input"] == {"b": 2, "data": {"a": 1}}


def envelope(**more: Any) -> dict[str, Any]:
    return {
        "algorithm": "sm4-ecb",
        "what": "root.body.document",
        "at": {"field": "root.body.encryptedContent"},
        "envelope": {
            "at": {"field": "root.body.encryptedCode"},
            "order": "c1c2c3",
            "text_key": True,
            **more,
        },
    }


def test_a_digital_envelope_as_freight_platforms_have_it() -> None:
    private = provider().sm2_generate()
    document = {"originalDocumentNumber": "1", "goods": ["煤"]}
    wire = Wire(orjson.dumps({"root": {"header": {"ipcType": "WLHY_YD1001"}, "body": {"document": document}}}))
    scheme(**envelope(public=private.public.point.hex())).seal_request(wire)
    body = orjson.loads(wire.body)["root"]["body"]
    assert set(body) == {"encryptedCode", "encryptedContent"}
    # By hand, as the other side would: the key first, then the content.
    key = provider().sm2_decrypt(private, bytes.fromhex(body["encryptedCode"]), order="c1c2c3")
    assert key.decode().isalnum()
    plain = provider().sm4_decrypt(key, base64.b64decode(body["encryptedContent"]), mode="ecb")
    assert orjson.loads(plain) == document
    back = orjson.loads(opened(scheme(**envelope(private=private.secret().hex())), wire))
    assert back["root"]["body"] == {"document": document, "encryptedCode": body["encryptedCode"]}


def test_sm2_alone_over_a_text() -> None:
    private = provider().sm2_generate()
    keys = {"public": private.public.point.hex(), "private": private.secret().hex(), "at": {"header": "X-Unused"}}
    options = {"algorithm": "sm2", "what": "content", "content": "text", "encoding": "hex", "envelope": keys}
    wire = Wire(orjson.dumps({"content": "<Root><Body/></Root>"}))
    scheme(**options).seal_request(wire)
    assert provider().sm2_decrypt(private, bytes.fromhex(orjson.loads(wire.body)["content"])) == b"<Root><Body/></Root>"
    assert orjson.loads(opened(scheme(**options), wire)) == {"content": "<Root><Body/></Root>"}


def test_what_comes_in_plain_is_refused_unless_that_was_agreed() -> None:
    """Else whoever can't encrypt would simply not do it."""
    options = {"key": KEY, "what": "data", "at": {"field": "enc"}}
    plain = orjson.dumps({"data": 1})
    with pytest.raises(Refused) as caught:
        opened(scheme(**options), Wire(plain))
    assert caught.value.code == "security.plain"
    assert opened(scheme(**options, required=False), Wire(plain)) == plain


def test_a_former_key_opens_but_does_not_seal() -> None:
    former, new = "11" * 16, "22" * 16
    wire = Wire(b"content")
    scheme(key=former).seal_request(wire)
    assert opened(scheme(key=new, earlier=[former]), wire) == b"content"
    wire = Wire(b"content")
    scheme(key=new, earlier=[former]).seal_request(wire)
    with pytest.raises(Refused):
        opened(scheme(key=former), wire)


def test_replies_both_ways() -> None:
    options = {"key": KEY, "reply": {"what": "output", "required": False}}
    wire = Wire(orjson.dumps({"code": 0, "output": [1]}))
    scheme(**options).seal_reply(wire)
    assert isinstance(orjson.loads(wire.body)["output"], str)
    scheme(**options).open_reply(wire)
    assert orjson.loads(wire.body) == {"code": 0, "output": [1]}


@given(body=st.binary(min_size=1, max_size=200), where=st.integers(0, 10_000), flip=st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_any_changed_byte_of_an_authenticated_content_is_refused(body: bytes, where: int, flip: int) -> None:
    wire = Wire(body)
    scheme(key=KEY, encoding="raw").seal_request(wire)
    at = where % len(wire.body)
    wire.body = wire.body[:at] + bytes([wire.body[at] ^ flip]) + wire.body[at + 1 :]
    with pytest.raises(Refused):
        opened(scheme(key=KEY, encoding="raw"), wire)


@given(raw=st.binary(max_size=300), encoding=st.sampled_from(["base64", "hex", "raw"]), field=st.booleans())
@settings(max_examples=200, deadline=None)
def test_garbage_is_an_error_with_one_text(raw: bytes, encoding: str, field: bool) -> None:
    options = {"algorithm": "sm4-gcm", "key": KEY}
    where = {"what": "x"} if field else {"encoding": encoding}
    with pytest.raises(HubError) as caught:
        opened(scheme(**options, **where), Wire(raw))
    assert caught.value.code in {"security.decrypt", "security.body"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "give key, or envelope"),
        ({"algorithm": "sm2", "key": KEY}, "sm2 needs public or private"),
        ({"key": KEY, "iv": {"const": "00" * 12}}, "reveals the key"),
        ({"key": KEY, "encoding": "raw", "what": "x"}, "raw bytes"),
        ({"key": KEY, "algorithm": "sm4-cbc", "aad": "x"}, "for gcm only"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        EncryptionOptions.model_validate(options)
    assert told in str(caught.value)


@pytest.mark.parametrize("key", ["00", "zz" * 16, "00" * 17])
def test_a_wrong_key_is_told_at_the_start(key: str) -> None:
    with pytest.raises(HubError) as caught:
        scheme(key=key)
    assert key not in caught.value.text


# -- what provinces want of it -----------------------------------------------------------------------------------------


def test_amounts_keep_their_digits_in_an_envelope() -> None:
    private = provider().sm2_generate()
    wire = Wire(b'{"root":{"body":{"document":{"amount":123456789012345.670}}}}')
    scheme(**envelope(public=private.public.point.hex())).seal_request(wire)
    body = opened(scheme(**envelope(private=private.secret().hex())), wire)
    assert b'"amount":123456789012345.670' in body


def test_a_content_the_other_side_would_cut_is_not_sent_and_says_by_how_much() -> None:
    private = provider().sm2_generate()
    keys = {"public": private.public.point.hex(), "at": {"field": "x"}}
    options = {"algorithm": "sm2", "what": "c", "content": "text", "encoding": "hex", "limit": 8192, "envelope": keys}
    fits = Wire(orjson.dumps({"c": "x" * 3999}))
    scheme(**options).seal_request(fits)
    assert len(orjson.loads(fits.body)["c"]) == 8192
    with pytest.raises(PermanentError) as caught:
        scheme(**options).seal_request(Wire(orjson.dumps({"c": "x" * 4000})))
    assert caught.value.code == "security.too_long"
    assert "8194" in caught.value.text
    assert "2 " in caught.value.text


def test_a_caller_is_told_which_step_failed_only_where_that_was_agreed() -> None:
    private, other = provider().sm2_generate(), provider().sm2_generate()
    body = {"root": {"body": {"document": {"a": 1}}}}

    def refusal(change: dict[str, Any], **options: Any) -> str:
        wire = Wire(orjson.dumps(body))
        scheme(**envelope(public=private.public.point.hex())).seal_request(wire)
        tree = orjson.loads(wire.body)
        tree["root"]["body"].update(change)
        with pytest.raises(Refused) as caught:
            opened(scheme(**envelope(private=private.secret().hex()), **options), Wire(orjson.dumps(tree)))
        return caught.value.code

    key = provider().sm2_encrypt(other.public, b"0123456789abcdef", order="c1c2c3").hex()
    ours = provider().sm2_encrypt(private.public, b"0123456789abcdef", order="c1c2c3").hex()
    text = base64.b64encode(provider().sm4_encrypt(b"0123456789abcdef", b"no json", mode="ecb")).decode()
    cases = [
        ({"encryptedCode": key}, "key"),
        ({"encryptedCode": "zz"}, "key"),
        ({"encryptedContent": "AAAA"}, "content"),
        ({"encryptedCode": ours, "encryptedContent": text}, "document"),
    ]
    for change, step in cases:
        assert refusal(change, tell=True) == f"security.decrypt.{step}"
        assert refusal(change) == "security.decrypt"


def test_the_key_java_makes_of_a_text() -> None:
    """SecureRandom("SHA1PRNG") with a seed gives SHA-1 of SHA-1 of the seed first; AES by ``cryptography``."""
    options = {
        "algorithm": "aes-cbc",
        "key": "secret text",
        "key_form": "sha1prng",
        "iv": {"const": "0123456789abcdef", "const_form": "text"},
        "encoding": "hex",
    }
    wire = Wire(b"content")
    scheme(**options).seal_request(wire)
    key = hashlib.sha1(hashlib.sha1(b"secret text").digest()).digest()[:16]
    cipher = Cipher(AES(key), CBC(b"0123456789abcdef")).decryptor()
    assert cipher.update(bytes.fromhex(wire.body.decode())) + cipher.finalize() == b"content" + b"\x09" * 9
    assert opened(scheme(**options), wire) == b"content"
