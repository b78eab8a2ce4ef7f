"""Answers of our service: the reply wrapped as the caller's stack expects it, or a fault."""

from __future__ import annotations

import base64

from adapters.soap.call import Call
from adapters.soap.envelope import envelope_bytes
from adapters.soap.fault import not_understood
from adapters.soap.mtom import include, new_boundary, package, package_type
from adapters.soap.names import ENCODING, XSD, XSI, Version, local
from adapters.soap.options import Form, SoapListen
from adapters.soap.payload import Place
from adapters.soap.security import Stamp
from adapters.soap.text import as_cdata, as_text, attribute, decoded, without_declaration
from hub.codecs.xml_charset import to_utf8
from hub.codecs.xml_parse import parse

__all__ = ["Answer", "Answerer", "placed"]

#: Body and content type of an HTTP answer.
Answer = tuple[bytes, str]


def placed(reply: bytes, encoding: str, form: Form) -> str:
    """A message as the content of an element; raises :class:`CodecError` for one that can't stand there."""
    text = decoded(reply, encoding)
    if form == "xml":
        parse(text.encode())
        return without_declaration(text)
    return as_cdata(text) if form == "cdata" else as_text(text)


class Answerer:
    """Writes the answers of one interface. Raises :class:`HubError` when the files that sign can't be used."""

    def __init__(self, options: SoapListen, encoding: str) -> None:
        self._options = options
        self._encoding = encoding
        self._kind = Place(options.payload).kind
        security = options.security
        self._stamp = Stamp(security) if security is not None and security.sign is not None else None

    def reply(self, call: Call, reply: bytes) -> Answer:
        """A reply of the target or an acknowledgement. Raises :class:`CodecError` for one that can't be put into an envelope."""
        options = self._options
        if self._kind == "parameter":
            if options.binary and call.attached and self._stamp is None:
                envelope = self._envelope(call, self._wrapped(call, include(), "xsd:base64Binary"))
                boundary = new_boundary()
                return package(call.version, envelope, reply, boundary), package_type(call.version, boundary)
            if options.binary:
                content, kind = base64.b64encode(reply).decode(), "xsd:base64Binary"
            else:
                content, kind = placed(reply, self._encoding, options.result_form), "xsd:string"
            return self._finished(call, self._envelope(call, self._wrapped(call, content, kind)))
        data = to_utf8(reply, self._encoding).data
        root = parse(data)
        if self._kind == "envelope" and local(str(root.tag)) == "Envelope":
            return data, _content_type(call.version)
        return self._finished(call, self._envelope(call, without_declaration(data.decode("utf-8", "replace"))))

    def empty(self, call: Call) -> Answer:
        """The answer of an operation that returns nothing."""
        body = "" if self._options.style == "bare" or not call.operation else self._wrapped(call, None, "")
        return self._finished(call, self._envelope(call, body))

    def fault(self, call: Call, fault: str, blocks: tuple[str, ...] = ()) -> Answer:
        """A Fault element, with headers that name what was not understood."""
        header = not_understood(blocks) if call.version is Version.V12 else ""
        if call.addressing is not None:
            header += call.addressing.answer(fault=True)
        return self._finished(call, envelope_bytes(call.version, fault, header + self._security()))

    def _envelope(self, call: Call, body: str) -> bytes:
        header = call.addressing.answer(fault=False) if call.addressing is not None else ""
        return envelope_bytes(call.version, body, header + self._security())

    def _security(self) -> str:
        return self._stamp.header() if self._stamp is not None else ""

    def _finished(self, call: Call, envelope: bytes) -> Answer:
        return (self._stamp.signed(envelope) if self._stamp is not None else envelope), _content_type(call.version)

    def _wrapped(self, call: Call, content: str | None, kind: str) -> str:
        """The response element in the words of the request; ``content`` None: without a result."""
        options = self._options
        outer = options.response.replace("{operation}", call.operation)
        prefix = "m:" if call.space else ""
        declared = f' xmlns:m="{attribute(call.space)}"' if call.space else ""
        typed = call.typed and call.version is Version.V11
        if typed:
            declared += f' soap:encodingStyle="{ENCODING}"'
        inner = ""
        if content is not None:
            name = options.result.replace("{operation}", call.operation)
            name = prefix + name if call.qualified else name
            shown = f' xmlns:xsi="{XSI}" xmlns:xsd="{XSD}" xsi:type="{kind}"' if call.typed else ""
            inner = f"<{name}{shown}>{content}</{name}>"
        return f"<{prefix}{outer}{declared}>{inner}</{prefix}{outer}>"


def _content_type(version: Version) -> str:
    return f"{version.content_type}; charset=utf-8"
