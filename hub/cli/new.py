"""``hub new plugin | system``: skeletons that are valid at once."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from hub.cli.common import DEFAULT_CONFIG, AsJson, Config, console, emit, site
from hub.errors import HubError
from hub.i18n import t

__all__ = ["HELP", "app"]

HELP = t(
    "Begin a plugin or a system from a skeleton; files are never replaced.", "从骨架新建插件或系统；不覆盖已有文件。"
)

app = typer.Typer(no_args_is_help=True, help=HELP)


@app.command(
    "plugin",
    help=t(
        "Write a plugin with example, mapping, tests and README. Asks what no option says. "
        "Example: hub new plugin --id city_his --group hospital --direction in --adapter mllp --codec hl7v2",
        "生成插件及其示例、映射、测试与 README；未用选项给出的逐项询问。"
        "例：hub new plugin --id city_his --group hospital --direction in --adapter mllp --codec hl7v2",
    ),
)
def plugin(
    config: Config = DEFAULT_CONFIG,
    plugin_id: Annotated[str, typer.Option("--id", help=t("small letters, digits, _", "小写字母、数字、下划线"))] = "",
    group: Annotated[str, typer.Option(help=t("folder it stands in, e.g. hospital", "所在分组，如 hospital"))] = "",
    name: Annotated[str, typer.Option(help=t("name for people; default: the id", "名称，缺省为编号"))] = "",
    direction: Annotated[
        str, typer.Option(help=t("seen from the hub: in, out or both", "以枢纽为准：in、out 或 both"))
    ] = "",
    adapter: Annotated[str, typer.Option(help=t("transport", "传输适配器"))] = "",
    codec: Annotated[str, typer.Option(help=t("format", "报文格式"))] = "",
    extends: Annotated[
        str, typer.Option(help=t("a profile that says all this already", "已给出上述内容的配置模板"))
    ] = "",
    values: Annotated[
        list[str] | None,
        typer.Option("--with", help=t("NAME=VALUE, a parameter of the profile", "名称=值，配置模板的参数")),
    ] = None,
    as_json: AsJson = False,
) -> None:
    from hub.scaffold.formats import FORMATS
    from hub.scaffold.plugin import DIRECTIONS, PluginAnswers, new_plugin, usable
    from hub.scaffold.transports import TRANSPORTS

    where = site(config).file
    plugin_id = plugin_id or _asked("--id", t("id, e.g. city_his", "编号，如 city_his"))
    group = group or _asked("--group", t("group, e.g. hospital", "分组，如 hospital"))
    name = name or _asked("--name", t("name", "名称"), plugin_id)
    if extends:
        given = tuple((name, value) for name, _, value in (text.partition("=") for text in values or ()))
        answers = PluginAnswers(plugin_id, group, name, extends=extends, values=given)
        return _told(new_plugin(where, answers), as_json)
    direction = direction or _asked("--direction", t("direction", "方向"), "out", DIRECTIONS)
    adapter = adapter or _asked("--adapter", t("adapter", "适配器"), "http", usable(direction))
    codecs = (TRANSPORTS[adapter].codecs if adapter in TRANSPORTS else ()) or tuple(FORMATS)
    codec = codec or _asked("--codec", t("codec", "格式"), codecs[0], codecs)
    return _told(new_plugin(where, PluginAnswers(plugin_id, group, name, direction, adapter, codec)), as_json)


@app.command(
    "system",
    help=t(
        "Write a system on a plugin, with placeholders for its settings and a route; it is off until they are replaced. "
        "Example: hub new system his_hl7v2 his_east",
        "生成使用某插件的系统，含参数占位值与路由；替换前处于停用状态。例：hub new system his_hl7v2 his_east",
    ),
)
def system(
    plugin_id: Annotated[str, typer.Argument(help=t("id of a plugin", "插件编号"))],
    system_id: Annotated[str, typer.Argument(help=t("id of the new system", "新系统的编号"))],
    config: Config = DEFAULT_CONFIG,
    name: Annotated[str, typer.Option(help=t("name for people; default: the plugin's", "名称，缺省为插件名称"))] = "",
    as_json: AsJson = False,
) -> None:
    from hub.scaffold.system import new_system

    _told(new_system(site(config).file, plugin_id, system_id, name), as_json)


def _asked(option: str, question: str, default: str = "", choices: Iterable[str] = ()) -> str:
    """The answer of the person at the terminal; away from one the default. Raises :class:`HubError` where there is none."""
    if sys.stdin.isatty():
        shown = f"{question} ({', '.join(choices)})" if choices else question
        return str(typer.prompt(shown, default=default or None, err=True)).strip()
    if not default:
        raise HubError(t(f"{option} is missing", f"缺少 {option}"), code="new.missing")
    return default


def _told(files: list[Path], as_json: bool) -> None:
    if as_json:
        return emit({"files": [str(file) for file in files]})
    for file in files:
        console.print(str(file), markup=False)
    console.print(t("next: `hub check`", "下一步：`hub check`"), markup=False)
    return None
