"""Settings of a system: checked against what its plugin declares, then put in the place of ``${name}``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from hub.contract import Setting, parse_duration
from hub.errors import HubError, Problem
from hub.i18n import t
from hub.secrets import Secret, resolve
from hub.validation import Origin, did_you_mean, listed
from hub.yaml_source import KeyPath

__all__ = ["check_settings", "referenced", "substitute"]

_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^\s/?#]+)\S*")
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?")


def check_settings(
    declared: Mapping[str, Setting],
    given: Mapping[str, Any],
    origin: Origin,
    contract: Origin,
    folders: tuple[Path, Path],
    problems: list[Problem],
    keys: Callable[[str], Secret] | None = None,
) -> dict[str, Any]:
    """Every declared setting with its value, None where an optional one has none.

    ``origin`` is where the system's settings are written, ``contract`` where the plugin declares them; ``folders`` are
    the folders of these two files, from which relative paths of secrets start. ``keys`` finds what ``key:`` names.
    """
    values: dict[str, Any] = {}
    for name in given:
        if name not in declared:
            remedy = did_you_mean(name, declared)
            problems.append(
                origin.problem(t(f"unknown setting {name!r}", f"未知的设置 {name!r}"), (name,), remedy=remedy)
            )
    for name, setting in declared.items():
        value, place, path, folder = given.get(name), origin, (name,), folders[0]
        if value is None and setting.default is not None:
            value, place, path, folder = setting.default, contract, (name, "default"), folders[1]  # type: ignore[assignment]
        values[name] = None
        if value is None:
            if setting.required:
                about = f" ({setting.description})" if setting.description else ""
                text = t(f"setting {name!r} is missing{about}", f"缺少设置 {name!r}{about}")
                remedy = t(f"add {name}: … ({setting.type})", f"请添加 {name}: …（{setting.type}）")
                problems.append(origin.problem(text, (name,), remedy=remedy))
            continue
        try:
            values[name] = _checked(setting, value, folder, keys)
        except HubError as error:
            problems.append(place.problem(error.text, path, remedy=error.remedy))
    return values


def _checked(setting: Setting, value: Any, folder: Path, keys: Callable[[str], Secret] | None) -> Any:
    """The value as its type wants it; raises :class:`HubError` with a remedy."""
    if setting.type == "secret":
        return resolve(value, folder, keys)
    checked = _TYPES[setting.type](value)
    if setting.choices and checked not in setting.choices:
        raise HubError(
            t(f"{value!r} is not one of the choices", f"{value!r} 不在可选值之中"),
            remedy=t(f"allowed: {listed(setting.choices)}", f"可用：{listed(setting.choices)}"),
        )
    return checked


def _refused(wanted: str, example: str) -> HubError:
    return HubError(
        t(f"expected {wanted}", f"应为{wanted}"),
        remedy=t(f"write e.g. {example}", f"例如 {example}"),
        code="setting.type",
    )


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # exact: a number with leading zeros was read as text
    raise _refused(t("text", "文本"), t('"text in quotes"', '"加引号的文本"'))


def _integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _refused(t("a whole number", "整数"), "30")


def _number(value: Any) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise _refused(t("a number", "数字"), "2.5")


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _refused(t("true or false", "true 或 false"), "true")


def _url(value: Any) -> str:
    found = _URL.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise _refused(t("a URL", "网址"), "https://his.example.org:8443/api")
    if "@" in found[1]:
        raise HubError(
            t("a URL must not carry a user name or password", "网址中不得包含用户名或密码"),
            remedy=t("take them out; use a setting of type secret", "请移除，并使用 secret 类型的设置"),
        )
    return found[0]


def _host(value: Any) -> str:
    if isinstance(value, str):
        if _HOST.fullmatch(value):
            return value
        try:
            ip_address(value)
        except ValueError:
            pass
        else:
            return value
    raise _refused(t("a host name or address, without a port", "主机名或地址（不含端口）"), "his.example.org")


def _port(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535:
        return value
    raise _refused(t("a port, 1 to 65535, or 0 for any free one", "端口号 1 至 65535，或 0 表示任意空闲端口"), "2575")


def _duration(value: Any) -> float:
    try:
        return parse_duration(value)
    except ValueError:
        raise _refused(t("a duration", "时长"), "500ms, 5s, 30m, 24h, 90d") from None


def _list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    raise _refused(t("a list", "列表"), "[a, b]")


_TYPES = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "url": _url,
    "host": _host,
    "port": _port,
    "duration": _duration,
    "list": _list,
}


def referenced(text: Any) -> str:
    """The name of the setting when ``text`` is just ``${name}``, else nothing."""
    found = _REFERENCE.fullmatch(text) if isinstance(text, str) else None
    return (found[1] or "").strip() if found else ""


class _Absent:
    """Stands for an optional setting that was not given: its key is left out, so that the default applies."""


_ABSENT = _Absent()


def substitute(
    data: Any, values: Mapping[str, Any], secrets: bool, path: KeyPath, origin: Origin, out: list[Problem]
) -> Any:
    """A copy of ``data`` with every ``${name}`` replaced; ``$${`` stands for ``${``.

    Text that is just ``${name}`` becomes the value with its type; where an optional setting was not given, the key is
    left out. ``secrets`` says whether secrets may be used here.
    """
    result = _substituted(data, values, secrets, tuple(path), origin, out)
    return None if result is _ABSENT else result


def _substituted(
    data: Any, values: Mapping[str, Any], secrets: bool, path: tuple[str | int, ...], origin: Origin, out: list[Problem]
) -> Any:
    if isinstance(data, dict):
        items = {key: _substituted(item, values, secrets, (*path, key), origin, out) for key, item in data.items()}
        return {key: item for key, item in items.items() if item is not _ABSENT}
    if isinstance(data, list):
        found = [_substituted(item, values, secrets, (*path, n), origin, out) for n, item in enumerate(data)]
        return [item for item in found if item is not _ABSENT]
    if not isinstance(data, str) or "${" not in data:
        return data

    def value_of(name: str) -> Any:
        if name not in values:
            text = t(f"there is no setting {name!r}", f"没有名为 {name!r} 的设置")
            out.append(origin.problem(text, path, remedy=did_you_mean(name, values)))
            return None
        value = values[name]
        if isinstance(value, Secret):
            if not secrets:
                text = t(f"the secret {name!r} can't be used here", f"此处不能使用密钥 {name!r}")
                remedy = t("secrets belong in listen and connect", "密钥只能用于 listen 与 connect")
                out.append(origin.problem(text, path, remedy=remedy))
                return None
            return value.reveal()
        return value

    whole = _REFERENCE.fullmatch(data)
    if whole is not None and whole[1] is not None:
        value = value_of(whole[1].strip())
        return _ABSENT if value is None else value

    def part(match: re.Match[str]) -> str:
        if match[1] is None:
            return "${"
        value = value_of(match[1].strip())
        if isinstance(value, bool):
            return "true" if value else "false"
        return "" if value is None else str(value)

    return _REFERENCE.sub(part, data)
