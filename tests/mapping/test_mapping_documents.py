"""XML and HL7 v2 inside other messages: read in place, taken out as a whole, and put in."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from hub.codecs.registry import builtin_codecs
from hub.errors import HubError, MappingError
from hub.mapping import Context

if TYPE_CHECKING:
    from conftest import Folder

CODECS = {codec.name: codec for codec in builtin_codecs()}
ORDER = (
    '<?xml version="1.0" encoding="UTF-8"?><o:order xmlns:o="urn:o" no="7"><o:item code="A">钾</o:item>'
    '<o:item code="B">钠</o:item></o:order>'
)
HEAD = "from: {codec: json}\nto: {codec: json}\n"


def run(folder: Folder, text: str, tree: Any, functions: Any = None) -> list[Any]:
    folder.write("m.yaml", text)
    return folder.library(functions).get("m").run(tree, Context())


def test_a_document_of_one_step_is_handed_on_as_base64_by_the_next(folder: Folder) -> None:
    folder.write("made.yaml", "from: {codec: json}\nto: {codec: cda}\nfields: {ClinicalDocument: {title: name}}\n")
    read = "fields: {document: {title: ClinicalDocument/title, content: $source | format('cda') | base64}}\n"
    folder.write("read.yaml", "from: {codec: cda}\nto: {codec: json}\n" + read)
    envelope = "fields: {register: {title: document.title, text: {'@mediaType': {const: text/xml}, '#text': document.content}}}\n"
    folder.write("register.yaml", "from: {codec: json}\nto: {codec: xml}\n" + envelope)
    folder.write("all.yaml", "steps: [made, read, register]\n")
    (found,) = folder.library().get("all").run({"name": "报告"}, Context())
    assert found.root.findtext("title") == "报告"
    document = CODECS["cda"].decode(base64.b64decode(found.root.findtext("text")))
    assert document.root.findtext("{urn:hl7-org:v3}title") == "报告"


def test_xpath_reads_a_document_inside_a_message(folder: Folder) -> None:
    text = (
        HEAD
        + """
vars: {doc: content | unbase64 | parse('xml')}
fields:
  no: $doc | xpath('order/@no')
  first: "$doc | xpath('//item')"
  chosen: "$doc | xpath('order/item[@code=\\"B\\"]')"
  codes: "$doc | xpath('order/item/@code') | join('+')"
  count: "count($doc | xpath('//item'))"
  none: $doc | xpath('order/nothing') | default('-')
  lines: {each: tags, tag: ., names: "list($doc | xpath('order/item'))"}
"""
    )
    content = base64.b64encode(ORDER.encode()).decode()
    assert run(folder, text, {"content": content, "tags": ["x", "y"]}) == [
        {
            "no": "7",
            "first": "钾",
            "chosen": "钠",
            "codes": "A+B",
            "count": 2,
            "none": "-",
            "lines": [{"tag": "x", "names": ["钾", "钠"]}, {"tag": "y", "names": ["钾", "钠"]}],
        }
    ]
    assert run(folder, text, {"tags": ["x"]}) == [{"count": 0, "none": "-", "lines": [{"tag": "x"}], "no": "", "first": "", "chosen": ""}]  # fmt: skip


def test_each_document_of_a_loop_is_read_by_itself(folder: Folder) -> None:
    text = HEAD + "fields: {each: docs, expr: \". | parse('xml') | xpath('a/b')\"}\n"
    assert run(folder, text, {"docs": ["<a><b>1</b></a>", "<a><b>2</b></a>"]}) == [["1", "2"]]


@pytest.mark.parametrize(
    "call",
    ["$doc | xpath(path)", "$doc | xpath('.item')", "$doc | xpath('1 + 1')", "$doc | xpath('a[')", "$doc | xpath('p:a')"],
)  # fmt: skip
def test_a_path_that_is_none_is_told_when_the_mapping_is_compiled(folder: Folder, call: str) -> None:
    folder.write("m.yaml", HEAD + f'vars: {{doc: x}}\nfields: {{a: "{call}"}}\n')
    assert [problem.key for problem in folder.library().problems(["m"])] == ["a"]


def test_a_text_must_be_parsed_first(folder: Folder) -> None:
    with pytest.raises(MappingError) as caught:
        run(folder, HEAD + "fields: {a: \"x | xpath('a')\"}\n", {"x": "<a>secret</a>"})
    assert "parse('xml')" in caught.value.remedy
    assert "secret" not in caught.value.text


@pytest.mark.parametrize("text", ["<a", "<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>", "<a>" * 5000])
def test_hostile_documents_are_errors_of_the_mapping(folder: Folder, text: str) -> None:
    with pytest.raises(MappingError, match="parse xml"):
        run(folder, HEAD + "fields: {a: \"x | parse('xml') | xpath('a')\"}\n", {"x": text})


UNWRAP = "from: {codec: json}\nto: {codec: xml}\nwhen: body.content\nfields: body.content | parse('xml')\n"
INNER = "from: {codec: xml}\nto: {codec: json}\nfields: {no: order/@no, items: {each: order/item, code: .@code, id: $message.id}}\n"


def test_a_step_takes_the_document_out_and_the_next_reads_it(folder: Folder) -> None:
    folder.write("unwrap.yaml", UNWRAP)
    folder.write("inner.yaml", INNER)
    text = "steps: [unwrap, inner]\n"
    assert run(folder, text, {"body": {"content": ORDER}}) == [{"no": "7", "items": [{"code": "A"}, {"code": "B"}]}]
    assert run(folder, text, {"body": {}}) == []


def test_a_document_taken_out_goes_on_byte_for_byte(folder: Folder) -> None:
    (tree,) = run(folder, UNWRAP, {"body": {"content": ORDER}})
    assert CODECS["xml"].encode(tree) == ORDER.encode()
    with pytest.raises(MappingError):
        run(folder, UNWRAP.replace("when: body.content\n", ""), {"body": {}})
    with pytest.raises(MappingError, match="parsed XML"):
        run(folder, UNWRAP.replace("parse('xml')", "upper"), {"body": {"content": ORDER}})


def test_an_hl7_message_taken_out(folder: Folder) -> None:
    text = "from: {codec: json}\nto: {codec: hl7v2}\nfields: x | parse('hl7v2')\n"
    raw = "MSH|^~\\&|||||||ADT^A01|1|P|2.5\rPID|||P1\r"
    (tree,) = run(folder, text, {"x": raw})
    assert CODECS["hl7v2"].encode(tree) == raw.encode()
    for wrong in ({"x": 5}, {}, {"x": "no"}):
        with pytest.raises(MappingError):
            run(folder, text, wrong)
    with pytest.raises(MappingError, match="parsed HL7"):
        run(folder, text.replace("parse('hl7v2')", "upper"), {"x": raw})


def test_the_whole_source_is_put_into_an_envelope(folder: Folder) -> None:
    folder.write("doc.yaml", "from: {codec: json}\nto: {codec: xml}\nfields: {order: {'@no': no, name: name}}\n")
    folder.write(
        "wrap.yaml",
        "from: {codec: xml}\nto: {codec: json}\nfields: {action: {const: Send}, payload: \"$source | format('xml')\"}\n",
    )
    (tree,) = run(folder, "steps: [doc, wrap]\n", {"no": "7", "name": "钾"})
    assert tree["action"] == "Send"
    assert tree["payload"].startswith("<?xml")
    assert CODECS["xml"].decode(tree["payload"].encode()).root.findtext("name") == "钾"


def test_a_document_in_another_character_set_becomes_text_all_the_same(folder: Folder) -> None:
    text = "from: {codec: xml}\nto: {codec: json}\nfields: {a: \"$source | format('xml') | parse('xml') | xpath('a')\", t: \"$source | format('xml')\"}\n"
    tree = CODECS["xml"].decode('<?xml version="1.0" encoding="GBK"?><a>钾</a>'.encode("gbk"))
    (made,) = run(folder, text, tree)
    assert made["a"] == "钾"
    assert "GBK" not in made["t"]


def test_an_hl7_message_becomes_text(folder: Folder) -> None:
    text = "from: {codec: hl7v2}\nto: {codec: json}\nfields: {m: \"$source | format('hl7v2')\"}\n"
    raw = "MSH|^~\\&|||||||ADT^A01|1|P|2.5\rPID|||P1||钾\r"
    assert run(folder, text, CODECS["hl7v2"].decode(raw.encode())) == [{"m": raw}]


def test_a_document_that_was_not_written_as_text_can_not_be_sent(folder: Folder) -> None:
    (tree,) = run(folder, HEAD + "fields: {a: \"x | parse('xml')\"}\n", {"x": "<a/>"})
    with pytest.raises(HubError):
        CODECS["json"].encode(tree)
