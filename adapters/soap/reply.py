"""Reading what a service answered: the reply in it, or its fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from adapters.soap.envelope import Envelope, read_envelope
from adapters.soap.fault import FaultRefusal, fault_of
from adapters.soap.mtom import unpack
from adapters.soap.options import SoapConnect
from adapters.soap.payload import Place, binary_of, content_of, inline_attachments, resolved, serialised
from adapters.soap.security import Inspector
from hub.api import PermanentError, Reply, TransientError
from hub.i18n import t

__all__ = ["ReplyReader"]

#: Good without an envelope. An empty 200 may as well be an answer that was cut off before its first byte.
_ACCEPTED = (202, 204)


class ReplyReader:
    """Reads the answers to the calls of one interface. Raises :class:`HubError` when files of its security can't be used."""

    def __init__(self, options: SoapConnect, encoding: str) -> None:
        self._encoding = encoding
        self._limit = options.reply_limit
        self._transient = options.faults_transient
        self._one_way = options.one_way
        self._binary = options.binary
        self._result = Place(f"parameter {options.result}") if options.result else None
        security = options.security
        self._inspector = Inspector(security, user=False) if security is not None and security.trusted else None

    def read(self, reply: Reply, typed: Callable[[Envelope], bytes] | None = None) -> Reply:
        """The verdict of HTTP made into that of SOAP; ``typed`` makes the body of a good answer in another way.

        Raises :class:`TransientError` for an answer that is not SOAP though HTTP calls it good, :class:`PermanentError` for one that
        is not signed as it must be.
        """
        body = reply.body
        if reply.ok and not body.strip() and (self._one_way or reply.status in _ACCEPTED):
            return reply
        try:
            envelope, attachments = self._envelope(body)
        except FaultRefusal as error:
            if not reply.ok:
                return reply
            raise TransientError(
                t(f"the reply is not SOAP: {error.detail[0]}", f"应答不是 SOAP：{error.detail[1]}"),
                code="soap.bad_reply",
                response=body,
            ) from None
        fault = fault_of(envelope.body, envelope.version)
        if fault is not None:
            return replace(
                reply,
                ok=False,
                code=fault.code,
                error=f"{fault.code}: {fault.text}" if fault.text else fault.code,
                transient=reply.unavailable or (fault.server and self._transient),
            )
        if not reply.ok:
            return reply
        try:
            if self._inspector is not None:
                self._inspector.check(envelope)
            found = typed(envelope) if typed is not None else self._content(envelope, attachments)
        except FaultRefusal as error:
            raise PermanentError(
                t(f"the reply can't be used: {error.detail[0]}", f"应答无法使用：{error.detail[1]}"),
                code=error.code,
                response=body,
            ) from None
        return replace(reply, body=found)

    def _envelope(self, body: bytes) -> tuple[Envelope, dict[str, bytes] | None]:
        if body.lstrip()[:2] == b"--":
            root, charset, attachments = unpack("", body)
            return read_envelope(root, charset or self._encoding), attachments
        return read_envelope(body, self._encoding), None

    def _content(self, envelope: Envelope, attachments: dict[str, bytes] | None) -> bytes:
        operation = envelope.operation
        if operation is None:
            return b""
        if self._result is None:
            if attachments is not None:
                inline_attachments(operation, attachments, self._limit)
            return serialised(operation)
        element = self._result.find(operation)
        if element is None:
            return b""  # a null result
        element = resolved(element, envelope.body)
        if self._binary:
            return binary_of(element, attachments or {})
        if attachments is not None:
            inline_attachments(element, attachments, self._limit)
        return content_of(element)
