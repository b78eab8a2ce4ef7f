"""``hub check --security``: whether a configuration that works is also a safe one. Reads files and rights, starts nothing, connects to nothing."""

from hub.check_security.examine import SecurityReport, examine
from hub.check_security.finding import Clause, Finding, Findings, Severity

__all__ = ["Clause", "Finding", "Findings", "SecurityReport", "Severity", "examine"]
