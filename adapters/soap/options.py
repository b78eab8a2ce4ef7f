"""Options of the SOAP adapter: ``listen`` of an ``in`` interface, ``connect`` of an ``out`` interface."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from adapters.http.client_options import ClientOptions
from adapters.http.options import HttpConnect
from adapters.http.server_options import CallOptions, ServerPath
from adapters.soap.acknowledge import MCCI, fill
from adapters.soap.names import Version
from adapters.soap.payload import Place
from adapters.soap.security_options import InboundSecurity, OutboundSecurity
from adapters.template import Template
from hub.api import CodecError
from hub.codecs.xml_parse import parse

__all__ = ["Form", "SoapConnect", "SoapListen"]

_NAME = re.compile(r"[^\W\d][\w.-]*")  # an XML name without a colon, as far as services have them
_CLARK = re.compile(r"\{[^{}\s]+\}[^{}\s]+")
#: How a string stands inside an element.
Form = Literal["escaped", "cdata", "xml"]


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not the name of an element; write e.g. HIPMessageServer")
    return value


def _place(value: str) -> str:
    Place(value)
    return value


def _printable(value: str) -> str:
    if not value.isprintable() or any(char in value for char in '<>"'):
        raise ValueError(f"{value!r}: blanks and visible characters except < > and quotes only")
    return value


Name = Annotated[str, AfterValidator(_name)]
Where = Annotated[str, AfterValidator(_place)]
Plain = Annotated[str, AfterValidator(_printable)]


class SoapListen(CallOptions):
    """``listen`` of a SOAP interface. Interfaces with the same host and port share one server."""

    path: ServerPath = Field(description="e.g. /services/HIPService; the WSDL is at this path with ?wsdl")
    security: InboundSecurity | None = Field(None, description="WS-Security that callers must show")
    credentials: dict[Name, SecretStr] = Field(
        default_factory=dict, description="parameters that must have exactly this text, e.g. {token: ...}; never logged"
    )

    versions: list[Literal["1.1", "1.2"]] = Field(["1.1", "1.2"], min_length=1, description="versions of SOAP taken")
    operations: list[Name] = Field(
        default_factory=list, description="names of the element in the body that are taken; default: any"
    )
    namespace: Plain = Field("", description="namespace of the operations, for the WSDL")
    namespaces: list[Plain] = Field(
        ["*"], description="namespaces taken besides; * any. The answer has the namespace of the request"
    )
    soap_actions: list[Plain] = Field(
        default_factory=list, description="SOAPAction or action values taken; default: any. The first is in the WSDL"
    )
    understands: list[str] = Field(
        default_factory=list,
        description="{namespace}name of header blocks that may say mustUnderstand though nothing is done with them",
    )
    style: Literal["wrapped", "bare", "rpc"] = Field(
        "wrapped", description="of the WSDL and of the answer: document/literal wrapped or bare, rpc/literal"
    )
    parameters: list[Name] = Field(default_factory=list, description="parameters of the operations, for the WSDL")
    qualified: bool = Field(
        False,
        description="parameters have the namespace of the operation; answers do as the request does where it shows",
    )
    payload: Where = Field(
        "body",
        description="what becomes the message: `body`, the first element in it; `parameter NAME` or `parameter POSITION` "
        "(from 1; -1 the last), its text or the XML in it; `envelope`, everything as it came",
    )
    binary: bool = Field(
        False,
        description="the parameter, and the result, is xs:base64Binary: the message is its bytes, in the envelope or attached",
    )
    variables: list[Name] = Field(
        ["action"],
        description="parameters kept in the call log, masked, and known to expressions as $name; $operation and "
        "$soap_action are as well",
    )

    response: Plain = Field("{operation}Response", description="element of the answer")
    result: Plain = Field("{operation}Result", description="element in it that holds the reply")
    result_form: Form = Field("escaped", description="how the reply stands in the result; xml: as elements")
    accepted: str = Field(
        "",
        description="event style: the reply to a stored message; `mcci`: MCCI_IN000002UV01 with AA; else a text with "
        "{message_id} {control_id} {outcome} {code} {text} {now} {uuid}; default: an empty response",
    )
    refused: str = Field(
        "", description="the reply to a message that is not accepted, likewise, `mcci`: AE; default: a Fault"
    )
    wsdl: str = Field("", description="WSDL file to serve, with what it imports from its folder; default: generated")
    address: Plain = Field("", description="address in the WSDL; default: as the caller reached it")

    @field_validator("understands")
    @classmethod
    def _block_names(cls, values: list[str]) -> list[str]:
        for value in values:
            if not _CLARK.fullmatch(value):
                raise ValueError(f"{value!r}: write {{namespace}}name")
        return values

    @field_validator("response", "result")
    @classmethod
    def _element_name(cls, value: str) -> str:
        _name(value.replace("{operation}", "x"))
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if "{" in self.path:
            raise ValueError("path has no {name} parts; parameters of a service are in the envelope")
        for template in (self.accepted, self.refused):
            if template not in ("", MCCI) and (self.result_form == "xml" or not self.payload.startswith("parameter")):
                try:
                    parse(fill(template, {}).encode())
                except CodecError as error:
                    raise ValueError(f"accepted and refused must be XML here: {error.text}") from None
        if self.binary and not self.payload.startswith("parameter"):
            raise ValueError("binary goes with payload: parameter")
        wrong = set(self.credentials) & set(self.variables)
        if wrong:
            raise ValueError(
                f"{', '.join(sorted(wrong))} is a credential and must not be in variables: it would be logged"
            )
        security = self.security
        if self.payload == "envelope" and (
            self.credentials or (security is not None and security.username and security.password_type != "digest")  # noqa: S105
        ):
            raise ValueError(
                "with payload: envelope the password or credential would be stored with every message; "
                "use password_type: digest, or another payload"
            )
        return self

    @property
    def accepts(self) -> frozenset[Version]:
        return frozenset(Version.V11 if word == "1.1" else Version.V12 for word in self.versions)


class SoapConnect(ClientOptions):
    """``connect`` of a SOAP interface."""

    version: Literal["1.1", "1.2"] = "1.1"
    operation: str = Field("", description="element around the parameters; may hold {name} templates")
    namespace: Plain = Field("", description="its namespace")
    qualified: bool = Field(False, description="parameters have this namespace as well")
    parameters: dict[Name, str] = Field(
        default_factory=dict,
        description="in order: name and text, which may hold {name} templates of the message's keys, {type}, {control_id}, "
        "{idempotency_key}; the one that is exactly {body} holds the message. Default, without operation: the message is "
        "the content of the Body",
    )
    form: Form = Field("escaped", description="how the message stands in its parameter; xml: as elements")
    binary: bool = Field(False, description="the message is sent as xs:base64Binary, and the result is read as such")
    mtom: bool = Field(False, description="binary: as an attachment (MTOM)")
    soap_action: Plain | None = Field(
        None,
        description="SOAPAction header or action parameter; default: namespace and operation, '' sends an empty one",
    )
    result: str = Field(
        "",
        description="NAME or POSITION (from 1; -1 the last) of the parameter of the answer that is the reply; "
        "default: the element in the Body",
    )
    one_way: bool = Field(
        False, description="the service answers nothing: an empty 200 is good; 202 and 204 always are"
    )
    faults_transient: bool = Field(True, description="a Server or Receiver fault may go away by itself: try again")
    addressing: bool = Field(
        False, description="send WS-Addressing headers; the MessageID is made of the idempotency key"
    )
    security: OutboundSecurity | None = Field(None, description="WS-Security to show, and to ask of replies")

    wsdl: str = Field(
        "",
        description="WSDL file, or its address on the host of url: the message, a JSON object of the parameters or the "
        "operation's XML element, is made into what it declares. Read at start; nothing is fetched from other hosts",
    )
    service: str = Field("", description="wsdl: which service; default: the first")
    endpoint: str = Field("", description="wsdl: which port of the service; default: the first of the version")

    @field_validator("result")
    @classmethod
    def _is_place(cls, value: str) -> str:
        if value:
            Place(f"parameter {value}")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if any(name.lower() == "soapaction" for name in self.headers):
            raise ValueError("header SOAPAction is written by the adapter itself; use soap_action")
        names = Template(self.operation).names
        for text in self.parameters.values():
            Template(text)
        if self.wsdl:
            if not self.operation or names:
                raise ValueError("wsdl needs the name of an operation, without templates")
            if self.parameters or self.namespace or self.binary or self.soap_action is not None:
                raise ValueError("parameters, namespace, binary and soap_action come from the wsdl")
            return self
        holders = [name for name, text in self.parameters.items() if text == "{body}"]
        if self.parameters and (not self.operation or len(holders) != 1):
            raise ValueError("parameters need an operation, and exactly one of them is {body}, the message")
        if self.operation and not self.parameters:
            raise ValueError("an operation needs parameters; without them the message is the content of the Body")
        if not names and self.operation:
            _name(self.operation)
        if self.binary and not holders:
            raise ValueError("binary needs parameters, one of them {body}")
        if self.mtom and not self.binary:
            raise ValueError("mtom goes with binary: true")
        if self.soap_action is None and names:
            raise ValueError("an operation with templates needs a soap_action; '' sends an empty one")
        return self

    def http(self, content_type: str, **headers: str) -> HttpConnect:
        """The same as options of the HTTP client."""
        values = {name: getattr(self, name) for name in ClientOptions.model_fields}
        values["headers"] = {**self.headers, **headers}
        return HttpConnect(**values, method="POST", content_type=content_type)
