"""Checks of messages against schemas and standards, and the report they make."""

from hub.validators.loading import load
from hub.validators.report import Finding, Kind, Level, Report, Severity, Validator

__all__ = ["Finding", "Kind", "Level", "Report", "Severity", "Validator", "load"]
