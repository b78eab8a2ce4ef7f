"""What the insurance and government plugins sign and encrypt, against recorded calls of the national platform and against gmssl, which others wrote."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from gmssl import sm3  # type: ignore[import-untyped]
from gmssl.sm2 import CryptSM2  # type: ignore[import-untyped]
from gmssl.sm4 import SM4_DECRYPT, SM4_ENCRYPT, CryptSM4  # type: ignore[import-untyped]

from hub.errors import HubError
from hub.registry import Registry
from hub.security import Opening, Wire
from hub.security.schemes.health import XTif, XTifOptions
from tests.kernel.process import ROOT
from tests.peers.protections import protection
from tests.plugins.sm2_check import public_of

#: Calls of the public hall of the national insurance platform (fuwu.nhsa.gov.cn), as several public repositories keep them: x-tif-nonce,
#: x-tif-timestamp, x-tif-signature. Its web client is not registered, so paasid is the word undefined and the token empty.
RECORDED = (
    ("M0mc5pgk", "1720489942", "67991916da3259a78eac1925bbeb617eef5847841c51aa25064f63d2e7be0fdf"),
    ("g5pBPE0T", "1781587893", "16193054b93e9ff0e039967a29fa9c00131d0157271cbe485ba6c317738aa072"),
    ("D9yUBu8c", "1722664805", "6ed45831ae95deccf644803144f3e7ab8a12bcd91ef982b45672852e914a2813"),
    ("Y6vFXhId", "1751986157", "2df1ad9112c4d29a15569b78f68f3b7fa2db0c5a8a4361dde6dff2c9ee595655"),
    ("f7Q5yArn", "1750315711", "46baf073bdf8808297a6f04acadfb736b1a9fa19b413d59468f8a132f2f6714e"),
    ("C88NzL5k", "1720692844", "9a0a1bf2bf098ad4a04fb143ec8b03ff6243402a5f6cc8959748a821f16bcf9b"),
)


def call_of_the_hall(nonce: str, stamp: str, signature: str) -> Wire:
    headers = {
        "x-tif-paasid": "undefined",
        "x-tif-nonce": nonce,
        "x-tif-timestamp": stamp,
        "x-tif-signature": signature,
    }
    return Wire(b"{}", headers, "POST", "/ebus/fuwu/api/nthl/api/CommQuery/queryFixedHospital", "fuwu.example")


@pytest.mark.parametrize(("nonce", "stamp", "signature"), RECORDED)
def test_headers_of_recorded_calls(nonce: str, stamp: str, signature: str) -> None:
    options = XTifOptions.model_validate({"paasid": "undefined", "token": ""})
    XTif(options, lambda: float(stamp)).open_request(call_of_the_hall(nonce, stamp, signature), Opening())
    with pytest.raises(HubError):
        XTif(options, lambda: float(stamp)).open_request(call_of_the_hall(nonce + "x", stamp, signature), Opening())
    # What the hub sends is the same rule, with the token between time and nonce.
    sent = Wire(b"{}", {}, "POST", "/x", "platform.example")
    XTif(XTifOptions.model_validate({"paasid": "p", "token": "t0k"}), lambda: float(stamp)).seal_request(sent)
    text = f"{stamp}t0k{sent.headers['x-tif-nonce']}{stamp}"
    assert sent.headers["x-tif-signature"] == hashlib.sha256(text.encode()).hexdigest()


# -- gmssl as the other party ----------------------------------------------------------------------------------------------


def gm_pair() -> tuple[str, str]:
    """(private, public without its mark) in hex; gmssl takes no public key that begins with 4 or 04."""
    while True:
        private = secrets.randbelow(2**255) + 1
        public = public_of(private).hex()[2:]
        if not public.startswith(("0", "4")):
            return f"{private:064x}", public


class Gmssl:
    """The other party: its keys, its program."""

    def __init__(self) -> None:
        self.private, self.public = gm_pair()
        self.their_private, self.their_public = gm_pair()

    def sign(self, text: bytes) -> bytes:
        return bytes.fromhex(CryptSM2(private_key=self.private, public_key=self.public).sign_with_sm3(text))

    def verify(self, text: bytes, signature: bytes) -> bool:
        theirs = CryptSM2(private_key="", public_key=self.their_public)
        return bool(theirs.verify_with_sm3(signature.hex(), text))

    @staticmethod
    def sm4(key: bytes, data: bytes, mode: int = SM4_ENCRYPT) -> bytes:
        cipher = CryptSM4()
        cipher.set_key(key, mode)
        return bytes(cipher.crypt_ecb(data))


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover([ROOT / "plugins"])


async def test_the_signature_of_a_transaction_is_read_by_gmssl(registry: Registry) -> None:
    """``cainfo``, as the README of the plugin sets it: the fields of the envelope but ``input``, by name, empty ones left out."""
    party = Gmssl()
    interface = registry.plugins["medical_insurance"].contract.interfaces["query"]
    scheme = {
        "algorithm": "sm2",
        "private": party.their_private,
        "form": "raw",
        "fields": {"drop": ["input"]},
        "at": {"field": "cainfo"},
        "encoding": "base64",
    }
    call = json.loads((ROOT / "plugins/insurance/medical_insurance/examples/1101.json").read_text("utf-8"))
    call["signtype"] = "SM2"
    sent = Wire(json.dumps(call).encode(), {"content-type": "application/json"}, "POST", "/x", "platform.example")
    await protection(registry, interface.model_copy(update={"security": [{"signature": scheme}]}), {}).seal_request(
        sent
    )
    told = json.loads(sent.body)
    said = sorted((name, value) for name, value in told.items() if name not in ("cainfo", "input") and value)
    text = "&".join(f"{name}={value}" for name, value in said)
    assert told["input"] == call["input"]
    assert party.verify(text.encode(), base64.b64decode(told["cainfo"], validate=True))


APP_ID, SECRET = "1G3K8LM6U05D76430B0A0000B1C47DE2", "an-app-secret-of-the-tests"


def mobile_key() -> bytes:
    return Gmssl.sm4(APP_ID[:16].encode(), SECRET.encode()).hex().upper()[:16].encode()


def mobile_text(head: dict[str, Any], data: str) -> bytes:
    said = {name: value for name, value in head.items() if name not in ("signData", "encData", "extra") and value}
    return (
        "&".join(f"{name}={value}" for name, value in sorted({**said, "data": data}.items())) + f"&key={SECRET}"
    ).encode()


def national(data: str) -> str:
    """As the client of the national hall writes what it signs: nothing empty, numbers as text; one that was recorded agrees."""
    kept = {name: value for name, value in json.loads(data).items() if value not in ("", None, [])}
    said = {name: str(value) if isinstance(value, int | float) else value for name, value in kept.items()}
    return json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize("data_form", ["sorted", "national"])
@pytest.mark.parametrize(
    ("interface", "tree"),
    [
        (
            "fee_upload",
            {
                "data": {
                    "orgCodg": "H35999900001",
                    "medfeeSumamt": "51.60",
                    "cnt": 2,
                    "memo": "",
                    "extData": {"b": 1, "a": "甲"},
                }
            },
        ),
        ("ec_terminal", {"transType": "cn.nhsa.ec.auth", "data": {"outBizNo": "B1", "businessType": "01101"}}),
    ],
)
async def test_mobile_payment_is_read_and_answered_by_gmssl(
    registry: Registry, interface: str, tree: dict[str, Any], data_form: str
) -> None:
    party = Gmssl()
    keys = {
        "app_id": APP_ID,
        "app_secret": SECRET,
        "private_key": party.their_private,
        "platform_key": "04" + party.public,
        "version": "2.0.1",
        "user_id": "standard",
        "data_text": data_form,
        "trans_type": "signed",
    }
    contract = registry.plugins["mobile_insurance_payment"].contract.interfaces[interface]
    sent = Wire(json.dumps(tree).encode(), {"content-type": "application/json"}, "POST", "/x", "platform.example")
    guard = protection(registry, contract, keys)
    await guard.seal_request(sent)
    call = json.loads(sent.body)
    data = Gmssl.sm4(mobile_key(), bytes.fromhex(call["encData"]), SM4_DECRYPT).decode()
    assert json.loads(data) == tree["data"]
    assert data == json.dumps(tree["data"], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert "data" not in call
    assert call["version"] == "2.0.1"
    assert abs(time.time() * 1000 - int(call["timestamp"])) < 6e5
    signed = national(data) if data_form == "national" else data
    assert party.verify(mobile_text(call, signed), base64.b64decode(call["signData"], validate=True))

    # Its amounts keep their digits: 36.10 is signed as it is written. Nor does it matter in which order the fields come.
    for written, signed in (
        ('{"payOrdId":"P1","fundPay":36.10}', '{"fundPay":36.10,"payOrdId":"P1"}'),
        ('{"payOrdId":"P1","fundPay":36.10,"memo":""}', '{"fundPay":"36.10","payOrdId":"P1"}'),
    ):
        head = {"appId": APP_ID, "encType": "SM4", "signType": "SM2", "timestamp": "1764300000000", "version": "2.0.1"}
        made = {
            **head,
            "encData": Gmssl.sm4(mobile_key(), written.encode()).hex(),
            "signData": base64.b64encode(party.sign(mobile_text(head, signed))).decode(),
            "code": 0,
        }
        reply = Wire(json.dumps(made).encode(), {}, "POST", "/x", status=200)
        await guard.open_reply(reply)
        assert json.loads(reply.body)["data"]["fundPay"] == 36.10
    made["signData"] = base64.b64encode(party.sign(mobile_text(head, '{"fundPay":63.10}'))).decode()
    with pytest.raises(HubError):
        await guard.open_reply(Wire(json.dumps(made).encode(), {}, "POST", "/x", status=200))


async def test_text_messages_of_the_middle_platform_are_read_and_answered_by_gmssl(registry: Registry) -> None:
    party, key = Gmssl(), secrets.token_bytes(16)
    keys = {
        "app_id": "APP1",
        "data_key": key.hex(),
        "private_key": party.their_private,
        "platform_key": "04" + party.public,
    }
    guard = protection(registry, registry.plugins["middle_platform_sms"].contract.interfaces["send"], keys)
    tree = {"messageId": "M1", "data": {"mobile": "13900000000", "template": "T1"}}
    sent = Wire(json.dumps(tree).encode(), {"content-type": "application/json"}, "POST", "/sms/send", "middle.example")
    await guard.seal_request(sent)
    body = json.loads(sent.body)
    raw = base64.b64decode(body["data"], validate=True)
    opening = Cipher(algorithms.SM4(key), modes.GCM(raw[:12], raw[-16:])).decryptor()
    assert json.loads(opening.update(raw[12:-16]) + opening.finalize()) == tree["data"]
    told = sent.headers
    said = f"APP1\nPOST\n/sms/send\n{told['x-timestamp']}\n{told['x-nonce']}\n{sm3.sm3_hash(list(sent.body))}"
    assert told["x-app-id"] == "APP1"
    assert party.verify(said.encode(), bytes.fromhex(told["x-signature"]))

    answer, stamp = b'{"code": 0}', str(int(time.time() * 1000))
    signature = party.sign(f"200\n{stamp}\n{sm3.sm3_hash(list(answer))}".encode()).hex()
    reply = Wire(answer, {"x-timestamp": stamp, "x-signature": signature}, "POST", "/sms/send", status=200)
    await guard.open_reply(reply)
    forged = Wire(b'{"code": 1}', {"x-timestamp": stamp, "x-signature": signature}, "POST", "/sms/send", status=200)
    with pytest.raises(HubError):
        await guard.open_reply(forged)
