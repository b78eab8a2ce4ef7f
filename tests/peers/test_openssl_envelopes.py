"""Envelopes of national algorithms, as the contracts of plugins declare them, read and written by OpenSSL's own program.

What is signed is put together here from the words of the contract's documentation; keys are made by OpenSSL.
"""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from hub.api import TransientError
from hub.contract import Interface
from hub.registry import Registry
from hub.security import Wire
from tests.kernel.process import ROOT
from tests.peers.process import need
from tests.peers.protections import protection

PROVINCIAL = sorted(file.parent.name for file in (ROOT / "plugins" / "provincial").glob("*/plugin.yaml"))
USER_ID = "1234567812345678"
SAID = {"requestId": "R1", "account": "样例", "userName": "zhangsan"}
pytestmark = pytest.mark.peers


class Openssl:
    """Its program, with a key pair and a key for SM4."""

    def __init__(self, folder: Path) -> None:
        self._program = need("openssl", "openssl")
        self._folder = folder
        self.sm4 = secrets.token_hex(16)
        self.private, self.public = folder / "private.pem", folder / "public.pem"
        self.run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-out", str(self.private))
        self.run("pkey", "-in", str(self.private), "-pubout", "-out", str(self.public))

    def run(self, *arguments: str, given: bytes = b"") -> bytes:
        done = subprocess.run([self._program, *arguments], input=given, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def sm3(self, data: bytes) -> str:
        return self.run("dgst", "-sm3", "-r", given=data).split()[0].decode()

    def sign(self, text: str) -> bytes:
        (self._folder / "text").write_bytes(text.encode())
        return self.run("pkeyutl", "-sign", "-inkey", str(self.private), *self._form)

    def verify(self, text: str, signature: bytes) -> None:
        (self._folder / "text").write_bytes(text.encode())
        (self._folder / "signature").write_bytes(signature)
        given = ("-pubin", "-inkey", str(self.public), "-sigfile", str(self._folder / "signature"))
        assert b"Successfully" in self.run("pkeyutl", "-verify", *given, *self._form)

    @property
    def _form(self) -> tuple[str, ...]:
        text = str(self._folder / "text")
        return ("-rawin", "-digest", "sm3", "-pkeyopt", f"distid:{USER_ID}", "-in", text)

    def seal(self, data: bytes) -> str:
        iv = secrets.token_bytes(16)
        made = self.run("enc", "-sm4-cbc", "-K", self.sm4, "-iv", iv.hex(), given=data)
        return base64.b64encode(iv + made).decode()

    def open(self, sealed: str) -> bytes:
        raw = base64.b64decode(sealed, validate=True)
        return self.run("enc", "-d", "-sm4-cbc", "-K", self.sm4, "-iv", raw[:16].hex(), given=raw[16:])


@pytest.fixture(scope="module")
def openssl(tmp_path_factory: pytest.TempPathFactory) -> Openssl:
    return Openssl(tmp_path_factory.mktemp("openssl"))


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover([ROOT / "plugins"])


def of_contract(registry: Registry, plugin: str, direction: str) -> Interface:
    interfaces = registry.plugins[plugin].contract.interfaces.values()
    return next(one for one in interfaces if one.direction == direction and one.adapter == "http" and one.security)


@pytest.mark.parametrize("plugin", PROVINCIAL)
async def test_an_application_of_the_portal(openssl: Openssl, registry: Registry, plugin: str) -> None:
    keys = {
        "sm4_key": openssl.sm4,
        "private_key": openssl.private.read_text(encoding="ascii"),
        "partner_key": openssl.public.read_text(encoding="ascii"),
    }
    said = json.dumps(SAID, ensure_ascii=False).encode()
    sent = Wire(said, {"content-type": "application/json"}, "POST", "/portal/x", "app.example")
    await protection(registry, of_contract(registry, plugin, "out"), keys).seal_request(sent)
    text = f"POST\n/portal/x\n{sent.headers['x-timestamp']}\n{sent.headers['x-nonce']}\n{openssl.sm3(sent.body)}"
    openssl.verify(text, base64.b64decode(sent.headers["x-signature"], validate=True))
    assert set(json.loads(sent.body)) == {"data"}
    assert json.loads(openssl.open(json.loads(sent.body)["data"])) == SAID

    body = json.dumps({"data": openssl.seal(said)}).encode()
    stamp, nonce = str(int(time.time() * 1000)), secrets.token_hex(16)
    signature = base64.b64encode(openssl.sign(f"POST\n/apps/x\n{stamp}\n{nonce}\n{openssl.sm3(body)}")).decode()
    headers = {"x-timestamp": stamp, "x-nonce": nonce, "x-signature": signature}
    came = Wire(body, headers, "POST", "/apps/x", "hub.example")
    await protection(registry, of_contract(registry, plugin, "in"), keys).open_request(came)
    assert json.loads(came.body) == SAID


async def test_answers_are_bound_to_the_call_of_the_portal(openssl: Openssl, registry: Registry) -> None:
    keys = {
        "sm4_key": openssl.sm4,
        "private_key": openssl.private.read_text(encoding="ascii"),
        "partner_key": openssl.public.read_text(encoding="ascii"),
    }
    said = json.dumps(SAID, ensure_ascii=False).encode()
    answer = Wire(said, {}, "POST", "/apps/x", "hub.example", 200, asked={"x-nonce": "n1"})
    await protection(registry, of_contract(registry, "oa", "in"), keys).seal_reply(answer)
    text = f"n1\n{answer.headers['x-timestamp']}\n{answer.headers['x-nonce']}\n{openssl.sm3(answer.body)}"
    openssl.verify(text, base64.b64decode(answer.headers["x-signature"], validate=True))

    body = json.dumps({"data": openssl.seal(said)}).encode()
    stamp, nonce = str(int(time.time() * 1000)), secrets.token_hex(16)
    signature = base64.b64encode(openssl.sign(f"n1\n{stamp}\n{nonce}\n{openssl.sm3(body)}")).decode()
    headers = {"x-timestamp": stamp, "x-nonce": nonce, "x-signature": signature}
    asking = protection(registry, of_contract(registry, "oa", "out"), keys)
    with pytest.raises(TransientError):
        await asking.open_reply(Wire(body, dict(headers), "POST", "/portal/x", status=200, asked={"x-nonce": "n2"}))
    reply = Wire(body, dict(headers), "POST", "/portal/x", status=200, asked={"x-nonce": "n1"})
    await asking.open_reply(reply)
    assert json.loads(reply.body) == SAID


async def test_the_middle_platform_of_government_services(openssl: Openssl, registry: Registry) -> None:
    keys = {
        "app_id": "APP1",
        "data_key": openssl.sm4,
        "private_key": openssl.private.read_text(encoding="ascii"),
        "platform_key": openssl.public.read_text(encoding="ascii"),
    }
    plugin = "government_middle_platform"
    said = json.dumps({"orgbusno": "N1", "data": {"projid": "P1"}}).encode()
    sent = Wire(said, {"content-type": "application/json"}, "POST", "/hd1/bjqlxxhj", "middle.example")
    await protection(registry, of_contract(registry, plugin, "out"), keys).seal_request(sent)
    assert b"projid" not in sent.body
    told = sent.headers
    text = (
        f"{told['x-app-id']}\nPOST\n/hd1/bjqlxxhj\n{told['x-timestamp']}\n{told['x-nonce']}\n{openssl.sm3(sent.body)}"
    )
    raw = bytes.fromhex(told["x-signature"])
    assert (told["x-app-id"], len(raw)) == ("APP1", 64)
    openssl.verify(text, encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")))

    stamp, nonce = str(int(time.time() * 1000)), secrets.token_hex(16)
    text = f"APP1\nPOST\n/middle/x\n{stamp}\n{nonce}\n{openssl.sm3(sent.body)}"
    r, s = decode_dss_signature(openssl.sign(text))
    signature = (r.to_bytes(32, "big") + s.to_bytes(32, "big")).hex()
    headers = {"x-app-id": "APP1", "x-timestamp": stamp, "x-nonce": nonce, "x-signature": signature}
    came = Wire(sent.body, headers, "POST", "/middle/x", "hub.example")
    await protection(registry, of_contract(registry, plugin, "in"), keys).open_request(came)
    assert json.loads(came.body)["data"] == {"projid": "P1"}
