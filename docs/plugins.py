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

__all__ = ["CONFIG", "OUTPUT", "page"]

OUTPUT = Path(__file__).parent / "plugins.md"
CONFIG = Path(__file__).resolve().parents[1] / "config" / "hub.yaml"

_HEAD = """# Plugins

Made by `python -m docs.plugins`; do not edit. `hub plugins --quality` prints the same for an installation, `hub catalog` what is covered of the
[catalogue of external systems](catalog/README.md).

The levels are computed from the files of a plugin; nothing is called. That an interface works against a simulator with faults, or against the real
party, is not part of them, and nothing higher than gold is claimed.

| level | holds when |
|---|---|
| bronze | the contract loads without errors; what comes in has an example, and examples pass their codec, their schemas and the format's own check; every mapping named exists, has tests, they pass, and write at least 80 % of its fields |
| silver | what is sent over HTTP and SOAP has an error table; everything sent says how it is retried, and can be probed; README.md has notes for operators in English and Chinese |
| gold | sources are cited, and a module in `tests/plugins` is named after it or deploys it in a system, or it has a replay set; whether those tests pass, running them shows |

`←` comes in, `→` goes out. *Assumed*: no public specification exists or is followed, the contract is ours.
"""


def page() -> str:
    """The whole page."""
    set_language("en")
    plugins = Registry.discover(load_config(CONFIG).plugin_folders).plugins
    found = qualities(CONFIG)
    counts = Counter(found[name].level for name in plugins)
    levels = ", ".join(f"{counts[level]} {level}" for level in (*reversed(LEVELS), "") if level)
    lines = [_HEAD, f"{len(plugins)} plugins: {levels}, {counts['']} below.\n"]
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


def _row(plugin: LoadedPlugin, quality: Quality) -> str:
    contract = plugin.contract
    place = f"../plugins/{plugin.folder.parent.name}/{plugin.folder.name}"
    cells = (
        f"[{contract.id}]({place}/plugin.yaml)",
        contract.name,
        "; ".join(_interfaces(plugin)),
        "yes" if contract.assumed else "",
        quality.level or "–",
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
