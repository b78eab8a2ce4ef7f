"""Putting the findings of all parts together."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.check_security.deployed import look_at_files, look_at_keys, look_at_site
from hub.check_security.finding import Finding, Findings
from hub.check_security.listeners import look_at_listener
from hub.check_security.protections import look_at_protection
from hub.check_security.secrets import look_at_secrets
from hub.check_security.targets import look_at_target
from hub.deployment import Deployment, load_deployment
from hub.yaml_source import load

__all__ = ["SecurityReport", "examine"]


@dataclass(slots=True)
class SecurityReport:
    """Every finding, the worst first, and how much was looked at."""

    findings: list[Finding] = field(default_factory=list)
    systems: int = 0
    interfaces: int = 0
    unread: int = 0  # errors of the configuration: what they concern was not looked at

    @property
    def ok(self) -> bool:
        """True where nothing is of high severity and everything could be looked at."""
        return not self.unread and not any(finding.severity == "high" for finding in self.findings)

    def count(self, severity: str) -> int:
        return sum(finding.severity == severity for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "systems": self.systems,
            "interfaces": self.interfaces,
            "unread": self.unread,
            "high": self.count("high"),
            "medium": self.count("medium"),
            "low": self.count("low"),
            "findings": [finding.as_dict() for finding in self.findings],
        }


def examine(config_file: str | os.PathLike[str]) -> SecurityReport:
    """Look at everything. Raises :class:`hub.errors.ConfigError` when ``hub.yaml`` itself can't be used."""
    file = Path(config_file)
    deployment = load_deployment(file)
    findings = Findings()
    document = load(file)
    look_at_site(deployment, document.place(), findings)
    look_at_files(deployment, file, findings)
    look_at_keys(deployment, file.resolve().parent, findings)
    for bound in (*deployment.inbound.values(), *deployment.outbound.values()):
        origin = deployment.origins[bound.place]
        (look_at_listener if bound.contract.direction == "in" else look_at_target)(bound, origin, findings)
        look_at_protection(bound, origin, findings)
        look_at_secrets(bound, origin, findings)
    return SecurityReport(
        findings.sorted(),
        systems=len(deployment.systems),
        interfaces=len(deployment.inbound) + len(deployment.outbound),
        unread=_errors(deployment),
    )


def _errors(deployment: Deployment) -> int:
    return sum(problem.severity == "error" for problem in deployment.problems)
