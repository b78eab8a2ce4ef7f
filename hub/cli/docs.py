"""``hub docs``: the handbook of interfaces, for the other party."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hub.cli.common import DEFAULT_CONFIG, Config, console, site
from hub.errors import HubError
from hub.i18n import t

__all__ = ["DOCS_HELP", "docs"]

DOCS_HELP = t(
    "Write the handbook of interfaces: for each plugin, or each configured system with --system or --systems, a page in Markdown and HTML, "
    "OpenAPI, AsyncAPI and WSDL, and an index. Secrets are never in it. Example: hub docs wechat_pay --out handbook --language zh",
    "生成接口手册：每个插件（或用 --system、--systems 指定已配置的系统）一份 Markdown 与 HTML 页面，附 OpenAPI、AsyncAPI、WSDL 及索引；不含任何密钥。例：hub docs wechat_pay --out handbook --language zh",
)


class Language(StrEnum):
    zh = "zh"
    en = "en"
    both = "both"


def docs(
    plugins: Annotated[
        list[str] | None, typer.Argument(help=t("plugins; default: all", "插件，缺省为全部"), show_default=False)
    ] = None,
    config: Config = DEFAULT_CONFIG,
    out: Annotated[Path, typer.Option(help=t("folder to write to", "输出文件夹"))] = Path("handbook"),
    language: Annotated[Language, typer.Option(help=t("zh, en or both", "zh、en 或 both"))] = Language.both,
    system: Annotated[
        list[str] | None,
        typer.Option(help=t("a configured system, with its real addresses", "已配置的系统，含实际地址")),
    ] = None,
    systems: Annotated[bool, typer.Option("--systems", help=t("all configured systems", "全部已配置的系统"))] = False,
    levels: Annotated[
        bool,
        typer.Option(
            help=t("compute quality levels, which runs all mapping tests", "计算质量等级（会运行全部映射测试）")
        ),
    ] = True,
) -> None:
    from hub.handbook.build import LANGUAGES, write
    from hub.handbook.material import gather
    from hub.handbook.subject import of_plugin, of_system

    if plugins and (system or systems):
        raise HubError(
            t("pages are of plugins or of systems, not of both", "手册要么按插件、要么按系统生成，不能混用"),
            code="handbook.choice",
            remedy=t("leave out the plugins, or --system", "请去掉插件名称或 --system"),
        )
    material = gather(site(config).file, quality=levels)
    wanted = list(system or [])
    if systems:
        wanted = sorted({*wanted, *material.deployment.parties})
    subjects = [of_system(material.deployment, name) for name in dict.fromkeys(wanted)]
    if not subjects and not systems:
        names = list(dict.fromkeys(plugins or [])) or sorted(material.registry.plugins)
        subjects = [of_plugin(material.plugin(name)) for name in names]
    chosen = LANGUAGES if language is Language.both else (language.value,)
    count = write(material, subjects, out, chosen, systems=bool(wanted) or systems)
    first = out / f"index.{chosen[0]}.html"
    console.print(t(f"{count} files, begin with {first}", f"共 {count} 个文件，请从 {first} 开始"), markup=False)
