"""Why security turned a call away."""

from __future__ import annotations

from hub.errors import HubError
from hub.i18n import t

__all__ = ["Refused", "missing_signature", "no_key", "unreadable", "unreadable_time", "wrong_signature"]


class Refused(HubError):
    """A call or reply that is not signed or encrypted as agreed.

    ``status`` is the HTTP status that fits: 401 who are you, 403 you may not, 400 unreadable, 429 or 503 not now.
    The text never says which byte was wrong: it must not help anybody who tries.
    """

    code = "security.refused"

    def __init__(self, text: str, *, code: str = "", remedy: str = "", status: int = 401, retry_after: int = 0) -> None:
        super().__init__(text, code=code, remedy=remedy)
        self.status = status
        self.retry_after = retry_after


def missing_signature() -> Refused:
    return Refused(t("the signature is missing", "缺少签名"), code="security.signature_missing", remedy=_remedy())


def wrong_signature() -> Refused:
    return Refused(t("the signature is wrong", "签名不正确"), code="security.signature_wrong", remedy=_remedy())


def unreadable_time() -> Refused:
    return Refused(
        t("the time of signing can't be read", "无法识别签名时间"),
        code="security.time",
        remedy=t("write it as agreed for this interface", "请按该接口约定的格式填写"),
    )


def unreadable(step: str = "") -> Refused:
    """Of every failed decryption. Which step failed (key, content, document) is told only where the protocol asks for it."""
    text = {
        "key": t("the key of the call could not be decrypted", "会话密钥无法解密"),
        "document": t("what was decrypted can't be read", "解密后的内容无法解析"),
    }.get(step) or t("the content could not be decrypted", "内容无法解密")
    return Refused(
        text,
        code=f"security.decrypt.{step}" if step else "security.decrypt",
        remedy=t(
            "encrypt it with the agreed key and algorithm, as agreed for this interface",
            "请按该接口的约定，用约定的密钥与算法加密",
        ),
        status=400,
    )


def no_key(name: str) -> HubError:
    """The scheme has no key for this direction; ``name`` is the option that gives it."""
    return HubError(
        t(f"there is no key for this direction: {name}", f"缺少此方向所需的密钥：{name}"),
        code="security.key",
        remedy=t(f"give {name} in the scheme's options", f"请在方案选项中给出 {name}"),
    )


def _remedy() -> str:
    return t("sign the call as agreed for this interface", "请按该接口的约定签名")
