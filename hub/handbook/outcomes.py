"""What replies and failures mean: success and error tables of what is sent, refusals and acknowledgements of what comes in."""

from __future__ import annotations

import json

from hub.contract import HubConfig, Interface
from hub.handbook.blocks import Block, Code, Heading, Inline, Para, Pre, Table, code, joined, say
from hub.handbook.words import duration, in_language
from hub.i18n import t

__all__ = ["CALLER_ERRORS", "REQUEST_ERRORS", "errors"]

#: Status, code of the problem document, meaning, what the caller does: what the HTTP adapter and the intake really answer.
CALLER_ERRORS: tuple[tuple[str, str, tuple[str, str], tuple[str, str]], ...] = (
    (
        "400",
        "codec.invalid",
        ("the body is not what the format says", "报文无法按格式解析"),
        ("correct the body", "更正报文后重发"),
    ),
    (
        "401",
        "http.auth_missing, http.auth_wrong, security.*",
        ("credentials or signature are missing or wrong", "认证信息或签名缺失、不正确"),
        ("correct them; the same bytes are refused again", "更正认证或签名"),
    ),
    (
        "403",
        "http.address",
        ("the address may not call", "来源地址未放行"),
        ("have it allowed by the operator", "联系运维方放行"),
    ),
    ("404", "http.no_such_path", ("nothing is at this path", "路径不存在"), ("correct the address", "更正地址")),
    ("405", "http.method", ("the method is not allowed", "不允许的方法"), ("use the method above", "改用上文的方法")),
    (
        "409",
        "request.pending",
        ("the same request is still under way", "相同请求仍在处理"),
        ("ask again after Retry-After", "按 Retry-After 稍后再试"),
    ),
    (
        "413",
        "http.too_large, intake.too_large",
        ("the message is too large", "报文超过上限"),
        ("send less", "减小报文"),
    ),
    (
        "415",
        "http.content_type",
        ("the content type is not accepted", "内容类型不被接受"),
        ("use the content type above", "改用上文的内容类型"),
    ),
    (
        "422",
        "validate.failed, intake.refused",
        (
            "the content does not pass the checks; `findings` says which fields",
            "内容校验未通过，`findings` 列出具体字段",
        ),
        ("correct the fields", "更正所列字段"),
    ),
    ("429", "http.rate", ("too many calls", "调用过于频繁"), ("wait for Retry-After", "按 Retry-After 等待")),
    (
        "503",
        "store.busy, http.concurrency",
        ("nothing can be taken in just now; nothing was stored", "暂时无法接收，未存储任何内容"),
        ("send the same again after Retry-After", "按 Retry-After 原样重发"),
    ),
)


REQUEST_ERRORS: tuple[tuple[str, str, tuple[str, str], tuple[str, str]], ...] = (
    (
        "422",
        "request.failed",
        ("the target refused the request; `target_code` is its code", "目标系统拒绝了请求，`target_code` 为其返回码"),
        ("correct the request", "更正请求"),
    ),
    (
        "502",
        "request.failed",
        ("the target failed or can't be reached", "目标系统故障或无法连接"),
        ("try again later", "稍后再试"),
    ),
    (
        "504",
        "request.timeout",
        ("the target has not answered in time; the outcome is unknown", "目标系统未及时应答，结果未知"),
        ("ask for the outcome before you repeat it", "先查询结果，再决定是否重发"),
    ),
)


_CLASSES = {
    "permanent": (
        ("permanent", "不可恢复"),
        ("not sent again by itself; an operator decides (dead letter)", "不自动重发，进入死信由运维人员处理"),
    ),
    "transient": (("passing", "暂时性"), ("sent again, see retries", "按重试规则自动重发")),
    "delivered": (
        ("counts as success", "视为成功"),
        ("taken as delivered: the other side has it already", "视为已送达：对方已收到"),
    ),
}


def errors(interface: Interface, http: str, config: HubConfig) -> list[Block]:
    """The table of errors of one interface."""
    if interface.adapter == "results":
        return []
    if interface.direction == "in":
        return _caller_errors(interface) if http == "server" else _plain_caller_errors(interface)
    blocks: list[Block] = [Heading(3, (t("Success and errors", "成功判定与错误码"),))]
    if interface.success:
        blocks.append(
            Para(
                say(
                    t("A reply is one of success where {rule} holds.", "应答满足 {rule} 即为成功。"),
                    rule=code(interface.success),
                )
            )
        )
    elif http:
        blocks.append(
            Para(say(t("A reply with HTTP status 200 to 299 is one of success.", "HTTP 状态码 200–299 即为成功。")))
        )
    else:
        blocks.append(
            Para(
                (
                    t(
                        "The protocol's own acknowledgement says whether it was a success.",
                        "以协议自身的确认判定是否成功。",
                    ),
                )
            )
        )
    reply = interface.reply
    read = []
    if reply.code:
        read.append(say(t("error code {rule}", "错误码 {rule}"), rule=code(" ".join(reply.code.split()))))
    if reply.message:
        read.append(say(t("error text {rule}", "错误信息 {rule}"), rule=code(reply.message)))
    if read:
        blocks.append(
            Para(
                say(
                    t("Of a reply the hub reads: {read}.", "枢纽从应答中读取：{read}。"),
                    read=joined(read, t("; ", "；")),
                )
            )
        )
    policy = interface.retry or config.delivery.retry
    otherwise: Inline = (t("without a code above", "不含上列错误码时"),) if interface.errors else ()
    rows: list[list[Inline]] = []
    for number, rule in interface.errors.items():
        kind, done = _CLASSES[rule.kind]
        text = in_language(rule.text) or t("as the reply says", "以应答信息为准")
        rows.append([code(str(number)), (text,), (t(*kind),), (t(*done),)])
    if http:
        rows += [
            [
                (t("HTTP 5xx (but 501, 505), 408, 425, 429", "HTTP 5xx（501、505 除外）、408、425、429"),),
                otherwise,
                (t("passing", "暂时性"),),
                (t("sent again, see retries; Retry-After is respected", "按重试规则重发，遵守 Retry-After"),),
            ],
            [
                (t("other HTTP 3xx, 4xx; 501, 505", "其他 HTTP 3xx、4xx 及 501、505"),),
                otherwise,
                (t("permanent", "不可恢复"),),
                (t("not sent again by itself", "不自动重发"),),
            ],
        ]
    rows += [
        [
            (t("no answer in time, connection lost", "应答超时、连接中断"),),
            (t("the outcome is unknown", "结果未知"),),
            (t("passing", "暂时性"),),
            (t("sent again with the same key", "以相同标识重发"),),
        ],
        [
            (t("can't be reached", "无法连接"),),
            (t("nothing was sent", "尚未发出"),),
            (t("passing", "暂时性"),),
            (
                t(
                    f"waits for the target, at most {duration(policy.give_up_after)}; uses up no attempt",
                    f"等待对方恢复，最长 {duration(policy.give_up_after)}，不计入重试次数",
                ),
            ),
        ],
    ]
    head = [t("code", "错误码"), t("meaning", "含义"), t("class", "类别"), t("what the hub does", "枢纽的处理")]
    return [*blocks, Table(head, rows, "errors")]


def _caller_errors(interface: Interface) -> list[Block]:
    blocks: list[Block] = [Heading(3, (t("Errors", "错误"),))]
    replies = interface.listen.get("replies")
    own = replies.get("refused") if isinstance(replies, dict) else None
    if isinstance(own, dict):
        blocks.append(
            Para(
                (
                    t(
                        "A refusal has this body; the HTTP status says which case below it is, unless one is written here:",
                        "拒绝时的应答体如下；除非另行约定，HTTP 状态码对应下表：",
                    ),
                )
            )
        )
        blocks.append(Pre(_json(own.get("body")), "json"))
        codes = own.get("codes")
        if isinstance(codes, dict) and codes:
            rows: list[list[Inline]] = [[code(str(key)), code(str(value))] for key, value in codes.items()]
            blocks.append(Table([t("case", "情形"), t("code told", "返回码")], rows))
        if own.get("status"):
            blocks.append(
                Para(
                    say(
                        t("HTTP status of refusals: {status}.", "拒绝时的 HTTP 状态码：{status}。"),
                        status=Code(str(own["status"])),
                    )
                )
            )
    elif interface.adapter == "soap":
        blocks.append(
            Para(
                (
                    t(
                        "A refusal is a SOAP fault whose detail has the code below.",
                        "拒绝时返回 SOAP Fault，detail 中含下列错误码。",
                    ),
                )
            )
        )
    elif interface.codec == "fhir":
        blocks.append(Para((t("A refusal is an OperationOutcome.", "拒绝时返回 OperationOutcome。"),)))
    else:
        blocks.append(
            Para(
                say(
                    t(
                        "A refusal is a problem document (RFC 9457, `application/problem+json`) with `status`, `code`, `detail`, `remedy`; the language follows `Accept-Language`.",
                        "拒绝时返回 RFC 9457 问题文档（`application/problem+json`），含 `status`、`code`、`detail`、`remedy`；语言按 `Accept-Language`。",
                    )
                )
            )
        )
    rows = []
    for status, name, meaning, done in (*CALLER_ERRORS, *(REQUEST_ERRORS if interface.style == "request" else ())):
        rows.append([code(status), joined([code(one) for one in name.split(", ")]), say(t(*meaning)), (t(*done),)])
    return [
        *blocks,
        Table(
            [t("HTTP status", "HTTP 状态码"), t("code", "错误码"), t("meaning", "含义"), t("what to do", "调用方处理")],
            rows,
            "errors",
        ),
    ]


def _plain_caller_errors(interface: Interface) -> list[Block]:
    if interface.adapter != "mllp":
        return []
    rows: list[list[Inline]] = [
        [code("AA / CA"), (t("stored durably", "已持久化存储"),), (t("nothing", "无需处理"),)],
        [
            code("AE / CE"),
            (t("the hub can't take it just now", "枢纽暂时无法接收"),),
            (t("send the same again later", "稍后原样重发"),),
        ],
        [
            code("AR / CR"),
            (
                t(
                    "the message can't be read, is not accepted here, or does not pass the checks; ERR says where",
                    "报文无法解析、不被接受或校验未通过，位置与原因见 ERR 段",
                ),
            ),
            (t("correct the message", "更正报文"),),
        ],
    ]
    return [
        Heading(3, (t("Acknowledgements", "应答码"),)),
        Table([t("code", "应答码"), t("meaning", "含义"), t("what to do", "调用方处理")], rows, "errors"),
    ]


def _json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
