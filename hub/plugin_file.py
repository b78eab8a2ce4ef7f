"""Reading the contract out of ``plugin.yaml``."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from hub.contract import Interface, Plugin, Setting
from hub.errors import Problem
from hub.i18n import t
from hub.profiles.document import ComposedDocument
from hub.validation import explain
from hub.yaml_source import Document

__all__ = ["IN_ONLY", "OUT_ONLY", "parse_contract"]

#: Keys of an interface that mean something in one direction only.
IN_ONLY = frozenset(("listen", "type", "control_id", "keys", "duplicate_window", "max_size", "reply_mapping"))
OUT_ONLY = frozenset(
    (
        *("connect", "accepts", "mapping", "order_by", "idempotency", "success", "reply", "errors", "retry", "breaker"),
        *("concurrency", "rate", "hours"),
    )
)

#: A value of each type of setting, to try a contract whose real values come with a system.
_SAMPLES: dict[str, Any] = {"integer": 1, "number": 1, "boolean": True, "port": 1, "duration": 1, "list": []}


def parse_contract(document: Document, problems: list[Problem]) -> Plugin | None:
    """The contract; None when it has errors, which are added to ``problems``.

    Where a setting (``${name}``) stands for something that is not text, a sample takes its place in the result:
    :mod:`hub.deployment` puts the real value there, and checks it, for every system.
    """
    read = _ready(document)
    try:
        plugin = Plugin.model_validate(read)
    except ValidationError as error:
        data = _with_samples(read, error)
        try:
            plugin = Plugin.model_validate(data)
        except ValidationError as remaining:
            problems.extend(explain(remaining, Plugin, data, document.place()))
            return None
    if isinstance(document, ComposedDocument):
        _keep_ready(document, plugin)
    for name, interface in plugin.interfaces.items():
        _check_direction(name, interface, document, problems)
    return plugin


def _ready(document: Document) -> Any:
    """The data, with interfaces that other plugins have as well as they were read for the first of these."""
    data = document.data
    if not isinstance(document, ComposedDocument) or not isinstance(data.get("interfaces"), dict):
        return data
    ready = document.ready
    return {**data, "interfaces": {name: ready.get(id(raw), (raw, raw))[1] for name, raw in data["interfaces"].items()}}


def _keep_ready(document: ComposedDocument, plugin: Plugin) -> None:
    for name, part in document.parts("interfaces"):
        if part.shared:
            document.ready[id(part.data)] = part.data, plugin.interfaces[name]


def _with_samples(data: Any, error: ValidationError) -> Any:
    """A copy of the data with samples at the places that are wrong and hold nothing but ``${name}``."""
    declared = data.get("settings") if isinstance(data, dict) else None
    for detail in error.errors(include_url=False, include_context=False):
        text = detail.get("input")
        if not (isinstance(text, str) and text.startswith("${") and text.endswith("}")):
            continue
        setting = declared.get(text[2:-1]) if isinstance(declared, dict) else None
        if not isinstance(setting, dict):
            continue
        kind = setting.get("type", Setting.model_fields["type"].default)
        data = _replaced(data, detail["loc"], _SAMPLES.get(kind, "sample"))
    return data


def _replaced(data: Any, path: tuple[str | int, ...], value: Any) -> Any:
    if not path:
        return value
    part = path[0]
    if isinstance(data, dict) and part in data:
        return {**data, part: _replaced(data[part], path[1:], value)}
    if isinstance(data, list) and isinstance(part, int) and part < len(data):
        return [*data[:part], _replaced(data[part], path[1:], value), *data[part + 1 :]]
    return data


def _check_direction(name: str, interface: Interface, document: Document, problems: list[Problem]) -> None:
    wrong = OUT_ONLY if interface.direction == "in" else IN_ONLY
    for key in sorted(interface.model_fields_set & wrong):
        text = t(
            f"has no effect on an interface of direction {interface.direction}",
            f"对方向为 {interface.direction} 的接口无效",
        )
        remedy = t("remove it, or correct direction", "请删除，或更正 direction")
        problems.append(document.problem(text, ("interfaces", name, key), remedy=remedy, severity="warning"))
