"""What the tests of the SOAP adapter share: receivers and senders on the helpers of the HTTP adapter's tests, and envelopes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from lxml import etree

from adapters.http.server import ServerPool
from adapters.soap import SoapAdapter
from adapters.soap.options import SoapConnect, SoapListen
from adapters.soap.receiver import SoapReceiver
from adapters.soap.sender import SoapSender
from hub.api import Bound, Codec
from hub.codecs.hl7v3 import Hl7v3Codec
from hub.contract import Interface
from tests.adapters.http_support import OPEN, Answer, MemoryIntake, call

__all__ = [
    "HIP",
    "V11",
    "V12",
    "bound_in",
    "bound_out",
    "calling",
    "envelope",
    "fault_of",
    "hip_call",
    "listening",
    "post",
    "result_of",
]

V11 = "http://schemas.xmlsoap.org/soap/envelope/"
V12 = "http://www.w3.org/2003/05/soap-envelope"
#: The convention of the Chinese hospital platforms.
HIP: dict[str, Any] = {
    "operations": ["HIPMessageServer"],
    "namespace": "urn:hl7-org:v3",
    "parameters": ["action", "message"],
    "payload": "parameter message",
}
KINDS = {V11: "text/xml; charset=utf-8", V12: "application/soap+xml; charset=utf-8"}


def bound_in(place: str = "platform/hip", codec: Codec | None = None, **options: Any) -> Bound:
    interface = Interface(direction="in", adapter="soap", codec="hl7v3", encoding=options.pop("encoding", ""))
    given = {"path": "/hip", "auth": OPEN, **options}
    system, _, name = place.partition("/")
    return Bound(place, system, name, "p@1", interface, codec or Hl7v3Codec(), {}, SoapListen.model_validate(given))


@asynccontextmanager
async def listening(
    intake: MemoryIntake, *, servers: ServerPool | None = None, place: str = "platform/hip", **options: Any
) -> AsyncIterator[SoapReceiver]:
    receiver = SoapAdapter(servers).receiver(bound_in(place, **options), intake)
    assert isinstance(receiver, SoapReceiver)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop(5.0)


def bound_out(codec: Codec | None = None, **options: Any) -> Bound:
    interface = Interface(direction="out", adapter="soap", codec="hl7v3", encoding=options.pop("encoding", ""))
    return Bound("p/out", "p", "out", "p@1", interface, codec or Hl7v3Codec(), {}, SoapConnect.model_validate(options))


@asynccontextmanager
async def calling(url: str, *, codec: Codec | None = None, **options: Any) -> AsyncIterator[SoapSender]:
    sender = SoapAdapter().sender(bound_out(codec, url=url, **options))
    assert isinstance(sender, SoapSender)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()


def envelope(body: str, header: str = "", space: str = V11) -> bytes:
    head = f"<s:Header>{header}</s:Header>" if header else ""
    return f'<s:Envelope xmlns:s="{space}">{head}<s:Body>{body}</s:Body></s:Envelope>'.encode()


def hip_call(message: str, action: str = "PatientInfoRegister", space: str = V11, header: str = "") -> bytes:
    """A call with unqualified parameters; ``message`` is the content of the element, already escaped."""
    body = (
        f'<HIPMessageServer xmlns="urn:hl7-org:v3"><action xmlns="">{action}</action>'
        f'<message xmlns="">{message}</message></HIPMessageServer>'
    )
    return envelope(body, header, space)


async def post(
    receiver: SoapReceiver, data: bytes, kind: str = KINDS[V11], path: str = "/hip", **headers: str
) -> Answer:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return await call(receiver, data, path=path, headers={"Content-Type": kind, **given})  # type: ignore[arg-type]


def result_of(answer: Answer) -> str:
    """The text of the result element."""
    body = etree.fromstring(answer.body).find("{*}Body")
    assert body is not None
    return body[0][0].text or ""


def fault_of(answer: Answer) -> tuple[str, str, str]:
    """Code (the subcode where there is one), reason and our own code of a fault."""
    root = etree.fromstring(answer.body)
    fault = root.find("{*}Body/{*}Fault")
    assert fault is not None, answer.body
    if root.tag.startswith(f"{{{V11}}}"):
        code, reason = fault.findtext("faultcode") or "", fault.findtext("faultstring") or ""
    else:
        values = fault.findall(".//{*}Value")
        code, reason = values[-1].text or "", fault.findtext("{*}Reason/{*}Text") or ""
    return code.partition(":")[2], reason, fault.findtext(".//{urn:tongqu:problem}code") or ""
