"""Examples, schemas and tables of the freight plugins agree; logins are counted and shared; refusals get the caller's own codes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.http.replies import Replies, ReplyBody
from adapters.http.token import shared_tokens
from adapters.http.token_options import LoginAuth
from adapters.tls import ClientTls
from hub.api import UnreachableError
from hub.codecs.json_codec import JsonCodec
from hub.mapping import Context, MappingLibrary
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


def test_a_large_vehicle_needs_what_a_small_one_may_leave_out() -> None:
    tree = json.loads((PLUGINS / "freight_province" / "examples" / "vehicle.json").read_bytes())
    file = PLUGINS / "freight_province" / "examples" / "vehicle.json"
    assert "vin" in tree["root"]["body"]
    validators, _ = load([ROOT / "schemas"], "json", schemas=["freight_ministry/WLHY_CL1001.json"])
    del tree["root"]["body"]["vin"]
    raw = json.dumps(tree).encode()
    assert [each.rule for each in validators[0].check(raw, tree, Context())] == ["json.required"]
    tree["root"]["body"]["roadTransportCertificateNumber"] = "359999000000"
    raw = json.dumps(tree).encode()
    assert list(validators[0].check(raw, tree, Context())) == []
    assert file.exists()


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
                assert set(node["enum"]) == codes, node["x-table"]
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
