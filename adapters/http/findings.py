"""Refusals in the form of the sender's own format: FHIR gets an OperationOutcome, XML a problem document in XML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lxml import etree

from hub.api import Codec, CodecError

__all__ = ["XML_CODECS", "operation_outcome", "xml_problem"]

XML_CODECS = frozenset({"xml", "cda", "hl7v3"})
#: RFC 7807, appendix A; RFC 9457 keeps the format without describing it anew.
_NAMESPACE = "urn:ietf:rfc:7807"
#: Kind of a finding -> code of FHIR's value set issue-type.
_KINDS = {
    "missing": "required",
    "format": "value",
    "length": "too-long",
    "range": "value",
    "code": "code-invalid",
    "contradiction": "business-rule",
    "duplicate": "duplicate",
    "structure": "structure",
}
_STATUS = {
    400: "structure",
    401: "login",
    403: "forbidden",
    409: "conflict",
    413: "too-long",
    503: "transient",
    504: "timeout",
}

Findings = Sequence[Mapping[str, str]]


def operation_outcome(codec: Codec, problem: Mapping[str, Any], findings: Findings) -> bytes:
    """The problem and what validation found, as the FHIR resource the codec writes."""
    issues: list[dict[str, Any]] = [
        {
            "severity": finding["severity"],
            "code": _KINDS.get(finding["kind"], "invalid"),
            "details": {"text": finding["text"] or finding["rule"]},
            "diagnostics": f"{finding['rule']}: {finding['advice']}" if finding["advice"] else finding["rule"],
            **({"expression": [finding["place"]]} if finding["place"] else {}),
        }
        for finding in findings
    ]
    if not issues:
        transient = {"severity": "error", "code": _STATUS.get(problem["status"], "processing")}
        issues = [{**transient, "details": {"text": problem["detail"]}, "diagnostics": problem["code"]}]
    try:
        return codec.encode({"resourceType": "OperationOutcome", "issue": issues})
    except CodecError:  # characters XML can't have
        return codec.encode({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "invalid"}]})


def xml_problem(problem: Mapping[str, Any]) -> bytes:
    """The members of a problem document as elements; lists as repeated ``i`` (RFC 7807, appendix A)."""
    root = etree.Element(f"{{{_NAMESPACE}}}problem", nsmap={None: _NAMESPACE})  # type: ignore[dict-item]
    for name, value in problem.items():
        part = etree.SubElement(root, f"{{{_NAMESPACE}}}{name}")
        if isinstance(value, list):
            for item in value:
                entry = etree.SubElement(part, f"{{{_NAMESPACE}}}i")
                for key, text in item.items():
                    etree.SubElement(entry, f"{{{_NAMESPACE}}}{key}").text = _clean(text)
        else:
            part.text = _clean(str(value))
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True)


def _clean(text: str) -> str:
    """Without what XML 1.0 can't hold."""
    return "".join(c if c.isprintable() or c in "\t\n" else "?" for c in text)
