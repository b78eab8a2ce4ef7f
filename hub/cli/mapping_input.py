"""What the commands of ``hub mapping`` start from: the deployment's mappings, and an input with what is around it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.errors import ConfigError, HubError
from hub.i18n import set_language, t

if TYPE_CHECKING:
    from hub.mapping import CompiledMapping
    from hub.mapping_tools import Workbench
    from hub.mapping_tools.workbench import Input

__all__ = ["How", "open_bench", "read_input", "values_of"]


@dataclass(frozen=True, slots=True)
class How:
    """What the options of a command say of an input."""

    kind: str = ""
    settings: list[str] | None = None
    now: str = ""
    encoding: str = ""
    input_format: list[str] | None = None
    lookups: list[str] | None = None


def open_bench(config: Path) -> Workbench:
    """Raises :class:`ConfigError` when the configuration itself can't be used."""
    from hub.config import load_config
    from hub.mapping_tools import open_workbench

    loaded = load_config(config.resolve())
    if loaded.unusable:
        raise ConfigError(loaded.errors)
    if loaded.hub.language:
        set_language(loaded.hub.language)
    return open_workbench(loaded)


def _read(file: str) -> bytes:
    from hub.mapping_tools.workbench import MAX_INPUT

    try:
        if file == "-":
            return sys.stdin.buffer.read(MAX_INPUT + 1)
        with open(file, "rb") as stream:
            return stream.read(MAX_INPUT + 1)
    except OSError as error:
        raise HubError(t(f"{file} can't be read: {error.strerror}", f"无法读取 {file}：{error.strerror}")) from None


def values_of(option: str, given: Iterable[str]) -> dict[str, Any]:
    """The values of a repeatable option: each ``name=value``, or a YAML file. Raises :class:`HubError`."""
    from hub.yaml_source import load

    values: dict[str, Any] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if equals:
            values[name] = value
            continue
        data = load(one).data
        if not isinstance(data, dict):
            raise HubError(
                t(f"{option} {one}: no keys and values", f"{option} {one}：不是键值"),
                remedy=t("write name=value, or name a YAML file", "请写 名=值，或指定 YAML 文件"),
            )
        values |= data
    return values


def read_input(bench: Workbench, name: str, file: str, how: How) -> tuple[CompiledMapping, Input]:
    """The mapping and the decoded input; a type the mapping is not for is a warning. Raises :class:`HubError`."""
    from hub.mapping_tools.workbench import Circumstances, instant
    from hub.router import type_matcher

    mapping = bench.library.get(name)
    around = Circumstances(
        settings=values_of("--settings", how.settings or ()),
        variables=values_of("--lookups", how.lookups or ()),
        type=how.kind,
        now_us=instant(how.now) if how.now else 0,
    )
    options = values_of("--input-format", how.input_format or ())
    given = bench.input(mapping, _read(file), around, encoding=how.encoding, options=options, name=file)
    message = given.context.message
    actual = message.type if message is not None else ""
    if mapping.types and actual and not type_matcher(mapping.types)(actual):
        text = t(
            f"{name} is for {', '.join(mapping.types)}, the input is {actual}",
            f"{name} 适用于 {', '.join(mapping.types)}，输入为 {actual}",
        )
        print(f"warning: {text}", file=sys.stderr)
    return mapping, given
