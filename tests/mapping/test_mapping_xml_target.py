"""Mappings that write XML: new documents and changed copies, exactly."""

from __future__ import annotations

import contextlib
import json
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from hub.codecs.hl7v2 import Hl7Codec
from hub.codecs.hl7v3 import CdaCodec
from hub.codecs.xml_codec import XmlCodec
from hub.errors import MappingError
from hub.mapping import Context
from hub.mapping.target_xml_runtime import add_copies

if TYPE_CHECKING:
    from conftest import Folder

CODEC = XmlCodec()
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
ORDER: dict[str, Any] = {
    "id": "o1",
    "name": "张<&>\"'三",
    "none": None,
    "empty": "",
    "yes": True,
    "number": 12.5,
    "tags": ["x", None, "y"],
    "lines": [{"sku": "a", "n": 2}, {"sku": "b", "n": None}, {"n": None}],
    "xml": "<a>]]></a>",
}


def written(folder: Folder, fields: str, tree: Any = ORDER, *, to: str = "xml", source: str = "json") -> str:
    """What a mapping makes of a tree, without the declaration."""
    head = (
        f"from: {{codec: {source}}}\nto: {{codec: {to}}}\n"
        if "{" not in to
        else f"from: {{codec: {source}}}\nto: {to}\n"
    )
    (result,) = folder.mapping(head + textwrap.dedent(fields)).run(tree, Context())
    text = CODEC.encode(result).decode()
    assert text.startswith(HEAD)
    return text[len(HEAD) :]


def problems(folder: Folder, fields: str, *, to: str = "{codec: xml}", source: str = "{codec: json}") -> list[str]:
    folder.write("m.yaml", f"from: {source}\nto: {to}\n{textwrap.dedent(fields).lstrip()}")
    return [
        f"{problem.line} {problem.key}: {problem.text}"
        for problem in folder.library().problems()
        if problem.severity == "error"
    ]


# -- new documents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "xml"),
    [
        ("{o: id}", "<o>o1</o>"),
        ("{o: {id: id}}", "<o><id>o1</id></o>"),
        ("{o: {'@id': id, name: name}}", "<o id=\"o1\"><name>张&lt;&amp;&gt;\"'三</name></o>"),
        ("{o: {'@name': name}}", "<o name=\"张&lt;&amp;&gt;&quot;'三\"/>"),
        ("{o: {'@id': id, '#text': number}}", '<o id="o1">12.5</o>'),
        ("{o: {a: yes, b: number, c: {const: 3}, d: {const: x}}}", "<o><a>true</a><b>12.5</b><c>3</c><d>x</d></o>"),
        ("{病历: {姓名: id}}", "<病历><姓名>o1</姓名></病历>"),
        ("{o: {a-b: id, c.d: id, _e: id}}", "<o><a-b>o1</a-b><c.d>o1</c.d><_e>o1</_e></o>"),
        # keys that are paths
        ("{o/a/b: id}", "<o><a><b>o1</b></a></o>"),
        ("{o/@x: id, o/a/@y: id, o/a/b: id}", '<o x="o1"><a y="o1"><b>o1</b></a></o>'),
        ("{o: {a/@x: id, b: id, a/@y: id}}", '<o><a x="o1" y="o1"/><b>o1</b></o>'),
        ("{o: {'a[1]/@x': id, 'a[2]/@x': number}}", '<o><a x="o1"/><a x="12.5"/></o>'),
        ("{o: {'a[@k=''1'']/@x': id, 'a[@k=''2'']/@x': number}}", '<o><a k="1" x="o1"/><a k="2" x="12.5"/></o>'),
        ("{o: {'a[@k=\"1/2\"]': id}}", '<o><a k="1/2">o1</a></o>'),
        ("{o: {'a[@k=''1'']': {'@x': id, b: id}}}", '<o><a k="1" x="o1"><b>o1</b></a></o>'),
        ("{'o[@v=''1'']/a': id}", '<o v="1"><a>o1</a></o>'),
        # what is absent
        ("{o: {a: none, b/c: none, d: {'@x': none}, e/@x: none, 'f[@k=''1'']/@x': none}}", "<o/>"),
        ("{o: {a: {b: {c: none}}, d: id}}", "<o><d>o1</d></o>"),
        ("{o: {a: {b: {c: none}, '@x': {const: 1}}}}", '<o><a x="1"/></o>'),
        ("{o: {a: {expr: none, default: d}, b: {expr: none, keep_null: true}}}", "<o><a>d</a><b/></o>"),
        ("{o: {a: {const: ''}, b: empty, '@c': {const: ''}}}", '<o c=""><a/><b/></o>'),
        ("{o: {a: {const: null}, '@b': {const: null}}}", '<o b=""><a/></o>'),
        ("{o: {a: {expr: id, when: none}, b: {when: none, c: id}, d: {when: id, c: id}}}", "<o><d><c>o1</c></d></o>"),
        ("{o: {id/@nullFlavor: {const: NI, when: none == null}}}", '<o><id nullFlavor="NI"/></o>'),
        # what repeats
        ("{o: {a: tags}}", "<o><a>x</a><a>y</a></o>"),
        ("{o: {a: {each: tags, expr: .}}}", "<o><a>x</a><a>y</a></o>"),
        ("{o: {a: {each: lines, '@n': $number, '#text': .sku}}}", '<o><a n="1">a</a><a n="2">b</a><a n="3"/></o>'),
        ("{o: {a: {each: lines, s: .sku, n: .n}}}", "<o><a><s>a</s><n>2</n></a><a><s>b</s></a></o>"),
        ("{o: {'a[@k=''1'']': {each: lines, s: .sku}}}", '<o><a k="1"><s>a</s></a><a k="1"><s>b</s></a></o>'),
        ("{o: {l/a: {each: lines, where: .n, expr: .sku}}}", "<o><l><a>a</a></l></o>"),
        ("{o: {a: [id, {const: 2}, none, {'@x': none}, {'@x': id}, {when: none, b: id}]}}", '<o><a>o1</a><a>2</a><a x="o1"/></o>'),
        ("{o: {a: [{const: first}, {each: tags, expr: .}]}}", "<o><a>first</a><a>x</a><a>y</a></o>"),
        ("{o: {a: {each: lines, b: {each: .sku, '@of': ..n, '#text': .}}}}", '<o><a><b of="2">a</b></a><a><b>b</b></a></o>'),
        # text in many ways
        ("{o: {'#text': id, b: name}}", "<o>o1<b>张&lt;&amp;&gt;\"'三</b></o>"),
        ("{o: {a: id, '#text': number}}", "<o><a>o1</a>12.5</o>"),
        ("{o: {m: {'#cdata': xml}}}", "<o><m><![CDATA[<a>]]]]><![CDATA[></a>]]></m></o>"),
        ("{o: {m: {'#cdata': none}, n: {'#cdata': {const: ''}}}}", "<o/>"),
        ("{o: {'@xml:lang': {const: zh}, '@xsi:nil': {const: true}}}",
         '<o xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xml:lang="zh" xsi:nil="true"/>'),
    ],
)  # fmt: skip
def test_new_documents(folder: Folder, fields: str, xml: str) -> None:
    assert written(folder, f"fields: {fields}\n") == xml


def test_elements_come_in_the_order_written(folder: Folder) -> None:
    fields = """
        fields:
          o:
            z: id
            a: [id]
            m/y: id
            b: {each: tags, expr: .}
            m/x: id
            c: {const: ''}
    """
    assert written(folder, fields) == "<o><z>o1</z><a>o1</a><m><y>o1</y><x>o1</x></m><b>x</b><b>y</b><c/></o>"


def test_includes(folder: Folder) -> None:
    head = "fragment: true\nfrom: {codec: json}\nto: {codec: xml}\n"
    folder.write("person.yaml", head + "fields: {'@id': id, name: .sku, address: {const: x}}\n")
    folder.write("root.yaml", head + "fields: {o/a: id}\n")
    assert written(folder, "fields: {o: {p: {include: person, from: lines, more: id}}}\n") == (
        '<o><p id="o1"><name>a</name><address>x</address><more>o1</more></p></o>'
    )
    assert written(folder, "fields: {o: {p: {each: lines, include: person}}}\n").count("<address>x</address>") == 3
    assert written(folder, "fields: {o: {include: person}}\n") == '<o id="o1"><address>x</address></o>'
    assert written(folder, "fields: {include: root}\n") == "<o><a>o1</a></o>"


def test_split_and_when(folder: Folder) -> None:
    mapping = folder.mapping("split: lines\nwhen: .sku\nfields: {o/@sku: .sku}\n", target="xml")
    assert [CODEC.encode(tree) for tree in mapping.run(ORDER, Context())] == [
        (HEAD + f'<o sku="{sku}"/>').encode() for sku in "ab"
    ]


@pytest.mark.parametrize(
    ("to", "fields", "xml"),
    [
        ("{codec: xml, namespaces: {'': urn:d}}", "{o: {'@a': id, b: id}}", '<o xmlns="urn:d" a="o1"><b>o1</b></o>'),
        (
            "{codec: xml, namespaces: {s: urn:s, d: urn:d}}",
            "{'s:E': {'s:Body/d:r': {'@d:a': id, '@b': id, 'plain': id}}}",
            '<s:E xmlns:s="urn:s" xmlns:d="urn:d"><s:Body><d:r d:a="o1" b="o1"><plain>o1</plain></d:r></s:Body></s:E>',
        ),
        (
            "{codec: xml, namespaces: {xsi: 'http://www.w3.org/2001/XMLSchema-instance'}}",
            "{o/@xsi:type: {const: T}}",
            '<o xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="T"/>',
        ),
        (
            "{codec: hl7v3}",
            "{PRPA_IN201311UV02: {'@ITSVersion': {const: XML_1.0}, 'id[@root=''2.16'']/@extension': id}}",
            '<PRPA_IN201311UV02 xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
            'ITSVersion="XML_1.0"><id root="2.16" extension="o1"/></PRPA_IN201311UV02>',
        ),
        (
            "{codec: cda, namespaces: {voc: 'urn:hl7-org:v3/voc'}}",
            "{ClinicalDocument: {value: {'@xsi:type': {const: PQ}, '@value': number}, sdtc:raceCode/@code: id}}",
            '<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
            'xmlns:voc="urn:hl7-org:v3/voc"><value xsi:type="PQ" value="12.5"/>'
            '<sdtc:raceCode xmlns:sdtc="urn:hl7-org:sdtc" code="o1"/></ClinicalDocument>',
        ),
    ],
)  # fmt: skip
def test_namespaces(folder: Folder, to: str, fields: str, xml: str) -> None:
    assert written(folder, f"fields: {fields}\n", to=to) == xml


def test_an_included_file_has_its_own_prefixes(folder: Folder) -> None:
    folder.write(
        "part.yaml",
        "fragment: true\nfrom: {codec: json}\nto: {codec: xml, namespaces: {p: urn:p}}\nfields: {p:a: id}\n",
    )
    assert written(folder, "fields: {'q:o': {include: part}}\n", to="{codec: xml, namespaces: {q: urn:q}}") == (
        '<q:o xmlns:q="urn:q"><p:a xmlns:p="urn:p">o1</p:a></q:o>'
    )


def test_from_hl7_v2(folder: Folder) -> None:
    message = Hl7Codec().decode("MSH|^~\\&|\rPID|1||8^^^N^MR~1101^^^^IDCARD||张^三||19491231|F\r".encode())
    fields = """
        fields:
          person:
            id: {each: PID-3, "@type": .5, "@extension": .1, "@assigner": .4}
            name: concat(PID-5.1, PID-5.2)
            gone: PID-9
            birthTime/@value: PID-7
    """
    assert written(folder, fields, message, source="hl7v2") == (
        '<person><id type="MR" extension="8" assigner="N"/><id type="IDCARD" extension="1101"/>'
        '<name>张三</name><birthTime value="19491231"/></person>'
    )


def test_another_character_set(folder: Folder) -> None:
    (tree,) = folder.mapping("fields: {o: name}\n", target="xml").run({"name": "张𠮷"}, Context())
    assert CODEC.encode(tree, encoding="GB18030") == '<?xml version="1.0" encoding="GB18030"?>\n<o>张𠮷</o>'.encode(
        "gb18030"
    )
    assert CODEC.encode(tree, encoding="GBK") == '<?xml version="1.0" encoding="GBK"?>\n<o>张&#134071;</o>'.encode(
        "gbk"
    )


# -- copies of elements --------------------------------------------------------------------------------------------------

NOTE = CODEC.decode(
    b'<n xmlns="urn:n" xmlns:x="urn:x" xmlns:y="urn:y"><text x:k="v">a<b t="y:T"/><!--c-->tail</text> <e xmlns="">1</e>'
    b"<text>2</text></n>"
)


@pytest.mark.parametrize(
    ("to", "fields", "xml"),
    [
        (
            "{codec: xml}",
            "{o: {'*': 'n/text[1]'}}",
            '<o><text xmlns="urn:n" xmlns:y="urn:y" xmlns:x="urn:x" x:k="v">a<b t="y:T"/><!--c-->tail</text></o>',
        ),
        (
            "{codec: xml, namespaces: {'': urn:n}}",
            "{o: {p/*: 'n/text[2]', q: {'@a': {const: 1}, '*': n/gone}, '*': n/e}}",
            '<o xmlns="urn:n"><p><text>2</text></p><q a="1"/><e xmlns="">1</e></o>',
        ),
        (
            "{codec: xml, namespaces: {'': urn:n}}",
            "{o: {p: {each: n/text, '@n': $number, '*': '.b'}}}",
            '<o xmlns="urn:n"><p n="1"><b xmlns:y="urn:y" t="y:T"/></p><p n="2"/></o>',
        ),
    ],
)
def test_copies_of_elements(folder: Folder, to: str, fields: str, xml: str) -> None:
    result = written(folder, f"fields: {fields}\n", NOTE, to=to, source="xml")
    assert canonical(result.encode()) == canonical(xml.encode())
    assert NOTE.root[0].tail == " "


def canonical(raw: bytes) -> bytes:
    return etree.tostring(CODEC.decode(raw).root, method="c14n", with_comments=True)


PREFIXES = st.dictionaries(
    st.sampled_from([None, "a", "b", "ns0"]), st.sampled_from(["urn:1", "urn:2", "urn:3"]), max_size=3
)
NAMES = st.tuples(st.sampled_from(["", "{urn:1}", "{urn:2}", "{urn:3}"]), st.sampled_from(["k", "l"])).map("".join)


@st.composite
def trees(draw: st.DrawFn) -> etree._Element:
    root = etree.Element(draw(NAMES), nsmap=draw(PREFIXES))
    grown = [root]
    for _ in range(draw(st.integers(0, 6))):
        parent = draw(st.sampled_from(grown))
        child = etree.SubElement(
            parent, draw(NAMES), draw(st.dictionaries(NAMES, st.just("1"), max_size=2)), draw(PREFIXES)
        )
        grown.append(child)
    # as it is read back: lxml does not undeclare a default namespace by itself
    return etree.fromstring(etree.tostring(root))


def names_of(element: etree._Element) -> tuple[object, ...]:
    return str(element.tag), sorted(element.attrib.items()), [names_of(child) for child in element]


@settings(max_examples=100, deadline=None)
@given(trees(), trees())
def test_copies_keep_their_namespaces(target: etree._Element, source: etree._Element) -> None:
    places = list(target.iter("*"))
    before = names_of(source)
    add_copies(places[-1], [source])
    again = etree.fromstring(etree.tostring(target))
    assert names_of(list(again.iter("*"))[len(places)]) == before
    assert names_of(source) == before


# -- changed copies of the source ----------------------------------------------------------------------------------------

SOURCE = (
    '<?xml version="1.0" encoding="GBK"?>\n<!-- c --><o xmlns="urn:o" xmlns:x="urn:x" a=\'1\'><id root="1" e="x"/><id root="2"/>'
    '<n/>t<!-- k --><i>1</i><i>2</i><z q="1">q<b/>尾</z><x:p/></o>\n'
).encode("gbk")


def changed(folder: Folder, fields: str, to: str = "", raw: bytes = SOURCE, source: str = "{codec: xml}") -> str:
    """The copy with the changes of a mapping, from the root on."""
    folder.write("m.yaml", f"from: {source}\nto: {{codec: xml, base: source{to}}}\n{fields}\n")
    document = CODEC.decode(raw)
    before = CODEC.encode(document.copy())
    (result,) = folder.library().get("m").run(document, Context())
    assert CODEC.encode(document) == before == raw
    text = CODEC.encode(result).decode("gbk")
    head, tail = '<?xml version="1.0" encoding="GBK"?>\n<!-- c --><o xmlns="urn:o" xmlns:x="urn:x"', "</o>"
    assert text.startswith(head)
    assert text.rstrip().endswith(tail)
    return text[len(head) : text.rindex(tail)]


REST = '<n/>t<!-- k --><i>1</i><i>2</i><z q="1">q<b/>尾</z><x:p/>'
Q = ' q="1"'
IDS = '<id root="1" e="x"/><id root="2"/>'


@pytest.mark.parametrize(
    ("fields", "inside"),
    [
        ("{o/@a: {const: 2}}", f' a="2">{IDS}{REST}'),
        ("{'*/@b': o/i}", f' a="1" b="1">{IDS}{REST}'),
        ("{o: {n: {const: v}}}", f' a="1">{IDS}{REST.replace("<n/>", "<n>v</n>")}'),
        ("{o/n/@x: o/@a}", f' a="1">{IDS}<n x="1"/>{REST[4:]}'),
        ("{'o/id[2]/@e': o/i}", f' a="1"><id root="1" e="x"/><id root="2" e="1"/>{REST}'),
        ("{'o/id[@root=''2'']/@e': o/i}", f' a="1"><id root="1" e="x"/><id root="2" e="1"/>{REST}'),
        ("{'o/id[@root=''3'']/@e': o/i}", f' a="1">{IDS}<id root="3" e="1"/>{REST}'),
        ("{'o/id[3]/@e': o/i}", f' a="1">{IDS}<id e="1"/>{REST}'),
        ("{o/new/@e: o/i}", f' a="1">{IDS}{REST}<new e="1"/>'),
        ("{o/x:new: o/i, o/x:p: o/i}", f' a="1">{IDS}{REST.replace("<x:p/>", "<x:p>1</x:p>")}<x:new>1</x:new>'),
        ("{o/i: {const: v}}", f' a="1">{IDS}{REST.replace("<i>1</i>", "<i>v</i>")}'),
        ("{o/z: {const: v}}", f' a="1">{IDS}<n/>t<!-- k --><i>1</i><i>2</i><z q="1">v</z><x:p/>'),
        ("{o/z: {'#text': {const: v}}}", f' a="1">{IDS}<n/>t<!-- k --><i>1</i><i>2</i><z q="1">v<b/>尾</z><x:p/>'),
        ("{o/z/*: o/n}", f' a="1">{IDS}<n/>t<!-- k --><i>1</i><i>2</i><z q="1">q<b/>尾<n/></z><x:p/>'),
        ("{o: {i: {each: o/i, expr: \"concat('v', .)\"}}}", f' a="1">{IDS}<n/>t<!-- k --><i>v1</i><i>v2</i><z q="1">q<b/>尾</z><x:p/>'),
        ("{o: {i: {each: o/id, '@r': .@root}}}", f' a="1">{IDS}<n/>t<!-- k --><i r="1"/><i r="2"/><z q="1">q<b/>尾</z><x:p/>'),
        ("{o: {i: {each: o/gone, '@r': .@root}}}", f' a="1">{IDS}<n/>t<!-- k --><z q="1">q<b/>尾</z><x:p/>'),
        ("{o: {id: [{'@e': o/i}, {'@e': o/gone}, o/i]}}", f' a="1"><id e="1"/><id>1</id>{REST}'),
        ("{o: {n: list(o/i)}}", f' a="1">{IDS}t<n>1</n><n>2</n><!-- k --><i>1</i><i>2</i><z q="1">q<b/>尾</z><x:p/>'),
        ("{o: {n: {when: o/gone, a: o/i}, m/k: {expr: o/i, when: o/gone}, l/k: o/i}}", f' a="1">{IDS}{REST}<l><k>1</k></l>'),
    ],
)  # fmt: skip
def test_changed_copies(folder: Folder, fields: str, inside: str) -> None:
    assert changed(folder, f"fields: {fields}", source="{codec: xml, namespaces: {x: urn:x}}") == inside


@pytest.mark.parametrize(
    ("remove", "inside"),
    [
        ("o/i", f' a="1">{IDS}<n/>t<!-- k --><z q="1">q<b/>尾</z><x:p/>'),
        ("[o/n, o/z/b, o/@a, 'o/id[2]']", '><id root="1" e="x"/>t<!-- k --><i>1</i><i>2</i><z q="1">q尾</z><x:p/>'),
        ("['//*[@root]', p, '*/*:p', 'o/z/@q']", ' a="1"><n/>t<!-- k --><i>1</i><i>2</i><z>q<b/>尾</z>'),
        ("'//z/@q'", f' a="1">{IDS}{REST.replace(Q, "")}'),
        ("'o/i[.=''2'']'", f' a="1">{IDS}{REST.replace("<i>2</i>", "")}'),
    ],
)
def test_parts_removed(folder: Folder, remove: str, inside: str) -> None:
    assert changed(folder, "", f", remove: {remove}") == inside


@pytest.mark.parametrize(
    "fields",
    ["", "fields: {o/@a: {const: '1'}}", "fields: {o/id/@e: o/gone, o/new/x: o/gone, o/n: {when: o/gone, b: o/i}}"],
)
def test_a_copy_without_changes_is_the_source_byte_for_byte(folder: Folder, fields: str) -> None:
    folder.write("m.yaml", f"from: {{codec: xml}}\nto: {{codec: xml, base: source}}\n{fields}\n")
    (result,) = folder.library().get("m").run(CODEC.decode(SOURCE), Context())
    assert CODEC.encode(result) == SOURCE


def test_a_copy_keeps_the_namespace_of_its_parents(folder: Folder) -> None:
    raw = b'<ClinicalDocument xmlns="urn:hl7-org:v3"><id root="1"/></ClinicalDocument>'
    for namespace in (b' xmlns="urn:hl7-org:v3"', b' xmlns="urn:other"', b""):
        document = CdaCodec().decode(raw.replace(b' xmlns="urn:hl7-org:v3"', namespace))
        folder.write(
            "m.yaml",
            "from: {codec: cda}\nto: {codec: cda, base: source}\n"
            "fields: {ClinicalDocument: {id/@root: {const: '2'}, setId: {'@root': {const: '3'}, '@xsi:type': {const: II}}}}\n",
        )
        (result,) = folder.library().get("m").run(document, Context())
        assert CdaCodec().encode(result) == (
            b"<ClinicalDocument"
            + namespace
            + b'><id root="2"/><setId xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" root="3" xsi:type="II"/></ClinicalDocument>'
        )


# -- what is wrong -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ("fields: [id]", ["3 fields: a document has one root element"]),
        ("fields: {each: lines, a: .sku}", ["3 fields: a document has one root element"]),
        ("fields: id", ["3 fields: a document has one root element"]),
        ("fields: {a: id, b: id}", ["3 b: a document has one root element"]),
        ("fields: {'@a': id}", ["3 @a: a document has one root element"]),
        ("fields: {a: {each: lines, b: .sku}}", ["3 a: a document has one root element"]),
        ("fields: {a: [id]}", ["3 a: a document has one root element"]),
        ("fields: {'*/a': id}", ["3 */a: * stands for the root of a copy only"]),
        ("fields: {'*': id}", ["3 *: * stands for the root of a copy only"]),
        ("fields:\n  o:\n    a b: id", ["5 o/a b: 'a b' is not a place in a document"]),
        ("fields:\n  o:\n    a/: id", ["5 o/a/: 'a/' is not a place in a document"]),
        ("fields:\n  o:\n    1a: id", ["5 o/1a: '1a' is not a place in a document"]),
        ("fields:\n  o:\n    a[0]: id", ["5 o/a[0]: elements count from 1 to 999"]),
        ("fields:\n  o:\n    a[1000]: id", ["5 o/a[1000]: elements count from 1 to 999"]),
        ("fields:\n  o:\n    '@a/b': id", ["5 o/@a/b: '@a/b' is not a place in a document"]),
        ("fields:\n  o:\n    p:a: id", ["5 o/p:a: the prefix 'p' is not declared"]),
        ("fields:\n  o:\n    '@p:a': id", ["5 o/@p:a: the prefix 'p' is not declared"]),
        ("fields:\n  o:\n    'a[@p:k=''1'']': id", ["5 o/a[@p:k='1']: the prefix 'p' is not declared"]),
        ("fields:\n  o:\n    a: id\n    a/@b: id", ["6 o/a/@b: this part of the target already has a rule"]),
        ("fields:\n  o:\n    a/@b: id\n    a: id", ["6 o/a: this part of the target already has a rule"]),
        ("fields:\n  o/@b: id\n  o: {'@b': id}", ["5 o: this part of the target already has a rule"]),
        ("fields:\n  o:\n    '@b': {c: id}", ["5 o/@b: this takes a single value"]),
        ("fields:\n  o:\n    '@b': [id]", ["5 o/@b: this takes a single value"]),
        ("fields:\n  o:\n    '#text': {each: tags, a: .}", ["5 o/#text: this takes a single value"]),
        ("fields:\n  o:\n    a: {const: {b: 1}}", ["5 o/a: an element or attribute holds a single value"]),
        ("fields:\n  o:\n    a: {const: [1]}", ["5 o/a: an element or attribute holds a single value"]),
        ("fields:\n  o:\n    a: [[id]]", ["5 o/a[1]: lists don't nest in XML"]),
        ("fields:\n  o:\n    '*': id", ["5 o/*: elements are copied from XML only in: id"]),
        ("fields:\n  o:\n    '*': {const: 1}", ["5 o/*: * takes the path of the elements to copy in: "]),
        ("fields:\n  o:\n    a: id +", ["5 o/a: a value expected, found the end (character 5 of: id +)"]),
    ],
)
def test_problems(folder: Folder, fields: str, found: list[str]) -> None:
    assert problems(folder, fields + "\n") == found


@pytest.mark.parametrize(
    ("to", "source", "found"),
    [
        ("{codec: xml, base: source}", "{codec: json}", ["1 to.base: base: source needs a source of the same format"]),
        (
            "{codec: xml, base: source, remove: [o/text()]}",
            "{codec: xml}",
            ["2 to.remove: only elements and attributes can be removed in: o/text()"],
        ),
        (
            "{codec: xml, base: source, remove: ['o[']}",
            "{codec: xml}",
            ["2 to.remove: a value expected, found the end (character 3 of: o[)"],
        ),
        ("{codec: json, base: source}", "{codec: xml}", ["1 to.base: base: source is for HL7 v2, XML and DICOM only"]),
    ],
)
def test_problems_of_the_head(folder: Folder, to: str, source: str, found: list[str]) -> None:
    assert problems(folder, "fields: {o: {const: 1}}\n", to=to, source=source) == found


KEYS = st.lists(
    st.sampled_from(["a", "b", "/", "@", "*", "#text", "#cdata", "[", "]", "1", "0", "'", "=", "x:", "xml:", "xsi:", ".", "-", " "]),
    min_size=1,
    max_size=6,
).map("".join)  # fmt: skip
RULES = st.sampled_from(
    ["id", "tags", "none", "{const: 1}", "{a: id}", "[id, {b: id}]", "{each: lines, '@k': .sku}", "o/a"]
)


def test_any_key_is_written_or_refused(folder: Folder) -> None:
    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.tuples(KEYS, RULES), min_size=1, max_size=3, unique_by=lambda item: item[0]), st.booleans())
    def check(keys: list[tuple[str, str]], base: bool) -> None:
        fields = "".join(f"    {json.dumps(key)}: {rule}\n" for key, rule in keys)
        to, source = ("{codec: xml, base: source}", "xml") if base else ("{codec: xml}", "json")
        folder.write("m.yaml", f"from: {{codec: {source}}}\nto: {to}\nfields:\n  o:\n{fields}")
        library = folder.library()
        if library.problems():
            return
        tree = CODEC.decode(b"<o><a k='1'>1</a><b/></o>") if base else ORDER
        with contextlib.suppress(MappingError):
            (result,) = library.get("m").run(tree, Context())
            CODEC.decode(CODEC.encode(result))

    check()


def test_copies_of_other_things(folder: Folder) -> None:
    fields = "fields:\n  o:\n    a/*: o/@a\n    b/*: upper(o)\n"
    assert problems(folder, fields, source="{codec: xml}") == [
        "5 o/a/*: only elements can be copied in: o/@a",
        "6 o/b/*: a path is needed here, not an expression (character 1 of: upper(o))",
    ]


@pytest.mark.parametrize(
    ("fields", "tree", "text"),
    [
        ("a: t", {"t": "138\x01"}, "m.yaml:5: o/a <- t: character 4 of the text, U+0001, can't stand in XML (value "),
        ("'@a': t", {"t": "\ud800"}, "m.yaml:5: o/@a <- t: character 1 of the text, U+D800, can't stand in XML (value "),
        ("'#text': t", {"t": "a\x00"}, "m.yaml:5: o/#text <- t: character 2 of the text, U+0000, can't stand in XML (value "),
        ("'#cdata': t", {"t": "\ufffe"}, "m.yaml:5: o/#cdata <- t: character 1 of the text, U+FFFE, can't stand in XML (value "),
        ("l: {each: t, m: .}", {"t": ["a", "\x0b"]}, "m.yaml:5: o/l[]/m <- .: character 1 of the text, U+000B, can't stand in XML"),
        ("a: t", {"t": {"b": 1}}, "m.yaml:5: o/a <- t: a single value is needed, this is a object"),
        ("'@a': t", {"t": ["b", "c"]}, "m.yaml:5: o/@a <- t: a single value is needed, this is a list"),
        ("a: {expr: t, required: true}", {}, "m.yaml:5: o/a <- t: a required value is absent"),
        ("a/b: t | number", {"t": "x"}, "m.yaml:5: o/a/b <- t | number: number: not a number"),
    ],
)  # fmt: skip
def test_errors_at_run_time(folder: Folder, fields: str, tree: Any, text: str) -> None:
    mapping = folder.mapping(f"fields:\n  o:\n    {fields}\n", target="xml")
    with pytest.raises(MappingError) as caught:
        mapping.run(tree, Context())
    assert text in str(caught.value)


def test_a_document_needs_its_root(folder: Folder) -> None:
    mapping = folder.mapping("fields:\n  o: {when: t, a: t}\n", target="xml")
    with pytest.raises(MappingError, match=r"m\.yaml:3: fields: there is nothing to write: no root element"):
        mapping.run({}, Context())
    mapping = folder.mapping("fields:\n  o: t\n", target="xml")
    with pytest.raises(MappingError, match="no root element"):
        mapping.run({}, Context())


def test_the_root_of_a_copy_must_be_the_one_named(folder: Folder) -> None:
    folder.write("m.yaml", "from: {codec: xml}\nto: {codec: xml, base: source}\nfields: {p/@a: {const: 1}}\n")
    with pytest.raises(MappingError, match=r"m\.yaml:3: p: the root of the source is not p") as caught:
        folder.library().get("m").run(CODEC.decode(b"<o/>"), Context())
    assert caught.value.remedy
    folder.write("m.yaml", "from: {codec: xml}\nto: {codec: xml, base: source, remove: ['*']}\n")
    with pytest.raises(MappingError, match="the root can't be removed"):
        folder.library().get("m").run(CODEC.decode(b"<o/>"), Context())


def test_the_size_of_a_target_is_limited(folder: Folder) -> None:
    tree = {"a": [{"b": 1}] * 40}
    for fields in ("{x: {each: a, y: {each: a, z: .b}}}", "{x: {each: a, y: c}}", "{x: {each: a, y: [c]}}"):
        mapping = folder.mapping(f"fields: {{o: {fields}}}\n", target="xml", budget=1000)
        with pytest.raises(MappingError, match="beyond the permitted number"):
            mapping.run(tree | {"c": ["t"] * 40}, Context())


@pytest.mark.parametrize(
    ("to", "fields"),
    [
        ("{codec: xml}", "fields: {o: {x: {each: a/b, '*': /a}}}"),
        ("{codec: xml, base: source}", "split: a/b"),
    ],
)
def test_the_copies_of_a_target_are_limited(folder: Folder, to: str, fields: str) -> None:
    mapping = folder.mapping(f"from: {{codec: xml}}\nto: {to}\n{fields}\n", budget=1000)
    with pytest.raises(MappingError, match="beyond the permitted number"):
        mapping.run(CODEC.decode(b"<a>" + b"<b>text of some length</b>" * 100 + b"</a>"), Context())


# -- there and back ------------------------------------------------------------------------------------------------------

TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1, max_size=8
)


def test_values_come_back(folder: Folder) -> None:
    there = folder.mapping("fields: {r: {i: {each: items, '@k': .k, '#text': .v}}}\n", "there", target="xml")
    back = folder.mapping("fields: {items: {each: r/i, k: .@k, v: .text()}}\n", "back", source="xml")

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.fixed_dictionaries({"k": TEXTS, "v": TEXTS}), min_size=1, max_size=5))
    def check(values: list[dict[str, str]]) -> None:
        (tree,) = there.run({"items": values}, Context())
        assert back.run(CODEC.decode(CODEC.encode(tree)), Context()) == [{"items": values}]

    check()


def test_text_of_a_loop(folder: Folder) -> None:
    fields = """
        fields:
          text:
            "@id": id
            b: id
            "#text": {each: lines, where: .sku, expr: "concat(.sku, ' ', .n, '; ')"}
    """
    assert written(folder, fields) == '<text id="o1"><b>o1</b>a 2; b ; </text>'
    one = "fields: {text/#text: {each: tags, distinct: ., expr: .}}"
    assert written(folder, one, {"tags": ["x", "y", None, "x"]}) == "<text>xy</text>"
    assert written(folder, "fields: {r: {a: x, '#text': {each: none, expr: .}}}", {"x": 1}) == "<r><a>1</a></r>"
    head = "from: {codec: xml}\nto: {codec: xml, base: source}\n"
    (copy,) = folder.mapping(head + "fields: {r/#text: {each: r/b, expr: .}}").run(
        CODEC.decode(b"<r>old<b>1</b><b>2</b>tail</r>"), Context()
    )
    assert CODEC.encode(copy) == b"<r>12<b>1</b><b>2</b>tail</r>"
    (problem,) = problems(folder, "fields: {r/#text: {each: tags, a: .}}")
    assert "this takes a single value" in problem
    (problem,) = problems(folder, "fields: {r/#text: {each: tags, expr: 'a b'}}")
    assert problem.startswith("3 r/#text")


def test_distinct_elements(folder: Folder) -> None:
    tree = {"a": [{"v": 1}, {"v": 2}, {"v": 1}], "b": [2, 3]}
    fields = """
        fields:
          r:
            one: {each: a, distinct: .v, "@v": .v}
            two:
              - {each: a, distinct: .v, expr: .v}
              - {each: b, distinct: ., expr: .}
    """
    assert written(folder, fields, tree) == '<r><one v="1"/><one v="2"/><two>1</two><two>2</two><two>3</two></r>'
