"""Refusals as problem documents (RFC 9457), in the language the caller prefers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from adapters.http.findings import XML_CODECS, operation_outcome, xml_problem
from hub.api import Codec, CodecError, ExchangeError, HubError, Refused, SendError, StoreBusy
from hub.i18n import language, t
from hub.ids import id_text
from hub.masking import mask_text

__all__ = [
    "MOST_FINDINGS",
    "RETRY_AFTER",
    "SERVER",
    "Refusal",
    "problem_of",
    "problem_response",
    "retry_headers",
    "target_code",
    "wants",
]

#: A text in English and in Chinese.
Text = tuple[str, str]

#: In every answer: the versions of what we run on are nobody's business.
SERVER = {"Server": "tongqu"}

#: Findings of validation told in one answer.
MOST_FINDINGS = 20

#: Seconds after which a caller may try again when the hub takes nothing in just now.
RETRY_AFTER = "5"

_TITLES: dict[int, Text] = {
    400: ("The request is malformed", "请求格式错误"),
    401: ("Authentication is required", "需要身份认证"),
    403: ("Access is not allowed", "禁止访问"),
    404: ("Nothing is there", "资源不存在"),
    405: ("The method is not allowed here", "不允许使用该方法"),
    408: ("The request came too slowly", "请求接收超时"),
    409: ("The first request is still under way", "首次请求仍在处理"),
    413: ("The message is too large", "消息过大"),
    415: ("The content type is not accepted", "不接受该内容类型"),
    417: ("The expectation can't be met", "无法满足 Expect 要求"),
    422: ("The message was not accepted", "消息未被接受"),
    429: ("Too many calls", "调用过于频繁"),
    431: ("The request head is too large", "请求头过大"),
    500: ("The hub failed", "枢纽内部错误"),
    502: ("The target failed", "目标系统失败"),
    503: ("Nothing can be accepted just now", "暂时无法接收"),
    504: ("The target did not answer in time", "目标系统未及时应答"),
}
_REFUSED: Text = ("The target refused the request", "目标系统拒绝了请求")
#: By :class:`hub.api.ExchangeError`'s kinds.
_EXCHANGE = {"refused": 422, "failed": 502, "unreachable": 502, "late": 504, "pending": 409, "hub": 500}
#: What a target says of the request itself is said to its caller; 401, 403, 405, 407 or 429 are about the hub as the target's caller.
_PASSED_ON = frozenset((400, 404, 410, 412, 413, 415, 422, 451))
_LONGEST_CODE = 64


@dataclass(slots=True)
class Refusal(Exception):
    """The adapter's own refusal of a call."""

    status: int
    code: str
    detail: Text
    remedy: Text = ("", "")
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_error(self) -> HubError:
        """The same for the call log, in the hub's language."""
        return HubError(t(*self.detail), code=self.code, remedy=t(*self.remedy))


def wants(accept_language: str) -> str:
    """``zh`` or ``en``: the one with the higher weight in ``Accept-Language`` (RFC 9110, 12.5.4), else the hub's."""
    best, chosen = 0.0, language()
    for part in accept_language[:256].lower().split(","):
        tag, _, parameter = part.strip().partition(";")
        primary = tag.strip().partition("-")[0]
        if primary not in ("zh", "en"):
            continue
        name, _, value = parameter.strip().partition("=")
        try:
            weight = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            continue
        if best < weight <= 1.0:
            best, chosen = weight, primary
    return chosen


def problem_of(error: HubError | None) -> tuple[int, str]:
    """Status and code for a message the kernel did not accept, or whose exchange failed."""
    if error is None:
        return 422, "intake.refused"
    code = error.code
    if isinstance(error, StoreBusy):
        return 503, code
    if isinstance(error, ExchangeError):
        return _status_of(error), code
    if isinstance(error, Refused):
        return error.status, code
    if code == "intake.too_large":
        return 413, code
    if isinstance(error, CodecError) or code.startswith("codec."):
        return 400, code
    if code == "request.pending":
        return 409, code
    if code.endswith("timeout"):
        return 504, code
    if isinstance(error, SendError) or code in ("request.failed", "reply.mapping"):
        return 502, code
    return 422, code


def _status_of(error: ExchangeError) -> int:
    if error.kind == "refused" and error.status in _PASSED_ON:
        return error.status
    if error.kind == "refused" and 400 <= error.status < 500 and error.status != 409:
        return 502  # the target does not want the hub, whatever the request is
    if error.kind == "failed" and error.reply_code.endswith("timeout"):
        return 504
    return _EXCHANGE[error.kind]


def target_code(error: HubError | None) -> str:
    """The code with which the target failed or refused a request; "" for none."""
    return mask_text(error.reply_code)[:_LONGEST_CODE] if isinstance(error, ExchangeError) else ""


def retry_headers(status: int, code: str) -> dict[str, str]:
    """When to send again what was not taken now, or is still under way."""
    return {"Retry-After": RETRY_AFTER} if status == 503 or code == "request.pending" else {}


def problem_response(
    accept_language: str,
    path: str,
    status: int,
    code: str,
    detail: Text,
    *,
    remedy: Text = ("", ""),
    message_id: int = 0,
    target: str = "",
    headers: Mapping[str, str] | None = None,
    findings: Sequence[Mapping[str, str]] = (),
    codec: Codec | None = None,
) -> web.Response:
    """``application/problem+json``; ``message_id`` is told where the message is stored all the same.

    ``codec``: that of the interface. Where it is FHIR the answer is an OperationOutcome, where it is XML
    ``application/problem+xml``. ``target``: the code with which the target failed. ``findings``: what validation says of the message, as ``Finding.as_dict``.
    """
    chosen = wants(accept_language)
    pick = 1 if chosen == "zh" else 0
    title = _REFUSED if code == "request.failed" and status < 500 else _TITLES.get(status, _TITLES[422])
    document: dict[str, Any] = {
        "type": f"urn:tongqu:problem:{code}",
        "title": title[pick],
        "status": status,
        "detail": detail[pick],
        "instance": path[:512].encode("ascii", "replace").decode(),
        "code": code,
    }
    if remedy[pick]:
        document["remedy"] = remedy[pick]
    if target:
        document["target_code"] = target
    if message_id:
        document["message_id"] = id_text(message_id)
    findings = findings[:MOST_FINDINGS]
    if codec is not None and codec.name == "fhir":
        response = web.Response(status=status, body=operation_outcome(codec, document, findings), headers=headers)
        response.content_type = codec.content_type
    else:
        if findings:
            document["findings"] = [dict(finding) for finding in findings]
        xml = codec is not None and codec.name in XML_CODECS
        body = xml_problem(document) if xml else orjson.dumps(document)
        response = web.Response(status=status, body=body, headers=headers)
        response.content_type = "application/problem+xml" if xml else "application/problem+json"
    response.headers["Content-Language"] = chosen
    response.headers.update(SERVER)
    return response
