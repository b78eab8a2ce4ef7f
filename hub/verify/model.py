"""What a run of contract tests found: results, by plugin and check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["LEVELS", "PluginReport", "Report", "Result", "Status"]

#: The quality scale, from below.
LEVELS = ("bronze", "silver", "gold", "platinum")


class Status(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    #: A level asks for something that is not there; nothing is broken.
    MISSING = "missing"
    #: It could not be looked at, and ``why`` says so; it does not count as passed.
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Result:
    """One thing that was looked at. ``place``: the interface, or the mapping or file; "" for the plugin as a whole."""

    check: str
    status: Status
    place: str = ""
    why: str = ""  # what is wrong, or why it was skipped, or a note on what passed
    remedy: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "status": str(self.status),
            "place": self.place,
            "why": self.why,
            "remedy": self.remedy,
            "seconds": round(self.seconds, 3),
        }


@dataclass(slots=True)
class PluginReport:
    """All results of one plugin. What does not concern a plugin, as probes one that only receives, has no result."""

    plugin: str
    name: str
    group: str
    version: str = ""
    assumed: bool = False
    interfaces: list[str] = field(default_factory=list)  # "→ send" or "← receive"
    results: list[Result] = field(default_factory=list)
    digest: str = ""  # of the files the results of calls depend on
    around: str = ""  # of the notes and tests of mappings that are looked at besides
    seconds: float = 0.0

    def add(self, results: Iterable[Result]) -> None:
        self.results.extend(results)

    def of(self, check: str) -> list[Result]:
        return [result for result in self.results if result.check == check]

    def status(self, check: str) -> Status | None:
        """The worst of its results: failed, missing, skipped, passed; None where it does not concern the plugin."""
        found = {result.status for result in self.of(check)}
        for status in (Status.FAILED, Status.MISSING, Status.SKIPPED, Status.PASSED):
            if status in found:
                return status
        return None

    @property
    def failed(self) -> list[Result]:
        return [result for result in self.results if result.status is Status.FAILED]

    @property
    def open(self) -> list[Result]:
        """What is missing or was skipped."""
        return [result for result in self.results if result.status in (Status.MISSING, Status.SKIPPED)]


@dataclass(slots=True)
class Report:
    """One run. ``at``: when it began, ISO 8601."""

    at: str
    plugins: dict[str, PluginReport] = field(default_factory=dict)
    not_loaded: Mapping[str, str] = field(default_factory=dict)  # plugin -> why
    seconds: float = 0.0
    jobs: int = 1

    @property
    def ok(self) -> bool:
        return not self.not_loaded and not any(plugin.failed for plugin in self)

    def __iter__(self) -> Iterator[PluginReport]:
        return iter(self.plugins.values())

    def counts(self) -> dict[Status, int]:
        found = dict.fromkeys(Status, 0)
        for plugin in self:
            for result in plugin.results:
                found[result.status] += 1
        return found
