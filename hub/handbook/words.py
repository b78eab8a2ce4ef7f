"""Words of contracts in the language of a page, and quantities as people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from hub.contract import Setting
from hub.handbook.blocks import Code, Inline, Span
from hub.i18n import language, t

__all__ = [
    "anchor",
    "duration",
    "in_language",
    "label",
    "purpose_of",
    "readable",
    "references",
    "setting_type",
    "size",
    "yes_no",
]

_HAN = re.compile(r"[\u4e00-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]")
_BETWEEN = re.compile(r"\s*/\s+|\s*／\s*")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_USER = re.compile(r"(?<=://)[^/@\s]*@")
_MOST_HEAD = 64 << 10


def in_language(text: str) -> str:
    """Of ``中文 / English`` the half in the language of the page; any other text as it is."""
    for found in _BETWEEN.finditer(text):
        first, second = text[: found.start()], text[found.end() :]
        if bool(_HAN.search(first)) != bool(_HAN.search(second)):
            chinese, english = (first, second) if _HAN.search(first) else (second, first)
            return (chinese if language() == "zh" else english).strip()
    return text


def readable(text: str) -> bool:
    """Whether a remark is in the language of the page; Chinese ones are shown in English pages too, English ones not in Chinese."""
    return language() == "en" or 2 * len(_HAN.findall(text)) >= len(_LATIN.findall(text))


def purpose_of(file: Path) -> str:
    """What the comment at the head of ``plugin.yaml`` says in the language of the page, else in the other; "" without one."""
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as source:
            head = source.read(_MOST_HEAD)
    except OSError:
        return ""
    lines = []
    for line in head.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").strip())
    chinese = " ".join(line for line in lines if _HAN.search(line))
    english = " ".join(line for line in lines if not _HAN.search(line))
    return (chinese or english) if language() == "zh" else (english or chinese)


def references(text: str) -> Inline:
    """A text of a contract as code, with ``${name}`` as ``{name}``: the reader fills it in. Users of addresses are left out."""
    shown = _REFERENCE.sub(lambda found: "{" + found[1] + "}", _USER.sub("", text))
    return (Code(shown),) if shown else ()


def setting_type(setting: Setting) -> str:
    return {
        "string": t("text", "文本"),
        "integer": t("whole number", "整数"),
        "number": t("number", "数字"),
        "boolean": t("yes or no", "是/否"),
        "url": t("address (URL)", "地址（URL）"),
        "host": t("host or IP address", "主机名或 IP 地址"),
        "port": t("port", "端口"),
        "duration": t("duration", "时长"),
        "secret": t("secret", "密钥（保密）"),
        "list": t("list", "列表"),
    }[setting.type]


def duration(seconds: float) -> str:
    """Seconds as ``5 minutes`` or ``5 分钟``."""
    units = (
        (86400.0, "day", "天"),
        (3600.0, "hour", "小时"),
        (60.0, "minute", "分钟"),
        (1.0, "second", "秒"),
    )
    for length, english, chinese in units:
        if seconds >= length and seconds % length == 0:
            number = int(seconds // length)
            return t(f"{number} {english}{'s' if number != 1 else ''}", f"{number} {chinese}")
    if 0 < seconds < 1:
        return t(f"{seconds * 1000:g} milliseconds", f"{seconds * 1000:g} 毫秒")
    return t(f"{seconds:g} seconds", f"{seconds:g} 秒")


def size(number: int) -> str:
    for length, unit in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")):
        if number >= length and number % length == 0:
            return f"{number // length} {unit}"
    return t(f"{number} bytes", f"{number} 字节")


def yes_no(value: bool) -> str:
    return t("yes", "是") if value else t("no", "否")


def anchor(*parts: str) -> str:
    """The name of a place in a page: letters and digits only, whatever the parts are."""
    return "-".join(re.sub(r"[^0-9A-Za-z_]+", "-", part).strip("-") for part in parts)


def label(settings: Mapping[str, Setting], name: str) -> tuple[Span, ...]:
    """A setting by its name and what it is for."""
    found = settings.get(name)
    told = in_language(found.description) if found is not None and found.description else ""
    return (Code(name), t(f" ({told})", f"（{told}）")) if told else (Code(name),)
