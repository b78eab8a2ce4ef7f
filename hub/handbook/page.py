"""The page of one plugin or system: what the other party needs to connect, from the contract alone."""

from __future__ import annotations

from collections.abc import Iterable

from hub.handbook.blocks import (
    Block,
    Bullets,
    Code,
    Heading,
    Inline,
    Link,
    Note,
    Para,
    Strong,
    Table,
    code,
    joined,
    say,
)
from hub.handbook.fields_table import FieldsTables, schema_tables
from hub.handbook.formats import technique
from hub.handbook.interface_section import InterfaceSections, interface_name
from hub.handbook.material import Material
from hub.handbook.subject import Subject
from hub.handbook.words import anchor, in_language, purpose_of, references, setting_type
from hub.i18n import t

__all__ = ["LEVEL_WORDS", "page", "title_of"]

#: Most rows of a code table that are printed.
MAX_TABLE = 400
#: Most message types of an interface in the overview.
MOST_TYPES = 10
LEVEL_WORDS = {
    "": ("none yet", "尚无等级"),
    "bronze": ("bronze", "铜级"),
    "silver": ("silver", "银级"),
    "gold": ("gold", "金级"),
    "platinum": ("platinum", "铂金级"),
}


def title_of(subject: Subject) -> str:
    return in_language(subject.name)


def page(material: Material, subject: Subject, files: Iterable[tuple[str, str]] = ()) -> list[Block]:
    """``files`` are (words, name) of what lies beside the page: OpenAPI, AsyncAPI, WSDL."""
    made = _Page(material, subject)
    return [*made.head(list(files)), *made.settings(), *made.overview(), *made.interfaces(), *made.tables()]


class _Page:
    def __init__(self, material: Material, subject: Subject) -> None:
        self._material = material
        self._subject = subject
        self._fields = FieldsTables(material.schemas, material.mappings)
        self._sections = InterfaceSections(material, subject, self._fields)

    # -- head ----------------------------------------------------------------------------------------------------

    def head(self, files: list[tuple[str, str]]) -> list[Block]:
        subject, contract = self._subject, self._subject.contract
        blocks: list[Block] = [Heading(1, (title_of(subject),))]
        purpose = purpose_of(subject.plugin.file)
        if purpose:
            blocks.append(Para((purpose,)))
        if contract.assumed:
            blocks.append(
                Note(
                    (
                        Strong(t("Assumed. ", "自拟契约。")),
                        t(
                            "No public specification of this interface is known or followed; addresses, names and structures are a proposal and have to be agreed before use.",
                            "该接口没有可依据的公开规范，地址、名称与结构均为建议，使用前须由双方确认。",
                        ),
                    )
                )
            )
        facts: list[list[Inline]] = []
        if subject.system:
            facts.append([(t("System", "系统"),), code(subject.id)])
        facts += [[(t("Plugin", "插件"),), code(contract.id)], [(t("Version", "版本"),), code(contract.version)]]
        catalog = self._material.catalog
        if catalog is not None and contract.catalog in catalog.systems:
            system = catalog.systems[contract.catalog]
            group = catalog.groups[catalog.group_of[contract.catalog]]
            told = say(
                t("{name} ({id}), group {group}", "{name}（{id}），分组：{group}"),
                name=system.name,
                id=code(contract.catalog),
                group=str(group),
            )
            facts.append([(t("Catalogue", "系统目录"),), told])
            documents = [f"{source.partition(':')[0]}" for source in system.sources]
            known = dict.fromkeys(name for name in documents if name in catalog.documents)
            cited = [f"{name} {catalog.documents[name]}" for name in known]
            if cited:
                facts.append([(t("Requirements", "需求文档"),), (t("; ", "；").join(cited),)])
        if contract.id in self._material.levels:
            facts.append(
                [
                    (t("Quality level", "质量等级"),),
                    (t(*LEVEL_WORDS.get(self._material.levels[contract.id], ("", ""))),),
                ]
            )
        if files:
            facts.append(
                [
                    (t("Machine-readable", "机器可读描述"),),
                    joined([(Link(words, name),) for words, name in files], t(", ", "、")),
                ]
            )
        blocks.append(Table([], facts))
        if contract.sources:
            blocks.append(Heading(2, (t("Sources", "依据"),), "sources"))
            blocks.append(Bullets([self._source(source) for source in contract.sources]))
        return blocks

    def _source(self, source: str) -> Inline:
        """A document line such as ``004:8116`` with the name of the document."""
        catalog = self._material.catalog
        number = source.partition(":")[0]
        if catalog is not None and number in catalog.documents:
            return say(
                t("{source} – {document}", "{source} —— {document}"), source=source, document=catalog.documents[number]
            )
        return (in_language(source),)

    # -- settings ------------------------------------------------------------------------------------------------

    def settings(self) -> list[Block]:
        subject = self._subject
        if not subject.settings:
            return []
        blocks: list[Block] = [Heading(2, (t("Settings", "设置"),), "settings")]
        blocks.append(
            Para(
                say(
                    t(
                        "Both sides agree on these values; below, {name} stands for the value of a setting. Secrets are exchanged by another way and never shown.",
                        "以下各项由双方约定；下文中的 {name} 表示对应设置的值。密钥另行交换，本文不予显示。",
                    ),
                    name=Code("{name}"),
                )
            )
        )
        head = [
            t("setting", "设置"),
            t("type", "类型"),
            t("required", "必填"),
            t("default", "缺省值"),
            t("meaning", "含义"),
        ]
        if subject.system:
            head.append(t("value", "取值"))
        rows = []
        for name, setting in subject.settings.items():
            secret = setting.type == "secret"
            kind: Inline = (setting_type(setting),)
            if setting.choices:
                kind = (
                    *kind,
                    t(": ", "："),
                    *joined(
                        [code(str(choice)) if str(choice) else (t("(empty)", "（空）"),) for choice in setting.choices]
                    ),
                )
            default: Inline = () if secret or setting.default in (None, "") else _value(setting.default)
            meaning = in_language(setting.description) or t("–", "–")
            row: list[Inline] = [
                code(name),
                kind,
                (Strong(t("yes", "是")),) if setting.required else (),
                default,
                (meaning,),
            ]
            if subject.system:
                row.append((t("(not shown)", "（保密）"),) if secret else _value(subject.values.get(name)))
            rows.append(row)
        return [*blocks, Table(head, rows, "settings")]

    # -- interfaces ----------------------------------------------------------------------------------------------

    def overview(self) -> list[Block]:
        rows: list[list[Inline]] = []
        for name, interface in self._subject.interfaces.items():
            rows.append(
                [
                    (Link(interface_name(name, interface), f"#{anchor('interface', name)}"),),
                    code(name),
                    (self._sections.direction(interface),),
                    (technique(interface),),
                    self._sections.types(interface, MOST_TYPES),
                ]
            )
        head = [
            t("interface", "接口"),
            t("id", "编号"),
            t("direction", "方向"),
            t("technique", "技术"),
            t("message types", "消息类型"),
        ]
        return [Heading(2, (t("Interfaces", "接口一览"),), "interfaces"), Table(head, rows, "overview")]

    def interfaces(self) -> list[Block]:
        return self._sections.interfaces()

    def tables(self) -> list[Block]:
        blocks = schema_tables(self._fields.tables, self._material.mappings, MAX_TABLE)
        return [Heading(2, (t("Code tables", "代码表"),), "tables"), *blocks] if blocks else []


def _value(value: object) -> Inline:
    if value is None:
        return (t("(none)", "（未设）"),)
    if isinstance(value, bool):
        return (t("yes", "是") if value else t("no", "否"),)
    if isinstance(value, list):
        return joined([references(str(one)) for one in value]) or (t("(none)", "（未设）"),)
    return references(str(value)) or (t("(empty)", "（空）"),)
