"""Envelopes and signatures of the freight plugins, as their contracts declare them, read and written by OpenSSL's own program; and the
published example of SM2 (GB/T 32918.5).

What is signed is put together here from the words of the public clients named in the contracts.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from hub.contract import Interface
from hub.registry import Registry
from hub.security import Wire
from tests.kernel.process import ROOT
from tests.peers.process import need
from tests.peers.protections import protection

#: GB/T 32918.5, annex: the private key, and what "encryption standard" becomes under its public key.
PUBLISHED_KEY = "3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8"
PUBLISHED_C1 = "0404EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73E858F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF0"
PUBLISHED_C3 = "59983C18F809E262923C53AEC295D30383B54E39D609D160AFCB1908D0BD8766"
PUBLISHED_C2 = "21886CA989CA9C7D58087307CA93092D651EFA"
JSON = {"content-type": "application/json", "x-access-token": "TOKEN-1"}
WAYBILL = {"shippingNoteNumber": "YD1", "carrier": "演示网络货运有限公司", "totalMonetaryAmount": "3271.750"}
XML = "<Root><Body><DriverName>司机样7</DriverName></Body></Root>"


class Openssl:
    """Its program, with a key pair."""

    def __init__(self, folder: Path) -> None:
        self._program = need("openssl", "openssl")
        self._folder = folder
        self.private, public = folder / "private.pem", folder / "public.pem"
        self.run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-out", str(self.private))
        self.run("pkey", "-in", str(self.private), "-pubout", "-out", str(public))
        self.public_pem = public.read_text(encoding="ascii")
        self._public = public
        #: As Tianjin hands it out: SubjectPublicKeyInfo in hexadecimal.
        self.public_hex = self.run("pkey", "-in", str(self.private), "-pubout", "-outform", "DER").hex()

    def run(self, *arguments: str, given: bytes = b"") -> bytes:
        done = subprocess.run([self._program, *arguments], input=given, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def open_sm2(self, sealed: bytes, order: str) -> bytes:
        """Of 04, C1, and C2 and C3 in ``order``; the program wants them in ASN.1 (GM/T 0009)."""
        assert sealed[:1] == b"\x04"
        rest = sealed[65:]
        cipher, check = (rest[:-32], rest[-32:]) if order == "c1c2c3" else (rest[32:], rest[:32])
        point = _tlv(2, b"\0" + sealed[1:33]) + _tlv(2, b"\0" + sealed[33:65])
        inner = point + _tlv(4, check) + _tlv(4, cipher)
        return self._with(_tlv(0x30, inner), "-decrypt", "-inkey", str(self.private))

    def seal_sm2(self, data: bytes, order: str) -> bytes:
        made = self._with(data, "-encrypt", "-pubin", "-inkey", str(self._public))
        (inner,) = _values(made)
        x, y, check, cipher = _values(inner)
        head = b"\x04" + x[-32:].rjust(32, b"\0") + y[-32:].rjust(32, b"\0")
        return head + (cipher + check if order == "c1c2c3" else check + cipher)

    def _with(self, data: bytes, *arguments: str) -> bytes:
        file = self._folder / "data"
        file.write_bytes(data)
        return self.run("pkeyutl", *arguments, "-in", str(file))

    def sm4(self, key: bytes, data: bytes, *more: str) -> bytes:
        return self.run("enc", *more, "-sm4-ecb", "-K", key.hex(), given=data)

    def digest(self, name: str, data: bytes, *more: str) -> bytes:
        return self.run("dgst", f"-{name}", *more, "-binary", given=data)


def _tlv(tag: int, value: bytes) -> bytes:
    """DER of a value below 64 KB; numbers are written as they come, with what sign bytes they have too many taken away."""
    while tag == 2 and value[:1] == b"\0" and value[1:2] and value[1] < 0x80:
        value = value[1:]
    size = len(value)
    length = (
        bytes([size]) if size < 128 else b"\x81" + bytes([size]) if size < 256 else b"\x82" + size.to_bytes(2, "big")
    )
    return bytes([tag]) + length + value


def _values(der: bytes) -> list[bytes]:
    """The values one after the other in DER."""
    found = []
    while der:
        size, at = der[1], 2
        if size > 0x80:
            at += size - 0x80
            size = int.from_bytes(der[2:at], "big")
        found.append(der[at : at + size])
        der = der[at + size :]
    return found


@pytest.fixture(scope="module")
def openssl(tmp_path_factory: pytest.TempPathFactory) -> Openssl:
    return Openssl(tmp_path_factory.mktemp("openssl"))


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover([ROOT / "plugins"])


def of_contract(registry: Registry, plugin: str, interface: str) -> Interface:
    return registry.plugins[plugin].contract.interfaces[interface]


async def sent(
    registry: Registry, plugin: str, interface: str, settings: Mapping[str, str], said: Any, path: str = "/x"
) -> Wire:
    """A call as it leaves the hub."""
    wire = Wire(json.dumps(said, ensure_ascii=False).encode(), dict(JSON), "POST", path, "platform.example")
    await protection(registry, of_contract(registry, plugin, interface), settings).seal_request(wire)
    return wire


def _tree(body: bytes) -> dict[str, Any]:
    return dict(json.loads(body))


@pytest.mark.parametrize("order", ["c1c2c3", "c1c3c2"])
@pytest.mark.parametrize("document", ["waybill", "fund_flow", "vehicle", "driver", "location", "forward"])
async def test_it_opens_what_is_sent_to_the_ministry_and_to_fujian(
    openssl: Openssl, registry: Registry, document: str, order: str
) -> None:
    said = {"root": {"header": {"ipcType": "X"}, "body": WAYBILL}}
    settings = {"platform_key": openssl.public_pem, "sm2_order": order}
    wire = await sent(registry, "freight_exchange", document, settings, said)
    root = _tree(wire.body)["root"]
    assert root["header"] == {"ipcType": "X", "token": "TOKEN-1"}
    assert set(root["body"]) == {"encryptedCode", "encryptedContent"}
    key = openssl.open_sm2(bytes.fromhex(root["body"]["encryptedCode"]), order)
    assert len(key) == 16
    assert key.decode().isalnum()
    plain = openssl.sm4(key, base64.b64decode(root["body"]["encryptedContent"], validate=True), "-d")
    assert json.loads(plain) == WAYBILL


def without_token(interface: Interface) -> Interface:
    """The token is the hub's own; here it is about the envelope."""
    return interface.model_copy(update={"security": [one for one in interface.security if "encryption" in one]})


@pytest.mark.parametrize("order", ["c1c2c3", "c1c3c2"])
async def test_the_province_opens_what_it_sealed(openssl: Openssl, registry: Registry, order: str) -> None:
    key = b"Abcdefgh12345678"
    plain = json.dumps(WAYBILL).encode()  # letters beyond ASCII escaped, as the client in PHP has them
    body = {
        "encryptedCode": openssl.seal_sm2(key, order).hex(),
        "encryptedContent": base64.b64encode(openssl.sm4(key, plain)).decode(),
    }
    came = Wire(json.dumps({"root": {"header": {}, "body": body}}).encode(), dict(JSON), "POST", "/send", "hub.example")
    settings = {"private_key": openssl.private.read_text(encoding="ascii"), "sm2_order": order}
    receiver = without_token(of_contract(registry, "freight_province", "documents"))
    await protection(registry, receiver, settings).open_request(came)
    assert _tree(came.body)["root"]["body"] == WAYBILL


@pytest.mark.parametrize("document", ["waybill", "fund_flow", "vehicle", "driver"])
async def test_it_opens_what_is_sent_to_tianjin(openssl: Openssl, registry: Registry, document: str) -> None:
    said = {"IPCType": "X", "EncryptedContent": XML}
    wire = await sent(registry, "freight_tianjin", document, {"platform_key": openssl.public_hex}, said)
    tree = _tree(wire.body)
    assert (tree["IPCType"], tree["Token"]) == ("X", "TOKEN-1")
    assert openssl.open_sm2(bytes.fromhex(tree["EncryptedContent"]), "c1c3c2").decode() == XML


async def opened_by_xml_province(registry: Registry, private: str, sealed: str) -> str:
    came = Wire(json.dumps({"EncryptedContent": sealed}).encode(), dict(JSON), "POST", "/wlhy/send", "hub.example")
    receiver = without_token(of_contract(registry, "freight_province_xml", "documents"))
    await protection(registry, receiver, {"private_key": private}).open_request(came)
    return str(_tree(came.body)["EncryptedContent"])


async def test_the_province_that_takes_xml_opens_what_it_sealed(openssl: Openssl, registry: Registry) -> None:
    sealed = openssl.seal_sm2(XML.encode(), "c1c3c2").hex()
    private = openssl.private.read_text(encoding="ascii")
    for written in (sealed, sealed.upper()):  # the SDK of Tianjin writes capitals
        assert await opened_by_xml_province(registry, private, written) == XML


async def test_the_province_that_takes_xml_opens_the_published_example(registry: Registry) -> None:
    sealed = PUBLISHED_C1 + PUBLISHED_C3 + PUBLISHED_C2
    assert await opened_by_xml_province(registry, PUBLISHED_KEY, sealed) == "encryption standard"


@pytest.mark.parametrize("document", ["waybill", "fund_flow", "vehicle", "driver"])
async def test_it_opens_and_signs_what_is_sent_to_shaanxi(openssl: Openssl, registry: Registry, document: str) -> None:
    settings = {"aes_secret": "aes-text", "iv": "0123456789abcdef", "sign_key": "SIGN", "parameters": "query"}
    said = {"actionType": "WLHY_YD1001", "data": {"root": {"header": {}, "body": WAYBILL}}, "userId": "U1"}
    wire = await sent(registry, "freight_shaanxi", document, settings, said, "/send2Logink/v1/send")
    fields = dict(parse_qsl(wire.query, strict_parsing=True))
    assert (wire.body, set(fields)) == (b"", {"actionType", "data", "userId", "sign"})
    text = f"SIGNactionType=WLHY_YD1001&data={fields['data']}&userId=U1SIGN".encode()
    assert fields["sign"] == openssl.digest("md5", openssl.digest("sha1", text).hex().encode()).hex()
    key = openssl.digest("sha1", openssl.digest("sha1", b"aes-text"))[:16]
    sealed = bytes.fromhex(json.loads(fields["data"])["root"]["body"]["encryptedContent"])
    vector = b"0123456789abcdef".hex()
    plain = openssl.run("enc", "-d", "-aes-128-cbc", "-K", key.hex(), "-iv", vector, given=sealed)
    assert json.loads(plain) == WAYBILL


async def test_it_signs_queries_of_the_gateway_alike(openssl: Openssl, registry: Registry) -> None:
    settings = {"app_key": "K1", "app_secret": "gateway-secret"}
    path = "/yunyan/vehicleTrackCheck"
    wire = await sent(registry, "logink_gateway", "vehicle_track_check", settings, {"vehicleNumber": "闽Z00007"}, path)
    told = wire.headers
    assert told["content-md5"] == base64.b64encode(openssl.digest("md5", wire.body)).decode()
    lines = ["POST", told.get("accept", ""), told["content-md5"], told["content-type"], ""]
    lines += [f"{name}:{told[name.lower()]}" for name in sorted(told["x-ca-signature-headers"].split(","))] + [path]
    made = openssl.digest("sha256", "\n".join(lines).encode(), "-hmac", "gateway-secret")
    assert told["x-ca-signature"] == base64.b64encode(made).decode()


async def test_it_signs_queries_of_the_vehicle_platform_alike(openssl: Openssl, registry: Registry) -> None:
    settings = {"client_id": "C1", "secret": "vehicle-secret", "secret_field": ""}
    said = {"vclN": "闽Z00007", "timeNearby": 24}
    fields = dict(parse_qsl((await sent(registry, "vehicle_platform", "last_location", settings, said)).body.decode()))
    text = "".join(name + fields[name] for name in sorted(set(fields) - {"sign"}))
    assert text == "cidC1timeNearby24tokenTOKEN-1vclN闽Z00007"
    assert fields["sign"] == openssl.digest("sha1", text.encode(), "-hmac", "vehicle-secret").hex().upper()
