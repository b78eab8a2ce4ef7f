"""Schematron: what is understood, what is refused, and the same findings as the stylesheets of ISO."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree, isoschematron

from hub.codecs.xml_codec import XmlCodec
from hub.validators import schematron
from hub.validators.report import Finding, Severity
from hub.validators.schematron import MAX_ELEMENTS
from tests.validators.validator_support import check, faults, made, short, write

CODEC = XmlCodec()
HEAD = '<schema xmlns="http://purl.oclc.org/dsdl/schematron" queryBinding="xslt"><ns prefix="a" uri="urn:a"/>'


def found(tmp_path: Path, rules: str, document: str) -> list[Finding]:
    validator = made(write(tmp_path, x_sch=f"{HEAD}{rules}</schema>"), "x.sch", "cda")
    return check(validator, CODEC.decode(document.encode()))


def test_asserts_and_reports(tmp_path: Path) -> None:
    rules = """<pattern id="p"><rule context="a:row">
      <assert test="@id" id="row-id">a row needs an id</assert>
      <report test="a:n &gt; 10" role="warning">large: <value-of select="a:n"/> in <name/></report></rule></pattern>"""
    document = "<a xmlns='urn:a'><row id='1'><n>5</n></row>\n<row><n>13812345678</n></row></a>"
    first, second = found(tmp_path, rules, document)
    assert (first.rule, first.place, first.text, first.severity) == (
        "sch.row-id",
        "/a/row[2] (line 2)",
        "a row needs an id",
        Severity.ERROR,
    )
    assert (second.rule, second.text, second.severity) == ("sch.p", "large: 138****5678 in row", Severity.WARNING)


def test_numbers_are_told(tmp_path: Path) -> None:
    rules = '<pattern><rule context="a:a"><assert test="count(*) = 1"><value-of select="count(*)"/> rows, <value-of select="1 div 4"/>, <value-of select="count(*) = 2"/></assert></rule></pattern>'
    assert found(tmp_path, rules, "<a xmlns='urn:a'><b/><b/></a>")[0].text == "2 rows, 0.25, true"


def test_only_the_first_rule_that_fits(tmp_path: Path) -> None:
    rules = """<pattern><rule context="a:b[@x]"><assert test="false()">one</assert></rule>
      <rule context="a:b | a:c"><assert test="false()">two</assert></rule></pattern>
      <pattern><rule context="a:b"><assert test="false()">three</assert></rule></pattern>"""
    document = "<a xmlns='urn:a'><b x='1'/><b/><c/></a>"
    assert [f.text for f in found(tmp_path, rules, document)] == ["one", "two", "two", "three", "three"]


def test_variables(tmp_path: Path) -> None:
    rules = """<let name="most" value="2"/>
      <pattern><let name="all" value="count(//a:b)"/><let name="codes" value="//a:code/@v"/>
      <rule context="a:b"><let name="own" value="@v"/><let name="k" value="a:k"/>
      <assert test="$all &lt;= $most and $own = $codes and $k/@ok = 'y'"><value-of select="$all"/></assert></rule></pattern>"""
    document = "<a xmlns='urn:a'><code v='1'/><b v='1'><k ok='y'/></b>{}</a>"
    assert found(tmp_path, rules, document.format("")) == []
    assert [f.text for f in found(tmp_path, rules, document.format("<b v='2'/>"))] == ["2"]


def test_current(tmp_path: Path) -> None:
    rules = "<pattern><rule context='a:r'><assert test=\"//a:b[@id = current()/@to] or @to = 'current()'\">broken</assert></rule></pattern>"
    document = "<a xmlns='urn:a'><b id='1'/><r to='1'/><r to='2'/><r to='current()'/></a>"
    assert short(found(tmp_path, rules, document)) == [("sch.assert", "/a/r[2] (line 1)")]


def test_the_document_as_context(tmp_path: Path) -> None:
    rules = """<pattern><rule context="/"><assert test="a:a">another root</assert>
      <report test="a:a/a:b">has <value-of select="a:a/a:b/@n"/>, <value-of select="count(//a:b)"/></report></rule></pattern>"""
    (finding,) = found(tmp_path, rules, "<a xmlns='urn:a'><b n='abcd'/></a>")
    assert (finding.place, finding.text) == ("/", "has a***, 1")
    assert [f.text for f in found(tmp_path, rules, "<x/>")] == ["another root"]


def test_abstract_patterns_and_rules(tmp_path: Path) -> None:
    rules = """<pattern abstract="true" id="needs"><rule context="$what"><assert test="$child">no <value-of select="'$x'"/></assert></rule></pattern>
      <pattern is-a="needs" id="first"><param name="what" value="a:b"/><param name="child" value="a:c"/></pattern>
      <pattern><rule abstract="true" id="empty"><assert test="not(node())">not empty</assert></rule>
      <rule context="a:c"><extends rule="empty"/><assert test="@n">no n</assert></rule></pattern>"""
    document = "<a xmlns='urn:a'><b/><b><c>x</c></b></a>"
    assert [(f.rule, f.text) for f in found(tmp_path, rules, document)] == [
        ("sch.first", "no **"),
        ("sch.assert", "not empty"),
        ("sch.assert", "no n"),
    ]


def test_phases_diagnostics_flags(tmp_path: Path) -> None:
    rules = """<phase id="quick"><active pattern="one"/></phase>
      <pattern id="one"><rule context="a:a" role="hint"><assert test="a:x" diagnostics="d e">x <emph>is</emph> missing</assert>
      <assert test="a:y" flag="fatal">y</assert></rule></pattern>
      <pattern id="two"><rule context="a:a"><assert test="false()">never</assert></rule></pattern>
      <diagnostics><diagnostic id="d">add it</diagnostic><diagnostic id="e">to <name/></diagnostic></diagnostics>"""
    validator = made(
        write(tmp_path, x_sch=HEAD.replace("queryBinding", 'defaultPhase="quick" queryBinding') + rules + "</schema>"),
        "x.sch",
        "xml",
    )
    first, second = check(validator, CODEC.decode(b"<a xmlns='urn:a'/>"))
    assert (first.text, first.advice, first.severity) == ("x is missing", "add it to a", Severity.WARNING)
    assert (second.text, second.severity) == ("y", Severity.ERROR)


@pytest.mark.parametrize(
    ("rules", "key", "said"),
    [
        ("<pattern><rule context='a:b'><assert test=\"matches(., 'x')\"/></rule></pattern>", "assert", "matches()"),
        ("<pattern><rule context='a:b'><assert test='exists(a:c)'/></rule></pattern>", "assert", "exists()"),
        ("<pattern><rule context='a:b'><assert test='if (1) then 2 else 3'/></rule></pattern>", "assert", "XPath 1"),
        ("<pattern><rule context='a:b'><assert test='every $x in a satisfies $x'/></rule></pattern>", "assert", "XPath 1"),
        ("<pattern><rule context='a:b'><assert test='$nobody'/></rule></pattern>", "assert", "variable"),
        ("<pattern><rule context='q:b'><assert test='1'/></rule></pattern>", "rule", "prefix"),
        ("<pattern><rule context='a:b'><assert test='document(1)'/></rule></pattern>", "assert", "document()"),
        ("<pattern><rule context='a:b'><assert test='position() = 1'/></rule></pattern>", "assert", "position"),
        ("<pattern><rule context='a:b/@x'><assert test='1'/></rule></pattern>", "rule", "must be elements"),
        ("<pattern><rule context='a:b/text()'><assert test='1'/></rule></pattern>", "rule", "must be elements"),
        ("<pattern><rule context='a:b|'><assert test='1'/></rule></pattern>", "rule", "must be elements"),
        ("<pattern><rule><assert test='1'/></rule></pattern>", "rule", "context is missing"),
        ("<pattern><rule context='a:b'><assert/></rule></pattern>", "assert", "test is missing"),
        ("<pattern><rule context='a:b'><extends rule='x'/></rule></pattern>", "extends", "no abstract rule"),
        ("<pattern is-a='x'/>", "pattern", "no abstract pattern"),
        ("<include href='other.sch'/>", "include", "not supported"),
        ("<xsl:key xmlns:xsl='http://www.w3.org/1999/XSL/Transform' name='k'/>", "key", "XSLT"),
        ("<pattern><rule context='a:b'><assert test='1'><value-of select=']'/></assert></rule></pattern>", "value-of", "XPath 1"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused(tmp_path: Path, rules: str, key: str, said: str) -> None:
    folder = write(tmp_path, x_sch=f"{HEAD}\n{rules}</schema>")
    (problem,) = faults(folder, "x.sch", "xml")
    assert said in problem.text
    assert (problem.file, problem.line, problem.key) == (str(folder / "x.sch"), 2, key)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('<schema xmlns="http://purl.oclc.org/dsdl/schematron" queryBinding="xslt2"/>', "queryBinding 'xslt2'"),
        ('<schema xmlns="http://purl.oclc.org/dsdl/schematron" defaultPhase="x"/>', "no phase 'x'"),
        ('<schema xmlns="http://www.ascc.net/xml/schematron"/>', "not an ISO Schematron schema"),
        ("<schema", "not well-formed XML"),
    ],
)
def test_broken_schemas(tmp_path: Path, text: str, said: str) -> None:
    (problem,) = faults(write(tmp_path, x_sch=text), "x.sch", "xml")
    assert said in problem.text


def test_large_documents_are_not_checked(tmp_path: Path) -> None:
    rules = "<pattern><rule context='a:b'><assert test='1'/></rule></pattern>"
    document = "<a xmlns='urn:a'>" + "<b/>" * (MAX_ELEMENTS + 1) + "</a>"
    assert [f.rule for f in found(tmp_path, rules, document)] == ["sch.not_checked"]


def test_a_run_ends_with_its_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schematron, "BUDGET", 0.0)
    rules = (
        "<pattern><rule context='a:b'><assert test='count(//a:b[. = current()/preceding::a:b]) = 0'/></rule></pattern>"
    )
    document = "<a xmlns='urn:a'>" + "<b/>" * 100 + "</a>"
    assert found(tmp_path, rules, document)[-1].rule == "sch.not_checked"


def test_many_errors(tmp_path: Path) -> None:
    rules = "<pattern><rule context='a:b'><assert test='false()'>x</assert></rule></pattern>"
    findings = found(tmp_path, rules, "<a xmlns='urn:a'>" + "<b/>" * 500 + "</a>")
    assert len(findings) == 101
    assert findings[-1].rule == "sch.more"


@pytest.mark.parametrize("tree", [None, {}, "x"])
def test_other_trees(tmp_path: Path, tree: Any) -> None:
    validator = made(write(tmp_path, x_sch=HEAD + "</schema>"), "x.sch", "xml")
    assert [finding.rule for finding in check(validator, tree)] == ["sch.not_checked"]


ORACLE = (
    HEAD
    + """<let name="limit" value="2"/>
<pattern id="one"><let name="total" value="count(//a:b)"/>
<rule context="a:b[a:c]"><assert test="@n">A</assert><report test="count(a:c) &gt; $limit">B</report></rule>
<rule context="a:b | a:c[@n]"><assert test="$total &lt; 3">C</assert><assert test="../@n = current()/@n">D</assert></rule>
<rule context="*"><report test="normalize-space(.) = 'x'">E</report></rule></pattern>
<pattern id="two"><rule context="a:a//a:c"><assert test="preceding-sibling::a:b or @n">F</assert></rule></pattern>
<pattern id="three"><rule context="/"><assert test="a:b">G</assert></rule></pattern></schema>"""
)
attributes = st.dictionaries(st.just("n"), st.sampled_from(["1", "2"]), max_size=1)
elements = st.recursive(
    st.tuples(st.sampled_from("bc"), attributes, st.sampled_from(["", "x"]), st.just([])),
    lambda inner: st.tuples(st.sampled_from("abc"), attributes, st.just(""), st.lists(inner, max_size=4)),
    max_leaves=8,
)


def built(shape: Any) -> etree._Element:
    tag, attrs, text, children = shape
    element = etree.Element(f"{{urn:a}}{tag}", attrs, nsmap={None: "urn:a"})  # type: ignore[dict-item]
    element.text = text
    element.extend(built(child) for child in children)
    return element


@given(elements)
@settings(max_examples=120, derandomize=True, deadline=None)
def test_agrees_with_the_stylesheets_of_iso(tmp_path_factory: pytest.TempPathFactory, shape: Any) -> None:
    validator = made(write(tmp_path_factory.getbasetemp() / "sch", x_sch=ORACLE), "x.sch", "xml")
    root = built(shape)
    tree = CODEC.decode(etree.tostring(root))
    iso = isoschematron.Schematron(etree.fromstring(ORACLE.encode()), store_report=True, validate_schema=False)
    iso.validate(tree.root)
    theirs = sorted(
        "".join(str(text) for text in failed.itertext()).strip()
        for failed in iso.validation_report.iter("{*}failed-assert", "{*}successful-report")
    )
    assert sorted(finding.text for finding in check(validator, tree)) == theirs


def test_threads(tmp_path: Path) -> None:
    validator = made(write(tmp_path, x_sch=ORACLE), "x.sch", "xml")
    trees = [CODEC.decode(b"<b xmlns='urn:a'>" + b"<c/>" * n + b"</b>") for n in range(1, 20)]
    alone = [short(check(validator, tree)) for tree in trees]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda tree: short(check(validator, tree)), trees * 10)) == alone * 10
