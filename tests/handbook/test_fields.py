"""Rows of fields from JSON Schema, XML Schema and mappings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.handbook.mapping_fields import same_place
from hub.handbook.material import Material
from hub.handbook.schema_fields import MAX_ROWS, Condition, FieldRow, SchemaFiles, json_fields
from hub.handbook.xsd_fields import xsd_fields


def fields(folder: Path, schema: Any, **others: Any) -> Any:
    for name, content in {"main": schema, **others}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    files = SchemaFiles([folder])
    path = files.find("main.json")
    assert path is not None
    return json_fields(files, path)


def test_nested_objects_lists_and_references(tmp_path: Path) -> None:
    found = fields(
        tmp_path,
        {
            "type": "object",
            "required": ["order"],
            "properties": {
                "order": {"$ref": "#/$defs/order"},
                "note": {"title": "备注", "$ref": "other.json#/$defs/text"},
            },
            "$defs": {
                "order": {
                    "title": "订单",
                    "type": "object",
                    "required": ["number"],
                    "properties": {
                        "number": {"type": "string", "minLength": 3, "maxLength": 3},
                        "items": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "object", "properties": {"code": {"enum": ["A", "B"]}}},
                        },
                        "amount": {
                            "oneOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+$"}]
                        },
                    },
                }
            },
        },
        other={"$defs": {"text": {"type": "string", "maxLength": 20}}},
    )
    assert found.rows == [
        FieldRow("order", "订单", "object", required=True),
        FieldRow("order.number", kind="string", limits="3", required=True),
        FieldRow("order.items", kind="array of object", limits="≥1 ×"),
        FieldRow("order.items[].code", enum=("A", "B")),
        FieldRow("order.amount", kind="number | string", limits="≥0; ^[0-9]+$"),
        FieldRow("note", "备注", "string", "≤20"),
    ]


def test_what_holds_under_a_condition(tmp_path: Path) -> None:
    found = fields(
        tmp_path,
        {
            "properties": {"kind": {"enum": ["a", "b"]}},
            "allOf": [
                {
                    "if": {"properties": {"kind": {"const": "a"}}},
                    "then": {"required": ["kind", "x"], "properties": {"x": {"type": "integer"}}},
                },
                {
                    "if": {"properties": {"kind": {"enum": ["b", "c"]}}},
                    "then": {"properties": {"y": {"$ref": "part.json#/$defs/y"}}},
                },
            ],
        },
        part={"title": "part y", "$defs": {"y": {"type": "boolean"}}},
    )
    assert found.groups == [
        (Condition("kind", ("a",)), [FieldRow("x", kind="integer", required=True), FieldRow("kind", required=True)]),
        (Condition("kind", ("b", "c"), "part y"), [FieldRow("y", kind="boolean")]),
    ]


def test_a_schema_that_refers_to_itself_ends(tmp_path: Path) -> None:
    found = fields(
        tmp_path,
        {"properties": {"a": {"$ref": "#"}, "b": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"$ref": "#/$defs/b"}}},
    )
    assert 0 < len(found.rows) <= MAX_ROWS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "properties",
                    "items",
                    "$ref",
                    "allOf",
                    "oneOf",
                    "if",
                    "then",
                    "enum",
                    "const",
                    "required",
                    "title",
                    "pattern",
                    "maxLength",
                    "a",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(JSON)
def test_any_json_in_the_place_of_a_schema(tmp_path_factory: pytest.TempPathFactory, schema: Any) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    assert len(fields(folder, schema).rows) <= MAX_ROWS


XSD = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:element name="order"><xs:complexType><xs:sequence>
    <xs:element name="number" type="Number"><xs:annotation><xs:documentation>订单号</xs:documentation></xs:annotation></xs:element>
    <xs:element name="item" minOccurs="0" maxOccurs="unbounded" type="Item"/>
  </xs:sequence><xs:attribute name="version" use="required" type="xs:string"/></xs:complexType></xs:element>
  <xs:simpleType name="Number"><xs:restriction base="xs:string"><xs:maxLength value="20"/></xs:restriction></xs:simpleType>
  <xs:complexType name="Item"><xs:sequence><xs:element name="kind"><xs:simpleType><xs:restriction base="xs:string">
    <xs:enumeration value="1"/><xs:enumeration value="2"/></xs:restriction></xs:simpleType></xs:element>
    <xs:element name="part" type="Item" minOccurs="0"/></xs:sequence></xs:complexType>
</xs:schema>"""


def test_elements_and_attributes_of_an_xml_schema(tmp_path: Path) -> None:
    file = tmp_path / "order.xsd"
    file.write_text(XSD, encoding="utf-8")
    rows = {row.path: row for row in xsd_fields(file).rows}
    assert rows["order/number"] == FieldRow(
        "order/number", kind="string", limits="≤20", required=True, description="订单号"
    )
    assert rows["order/item[]"].required is False
    assert rows["order/item/kind"].enum == ("1", "2")
    assert rows["order/@version"] == FieldRow("order/@version", kind="string", required=True)
    assert max(path.count("/") for path in rows) < 20  # Item holds itself


@pytest.mark.parametrize("content", ["", "<a", '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "<other/>"])
def test_what_is_no_xml_schema_has_no_fields(tmp_path: Path, content: str) -> None:
    file = tmp_path / "bad.xsd"
    file.write_text(content)
    assert xsd_fields(file).rows == []


def test_where_a_mapping_takes_its_fields_from(repository: Material) -> None:
    found = repository.mappings.get("freight_ministry/waybill")
    assert found is not None
    by_target = {one.target: one for one in found.fields}
    assert by_target["root.body.shippingNoteNumber"].sources == ("waybill.number",)
    assert by_target["root.header.documentVersionNumber"].constant == "2.0"
    assert "transport_type" in found.tables
    assert "$segmented" in found.variables
    assert repository.mappings.get("there/is/none") is None


def test_numbers_of_elements_make_no_difference_to_a_place() -> None:
    assert same_place("a[0].b[].c") == same_place("a[].b[12].c") == "a.b.c"
