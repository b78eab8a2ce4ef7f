"""What a check of one message found: findings, each with its place and advice, and the report they make together.

Kinds of checks and the four levels of quality rules: 002:980, 998 (字段级、业务级、合理性、完整性); error type, report and
cleaning advice: 002:1045.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from hub.mapping import Context

__all__ = ["Finding", "Kind", "Level", "Report", "Severity", "Validator"]


class Level(StrEnum):
    """Which of the checks a finding comes from: the format's own, or one of the four levels of quality rules."""

    STRUCTURE = "structure"
    FIELD = "field"
    BUSINESS = "business"
    PLAUSIBILITY = "plausibility"
    COMPLETENESS = "completeness"


class Severity(StrEnum):
    """An error refuses the message where the interface says ``validate: strict``; a warning never does."""

    ERROR = "error"
    WARNING = "warning"


class Kind(StrEnum):
    """What is wrong with a value (错误类型)."""

    MISSING = "missing"
    FORMAT = "format"
    LENGTH = "length"
    RANGE = "range"
    CODE = "code"  # not in its code table
    CONTRADICTION = "contradiction"  # against another value of the message
    DUPLICATE = "duplicate"
    STRUCTURE = "structure"  # not where it belongs, unknown, too often


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a message."""

    rule: str  # stable and machine-readable: ``xsd.missing``, or the id of a quality rule
    text: str  # what is wrong, for people; personal data masked
    place: str = ""  # native: PID-3.1, an XPath, a JSON path, a DICOM keyword, line and column
    advice: str = ""  # how to clean it (清洗建议)
    kind: Kind = Kind.STRUCTURE
    level: Level = Level.STRUCTURE
    severity: Severity = Severity.ERROR

    def as_dict(self) -> dict[str, str]:
        return {
            "rule": self.rule,
            "level": self.level.value,
            "severity": self.severity.value,
            "kind": self.kind.value,
            "place": self.place,
            "text": self.text,
            "advice": self.advice,
        }


@dataclass(slots=True)
class Report:
    """All findings on one message."""

    findings: list[Finding] = field(default_factory=list)
    score: float | None = None  # 0 … 100 by the quality rules; None: no rules were asked
    took_us: int = 0

    @property
    def failed(self) -> bool:
        return any(finding.severity is Severity.ERROR for finding in self.findings)


class Validator(Protocol):
    """One check an interface asks for. Made once when the configuration is loaded, used from several threads."""

    name: str
    #: Takes longer than a fraction of a millisecond: must not run on the event loop.
    slow: bool

    def check(self, raw: bytes, tree: Any, context: Context) -> list[Finding]:
        """The findings on one message, at most a few hundred; ``raw`` are its bytes, ``tree`` what its codec decoded.

        Never raises for what a message may contain.
        """
        ...
