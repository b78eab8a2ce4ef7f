"""One call of our service: reading it, and writing its answer."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from functools import lru_cache

from lxml import etree

from adapters.soap.addressing import Addressed, addressed
from adapters.soap.envelope import Envelope, read_envelope
from adapters.soap.fault import FaultRefusal
from adapters.soap.mtom import unpack
from adapters.soap.names import ADDRESSING, ENCODING, XSI, Version, local, namespace
from adapters.soap.options import SoapListen
from adapters.soap.payload import (
    Place,
    binary_of,
    content_of,
    inline_attachments,
    parameters_of,
    resolved,
    serialised,
    text_of,
)
from adapters.soap.security import SECURITY, Inspector
from hub.masking import mask_text

__all__ = ["Call", "CallReader", "action_of"]

_LONGEST_VARIABLE = 200
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([\w.:-]{1,40})', re.IGNORECASE)
_ACTION = re.compile(r';\s*action\s*=\s*(?:"([^"]*)"|([^\s;"]*))', re.IGNORECASE)
_KINDS = frozenset(("text/xml", "application/xml", "application/soap+xml", "multipart/related", ""))


@dataclass(slots=True)
class Call:
    """What a caller sent, as far as it is known; the answer is written in its words."""

    version: Version
    operation: str = ""
    space: str = ""
    qualified: bool = False
    typed: bool = False  # rpc/encoded: its values have types
    attached: bool = False  # it came as MTOM
    addressing: Addressed | None = None
    message: bytes = b""
    variables: dict[str, str] = field(default_factory=dict)


class CallReader:
    """Reads the calls of one interface by its options. Raises :class:`HubError` when files of its security can't be used."""

    def __init__(self, options: SoapListen, limit: int) -> None:
        self._options = options
        self._limit = limit
        self._place = Place(options.payload)
        self._versions = options.accepts
        self._operations = frozenset(options.operations)
        self._spaces = frozenset((options.namespace, *options.namespaces))
        self._actions = frozenset(options.soap_actions)
        self._credentials = {name: value.get_secret_value().encode() for name, value in options.credentials.items()}
        understood = {*options.understands, *(f"{{{space}}}*" for space in ADDRESSING)}
        self._inspector: Inspector | None = None
        if options.security is not None and (options.security.username or options.security.trusted):
            self._inspector = Inspector(options.security, user=True)
            understood.add(SECURITY)
        self._understood = frozenset(understood)

    def read(self, call: Call, data: bytes, content_type: str, soap_action: str) -> None:
        """Fill ``call`` from the body of an HTTP request; raises :class:`FaultRefusal`, what is known by then being in ``call``."""
        kind = content_type.partition(";")[0].strip().lower()
        if kind not in _KINDS:
            raise FaultRefusal(
                "client",
                "soap.content_type",
                ("this content type is not SOAP", "该内容类型不是 SOAP"),
                (
                    "send text/xml, application/soap+xml or multipart/related",
                    "请使用 text/xml、application/soap+xml 或 multipart/related",
                ),
                status=415,
            )
        found = _CHARSET.search(content_type)
        charset = found[1] if found else ""
        attachments: dict[str, bytes] = {}
        envelope_data = data
        if kind == "multipart/related":
            envelope_data, charset, attachments = unpack(content_type, data)
            call.attached = True
        envelope = read_envelope(envelope_data, charset)
        call.version = envelope.version
        self._check_version(envelope)
        operation = envelope.operation
        if operation is not None:
            call.operation, call.space = local(str(operation.tag)), namespace(str(operation.tag))
        call.addressing = addressed(envelope)
        envelope.must_understand(self._understood)
        if self._inspector is not None:
            if call.attached:  # what is signed is the envelope with its attachments in it (XOP 1.0, 3.1)
                inline_attachments(envelope.root, attachments, self._limit)
            self._inspector.check(envelope)
        self._check_action(
            soap_action or action_of(content_type) or (call.addressing.action if call.addressing else "")
        )
        self._check_operation(call)
        call.typed = _is_encoded(envelope)
        parameters = parameters_of(envelope)
        call.qualified = next((namespace(str(p.tag)) != "" for p in parameters.values()), self._options.qualified)
        self._check_credentials(parameters, envelope)
        call.message = self._message(envelope, envelope_data, attachments if call.attached else None)
        call.variables = self._variables(parameters, envelope)
        call.variables["operation"] = _shown(call.operation)
        if soap_action:
            call.variables["soap_action"] = _shown(soap_action)

    # -- checks --------------------------------------------------------------------------------------------------

    def _check_version(self, envelope: Envelope) -> None:
        if envelope.version not in self._versions:
            wanted = self._options.versions[0]
            raise FaultRefusal(
                "version",
                "soap.version",
                (f"this service takes SOAP {wanted}", f"该服务只接受 SOAP {wanted}"),
                status=500,
            )

    def _check_action(self, action: str) -> None:
        if self._actions and action not in self._actions:
            raise FaultRefusal(
                "ActionNotSupported",
                "soap.action",
                (
                    f"the action {mask_text(action[:100])!r} is not one of this service",
                    f"该服务没有动作 {mask_text(action[:100])!r}",
                ),
                ("send the soapAction of the WSDL", "请发送 WSDL 中的 soapAction"),
            )

    def _check_operation(self, call: Call) -> None:
        if self._place.kind == "envelope" and not self._operations:
            return
        if not call.operation:
            raise FaultRefusal("client", "soap.empty", ("the Body is empty", "Body 为空"))
        if self._operations and call.operation not in self._operations:
            shown = mask_text(call.operation[:100])
            raise FaultRefusal(
                "client",
                "soap.operation",
                (f"this service has no operation {shown}", f"该服务没有操作 {shown}"),
                ("see the WSDL (?wsdl)", "请参见 WSDL（?wsdl）"),
            )
        if "*" not in self._spaces and call.space not in self._spaces:
            raise FaultRefusal(
                "client",
                "soap.namespace",
                ("the operation has another namespace than this service", "操作的命名空间与该服务不符"),
                ("see the WSDL (?wsdl)", "请参见 WSDL（?wsdl）"),
            )

    def _check_credentials(self, parameters: dict[str, etree._Element], envelope: Envelope) -> None:
        for name, expected in self._credentials.items():
            element = parameters.get(name)
            given = b"" if element is None else text_of(resolved(element, envelope.body)).strip().encode()
            if not hmac.compare_digest(given, expected):
                raise FaultRefusal(
                    "FailedAuthentication",
                    "soap.credential",
                    (f"the parameter {name} is missing or wrong", f"参数 {name} 缺失或不正确"),
                )

    # -- parts ---------------------------------------------------------------------------------------------------

    def _message(self, envelope: Envelope, data: bytes, attachments: dict[str, bytes] | None) -> bytes:
        """``attachments``: None for an envelope that came alone."""
        kind = self._place.kind
        if kind == "parameter":
            element = self._place.find(envelope.operation)
            if element is None:
                wanted = self._options.payload.split()[1]
                raise FaultRefusal(
                    "client",
                    "soap.parameter",
                    (f"the parameter {wanted}, which holds the message, is missing", f"缺少承载消息的参数 {wanted}"),
                )
            element = resolved(element, envelope.body)
            if self._options.binary:
                return binary_of(element, attachments or {})
            if attachments is not None:
                inline_attachments(element, attachments, self._limit)
            return content_of(element)
        if attachments is not None:
            inline_attachments(envelope.root, attachments, self._limit)
            if kind == "envelope":
                return etree.tostring(envelope.root, encoding="UTF-8", xml_declaration=True)
        if kind == "envelope":
            return data
        return serialised(envelope.operation) if envelope.operation is not None else b""

    def _variables(self, parameters: dict[str, etree._Element], envelope: Envelope) -> dict[str, str]:
        found = {}
        for name in self._options.variables:
            element = parameters.get(name)
            if element is not None:
                found[name] = _shown(text_of(resolved(element, envelope.body)).strip())
        return found


def action_of(content_type: str) -> str:
    """The action parameter of SOAP 1.2 (RFC 3902)."""
    found = _ACTION.search(content_type)
    return (found[1] or found[2] or "") if found else ""


def _is_encoded(envelope: Envelope) -> bool:
    """Whether it is rpc/encoded (SOAP 1.1 section 5): as a header attribute, or by types on its parameters."""
    operation = envelope.operation
    if operation is None:
        return False
    style = f"{{{envelope.version.value}}}encodingStyle"
    if ENCODING in (operation.get(style), envelope.body.get(style), envelope.root.get(style)):
        return True
    return next((child.get(f"{{{XSI}}}type") is not None for child in operation.iterchildren(etree.Element)), False)


@lru_cache(4096)
def _masked(text: str) -> str:
    return mask_text(text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text))


def _shown(text: str) -> str:
    """For the call log and expressions: short, printable, masked; most values come again and again."""
    return _masked(text[:_LONGEST_VARIABLE])
