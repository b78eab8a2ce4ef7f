"""The words of ``token``, ``login`` and ``as_form``."""

from __future__ import annotations

from hub.handbook.blocks import Inline, code, say
from hub.handbook.security_words import Options, placed
from hub.i18n import t

__all__ = ["as_form_words", "login_words", "token_words"]


def token_words(options: Options, sends: bool) -> list[Inline]:
    mark = options.text("mark")
    place = (
        say(t("the place of {mark} in the body", "报文中 {mark} 处"), mark=code(mark))
        if mark
        else placed(options.below("at"))
    )
    if sends:
        return [
            say(
                t(
                    "The token of the login (see authentication) is written to {place}.",
                    "将登录所得令牌（见“身份认证”）写入{place}。",
                ),
                place=place,
            ),
            say(t("It is not sent in a header.", "令牌不再以请求头发送。")),
        ]
    return [
        say(
            t("Write the token got by the login interface to {place}.", "将登录接口返回的令牌写入{place}。"),
            place=place,
        ),
        say(
            t(
                "The account is {user}. A token that is missing, wrong or expired is refused: log in again and send the same with the new one.",
                "账号为 {user}。令牌缺失、错误或过期时调用被拒绝：请重新登录，以新令牌再次发送。",
            ),
            user=options.shown("user"),
        ),
    ]


def login_words(options: Options, sends: bool) -> list[Inline]:
    hashed = options.text("hashed")
    steps = [
        say(
            t("Send the name of the account, {user}, in {place}.", "账号 {user} 置于{place}。"),
            user=options.shown("user"),
            place=placed(options.below("user_at")),
        ),
        say(
            t("Send its password{hashed} in {place}: {key}.", "密码{hashed}置于{place}：{key}。"),
            hashed=t(f" as its {hashed.upper()} digest in hexadecimal", f"（取 {hashed.upper()} 摘要，十六进制）")
            if hashed
            else "",
            place=placed(options.below("secret_at")),
            key=options.key("secret"),
        ),
        say(
            t(
                "The token is in {place} of the answer and good for {lifetime}.",
                "令牌位于应答的{place}，有效期 {lifetime}。",
            ),
            place=placed(options.below("token_at")),
            lifetime=options.window("lifetime"),
        ),
    ]
    if options.below("code_at"):
        steps.append(
            say(
                t("An answer of success has {value} in {place}.", "成功时应答的{place}为 {value}。"),
                value=options.shown("success"),
                place=placed(options.below("code_at")),
            )
        )
    return steps


def as_form_words(options: Options, sends: bool) -> list[Inline]:
    if options.text("place") == "query":
        return [
            say(
                t(
                    "The members of the JSON object are sent as parameters of the address, objects and lists as JSON text; the body is empty.",
                    "JSON 对象的各字段以地址参数发送，对象与数组以 JSON 文本作为值；报文体为空。",
                )
            )
        ]
    return [
        say(
            t(
                "The members of the JSON object are sent as a form, `application/x-www-form-urlencoded`; objects and lists as JSON text.",
                "JSON 对象的各字段以表单 `application/x-www-form-urlencoded` 发送；对象与数组以 JSON 文本作为值。",
            )
        )
    ]
