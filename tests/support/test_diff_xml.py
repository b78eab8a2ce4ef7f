"""hub.diff of XML: nothing for the same content, and otherwise the places that differ, in XPath."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from hub.diff import Change, diff_bytes

OLD = b"""<?xml version="1.0"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <id root="1.2" extension="A"/>
  <id root="1.3" extension="B"/>
  <title>\xe6\xa3\x80\xe9\xaa\x8c\xe6\x8a\xa5\xe5\x91\x8a</title>
  <value xsi:type="PQ" value="5.1" unit="mmol/L"/>
  <text>One <content>two</content> three</text>
</ClinicalDocument>"""


def test_layout_prefixes_and_the_order_of_attributes_do_not_count() -> None:
    new = (
        '<v3:ClinicalDocument xmlns:v3="urn:hl7-org:v3" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">'
        '<v3:id extension="A" root="1.2"/><v3:id extension="B" root="1.3"/><!-- note --><v3:title>检验报告</v3:title>'
        '<v3:value unit="mmol/L" value="5.1" i:type="PQ"/><v3:text>One <v3:content>two</v3:content> three</v3:text>'
        "</v3:ClinicalDocument>"
    ).encode()
    assert diff_bytes(OLD, new, "cda") == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('extension="B"', 'extension="C"', Change("/ClinicalDocument/id[2]/@extension", "changed", "B", "C")),
        (' unit="mmol/L"', "", Change("/ClinicalDocument/value/@unit", "removed", "mmol/L", None)),
        ('xsi:type="PQ"', 'xsi:type="REAL"', Change("/ClinicalDocument/value/@xsi:type", "changed", "PQ", "REAL")),
        ("检验报告", "检查报告", Change("/ClinicalDocument/title", "changed", "检验报告", "检查报告")),
        ("two", "2", Change("/ClinicalDocument/text/content", "changed", "two", "2")),
        ("One ", "1 ", Change("/ClinicalDocument/text", "changed", "One  three", "1  three")),
        ("</title>", "</title><realm/>", None),
        ('<id root="1.2" extension="A"/>', "", None),
    ],
)
def test_each_difference_has_its_place(old: str, new: str, expected: Change | None) -> None:
    changes = diff_bytes(OLD, OLD.decode().replace(old, new).encode(), "xml")
    if expected is not None:
        assert changes == [expected]
    else:
        (change,) = changes
        assert change.path == ("/ClinicalDocument/realm" if "realm" in new else "/ClinicalDocument/id")
        assert change.kind == ("added" if "realm" in new else "removed")
        assert (change.new or change.old).startswith("<")


def test_another_order_is_told() -> None:
    changes = diff_bytes(b"<a><b/><c/></a>", b"<a><c/><b/></a>", "xml")
    assert changes == [Change("/a/*", "changed", "b c", "c b")]


def test_an_empty_attribute_is_not_a_missing_one() -> None:
    assert diff_bytes(b"<a b=''/>", b"<a/>", "xml") == [Change("/a/@b", "removed", "", None)]


def test_other_roots_and_what_is_no_xml() -> None:
    assert [c.kind for c in diff_bytes(b"<a/>", b"<b/>", "xml")] == ["removed", "added"]
    assert diff_bytes(b"<a>", b"<b/>", "xml")[0].path == "line 1"
    assert diff_bytes(b"<Patient/>", b"<Patient id='1'/>", "fhir") == [Change("/Patient/@id", "added", None, "1")]


names = st.sampled_from(["a", "b", "c"])
texts = st.sampled_from(["", "x", " y ", "&amp;"])
trees = st.recursive(
    texts,
    lambda inner: st.lists(st.tuples(names, st.dictionaries(names, texts, max_size=2), inner), max_size=4),
    max_leaves=12,
)


def written(tree: object) -> str:
    if isinstance(tree, str):
        return tree
    assert isinstance(tree, list)
    return "".join(
        f"<{name}{''.join(f' {key}=' + chr(34) + value + chr(34) for key, value in attributes.items())}>{written(inner)}</{name}>"
        for name, attributes, inner in tree
    )


@given(trees, trees)
def test_no_difference_is_told_of_the_same_content_only(old: object, new: object) -> None:
    one, other = f"<r>{written(old)}</r>", f"<r>{written(new)}</r>"
    same = etree.tostring(etree.fromstring(one), method="c14n") == etree.tostring(
        etree.fromstring(other), method="c14n"
    )
    assert (diff_bytes(one.encode(), other.encode(), "xml") == []) == same
