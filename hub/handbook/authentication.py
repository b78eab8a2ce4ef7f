"""How callers prove who they are over HTTP, in words: Basic, tokens, keys, OAuth 2.0, logins."""

from __future__ import annotations

from hub.handbook.blocks import Code, Inline, code, joined, say
from hub.handbook.security_words import Options
from hub.handbook.words import duration
from hub.i18n import t

__all__ = ["inbound", "outbound"]


def inbound(auth: Options, kind: str) -> list[Inline]:
    if kind == "none":
        return [
            (
                t(
                    "No credentials of HTTP; see signing and who may call.",
                    "不使用 HTTP 认证；请见签名规则与允许的来源。",
                ),
            )
        ]
    if kind == "basic":
        return [
            say(
                t(
                    "HTTP Basic (RFC 7617): user {user}, password {key}.",
                    "HTTP Basic（RFC 7617）：用户名 {user}，密码 {key}。",
                ),
                user=auth.shown("user"),
                key=auth.key("secret"),
            )
        ]
    if kind == "bearer":
        return [
            say(
                t("Header {value}; the token is {key}.", "请求头 {value}；令牌为 {key}。"),
                value=Code("Authorization: Bearer <token>"),
                key=auth.key("secret"),
            )
        ]
    if kind == "api_key":
        header = auth.text("header") or "X-Api-Key"
        return [
            say(
                t("Header {name} with the key {key}.", "请求头 {name} 携带密钥 {key}。"),
                name=Code(header),
                key=auth.key("secret"),
            )
        ]
    accepted = auth.raw("accept") or ["api_key", "bearer", "basic", "jwt", "oauth2"]
    return [
        say(
            t(
                "Each caller has credentials of its own, issued by the operator of the hub; accepted are {kinds}.",
                "每个调用方使用枢纽运维方签发的专属凭据；可用的方式：{kinds}。",
            ),
            kinds=joined([code(str(one)) for one in accepted]),
        )
    ]


def outbound(auth: Options, kind: str, moved: bool) -> list[Inline]:
    if kind == "oauth2":
        return [
            say(
                t(
                    "OAuth 2.0, client credentials (RFC 6749, 4.4) at {url}, client {id}.",
                    "OAuth 2.0 客户端模式（RFC 6749 4.4）：令牌地址 {url}，客户端 {id}。",
                ),
                url=auth.shown("url"),
                id=auth.shown("client_id"),
            ),
            say(
                t(
                    "The token is shown as {value} and kept until shortly before it expires.",
                    "令牌以 {value} 携带，临近过期前更换。",
                ),
                value=Code("Authorization: Bearer <token>"),
            ),
        ]
    if kind == "login":
        return _login_steps(auth, moved)
    return inbound(auth, kind)


def _login_steps(auth: Options, moved: bool) -> list[Inline]:
    method = auth.text("method") or "POST"
    sent = [
        say("{name}: {value}", name=code(str(key)), value=code(str(value)))
        for part in ("query", "headers", "body")
        for key, value in auth.below(part).items()
        if isinstance(value, str | int)
    ]
    steps = [
        say(
            t(
                "The hub logs in first: {method} {url}{body}; user {user}, secret {key}.",
                "枢纽先登录：{method} {url}{body}；用户 {user}，密码 {key}。",
            ),
            method=Code(method),
            url=auth.shown("url"),
            body=say(t(" with {fields}", "，携带 {fields}"), fields=joined(sent)) if sent else (),
            user=auth.shown("user"),
            key=auth.key("secret") or (t("(none)", "（无）"),),
        ),
        say(
            t("The token is {token} of the reply{success}.", "令牌取自应答的 {token}{success}。"),
            token=code(auth.text("token")),
            success=say(t(", where {rule} holds", "（当 {rule} 成立）"), rule=code(auth.text("success")))
            if auth.text("success")
            else (),
        ),
    ]
    header = auth.text("header") if "header" in auth.given else "Authorization"
    if header and not moved:
        steps.append(
            say(
                t("Calls carry it in {header}: {value}.", "调用时置于请求头 {header}：{value}。"),
                header=Code(header),
                value=code(auth.text("value") or "Bearer {token}"),
            )
        )
    lifetime = auth.text("lifetime")
    if lifetime:
        told: Inline = (duration(float(lifetime)),) if lifetime.replace(".", "", 1).isdigit() else code(lifetime)
        steps.append(say(t("It is good for {lifetime}.", "有效期：{lifetime}。"), lifetime=told))
    if auth.text("expired"):
        steps.append(
            say(
                t(
                    "A reply where {rule} holds means it is no longer good: the hub logs in again.",
                    "应答满足 {rule} 时视为令牌失效，枢纽重新登录。",
                ),
                rule=code(auth.text("expired")),
            )
        )
    return steps
