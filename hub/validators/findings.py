"""Findings as validators gather them: a limited number, and words that several validators share."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hub.i18n import t
from hub.masking import mask
from hub.validators.report import Finding, Kind, Severity

__all__ = ["MAX_FINDINGS", "Findings", "allowed", "not_checked", "plain_path"]

#: Most findings one validator reports of one message; beyond them nobody reads on.
MAX_FINDINGS = 100
#: Most values named as allowed, and the longest of them, characters.
_MAX_ALLOWED, _LONGEST_ALLOWED = 12, 40
#: A key that can be told: a name of a schema, not a value that is used as a key.
_TELLING = re.compile(r"[A-Za-z_$@][A-Za-z_.:-]{0,39}[0-9]{0,2}", re.ASCII)
_NAME = re.compile(r"[^\W\d]\w*")


class Findings:
    """The findings of one validator on one message, at most :data:`MAX_FINDINGS` and one that says there are more."""

    __slots__ = ("_rule", "found", "full")

    def __init__(self, family: str) -> None:
        """``family``: the first part of the rules' names, ``xsd``."""
        self._rule = f"{family}.more"
        self.found: list[Finding] = []
        self.full = False

    def add(self, finding: Finding) -> bool:
        """False when there is no room left, and whoever looks may stop."""
        if self.full:
            return False
        if len(self.found) < MAX_FINDINGS:
            self.found.append(finding)
            return True
        self.full = True
        text = t(f"there are more; the first {MAX_FINDINGS} are shown", f"问题不止这些，仅列出前 {MAX_FINDINGS} 个")
        self.found.append(Finding(self._rule, text, severity=Severity.WARNING))
        return False


def not_checked(family: str, why: str) -> Finding:
    """That a message, or the rest of it, was not looked at: an error, for nobody may take the silence for a good word."""
    return Finding(f"{family}.not_checked", t(f"not checked: {why}", f"未校验：{why}"))


def allowed(values: Iterable[object]) -> str:
    """Values a schema permits, as many as a person reads."""
    every = [str(value) for value in values]
    shown = [value if len(value) <= _LONGEST_ALLOWED else f"{value[:_LONGEST_ALLOWED]}…" for value in every]
    more = t(f" … ({len(every)} values)", f" …（共 {len(every)} 个）") if len(every) > _MAX_ALLOWED else ""
    return t(", ", "、").join(shown[:_MAX_ALLOWED]) + more


def plain_path(parts: Iterable[str | int], known: frozenset[str] = frozenset(), root: str = "$") -> str:
    """A place in a plain tree as mappings write it: ``order.items[0]['odd key']``.

    A key that is neither in ``known`` nor looks like a name may be personal data and is masked.
    """
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
            continue
        key = part if part in known or _TELLING.fullmatch(part) else mask(part)
        if _NAME.fullmatch(key):
            path += f".{key}" if path else key
        else:
            quoted = key.replace("\\", "\\\\").replace("'", "\\'")
            path += f"['{quoted}']" if path else f"$['{quoted}']"
    return f"${path}" if path.startswith("[") else path or root


def missing(rule: str, name: str, place: str) -> Finding:
    """A value that must be there."""
    return Finding(
        rule, t(f"{name} is missing", f"缺少 {name}"), place, t(f"add {name}", f"请补充 {name}"), Kind.MISSING
    )
