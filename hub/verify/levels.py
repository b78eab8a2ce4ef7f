"""The quality scale: what level the results of a plugin amount to, and what is missing for the next."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from hub.i18n import t
from hub.verify.catalogue import CHECKS
from hub.verify.model import LEVELS, PluginReport, Result, Status

__all__ = ["Criterion", "Quality", "judge", "judge_recorded", "level_of"]

#: Checks that concern every plugin.
_ALWAYS = ("manifest", "privacy", "notes", "sources", "proof", "replay", "benchmark", "fuzz", "flow")


@dataclass(frozen=True, slots=True)
class Criterion:
    """One demand of a level; ``why`` says what is missing, "" where it is met."""

    level: str
    name: str
    why: str = ""

    @property
    def met(self) -> bool:
        return not self.why


@dataclass(frozen=True, slots=True)
class Quality:
    """The criteria of one plugin. ``level`` is "" below bronze; ``verified``: results of calls are known for these files."""

    plugin: str
    criteria: tuple[Criterion, ...]
    verified: bool = False

    @property
    def level(self) -> str:
        reached = ""
        for level in LEVELS if self.criteria else ():
            if not all(one.met for one in self.criteria if one.level == level):
                break
            reached = level
        return reached

    @property
    def word(self) -> str:
        """For people: the level, or that nothing is known of it."""
        return self.level or (t("below bronze", "未达铜级") if self.verified else t("not verified", "未验证"))

    @property
    def missing(self) -> list[str]:
        """What is missing for the next level."""
        above = LEVELS[LEVELS.index(self.level) + 1 :] if self.level else LEVELS
        return list(dict.fromkeys(one.why for one in self.criteria if one.level in above[:1] and not one.met))

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.plugin,
            "level": self.level,
            "verified": self.verified,
            "missing": self.missing,
            "criteria": [{"level": c.level, "name": c.name, "met": c.met, "why": c.why} for c in self.criteria],
        }


def judge(report: PluginReport, recorded: Mapping[str, Mapping[str, str]] | None = None) -> Quality:
    """The quality of a plugin by its results.

    ``recorded``: for checks that were not made now, ``{"status": …, "why": …}`` as an earlier run found them on the same files; None:
    there was none.
    """
    criteria = []
    called = any(check.calls and report.status(check.id) is not None for check in CHECKS)
    for check in CHECKS:
        found = report.of(check.id)
        if recorded is not None and not any(r.status is not Status.SKIPPED for r in found):
            kept = recorded.get(check.id)
            if kept is not None and kept.get("status") == Status.PASSED:
                criteria.append(Criterion(check.level, check.id))
                continue
            if kept is not None:
                criteria.append(Criterion(check.level, check.id, kept.get("why") or check.title))
                continue
        elif not found and check.calls and not called and recorded is None:
            why = t("not verified: run `hub verify --record`", "未验证：请运行 `hub verify --record`")
            criteria.append(Criterion(check.level, check.id, why))
            continue
        if found:
            criteria.append(Criterion(check.level, check.id, _why(check.title, found)))
        elif check.id in _ALWAYS:
            criteria.append(Criterion(check.level, check.id, _no_result(check.title)))
    criteria += _called({one.name for one in criteria})
    return Quality(report.plugin, tuple(criteria), verified=called or recorded is not None)


def judge_recorded(plugin: str, recorded: Mapping[str, Mapping[str, str]]) -> Quality:
    """The quality of a plugin by what an earlier run found, all checks included."""
    criteria = [
        Criterion(check.level, check.id, "" if kept.get("status") == Status.PASSED else kept.get("why") or check.title)
        for check in CHECKS
        if (kept := recorded.get(check.id)) is not None
    ]
    found = {one.name for one in criteria}
    # Without these an entry says nothing, whatever else it says.
    criteria += [Criterion(c.level, c.id, _no_result(c.title)) for c in CHECKS if c.id in _ALWAYS and c.id not in found]
    criteria += _called(found)
    return Quality(plugin, tuple(criteria), verified=True)


def _called(found: Collection[str]) -> list[Criterion]:
    """Every plugin has an interface that was called one way or the other."""
    if "round_trip" in found or "receive" in found:
        return []
    return [Criterion("bronze", "round_trip", t("no interface was called", "没有接口被调用"))]


def _no_result(title: str) -> str:
    return t(f"{title}: no result", f"{title}：无结果")


def level_of(report: PluginReport) -> str:
    """The level by the results of this run alone; what was not made in it keeps a plugin below."""
    return judge(report).level


def _why(title: str, results: list[Result]) -> str:
    """What is wrong, with the places it is wrong at put together; "" where everything passed."""
    found: dict[str, list[str]] = {}
    for result in results:
        if result.status is not Status.PASSED:
            found.setdefault(result.why, []).append(result.place)
    texts = [f"{why}: {', '.join(filter(None, places))}" if any(places) else why for why, places in found.items()]
    return f"{title}: {'; '.join(texts)}" if texts else ""
