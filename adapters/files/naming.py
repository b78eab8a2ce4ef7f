"""Names of files: templates, the fields of a name, and the rules names are checked by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from adapters.template import MissingVariable, Template
from hub.api import HubError
from hub.i18n import t

if TYPE_CHECKING:
    from adapters.files.options import Naming

__all__ = [
    "MissingVariable",
    "NameRules",
    "Template",
    "check_folder",
    "check_template",
    "fields_of",
    "safe",
    "unusable",
]

#: Scopes of numbers that are remembered; the oldest is forgotten first.
_SCOPES = 500
#: What no part of a path that is made from data may hold: separators, what shells and Windows take for something else.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|%\ud800-\udfff]')


def check_folder(value: str) -> str:
    """A folder below the root; raises ``ValueError`` for one that leads elsewhere."""
    if value and any(part in ("", ".", "..") for part in value.split("/")):
        raise ValueError(f"{value!r}: a folder is relative to root, parts joined by /, without . and ..")
    if any(c in value for c in "\0\r\n\\"):
        raise ValueError("a folder has no control characters and no \\")
    return value


def check_template(value: str, known: Iterable[str] | None, *, folder: bool = False) -> None:
    """Raise ``ValueError`` for a name that is none, or that asks for what is not ``known`` (None: anything)."""
    for name in Template(value).names:
        if known is not None and name not in known:
            raise ValueError(f"{value!r}: {{{name}}} is not known here; there are {', '.join(known)}")
    if not folder and (not value or "/" in value or "\\" in value or value in (".", "..") or not value.isprintable()):
        raise ValueError(f"{value!r} is not the name of a file")


def fields_of(name: str) -> dict[str, str]:
    """``name``, ``stem`` and ``ext`` (with its dot) of a file."""
    stem, dot, ext = name.rpartition(".")
    return {"name": name, "stem": stem, "ext": dot + ext} if stem else {"name": name, "stem": name, "ext": ""}


def safe(value: str) -> str:
    """A value as part of a name: whatever could lead elsewhere as %XX, so that different values stay different."""
    text = _UNSAFE.sub(lambda found: "".join(f"%{b:02X}" for b in found[0].encode("utf-8", "surrogatepass")), value)
    return "%2E" + text[1:] if text.startswith(".") else text


def unusable(name: str) -> bool:
    """A name that can't be used: not in the character set it should be in, or with control characters."""
    return any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in name)


class NameRules:
    """Checks names, and counts numbers; ``numbers`` is what has been seen, by scope, and belongs to the mark."""

    def __init__(self, naming: Naming, zone: str) -> None:
        self._naming = naming
        self._pattern = re.compile(naming.pattern)
        self._zone = ZoneInfo(zone)

    def groups(self, name: str) -> dict[str, str]:
        found = self._pattern.fullmatch(name)
        return {key: value for key, value in found.groupdict().items() if value is not None} if found else {}

    def check(self, name: str, numbers: Mapping[str, int], now: datetime) -> str:
        """ "" where the name is right, "wait" where others must come first; raises :class:`HubError` with the reason otherwise."""
        naming = self._naming
        found = self._pattern.fullmatch(name)
        if not found:
            raise _wrong(
                "file.name.pattern",
                t("the name is not as agreed", "文件名不符合约定"),
                t(f"agreed: {naming.pattern}", f"约定：{naming.pattern}"),
            )
        if naming.date:
            self._check_date(found[naming.date] or "", now)
        if not naming.sequence:
            return ""
        try:
            number = int(found[naming.sequence] or "")
        except ValueError:
            raise _wrong("file.name.number", t("the number in the name is none", "文件名中的序号不是数字")) from None
        last = numbers.get(self._scope(found))
        wanted = naming.start if last is None else last + 1
        if wanted is None or number == wanted:
            return ""
        if number < wanted:
            raise _wrong(
                "file.name.repeated",
                t(f"number {number} has come before, {wanted} is next", f"序号 {number} 已收到过，应为 {wanted}"),
            )
        if naming.gaps == "wait":
            return "wait"
        raise _wrong(
            "file.name.gap",
            t(f"number {number} came while {wanted} is missing", f"收到序号 {number}，但缺少 {wanted}"),
            t("send the missing file, then this one again", "请补发缺失的文件，再重发本文件"),
        )

    def count(self, name: str, numbers: dict[str, int]) -> None:
        """Note the number of a file that is taken."""
        found = self._pattern.fullmatch(name)
        if found and self._naming.sequence:
            scope = self._scope(found)
            numbers.pop(scope, None)
            numbers[scope] = int(found[self._naming.sequence])
            while len(numbers) > _SCOPES:
                del numbers[next(iter(numbers))]

    def uncount(self, name: str, numbers: dict[str, int]) -> None:
        """The newest file was refused for its content: its number may come again."""
        found = self._pattern.fullmatch(name)
        if found and self._naming.sequence:
            scope = self._scope(found)
            if numbers.get(scope) == int(found[self._naming.sequence]):
                numbers[scope] -= 1

    def _scope(self, found: re.Match[str]) -> str:
        return "/".join(found[name] or "" for name in self._naming.per)

    def _check_date(self, text: str, now: datetime) -> None:
        naming = self._naming
        try:
            date = datetime.strptime(text, naming.date_format).replace(tzinfo=self._zone)
        except ValueError:
            told = t(
                f"the date in the name is none of the form {naming.date_format}",
                f"文件名中的日期不符合 {naming.date_format}",
            )
            raise _wrong("file.name.date", told) from None
        local = now.astimezone(self._zone)
        if date.date() > local.date():
            raise _wrong("file.name.date", t("the date in the name lies in the future", "文件名中的日期在未来"))
        if naming.max_age is not None and date < local - timedelta(seconds=naming.max_age):
            raise _wrong("file.name.date", t("the date in the name is too old", "文件名中的日期过早"))


def _wrong(code: str, text: str, remedy: str = "") -> HubError:
    return HubError(text, code=code, remedy=remedy)
