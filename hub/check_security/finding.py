"""What ``hub check --security`` tells: one finding with its place, how bad it is, what to do, and which clause asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hub.errors import Problem

__all__ = ["Clause", "Finding", "Findings", "Severity"]

Severity = Literal["high", "medium", "low"]
_ORDER: dict[str, int] = {"high": 0, "medium": 1, "low": 2}


class Clause:
    """Clauses the findings refer to: GB/T 22239-2019 (等保, level 3), GB/T 39786-2021 (密评, level 3)."""

    TRANSPORT = "GB/T 22239 8.1.2.2; GB/T 39786 8.2"
    BOUNDARY = "GB/T 22239 8.1.3.1, 8.1.3.2"
    IDENTITY = "GB/T 22239 8.1.4.1"
    ACCESS = "GB/T 22239 8.1.4.2"
    AUDIT = "GB/T 22239 8.1.4.3"
    INTRUSION = "GB/T 22239 8.1.4.4"
    INTEGRITY = "GB/T 22239 8.1.4.7; GB/T 39786 8.4"
    CONFIDENTIALITY = "GB/T 22239 8.1.4.8; GB/T 39786 8.4"
    ALGORITHM = "GB/T 39786 8.2, 8.4"
    KEYS = "GB/T 39786 8.4, 8.5"


@dataclass(frozen=True, slots=True)
class Finding:
    """``rule`` is stable and machine-readable, e.g. ``listener.no_tls``."""

    rule: str
    severity: Severity
    text: str
    file: str = ""
    line: int = 0
    key: str = ""
    place: str = ""  # system/interface, where it is about one
    remedy: str = ""
    clause: str = ""

    @property
    def where(self) -> str:
        return self.file + (f":{self.line}" if self.line else "")

    def as_dict(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "severity": self.severity,
            "text": self.text,
            "file": self.file,
            "line": self.line,
            "key": self.key,
            "place": self.place,
            "remedy": self.remedy,
            "clause": self.clause,
        }


@dataclass(slots=True)
class Findings:
    """Collects them; the same at the same place once."""

    found: dict[tuple[str, str, int, str, str], Finding] = field(default_factory=dict)

    def add(self, rule: str, severity: Severity, problem: Problem, clause: str, place: str = "") -> None:
        """``problem`` has text, place and remedy."""
        key = (rule, problem.file, problem.line, problem.key, problem.text)
        self.found.setdefault(
            key,
            Finding(
                rule, severity, problem.text, problem.file, problem.line, problem.key, place, problem.remedy, clause
            ),
        )

    def add_file(self, rule: str, severity: Severity, path: Path, text: str, remedy: str, clause: str) -> None:
        """About a file or folder as a whole."""
        self.add(rule, severity, Problem(text, str(path), remedy=remedy), clause)

    def sorted(self) -> list[Finding]:
        """The worst first, then by file and line."""
        return sorted(self.found.values(), key=lambda f: (_ORDER[f.severity], f.file, f.line, f.key, f.rule))

    def rules(self) -> Iterable[str]:
        return {finding.rule for finding in self.found.values()}
