"""``hub new plugin``: a plugin folder and its mappings, valid at once."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hub.config import LoadedConfig, load_config
from hub.errors import ConfigError, HubError
from hub.i18n import t
from hub.registry import Registry
from hub.scaffold.extending import extending_files
from hub.scaffold.files import write_new
from hub.scaffold.formats import FORMATS, PLAIN
from hub.scaffold.transports import TRANSPORTS, Side
from hub.validation import did_you_mean

__all__ = ["DIRECTIONS", "PluginAnswers", "new_plugin", "usable"]

DIRECTIONS = ("in", "out", "both")
_ID = re.compile(r"[a-z][a-z0-9_]{0,62}")
_LONGEST_NAME = 200

_HEAD = """\
# What this system is and how the hub talks to it. Every key: docs/contract-reference.md; how to: docs/write-a-plugin.md.
# 该外部系统是什么、如何对接。配置项见 docs/contract-reference.md，编写方法见 docs/write-a-plugin.md。
id: {id}
name: {name}
version: 1.0.0
# Its id in the catalogue of external systems, where it is there (`hub catalog`). / 在外部系统目录中的编号（如有）。
# catalog: {id}
# true while no public specification is followed: the contract is ours. / 无公开规范、契约为自拟时为 true。
assumed: true
# Where the facts come from: documents with section or line. / 事实来源：文档及章节或行号。
sources: []

# What each deployment says; secrets are given as file:PATH or env:NAME. / 每次部署填写的参数；机密用 file:路径 或 env:变量名。
settings:
"""
_RECEIVE = """\
  # What comes to the hub: {adapter}, {codec}. / 枢纽接收。
  receive:
    name: 接收
    direction: in
    adapter: {adapter}
    listen:
"""
_SEND = """\
  # What the hub sends: {adapter}, {codec}. / 枢纽发送。
  send:
    name: 发送
    direction: out
    adapter: {adapter}
    connect:
"""
_README = """\
# {name}

<!-- hub new plugin: replace what stands below, then remove this line. Until then these are no operator notes. -->

**For operators.** What the system is, what to agree on with the other party, what each setting means, what to do when deliveries fail.

**运维须知。** 该系统是什么，需与对方约定什么，各参数含义，投递失败时如何处理。

Try it: `hub check`, `hub mapping test {mappings}`, `hub verify {id}`, `pytest {folder}`.
"""
_TEST = '''\
"""The plugin {id}: contract, example, mappings and their tests are sound."""

from __future__ import annotations

from pathlib import Path

from hub.verify import verify

CONFIG = Path(__file__).resolve().parent / {config}


def test_contract_example_and_mappings() -> None:
    """Also every call, against the simulated other party and its faults."""
    found = verify(CONFIG, ["{id}"]).plugins["{id}"]
    assert not found.failed, [(one.check, one.place, one.why) for one in found.failed]
'''


@dataclass(frozen=True, slots=True)
class PluginAnswers:
    """What the skeleton is made from."""

    id: str
    group: str
    name: str
    direction: str = "out"
    adapter: str = "http"
    codec: str = "json"
    extends: str = ""  # a profile, instead of direction, adapter and codec
    values: tuple[tuple[str, str], ...] = ()  # of its parameters, in YAML


def usable(direction: str) -> list[str]:
    """The adapters with a skeleton for a direction."""
    return [name for name in TRANSPORTS if all(_sides(name, direction))]


def new_plugin(config_file: Path, answers: PluginAnswers) -> list[Path]:
    """Write the skeleton into the first plugin and mapping folders of a configuration; gives the files.

    Raises :class:`HubError` for answers that don't fit, and when a file or a plugin of this id is there already.
    """
    loaded = load_config(config_file)
    if loaded.unusable:
        raise ConfigError(loaded.errors)
    _check(answers)
    registry = Registry.discover(loaded.plugin_folders)
    if answers.id in registry.plugins:
        raise HubError(
            t(f"there is a plugin {answers.id!r} already", f"已有插件 {answers.id!r}"),
            code="new.exists",
            remedy=t("choose another id", "请换一个编号"),
        )
    if answers.extends:
        place = (answers.group, answers.id, answers.name)
        return write_new(extending_files(loaded, registry, place, answers.extends, dict(answers.values)))
    return write_new(_files(loaded, answers))


def _check(answers: PluginAnswers) -> None:
    for what, value in ((t("id", "编号"), answers.id), (t("group", "分组"), answers.group)):
        if not _ID.fullmatch(value):
            raise HubError(
                t(f"{what} {value!r} is not possible", f"{what} {value!r} 不可用"),
                code="new.name",
                remedy=t("small letters, digits and _, e.g. city_his", "请用小写字母、数字与下划线，如 city_his"),
            )
    if not answers.name.strip() or len(answers.name) > _LONGEST_NAME or not answers.name.isprintable():
        raise HubError(
            t("the name is empty, too long, or has control characters", "名称为空、过长或含控制字符"), code="new.name"
        )
    if answers.extends:
        return
    _one_of(t("direction", "方向"), answers.direction, DIRECTIONS)
    _one_of(t("adapter", "适配器"), answers.adapter, usable(answers.direction))
    _one_of(t("codec", "编解码器"), answers.codec, TRANSPORTS[answers.adapter].codecs or FORMATS)


def _one_of(what: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise HubError(
            t(f"{what} {value!r} has no skeleton here", f"{what} {value!r} 没有可用的骨架"),
            code="new.choice",
            remedy=did_you_mean(value, known),
        )


def _sides(adapter: str, direction: str) -> list[Side | None]:
    transport = TRANSPORTS[adapter]
    return [transport.receives] * (direction != "out") + [transport.sends] * (direction != "in")


def _files(loaded: LoadedConfig, answers: PluginAnswers) -> dict[Path, str]:
    known = FORMATS[answers.codec]
    folder = loaded.plugin_folders[0] / answers.group / answers.id
    mappings = loaded.mapping_folders[0] / answers.id
    example = f"message.{known.suffix}"
    files = {folder / "plugin.yaml": _contract(answers, example), folder / "examples" / example: known.example}
    names = []
    if answers.direction != "out":
        names.append(f"{answers.id}/received")
        shown = os.path.relpath(folder / "examples" / example, mappings)
        files[mappings / "received.yaml"] = _mapping(
            "What came, as plain JSON; a route names this mapping. / 收到的消息转为 JSON，由路由指定。",
            answers.codec,
            "json",
            known.reads,
        )
        files[mappings / "received.tests.yaml"] = _tests(f"input_file: {shown}", *known.read)
    if answers.direction != "in":
        names.append(f"{answers.id}/sent")
        files[mappings / "sent.yaml"] = _mapping(
            "What is sent, made from plain JSON. / 由 JSON 生成发送的报文。",
            "json",
            answers.codec,
            ("fields:", *(f"  {line}" for line in known.writes)),
        )
        files[mappings / "sent.tests.yaml"] = _tests(f"input: {PLAIN}", *known.written)
    place = os.path.relpath(folder, loaded.file.parent.parent)
    files[folder / "README.md"] = _README.format(
        id=answers.id, name=answers.name, mappings=" ".join(names), folder=place
    )
    config = json.dumps(os.path.relpath(loaded.file, folder))
    files[folder / f"test_{answers.id}.py"] = _TEST.format(id=answers.id, config=config)
    return files


def _contract(answers: PluginAnswers, example: str) -> str:
    transport, known = TRANSPORTS[answers.adapter], FORMATS[answers.codec]
    receives = transport.receives if answers.direction != "out" else None
    sends = transport.sends if answers.direction != "in" else None
    text = _HEAD.format(id=answers.id, name=json.dumps(answers.name, ensure_ascii=False))
    for side in (receives, sends):
        text += _lines("  ", side.settings if side else ())
    rest = "\ninterfaces:\n"
    words = {"adapter": answers.adapter, "codec": answers.codec}
    tail = (f"examples: [examples/{example}]",)
    if receives is not None:
        rest += _RECEIVE.format(**words) + _lines("      ", receives.options)
        rest += _lines("    ", (f"codec: {answers.codec}", *known.interface, *receives.more, *tail))
    if sends is not None:
        rest += _SEND.format(**words) + _lines("      ", sends.options)
        rest += _lines("    ", (f"codec: {answers.codec}", f"mapping: {answers.id}/sent", *sends.more, *tail))
    return text + re.sub(r"\bID\b", answers.id, rest)


def _lines(indent: str, lines: Iterable[str]) -> str:
    return "".join(f"{indent}{line}\n" for line in lines)


def _mapping(head: str, source: str, target: str, rules: Iterable[str]) -> str:
    return f"# {head}\nfrom: {{codec: {source}}}\nto: {{codec: {target}}}\n" + _lines("", rules)


def _tests(given: str, how: str, expected: Iterable[str]) -> str:
    return (
        "# Everybody in here is invented. / 数据均为虚构。\ncases:\n  - name: the example / 示例\n"
        + _lines("    ", (given, f"{how}:"))
        + _lines("      ", expected)
    )
