"""Examples, schemas and tables of the freight plugins agree; logins are counted and shared; refusals get the caller's own codes."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from pydantic import SecretStr, ValidationError

from adapters.http.replies import Replies, ReplyBody
from adapters.http.token import shared_tokens
from adapters.http.token_options import LoginAuth
from adapters.tls import ClientTls
from hub.api import UnreachableError
from hub.codecs.json_codec import JsonCodec
from hub.mapping import Context, MappingLibrary
from hub.security import Opening, Wire
from hub.security.schemes.form import AsForm, AsFormOptions
from hub.security.schemes.freight import Logink, LoginkOptions, Sinoiov, SinoiovOptions
from hub.validators import load
from tests.kernel.process import ROOT
from tests.plugins.freight_support import Server

PLUGINS = ROOT / "plugins" / "freight"
NAMES = {
    "waybill": "WLHY_YD1001",
    "fund_flow": "WLHY_ZJ1001",
    "vehicle": "WLHY_CL1001",
    "driver": "WLHY_JSY1001",
    "location": "WLHY_WZ1001",
}


def findings(schema: str, file: Path, **changes: Any) -> list[tuple[str, str]]:
    validators, problems = load([ROOT / "schemas"], "json", schemas=[schema])
    assert problems == []
    tree = JsonCodec().decode(file.read_bytes())
    if changes:
        tree["root"]["body"].update(changes)
    raw = JsonCodec().encode(tree)
    return [(each.rule, each.place) for each in validators[0].check(raw, tree, Context())]


@pytest.mark.parametrize(("name", "code"), NAMES.items())
def test_examples_are_valid(name: str, code: str) -> None:
    assert findings(f"canonical/{name}.json", PLUGINS / "freight_operator" / "examples" / f"{name}.json") == []
    document = PLUGINS / "freight_ministry" / "examples" / f"{name}_{code.lower()}.json"
    assert findings(f"freight_ministry/{code}.json", document) == []
    assert findings("freight_ministry/exchange.json", document) == []


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        ("fund_flow", {"vehiclePlateColorCode": "7"}, ("json.enum", "root.body.vehiclePlateColorCode")),
        ("fund_flow", {"documentNumber": "1" * 36}, ("json.maxLength", "root.body.documentNumber")),
        ("vehicle", {"vehicleType": "H99"}, ("json.enum", "root.body.vehicleType")),
        ("vehicle", {"vehicleTonnage": "1.234"}, ("json.pattern", "root.body.vehicleTonnage")),
        ("driver", {"telephone": ""}, ("json.minLength", "root.body.telephone")),
        ("location", {"startCountrySubdivisionCode": "x"}, ("json.pattern", "root.body.startCountrySubdivisionCode")),
    ],
)
def test_what_the_guide_forbids_is_found(name: str, change: dict[str, Any], found: tuple[str, str]) -> None:
    document = PLUGINS / "freight_province" / "examples" / f"{name}.json"
    assert findings(f"freight_ministry/{NAMES[name]}.json", document, **change) == [found]
    assert findings("freight_ministry/exchange.json", document, **change) == [found]


def changed(name: str, **body: Any) -> list[str]:
    """The rules a document breaks with these fields; None takes a field out."""
    file = PLUGINS / "freight_province" / "examples" / f"{name}.json"
    tree = json.loads(file.read_bytes())
    tree["root"]["body"] = {key: value for key, value in (tree["root"]["body"] | body).items() if value is not None}
    validators, _ = load([ROOT / "schemas"], "json", schemas=[f"freight_ministry/{NAMES[name]}.json"])
    return [each.rule for each in validators[0].check(json.dumps(tree).encode(), tree, Context())]


LICENCE = ("owner", "useCharacter", "vin", "issuingOrganizations", "registerDate", "issueDate")


@pytest.mark.parametrize("mass", ["4.50", "3", "0.75", 4.5, 1])
def test_up_to_four_and_a_half_tons_the_vehicle_licence_has_to_be_told(mass: Any) -> None:
    light = {"grossMass": mass, "vehicleTonnage": "0.50", "roadTransportCertificateNumber": "359999000000"}
    assert changed("vehicle", **light) == []
    for field in LICENCE:
        assert changed("vehicle", **light, **{field: None}) == ["json.required"], field
        assert changed("vehicle", **light, **{field: ""}) == ["json.minLength"], field


@pytest.mark.parametrize("mass", ["4.51", "45.00", "5", 4.51, 49])
def test_above_that_it_may_be_left_out(mass: Any) -> None:
    assert changed("vehicle", grossMass=mass, **dict.fromkeys(LICENCE)) == []
    assert changed("vehicle", grossMass=mass, **dict.fromkeys(LICENCE, "")) == []


def test_who_drives_small_vehicles_only_shows_the_driving_licence() -> None:
    assert changed("driver", vehicleClass=None, validPeriodTo=None) == []
    assert changed("driver", qualificationCertificate="359999000000") == []
    assert changed("driver", qualificationCertificate="359999000000", vehicleClass=None) == ["json.required"]


def test_a_segment_has_its_own_times_and_places() -> None:
    assert changed("waybill", serialNumber="0100") == []  # the first of several vehicles, no segment
    assert set(changed("waybill", serialNumber="0101")) == {"json.required"}


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("waybill", "sendToProDateTime", "20261399000000"),
        ("waybill", "goodsReceiptDateTime", "20261120240000"),
        ("waybill", "vehicleAmount", 0),
        ("waybill", "serialNumber", "1"),
        ("waybill", "unifiedSocialCreditIdentifier", "91359999MADEM0001"),
        ("fund_flow", "sendToProDateTime", "2026112008120"),
        ("vehicle", "registerDate", "20261301"),
        ("waybill", "insuranceInformation", {"policyNumber": "1", "insuranceCompanyCode": "XXXX"}),
    ],
)
def test_times_counts_and_codes_that_can_not_be(name: str, field: str, value: Any) -> None:
    assert len(changed(name, **{field: value})) == 1


def test_one_spelling_of_an_identifier_and_not_both() -> None:
    party = {"consignor": "甲", "placeOfLoading": "路1号", "countrySubdivisionCode": "359999"}
    assert changed("waybill", consignorInfo={**party, "consignorID": "1"}) == []
    assert changed("waybill", consignorInfo={**party, "consignorId": "1"}) == []
    assert changed("waybill", consignorInfo=party) != []
    assert changed("waybill", consignorInfo={**party, "consignorID": "1", "consignorId": "1"}) != []


def test_a_form_in_the_address_comes_back_as_the_object_it_was() -> None:
    """Shaanxi: send2Logink/v1/send?actionType&data&userId&sign, and nothing in the body."""
    scheme = AsForm(AsFormOptions(place="query", parsed=["data"]))
    said = {"actionType": "WLHY_YD1001", "data": {"root": {"x": "甲&乙=1"}}, "sign": "+/"}
    wire = Wire(json.dumps(said).encode(), {"content-type": "application/json"}, "POST", "/send?v=1", "h")
    scheme.seal_request(wire)
    assert (wire.body, wire.path) == (b"", "/send")
    assert dict(parse_qsl(wire.query, strict_parsing=True))["sign"] == "+/"
    scheme.open_request(wire, Opening())
    assert (json.loads(wire.body), wire.target) == ({"v": "1", **said}, "/send")


def test_the_signed_headers_are_listed_as_the_text_has_them() -> None:
    """A gateway builds the text from the list, letter by letter (loginkhub's SignUtil makes both of one name)."""
    scheme = Logink(LoginkOptions(key="k", secret=SecretStr("s")), now=lambda: 1_796_000_000.0)
    wire = Wire(
        b'{"a":1}', {"accept": "application/json", "content-type": "application/json"}, "POST", "/yunyan/x", "h"
    )
    scheme.seal_request(wire)
    names = wire.headers["x-ca-signature-headers"].split(",")
    assert names == ["X-Ca-Key", "X-Ca-Nonce", "X-Ca-Timestamp"]
    lines = ["POST", "application/json", wire.headers["content-md5"], "application/json", ""]
    lines += [f"{name}:{wire.headers[name.lower()]}" for name in names] + ["/yunyan/x"]
    made = hmac.digest(b"s", "\n".join(lines).encode(), "sha256")
    assert wire.headers["x-ca-signature"] == base64.b64encode(made).decode()


def test_queries_of_the_vehicle_platform_carry_the_secret_only_where_that_is_set() -> None:
    """SimTsai/sinoiov-dotnet-sdk sends srt with each query; the white paper has it at the login alone."""
    for option, there in (("", False), ("srt", True)):
        wire = Wire(b'{"vclN":"x"}', {"content-type": "application/json"}, "POST", "/save/apis/q", "h")
        options = SinoiovOptions(client_id="c1", secret=SecretStr("S"), secret_field=option)
        Sinoiov(options).seal_request(wire)
        fields = dict(parse_qsl(wire.body.decode()))
        assert ("srt" in fields) is there
        text = "cidc1srtSvclNx" if there else "cidc1vclNx"
        assert fields["sign"] == hmac.digest(b"S", text.encode(), "sha1").hex().upper()


def test_the_codes_of_schemas_are_those_of_the_tables() -> None:
    """``x-table`` names the code table whose codes an ``enum`` has."""
    library = MappingLibrary([ROOT / "mappings"])
    seen = 0

    def walk(node: Any) -> None:
        nonlocal seen
        if isinstance(node, dict):
            if "x-table" in node and "enum" in node:
                rows = (
                    (ROOT / "mappings" / "tables" / f"{node['x-table']}.csv").read_text(encoding="utf-8").splitlines()
                )
                codes = {row.split(",")[1] for row in rows[2:]}
                assert {str(code) for code in node["enum"]} - {"none"} == codes, node["x-table"]
                assert library.table(node["x-table"]) is not None
                seen += 1
            for below in node.values():
                walk(below)
        elif isinstance(node, list):
            for below in node:
                walk(below)

    for code in NAMES.values():
        walk(json.loads((ROOT / "schemas" / "freight_ministry" / f"{code}.json").read_bytes()))
    assert seen >= 8
    assert len((ROOT / "mappings" / "tables" / "freight_vehicle_type.csv").read_text().splitlines()) == 247 + 2


# -- logins ------------------------------------------------------------------------------------------------------------


def login(url: str, **more: Any) -> LoginAuth:
    options = {"type": "login", "url": url, "token": "t", "lifetime": "3600", **more}
    return LoginAuth.model_validate(options)


def test_interfaces_that_log_in_alike_share_a_token_and_no_other() -> None:
    count = 0

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        nonlocal count
        count += 1
        return {"t": f"token{count}"}

    server = Server(answer)

    async def story() -> None:
        one, two = login(server.url), login(server.url)
        first = shared_tokens("a/x", one, ClientTls(), None, 5, None)
        second = shared_tokens("a/y", two, ClientTls(), None, 5, None)
        other = shared_tokens("b/x", one, ClientTls(), None, 5, None)
        assert first is second
        assert other is not first
        assert [await each.get() for each in (first, second, other)] == ["token1", "token1", "token2"]
        await first.close()
        assert await second.get() == "token1"  # still in use
        await second.close()
        again = shared_tokens("a/x", one, ClientTls(), None, 5, None)
        assert await again.get() == "token3"
        await again.close()
        await other.close()

    try:
        asyncio.run(story())
    finally:
        server.close()


def test_no_more_logins_a_day_than_the_platform_allows() -> None:
    server = Server(lambda method, path, headers, body: {"t": "token"})

    async def story() -> None:
        source = shared_tokens("a/x", login(server.url, daily=2), ClientTls(), None, 5, None)
        for _ in range(2):
            source.forget(await source.get())
        with pytest.raises(UnreachableError) as caught:
            await source.get()
        assert caught.value.code == "http.token_daily"
        await source.close()

    try:
        asyncio.run(story())
    finally:
        server.close()


# -- the caller's own codes --------------------------------------------------------------------------------------------


def test_the_first_word_that_fits_is_the_callers_code() -> None:
    body = ReplyBody(
        body={"code": "{code}"}, codes={"security.token": 2001, "security.*": 3004, "503": 3003, "*": 9001}
    )
    assert body.code("security.token", "401") == 2001
    assert body.code("security.plain", "400") == 3004
    assert body.code("store.busy", "503") == 3003
    assert body.code("hub.unexpected", "500") == 9001
    assert ReplyBody(body="{code}").code("x.y", "400") == "x.y"


def test_a_code_of_an_acceptance_needs_codes() -> None:
    with pytest.raises(ValidationError):
        Replies.model_validate({"accepted": {"body": {"code": "{code}"}}})
    Replies.model_validate({"accepted": {"body": {"code": "{code}"}, "codes": {"duplicate": 1, "*": 0}}})
