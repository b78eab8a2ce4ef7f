"""What one interface checks messages by, and the record that is kept of what was found."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hub.errors import HubError
from hub.i18n import t
from hub.logs import get_logger
from hub.mapping import Context
from hub.masking import mask_text
from hub.message import CheckRecord, CheckVerdict
from hub.quality import Assessment, QualityValidator
from hub.validators.report import Finding, Kind, Level, Report, Severity, Validator

__all__ = ["Checks", "SlowSpec", "not_checked", "record_of", "run"]

log = get_logger(__name__)

#: Findings of one message that are kept; the record counts the others.
_KEPT = 50
_LONGEST = 400
_SHORT = 120


@dataclass(frozen=True, slots=True)
class SlowSpec:
    """What a process of its own needs to make the validators that take long."""

    key: str  # the same for the same validators; changes with the files they are made of
    body: dict[str, Any]  # JSON


@dataclass(frozen=True, slots=True)
class Checks:
    """The checks of one interface, made when the configuration is loaded."""

    place: str
    strict: bool
    fast: tuple[Validator, ...] = ()
    slow: SlowSpec | None = None
    min_score: float | None = None
    stamp: str = ""  # "name@hash, …" of all validators, for the record

    def failure(self, record: CheckRecord) -> HubError:
        """The error of a message that is refused: names the first finding and counts the others."""
        first = record.findings[0]
        more = record.errors - 1
        told = f" (+{more})" if more > 0 else ""
        place = f"{first['place']}: " if first["place"] else ""
        return HubError(f"{first['rule']}: {place}{first['text']}{told}", code="validate.failed")


def not_checked(check: str, why: str) -> Finding:
    """That a check could not be made; an error, since ``strict`` must not let through what nobody looked at."""
    return Finding(f"{check}.not_checked", t(f"not checked: {why}", f"未校验：{why}"))


def run(
    validators: Sequence[Validator],
    raw: bytes,
    tree: Any,
    context: Context,
    assessments: list[Assessment] | None = None,
) -> Report:
    """Ask validators one after the other, in whatever thread or process. Never raises.

    What rule sets say beyond their findings is added to ``assessments``.
    """
    begun = time.perf_counter_ns()
    report = Report()
    scores: list[float] = []
    for validator in validators:
        try:
            if isinstance(validator, QualityValidator):
                assessment = validator.assess(tree, context)
                found = assessment.findings
                if assessment.score is not None:
                    scores.append(assessment.score)
                if assessments is not None:
                    assessments.append(assessment)
            else:
                found = validator.check(raw, tree, context)
        except Exception as error:  # a bug of the validator: told, and never taken for a good word
            log.exception("validator %s failed", validator.name)
            found = [not_checked(validator.name.split(":", 1)[0], type(error).__name__)]
        report.findings.extend(found)
    report.score = min(scores) if scores else None
    report.took_us = (time.perf_counter_ns() - begun) // 1000
    return report


def record_of(checks: Checks, report: Report) -> CheckRecord:
    """The record to keep, with its verdict."""
    findings = list(report.findings)
    if checks.min_score is not None and report.score is not None and report.score < checks.min_score:
        findings.append(_below(report.score, checks))
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    if errors and checks.strict:
        verdict = CheckVerdict.REFUSED
    elif any(finding.rule.endswith(".not_checked") for finding in findings):
        verdict = CheckVerdict.NOT_CHECKED
    else:
        verdict = CheckVerdict.MARKED if findings else CheckVerdict.CLEAN
    findings.sort(key=lambda finding: finding.severity is not Severity.ERROR)
    return CheckRecord(
        verdict=verdict,
        findings=[_plain(finding) for finding in findings[:_KEPT]],
        errors=errors,
        warnings=len(findings) - errors,
        score=report.score,
        took_us=report.took_us,
        checks=checks.stamp,
    )


def _below(score: float, checks: Checks) -> Finding:
    severity = Severity.ERROR if checks.strict else Severity.WARNING
    text = t(
        f"the score is {score:.1f}, at least {checks.min_score:g} is asked for",
        f"质量得分 {score:.1f}，低于要求的 {checks.min_score:g}",
    )
    advice = t("correct what the other findings say", "请按其他各项的建议修正")
    return Finding("quality.min_score", text, "", advice, Kind.RANGE, Level.COMPLETENESS, severity)


def _plain(finding: Finding) -> dict[str, str]:
    """As it is stored and told: short, and with what looks like personal data masked once more."""
    plain = finding.as_dict()
    plain["rule"] = _storable(finding.rule)[:_SHORT]
    plain["place"] = mask_text(_storable(finding.place)[:_LONGEST])
    plain["text"] = mask_text(_storable(finding.text)[:_LONGEST])
    plain["advice"] = _storable(finding.advice)[:_LONGEST]
    return plain


def _storable(text: str) -> str:
    """Without half surrogate pairs of a lenient decoder."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
