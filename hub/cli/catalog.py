"""``hub catalog``: the installed plugins against the catalogue of external systems."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hub.cli.common import DEFAULT_CONFIG, AsJson, Config, console, emit, site, table
from hub.errors import HubError
from hub.i18n import t
from hub.validation import did_you_mean

__all__ = ["CATALOG_HELP", "catalog"]

CATALOG_HELP = t(
    "How much of the catalogue of external systems the plugins cover, by group and priority; --group and --priority list "
    "the systems, --missing what is not covered. Status 1 when a plugin names what the catalogue does not have.",
    "插件对外部系统目录的覆盖情况，按分组与优先级汇总；--group、--priority 列出系统，--missing 列出未覆盖者。插件引用了目录中没有的编号时退出码为 1。",
)


def catalog(
    config: Config = DEFAULT_CONFIG,
    group: Annotated[str, typer.Option(help=t("only this group, e.g. freight", "仅此分组，如 freight"))] = "",
    priority: Annotated[
        int | None, typer.Option(help=t("only this priority, 1 to 3", "仅此优先级，1 至 3"), min=1, max=3)
    ] = None,
    missing: Annotated[bool, typer.Option("--missing", help=t("only what is not covered", "仅列出未覆盖的"))] = False,
    folder: Annotated[
        Path | None, typer.Option("--catalog", help=t("folder of another catalogue", "另一目录的文件夹"))
    ] = None,
    as_json: AsJson = False,
) -> None:
    from hub.catalog import FOLDER, Catalog, compare
    from hub.config import load_config
    from hub.registry import Registry
    from hub.verify.badges import levels

    known = Catalog.read(folder or FOLDER)
    if group and group not in known.groups:
        raise HubError(
            t(f"the catalogue has no group {group!r}", f"目录中没有分组 {group!r}"),
            code="catalog.group",
            remedy=did_you_mean(group, known.groups),
        )
    reached = levels(site(config).file)
    registry = Registry.discover(load_config(site(config).file).plugin_folders)
    everything = compare(known, registry.plugins.values())
    found = everything.chosen(group, priority or 0)
    shown = found.chosen(missing=missing)
    if as_json:
        emit(
            {
                "count": found.count().as_dict(),
                "groups": {
                    name: {
                        "name": str(words),
                        **found.chosen(name).count().as_dict(),
                        "priorities": {str(p): found.chosen(name, p).count().as_dict() for p in (1, 2, 3)},
                    }
                    for name, words in known.groups.items()
                    if group in ("", name)
                },
                "systems": [
                    row.as_dict() | {"levels": {name: reached.get(name, "") for name in row.plugins}}
                    for row in shown.systems
                ],
                "plugins_without_catalog": everything.elsewhere,
                "problems": [problem.as_dict() for problem in everything.problems],
            }
        )
    elif group or priority or missing:
        table(
            [
                t("system", "系统"),
                t("name", "名称"),
                t("group", "分组"),
                t("priority", "优先级"),
                t("plugins", "插件"),
                t("level", "等级"),
                t("assumed", "自拟契约"),
                t("interfaces", "接口"),
                t("not covered", "未覆盖"),
            ],
            [
                [
                    row.id,
                    row.system.name,
                    row.group,
                    row.system.priority,
                    " ".join(row.plugins) or "–",
                    " ".join(reached.get(name) or "–" for name in row.plugins),
                    t("yes", "是") if row.assumed else "",
                    f"{len(row.covered)}/{len(row.covered) + len(row.missing)}",
                    " ".join(row.missing) if row.plugins else "",
                ]
                for row in shown.systems
            ],
        )
    else:
        rows = []
        for name, label in [*((name, str(words)) for name, words in known.groups.items()), ("", t("all", "合计"))]:
            count = found.chosen(name).count()
            of_priority = [found.chosen(name, p).count() for p in (1, 2, 3)]
            rows.append(
                [
                    name or label,
                    label if name else "",
                    *(f"{one.covered}/{one.systems}" if one.systems else "" for one in of_priority),
                    f"{count.covered}/{count.systems}",
                    count.assumed or "",
                    f"{count.interfaces_covered}/{count.interfaces}",
                ]
            )
        table(
            [
                t("group", "分组"),
                t("name", "名称"),
                *(t(f"priority {p}", f"优先级 {p}") for p in (1, 2, 3)),
                t("systems", "系统"),
                t("assumed", "自拟契约"),
                t("interfaces", "接口"),
            ],
            rows,
        )
    if missing and not as_json:
        for row in shown.systems:
            for name, why in row.open.items():
                console.print(f"{row.id}/{name}: {why}", markup=False)
    if not as_json:
        for problem in everything.problems:
            console.print(f"{problem.severity}: {problem}", markup=False)
    if everything.problems:
        sys.exit(1)
