"""Contract tests of plugins (``hub verify``) and the quality scale computed from them."""

from __future__ import annotations

from hub.verify.model import LEVELS, PluginReport, Report, Result, Status
from hub.verify.run import Options, verify

__all__ = ["LEVELS", "Options", "PluginReport", "Report", "Result", "Status", "verify"]
