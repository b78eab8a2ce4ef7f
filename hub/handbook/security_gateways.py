"""The words of the schemes of clouds and freight gateways; what they do is in :mod:`hub.security.schemes`."""

from __future__ import annotations

from hub.handbook.blocks import Code, Inline, code, say
from hub.handbook.security_words import Options, fresh
from hub.i18n import t

__all__ = ["aliyun_acs3_words", "logink_words", "sinoiov_words", "tencent_tc3_words"]


def aliyun_acs3_words(options: Options, sends: bool) -> list[Inline]:
    return [
        say(
            t(
                "Headers: `x-acs-date` (UTC, ISO 8601), `x-acs-signature-nonce`, `x-acs-content-sha256` (hexadecimal digest of the body), `x-acs-action` {action}, `x-acs-version` {version}.",
                "请求头：`x-acs-date`（UTC，ISO 8601）、`x-acs-signature-nonce`、`x-acs-content-sha256`（报文体摘要，十六进制）、`x-acs-action` {action}、`x-acs-version` {version}。",
            ),
            action=options.shown("action"),
            version=options.shown("version"),
        ),
        say(
            t(
                "Canonical request: method, path, canonical query (sorted, percent-encoded), the signed headers as `name:value` lines sorted by name, an empty line, the names joined by `;`, the digest of the body; joined by line feeds.",
                "规范化请求：方法、路径、规范化查询串（排序并 URL 编码）、按名称排序的签名请求头（每行 `名:值`）、空行、以 `;` 连接的头名称、报文体摘要，各部分以换行连接。",
            )
        ),
        say(
            t("Text to sign: {text}.", "待签名文本：{text}。"),
            text=Code("ACS3-HMAC-SHA256\\n + hex(SHA-256(canonical request))"),
        ),
        say(
            t(
                "Signature: HMAC-SHA256 with the access key's secret {key}, hexadecimal.",
                "签名：以密钥 {key} 做 HMAC-SHA256，十六进制。",
            ),
            key=options.key("secret"),
        ),
        say(
            t(
                "Header `Authorization`: {value}; AccessKey ID {id}.",
                "请求头 `Authorization`：{value}；AccessKey ID 为 {id}。",
            ),
            value=Code("ACS3-HMAC-SHA256 Credential=…,SignedHeaders=…,Signature=…"),
            id=options.shown("access_key"),
        ),
        *fresh(options, sends),
    ]


def tencent_tc3_words(options: Options, sends: bool) -> list[Inline]:
    return [
        say(
            t(
                "Headers: `X-TC-Timestamp` (Unix seconds), `X-TC-Action` {action}, `X-TC-Version` {version}, `X-TC-Region` {region}.",
                "请求头：`X-TC-Timestamp`（Unix 秒）、`X-TC-Action` {action}、`X-TC-Version` {version}、`X-TC-Region` {region}。",
            ),
            action=options.shown("action"),
            version=options.shown("version"),
            region=options.shown("region") or code("–"),
        ),
        say(
            t(
                "Canonical request: method, `/`, query, the headers content-type, host and x-tc-action as lower-case `name:value` lines, an empty line, their names joined by `;`, the SHA-256 of the body in hexadecimal; joined by line feeds.",
                "规范化请求：方法、`/`、查询串、content-type、host、x-tc-action 请求头（小写，每行 `名:值`）、空行、以 `;` 连接的头名称、报文体 SHA-256（十六进制），以换行连接。",
            )
        ),
        say(
            t("Text to sign: {text}.", "待签名文本：{text}。"),
            text=Code(
                "TC3-HMAC-SHA256\\n + timestamp\\n + date/service/tc3_request\\n + hex(SHA-256(canonical request))"
            ),
        ),
        say(
            t(
                "Key: HMAC-SHA256 over date, service and `tc3_request` in turn, beginning with `TC3` and the secret {key}. Service: {service}.",
                "派生密钥：以 `TC3` 加 密钥 {key} 为起点，依次对日期、服务名、`tc3_request` 做 HMAC-SHA256；服务名 {service}。",
            ),
            key=options.key("secret"),
            service=options.shown("service"),
        ),
        say(
            t("Header `Authorization`: {value}; SecretId {id}.", "请求头 `Authorization`：{value}；SecretId 为 {id}。"),
            value=Code("TC3-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…"),
            id=options.shown("secret_id"),
        ),
        *fresh(options, sends),
    ]


def logink_words(options: Options, sends: bool) -> list[Inline]:
    return [
        say(
            t(
                "Headers: `X-Ca-Key` {id}, `X-Ca-Timestamp` (milliseconds), `X-Ca-Nonce`, `X-Ca-Signature-Headers`; `Content-MD5` of a body that is no form.",
                "请求头：`X-Ca-Key` {id}、`X-Ca-Timestamp`（毫秒）、`X-Ca-Nonce`、`X-Ca-Signature-Headers`；非表单报文另附 `Content-MD5`。",
            ),
            id=options.shown("key"),
        ),
        say(
            t(
                "Text: method, Accept, Content-MD5, Content-Type, Date, the signed headers as `Name:value` lines, then path and sorted parameters; joined by line feeds.",
                "待签名文本：方法、Accept、Content-MD5、Content-Type、Date、各签名请求头（每行 `名:值`）、路径与排序后的参数，以换行连接。",
            )
        ),
        say(
            t(
                "`X-Ca-Signature`: HMAC-SHA256 with {key}, Base64.",
                "`X-Ca-Signature`：以 {key} 做 HMAC-SHA256，Base64。",
            ),
            key=options.key("secret"),
        ),
        *fresh(options, sends),
    ]


def sinoiov_words(options: Options, sends: bool) -> list[Inline]:
    return [
        say(
            t(
                "The parameters go as a form, with the client id `cid` {id}.",
                "参数以表单发送，含客户端编号 `cid` {id}。",
            ),
            id=options.shown("client_id"),
        ),
        say(
            t(
                "`sign`: names and values, sorted by name and joined without anything between, HMAC-SHA1 with {key}, hexadecimal capitals.",
                "`sign`：参数名与值按名称升序直接拼接，以 {key} 做 HMAC-SHA1，十六进制大写。",
            ),
            key=options.key("secret"),
        ),
    ]
