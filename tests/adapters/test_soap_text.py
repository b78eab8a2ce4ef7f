"""Texts in envelopes: whatever the text, a parser gives back all of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.soap.acknowledge import fill, mcci
from adapters.soap.answer import placed
from adapters.soap.text import as_cdata, as_text, attribute, decoded, without_declaration
from hub.api import CodecError
from hub.codecs.xml_parse import parse

#: Any text XML can hold.
XML_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"]).filter(
        lambda c: c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff")
    )
    | st.sampled_from(list("<>&\"'\r\n\t]")),
    max_size=200,
)


@settings(max_examples=300)
@given(XML_TEXT)
def test_escaped_text_comes_back_whole(text: str) -> None:
    assert (parse(f"<a>{as_text(text)}</a>".encode()).text or "") == text


@settings(max_examples=300)
@given(XML_TEXT)
def test_cdata_comes_back_whole(text: str) -> None:
    assert parse(f"<a>{as_cdata(text)}</a>".encode()).xpath("string()") == text


@settings(max_examples=300)
@given(XML_TEXT)
def test_an_attribute_comes_back_whole(text: str) -> None:
    assert parse(f'<a b="{attribute(text)}"/>'.encode()).get("b") == text


def test_forms_are_exact() -> None:
    assert as_text("a<b>&\r\n") == "a&lt;b&gt;&amp;&#13;\n"
    assert as_cdata("a]]>b\r") == "<![CDATA[a]]]]><![CDATA[>b]]>&#13;<![CDATA[]]>"
    assert attribute('a"\n\t') == "a&quot;&#10;&#9;"
    assert placed(b'<?xml version="1.0" encoding="UTF-8"?>\n<a/>', "", "xml") == "<a/>"
    assert without_declaration("<a/>") == "<a/>"


@pytest.mark.parametrize("text", ["\x00", "a\x0bb", "\ud800", "\ufffe"])
def test_what_xml_cant_hold_is_refused(text: str) -> None:
    for form in (as_text, as_cdata, attribute):
        with pytest.raises(CodecError) as caught:
            form(text)
        assert caught.value.code == "xml.character"


def test_a_message_is_read_in_its_own_character_set() -> None:
    text = '<?xml version="1.0" encoding="GBK"?><a>张三</a>'
    assert decoded(text.encode("gbk"), "") == text
    assert decoded("MSH|^~\\&|张".encode("gb18030"), "gb18030") == "MSH|^~\\&|张"
    assert decoded("\ufeff{}".encode(), "") == "{}"
    for raw, encoding in ((b"\xff\xfe\xfd", ""), (b"x", "no-such-set")):
        with pytest.raises(CodecError) as caught:
            decoded(raw, encoding)
        assert caught.value.code == "soap.charset"


def test_inline_xml_must_be_xml() -> None:
    with pytest.raises(CodecError):
        placed(b"<a><b></a>", "", "xml")
    with pytest.raises(CodecError) as caught:
        placed(b"<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>", "", "xml")
    assert caught.value.code == "xml.doctype"


# -- acknowledgements --------------------------------------------------------------------------------------------------

REQUEST = b"""<PRPA_IN201311UV02 xmlns="urn:hl7-org:v3" ITSVersion="XML_1.0">
 <id root="2.16.156.10011.2.5.1.1" extension="REQ-1"/><creationTime value="20261128100000"/>
 <processingCode code="T"/>
 <receiver typeCode="RCV"><device><id><item root="2.16.156.10011.2.5.1.3" extension="HIP"/></id></device></receiver>
 <sender typeCode="SND"><device><id><item root="1.2.3" extension="HIS&amp;1"/></id></device></sender>
</PRPA_IN201311UV02>"""


def test_an_mcci_acknowledgement_turns_sender_and_receiver() -> None:
    root = parse(mcci(REQUEST, "", "AA", "处理成功").encode())
    v3 = "{urn:hl7-org:v3}"

    def at(path: str) -> dict[str, str]:
        found = root.find("/".join(f"{v3}{step}" for step in path.split("/")))
        assert found is not None, path
        return dict(found.attrib)

    assert root.tag == f"{v3}MCCI_IN000002UV01"
    assert root.get("ITSVersion") == "XML_1.0"
    assert len(at("id")["extension"]) == 36
    assert at("id")["root"] == "2.16.156.10011.2.5.1.1"
    assert len(at("creationTime")["value"]) == 14
    assert at("interactionId")["extension"] == "MCCI_IN000002UV01"
    assert at("processingCode") == {"code": "T"}
    assert at("receiver/device/id/item") == {"root": "1.2.3", "extension": "HIS&1"}
    assert at("sender/device/id/item") == {"root": "2.16.156.10011.2.5.1.3", "extension": "HIP"}
    assert at("acknowledgement") == {"typeCode": "AA"}
    assert at("acknowledgement/targetMessage/id") == {"root": "2.16.156.10011.2.5.1.1", "extension": "REQ-1"}
    assert at("acknowledgement/acknowledgementDetail/text") == {"value": "处理成功"}
    assert [child.tag.rpartition("}")[2] for child in root] == [
        "id", "creationTime", "interactionId", "processingCode", "processingModeCode", "acceptAckCode",
        "receiver", "sender", "acknowledgement",
    ]  # fmt: skip


@settings(max_examples=60)
@given(st.binary(max_size=200) | XML_TEXT.map(str.encode), XML_TEXT)
def test_any_message_can_be_acknowledged(raw: bytes, text: str) -> None:
    root = parse(mcci(raw, "", "AE", text).encode())
    assert root.xpath("string(//*[local-name()='acknowledgementDetail']/*/@value)") == text


def test_templates_escape_in_their_own_form() -> None:
    values = {"text": 'a "b" <c>', "code": "AE", "message_id": "M1", "control_id": "C1", "outcome": "ok"}
    assert fill("<r code='{code}'>{text}</r>", values) == "<r code='AE'>a &quot;b&quot; &lt;c&gt;</r>"
    assert fill('{"code": -1, "msg": "{text}"}', values) == '{"code": -1, "msg": "a \\"b\\" <c>"}'
    assert fill("{code}|{message_id}|{control_id}|{outcome}|{nothing}", values) == "AE|M1|C1|ok|{nothing}"
    assert len(fill("{now}", values)) == 14
    assert len(fill("{uuid}", values)) == 36
