"""Why somebody is turned away, or an order about people can't be carried out."""

from __future__ import annotations

from hub.errors import HubError
from hub.i18n import t

__all__ = [
    "LoginRefused",
    "NotAllowed",
    "PeopleError",
    "locked",
    "login_over",
    "no_right",
    "not_fresh",
    "out_of_reach",
    "wrong_code",
    "wrong_login",
]


class PeopleError(HubError):
    """An order about people that can't be carried out."""

    code = "people.invalid"


class LoginRefused(HubError):
    """401, or 429 with ``retry_after`` seconds."""

    code = "login.refused"

    def __init__(self, text: str, *, code: str = "", remedy: str = "", retry_after: int = 0) -> None:
        super().__init__(text, code=code, remedy=remedy)
        self.retry_after = retry_after


class NotAllowed(HubError):
    """403."""

    code = "auth.forbidden"


def wrong_login() -> LoginRefused:
    """Of everything that is wrong: an unknown user, a wrong password, one that has lapsed."""
    return LoginRefused(
        t("user or password is wrong", "用户名或口令错误"),
        code="login.wrong",
        remedy=t("try again, or have the password reset", "请重试，或请管理员重置口令"),
    )


def locked(seconds: int) -> LoginRefused:
    return LoginRefused(
        t("too many failed logins; try again later", "登录失败次数过多，请稍后再试"),
        code="login.locked",
        remedy=t("wait, or have an administrator unlock the account", "请等待，或请管理员解锁"),
        retry_after=max(1, seconds),
    )


def wrong_code() -> LoginRefused:
    return LoginRefused(
        t("the code is wrong, used already or no longer valid", "验证码错误、已使用或已失效"),
        code="login.code",
        remedy=t("wait for the next code, or have a new one sent", "请等待下一个验证码，或重新获取"),
    )


def login_over() -> LoginRefused:
    return LoginRefused(
        t("the login has ended", "登录已失效"), code="login.over", remedy=t("sign in again", "请重新登录")
    )


def no_right(right: str) -> NotAllowed:
    return NotAllowed(
        t(f"this needs the right {right}", f"此操作需要权限 {right}"),
        remedy=t("ask an administrator for a role that has it", "请管理员授予具有该权限的角色"),
    )


def not_fresh() -> NotAllowed:
    return NotAllowed(
        t("this needs a second proof of who you are", "此操作需要二次验证"),
        code="auth.verify",
        remedy=t("POST /api/v1/session/verify, then again", "请先 POST /api/v1/session/verify 再重试"),
    )


def out_of_reach() -> NotAllowed:
    return NotAllowed(
        t("this concerns the whole hub, and your scope is a part of it", "此操作涉及整个枢纽，超出您的数据范围"),
        code="auth.scope",
    )
