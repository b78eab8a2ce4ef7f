"""Paths into XML: what they select is what XPath selects."""

from __future__ import annotations

import contextlib
import json
import textwrap
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from hub.codecs.hl7v3 import CdaCodec
from hub.codecs.xml_codec import XmlCodec, XmlDocument
from hub.errors import MappingError
from hub.mapping import Context, compile_expression, compile_extract

if TYPE_CHECKING:
    from conftest import Folder

ORDER = XmlCodec().decode(
    """<?xml version="1.0"?>
<order xmlns:x="urn:x" id="o1" empty="" x:kind="k">
  <!-- note -->
  <patient sex="F"><name>
     张三 <!-- c --> 丰
  </name><given/><note>a <b>bold</b> end</note></patient>
  <item no="1" kind="drug"><code system="A" value="a1"/><code system="B" value="b1"/><qty>2</qty></item>
  <item no="2" kind="test"><code system="A" value="a2"/><qty>10</qty>
    <item no="2.1" kind="drug"><code system="C" value="c3"/><qty>5</qty></item>
  </item>
  <group><item no="3" kind="drug"><code system="A" value="a3"/></item></group>
  <x:total cur="CNY">12.50</x:total><total>0</total>
  <birth-date>2026</birth-date><DE02.01.039.00>DE</DE02.01.039.00><人员>李四</人员>
  <in>i</in><text>t</text><ref to="2"/>
</order>""".encode()
)


def read(expression: str, document: XmlDocument = ORDER, codec: str = "xml") -> Any:
    return compile_expression(expression, codec)(document, Context())


# -- one value -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("order/patient/@sex", "F"),
        ("/order/patient/@sex", "F"),
        ("*/patient/@sex", "F"),
        (".patient/@sex", "F"),
        ("./patient/@sex", "F"),
        (".@id", "o1"),
        ("order/@id", "o1"),
        ("order/@empty", ""),
        ("order/@gone", ""),
        ("order/@x", ""),
        ("order/@xsi:nil", ""),
        ("other/@id", ""),
        ("order/gone/deep/@id", ""),
        # text
        ("order/patient/name", "张三  丰"),
        ("order/patient/name/text()", "\n     张三  丰\n  "),
        ("order/patient/note", "a bold end"),
        ("order/patient/note/text()", "a  end"),
        ("order/patient/given", ""),
        # names
        ("order/patient/name()", "patient"),
        ("order/patient/given/name()", "given"),
        ("order/gone/name()", ""),
        ("order/*/name()", "patient"),
        (".name()", "order"),
        ("order/birth-date", "2026"),
        ("order/DE02.01.039.00", "DE"),
        ("order/人员", "李四"),
        ("order/in", "i"),
        ("/order/in", "i"),
        (".in", "i"),
        ("order/text", "t"),
        # namespaces: without a declaration a name is that of every namespace
        ("order/total", "12.50"),
        ("order/*:total", "12.50"),
        ("order/*:total[2]", "0"),
        # numbers
        ("order/item[1]/@no", "1"),
        ("order/item[2]/@no", "2"),
        ("order/item[ 2 ]/@no", "2"),
        ("order/item[3]/@no", ""),
        ("order/item[last()]/@no", "2"),
        ("order/item/code[2]/@value", "b1"),
        ("order/*[2]/@no", "1"),
        ("order/item/item/@no", "2.1"),
        # descendants
        ("//item/@no", "1"),
        ("//qty", "2"),
        ("//item/item/@no", "2.1"),
        ("order//code[@system='C']/@value", "c3"),
        (".//item[3]/@no", ""),
        # conditions
        ("order/item[@no='2']/qty", "10"),
        ("order/item[@no = '2']/qty", "10"),
        ("order/item[@no == '2']/qty", "10"),
        ('order/item["2" = @no]/qty', "10"),
        ("order/item[@no=2]/qty", "10"),
        ("order/item[code/@system='B']/@no", "1"),
        ("order/item[code/@value='a2']/qty", "10"),
        ("order/item[code[@system='A']/@value='a2']/qty", "10"),
        ("order/item[qty='10']/@no", "2"),
        ("order/item[qty > 2]/@no", "2"),
        ("order/item[item]/@no", "2"),
        ("order/item[not(item)]/@no", "1"),
        ("order/item[not item]/@no", "1"),
        ("order/item[.//code/@system='C']/@no", "2"),
        ("order/item[@kind != 'drug']/@no", "2"),
        ("order/item[code/@system != 'A']/@no", "1"),
        ("order/item[not(code/@system = 'B')]/@no", "2"),
        ("order/item[@gone != 'x']/@no", ""),
        ("order/item[@gone]/@no", ""),
        ("order/item[@gone = '']/@no", "1"),
        ("order/item[@no != '']/@no", "1"),
        ("order/item[@gone == null]/@no", "1"),
        ("order/item[@kind='drug' and qty='2']/@no", "1"),
        ("order/item[@kind='test' or qty='2'][2]/@no", "2"),
        ("order/item[2][@kind='drug']/@no", ""),
        ("order/item[@kind in ['test', 'x']]/@no", "2"),
        ("order/item[@kind | upper == 'TEST']/@no", "2"),
        ("order/item[@no = /order/ref/@to]/qty", "10"),
        ("order/item[@no != /order/ref/@to]/qty", "2"),
        ("//item[@no = //ref/@to]/@kind", "test"),
        ("//*[.='10']/name()", "qty"),
        ("order/*[name()='group']/item/@no", "3"),
        ("order/patient/note[text()='a  end']/b", "bold"),
        ("order/item[code]/item[code]/qty", "5"),
    ],
)
def test_paths(path: str, value: str) -> None:
    assert read(path) == value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("order/item/qty / 2", 1),
        ("order/item/qty /2", 1),
        ("order/item/qty - 1", 1),
        ("order/item/qty -1", 1),
        ("order/item/qty * order/item[2]/qty", 20),
        ("(order/total)/5", Decimal("2.50")),
        ("10 / order/item/qty", 5),
        ("count(order/item)/2", 1),
        ("order/item/qty | number", 2),
        ("order/item/qty if order/item else 'none'", "2"),
        ("order/patient/@sex in ['F', 'M']", True),
        ("order/patient/@sex == 'F' and not order/gone", True),
        ("order/patient/@sex | match({'F': '2'})", "2"),
        ("order/gone == null", True),
        ("order/@empty == null", True),
        ("order/gone | default('d')", "d"),
        ("concat(order/@id, '/', order/item/@no)", "o1/1"),
    ],
)
def test_expressions_around_paths(expression: str, value: Any) -> None:
    assert read(expression) == value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("list(order/item/@no)", ["1", "2"]),
        ("list(//item/@no)", ["1", "2", "2.1", "3"]),
        ("list(//item/code/@value)", ["a1", "b1", "a2", "c3", "a3"]),
        ("list(order/item/code[1]/@value)", ["a1", "a2"]),
        ("list(//code[last()]/@value)", ["b1", "a2", "c3", "a3"]),
        ("list(//item[2]/@no)", ["2"]),
        ("list(order/@empty)", []),
        ("list(order/patient/*)", ["张三  丰", "", "a bold end"]),
        ("list(order/patient/*/text())", ["\n     张三  丰\n  ", "a  end"]),
        (
            "list(order/*/name()) | unique | join(' ')",
            "patient item group total birth-date DE02.01.039.00 人员 in text ref",
        ),
        ("count(order/patient/given)", 1),
        ("count(order/gone)", 0),
        ("sum(//qty)", 17),
        ("max(//qty)", 10),
        ("first(//item/@no)", "1"),
        ("last(//item/@no)", "3"),
        ("join(',', //item[@kind='drug']/@no)", "1,2.1,3"),
        ("//item[@kind='drug']/@no | join(',')", "1,2.1,3"),
        ("coalesce(order/gone, order/@id)", "o1"),
        ("'a2' in list(//code/@value)", True),
    ],
)
def test_many_values(expression: str, value: Any) -> None:
    assert read(expression) == value


# -- against another implementation --------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from(["1", "2", "x"])


@st.composite
def trees(draw: st.DrawFn) -> etree._Element:
    root = etree.Element("a")
    grown = [root]
    for _ in range(draw(st.integers(0, 14))):
        parent = draw(st.sampled_from(grown))
        child = etree.SubElement(parent, draw(NAMES), draw(st.dictionaries(NAMES, VALUES, max_size=2)))
        child.text = draw(st.sampled_from([None, "1", "2", "x"]))
        grown.append(child)
        if draw(st.integers(0, 5)) == 0:
            parent.append(etree.Comment("c"))
    return root


CONDITIONS = st.one_of(
    st.integers(1, 3).map(str),
    st.just("last()"),
    NAMES,
    NAMES.map("not({})".format),
    NAMES.map("@{}".format),
    st.tuples(NAMES, VALUES).map("@{0[0]}='{0[1]}'".format),
    st.tuples(NAMES, VALUES).map("{0[0]}='{0[1]}'".format),
    st.tuples(NAMES, VALUES).map("{0[0]}!='{0[1]}'".format),
    st.tuples(NAMES, NAMES, VALUES).map("{0[0]}/@{0[1]}='{0[2]}'".format),
    st.tuples(NAMES, NAMES).map("@{0[0]}={0[1]}".format),
    st.tuples(NAMES, NAMES).map("{0[0]}!={0[1]}".format),
    st.tuples(NAMES, NAMES, VALUES).map("{0[0]} and @{0[1]}='{0[2]}'".format),
    st.tuples(NAMES, NAMES).map(".//{0[0]} or not({0[1]}/{0[0]})".format),
    st.tuples(NAMES, VALUES).map("{0[0]}[@a='{0[1]}']".format),
    VALUES.map(".='{}'".format),
)


@st.composite
def paths(draw: st.DrawFn) -> str:
    steps = [draw(st.sampled_from(["/a", "/*", "//a", "//b", "//*"]))]
    more = st.tuples(st.sampled_from(["/", "/", "//"]), st.sampled_from(["a", "b", "c", "*"])).map("".join)
    steps += draw(st.lists(more, max_size=3))
    steps = [step + "".join(f"[{draw(CONDITIONS)}]" for _ in range(draw(st.integers(0, 2)))) for step in steps]
    return "".join(steps) + draw(st.sampled_from(["", "", "/@a", "/@b"]))


@settings(max_examples=400, deadline=None)
@given(trees(), paths())
def test_a_path_selects_what_xpath_selects(root: etree._Element, path: str) -> None:
    document = XmlDocument(root)
    found = [node if isinstance(node, str) else "".join(node.itertext()) for node in root.getroottree().xpath(path)]
    assert read(f"list({path})", document) == found
    assert read(path, document) == (found[0] if found else "")


TOKENS = st.lists(
    st.sampled_from(
        ["/", "//", ".", "..", "@", "*", "a", "b", "item", "order", "x:a", "*:", ":", "[", "]", "(", ")", "'1'", "1", "0", "=", "!=",
         "==", "<", " ", " / ", "-", "|", "text()", "name()", "last()", "not", "and", "in", "if", "else", "count", ",", "$x"]
    ),
    max_size=14,
).map("".join)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(TOKENS)
def test_anything_compiles_or_is_refused(text: str) -> None:
    for codec in ("xml", "cda"):
        with contextlib.suppress(MappingError):
            run = compile_expression(text, codec, file="m.yaml")
            run(ORDER, Context())


# -- relative paths ------------------------------------------------------------------------------------------------------


def test_loops(folder: Folder) -> None:
    text = """
        vars:
          id: order/@id
        fields:
          items:
            each: order/item
            no: .@no
            number: $number
            order: order/@id
            whole: order/@id
            again: $id
            code: .code[@system='A']/@value
            codes: {each: .code, value: .@value, of: ..@no}
            values: {each: .code/@value, expr: .}
            named: {each: .*, expr: .name()}
            below: {each: .//code, expr: .@value}
            texts: {each: .qty/text(), v: ., in: ..@kind}
          filtered: {each: order/item, where: .@kind == 'test', expr: $number}
          nested: {each: //item, when: .item, expr: .@no}
          same: {each: order/item, others: {each: "//item[@kind = ..@kind]", expr: .@no}}
          included: {include: part, from: "order/item[2]"}
          missing: {include: part, from: "order/gone"}
          here: {include: part}
    """
    folder.write("part.yaml", "fragment: true\nfrom: {codec: xml}\nto: {codec: json}\nfields: {id: .@id, no: .@no}\n")
    assert folder.mapping(textwrap.dedent(text), source="xml").run(ORDER, Context()) == [
        {
            "items": [
                {
                    "no": "1",
                    "number": 1,
                    "order": "o1",
                    "whole": "o1",
                    "again": "o1",
                    "code": "a1",
                    "codes": [{"value": "a1", "of": "1"}, {"value": "b1", "of": "1"}],
                    "values": ["a1", "b1"],
                    "named": ["code", "code", "qty"],
                    "below": ["a1", "b1"],
                    "texts": [{"v": "2", "in": "drug"}],
                },
                {
                    "no": "2",
                    "number": 2,
                    "order": "o1",
                    "whole": "o1",
                    "again": "o1",
                    "code": "a2",
                    "codes": [{"value": "a2", "of": "2"}],
                    "values": ["a2"],
                    "named": ["code", "qty", "item"],
                    "below": ["a2", "c3"],
                    "texts": [{"v": "10", "in": "test"}],
                },
            ],
            "filtered": [1],
            "nested": ["2"],
            "same": [{"others": ["1", "2.1", "3"]}, {"others": ["2"]}],
            "included": {"no": "2"},
            "here": {"id": "o1"},
        }
    ]


def test_split(folder: Folder) -> None:
    mapping = folder.mapping("split: //item\nwhen: .code\nfields: {no: .@no, id: order/@id}\n", source="xml")
    assert mapping.run(ORDER, Context()) == [{"no": no, "id": "o1"} for no in ("1", "2", "2.1", "3")]


def test_in_conditions_a_path_asks_for_elements(folder: Folder) -> None:
    text = """
        fields:
          a: {expr: order/@id, when: order/item/code}
          b: {expr: order/@id, when: order/item/gone or order/patient/given}
          c: {expr: order/@id, when: not order/patient/given}
          d: "'yes' if order/patient/given else 'no'"
          e: "'yes' if order/gone else 'no'"
          f: {expr: order/@id, when: order/@empty}
          g: {each: order/item, where: .item and not .gone, expr: .@no}
          h: order/patient/given or 'no text'
          i: exists(order/patient/given)
    """
    assert folder.mapping(textwrap.dedent(text), source="xml").run(ORDER, Context()) == [
        {"a": "o1", "b": "o1", "d": "yes", "e": "no", "g": ["2"], "h": "no text", "i": False}
    ]


def test_extracted_keys() -> None:
    extract = compile_extract({"order": "order/@id", "no": "order/item/@no", "gone": "order/gone"}, "xml")
    assert extract(ORDER, Context()) == {"order": "o1", "no": "1"}


# -- namespaces ----------------------------------------------------------------------------------------------------------

SOAP = XmlCodec().decode(
    b'<s:Envelope xmlns:s="urn:soap" xmlns="urn:d"><s:Body><r xmlns="urn:r" s:a="1"><b/><v xmlns="">plain</v></r></s:Body></s:Envelope>'
)


@pytest.mark.parametrize(
    ("namespaces", "path", "value"),
    [
        ("", "Envelope/Body/r/v", "plain"),
        ("{soap: urn:soap}", "soap:Envelope/soap:Body/r/v", "plain"),
        ("{soap: urn:soap}", "soap:Envelope/soap:Body/soap:r", ""),
        ("{soap: urn:soap}", "soap:Envelope/soap:*/r/@soap:a", "1"),
        ("{soap: urn:soap}", "Envelope/Body/r/@soap:a", "1"),
        ("{soap: urn:soap, '': urn:r}", "soap:Envelope/soap:Body/r/b/name()", "b"),
        ("{soap: urn:soap, '': urn:r}", "soap:Envelope/soap:Body/r/v", ""),
        ("{soap: urn:soap, '': urn:r}", "soap:Envelope/soap:Body/r/*:v", "plain"),
        ("{soap: urn:soap, '': urn:r}", "soap:Envelope/soap:Body/*/*[2]", "plain"),
        ("{'': ''}", "*/*/*/v", "plain"),
        ("{'': ''}", "*/*/r/v", ""),
    ],
)
def test_namespaces(folder: Folder, namespaces: str, path: str, value: str) -> None:
    declared = f", namespaces: {namespaces}" if namespaces else ""
    text = f'from: {{codec: xml{declared}}}\nto: {{codec: json}}\nfields: {{v: "{path}", n: {{const: 1}}}}\n'
    assert folder.mapping(text).run(SOAP, Context()) == [{"v": value, "n": 1} if value else {"n": 1}]


def test_an_included_file_has_its_own_prefixes(folder: Folder) -> None:
    folder.write(
        "part.yaml",
        "fragment: true\nfrom: {codec: xml, namespaces: {e: urn:soap}}\nto: {codec: json}\nfields: {a: .@e:a}\n",
    )
    head = "from: {codec: xml, namespaces: {s: urn:soap}}\nto: {codec: json}\n"
    mapping = folder.mapping(f"{head}fields: {{r: {{include: part, from: 's:Envelope/s:Body/r'}}}}\n")
    assert mapping.run(SOAP, Context()) == [{"r": {"a": "1"}}]


CDA = """<ClinicalDocument{} xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:sdtc="urn:hl7-org:sdtc">
<recordTarget><patientRole><id root="2.16.156.10011.1.3" extension="1101"/><id root="2.16.156.10011.1.11" extension="M1"/>
<patient><sdtc:raceCode code="s"/><raceCode code="r"/></patient></patientRole></recordTarget>
<component><section><templateId root="1"/><templateId root="2"/><code code="A"/>
<entry><observation><code code="DE1"/><value xsi:type="PQ" value="5"/></observation></entry>
<entry><observation><code code="DE2"/><value xsi:type="CD" code="x"/></observation></entry></section></component></ClinicalDocument>"""


@pytest.mark.parametrize("namespace", [' xmlns="urn:hl7-org:v3"', ""])
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("ClinicalDocument/recordTarget/patientRole/id[@root='2.16.156.10011.1.3']/@extension", "1101"),
        ("//patientRole/id[@root='2.16.156.10011.1.11']/@extension", "M1"),
        ("//raceCode/@code", "r"),
        ("//sdtc:raceCode/@code", "s"),
        ("//section[templateId/@root='2']/code/@code", "A"),
        ("//observation[code/@code='DE1']/value/@value", "5"),
        ("//observation[code/@code='DE2']/value/@xsi:type", "CD"),
        ("//observation[value/@xsi:type='CD']/code/@code", "DE2"),
    ],
)
def test_names_without_prefix_are_of_hl7_v3(namespace: str, path: str, value: str) -> None:
    document = CdaCodec().decode(CDA.format(namespace).encode())
    assert read(path, document, "cda") == value
    assert read(path, document, "hl7v3") == value


def test_the_prefix_v3() -> None:
    document = CdaCodec().decode(CDA.format(' xmlns="urn:hl7-org:v3"').encode())
    assert read("v3:ClinicalDocument//v3:raceCode/@code", document, "cda") == "r"
    assert (
        read("ClinicalDocument", CdaCodec().decode(b'<ClinicalDocument xmlns="urn:x">t</ClinicalDocument>'), "cda")
        == ""
    )


# -- what is wrong -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("../item", "there is no way to the parent (character 1 of: ../item)"),
        ("order/", "a step expected: name, *, @name, text() or name() (character 7 of: order/)"),
        ("order/2", "a step expected: name, *, @name, text() or name() (character 7 of: order/2)"),
        ("order//@id", "a step expected: name, *, @name, text() or name() (character 8 of: order//@id)"),
        ("order/@", "a step expected: name, *, @name, text() or name() (character 7 of: order/@)"),
        ("order/@*", "name one attribute (character 7 of: order/@*)"),
        ("order/@id/x", "nothing can follow here (character 10 of: order/@id/x)"),
        ("order/text()/x", "nothing can follow here (character 13 of: order/text()/x)"),
        ("order//text()", "write //*/text() (character 8 of: order//text())"),
        ("order/position()", "position() is not a step (character 7 of: order/position())"),
        ("@id", "the document itself has only its root element (character 1 of: @id)"),
        ("p:order", "the prefix 'p' is not declared (character 1 of: p:order)"),
        ("order/@p:id", "the prefix 'p' is not declared (character 7 of: order/@p:id)"),
        ("order/item[0]", "elements count from 1 (character 14 of: order/item[0])"),
        (
            "order/item[@no='1'",
            "']' expected to close the predicate, found the end (character 19 of: order/item[@no='1')",
        ),
        ("order/item[]", "a value expected, found ']' (character 12 of: order/item[])"),
        ("order/item[f(@no)]", "there is no function 'f' (character 12 of: order/item[f(@no)])"),
        ("order == '1' = '2'", "'=' is not a comparison (character 14 of: order == '1' = '2')"),
        ("order = '1'", "'=' is not a comparison (character 7 of: order = '1')"),
        ("..item", "..item: there is no element around the current one (character 1 of: ..item)"),
        ("/", "a step expected: name, *, @name, text() or name() (character 2 of: /)"),
        ("a" + "/a" * 60, "path with more than 60 steps"),
    ],
)
def test_errors_in_paths(path: str, text: str) -> None:
    with pytest.raises(MappingError) as caught:
        compile_expression(path, "xml", file="m.yaml", line=3, key="k")
    assert caught.value.file == "m.yaml"
    assert caught.value.line == 3
    assert text in str(caught.value)


def test_nothing_is_inside_an_attribute(folder: Folder) -> None:
    with pytest.raises(MappingError, match="an attribute or text has no parts") as caught:
        folder.mapping("fields:\n  v:\n    each: order/item/@no\n    x: .y\n", source="xml")
    assert caught.value.line == 6
    assert caught.value.target == "v[].x"


@pytest.mark.parametrize(
    ("head", "key"),
    [
        ("from: {codec: json, namespaces: {a: urn:a}}\nto: {codec: json}", "from.namespaces"),
        ("from: {codec: xml}\nto: {codec: json, namespaces: {a: urn:a}}", "to.namespaces"),
        ("from: {codec: xml, namespaces: {a b: urn:a}}\nto: {codec: json}", "from.namespaces.a b"),
        ("from: {codec: xml, namespaces: {xmlns: urn:a}}\nto: {codec: json}", "from.namespaces.xmlns"),
        ("from: {codec: xml, namespaces: {a: [1]}}\nto: {codec: json}", "from.namespaces.a"),
        ("from: {codec: xml, namespaces: {a: 'x} y'}}\nto: {codec: json}", "from.namespaces.a"),
        ("from: {codec: xml, namespaces: [a]}\nto: {codec: json}", "from.namespaces"),
    ],
)
def test_errors_in_namespaces(folder: Folder, head: str, key: str) -> None:
    folder.write("m.yaml", f"{head}\nfields: {{a: {{const: 1}}}}\n")
    assert [problem.key for problem in folder.library().problems()] == [key]


def test_errors_at_run_time_say_where(folder: Folder) -> None:
    mapping = folder.mapping("fields:\n  qty: order/item/qty\n  n: order/patient/@sex | number\n", source="xml")
    with pytest.raises(MappingError) as caught:
        mapping.run(ORDER, Context())
    error = caught.value
    assert (error.line, error.target, error.source) == (5, "n", "order/patient/@sex | number")


def test_the_work_of_a_path_is_limited(folder: Folder) -> None:
    document = XmlCodec().decode(b"<a>" + b"<b c='1'/>" * 3000 + b"</a>")
    mapping = folder.mapping("fields: {x: {each: a/b, y: {expr: 'count(//b[@c = ..@c])'}}}\n", source="xml")
    with pytest.raises(MappingError, match="beyond the permitted number"):
        mapping.run(document, Context())
    found = compile_expression("count(//b[@c = //b/@c])", "xml")
    with pytest.raises(MappingError, match="beyond the permitted number"):
        found(document, Context())


def test_many_fields_of_one_list_look_through_it_once(folder: Folder) -> None:
    document = XmlCodec().decode(
        b"<a>" + b"".join(b'<b><c d="%d"/><v>%d</v></b>' % (n, n) for n in range(2000)) + b"</a>"
    )
    fields = "".join(f"  f{n}: a/b[c/@d='{n}']/v\n" for n in range(1000))
    result = folder.mapping(f"fields:\n{fields}", source="xml").run(document, Context())
    assert json.dumps(result) == json.dumps([{f"f{n}": str(n) for n in range(1000)}])
