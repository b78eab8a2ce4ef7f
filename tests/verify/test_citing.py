"""A field cites a source, and not anything that is written beside it; what is said of a group or of the whole holds for what is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hub.mapping import MappingLibrary
from hub.validators.schema_files import SchemaFiles
from hub.verify.citations import Citations
from hub.verify.citing import Rulebook
from hub.verify.citing_schema import uncited_fields

SOURCES = [
    "《样例平台接入指南》（2021 版）：单证与返回码",
    "样例支付 APIv3 文档：下单、查询",
    "public clients of the exchange: EXCHANGE_CASE_DONE, order.trade.query, SendNotice, Client.php",
    "Desk: their mail of May",
]


@pytest.fixture
def citations() -> Citations:
    return Citations(SOURCES)


@pytest.mark.parametrize(
    "text",
    [
        "受理编号（004:10440）",
        "as 003:57 says",
        "GB/T 2261.1 性别代码",
        "GB 11643-1999",
        "WS/T 500.2",
        "WS 445.10",
        "YD/T 3203",
        "DB11/T 1290",
        "RFC 6750 section 2.1",
        "ISO/IEC 7812",
        "HL7 v2.5.1",
        "FHIR R4 Patient.name",
        "DICOM PS3.3 C.7.1.1",
        "tag (0010,0020)",
        "CMPP 3.0",
        "IHE RAD-4",
        "the code of PID-8",
        "table 0203, identifier types",
        "clause B",
        "附录 A",
        "第 5.3 节",
        "https://pay.weixin.qq.com/docs/merchant",
        "样例平台接入指南：运单号",
        "样例支付 APIV3 下单：商户号",
        "EXCHANGE_CASE_DONE 的出证编号",
        "order.trade.query：商户订单号",
        "SendNotice 的手机号",
        "Client.php writes it as text",
    ],
)
def test_what_cites(citations: Citations, text: str) -> None:
    assert citations.cites(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the number of the order",
        "商户订单号，同一商户号下唯一",
        "at 12:30:45, or 08:00",
        "http://localhost:8080 and https://api.example.com/orders",
        "UTF-8 text, SHA-256, at most 64 characters",
        "a table of goods, section by section",
        "见附表",
        "time (ISO 8601), RFC 3339 with offset",
        "Base64 (RFC 4648)",
        "the desk asks for it",
        "order.trade",
        "MSHA-7",
        "FORM_YD1001",
        "the unit in UCUM",
        None,
        7,
    ],
)
def test_what_does_not(citations: Citations, text: Any) -> None:
    assert not citations.cites(text)


def test_a_clause_is_one_of_what_the_contract_names() -> None:
    assert not Citations([]).cites("clause 5.3")
    assert Citations([]).cites("RFC 9110 clause 5.3")


# -- schemas ---------------------------------------------------------------------------------------------------------


def _text(name: str = "string", **more: Any) -> dict[str, Any]:
    return {"type": name, **more}


def _fields(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields}


def _uncited(folder: Path, citations: Citations, schema: Any, **others: Any) -> list[str] | None:
    for name, content in {"schema": schema, **others}.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return uncited_fields("schema.json", SchemaFiles([folder]), citations)


def test_each_field_cites_or_what_it_is_in(tmp_path: Path, citations: Citations) -> None:
    schema = _fields(
        number=_text(description="004:10440"),
        name=_text(description="how it is called"),
        person={**_fields(id=_text(), kin=_fields(name=_text())), "title": "GB/T 2261.1"},
        goods={"type": "array", "items": _fields(code=_text(), price=_text(**{"$comment": "第 3 章"}))},
    )
    assert _uncited(tmp_path, citations, schema) == ["name", "goods.code"]


def test_what_is_said_of_the_whole_holds_for_all(tmp_path: Path, citations: Citations) -> None:
    assert _uncited(tmp_path, citations, {**_fields(a=_text(), b=_fields(c=_text())), "x-source": "WS/T 500.2"}) == []
    assert _uncited(tmp_path, citations, {**_fields(a=_text()), "description": "An order."}) == ["a"]
    assert _uncited(tmp_path, citations, {"type": "string"}) == ["*"]


def test_what_a_reference_leads_to_cites_as_well(tmp_path: Path, citations: Citations) -> None:
    other = {"$defs": {"cited": {**_fields(a=_text()), "description": "004:12"}, "bare": _fields(a=_text())}}
    schema = _fields(
        one={"$ref": "other.json#/$defs/cited"},
        two={"$ref": "other.json#/$defs/bare"},
        three={"$ref": "other.json#/$defs/bare", "description": "004:13"},
        four={"$ref": "whole.json#/$defs/bare"},
    )
    whole = {**other, "description": "HL7 v2.5.1"}
    assert _uncited(tmp_path, citations, schema, other=other, whole=whole) == ["two.a"]


def test_a_field_that_is_declared_in_several_places_cites_in_one(tmp_path: Path, citations: Citations) -> None:
    schema = {
        **_fields(kind=_text(description="004:1"), number=_text()),
        "allOf": [
            {"if": _fields(kind={"const": "a"}), "then": _fields(kind=_text(), number=_text(description="004:2"))},
            _fields(more=_text()),
        ],
    }
    assert _uncited(tmp_path, citations, schema) == ["more"]


def test_a_schema_that_contains_itself_comes_to_an_end(tmp_path: Path, citations: Citations) -> None:
    tree = _fields(name=_text(description="004:1"), code=_text(), below={"type": "array", "items": {"$ref": "#"}})
    assert _uncited(tmp_path, citations, tree) == ["code", "below.code"]


@pytest.mark.parametrize("schema", [{"$ref": "nowhere.json"}, {"$ref": "#/$defs/none"}, _fields(a={"$ref": "#anchor"})])
def test_what_can_not_be_read_is_told(tmp_path: Path, citations: Citations, schema: Any) -> None:
    assert _uncited(tmp_path, citations, schema) is None


def test_a_schema_of_xml(tmp_path: Path, citations: Citations) -> None:
    head = '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">'
    note = "<xs:annotation><xs:documentation>{}</xs:documentation></xs:annotation>"
    fields = (
        f'<xs:element name="order"><xs:complexType><xs:sequence><xs:element name="number">{note.format("004:1")}</xs:element>'
        '<xs:element name="amount"/></xs:sequence><xs:attribute name="version"/></xs:complexType></xs:element>'
    )
    file, files = tmp_path / "order.xsd", SchemaFiles([tmp_path])
    file.write_text(f"{head}{fields}</xs:schema>", encoding="utf-8")
    assert uncited_fields("order.xsd", files, citations) == ["order.amount", "order.version"]
    file.write_text(f"{head}{note.format('样例平台接入指南')}{fields}</xs:schema>", encoding="utf-8")
    assert uncited_fields("order.xsd", files, citations) == []
    file.write_text("<xs:schema", encoding="utf-8")
    assert uncited_fields("order.xsd", files, citations) is None


# -- mappings --------------------------------------------------------------------------------------------------------

HEAD = "from: {codec: json}\nto: {codec: json}\n"


def _unnoted(folder: Path, citations: Citations, text: str, **others: str) -> list[str] | None:
    for name, content in {"made": text, **others}.items():
        (folder / f"{name}.yaml").write_text(content, encoding="utf-8")
    return Rulebook(MappingLibrary([folder], {}).document, citations).uncited("made")


def test_notes_of_fields_and_of_groups(tmp_path: Path, citations: Citations) -> None:
    text = HEAD + (
        "fields:\n"
        "  a: a   # 样例支付 APIv3：商户号\n"
        "  b: b   # 同上：订单号\n"
        "  c: c   # what it costs\n"
        "  d: d   # 同上\n"
        "  # 004:12\n"
        "  group:\n"
        "    e: e\n"
        "    f: {each: list, g: .g}\n"
        "  other:\n"
        "    h: h\n"
        "    i: i   # HL7 table 0203\n"
    )
    assert _unnoted(tmp_path, citations, text) == ["c", "d", "other.h"]


@pytest.mark.parametrize(
    "head",
    [
        "# Everything is as in 004:12.\n" + HEAD,
        HEAD + "description: Orders (样例平台接入指南)\n",
        HEAD + "description: >-\n  Orders, as they come\n  by WS/T 500.2\n",
    ],
)
def test_what_is_said_of_the_whole_mapping(tmp_path: Path, citations: Citations, head: str) -> None:
    assert _unnoted(tmp_path, citations, head + "fields:\n  a: a\n  b: {c: c}\n") == []


def test_what_is_included_cites_for_itself_and_the_last_step_makes_the_content(
    tmp_path: Path, citations: Citations
) -> None:
    part = "fragment: true\nto: {codec: json}\nfields:\n  x: x   # 004:1\n  y: y\n"
    made = HEAD + "fields:\n  one: {include: part}\n  two: {include: part}   # GB/T 2261.1\n"
    assert _unnoted(tmp_path, citations, made, part=part) == ["one.y"]
    steps = "steps: [first, second]\n"
    second = HEAD + "fields:\n  a: a\n"
    assert _unnoted(tmp_path, citations, steps, first=made, second=second, part=part) == ["a"]
    assert _unnoted(tmp_path, citations, "steps: [nowhere]\n") is None
