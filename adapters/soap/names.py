"""Namespaces and versions of SOAP and what travels in its headers."""

from __future__ import annotations

from enum import Enum

__all__ = [
    "ADDRESSING",
    "DS",
    "ENCODING",
    "PROBLEM",
    "WSSE",
    "WSU",
    "XOP",
    "XSD",
    "XSI",
    "Version",
    "local",
    "namespace",
]

XSD = "http://www.w3.org/2001/XMLSchema"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
#: SOAP 1.1, section 5: what rpc/encoded messages name as their ``encodingStyle``.
ENCODING = "http://schemas.xmlsoap.org/soap/encoding/"
XOP = "http://www.w3.org/2004/08/xop/include"
DS = "http://www.w3.org/2000/09/xmldsig#"
_OASIS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
WSSE = f"{_OASIS}wssecurity-secext-1.0.xsd"
WSU = f"{_OASIS}wssecurity-utility-1.0.xsd"
#: WS-Addressing 1.0 and the submission of 2004 that older stacks write.
ADDRESSING = ("http://www.w3.org/2005/08/addressing", "http://schemas.xmlsoap.org/ws/2004/08/addressing")
#: Of our own elements in the detail of a fault.
PROBLEM = "urn:tongqu:problem"


class Version(Enum):
    """A version of SOAP; the value is the namespace of its envelope."""

    V11 = "http://schemas.xmlsoap.org/soap/envelope/"
    V12 = "http://www.w3.org/2003/05/soap-envelope"

    @property
    def content_type(self) -> str:
        return "text/xml" if self is Version.V11 else "application/soap+xml"


def local(tag: str) -> str:
    """The name of an element without its namespace."""
    return tag.rpartition("}")[2]


def namespace(tag: str) -> str:
    return tag[1:].partition("}")[0] if tag.startswith("{") else ""
