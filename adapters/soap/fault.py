"""Faults (SOAP 1.1 section 4.4, SOAP 1.2 part 1 section 5.4): ours, and those of others.

What is wrong is told three times: as the code of the protocol, as a sentence, and in the detail by our own stable code with the remedy
and what validation found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lxml import etree

from adapters.http.problem import MOST_FINDINGS, Refusal
from adapters.soap.names import ADDRESSING, PROBLEM, WSSE, Version, local, namespace
from adapters.soap.text import as_text, attribute
from hub.masking import mask_text

__all__ = ["Fault", "FaultRefusal", "fault_body", "fault_of", "fault_status", "not_understood"]

_LONGEST_TEXT = 400
#: Our word -> code of SOAP 1.1, code of SOAP 1.2, namespace and name of the subcode.
_CODES: dict[str, tuple[str, str, str, str]] = {
    "client": ("Client", "Sender", "", ""),
    "server": ("Server", "Receiver", "", ""),
    "version": ("VersionMismatch", "VersionMismatch", "", ""),
    "must_understand": ("MustUnderstand", "MustUnderstand", "", ""),
    # WS-Security 1.1, section 12; WS-Addressing 1.0 SOAP binding, section 6.4
    "InvalidSecurity": ("Client", "Sender", WSSE, "InvalidSecurity"),
    "FailedAuthentication": ("Client", "Sender", WSSE, "FailedAuthentication"),
    "FailedCheck": ("Client", "Sender", WSSE, "FailedCheck"),
    "InvalidSecurityToken": ("Client", "Sender", WSSE, "InvalidSecurityToken"),
    "UnsupportedAlgorithm": ("Client", "Sender", WSSE, "UnsupportedAlgorithm"),
    "MessageExpired": (
        "Client",
        "Sender",
        "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd",
        "MessageExpired",
    ),
    "InvalidAddressingHeader": ("Client", "Sender", ADDRESSING[0], "InvalidAddressingHeader"),
    "ActionNotSupported": ("Client", "Sender", ADDRESSING[0], "ActionNotSupported"),
}


class FaultRefusal(Refusal):
    """A refusal with the fault it is told as; its status is that of SOAP's HTTP binding unless given."""

    def __init__(
        self,
        fault: str,
        code: str,
        detail: tuple[str, str],
        remedy: tuple[str, str] = ("", ""),
        *,
        status: int = 0,
        headers: Mapping[str, str] | None = None,
        blocks: Sequence[str] = (),
    ) -> None:
        super().__init__(status, code, detail, remedy, headers or {})
        self.fault = fault
        self.blocks = blocks  #: header blocks that were not understood, as ``{namespace}name``


def fault_body(
    version: Version,
    fault: str,
    code: str,
    text: str,
    *,
    language: str,
    remedy: str = "",
    message_id: str = "",
    target: str = "",
    findings: Sequence[Mapping[str, str]] = (),
) -> str:
    """The Fault element; ``fault`` is one of the words of this module, ``target`` the code with which a target failed. Uses the prefix ``soap`` for the envelope's namespace."""
    old, new, sub_space, sub_name = _CODES[fault]
    detail = f"<t:code>{as_text(code)}</t:code>"
    if remedy:
        detail += f"<t:remedy>{as_text(_clean(remedy))}</t:remedy>"
    if target:
        detail += f"<t:targetCode>{as_text(_clean(target))}</t:targetCode>"
    if message_id:
        detail += f"<t:messageId>{as_text(message_id)}</t:messageId>"
    for finding in findings[:MOST_FINDINGS]:
        members = "".join(
            f' {name}="{attribute(_clean(value))}"' for name, value in finding.items() if name != "text" and value
        )
        detail += f"<t:finding{members}>{as_text(_clean(finding.get('text', '')))}</t:finding>"
    detail = f'<t:problem xmlns:t="{PROBLEM}">{detail}</t:problem>'
    text = as_text(_clean(text)[:_LONGEST_TEXT])
    if version is Version.V11:
        shown = (
            f'<faultcode xmlns:s="{sub_space}">s:{sub_name}</faultcode>'
            if sub_name
            else f"<faultcode>soap:{old}</faultcode>"
        )
        return (
            f'<soap:Fault>{shown}<faultstring xml:lang="{language}">{text}</faultstring>'
            f"<detail>{detail}</detail></soap:Fault>"
        )
    sub = (
        f'<soap:Subcode><soap:Value xmlns:s="{sub_space}">s:{sub_name}</soap:Value></soap:Subcode>' if sub_name else ""
    )
    return (
        f"<soap:Fault><soap:Code><soap:Value>soap:{new}</soap:Value>{sub}</soap:Code>"
        f'<soap:Reason><soap:Text xml:lang="{language}">{text}</soap:Text></soap:Reason>'
        f"<soap:Detail>{detail}</soap:Detail></soap:Fault>"
    )


def fault_status(version: Version, fault: str) -> int:
    """SOAP 1.1 section 6.2: always 500. SOAP 1.2 part 2 section 7.5.2.2: 400 for the sender's fault."""
    return 400 if version is Version.V12 and _CODES[fault][1] == "Sender" else 500


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault somebody else sent."""

    code: str  # the most special one: the subcode where there is one, without prefix
    text: str  # masked
    server: bool  # whether it blames the server, so that the same may succeed later


def fault_of(body: etree._Element, version: Version) -> Fault | None:
    """The fault in a Body, if it holds one."""
    found = next(body.iterchildren(f"{{{version.value}}}Fault"), None)
    if found is None:
        return None
    if version is Version.V11:
        name = local(qname(found.find("faultcode")))
        return Fault(name, _said(found.find("faultstring")), _blames_server(name))
    space = f"{{{version.value}}}"
    code = found.find(f"{space}Code")
    value = local(qname(code.find(f"{space}Value") if code is not None else None))
    special, deeper = value, code
    while deeper is not None and (deeper := deeper.find(f"{space}Subcode")) is not None:
        special = local(qname(deeper.find(f"{space}Value"))) or special
    return Fault(special, _said(found.find(f"{space}Reason/{space}Text")), _blames_server(value))


def _blames_server(code: str) -> bool:
    """Codes may be refined with dots, and Axis writes those of SOAP 1.1 in version 1.2 as well."""
    return code.partition(".")[0].lower() in ("server", "receiver")


def qname(element: etree._Element | None) -> str:
    """A qualified name in an element's text as ``{namespace}name``."""
    if element is None:
        return ""
    prefix, colon, name = (element.text or "").strip().rpartition(":")
    space = element.nsmap.get(prefix if colon else None)
    return f"{{{space}}}{name}" if space else name


def not_understood(blocks: Sequence[str]) -> str:
    """Header blocks that name what was not understood (SOAP 1.2 part 1, 5.4.8)."""
    return "".join(
        f'<soap:NotUnderstood qname="n:{attribute(local(tag))}" xmlns:n="{attribute(namespace(tag))}"/>'
        for tag in blocks
    )


def _said(element: etree._Element | None) -> str:
    text: Any = element.xpath("string()") if element is not None else ""
    return mask_text(" ".join(_clean(str(text)).split())[:_LONGEST_TEXT])


def _clean(text: str) -> str:
    """Without what XML 1.0 can't hold."""
    return "".join(char if char.isprintable() or char in "\t\n" else " " for char in text)
