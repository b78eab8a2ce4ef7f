"""The index: what there are pages of, by group of the catalogue, with what they cover and how good they are."""

from __future__ import annotations

from collections.abc import Sequence

from hub.handbook.blocks import Block, Fold, Heading, Inline, Link, Para, Table, code, joined, say
from hub.handbook.material import Material
from hub.handbook.page import LEVEL_WORDS, title_of
from hub.handbook.subject import Subject
from hub.handbook.words import anchor, in_language
from hub.i18n import language, t

__all__ = ["SCRIPT", "index"]

#: Hides the rows, and then the groups, that don't hold what is looked for.
SCRIPT = """
const box = document.querySelector("input[type=search]");
box.hidden = false;
box.addEventListener("input", () => {
  const words = box.value.toLowerCase().split(/\\s+/).filter(Boolean);
  for (const row of document.querySelectorAll("table.systems tbody tr")) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
  for (const head of document.querySelectorAll("h2")) {
    const section = [head];
    for (let one = head.nextElementSibling; one && one.tagName !== "H2"; one = one.nextElementSibling) section.push(one);
    const some = section.some((one) => one.querySelector("table.systems tbody tr:not([hidden])"));
    for (const one of section) one.hidden = words.length > 0 && (!some || one.tagName === "DETAILS");
  }
});
"""


def index(material: Material, subjects: Sequence[Subject], *, systems: bool, suffix: str) -> list[Block]:
    """``suffix`` is the ending of the pages that are linked, ``html`` or ``md``."""
    title = (
        t("Interfaces of the configured systems", "已配置系统接口手册")
        if systems
        else t("Interface handbook", "接口手册")
    )
    blocks: list[Block] = [Heading(1, (title,))]
    blocks.append(
        Para(
            (
                t(
                    "Made by hub docs from the contracts the hub runs by. Levels and coverage are computed, not claimed.",
                    "由 hub docs 依据枢纽实际执行的契约生成；等级与覆盖情况均为计算所得。",
                ),
            )
        )
    )
    by_group: dict[str, list[Subject]] = {}
    for subject in subjects:
        by_group.setdefault(_group(material, subject), []).append(subject)
    known = list(material.catalog.groups) if material.catalog is not None else []
    for group in [*known, *sorted(set(by_group) - set(known))]:
        blocks += _section(material, group, by_group.get(group, []), suffix, systems)
    return blocks


def _group(material: Material, subject: Subject) -> str:
    catalog = material.catalog
    if catalog is not None and subject.contract.catalog in catalog.systems:
        return catalog.group_of[subject.contract.catalog]
    return subject.plugin.folder.parent.name


def _section(material: Material, group: str, subjects: Sequence[Subject], suffix: str, systems: bool) -> list[Block]:
    catalog, coverage = material.catalog, material.coverage
    known = catalog is not None and group in catalog.groups
    rest: list[Inline] = []
    told: list[Block] = []
    if known and coverage is not None and not systems:
        part = coverage.chosen(group)
        count = part.count()
        words = t(
            "{covered} of {all} systems of the catalogue have a plugin; {done} of {wanted} interfaces are covered.",
            "目录中 {all} 个系统已有插件 {covered} 个；{wanted} 个接口已覆盖 {done} 个。",
        )
        told.append(
            Para(
                say(
                    words,
                    covered=str(count.covered),
                    all=str(count.systems),
                    done=str(count.interfaces_covered),
                    wanted=str(count.interfaces),
                )
            )
        )
        rest = [say("{name} ({id})", name=row.system.name, id=code(row.id)) for row in part.systems if not row.plugins]
    if not subjects and not (rest and not systems):
        return []
    name = str(catalog.groups[group]) if catalog is not None and known else group
    blocks: list[Block] = [Heading(2, (name[:1].upper() + name[1:],), anchor("group", group)), *told]
    if subjects:
        head = [
            t("system", "系统"),
            t("id", "编号"),
            t("interfaces", "接口"),
            t("assumed", "自拟契约"),
            *([] if systems else [t("coverage", "目录覆盖")]),
            t("level", "等级"),
        ]
        blocks.append(Table(head, [_row(material, subject, suffix, systems) for subject in subjects], "systems"))
    if rest:
        blocks.append(Fold((t("Systems without a plugin", "尚无插件的系统"),), [Para(joined(rest, t(", ", "、")))]))
    return blocks


def _row(material: Material, subject: Subject, suffix: str, systems: bool) -> list[Inline]:
    interfaces = joined(
        [
            ("← " if one.direction == "in" else "→ ", in_language(one.name) or name)
            for name, one in subject.interfaces.items()
        ],
        t("; ", "；"),
    )
    level = material.levels.get(subject.contract.id)
    return [
        (Link(title_of(subject), f"{subject.id}/{language()}.{suffix}"),),
        code(subject.id),
        interfaces,
        (t("yes", "是"),) if subject.contract.assumed else (),
        *([] if systems else [_coverage(material, subject)]),
        (t(*LEVEL_WORDS.get(level, (level, level))),) if level is not None else ("–",),
    ]


def _coverage(material: Material, subject: Subject) -> Inline:
    """Of the catalogue's interfaces of its system, those this plugin claims."""
    catalog, system = material.catalog, subject.contract.catalog
    if catalog is None or system not in catalog.systems:
        return ("–",)
    wanted = catalog.interfaces(system)
    claimed = {claim for name, one in subject.interfaces.items() for claim in one.catalog or (name,)}
    return (f"{sum(one in claimed for one in wanted)}/{len(wanted)}",)
