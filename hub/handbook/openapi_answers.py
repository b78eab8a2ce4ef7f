"""Answers in OpenAPI: success, problem documents, or the words of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.contract import Interface
from hub.handbook.mapping_fields import Mappings
from hub.handbook.outcomes import CALLER_ERRORS, REQUEST_ERRORS
from hub.i18n import t

__all__ = ["MEDIA_TYPES", "common_schemas", "responses"]

MEDIA_TYPES = {
    "json": "application/json",
    "xml": "application/xml",
    "cda": "application/xml",
    "hl7v3": "application/xml",
    "fhir": "application/fhir+json",
    "form": "application/x-www-form-urlencoded",
    "csv": "text/csv",
    "hl7v2": "application/hl7-v2",
}


def responses(interface: Interface, mappings: Mappings) -> dict[str, Any]:
    """By status: the answer of success, and every refusal."""
    responses: dict[str, Any] = {}
    replies = interface.listen.get("replies")
    accepted = replies.get("accepted") if isinstance(replies, dict) else None
    refused = replies.get("refused") if isinstance(replies, dict) else None
    if interface.style == "request":
        answer = {
            "description": t("the answer of the target", "目标系统的应答"),
            "content": {
                MEDIA_TYPES.get(interface.codec, "application/octet-stream"): {"schema": _reply(interface, mappings)}
            },
        }
        if interface.listen.get("redirect"):
            words = t("where the browser is led", "浏览器跳转地址")
            location = {"description": words, "schema": {"type": "string", "format": "uri"}}
            responses["303"] = {**answer, "headers": {"Location": location}}
        else:
            responses["200"] = answer
    elif isinstance(accepted, dict):
        responses[str(accepted.get("status") or 200)] = {
            "description": t("stored durably", "已持久化存储"),
            "content": _own(accepted),
        }
    elif interface.adapter == "soap":
        responses["200"] = {
            "description": t("stored durably", "已持久化存储"),
            "content": {"text/xml": {"schema": {"type": "string"}}},
        }
    else:
        status = str(interface.listen.get("accepted_status") or (201 if interface.adapter == "fhir" else 202))
        body = (
            {}
            if status == "204"
            else {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"}}}}
        )
        if interface.adapter == "fhir":
            body = {}
        responses[status] = {"description": t("stored durably", "已持久化存储"), **body}
    content = _own(refused) if isinstance(refused, dict) else _problem(interface)
    fixed = str(refused.get("status") or "") if isinstance(refused, dict) else ""
    for status, code, meaning, _ in (*CALLER_ERRORS, *(REQUEST_ERRORS if interface.style == "request" else ())):
        if fixed:
            status = fixed
        elif interface.adapter == "soap":
            status = "500"
        words = f"{t(*meaning)} ({code})".replace("`", "")
        known = responses.get(status)
        if known is not None:
            known["description"] += f"; {words}"
            known.setdefault("content", content)
            continue
        responses[status] = {"description": words, "content": content}
        if status in ("409", "429", "503"):
            words = t("seconds to wait", "应等待的秒数")
            responses[status]["headers"] = {"Retry-After": {"description": words, "schema": {"type": "integer"}}}
    return {key: responses[key] for key in sorted(responses)}


def _reply(interface: Interface, mappings: Mappings) -> dict[str, Any]:
    """Fields of the answer, as far as the mapping of the reply names them."""
    mapping = mappings.get(interface.reply_mapping) if interface.reply_mapping else None
    if mapping is None or mapping.target_codec != "json":
        return {}
    names = dict.fromkeys(one.target.partition(".")[0].partition("[")[0] for one in mapping.fields)
    properties: dict[str, Any] = {name: {} for name in names if name and not name.startswith("$")}
    return {"type": "object", "properties": properties} if properties else {}


def _own(reply: Mapping[str, Any]) -> dict[str, Any]:
    """An answer in the words of the contract."""
    body = reply.get("body")
    if isinstance(body, Mapping):
        return {"application/json": {"schema": {"type": "object"}, "example": dict(body)}}
    kind = str(reply.get("content_type") or "").partition(";")[0] or (
        "application/xml" if str(body).startswith("<") else "text/plain"
    )
    return {kind: {"schema": {"type": "string"}, "example": str(body)}}


def _problem(interface: Interface) -> dict[str, Any]:
    if interface.adapter == "soap":
        return {"text/xml": {"schema": {"type": "string", "description": "SOAP Fault"}}}
    if interface.codec == "fhir":
        return {
            "application/fhir+json": {
                "schema": {"type": "object", "properties": {"resourceType": {"const": "OperationOutcome"}}}
            }
        }
    if interface.codec in ("xml", "cda", "hl7v3"):
        return {"application/problem+xml": {"schema": {"type": "string"}}}
    return {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def common_schemas() -> dict[str, Any]:
    """What the hub says of its own accord."""
    text = {"type": "string"}
    findings = {
        "type": "array",
        "maxItems": 20,
        "description": t("what the checks found", "校验发现的问题"),
        "items": {"type": "object", "additionalProperties": text},
    }
    return {
        "Accepted": {
            "type": "object",
            "description": t("What the hub says of a message it has stored.", "枢纽对已存储消息的确认。"),
            "required": ["message_id", "outcome"],
            "properties": {
                "message_id": {**text, "description": t("number of the message in the hub", "枢纽内的消息编号")},
                "outcome": {"enum": ["accepted", "duplicate", "conflict"]},
                "findings": findings,
            },
        },
        "Problem": {
            "type": "object",
            "description": t("Why a call was refused (RFC 9457).", "拒绝原因（RFC 9457）。"),
            "required": ["type", "title", "status", "detail", "instance", "code"],
            "properties": {
                "type": {**text, "description": "urn:tongqu:problem:<code>"},
                "title": text,
                "status": {"type": "integer"},
                "detail": text,
                "instance": text,
                "code": {**text, "description": t("stable code", "稳定的错误码")},
                "remedy": {**text, "description": t("what to do", "处理建议")},
                "target_code": {**text, "description": t("the target's own code", "目标系统的返回码")},
                "message_id": {
                    **text,
                    "description": t("where the message is stored all the same", "消息仍已存储时的编号"),
                },
                "findings": findings,
            },
        },
    }
