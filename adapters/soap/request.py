"""Writing a call: the message as the service of the other side expects it."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from typing import Any

from adapters.soap.addressing import ANONYMOUS, request_headers
from adapters.soap.answer import placed
from adapters.soap.envelope import envelope_bytes
from adapters.soap.mtom import include, package, package_type
from adapters.soap.names import Version
from adapters.soap.options import SoapConnect
from adapters.soap.security import Stamp
from adapters.soap.text import as_text, attribute
from adapters.template import MissingVariable, Template
from hub.api import CodecError, Outgoing, PermanentError
from hub.i18n import t

__all__ = ["RequestWriter", "content_type"]

#: Where the message stands among the parameters.
_BODY = "{body}"
#: Makes the MessageID of a call from its idempotency key, the same for every try.
_MESSAGE_IDS = uuid.UUID("5d3b2a52-0f0e-5c3e-9f0a-6f2a1d9c7b10")


class RequestWriter:
    """Writes the calls of one interface. Raises :class:`HubError` when the files that sign can't be used."""

    def __init__(self, options: SoapConnect, place: str, encoding: str, action: str, boundary: str = "") -> None:
        self._options = options
        self._place = place
        self._encoding = encoding
        self._action = action
        self._boundary = boundary
        self._version = Version.V11 if options.version == "1.1" else Version.V12
        self._operation = Template(options.operation)
        self._parameters = [
            (name, None if text == _BODY else Template(text)) for name, text in options.parameters.items()
        ]
        self._stamp = Stamp(options.security) if options.security is not None else None
        self._to = options.url if "{" not in options.url else ANONYMOUS[0]

    def write(self, outgoing: Outgoing) -> bytes:
        """The HTTP body of a call; raises :class:`PermanentError` for a message that can't be put into an envelope."""
        options = self._options
        try:
            if not options.parameters:
                content = placed(outgoing.body, self._encoding, "xml")
            else:
                content = self._called(outgoing)
            envelope = self.enveloped(content, outgoing)
            return package(self._version, envelope, outgoing.body, self._boundary) if options.mtom else envelope
        except CodecError as error:
            raise PermanentError(error.text, code=error.code) from None
        except MissingVariable as error:
            raise PermanentError(
                t(
                    f"{self._place}: the call has no value for {{{error.name}}}",
                    f"{self._place}：调用缺少 {{{error.name}}} 的值",
                ),
                code="soap.variable",
            ) from None

    def enveloped(self, content: str, outgoing: Outgoing) -> bytes:
        """An envelope around the content of its Body, with the headers of this interface."""
        header = ""
        if self._options.addressing:
            message_id = uuid.uuid5(_MESSAGE_IDS, outgoing.idempotency_key)
            header = request_headers(self._action, self._to, f"urn:uuid:{message_id}")
        if self._stamp is None:
            return envelope_bytes(self._version, content, header)
        return self._stamp.signed(envelope_bytes(self._version, content, header + self._stamp.header()))

    def _called(self, outgoing: Outgoing) -> str:
        """The operation's element with the parameters in it."""
        options = self._options
        values: Mapping[str, Any] = {
            "type": outgoing.type,
            "control_id": outgoing.control_id,
            "idempotency_key": outgoing.idempotency_key,
            **outgoing.variables,
        }
        operation = self._operation.fill(values, _element_name)
        prefix = "m:" if options.namespace else ""
        inner_prefix = prefix if options.qualified else ""
        parts = []
        for name, text in self._parameters:
            content = self._message(outgoing.body) if text is None else text.fill(values, as_text)
            parts.append(f"<{inner_prefix}{name}>{content}</{inner_prefix}{name}>")
        declared = f' xmlns:m="{attribute(options.namespace)}"' if options.namespace else ""
        return f"<{prefix}{operation}{declared}>{''.join(parts)}</{prefix}{operation}>"

    def _message(self, body: bytes) -> str:
        if self._options.mtom:
            return include()
        if self._options.binary:
            return base64.b64encode(body).decode()
        return placed(body, self._encoding, self._options.form)


def content_type(options: SoapConnect, action: str, boundary: str) -> str:
    """The content type of a call; SOAP 1.2 names the action in it (RFC 3902). ``boundary``: for MTOM."""
    version = Version.V11 if options.version == "1.1" else Version.V12
    if options.mtom:
        return package_type(version, boundary, action)
    named = f'; action="{action}"' if version is Version.V12 and action else ""
    return f"{version.content_type}; charset=utf-8{named}"


def _element_name(value: str) -> str:
    if not value.isidentifier():
        raise CodecError(
            t("a value for the name of the operation is not a name", "操作名的变量值不是合法名称"),
            code="soap.operation",
        )
    return value
