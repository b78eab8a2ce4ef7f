"""``soap`` with other people's stacks: zeep, suds, Axis and curl call us, we call Axis; and everything that breaks."""

from __future__ import annotations

import asyncio
import io
import logging
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import suds
import suds.client
import zeep
import zeep.exceptions
import zeep.wsse.username
from lxml import etree

from adapters.soap.receiver import SoapReceiver
from hub.api import HubError, Receipt, Reply, StoreBusy, TransientError, UnreachableError
from hub.i18n import language, set_language
from hub.message import Outcome
from tests.adapters.certificates import Authority
from tests.adapters.http_support import MemoryIntake, outgoing
from tests.adapters.soap_support import HIP, calling, listening
from tests.peers.process import need
from tests.peers.proxy import Proxy
from tests.peers.soap_stacks import Axis

pytestmark = pytest.mark.xdist_group("axis")

MESSAGE = (
    '<PRPA_IN201311UV02 xmlns="urn:hl7-org:v3"><id extension="E-1"/><name>张三 &amp; "co"</name></PRPA_IN201311UV02>'
)
CALL: dict[str, Any] = {
    "operation": "HIPMessageServer",
    "namespace": "urn:hl7-org:v3",
    "parameters": {"action": "{action}", "message": "{body}"},
    "soap_action": "",
}
#: What the services of Axis call the result.
RESULT = "HIPMessageServerReturn"


@pytest.fixture(autouse=True)
def english() -> Any:
    before = language()
    set_language("en")
    yield
    set_language(before)


@pytest.fixture
def intake() -> MemoryIntake:
    found = MemoryIntake()
    found.verdict = lambda raw: Receipt(Outcome.OK, 1, control_id="E-1")
    return found


def address(receiver: SoapReceiver) -> str:
    return f"http://127.0.0.1:{receiver.status()['port']}/hip"


async def in_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(work)


def acknowledged(text: str) -> str | None:
    found = etree.fromstring(text).find("{*}acknowledgement")
    assert found is not None
    return found.get("typeCode")


# -- zeep --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", ["HIPMessageServerSoap", "HIPMessageServerSoap12"])
@pytest.mark.parametrize(
    "options", [{}, {"qualified": True}, {"style": "rpc"}, {"result": "output", "result_form": "cdata"}]
)
async def test_zeep_calls_by_our_wsdl(intake: MemoryIntake, port: str, options: dict[str, Any]) -> None:
    async with listening(intake, accepted="mcci", **HIP, **options) as receiver:

        def work() -> Any:
            client = zeep.Client(f"{address(receiver)}?wsdl")
            return client.bind("HIPMessageServerService", port).HIPMessageServer("PatientInfoRegister", MESSAGE)

        assert acknowledged(await in_thread(work)) == "AA"
    assert [taken.raw.decode() for taken in intake.taken] == [MESSAGE]
    assert intake.taken[0].params["action"] == "PatientInfoRegister"


async def test_zeep_sees_our_faults(intake: MemoryIntake) -> None:
    error = HubError("no such patient", code="route.none")
    intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=error)
    async with listening(intake, **HIP) as receiver:

        def work(port: str) -> zeep.exceptions.Fault:
            service = zeep.Client(f"{address(receiver)}?wsdl").bind("HIPMessageServerService", port)
            with pytest.raises(zeep.exceptions.Fault) as caught:
                service.HIPMessageServer("A", "M")
            return caught.value

        old = await in_thread(lambda: work("HIPMessageServerSoap"))
        new = await in_thread(lambda: work("HIPMessageServerSoap12"))
        intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=StoreBusy("full"))
        busy = await in_thread(lambda: work("HIPMessageServerSoap"))
    assert (old.message, old.code) == ("no such patient", "soap:Client")
    assert (new.message, new.code) == ("no such patient", "soap:Sender")
    assert old.detail.findtext(".//{urn:tongqu:problem}code") == "route.none"
    assert busy.code == "soap:Server"


@pytest.mark.parametrize("digest", [True, False])
async def test_zeep_shows_who_it_is(intake: MemoryIntake, digest: bool) -> None:
    security = {"username": "his", "password": "right"}
    async with listening(intake, security=security, accepted="ok", **HIP) as receiver:

        def work(password: str) -> Any:
            user = zeep.wsse.username.UsernameToken("his", password, use_digest=digest)
            return zeep.Client(f"{address(receiver)}?wsdl", wsse=user).service.HIPMessageServer("A", "M")

        assert await in_thread(lambda: work("right")) == "ok"
        with pytest.raises(zeep.exceptions.Fault) as caught:
            await in_thread(lambda: work("wrong"))
    assert caught.value.code == "s:FailedAuthentication"
    assert len(intake.taken) == 1


async def test_zeep_calls_a_bare_service(intake: MemoryIntake) -> None:
    options = {"operations": ["register"], "namespace": "urn:reg", "style": "bare"}
    async with listening(
        intake, accepted="<registerResponse xmlns='urn:reg'>done</registerResponse>", **options
    ) as receiver:

        def work() -> Any:
            client = zeep.Client(f"{address(receiver)}?wsdl")
            return client.service.register(zeep.xsd.AnyObject(client.get_type("xsd:string"), "张三"))

        assert await in_thread(work) == "done"
    root = etree.fromstring(intake.taken[0].raw)
    assert (root.tag, root.text) == ("{urn:reg}register", "张三")


# -- suds, curl --------------------------------------------------------------------------------------------------------


async def test_suds_calls_by_our_wsdl(intake: MemoryIntake, monkeypatch: pytest.MonkeyPatch) -> None:
    message = MESSAGE.replace("&amp; ", "")  # suds takes a text with an entity in it for escaped already
    monkeypatch.setattr(logging.getLogger("suds.client"), "disabled", True)
    async with listening(intake, accepted="mcci", **HIP) as receiver:

        def work() -> Any:
            client = suds.client.Client(
                f"{address(receiver)}?wsdl", cache=None, timeout=10, port="HIPMessageServerSoap"
            )
            return client.service.HIPMessageServer("PatientInfoRegister", message)

        assert acknowledged(await in_thread(work)) == "AA"
        intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=HubError("no", code="x"))
        with pytest.raises(suds.WebFault) as caught:
            await in_thread(work)
    assert [taken.raw.decode() for taken in intake.taken] == [message] * 2
    assert caught.value.fault.faultcode == "soap:Client"


async def test_curl_calls(intake: MemoryIntake, tmp_path: Path) -> None:
    curl = need("curl", "curl")
    body = (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><HIPMessageServer xmlns="urn:hl7-org:v3">'
        f"<action>A</action><message><![CDATA[{MESSAGE}]]></message></HIPMessageServer></s:Body></s:Envelope>"
    )
    (tmp_path / "call.xml").write_text(body)
    async with listening(intake, accepted="mcci", **HIP) as receiver:
        arguments = [
            curl,
            "-sS",
            "--fail",
            "--compressed",
            "-H",
            "Content-Type: application/soap+xml",
            "-H",
            "Expect: 100-continue",
        ]
        command = [*arguments, "--data-binary", f"@{tmp_path}/call.xml", address(receiver)]
        done = await in_thread(lambda: subprocess.run(command, capture_output=True, timeout=20, check=True))
    text = etree.fromstring(done.stdout).findtext(".//{urn:hl7-org:v3}HIPMessageServerResult") or ""
    assert acknowledged(text) == "AA"
    assert [taken.raw.decode() for taken in intake.taken] == [MESSAGE]


# -- Axis calls us -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["encoded", "encoded 1.2", "wrapped", "wrapped 1.2"])
async def test_axis_calls_us(axis: Axis, intake: MemoryIntake, how: str) -> None:
    error = HubError("no such patient", code="x")
    async with listening(intake, accepted="mcci", soap_actions=["urn:hip"], **HIP) as receiver:
        parameters = {"url": address(receiver), "how": how, "action": "{action}", "message": "{body}"}
        options = {**CALL, "operation": "call", "parameters": parameters, "result": "1"}
        async with calling(axis.url("Wrapped"), **options) as sender:
            good = (await sender.send(outgoing(MESSAGE.encode(), action="PatientInfoRegister"))).body.decode()
            intake.verdict = lambda raw: Receipt(Outcome.REFUSED, error=error)
            bad = (await sender.send(outgoing(b"M", action="A"))).body.decode()
    assert good.startswith("OK ")
    assert acknowledged(good[3:]) == "AA"
    assert bad == f"FAULT {'Sender' if how.endswith('1.2') else 'Client'} no such patient"
    assert [taken.raw.decode() for taken in intake.taken] == [MESSAGE, "M"]
    assert [taken.params["action"] for taken in intake.taken] == ["PatientInfoRegister", "A"]


# -- we call Axis ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize("service", ["Encoded", "Wrapped"])
@pytest.mark.parametrize("form", ["escaped", "cdata"])
async def test_we_call_axis(axis: Axis, version: str, service: str, form: str) -> None:
    async with calling(axis.url(service), version=version, form=form, result=RESULT, **CALL) as sender:
        good = await sender.send(outgoing(MESSAGE.encode(), action="A"))
        theirs = await sender.send(outgoing(b"M", action="server"))
        ours = await sender.send(outgoing(b"M", action="client"))
        assert "connected" in await sender.probe()
    assert (good.ok, good.body.decode()) == (True, f"A:{MESSAGE}")
    assert (theirs.ok, theirs.code, theirs.transient) == (False, "Server.userException", True)
    assert (ours.ok, ours.code, ours.transient, ours.error) == (
        False,
        "Client.Bad",
        False,
        "Client.Bad: no such patient",
    )


async def test_we_call_axis_by_its_wsdl(axis: Axis) -> None:
    url = axis.url("Wrapped")
    options = {"wsdl": f"{url}?wsdl", "operation": "HIPMessageServer", "result": RESULT}
    async with calling(url, **options) as sender:
        reply = await sender.send(outgoing(b'{"action": "A", "message": "<m/>"}'))
    assert reply.body == b"A:<m/>"


# -- faults ------------------------------------------------------------------------------------------------------------


async def verdict(sender: Any, timeout: float = 10.0) -> str:
    try:
        reply: Reply = await sender.send(outgoing(b"M", timeout=timeout, action="A"))
    except UnreachableError:
        return "unreachable"
    except TransientError as error:
        return error.code
    return reply.body.decode()


async def test_absent_hanging_and_restarted(axis: Axis) -> None:
    async with calling(axis.url("Wrapped"), result=RESULT, connections=4, **CALL) as sender:
        assert await verdict(sender) == "A:M"
        axis.pause()
        try:
            assert await verdict(sender, 0.3) == "http.timeout"
        finally:
            axis.resume()
        assert await verdict(sender) == "A:M"
        calls = [asyncio.ensure_future(verdict(sender)) for _ in range(200)]
        await asyncio.sleep(0)
        await in_thread(axis.kill)
        during = set(await asyncio.gather(*calls))
        # Axis ends its answers by closing the connection: one that is cut off before its first byte looks like an empty one.
        assert during <= {"A:M", "http.lost", "soap.bad_reply", "unreachable"}
        assert await verdict(sender) == "unreachable"
        await in_thread(axis.start)
        assert await verdict(sender) == "A:M"  # without a restart of ours


async def test_cut_in_the_middle(axis: Axis) -> None:
    proxy = Proxy(axis.port)
    try:
        async with calling(
            axis.url("Wrapped").replace(str(axis.port), str(proxy.port)), result=RESULT, **CALL
        ) as sender:
            assert await verdict(sender) == "A:M"
            proxy.cut_after = 100
            assert await verdict(sender) == "http.lost"
            proxy.cut_after = None
            assert await verdict(sender) == "A:M"
    finally:
        proxy.close()


async def test_a_certificate_that_is_not_trusted(axis: Axis, tmp_path: Path) -> None:
    Authority(tmp_path, "theirs").issue("server", "127.0.0.1")
    Authority(tmp_path, "ours")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    proxy = Proxy(axis.port, context)
    try:
        url = axis.url("Wrapped").replace(f"http://127.0.0.1:{axis.port}", f"https://127.0.0.1:{proxy.port}")
        for authority, expected in (("ours", "unreachable"), ("theirs", "A:M")):
            async with calling(url, result=RESULT, tls={"ca": str(tmp_path / f"{authority}.pem")}, **CALL) as sender:
                assert await verdict(sender) == expected
    finally:
        proxy.close()


async def test_a_wsdl_of_ours_can_be_read_without_a_network(intake: MemoryIntake) -> None:
    """Everything a client needs is in the one document."""
    async with listening(intake, **HIP) as receiver:
        curl = need("curl", "curl")
        command = [curl, "-sS", "--fail", f"{address(receiver)}?wsdl"]
        done = await in_thread(lambda: subprocess.run(command, capture_output=True, timeout=20, check=True))
    client = zeep.Client(io.BytesIO(done.stdout))
    assert sorted(client.wsdl.bindings) == [
        "{urn:hl7-org:v3}HIPMessageServerBinding",
        "{urn:hl7-org:v3}HIPMessageServerBinding12",
    ]
