"""Sending over SOAP: what goes over the wire, and what the answers mean."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from lxml import etree

from adapters.soap.names import Version
from adapters.soap.options import SoapConnect
from adapters.soap.reply import ReplyReader
from adapters.soap.request import RequestWriter
from hub.api import HubError, PermanentError, Receipt, Reply, TransientError, UnreachableError
from hub.i18n import language, set_language
from hub.message import Outcome
from tests.adapters.certificates import Authority
from tests.adapters.http_support import Json, MemoryIntake, Peer, outgoing, scripted
from tests.adapters.soap_support import HIP, V11, V12, calling, envelope, listening
from tests.adapters.test_soap_receiver import BINARY, multipart
from tests.adapters.test_soap_text import XML_TEXT

CALL: dict[str, Any] = {
    "operation": "HIPMessageServer",
    "namespace": "urn:hl7-org:v3",
    "parameters": {"action": "{action}", "message": "{body}"},
}


@pytest.fixture(autouse=True)
def english() -> Any:
    before = language()
    set_language("en")
    yield
    set_language(before)


Script = Callable[[Peer], Awaitable[None]]


def answering(body: bytes, status: str = "200 OK", seen: list[Any] | None = None) -> AbstractAsyncContextManager[int]:
    """A service that always answers the same; ``seen`` gets the requests."""

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if seen is not None:
                seen.append(request)
            peer.answer(body, status, "Content-Type: text/xml")

    return scripted(script)


def result(text: str, space: str = V11, name: str = "HIPMessageServerResult") -> bytes:
    body = (
        f'<r:HIPMessageServerResponse xmlns:r="urn:hl7-org:v3"><r:{name}>{text}</r:{name}></r:HIPMessageServerResponse>'
    )
    return envelope(body, space=space)


async def sent(answer: bytes, status: str = "200 OK", body: bytes = b"<m/>", **options: Any) -> Reply:
    async with answering(answer, status) as port, calling(f"http://127.0.0.1:{port}/hip", **options) as sender:
        return await sender.send(outgoing(body, action="A"))


# -- requests ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "body", "kind", "action"),
    [
        (
            {},
            '<m:HIPMessageServer xmlns:m="urn:hl7-org:v3"><action>A&amp;B</action><message>&lt;m&gt;张&amp;&#13;&lt;/m&gt;</message></m:HIPMessageServer>',
            "text/xml; charset=utf-8",
            '"urn:hl7-org:v3/HIPMessageServer"',
        ),
        (
            {"version": "1.2", "qualified": True, "form": "cdata"},
            '<m:HIPMessageServer xmlns:m="urn:hl7-org:v3"><m:action>A&amp;B</m:action><m:message><![CDATA[<m>张&]]>&#13;<![CDATA[</m>]]></m:message></m:HIPMessageServer>',
            'application/soap+xml; charset=utf-8; action="urn:hl7-org:v3/HIPMessageServer"',
            None,
        ),
        (
            {"namespace": "", "soap_action": ""},
            "<HIPMessageServer><action>A&amp;B</action><message>&lt;m&gt;张&amp;&#13;&lt;/m&gt;</message></HIPMessageServer>",
            "text/xml; charset=utf-8",
            '""',
        ),
        (
            {"namespace": "http://www.dhcc.com.cn", "parameters": {"input1": "MES0001", "input2": "{body}"}, "soap_action": "http://www.dhcc.com.cn/DHC.HIPMessageServer"},
            '<m:HIPMessageServer xmlns:m="http://www.dhcc.com.cn"><input1>MES0001</input1><input2>&lt;m&gt;张&amp;&#13;&lt;/m&gt;</input2></m:HIPMessageServer>',
            "text/xml; charset=utf-8",
            '"http://www.dhcc.com.cn/DHC.HIPMessageServer"',
        ),
        (
            {"binary": True},
            '<m:HIPMessageServer xmlns:m="urn:hl7-org:v3"><action>A&amp;B</action><message>PG0+5bygJg08L20+</message></m:HIPMessageServer>',
            "text/xml; charset=utf-8",
            '"urn:hl7-org:v3/HIPMessageServer"',
        ),
    ],
)  # fmt: skip
async def test_a_call_is_written_as_the_options_say(
    options: dict[str, Any], body: str, kind: str, action: str | None
) -> None:
    seen: list[Any] = []
    async with (
        answering(result(""), seen=seen) as port,
        calling(f"http://127.0.0.1:{port}/hip", **{**CALL, **options}) as sender,
    ):
        await sender.send(outgoing("<m>张&\r</m>".encode(), key="k-9", action="A&B"))
    [(line, headers, sent_body)] = seen
    space = V12 if options.get("version") == "1.2" else V11
    assert sent_body.decode() == (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<soap:Envelope xmlns:soap="{space}"><soap:Body>{body}</soap:Body></soap:Envelope>'
    )
    assert line == "POST /hip HTTP/1.1"
    assert (headers["content-type"], headers.get("soapaction"), headers["idempotency-key"]) == (kind, action, "k-9")


async def test_without_parameters_the_message_is_the_body() -> None:
    seen: list[Any] = []
    gbk = '<?xml version="1.0" encoding="GBK"?>\n<d:doc xmlns:d="urn:d">张</d:doc>'.encode("gbk")
    async with (
        answering(envelope("<ok/>"), seen=seen) as port,
        calling(f"http://127.0.0.1:{port}/d", soap_action="urn:go") as sender,
    ):
        reply = await sender.send(outgoing(gbk))
        with pytest.raises(PermanentError) as caught:
            await sender.send(outgoing(b"<a>"))
    assert b'<soap:Body><d:doc xmlns:d="urn:d">\xe5\xbc\xa0</d:doc></soap:Body>' in seen[0][2]
    assert etree.fromstring(reply.body).tag == "ok"
    assert caught.value.code == "xml.invalid"
    assert len(seen) == 1


async def test_an_action_a_header_cant_hold_is_encoded() -> None:
    seen: list[Any] = []
    for version in ("1.1", "1.2"):
        options = {**CALL, "namespace": "urn:医院", "operation": "接收", "version": version}
        async with answering(result(""), seen=seen) as port, calling(f"http://127.0.0.1:{port}/", **options) as sender:
            await sender.send(outgoing(b"<m/>", action="A"))
    action = "urn:%E5%8C%BB%E9%99%A2/%E6%8E%A5%E6%94%B6"
    assert seen[0][1]["soapaction"] == f'"{action}"'
    assert seen[1][1]["content-type"] == f'application/soap+xml; charset=utf-8; action="{action}"'


async def test_addressing_headers_carry_a_number_that_stays() -> None:
    seen: list[Any] = []
    async with (
        answering(result(""), seen=seen) as port,
        calling(f"http://127.0.0.1:{port}/hip", addressing=True, **CALL) as sender,
    ):
        for key in ("k-1", "k-1", "k-2"):
            await sender.send(outgoing(b"<m/>", key=key, action="A"))
    wsa = "{http://www.w3.org/2005/08/addressing}"
    heads = [etree.fromstring(body).find("{*}Header") for _, _, body in seen]
    numbers = [head.findtext(f"{wsa}MessageID") for head in heads if head is not None]
    assert numbers[0] == numbers[1] != numbers[2]
    assert heads[0].findtext(f"{wsa}Action") == "urn:hl7-org:v3/HIPMessageServer"  # type: ignore[union-attr]
    assert heads[0].findtext(f"{wsa}To") == f"http://127.0.0.1:{port}/hip"  # type: ignore[union-attr]
    assert heads[0].findtext(f"{wsa}ReplyTo/{wsa}Address") == "http://www.w3.org/2005/08/addressing/anonymous"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("body", "variables", "options", "code"),
    [
        (b"<m/>", {}, {}, "soap.variable"),
        (b"a\x00b", {"action": "A"}, {}, "xml.character"),
        (b"\xff\xfe\xfd", {"action": "A"}, {}, "soap.charset"),
        (b"<m/>", {"action": "a b"}, {"operation": "{action}", "parameters": {"m": "{body}"}, "soap_action": ""}, "soap.operation"),
    ],
)  # fmt: skip
async def test_what_cant_be_written_is_not_sent(
    body: bytes, variables: dict[str, str], options: dict[str, Any], code: str
) -> None:
    async with calling("http://127.0.0.1:9/hip", **{**CALL, **options}) as sender:
        with pytest.raises(PermanentError) as caught:
            await sender.send(outgoing(body, **variables))
    assert caught.value.code == code


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(XML_TEXT.filter(lambda text: not text.strip("\ufeff\t\r\n ").startswith("<") and not text.startswith("\ufeff")))
def test_any_text_goes_there_and_comes_back_whole(text: str) -> None:
    for form in ("escaped", "cdata"):
        options = SoapConnect.model_validate({"url": "http://h/", "form": form, "result": "message", **CALL})
        data = RequestWriter(options, "p", "", "").write(outgoing(text.encode(), action=text))
        assert ReplyReader(options, "").read(Reply(True, data, 200)).body == text.encode()


# -- replies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [V11, V12])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("&lt;a&gt;1&lt;/a&gt;", b"<a>1</a>"),
        ("<![CDATA[<a>1</a>]]>", b"<a>1</a>"),
        ("&lt;![CDATA[&lt;a&gt;1&lt;/a&gt;]]&gt;", b"<a>1</a>"),
        ("", b""),
    ],
)
async def test_the_string_in_the_result_is_the_reply(space: str, content: str, expected: bytes) -> None:
    reply = await sent(result(content, space), result="HIPMessageServerResult", **CALL)
    assert (reply.ok, reply.status, reply.code, reply.body) == (True, 200, "200", expected)
    assert (await sent(result(content, space), result="1", **CALL)).body == expected


async def test_inline_xml_and_whole_answers() -> None:
    inline = await sent(
        result("<x><ESBEntry/></x>".replace("<x>", "").replace("</x>", ""), name="output"), result="output", **CALL
    )
    assert etree.fromstring(inline.body).tag == "ESBEntry"
    whole = await sent(result("1"), **CALL)
    assert etree.fromstring(whole.body).tag == "{urn:hl7-org:v3}HIPMessageServerResponse"
    missing = await sent(envelope("<r/>"), result="HIPMessageServerResult", **CALL)
    assert (missing.ok, missing.body) == (True, b"")


async def test_an_empty_answer_is_good_only_where_none_is_expected() -> None:
    for status, options in (("202 Accepted", {}), ("200 OK", {"one_way": True})):
        reply = await sent(b"", status, **CALL, **options)
        assert (reply.ok, reply.body) == (True, b"")
    with pytest.raises(TransientError) as caught:
        await sent(b"", "200 OK", **CALL)
    assert caught.value.code == "soap.bad_reply"


FAULT11 = (
    "<s:Fault><faultcode>{code}</faultcode><faultstring>patient 13812345678 &lt;x&gt;</faultstring><detail/></s:Fault>"
)
FAULT12 = (
    "<s:Fault><s:Code><s:Value>s:{code}</s:Value>{sub}</s:Code>"
    '<s:Reason><s:Text xml:lang="en">no such patient</s:Text><s:Text xml:lang="zh">无此患者</s:Text></s:Reason></s:Fault>'
)


@pytest.mark.parametrize("status", ["500 Internal Server Error", "200 OK", "400 Bad Request"])
@pytest.mark.parametrize(
    ("body", "space", "code", "transient"),
    [
        (FAULT11.format(code="s:Server"), V11, "Server", True),
        (FAULT11.format(code="Server.Busy"), V11, "Server.Busy", True),
        (FAULT11.format(code="s:Client"), V11, "Client", False),
        (FAULT11.format(code="s:MustUnderstand"), V11, "MustUnderstand", False),
        (FAULT11.format(code="x:1001").replace("<faultcode", '<faultcode xmlns:x="urn:x"'), V11, "1001", False),
        (FAULT12.format(code="Receiver", sub=""), V12, "Receiver", True),
        (FAULT12.format(code="Sender", sub=""), V12, "Sender", False),
        (FAULT12.format(code="Sender", sub="<s:Subcode><s:Value>e:E7</s:Value></s:Subcode>"), V12, "E7", False),
        (FAULT12.format(code="Receiver", sub="<s:Subcode><s:Value>e:Busy</s:Value></s:Subcode>"), V12, "Busy", True),
    ],
)
async def test_a_fault_is_a_verdict(status: str, body: str, space: str, code: str, transient: bool) -> None:
    answer = envelope(body, space=space)
    reply = await sent(answer, status, result="1", **CALL)
    assert (reply.ok, reply.code, reply.transient, reply.unavailable) == (False, code, transient, False)
    assert reply.status == int(status.split()[0])
    assert reply.body == answer
    assert reply.error.startswith(f"{code}: ")
    assert "13812345678" not in reply.error


async def test_server_faults_can_be_permanent() -> None:
    answer = envelope(FAULT11.format(code="s:Server"))
    reply = await sent(answer, "500 Error", faults_transient=False, **CALL)
    assert (reply.ok, reply.transient) == (False, False)
    away = await sent(answer, "503 Unavailable", faults_transient=False, **CALL)
    assert (away.transient, away.unavailable) == (True, True)


@pytest.mark.parametrize(
    ("status", "transient"),
    [("500 Error", True), ("404 Not Found", False), ("401 Unauthorized", False), ("503 Away", True)],
)
async def test_without_a_fault_the_verdict_is_that_of_http(status: str, transient: bool) -> None:
    reply = await sent(b"<html/>", status, **CALL)
    assert (reply.ok, reply.code, reply.transient) == (False, status.split()[0], transient)


@pytest.mark.parametrize(
    "answer", [b"<html><body>login</body></html>", b"ok", envelope("<a/>")[:-9], b"<!DOCTYPE a><a/>", b"--b\r\n\r\nx"]
)
async def test_an_answer_that_is_no_envelope_leaves_the_outcome_open(answer: bytes) -> None:
    with pytest.raises(TransientError) as caught:
        await sent(answer, **CALL)
    assert (caught.value.code, caught.value.response) == ("soap.bad_reply", answer)


async def test_a_reply_with_attachments() -> None:
    include = '<x:Include xmlns:x="http://www.w3.org/2004/08/xop/include" href="cid:att%40x"/>'
    answer = multipart(result(include), ("att@x", BINARY))
    assert (await sent(answer, binary=True, result="1", **CALL)).body == BINARY
    assert (await sent(answer, result="1", **CALL)).body == base64.b64encode(BINARY)
    with pytest.raises(PermanentError) as caught:
        await sent(multipart(result(include)), result="1", **CALL)
    assert caught.value.code == "soap.attachment"


async def test_a_binary_message_as_an_attachment() -> None:
    intake = MemoryIntake()
    intake.verdict = lambda raw: Receipt(Outcome.OK, 1, reply=raw[::-1])
    async with listening(intake, binary=True, **HIP) as receiver:
        url = f"http://127.0.0.1:{receiver.status()['port']}/hip"
        for version in ("1.1", "1.2"):
            options = {**CALL, "binary": True, "mtom": True, "version": version, "result": "1"}
            async with calling(url, **options) as sender:
                reply = await sender.send(outgoing(BINARY, action="A"))
            assert reply.body == BINARY[::-1]
    assert [taken.raw for taken in intake.taken] == [BINARY, BINARY]
    assert all(taken.params["Content-Type"].startswith("multipart/related") for taken in intake.taken)


# -- transport ---------------------------------------------------------------------------------------------------------


async def test_faults_of_transport_are_those_of_http() -> None:
    async with calling("http://127.0.0.1:1/hip", **CALL) as sender:
        with pytest.raises(UnreachableError):
            await sender.send(outgoing(b"<m/>", action="A"))
        with pytest.raises(UnreachableError):
            await sender.probe()

    async def cut(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<s:Env")

    async def hang(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    for script, code, timeout in ((cut, "http.lost", 15.0), (hang, "http.timeout", 0.2)):
        async with scripted(script) as port, calling(f"http://127.0.0.1:{port}/hip", **CALL) as sender:
            with pytest.raises(TransientError) as caught:
                await sender.send(outgoing(b"<m/>", timeout=timeout, action="A"))
        assert caught.value.code == code
    with pytest.raises(PermanentError) as large:
        await sent(result("x" * 5000), reply_limit=1000, **CALL)
    assert large.value.code == "http.reply_too_large"


async def test_a_certificate_is_checked_and_probe_has_no_effect(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    ours.issue("server", "127.0.0.1")
    del theirs
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    seen: list[Any] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            peer.answer(result("1"))

    async with scripted(script, context) as port:
        url = f"https://127.0.0.1:{port}/hip"
        async with calling(url, tls={"ca": str(tmp_path / "ours.pem")}, result="1", **CALL) as sender:
            assert "connected" in await sender.probe()
            assert not seen
            assert (await sender.send(outgoing(b"<m/>", action="A"))).body == b"1"
            assert sender.status()["opened"] == 2
        async with calling(url, tls={"ca": str(tmp_path / "theirs.pem")}, **CALL) as sender:
            with pytest.raises(UnreachableError) as caught:
                await sender.send(outgoing(b"<m/>", action="A"))
    assert caught.value.code == "tls.verify"


async def test_a_large_message_is_written_and_read_beside_the_loop() -> None:
    text = "<a>" + "张三" * 100_000 + "</a>"
    reply = await sent(result("x" * 300_000), body=text.encode(), result="1", **CALL)
    assert reply.body == b"x" * 300_000


# -- WSDL --------------------------------------------------------------------------------------------------------------

WSDL = """<wsdl:definitions targetNamespace="urn:reg" xmlns:t="urn:reg" xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/"
 xmlns:x="http://www.w3.org/2001/XMLSchema" xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/">
 <wsdl:types><x:schema targetNamespace="urn:reg" elementFormDefault="qualified">
  <x:include schemaLocation="types.xsd"/>
  <x:element name="register"><x:complexType><x:sequence>
   <x:element name="patient" type="t:Patient"/><x:element name="fee" type="x:decimal" minOccurs="0"/>
  </x:sequence></x:complexType></x:element>
  <x:element name="registerResponse"><x:complexType><x:sequence>
   <x:element name="number" type="x:int"/><x:element name="on" type="x:date"/><x:element name="note" type="x:string" minOccurs="0"/>
  </x:sequence></x:complexType></x:element>
 </x:schema></wsdl:types>
 <wsdl:message name="in"><wsdl:part name="p" element="t:register"/></wsdl:message>
 <wsdl:message name="out"><wsdl:part name="p" element="t:registerResponse"/></wsdl:message>
 <wsdl:portType name="PT"><wsdl:operation name="register"><wsdl:input message="t:in"/><wsdl:output message="t:out"/></wsdl:operation></wsdl:portType>
 <wsdl:binding name="B" type="t:PT"><s:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
  <wsdl:operation name="register"><s:operation soapAction="urn:reg/register"/>
   <wsdl:input><s:body use="literal"/></wsdl:input><wsdl:output><s:body use="literal"/></wsdl:output></wsdl:operation></wsdl:binding>
 <wsdl:service name="S"><wsdl:port name="P" binding="t:B"><s:address location="http://elsewhere.invalid/"/></wsdl:port></wsdl:service>
</wsdl:definitions>"""
TYPES = """<x:schema xmlns:x="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:reg" elementFormDefault="qualified">
 <x:complexType name="Patient"><x:sequence><x:element name="name" type="x:string"/>
  <x:element name="born" type="x:date"/><x:element name="phone" type="x:string" minOccurs="0" maxOccurs="unbounded"/>
 </x:sequence></x:complexType></x:schema>"""
ANSWER = envelope('<registerResponse xmlns="urn:reg"><number>7</number><on>2026-11-28</on></registerResponse>')
PATIENT = {"patient": {"name": "张<三>", "born": "2000-01-02", "phone": ["1", "2"]}, "fee": "1.50"}


def wsdl_file(folder: Path, text: str = WSDL) -> str:
    (folder / "reg.wsdl").write_text(text)
    (folder / "types.xsd").write_text(TYPES)
    return str(folder / "reg.wsdl")


async def test_a_json_object_becomes_a_typed_call_and_back(tmp_path: Path) -> None:
    seen: list[Any] = []
    async with answering(ANSWER, seen=seen) as port:
        options = {"wsdl": wsdl_file(tmp_path), "operation": "register"}
        async with calling(f"http://127.0.0.1:{port}/reg", codec=Json(), **options) as sender:
            reply = await sender.send(outgoing(orjson.dumps(PATIENT)))
    _, headers, body = seen[0]
    assert headers["soapaction"] == '"urn:reg/register"'
    operation = etree.fromstring(body).find("{*}Body")[0]  # type: ignore[index]
    assert operation.tag == "{urn:reg}register"
    assert [(e.tag.partition("}")[2], e.text) for e in operation.iter() if len(e) == 0] == [
        ("name", "张<三>"), ("born", "2000-01-02"), ("phone", "1"), ("phone", "2"), ("fee", "1.50"),
    ]  # fmt: skip
    assert orjson.loads(reply.body) == {"number": 7, "on": "2026-11-28", "note": None}


async def test_an_element_of_the_operation_is_checked_by_its_types(tmp_path: Path) -> None:
    seen: list[Any] = []
    good = b'<r:register xmlns:r="urn:reg"><r:patient><r:name>Z</r:name><r:born>2000-01-02</r:born></r:patient></r:register>'
    async with answering(ANSWER, seen=seen) as port:
        options = {"wsdl": wsdl_file(tmp_path), "operation": "register"}
        async with calling(f"http://127.0.0.1:{port}/reg", **options) as sender:
            reply = await sender.send(outgoing(good))
            for bad in (
                good.replace(b"r:register", b"r:other"),
                good.replace(b"<r:name>Z</r:name>", b""),
                good.replace(b"2000-01-02", b"soon"),
                b'{"patient": {"nome": "Z"}}',
                b'{"patient": {"name": "Z"}}',
                b'{"pacient": 1}',
                b"[1]",
                b"{",
            ):
                with pytest.raises(PermanentError) as caught:
                    await sender.send(outgoing(bad))
                assert caught.value.code == "soap.type", bad
    assert len(seen) == 1
    assert b"born" in seen[0][2]
    assert etree.fromstring(reply.body).findtext("{urn:reg}number") == "7"


async def test_a_reply_that_does_not_fit_the_wsdl_is_refused(tmp_path: Path) -> None:
    for answer in (ANSWER.replace(b"7", b"seven"), envelope("<other/>")):
        async with answering(answer) as port:
            options = {"wsdl": wsdl_file(tmp_path), "operation": "register"}
            async with calling(f"http://127.0.0.1:{port}/reg", codec=Json(), **options) as sender:
                with pytest.raises(PermanentError) as caught:
                    await sender.send(outgoing(orjson.dumps(PATIENT)))
        assert (caught.value.code, caught.value.response) == ("soap.reply_type", answer)


async def test_a_wsdl_comes_from_the_configured_host_and_nowhere_else(tmp_path: Path) -> None:
    asked: list[str] = []

    async def script(peer: Peer) -> None:
        while True:
            line, _, _ = await peer.request()
            asked.append(line)
            if "types.xsd" in line:
                peer.answer(TYPES.encode())
            elif line.startswith("GET"):
                peer.answer(WSDL.encode())
            else:
                peer.answer(ANSWER)

    async with scripted(script) as port:
        url = f"http://127.0.0.1:{port}"
        async with calling(f"{url}/reg", codec=Json(), wsdl=f"{url}/reg?wsdl", operation="register") as sender:
            reply = await sender.send(outgoing(orjson.dumps(PATIENT)))
        assert orjson.loads(reply.body)["number"] == 7
        assert asked == ["GET /reg?wsdl HTTP/1.1", "GET /types.xsd HTTP/1.1", "POST /reg HTTP/1.1"]
        with pytest.raises(HubError) as caught:
            async with calling("http://127.0.0.1:1/reg", wsdl=f"{url}/reg?wsdl", operation="register"):
                pass
        assert caught.value.code == "soap.wsdl"
    assert len(asked) == 3


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1:1/types.xsd", "file:///etc/passwd", "../types.xsd", "https://www.w3.org/2001/xml.xsd"],
)
async def test_what_a_wsdl_imports_from_elsewhere_is_not_fetched(tmp_path: Path, location: str) -> None:
    path = wsdl_file(tmp_path, WSDL.replace("types.xsd", location))
    with pytest.raises(HubError) as caught:
        async with calling("http://127.0.0.1:2/reg", wsdl=path, operation="register"):
            pass
    assert caught.value.code == "soap.wsdl"


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (("register", "register"), {"operation": "nothing"}),
        (("register", "register"), {"version": "1.2"}),
        (("register", "register"), {"service": "X"}),
        (("register", "register"), {"endpoint": "X"}),
        (("<wsdl:types>", "<wsdl:types"), {}),
        (("<wsdl:definitions", "<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><wsdl:definitions"), {}),
    ],
)
async def test_a_wsdl_that_cant_be_used_stops_the_start(
    tmp_path: Path, change: tuple[str, str], options: dict[str, Any]
) -> None:
    path = wsdl_file(tmp_path, WSDL.replace(*change))
    with pytest.raises(HubError) as caught:
        async with calling("http://127.0.0.1:2/reg", **{"wsdl": path, "operation": "register", **options}):
            pass
    assert caught.value.code == "soap.wsdl"


async def test_a_target_that_is_away_at_the_start_is_asked_again(tmp_path: Path) -> None:
    intake = MemoryIntake()
    async with listening(intake, **HIP) as receiver:
        port = receiver.status()["port"]
    url = f"http://127.0.0.1:{port}/hip"
    options = {"wsdl": f"{url}?wsdl", "operation": "HIPMessageServer"}
    async with calling(url, codec=Json(), **options) as sender:
        with pytest.raises(UnreachableError) as caught:
            await sender.send(outgoing(b'{"action": "A", "message": "M"}'))
        assert caught.value.code == "soap.wsdl_unreachable"
        async with listening(intake, port=port, accepted="ok", **HIP):
            both = [sender.send(outgoing(b'{"action": "A", "message": "M"}')) for _ in range(2)]
            replies = await asyncio.gather(*both)
    assert [orjson.loads(reply.body) for reply in replies] == ["ok", "ok"]
    assert [taken.raw for taken in intake.taken] == [b"M", b"M"]


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"operation": "x"},
        {"parameters": {"m": "{body}"}},
        {**CALL, "parameters": {"a": "1"}},
        {**CALL, "parameters": {"a": "{body}", "b": "{body}"}},
        {**CALL, "operation": "a b"},
        {**CALL, "operation": "{action}"},
        {**CALL, "mtom": True},
        {"binary": True},
        {**CALL, "result": "0"},
        {**CALL, "namespace": 'urn:"x'},
        {**CALL, "url": "ftp://h/"},
        {**CALL, "parameters": {"a": "{b", "m": "{body}"}},
        {"wsdl": "a.wsdl"},
        {"wsdl": "a.wsdl", **CALL},
        {**CALL, "method": "GET"},
        {**CALL, "headers": {"soapaction": "x"}},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        SoapConnect.model_validate({"url": "http://h/", **options})


async def test_a_wsdl_that_never_ends_does_not_hold_up_the_start() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<a")
        await peer.gone()

    async with scripted(script) as port:
        url = f"http://127.0.0.1:{port}/reg"
        options = {"wsdl": f"{url}?wsdl", "operation": "register", "connect_timeout": "200ms"}
        async with calling(url, **options) as sender:
            with pytest.raises(UnreachableError) as caught:
                await sender.send(outgoing(b"{}", timeout=0.1))
    assert caught.value.code == "soap.wsdl_unreachable"


def test_versions_are_those_of_the_standards() -> None:
    assert [version.value for version in Version] == [V11, V12]
