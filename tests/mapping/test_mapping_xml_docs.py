"""The examples of the reference run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hub.codecs.base import Codec
from hub.codecs.hl7v2 import Hl7Codec
from hub.codecs.hl7v3 import CdaCodec, Hl7v3Codec
from hub.codecs.xml_codec import XmlCodec
from hub.codecs.xml_parse import MAX_ATTRIBUTES, MAX_BYTES, MAX_MARKUP
from hub.mapping import Context

if TYPE_CHECKING:
    from conftest import Folder

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "xml.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
V3 = 'xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
CDA = f"""<ClinicalDocument {V3}><id extension="D1"/><title>检验报告</title><recordTarget><patientRole>
<id root="2.16.156.10011.1.11" extension="M1"/><patient><id root="2.16.156.10011.1.3" extension="11010519491231002x"/>
<birthTime value="19491231"/></patient></patientRole></recordTarget><component><structuredBody><component><section>
<code code="30954-2"/><entry><observation><code code="DE1"/><value xsi:type="PQ" value="5.0" unit="g"/></observation></entry>
<entry><observation><code code="DE2"/></observation></entry></section></component></structuredBody></component></ClinicalDocument>"""
SOAP = """<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><order xmlns="urn:order" id="7"/><note>n</note>
</e:Body></e:Envelope>"""
HL7 = "MSH|^~\\&|||||20260115||ADT^A04|M9\rPID||8|1101^^^^IDCARD||张^三||19491231||||||138~139\r"
INTERACTION = f"""<PRPA_IN201311UV02 {V3}><id extension="1" displayable="true"/><sender><device><id>
<item root="2.16.156.10011.2.5.1.3" extension="HIS"/></id></device></sender></PRPA_IN201311UV02>"""
RESULTS: list[tuple[Codec, str, Any]] = [
    (
        CdaCodec(),
        CDA,
        {
            "id": "D1",
            "title": "检验报告",
            "patient": "M1",
            "idCard": "11010519491231002X",
            "birthDate": "1949-12-31",
            "results": [{"code": "DE1", "type": "PQ", "value": "5.0", "unit": "g"}],
        },
    ),
    (XmlCodec(), SOAP, {"id": "7", "any": "n"}),
    (
        Hl7Codec(),
        HL7,
        f'<PRPA_IN201311UV02 {V3} ITSVersion="XML_1.0"><id root="2.16.156.10011.2.5.1.1" extension="M9"/>'
        '<creationTime value="20260115"/><controlActProcess><subject><registrationRequest><subject1><patient>'
        '<id><item root="2.16.156.10011.2.5.1.4" extension="8"/></id><patientPerson>'
        '<id><item root="2.16.156.10011.1.3" extension="1101"/></id><name><item><part value="张三"/></item></name>'
        '<telecom><item value="138"/><item value="139"/></telecom><birthTime value="19491231"/></patientPerson></patient>'
        "</subject1></registrationRequest></subject></controlActProcess></PRPA_IN201311UV02>",
    ),
    (
        Hl7v3Codec(),
        INTERACTION,
        INTERACTION.replace(' displayable="true"', "").replace('"HIS"', '"HUB"'),
    ),
]


def test_every_example_has_its_result() -> None:
    assert len(EXAMPLES) == len(RESULTS)


@pytest.mark.parametrize("number", range(len(RESULTS)))
def test_examples(folder: Folder, number: int) -> None:
    codec, raw, expected = RESULTS[number]
    folder.write("m.yaml", EXAMPLES[number])
    assert folder.library().problems() == []
    (result,) = folder.library().get("m").run(codec.decode(raw.encode()), Context())
    if isinstance(expected, str):
        text = XmlCodec().encode(result).decode()
        assert text.removeprefix('<?xml version="1.0" encoding="UTF-8"?>\n') == expected
    else:
        assert result == expected


def test_limits() -> None:
    assert f"| document | {MAX_BYTES >> 20} MB, {MAX_MARKUP:,} tags, {MAX_MARKUP:,} attributes |" in TEXT
    assert f"| attributes and declarations of one element | {MAX_ATTRIBUTES:,} |" in TEXT
