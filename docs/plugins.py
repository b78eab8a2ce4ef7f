"""Writes ``plugins.md``: every plugin that comes with the hub, by group, with its level and what is missing for the next.

``python -m docs.plugins`` writes the page; ``tests/docs`` checks that it is current.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from hub.config import load_config
from hub.i18n import set_language
from hub.plugin_quality import LEVELS, Quality, qualities
from hub.registry import LoadedPlugin, Registry
from hub.verify.catalogue import CHECKS

__all__ = ["CONFIG", "OUTPUT", "page"]

OUTPUT = Path(__file__).parent / "plugins.md"
CONFIG = Path(__file__).resolve().parents[1] / "config" / "hub.yaml"

_HEAD = """# Plugins

Made by `python -m docs.plugins`; do not edit. `hub plugins --quality` prints the same for an installation, `hub catalog` what is covered of the
[catalogue of external systems](catalog/README.md).

The levels are computed by [contract tests](verify.md): from the files, and from what `hub verify --record` found by calling every interface of a running hub
against the simulated other party and its faults. Results count for the files they were found on; *not verified* means that these have changed since, or were never
tested.

| level | holds when |
|---|---|
{levels}

`←` comes in, `→` goes out. *Assumed*: no public specification exists or is followed, the contract is ours.
"""


def page() -> str:
    """The whole page."""
    set_language("en")
    plugins = Registry.discover(load_config(CONFIG).plugin_folders).plugins
    found = qualities(CONFIG)
    counts = Counter(found[name].level for name in plugins)
    levels = ", ".join(f"{counts[level]} {level}" for level in (*reversed(LEVELS), "") if level)
    below = sum(not one.level and one.verified for one in found.values())
    untested = sum(not one.verified for one in found.values())
    told = ", ".join(part for part in (levels, f"{below} below", f"{untested} not verified") if part)
    lines = [_HEAD.replace("{levels}", _scale()), f"{len(plugins)} plugins: {told}.\n"]
    groups: dict[str, list[LoadedPlugin]] = {}
    for plugin in plugins.values():
        groups.setdefault(plugin.folder.parent.name, []).append(plugin)
    for group in sorted(groups):
        lines.append(f"## {group}\n")
        lines.append("| plugin | name | interfaces | assumed | level | missing for the next level |")
        lines.append("|---|---|---|---|---|---|")
        lines += [_row(plugin, found[plugin.contract.id]) for plugin in groups[group]]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _scale() -> str:
    """A row for each level: what its checks prove."""
    rows = []
    for level in LEVELS:
        proves = "; ".join(f"*{check.title}*: {check.proves}" for check in CHECKS if check.level == level)
        rows.append(f"| {level} | {proves} |")
    return "\n".join(rows)


def _row(plugin: LoadedPlugin, quality: Quality) -> str:
    contract = plugin.contract
    place = f"../plugins/{plugin.folder.parent.name}/{plugin.folder.name}"
    cells = (
        f"[{contract.id}]({place}/plugin.yaml)",
        contract.name,
        "; ".join(_interfaces(plugin)),
        "yes" if contract.assumed else "",
        quality.word,
        "; ".join(quality.missing),
    )
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _interfaces(plugin: LoadedPlugin) -> Iterable[str]:
    """Put together by direction, adapter and codec."""
    found: dict[str, list[str]] = {}
    for name, interface in plugin.contract.interfaces.items():
        arrow = "←" if interface.direction == "in" else "→"
        found.setdefault(f"{arrow} {interface.adapter}/{interface.codec}", []).append(f"`{name}`")
    return (f"{how}: {', '.join(names)}" for how, names in found.items())


if __name__ == "__main__":
    OUTPUT.write_text(page(), encoding="utf-8")
