"""What YAML can't say of short messages: putting values into a template."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hub.api import HubError, hookimpl
from hub.i18n import t

__all__ = ["hub_functions", "sms_text"]

_PLACE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
#: Longest value of a placeholder, characters: values are names and dates, not texts of their own.
_LONGEST = 64


def sms_text(template: Any, parameters: Any) -> str | None:
    """The text of a template such as ``您的验证码为${code}`` with its values.

    Every placeholder needs a value, every value a placeholder: a notice with a gap, or for another template, must not go out.
    """
    if template in (None, ""):
        return None
    given = {} if parameters is None else parameters
    if not isinstance(template, str) or not isinstance(given, dict):
        raise _wrong(t("parameters must be an object", "parameters 须为对象"))
    wanted = set(_PLACE.findall(template))
    missing, strange = sorted(wanted - set(given)), sorted(set(given) - wanted)
    if missing:
        raise _wrong(t(f"no value for {missing[0]}", f"缺少 {missing[0]} 的值"))
    if strange:
        raise _wrong(t(f"the template has no {strange[0][:40]}", f"模板中没有 {strange[0][:40]}"))
    values = {name: _value(name, value) for name, value in given.items()}
    return _PLACE.sub(lambda place: values[place[1]], template)


def _value(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise _wrong(t(f"{name} must be a text or a number", f"{name} 须为文本或数字"))
    text = str(value)
    if len(text) > _LONGEST or not text.isprintable():
        raise _wrong(
            t(
                f"{name} is longer than {_LONGEST} characters or has control characters",
                f"{name} 超过 {_LONGEST} 字或含控制字符",
            )
        )
    return text


def _wrong(why: str) -> HubError:
    return HubError(t(f"the template does not fit: {why}", f"短信模板不匹配：{why}"), code="sms.template")


@hookimpl
def hub_functions() -> dict[str, Callable[..., Any]]:
    return {"sms_text": sms_text}
