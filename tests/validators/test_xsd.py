"""XML Schema: every kind of error in words, places, includes, threads, hostile documents."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from hub.codecs.xml_codec import XmlCodec
from hub.i18n import language, set_language
from hub.validators.findings import MAX_FINDINGS
from hub.validators.report import Finding, Kind, Severity
from hub.validators.xsd import MAX_PLACED, XsdValidator
from tests.validators.validator_support import check, faults, made, short, write

CODEC = XmlCodec()
PERSON = "110101199003078515"
HEAD = '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:a" xmlns:a="urn:a" targetNamespace="urn:a" elementFormDefault="qualified">'
TYPES = (
    HEAD
    + """<xs:simpleType name="Code"><xs:restriction base="xs:string">
<xs:enumeration value="男"/><xs:enumeration value="女"/></xs:restriction></xs:simpleType></xs:schema>"""
)
MAIN = (
    HEAD
    + """
<xs:include schemaLocation="../common/types.xsd"/>
<xs:element name="a"><xs:complexType><xs:sequence>
 <xs:element name="b" type="xs:int" maxOccurs="unbounded"/>
 <xs:element name="c" type="Code"/>
 <xs:element name="d" minOccurs="0"><xs:complexType/></xs:element>
 <xs:element name="e" minOccurs="0"><xs:simpleType><xs:restriction base="xs:decimal">
  <xs:minInclusive value="0"/><xs:maxExclusive value="10"/><xs:totalDigits value="3"/><xs:fractionDigits value="1"/>
 </xs:restriction></xs:simpleType></xs:element>
 <xs:element name="f" fixed="F" minOccurs="0"/>
 <xs:element name="g" type="xs:dateTime" minOccurs="0"/>
</xs:sequence>
<xs:attribute name="id" type="xs:ID" use="required"/>
<xs:attribute name="n"><xs:simpleType><xs:restriction base="xs:string">
 <xs:minLength value="2"/><xs:maxLength value="4"/><xs:pattern value="[a-z0-9]*"/></xs:restriction></xs:simpleType></xs:attribute>
</xs:complexType><xs:unique name="bs"><xs:selector xpath="a:b"/><xs:field xpath="."/></xs:unique></xs:element></xs:schema>"""
)
GOOD = "<a xmlns='urn:a' id='i'>\n<b>1</b><b>2</b>\n<c>男</c></a>"


def schema(tmp_path: Path) -> XsdValidator:
    validator = made(write(tmp_path, m__a_xsd=MAIN, common__types_xsd=TYPES), "m/a.xsd", "xml")
    assert isinstance(validator, XsdValidator)
    return validator


def found(tmp_path: Path, document: str) -> list[Finding]:
    return check(schema(tmp_path), CODEC.decode(document.encode()))


def test_valid(tmp_path: Path) -> None:
    assert found(tmp_path, GOOD) == []


def test_the_same_document_twice(tmp_path: Path) -> None:
    """Identifiers of type ID are registered by the first check, and are no duplicates in the second."""
    validator, tree = schema(tmp_path), CODEC.decode(GOOD.encode())
    assert [check(validator, tree), check(validator, tree)] == [[], []]
    assert CODEC.encode(tree) == GOOD.encode()


@pytest.mark.parametrize(
    ("document", "rule", "kind", "place", "text"),
    [
        ("<a xmlns='urn:a' id='i'><b>1</b></a>", "missing", Kind.MISSING, "/a", "elements are missing in it; expected: b, c"),
        ("<a xmlns='urn:a' id='i'><b>1</b>\n<x/></a>", "unexpected", Kind.STRUCTURE, "/a/x (line 2)", "x does not belong here; expected: b, c"),
        ("<a xmlns='urn:a' id='i'><b>1</b><c>男</c><c>女</c></a>", "unexpected", Kind.STRUCTURE, "/a/c[2]", "c does not belong here; expected: d, e, f, g"),
        ("<a xmlns='urn:a'><b>1</b><c>男</c></a>", "attribute_missing", Kind.MISSING, "/a/@id", "attribute id is missing"),
        ("<a xmlns='urn:a' id='i' z='1'><b>1</b><c>男</c></a>", "attribute", Kind.STRUCTURE, "/a/@z", "the schema has no such attribute here"),
        (f"<a xmlns='urn:a' id='i'><b>1</b><b>{PERSON}</b><c>男</c></a>", "type", Kind.FORMAT, "/a/b[2]", "must be a whole number"),
        (f"<a xmlns='urn:a' id='i'><b>1</b><c>{PERSON}</c></a>", "enumeration", Kind.CODE, "/a/c", "not one of: 男, 女"),
        ("<a xmlns='urn:a' id='i'><b>1</b><c>is not an element of the set {'x'}.</c></a>", "enumeration", Kind.CODE, "/a/c", "not one of: 男, 女"),
        ("<a xmlns='urn:a' id='i' n='A1'><b>1</b><c>男</c></a>", "pattern", Kind.FORMAT, "/a/@n", "does not have the form [a-z0-9]*"),
        ("<a xmlns='urn:a' id='i' n='abcde'><b>1</b><c>男</c></a>", "facet", Kind.LENGTH, "/a/@n", "longer than 4 characters"),
        ("<a xmlns='urn:a' id='i' n='a'><b>1</b><c>男</c></a>", "facet", Kind.LENGTH, "/a/@n", "shorter than 2 characters"),
        ("<a xmlns='urn:a' id='i'><b>1</b><c>男</c><e>-1</e></a>", "facet", Kind.RANGE, "/a/e", "less than 0"),
        ("<a xmlns='urn:a' id='i'><b>1</b><c>男</c><e>10</e></a>", "facet", Kind.RANGE, "/a/e", "not less than 10"),
        ("<a xmlns='urn:a' id='i'><b>1</b><c>男</c><e>1.25</e></a>", "facet", Kind.LENGTH, "/a/e", "more than 1 decimals"),
        ("<a xmlns='urn:a' id='i'><b>1</b><c>男</c><d>x</d></a>", "content", Kind.STRUCTURE, "/a/d", "must be empty"),
        ("<a xmlns='urn:a' id='i'><b>1</b>x<c>男</c></a>", "text", Kind.STRUCTURE, "/a", "there is text between elements"),
        ("<a xmlns='urn:a' id='i'><b>1</b><c>男</c><f>G</f></a>", "fixed", Kind.CODE, "/a/f", "differs from the value the schema fixes"),
        ("<a xmlns='urn:a' id='i'><b>1</b><c>男</c><g>2026-01-15</g></a>", "type", Kind.FORMAT, "/a/g", "must be a time such as 2026-01-15T09:30:15"),
        ("<a xmlns='urn:a' id='i'><b>1</b><b>1</b><c>男</c></a>", "key", Kind.DUPLICATE, "/a/b[2]", "a key is repeated or refers to nothing"),
        ("<other/>", "root", Kind.STRUCTURE, "/other", "the schema does not know this document"),
    ],
)  # fmt: skip
def test_words(tmp_path: Path, document: str, rule: str, kind: Kind, place: str, text: str) -> None:
    (finding,) = found(tmp_path, document)
    assert (finding.rule, finding.kind, finding.text) == (f"xsd.{rule}", kind, text)
    assert finding.place == (place if "(" in place else f"{place} (line 1)")
    assert PERSON not in repr(finding)


def test_both_languages(tmp_path: Path) -> None:
    before = language()
    try:
        set_language("zh")
        (finding,) = found(tmp_path, "<a xmlns='urn:a' id='i'><b>1</b></a>")
        assert (finding.text, finding.place, finding.advice) == (
            "缺少子元素；应有：b、c",
            "/a（第 1 行）",
            "请补充 b、c",
        )
    finally:
        set_language(before)


def test_prefixes_in_places(tmp_path: Path) -> None:
    document = "<p:a xmlns:p='urn:a' id='i'>\n<p:b>1</p:b>\n<p:b>x</p:b><p:c>男</p:c></p:a>"
    assert short(found(tmp_path, document)) == [("xsd.type", "/p:a/p:b[2] (line 3)")]


def test_lines_of_a_document_in_another_character_set(tmp_path: Path) -> None:
    raw = ('<?xml version="1.0" encoding="GBK"?>\n' + GOOD.replace("<b>1</b>", "\n<b>一</b>")).encode("gbk")
    assert short(check(schema(tmp_path), CODEC.decode(raw), raw)) == [("xsd.type", "/a/b[1] (line 4)")]


def test_documents_may_not_bring_their_own_schema(tmp_path: Path) -> None:
    own = tmp_path / "own.xsd"
    own.write_text('<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="other"/></xs:schema>')
    document = (
        f"<other xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xsi:noNamespaceSchemaLocation='{own.as_uri()}'/>"
    )
    assert [finding.rule for finding in found(tmp_path, document)] == ["xsd.root"]


# -- schemas -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("missing.xsd", "there is no file 'm/missing.xsd'"),
        ("../../../etc/passwd", "leads out of the schema folders"),
        ("%2e%2e/../shared.x", "leads out of the schema folders"),
        ("/etc/passwd", "leads out of the schema folders"),
        ("http://example.org/x.xsd", "outside of the schema folders"),
        ("file:///etc/passwd", "outside of the schema folders"),
    ],
)
def test_broken_includes(tmp_path: Path, location: str, said: str) -> None:
    folder = write(tmp_path, m__a_xsd=MAIN.replace("../common/types.xsd", location))
    (problem,) = faults(folder, "m/a.xsd", "xml")
    assert said in problem.text
    assert (problem.file, problem.line, problem.key) == (str(folder / "m/a.xsd"), 2, "xs:include")


def test_a_fault_in_an_included_file_names_it(tmp_path: Path) -> None:
    folder = write(tmp_path, m__a_xsd=MAIN, common__types_xsd=TYPES.replace('base="xs:string"', '\nbase="xs:strin"'))
    (problem, *_) = faults(folder, "m/a.xsd", "xml")
    assert problem.file == str(folder / "common/types.xsd")
    assert problem.line == 1


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("<xs:schema\n", 2, "not well-formed XML"),
        ("", 0, "not well-formed XML"),
        ("<x/>", 1, "the root is not xs:schema"),
        ('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>\n<x>&e;</x>', 1, "DOCTYPE"),
        (HEAD + '\n<xs:element name="a" type="Nope"/></xs:schema>', 2, "not a valid XML schema"),
        (HEAD + "\n<xs:elment/></xs:schema>", 2, "not a valid XML schema"),
    ],
)
def test_broken_schemas(tmp_path: Path, text: str, line: int, said: str) -> None:
    (problem, *_) = faults(write(tmp_path, x_xsd=text), "x.xsd", "xml")
    assert said in problem.text
    assert problem.file == str(tmp_path / "x.xsd")
    assert not line or problem.line == line


# -- many and large --------------------------------------------------------------------------------------------------------


def test_threads_see_their_own_errors(tmp_path: Path) -> None:
    validator = schema(tmp_path)
    trees = [
        CODEC.decode(f"<a xmlns='urn:a' id='i'>{''.join(f'<b>x{k}</b>' for k in range(n))}<c>男</c></a>".encode())
        for n in range(1, 40)
    ]
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda tree: len(check(validator, tree)), trees * 20))
    assert counts == [*range(1, 40)] * 20


def test_many_errors(tmp_path: Path) -> None:
    findings = found(tmp_path, "<a xmlns='urn:a' id='i'>" + "<b>x</b>" * 1000 + "<c>男</c></a>")
    assert len(findings) == MAX_FINDINGS + 1
    assert findings[-1].rule == "xsd.more"


def test_large_documents(tmp_path: Path) -> None:
    rows = "".join(f"<b>{number}</b>" for number in range(MAX_PLACED + 10))
    assert found(tmp_path, f"<a xmlns='urn:a' id='i'>{rows}<c>男</c></a>") == []
    findings = found(tmp_path, f"<a xmlns='urn:a' id='i'>{rows}<b>x</b><c>{PERSON}</c></a>")
    assert short(findings) == [("xsd.no_places", ""), ("xsd.type", "b"), ("xsd.enumeration", "c")]
    assert findings[0].severity is Severity.WARNING
    assert PERSON not in repr(findings)


@pytest.mark.parametrize("tree", [None, {}, "x", b"<a/>"])
def test_other_trees(tmp_path: Path, tree: Any) -> None:
    assert [finding.rule for finding in check(schema(tmp_path), tree)] == ["xsd.not_checked"]


names = st.sampled_from(["b", "c", "d", "e", "f", "g", "zz"])
values = st.sampled_from(["", "1", "x", "男", "2026-01-15T09:30:15", "-5", "F", "' {'y'}. ("])


@given(st.lists(st.tuples(names, values), max_size=6), st.sampled_from(["i", "1", "", None]))
@settings(max_examples=150, derandomize=True, deadline=None)
def test_agrees_with_the_library(
    tmp_path_factory: pytest.TempPathFactory, elements: list[tuple[str, str]], name: str | None
) -> None:
    root = etree.Element("{urn:a}a", {"id": name} if name is not None else {})
    for tag, value in elements:
        etree.SubElement(root, f"{{urn:a}}{tag}").text = value
    raw = etree.tostring(root, encoding="utf-8")
    validator = schema(tmp_path_factory.getbasetemp() / "xsd")
    plain = etree.XMLSchema(etree.fromstring(MAIN.replace('<xs:include schemaLocation="../common/types.xsd"/>', TYPES[TYPES.index("<xs:simple") : -len("</xs:schema>")]).encode()))  # fmt: skip
    findings = check(validator, CODEC.decode(raw), raw)
    assert bool(findings) != plain.validate(root)
    said = [entry.message for entry in plain.error_log]  # type: ignore[attr-defined]
    assert len(findings) == len([message for message in said if "No precomputed value" not in message])
    for finding in findings:
        assert finding.text
        assert finding.place.startswith("/")
        assert "does not fit the schema" not in finding.text
