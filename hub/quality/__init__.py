"""Declarative quality rules at four levels: field, business, plausibility, completeness (002:980, 998)."""

from __future__ import annotations

from hub.quality.library import RuleLibrary
from hub.quality.ruleset import Assessment, QualityValidator
from hub.quality.statistics import QualityStatistics

__all__ = ["Assessment", "QualityStatistics", "QualityValidator", "RuleLibrary"]
