"""The record of what ``hub verify`` found, kept with the project: ``docs/quality.json`` beside the folder of plugins.

Levels can't be written there: each entry holds the results of checks and the digests of the files they were found on. When a file changes,
they no longer count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hub.errors import HubError
from hub.i18n import t
from hub.verify.catalogue import CHECKS
from hub.verify.model import PluginReport, Report, Status

__all__ = ["FILE", "Record"]

FILE = Path("docs") / "quality.json"
#: Made only when asked for: a run without them says nothing of them.
_OPTIONAL = frozenset(("proof", "fuzz", "flow", "benchmark"))
_LONGEST_WHY = 400


class Record:
    """The file, read once."""

    def __init__(self, file: Path, plugins: dict[str, dict[str, Any]]) -> None:
        self.file = file
        self._plugins = plugins

    @classmethod
    def read(cls, root: Path) -> Record:
        """The record below a project; empty where there is none. Raises :class:`HubError` for a file that is none."""
        file = root / FILE
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            plugins = data["plugins"]
            if not isinstance(plugins, dict) or not all(isinstance(one, dict) for one in plugins.values()):
                raise TypeError
        except FileNotFoundError:
            return cls(file, {})
        except (OSError, ValueError, KeyError, TypeError):
            raise HubError(
                t(f"{file} is no record of contract tests", f"{file} 不是契约测试记录"),
                code="verify.record",
                remedy=t("delete it and run `hub verify --record`", "请删除后运行 `hub verify --record`"),
            ) from None
        return cls(file, plugins)

    def of(self, plugin: str, digest: str) -> Mapping[str, Mapping[str, str]] | None:
        """Results by check, as an earlier run found them on files of this digest; None: there was none."""
        entry = self._plugins.get(plugin)
        if entry is None or entry.get("digest") != digest:
            return None
        checks = entry.get("checks")
        return checks if isinstance(checks, dict) else None

    def current(self, plugin: str, digest: str, around: str) -> Mapping[str, Mapping[str, str]] | None:
        """The same where also notes and tests of mappings are as they were: then nothing need be looked at again."""
        entry = self._plugins.get(plugin)
        return None if entry is None or entry.get("around") != around else self.of(plugin, digest)

    def keep(self, report: Report, *, all_plugins: bool) -> None:
        """Write what a run found. Checks it left out keep what an earlier run found on the same files."""
        found = {} if all_plugins else dict(self._plugins)
        for plugin in report:
            before = self.of(plugin.plugin, plugin.digest) or {}
            found[plugin.plugin] = {
                "digest": plugin.digest,
                "around": plugin.around,
                "checks": _checks(plugin, before),
            }
        self._plugins = dict(sorted(found.items()))
        text = json.dumps({"plugins": self._plugins}, ensure_ascii=False, indent=1) + "\n"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(text, encoding="utf-8")


def _checks(plugin: PluginReport, before: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for check in (one.id for one in CHECKS):
        results = plugin.of(check)
        status = plugin.status(check)
        if status in (None, Status.SKIPPED) and check in _OPTIONAL and check in before:
            found[check] = dict(before[check])
            continue
        if status is None:
            continue
        first = next((result for result in results if result.status is status), None)
        entry = {"status": str(status)}
        if first is not None and status is not Status.PASSED:
            count = sum(result.status is status for result in results)
            more = f" (+{count - 1})" if count > 1 else ""
            entry["why"] = f"{first.place}: {first.why}{more}"[:_LONGEST_WHY].lstrip(": ")
        elif check == "benchmark":
            entry["figures"] = "; ".join(f"{result.place}: {result.why}" for result in results)[:_LONGEST_WHY]
        found[check] = entry
    return found
