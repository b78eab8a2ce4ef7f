"""Receiving over SOAP: what becomes the message, what is answered, what is refused and how."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from adapters.http.receiver import HttpReceiver
from adapters.http.server import ServerPool
from adapters.soap.call import Call, CallReader
from adapters.soap.fault import FaultRefusal
from adapters.soap.mtom import new_boundary, package, package_type, unpack
from adapters.soap.names import Version
from adapters.soap.options import SoapListen
from adapters.soap.text import as_cdata, as_text
from hub.api import CodecError, HubError, Receipt, StoreBusy, TransientError
from hub.i18n import language, set_language
from hub.ids import id_text
from hub.message import Outcome
from tests.adapters import http_support
from tests.adapters.http_support import DEADLINE, OPEN, Answer, MemoryIntake, call, on_both_loops, raw_call, until
from tests.adapters.soap_support import HIP, KINDS, V11, V12, envelope, fault_of, hip_call, listening, post, result_of
from tests.adapters.test_soap_text import XML_TEXT

MESSAGE = '<PRPA_IN201311UV02 xmlns="urn:hl7-org:v3"><id extension="R1"/>张三</PRPA_IN201311UV02>'


@pytest.fixture(autouse=True)
def english() -> Any:
    before = language()
    set_language("en")
    yield
    set_language(before)


@pytest.fixture
def intake() -> MemoryIntake:
    return MemoryIntake()


def read(data: bytes, kind: str = KINDS[V11], action: str = "", **options: Any) -> Call:
    """A call read without a server."""
    found = Call(Version.V11)
    given = SoapListen.model_validate({"path": "/hip", "auth": OPEN, **HIP, **options})
    CallReader(given, 1 << 20).read(found, data, kind, action)
    return found


def refused(data: bytes, kind: str = KINDS[V11], action: str = "", **options: Any) -> FaultRefusal:
    with pytest.raises(FaultRefusal) as caught:
        read(data, kind, action, **options)
    return caught.value


# -- what becomes the message ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [V11, V12])
@pytest.mark.parametrize(
    "content",
    [
        as_text(MESSAGE),
        as_cdata(MESSAGE),
        f"\n   {as_cdata(MESSAGE)}\n  ",
        as_text(f"<![CDATA[{MESSAGE}]]>"),  # wrapped twice
        MESSAGE,  # as elements
        f"<!-- c -->{as_text(MESSAGE)}",
    ],
)
def test_a_payload_is_found_in_every_form(space: str, content: str) -> None:
    found = read(hip_call(content, space=space), KINDS[space])
    assert etree.tostring(etree.fromstring(found.message), method="c14n") == etree.tostring(
        etree.fromstring(MESSAGE), method="c14n"
    )
    assert (found.version.value, found.operation, found.space) == (space, "HIPMessageServer", "urn:hl7-org:v3")
    assert found.variables == {"action": "PatientInfoRegister", "operation": "HIPMessageServer"}


@pytest.mark.parametrize(
    ("body", "options"),
    [
        # qualified and unqualified parameters, and the namespaces vendors use
        ('<u:HIPMessageServer xmlns:u="urn:hl7-org:v3"><u:action>A</u:action><u:message>M</u:message></u:HIPMessageServer>', {}),
        ('<u:HIPMessageServer xmlns:u="http://esb.ewell.cc"><action>A</action><message>M</message></u:HIPMessageServer>', {}),
        ("<HIPMessageServer><action>A</action><message>M</message></HIPMessageServer>", {}),
        # other names of the parameters, by name and by position
        (
            '<u:HIPMessageServer xmlns:u="http://www.dhcc.com.cn"><u:input1>A</u:input1><u:input2>M</u:input2></u:HIPMessageServer>',
            {"payload": "parameter input2", "variables": ["input1"]},
        ),
        (
            '<u:HIPMessageServer xmlns:u="urn:hl7-org:v3"><arg0>A</arg0><arg1>M</arg1></u:HIPMessageServer>',
            {"payload": "parameter 2"},
        ),
        # one argument
        ('<u:HIPMessageServer xmlns:u="urn:x"><entityBody>M</entityBody></u:HIPMessageServer>', {"payload": "parameter -1"}),
        # more than two
        (
            "<HIPMessageServer2016Ext><action>A</action><message>M</message><token>t0ken</token></HIPMessageServer2016Ext>",
            {"operations": ["HIPMessageServer2016Ext"], "credentials": {"token": "t0ken"}},
        ),
        # rpc/encoded as Axis 1 writes it: types, and references to elements beside
        (
            '<n:HIPMessageServer xmlns:n="urn:x" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="x" '
            f'xmlns:e="{V11}" e:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">'
            '<action xsi:type="xsd:string">A</action><message href="#id0"/></n:HIPMessageServer>'
            '<multiRef id="id0" xsi:type="xsd:string" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">M</multiRef>',
            {},
        ),
    ],
)  # fmt: skip
def test_the_conventions_of_vendors_are_understood(body: str, options: dict[str, Any]) -> None:
    assert read(envelope(body), **options).message == b"M"


def test_the_body_or_the_whole_envelope_can_be_the_message() -> None:
    data = envelope('<a:register xmlns:a="urn:a"><b/></a:register>', "<h/>")
    body = read(data, payload="body", operations=[]).message
    assert etree.fromstring(body).tag == "{urn:a}register"
    assert read(data, payload="envelope", operations=[]).message == data


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(XML_TEXT.filter(lambda text: not text.strip().startswith("<")), st.sampled_from([as_text, as_cdata]))
def test_any_text_arrives_whole(text: str, form: Any) -> None:
    assert read(hip_call(form(text))).message == text.encode()


def test_blanks_around_a_document_are_not_part_of_it() -> None:
    assert read(hip_call("\n  &lt;a/&gt;\n")).message == b"<a/>"
    assert read(hip_call(" plain ")).message == b" plain "


def test_the_character_set_is_that_of_the_transport_or_the_declaration() -> None:
    text = hip_call(as_text(MESSAGE)).decode()
    declared = f'<?xml version="1.0" encoding="GBK"?>{text}'.encode("gbk")
    assert read(declared, "text/xml").message == MESSAGE.encode()
    assert read(text.encode("gbk"), "text/xml; charset=gbk").message == MESSAGE.encode()


def test_what_is_known_to_expressions_is_masked_and_short() -> None:
    found = read(hip_call("M", action="13812345678 " + "x" * 500), action="urn:a")
    assert "13812345678" not in found.variables["action"]
    assert len(found.variables["action"]) <= 200
    assert found.variables["soap_action"] == "urn:a"


# -- refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "options", "code"),
    [
        (b"", {}, "xml.empty"),
        (b"not xml", {}, "xml.empty"),
        (b"<a", {}, "xml.invalid"),
        (b"<a/>", {}, "soap.envelope"),
        (b'<Envelope xmlns="urn:x"/>', {}, "soap.version"),
        (envelope("").replace(b"s:Body", b"s:Bodi"), {}, "soap.envelope"),
        (f'<s:Envelope xmlns:s="{V11}"><s:Body/><s:Body/></s:Envelope>'.encode(), {}, "soap.envelope"),
        (f'<s:Envelope xmlns:s="{V12}"><s:Body/><x/></s:Envelope>'.encode(), {}, "soap.envelope"),
        (envelope(""), {}, "soap.empty"),
        (hip_call("M"), {"operations": ["Other"]}, "soap.operation"),
        (hip_call("M"), {"namespaces": [], "namespace": "urn:x"}, "soap.namespace"),
        (hip_call("M"), {"payload": "parameter input2"}, "soap.parameter"),
        (hip_call("M"), {"payload": "parameter 3"}, "soap.parameter"),
        (hip_call("M"), {"versions": ["1.2"]}, "soap.version"),
        (hip_call("M"), {"soap_actions": ["urn:a"]}, "soap.action"),
        (hip_call("M"), {"credentials": {"token": "t"}}, "soap.credential"),
        (hip_call("M"), {"binary": True}, "soap.base64"),
        (envelope('<HIPMessageServer><message href="#x"/></HIPMessageServer>'), {}, "soap.reference"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]>' + hip_call("&a;"), {}, "xml.doctype"),
        (b'<?xml version="1.0"?><!DOCTYPE x SYSTEM "file:///etc/passwd">' + hip_call("M"), {}, "xml.doctype"),
        (envelope("<a>" * 300 + "</a>" * 300), {}, "xml.depth"),
        (envelope("<a " + " ".join(f'b{n}="1"' for n in range(2000)) + "/>"), {}, "xml.attributes"),
        (hip_call("M" * (11 << 20)), {}, "xml.size"),
    ],
)
def test_what_is_no_call_of_this_service_is_refused(data: bytes, options: dict[str, Any], code: str) -> None:
    assert refused(data, **options).code == code


def test_an_action_is_taken_from_header_content_type_or_addressing() -> None:
    one = {"soap_actions": ["urn:a"]}
    assert read(hip_call("M"), action="urn:a", **one).message == b"M"
    assert read(hip_call("M", space=V12), 'application/soap+xml; charset=utf-8; action="urn:a"', **one).message == b"M"
    action = '<w:Action xmlns:w="http://www.w3.org/2005/08/addressing">urn:a</w:Action>'
    assert read(hip_call("M", header=action), **one).message == b"M"
    assert refused(hip_call("M"), action="urn:b", **one).fault == "ActionNotSupported"


@settings(max_examples=150)
@given(
    st.binary(max_size=300), st.sampled_from(["text/xml", 'multipart/related; boundary="b"', "application/soap+xml"])
)
def test_no_bytes_get_out_anything_but_a_fault(data: bytes, kind: str) -> None:
    with pytest.raises(FaultRefusal):
        read(data, kind)


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_call_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(hip_call(as_cdata(MESSAGE), header="<h/>"))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(FaultRefusal):
        read(bytes(whole))


# -- headers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [V11, V12])
async def test_headers_that_must_be_understood_are_refused(intake: MemoryIntake, space: str) -> None:
    header = '<t:tx xmlns:t="urn:t" s:mustUnderstand="1"/>'
    async with listening(intake, **HIP) as receiver:
        answer = await post(receiver, hip_call("M", space=space, header=header), KINDS[space])
    assert answer.status == 500
    assert fault_of(answer)[0::2] == ("MustUnderstand", "soap.must_understand")
    root = etree.fromstring(answer.body)
    named = root.find("{*}Header/{*}NotUnderstood")
    if space == V12:
        assert named is not None
        assert (named.get("qname"), named.nsmap["n"]) == ("n:tx", "urn:t")
    else:
        assert named is None
    assert not intake.taken


@pytest.mark.parametrize(
    "header",
    [
        '<t:tx xmlns:t="urn:t" s:mustUnderstand="0"/>',
        '<t:tx xmlns:t="urn:t"/>',
        '<t:tx xmlns:t="urn:t" s:mustUnderstand="1" s:actor="urn:somebody-else"/>',
        '<t:ok xmlns:t="urn:t" s:mustUnderstand="1"/>',
        '<w:Action xmlns:w="http://www.w3.org/2005/08/addressing" s:mustUnderstand="1">urn:a</w:Action>',
    ],
)
def test_headers_that_are_not_ours_or_not_insisted_on_pass(header: str) -> None:
    assert read(hip_call("M", header=header), understands=["{urn:t}ok"]).message == b"M"


@pytest.mark.parametrize(
    "space", ["http://www.w3.org/2005/08/addressing", "http://schemas.xmlsoap.org/ws/2004/08/addressing"]
)
async def test_addressing_is_echoed(intake: MemoryIntake, space: str) -> None:
    header = (
        f'<w:MessageID xmlns:w="{space}">urn:uuid:1</w:MessageID><w:Action xmlns:w="{space}">urn:a</w:Action>'
        f'<w:ReplyTo xmlns:w="{space}"><w:Address>{space}/{"role/" if "2004" in space else ""}anonymous</w:Address></w:ReplyTo>'
    )
    async with listening(intake, **HIP) as receiver:
        good = await post(receiver, hip_call("M", header=header))
        bad = await post(receiver, hip_call("M", header=header.replace(f"{space}/", "http://elsewhere/")))
    head = etree.fromstring(good.body).find("{*}Header")
    assert head is not None
    assert head.findtext(f"{{{space}}}RelatesTo") == "urn:uuid:1"
    assert head.findtext(f"{{{space}}}Action") == "urn:aResponse"
    assert (head.findtext(f"{{{space}}}MessageID") or "").startswith("urn:uuid:")
    assert intake.taken[0].control_id == "urn:uuid:1"
    assert fault_of(bad)[0::2] == ("InvalidAddressingHeader", "soap.reply_to")
    assert len(intake.taken) == 1


# -- answers, event style ----------------------------------------------------------------------------------------------


@on_both_loops
async def test_without_a_template_the_answer_is_an_empty_response(intake: MemoryIntake) -> None:
    async with listening(intake, **HIP) as receiver:
        old = await post(receiver, hip_call("M"), SOAPAction='"urn:hip"')
        new = await post(receiver, hip_call("M", space=V12), KINDS[V12])
    assert (old.status, old.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    assert old.body == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">'
        b'<soap:Body><m:HIPMessageServerResponse xmlns:m="urn:hl7-org:v3"></m:HIPMessageServerResponse></soap:Body></soap:Envelope>'
    )
    assert (new.status, new.headers["content-type"]) == (200, "application/soap+xml; charset=utf-8")
    assert new.body == old.body.replace(V11.encode(), V12.encode())
    assert [taken.params["operation"] for taken in intake.taken] == ["HIPMessageServer"] * 2
    assert intake.taken[0].params["soap_action"] == "urn:hip"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, '<m:HIPMessageServerResponse xmlns:m="urn:hl7-org:v3"><HIPMessageServerResult>&lt;r c="0"/&gt;</HIPMessageServerResult></m:HIPMessageServerResponse>'),
        ({"result_form": "cdata"}, '<m:HIPMessageServerResponse xmlns:m="urn:hl7-org:v3"><HIPMessageServerResult><![CDATA[<r c="0"/>]]></HIPMessageServerResult></m:HIPMessageServerResponse>'),
        ({"result_form": "xml"}, '<m:HIPMessageServerResponse xmlns:m="urn:hl7-org:v3"><HIPMessageServerResult><r c="0"/></HIPMessageServerResult></m:HIPMessageServerResponse>'),
        ({"result": "output"}, '<m:HIPMessageServerResponse xmlns:m="urn:hl7-org:v3"><output>&lt;r c="0"/&gt;</output></m:HIPMessageServerResponse>'),
        ({"response": "reply", "result": "return"}, '<m:reply xmlns:m="urn:hl7-org:v3"><return>&lt;r c="0"/&gt;</return></m:reply>'),
    ],
)  # fmt: skip
async def test_the_form_of_an_answer_is_a_matter_of_options(
    intake: MemoryIntake, options: dict[str, Any], expected: str
) -> None:
    async with listening(intake, accepted='<r c="0"/>', **HIP, **options) as receiver:
        answer = await post(receiver, hip_call("M"))
    assert f"<soap:Body>{expected}</soap:Body>".encode() in answer.body


async def test_an_answer_speaks_as_the_request_did(intake: MemoryIntake) -> None:
    qualified = '<u:HIPMessageServer xmlns:u="http://esb.ewell.cc"><u:action>A</u:action><u:message>M</u:message></u:HIPMessageServer>'
    plain = "<HIPMessageServer><action>A</action><message>M</message></HIPMessageServer>"
    encoded = (
        '<n:HIPMessageServer xmlns:n="urn:x" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">'
        '<action xsi:type="x:string" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">A</action><message>M</message></n:HIPMessageServer>'
    )
    async with listening(intake, accepted="ok", **HIP) as receiver:
        answers = [(await post(receiver, envelope(body))).body.decode() for body in (qualified, plain, encoded)]
    assert (
        '<m:HIPMessageServerResponse xmlns:m="http://esb.ewell.cc"><m:HIPMessageServerResult>ok</m:HIPMessageServerResult>'
        in answers[0]
    )
    assert (
        "<HIPMessageServerResponse><HIPMessageServerResult>ok</HIPMessageServerResult></HIPMessageServerResponse>"
        in answers[1]
    )
    assert 'soap:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"' in answers[2]
    assert 'xsi:type="xsd:string">ok<' in answers[2]


async def test_acknowledgements_of_the_platforms(intake: MemoryIntake) -> None:
    error = HubError("no such patient", code="route.none", remedy="register it first")
    finding = {
        "rule": "r1",
        "place": "/id",
        "severity": "error",
        "kind": "missing",
        "text": "id is missing",
        "advice": "",
    }
    async with listening(intake, accepted="mcci", refused="mcci", **HIP) as receiver:
        good = await post(receiver, hip_call(as_text(MESSAGE)))
        intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=error, findings=[finding])
        bad = await post(receiver, hip_call(as_text(MESSAGE)))
        intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=StoreBusy("full"))
        busy = await post(receiver, hip_call(as_text(MESSAGE)))
    for answer, code, text in ((good, "AA", "accepted"), (bad, "AE", "no such patient; id is missing")):
        root = etree.fromstring(result_of(answer))
        assert answer.status == 200
        assert root.tag == "{urn:hl7-org:v3}MCCI_IN000002UV01"
        assert root.find("{*}acknowledgement").get("typeCode") == code  # type: ignore[union-attr]
        assert root.find("{*}acknowledgement/{*}targetMessage/{*}id").get("extension") == "R1"  # type: ignore[union-attr]
        assert root.find(".//{*}text").get("value") == text  # type: ignore[union-attr]
    # "Not now" is never an acknowledgement: the caller has to come again.
    assert (busy.status, busy.headers["retry-after"]) == (503, "5")
    assert fault_of(busy)[0] == "Server"


async def test_templates_of_vendors(intake: MemoryIntake) -> None:
    accepted = "<Response><Body><ResultCode>0</ResultCode><ResultContent>{text}</ResultContent></Body></Response>"
    refusal = (
        "<Response><Body><ResultCode>-1</ResultCode><ResultContent>{code} {text}</ResultContent></Body></Response>"
    )
    async with listening(intake, accepted=accepted, refused=refusal, **HIP) as receiver:
        good = await post(receiver, hip_call("M"))
        intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=CodecError("a < b", code="codec.x"))
        bad = await post(receiver, hip_call("M"))
    assert result_of(good) == accepted.format(text="accepted")
    assert result_of(bad) == refusal.format(code="codec.x", text="a &lt; b")


async def test_a_bare_service_answers_in_the_body(intake: MemoryIntake) -> None:
    request = envelope('<doc xmlns="urn:d"><id>1</id></doc>')
    async with listening(intake, style="bare", accepted="<ack id='{message_id}'/>") as receiver:
        answer = await post(receiver, request)
    assert etree.fromstring(intake.taken[0].raw).tag == "{urn:d}doc"
    assert f"<soap:Body><ack id='{id_text(1)}'/></soap:Body>".encode() in answer.body
    async with listening(intake, style="bare") as receiver:
        answer = await post(receiver, request)
    assert b"<soap:Body></soap:Body>" in answer.body


# -- answers, request style --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "encoding"),
    [
        (MESSAGE.encode(), ""),
        (f'<?xml version="1.0" encoding="GBK"?>{MESSAGE}'.encode("gbk"), ""),
        (b"MSH|^~\\&|A\rPID|1\r", ""),
    ],
)
async def test_a_reply_is_wrapped(intake: MemoryIntake, reply: bytes, encoding: str) -> None:
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=reply)
    async with listening(intake, **HIP) as receiver:
        answer = await post(receiver, hip_call("M"))
    assert answer.status == 200
    text = reply.decode("gbk" if b"GBK" in reply else "utf-8")
    assert result_of(answer) == text


async def test_a_reply_to_the_body_is_a_body(intake: MemoryIntake) -> None:
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=b'<?xml version="1.0"?><b:answer xmlns:b="urn:b"/>')
    async with listening(intake) as receiver:
        answer = await post(receiver, envelope("<q/>"))
    assert b'<soap:Body><b:answer xmlns:b="urn:b"/></soap:Body>' in answer.body
    whole = envelope("<a/>", "<h/>", V12)
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=whole)
    async with listening(intake, payload="envelope") as receiver:
        answer = await post(receiver, envelope("<q/>", space=V12), KINDS[V12])
    assert answer.body == whole


@pytest.mark.parametrize(
    ("error", "status11", "status12", "kind"),
    [
        (CodecError("not XML", place="line 1", code="xml.invalid", remedy="send XML"), 500, 400, "client"),
        (HubError("no route", code="route.none"), 500, 400, "client"),
        (TransientError("the target did not answer", code="http.timeout"), 500, 500, "server"),
        (HubError("the target refused", code="request.failed"), 500, 500, "server"),
        (HubError("still under way", code="request.pending"), 500, 500, "server"),
        (StoreBusy("the store is full"), 503, 503, "server"),
        (None, 500, 400, "client"),
    ],
)
async def test_what_is_not_accepted_is_a_fault(
    intake: MemoryIntake, error: HubError | None, status11: int, status12: int, kind: str
) -> None:
    finding = {"rule": "r1", "place": "/a/b", "severity": "error", "kind": "missing", "text": "b < c", "advice": ""}
    intake.verdict = lambda raw: Receipt(Outcome.REFUSED, 7, error=error, findings=[finding])
    async with listening(intake, **HIP) as receiver:
        old = await post(receiver, hip_call("M"))
        new = await post(receiver, hip_call("M", space=V12), KINDS[V12])
    assert (old.status, new.status) == (status11, status12)
    code = error.code if error is not None else "intake.refused"
    assert fault_of(old)[0::2] == ({"client": "Client", "server": "Server"}[kind], code)
    assert fault_of(new)[0::2] == ({"client": "Sender", "server": "Receiver"}[kind], code)
    assert fault_of(old)[1] == (error.text if error is not None else "the message was refused")
    detail = etree.fromstring(new.body).find(".//{urn:tongqu:problem}finding")
    assert detail is not None
    assert (detail.text, detail.get("place"), detail.get("rule")) == ("b < c", "/a/b", "r1")
    assert etree.fromstring(old.body).findtext(".//{urn:tongqu:problem}messageId") == id_text(7)


async def test_a_reply_that_is_no_xml_where_xml_is_needed_is_a_fault(intake: MemoryIntake) -> None:
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=b"\x00\x01")
    async with listening(intake, **HIP) as receiver:
        answer = await post(receiver, hip_call("M"))
    assert fault_of(answer)[0::2] == ("Server", "xml.character")
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=b"<a>")
    async with listening(intake, result_form="xml", **HIP) as receiver:
        answer = await post(receiver, hip_call("M"))
    assert answer.status == 500
    assert fault_of(answer)[2].startswith("xml.")


# -- transport ---------------------------------------------------------------------------------------------------------


async def test_a_fault_is_told_in_the_language_of_the_caller(intake: MemoryIntake) -> None:
    async with listening(intake, **HIP) as receiver:
        english = await post(receiver, b"<a/>")
        chinese = await post(receiver, b"<a/>", KINDS[V12], Accept_Language="zh-CN")
    assert (english.status, fault_of(english)) == (
        500,
        ("Client", "the document is not a SOAP envelope", "soap.envelope"),
    )
    assert (chinese.status, fault_of(chinese)) == (400, ("Sender", "该文档不是 SOAP 信封", "soap.envelope"))
    assert b'xml:lang="zh"' in chinese.body
    [(place, raw, error), _] = intake.refused
    assert (place, raw, error.code) == ("platform/hip", b"<a/>", "soap.envelope")


async def test_authentication_addresses_limits_and_backpressure_are_those_of_http(intake: MemoryIntake) -> None:
    auth = {"type": "basic", "user": "his", "secret": "s3cret"}
    right = "Basic " + base64.b64encode(b"his:s3cret").decode()
    async with listening(intake, auth=auth, max_size=2000, **HIP) as receiver:
        nobody = await post(receiver, hip_call("M"))
        good = await post(receiver, hip_call("M"), Authorization=right)
        large = await post(receiver, hip_call("M" * 2000), Authorization=right)
        kind = await post(receiver, hip_call("M"), "application/json", Authorization=right)
        intake.is_ready = False
        busy = await post(receiver, hip_call("M"), Authorization=right)
    assert (nobody.status, nobody.headers["www-authenticate"][:5]) == (401, "Basic")
    assert fault_of(nobody)[0::2] == ("Client", "http.auth_missing")
    assert (good.status, large.status, kind.status) == (200, 413, 415)
    assert fault_of(large)[2] == "http.too_large"
    assert (busy.status, busy.headers["retry-after"], fault_of(busy)[0]) == (503, "5", "Server")
    async with listening(intake, allow=["10.9.8.7"], **HIP) as receiver:
        intake.is_ready = True
        stranger = await post(receiver, hip_call("M"))
    assert (stranger.status, fault_of(stranger)[2]) == (403, "http.address")


async def test_a_secret_in_a_refused_call_is_not_kept(intake: MemoryIntake) -> None:
    async with listening(intake, credentials={"token": "t"}, **HIP) as receiver:
        await post(receiver, hip_call("M"))
    assert intake.refused[0][1] == b""


async def test_a_port_is_shared_with_http_interfaces(intake: MemoryIntake) -> None:
    pool = ServerPool()
    plain = HttpReceiver(http_support.bound_in(path="/json", port=0), intake, pool)
    await plain.start()
    try:
        async with listening(intake, servers=pool, **HIP) as receiver:
            assert receiver.status()["port"] == plain.status()["port"]
            answer = await call(plain, b"{}", path="/json")
            soap = await post(receiver, hip_call("M"))
        again = await call(plain, b"{}", path="/json")
    finally:
        await plain.stop(1.0)
    assert (answer.status, soap.status, again.status) == (202, 200, 202)
    assert [taken.place for taken in intake.taken] == ["his/in", "platform/hip", "his/in"]


async def test_a_large_call_is_read_beside_the_loop(intake: MemoryIntake) -> None:
    text = "<a>" + "张三" * 100_000 + "</a>"
    async with listening(intake, **HIP) as receiver:
        answer = await post(receiver, hip_call(as_cdata(text)))
    assert (answer.status, intake.taken[0].raw) == (200, text.encode())


async def test_stopping_lets_a_call_finish(intake: MemoryIntake) -> None:
    intake.at_once = False
    async with listening(intake, **HIP) as receiver:
        calling = asyncio.ensure_future(post(receiver, hip_call("M")))
        await until(lambda: intake.waiting)
        stopping = asyncio.ensure_future(receiver.stop(DEADLINE))
        await asyncio.sleep(0)
        intake.finish()
        answer = await calling
        await stopping
    assert answer.status == 200


# -- MTOM --------------------------------------------------------------------------------------------------------------


def multipart(envelope: bytes, *parts: tuple[str, bytes], boundary: str = "b1", newline: str = "\r\n") -> bytes:
    pieces = [("root@x", "application/xop+xml; charset=UTF-8; type=text/xml", envelope)]
    pieces += [(name, "application/octet-stream", data) for name, data in parts]
    whole = b""
    for name, kind, data in pieces:
        head = f"--{boundary}\nContent-Type: {kind}\nContent-Transfer-Encoding: binary\nContent-ID: <{name}>\n\n"
        whole += head.replace("\n", newline).encode() + data + newline.encode()
    return whole + f"--{boundary}--{newline}".encode()


MTOM = 'multipart/related; type="application/xop+xml"; start="<root@x>"; start-info="text/xml"; boundary="b1"'
INCLUDE = '<x:Include xmlns:x="http://www.w3.org/2004/08/xop/include" href="cid:att%40x"/>'
BINARY = bytes(range(256)) + b"\r\n--b2\r\n"


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_an_attachment_is_the_message_or_stands_in_it(newline: str) -> None:
    data = multipart(hip_call(INCLUDE), ("att@x", BINARY), newline=newline)
    found = read(data, MTOM, binary=True)
    assert (found.message, found.attached) == (BINARY, True)
    body = read(data, MTOM, payload="body").message
    assert base64.b64decode(etree.fromstring(body).findtext(".//message") or "") == BINARY
    whole = read(data, MTOM, payload="envelope").message
    assert base64.b64decode(etree.fromstring(whole).findtext(".//message") or "") == BINARY
    assert read(hip_call(base64.b64encode(BINARY).decode()), binary=True).message == BINARY


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (multipart(hip_call(INCLUDE)), "soap.attachment"),
        (multipart(hip_call(INCLUDE.replace("cid:", "file:///etc/")), ("att@x", b"")), "soap.attachment"),
        (multipart(hip_call(INCLUDE), ("att@x", b""), ("att@x", b"")), "soap.multipart"),
        (multipart(hip_call("M"))[:-6], "soap.multipart"),
        (multipart(hip_call("M"), boundary="b2"), "soap.multipart"),
        (b"--b1\r\nX: y\r\n--b1--", "soap.multipart"),
        (multipart(b"").replace(b"root@x", b"else@x"), "soap.multipart"),
        (multipart(hip_call("M")).replace(b"binary", b"base64"), "soap.multipart"),
        (multipart(hip_call("M"), *[(f"a{n}", b"") for n in range(1100)]), "soap.multipart"),
        # one attachment named again and again: a small message that would become a large one
        (
            multipart(
                envelope("<HIPMessageServer>" + f"<message>{INCLUDE}</message>" * 40 + "</HIPMessageServer>"),
                ("att@x", bytes(100_000)),
            ),
            "soap.attachments",
        ),
    ],
)
def test_broken_attachments_are_refused(data: bytes, code: str) -> None:
    assert refused(data, MTOM, payload="body").code == code


def test_nobody_can_write_a_boundary_into_a_message() -> None:
    first, second = new_boundary(), new_boundary()
    assert first != second
    with pytest.raises(CodecError):
        package(Version.V11, b"<e/>", f"a\r\n--{first}--".encode(), first)
    assert unpack(package_type(Version.V11, first), package(Version.V11, b"<e/>", second.encode(), first))[0] == b"<e/>"


async def test_a_binary_reply_goes_back_as_it_was_asked_for(intake: MemoryIntake) -> None:
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=BINARY)
    async with listening(intake, binary=True, **HIP) as receiver:
        inline = await post(receiver, hip_call(base64.b64encode(b"q").decode()))
        attached = await post(receiver, multipart(hip_call(INCLUDE), ("att@x", b"q")), MTOM)
    assert base64.b64decode(result_of(inline)) == BINARY
    assert attached.headers["content-type"].startswith(
        'multipart/related; type="application/xop+xml"; start="<envelope@tongqu>"'
    )
    assert BINARY in attached.body
    assert (
        b'<HIPMessageServerResult><xop:Include xmlns:xop="http://www.w3.org/2004/08/xop/include" href="cid:content@tongqu"/>'
        in attached.body
    )


# -- WSDL --------------------------------------------------------------------------------------------------------------


async def get(receiver: Any, path: str) -> Answer:
    return await call(receiver, b"", method="GET", path=path)


async def test_the_wsdl_is_generated_from_the_options(intake: MemoryIntake) -> None:
    async with listening(intake, soap_actions=["urn:hip"], **HIP) as receiver:
        answer = await get(receiver, "/hip?WSDL")
        nothing = await get(receiver, "/hip")
        port = receiver.status()["port"]
    assert (answer.status, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    root = etree.fromstring(answer.body)
    assert root.get("targetNamespace") == "urn:hl7-org:v3"
    assert [e.get("location") for e in root.iter("{*}address")] == ["http://hub/hip", "http://hub/hip"]
    assert [e.get("name") for e in root.findall(".//{*}complexType/{*}sequence/{*}element")] == [
        "action", "message", "HIPMessageServerResult",
    ]  # fmt: skip
    assert {e.get("soapAction") for e in root.iter("{*}operation") if e.get("soapAction")} == {"urn:hip"}
    assert (nothing.status, fault_of(nothing)[2]) == (404, "soap.get")
    assert port


async def test_a_wsdl_file_is_served_with_what_it_imports(intake: MemoryIntake, tmp_path: Any) -> None:
    (tmp_path / "types").mkdir()
    (tmp_path / "hip.wsdl").write_text(
        '<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/" '
        'xmlns:x="http://www.w3.org/2001/XMLSchema"><wsdl:types><x:schema><x:import namespace="urn:a" '
        'schemaLocation="types/a.xsd"/><x:import namespace="urn:w" schemaLocation="http://www.w3.org/x.xsd"/></x:schema></wsdl:types>'
        '<wsdl:service name="S"><wsdl:port name="P" binding="B"><s:address location="http://old/"/></wsdl:port></wsdl:service>'
        "</wsdl:definitions>"
    )
    schema = '<x:schema xmlns:x="http://www.w3.org/2001/XMLSchema"><x:include schemaLocation="b.xsd"/></x:schema>'
    (tmp_path / "types/a.xsd").write_text(schema)
    (tmp_path / "types/b.xsd").write_text('<x:schema xmlns:x="http://www.w3.org/2001/XMLSchema"/>')
    (tmp_path / "secret.xsd").write_text("<secret/>")
    async with listening(intake, wsdl=str(tmp_path / "hip.wsdl"), address="https://hub.example/hip", **HIP) as receiver:
        main = await get(receiver, "/hip?wsdl")
        link = etree.fromstring(main.body).find(".//{*}import")
        assert link is not None
        first = await get(receiver, "/hip?" + (link.get("schemaLocation") or "").partition("?")[2])
        second = etree.fromstring(first.body).find("{*}include")
        assert second is not None
        last = await get(receiver, "/hip?" + (second.get("schemaLocation") or "").partition("?")[2])
        others = [
            await get(receiver, f"/hip?xsd={name}") for name in ("secret.xsd", "../etc/passwd", "types/../secret.xsd")
        ]
    assert b'location="https://hub.example/hip"' in main.body
    assert b'schemaLocation="http://www.w3.org/x.xsd"' in main.body
    assert link.get("schemaLocation") == "https://hub.example/hip?xsd=types/a.xsd"
    assert last.status == 200
    assert [answer.status for answer in others] == [404, 404, 404]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "<a",
        '<d:definitions xmlns:d="http://schemas.xmlsoap.org/wsdl/"><d:import location="../x.wsdl"/></d:definitions>',
    ],
)
async def test_a_wsdl_file_that_cant_be_served_stops_the_start(
    intake: MemoryIntake, tmp_path: Any, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "hip.wsdl").write_text(text)
    with pytest.raises(HubError) as caught:
        async with listening(intake, wsdl=str(tmp_path / "hip.wsdl"), **HIP):
            pass
    assert caught.value.code == "soap.wsdl"
    assert re.search(r"hip\.wsdl|x\.wsdl", caught.value.text)


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"path": "/hip/{id}"},
        {"payload": "header"},
        {"payload": "parameter"},
        {"payload": "parameter 0"},
        {"payload": "parameter a b"},
        {"binary": True},
        {"credentials": {"action": "x"}},
        {"understands": ["tx"]},
        {"operations": ["a:b"]},
        {"response": "{action}Response"},
        {"namespace": 'urn:"'},
        {"accepted": "done"},
        {"accepted": "<a>", "result_form": "xml", "payload": "parameter a"},
        {"methods": ["PUT"]},
        {"host": "0.0.0.0"},
        {"log_headers": ["Authorization"]},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        SoapListen.model_validate({"path": "/hip", "auth": OPEN, **options})


async def test_an_address_that_is_no_text_does_not_get_into_the_wsdl(intake: MemoryIntake) -> None:
    async with listening(intake, **HIP) as receiver:
        port = receiver.status()["port"]
        answer = await raw_call(port, b"GET /hip?wsdl HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n")
    if answer.status == 200:
        assert f"http://127.0.0.1:{port}/hip".encode() in answer.body
    else:
        assert answer.status == 400
