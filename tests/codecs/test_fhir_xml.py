"""FHIR XML: what becomes of it in JSON and the other way round, and what is refused where."""

from __future__ import annotations

import contextlib
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.codecs.fhir_read import MAX_DEPTH, MAX_ELEMENTS
from hub.errors import CodecError
from tests.codecs.fhir_support import Version, codec, not_written, refused

NS = 'xmlns="http://hl7.org/fhir"'
XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'
HEAD = '<?xml version="1.0" encoding="UTF-8"?>'


def read(xml: str, version: Version = "R4") -> dict[str, Any]:
    return codec(version).decode(xml.encode())


def write(tree: dict[str, Any], version: Version = "R4") -> str:
    return codec(version, "xml").encode(tree).decode()


#: XML as it is written, and its JSON.
BOTH: list[tuple[str, dict[str, Any]]] = [
    (f"<Patient {NS}/>", {"resourceType": "Patient"}),
    (
        f'<Patient {NS}><id value="p1"/><active value="true"/><name><family value="张"/><given value="三"/><given value="丰"/></name>'
        '<birthDate value="1983-05"/></Patient>',
        {
            "resourceType": "Patient",
            "id": "p1",
            "active": True,
            "name": [{"family": "张", "given": ["三", "丰"]}],
            "birthDate": "1983-05",
        },
    ),
    (  # primitives with an id, an extension, both, only an extension
        f'<Patient {NS}><birthDate id="b" value="1983-05-02"><extension url="urn:time"><valueDateTime value="1983-05-02T10:00:00Z"/>'
        '</extension></birthDate><deceasedBoolean><extension url="urn:absent"><valueCode value="unknown"/></extension></deceasedBoolean></Patient>',
        {
            "resourceType": "Patient",
            "birthDate": "1983-05-02",
            "_birthDate": {
                "id": "b",
                "extension": [{"url": "urn:time", "valueDateTime": "1983-05-02T10:00:00Z"}],
            },
            "_deceasedBoolean": {"extension": [{"url": "urn:absent", "valueCode": "unknown"}]},
        },
    ),
    (  # lists of primitives: nulls where there is only an extension or none
        f'<Patient {NS}><name><given value="a"/><given id="g" value="b"/><given><extension url="urn:x"><valueString value="y"/></extension></given>'
        '<given value="c"/></name></Patient>',
        {
            "resourceType": "Patient",
            "name": [
                {
                    "given": ["a", "b", None, "c"],
                    "_given": [None, {"id": "g"}, {"extension": [{"url": "urn:x", "valueString": "y"}]}, None],
                }
            ],
        },
    ),
    (  # no value at all: the list of values is left out
        f'<Patient {NS}><name><given><extension url="urn:x"><valueString value="y"/></extension></given></name></Patient>',
        {
            "resourceType": "Patient",
            "name": [{"_given": [{"extension": [{"url": "urn:x", "valueString": "y"}]}]}],
        },
    ),
    (  # numbers keep their digits; the id of an element is an attribute, of a resource an element
        f'<Observation {NS}><id value="o"/><status value="final"/><code id="c"><text value="x"/></code><valueQuantity><value value="1.50"/>'
        '</valueQuantity><component><code><text value="y"/></code><valueInteger value="-7"/></component></Observation>',
        {
            "resourceType": "Observation",
            "id": "o",
            "status": "final",
            "code": {"id": "c", "text": "x"},
            "valueQuantity": {"value": Decimal("1.50")},
            "component": [{"code": {"text": "y"}, "valueInteger": -7}],
        },
    ),
    (  # resources in resources
        f'<Patient {NS}><contained><Organization><id value="org"/></Organization></contained><contained><Practitioner><id value="p"/>'
        "</Practitioner></contained></Patient>",
        {
            "resourceType": "Patient",
            "contained": [
                {"resourceType": "Organization", "id": "org"},
                {"resourceType": "Practitioner", "id": "p"},
            ],
        },
    ),
    (
        f'<Bundle {NS}><type value="batch"/><entry><fullUrl value="urn:uuid:1"/><resource><Binary><contentType value="text/plain"/>'
        '<data value="QQ=="/></Binary></resource><request><method value="POST"/><url value="Binary"/></request></entry></Bundle>',
        {
            "resourceType": "Bundle",
            "type": "batch",
            "entry": [
                {
                    "fullUrl": "urn:uuid:1",
                    "resource": {"resourceType": "Binary", "contentType": "text/plain", "data": "QQ=="},
                    "request": {"method": "POST", "url": "Binary"},
                }
            ],
        },
    ),
    (
        f'<Parameters {NS}><parameter><name value="a"/><part><name value="b"/><resource><Basic><code><text value="t"/></code></Basic>'
        "</resource></part></parameter></Parameters>",
        {
            "resourceType": "Parameters",
            "parameter": [
                {
                    "name": "a",
                    "part": [{"name": "b", "resource": {"resourceType": "Basic", "code": {"text": "t"}}}],
                }
            ],
        },
    ),
    (  # the narrative is a text
        f'<Basic {NS}><text><status value="generated"/><div {XHTML}>a &amp; b &lt; <b title="x&quot;>">c</b><br/>\n d</div></text></Basic>',
        {
            "resourceType": "Basic",
            "text": {
                "status": "generated",
                "div": f'<div {XHTML}>a &amp; b &lt; <b title="x&quot;>">c</b><br/>\n d</div>',
            },
        },
    ),
    (f"<Basic {NS}><text><div {XHTML}/></text></Basic>", {"resourceType": "Basic", "text": {"div": f"<div {XHTML}/>"}}),
    (  # blanks and quotes survive in attributes
        f'<Basic {NS}><code><text value=" a&#10;&#13;&#9;&quot;&lt;&amp;>\' 张 "/></code></Basic>',
        {"resourceType": "Basic", "code": {"text": " a\n\r\t\"<&>' 张 "}},
    ),
]


@pytest.mark.parametrize(("xml", "tree"), BOTH)
def test_both_ways(xml: str, tree: dict[str, Any]) -> None:
    assert read(HEAD + xml) == tree
    assert write(tree) == HEAD + xml


def test_elements_are_written_in_the_order_of_the_specification() -> None:
    tree = {
        "birthDate": "1983",
        "extension": [{"valueString": "v", "url": "u", "id": "i"}],
        "name": [{"given": ["b"], "family": "a", "use": "official"}],
        "identifier": [{"value": "1", "system": "s"}],
        "id": "1",
        "resourceType": "Patient",
        "meta": {"tag": [{"code": "t"}], "versionId": "2"},
    }
    assert write(tree) == (
        f'{HEAD}<Patient {NS}><id value="1"/><meta><versionId value="2"/><tag><code value="t"/></tag></meta><extension id="i" url="u">'
        '<valueString value="v"/></extension><identifier><system value="s"/><value value="1"/></identifier><name><use value="official"/>'
        '<family value="a"/><given value="b"/></name><birthDate value="1983"/></Patient>'
    )


def test_what_is_null_or_empty_is_left_out() -> None:
    tree = {"resourceType": "Patient", "active": None, "name": [], "birthDate": None, "_birthDate": None}
    assert write(tree) == f"{HEAD}<Patient {NS}/>"
    xml = f'<Patient {NS}><!-- c --><?p i?><name/><active/><birthDate/><gender value="male"/>\n</Patient>'
    assert read(xml) == {"resourceType": "Patient", "gender": "male"}


def test_versions_differ() -> None:
    # valueInteger64 exists since R5, as a text in JSON; Encounter.class repeats there.
    assert read(
        f'<Basic {NS}><extension url="u"><valueInteger64 value="9007199254740993"/></extension></Basic>', "R5"
    ) == {"resourceType": "Basic", "extension": [{"url": "u", "valueInteger64": "9007199254740993"}]}
    encounter = f'<Encounter {NS}><class><code value="x"/></class></Encounter>'
    assert read(encounter) == {"resourceType": "Encounter", "class": {"code": "x"}}
    assert read(f"<MedicinalProduct {NS}/>") == {"resourceType": "MedicinalProduct"}
    error = refused(f"<MedicinalProduct {NS}/>".encode(), "R4B")
    assert error.code == "fhir.resource_type"
    assert error.text == "line 1 column 1: R4B has no resource MedicinalProduct"
    assert not_written({"resourceType": "Citation"}).text == "Citation: R4 has no resource Citation"
    assert read(f"<Citation {NS}/>", "R4B") == {"resourceType": "Citation"}


# -- narratives --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "div"),
    [
        (f'<x:div xmlns:x="{XHTML[7:-1]}"><x:p/></x:div>', f'<x:div xmlns:x="{XHTML[7:-1]}"><x:p/></x:div>'),
        (f"<div {XHTML}>a\r\nb\rc</div>", f"<div {XHTML}>a\nb\nc</div>"),
        (f"<div {XHTML}><![CDATA[<p>]]></div>", f"<div {XHTML}><![CDATA[<p>]]></div>"),
        (f"<div  {XHTML} lang='zh'>x</div >", f"<div  {XHTML} lang='zh'>x</div >"),
    ],
)
def test_a_narrative_is_taken_as_it_is_written(written: str, div: str) -> None:
    assert read(f"<Basic {NS}><text>{written}</text></Basic>")["text"] == {"div": div}


def test_a_narrative_gets_the_namespace_declared_around_it() -> None:
    xml = f'<f:Basic xmlns:f="http://hl7.org/fhir" {XHTML}><f:text><div>x</div></f:text></f:Basic>'
    assert read(xml)["text"] == {"div": f"<div {XHTML}>x</div>"}
    xml = f'<Basic {NS} xmlns:h="http://www.w3.org/1999/xhtml"><text><h:div>x</h:div></text></Basic>'
    assert read(xml)["text"] == {"div": '<h:div xmlns:h="http://www.w3.org/1999/xhtml">x</h:div>'}


def test_names_of_html_characters_become_the_characters() -> None:
    tree = {"resourceType": "Basic", "text": {"div": f"<div {XHTML}>a&nbsp;&eacute;&amp;&lt;&copy;</div>"}}
    assert f"<div {XHTML}>a\u00a0é&amp;&lt;©</div>" in write(tree)


@pytest.mark.parametrize(
    "div",
    [
        "text",
        "<p>x</p>",
        "<div>x</div>",
        f"<div {XHTML}>x",
        f"<div {XHTML}>x</div></text><status value='x'/><text>",
        f"<div {XHTML}>x</div><div {XHTML}>y</div>",
        f'<!DOCTYPE x [<!ENTITY a "b">]><div {XHTML}>&a;</div>',
        f"<div {XHTML}>&unknown;</div>",
        f"<div {XHTML}>\ud800</div>",
        f"<divx {XHTML}>x</divx>",
        7,
    ],
)
def test_a_narrative_that_would_break_the_document_is_not_written(div: object) -> None:
    error = not_written({"resourceType": "Basic", "text": {"div": div}})
    assert error.code == "fhir.narrative"
    assert error.place == "Basic.text.div"


# -- refused XML -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("xml", "code", "place"),
    [
        (f"<Patient {NS}><nmae/></Patient>", "fhir.element", "line 1 column 38 (Patient)"),
        (f"<Patient {NS}>\n <name>\n  <x/></name></Patient>", "fhir.element", "line 3 column 3 (Patient.name[0])"),
        (f'<Patient {NS}><name/><name><given value="1"/><given><a/></given></name></Patient>', "fhir.element", "(Patient.name[0].given[1])"),
        (f'<Patient {NS}><active value="yes"/></Patient>', "fhir.value", "line 1 column 38 (Patient.active)"),
        (f'<Patient {NS}><multipleBirthInteger value="1.5"/></Patient>', "fhir.value", "(Patient.multipleBirthInteger)"),
        (f'<Patient {NS}><active value="true"/><active value="true"/></Patient>', "fhir.twice", "(Patient.active)"),
        (f'<Patient {NS}><active valeu="true"/></Patient>', "fhir.attribute", "(Patient.active)"),
        (f'<Patient {NS} id="1"></Patient>', "", ""),
        (f"<Patient {NS}><name>张三</name></Patient>", "fhir.text", "(Patient.name[0])"),
        ("<Patient/>", "fhir.namespace", "line 1 column 1"),
        ('<Patient xmlns="urn:x"/>', "fhir.namespace", ""),
        (f"<Person1 {NS}/>", "fhir.resource_type", ""),
        (f"<HumanName {NS}/>", "fhir.resource_type", ""),
        (f"<Patient {NS}><contained><Basic/><Basic/></contained></Patient>", "fhir.twice", "(Patient.contained[0])"),
        (f'<Patient {NS}><x:name xmlns:x="urn:x"/></Patient>', "fhir.element", ""),
        (f"<Patient {NS}><text><div>x</div></text></Patient>", "fhir.element", "(Patient.text)"),
        (f"<Patient {NS}><name>", "fhir.xml", ""),
        (f"<Patient {NS}></Patient><a/>", "fhir.xml", ""),
        ("<", "fhir.xml", "line 1"),
        ("<!---->", "fhir.xml", ""),
        (f'<!DOCTYPE x><Patient {NS}/>', "fhir.doctype", "line 1 column"),
        (f'<!DOCTYPE x SYSTEM "http://localhost/x"><Patient {NS}/>', "fhir.doctype", ""),
        (f'<!DOCTYPE x [<!ENTITY a "aaaa">]><Patient {NS}><id value="&a;"/></Patient>', "fhir.doctype", ""),
    ],
)  # fmt: skip
def test_refused(xml: str, code: str, place: str) -> None:
    if not code:
        assert read(xml) == {"resourceType": "Patient"}
        return
    error = refused(xml.encode())
    assert error.code == code
    assert place in error.place


def test_values_are_not_told() -> None:
    error = refused(f'<Patient {NS}><birthDate value="1"/><张三 value="13812345678"/></Patient>'.encode())
    assert "张三" not in str(error)
    assert "138" not in str(error)
    error = not_written({"resourceType": "Patient", "张三": 1})
    assert "张三" not in str(error)


def test_depth_is_limited() -> None:
    def nested(levels: int) -> str:
        # Each part of a parameter is one element deeper; the resource itself is the first.
        inner = '<name value="x"/>'
        return f"<Parameters {NS}><parameter>{'<part>' * levels}{inner}{'</part>' * levels}</parameter></Parameters>"

    deepest = MAX_DEPTH - 3
    tree = read(nested(deepest))
    assert read(write(tree)) == tree
    assert refused(nested(deepest + 1).encode()).code == "fhir.depth"
    inner: dict[str, Any] = {"name": "x"}
    for _ in range(deepest + 1):
        inner = {"part": [inner]}
    assert not_written({"resourceType": "Parameters", "parameter": [inner]}).code == "fhir.depth"
    assert refused(("<a>" * 100_000).encode()).code == "fhir.namespace"
    div = f"<Basic {NS}><text><div {XHTML}>{'<b>' * 200_000}"
    assert refused(div.encode()).code == "fhir.depth"
    deep = f"<div {XHTML}>{'<b>' * 200}{'</b>' * 200}</div>"
    assert not_written({"resourceType": "Basic", "text": {"div": deep}}).code == "fhir.depth"


def test_number_of_elements_is_limited() -> None:
    xml = f"<Patient {NS}>{'<name/>' * MAX_ELEMENTS}</Patient>"
    assert refused(xml.encode()).code == "fhir.size"


@pytest.mark.parametrize(
    ("tree", "code", "place"),
    [
        ({"resourceType": "Patient", "nmae": []}, "fhir.element", "Patient"),
        ({"resourceType": "Patient", "name": [{"given": ["a"]}, {"x": 1}]}, "fhir.element", "Patient.name[1]"),
        ({"resourceType": "Patient", "name": {"family": "x"}}, "fhir.list", "Patient.name"),
        ({"resourceType": "Patient", "active": [True]}, "fhir.list", "Patient.active"),
        ({"resourceType": "Patient", "name": ["x"]}, "fhir.object", "Patient.name[0]"),
        ({"resourceType": "Patient", "gender": {"a": 1}}, "fhir.value", "Patient.gender"),
        ({"resourceType": "Patient", "multipleBirthInteger": float("nan")}, "fhir.value", "Patient.multipleBirthInteger"),
        ({"resourceType": "Patient", "contained": [{"id": "1"}]}, "fhir.resource_type", "Patient.contained[0]"),
        ({"resourceType": "Patient", "contained": [{"resourceType": "HumanName"}]}, "fhir.resource_type", ""),
        ({"resourceType": "Patient", "_name": []}, "fhir.element", "Patient"),
        ({"resourceType": "Patient", "birthDate": "x", "_birthDate": {"value": "y"}}, "fhir.element", "Patient.birthDate"),
        ({"resourceType": "Patient", 7: "x"}, "fhir.element", "Patient"),
        ({"resourceType": "Patient", "id": "a\x01"}, "fhir.xml", "Patient"),
        ({"resourceType": "Patient", "id": "\ud800"}, "fhir.xml", "Patient"),
        ({"resourceType": "Patient<x>"}, "fhir.resource_type", ""),
        ({"id": "1"}, "fhir.resource_type", ""),
        ([], "fhir.resource_type", ""),
        ("Patient", "fhir.resource_type", ""),
    ],
)  # fmt: skip
def test_not_written(tree: object, code: str, place: str) -> None:
    error = not_written(tree)
    assert error.code == code
    assert error.place == place or not place


# -- character sets ----------------------------------------------------------------------------------------------------

PATIENT = '<Patient xmlns="http://hl7.org/fhir"><name><family value="张"/></name></Patient>'


@pytest.mark.parametrize(
    ("declared", "written"),
    [("utf-8", "utf-8"), ("UTF-8", "utf-8-sig"), ("GBK", "gb18030"), ("gb2312", "gb2312"), ("UTF-16", "utf-16")],
)
def test_declared_character_sets(declared: str, written: str) -> None:
    raw = f'<?xml version="1.0" encoding="{declared}"?>{PATIENT}'.encode(written)
    assert codec().decode(raw)["name"] == [{"family": "张"}]


def test_the_contract_wins_over_what_is_declared() -> None:
    raw = f'<?xml version="1.0" encoding="utf-8"?>{PATIENT}'.encode("gb18030")
    assert codec().decode(raw, encoding="gb18030")["name"] == [{"family": "张"}]
    assert refused(raw).code == "fhir.xml"
    assert refused(raw, encoding="ascii").code == "fhir.charset"
    assert refused(f'<?xml version="1.0" encoding="punycode"?>{PATIENT}'.encode()).code == "fhir.charset"
    assert refused(b"\xff\xfe<").code == "fhir.charset"


# -- properties --------------------------------------------------------------------------------------------------------

texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=20
)
texts |= st.text(st.sampled_from("<>&\"'\n\t\r ]张é😀"), max_size=8)
numbers = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=3) | st.integers(
    -(10**30), 10**30
)  # fmt: skip
extensions = st.deferred(
    lambda: st.lists(
        st.one_of(
            st.fixed_dictionaries({"url": texts, "valueString": texts}),
            st.fixed_dictionaries({"url": texts, "valueBoolean": st.booleans()}),
            st.fixed_dictionaries(
                {"url": texts, "valueQuantity": st.fixed_dictionaries({"value": numbers, "unit": texts})}
            ),
            st.fixed_dictionaries({"url": texts, "extension": extensions}),
        ),
        min_size=1,
        max_size=2,
    )
)


@st.composite
def names(draw: st.DrawFn) -> dict[str, Any]:
    """A name whose given names have values, extensions, or both."""
    pairs = draw(
        st.lists(st.tuples(texts | st.none(), st.fixed_dictionaries({"extension": extensions}) | st.none()), max_size=4)
    )
    pairs = [pair for pair in pairs if pair != (None, None)]
    name: dict[str, Any] = {"family": draw(texts)}
    if any(value is not None for value, _ in pairs):
        name["given"] = [value for value, _ in pairs]
    if any(more is not None for _, more in pairs):
        name["_given"] = [more for _, more in pairs]
    return name


@settings(max_examples=150)
@given(st.lists(names(), min_size=1, max_size=3), st.lists(texts, max_size=2))
def test_any_content_survives_xml(given_names: list[dict[str, Any]], ids: list[str]) -> None:
    tree: dict[str, Any] = {"resourceType": "Patient", "name": given_names}
    if ids:
        tree["contained"] = [{"resourceType": "Basic", "id": id_} for id_ in ids]
    again = codec().decode(codec(write="xml").encode(tree))
    assert exact(codec().encode(again)) == exact(codec().encode(tree))


def exact(raw: bytes) -> Any:
    return json.loads(raw, parse_float=Decimal, parse_int=Decimal)


@settings(max_examples=200)
@given(st.binary(max_size=200) | texts.map(lambda text: f"<Patient {NS}>{text}</Patient>".encode()))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    for data in (raw, b"<" + raw, f"<Patient {NS}>".encode() + raw):
        with contextlib.suppress(CodecError):
            assert codec().decode(data)["resourceType"]
