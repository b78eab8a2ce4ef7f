"""Writes ``contract-reference.md`` from the models of :mod:`hub.contract` and the options of the built-in adapters and codecs.

``python docs/generate.py`` writes the file; ``tests/docs`` checks that it is current.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from adapters import hub_adapters
from hub.codecs.csv_codec import CsvFormat
from hub.codecs.excel_codec import ExcelFormat
from hub.codecs.fhir import FhirFormat
from hub.codecs.fixed_layout import FixedFormat
from hub.codecs.xml_codec import XmlOptions
from hub.contract import HubConfig, Interface, Plugin, Profile, parse_duration, parse_size
from hub.security.load import BUILT_IN, scheme_class

__all__ = ["OUTPUT", "reference"]

OUTPUT = Path(__file__).parent / "contract-reference.md"


def _of_adapters() -> Iterator[tuple[str, tuple[type[BaseModel], ...]]]:
    for adapter in hub_adapters():
        models = (adapter.listen_options, adapter.connect_options)
        yield f"Options of the adapter `{adapter.name}`", tuple(model for model in models if model is not None)


def _of_schemes() -> Iterator[tuple[str, tuple[type[BaseModel], ...]]]:
    for name in sorted(BUILT_IN):
        scheme = scheme_class(name, {})
        assert scheme is not None  # noqa: S101 - it is built in
        yield f"Options of the security scheme `{name}`", (scheme.options,)


_PARTS: tuple[tuple[str, tuple[type[BaseModel], ...]], ...] = (
    ("plugin.yaml", (Plugin, Interface)),
    ("profile.yaml", (Profile,)),
    ("hub.yaml", (HubConfig,)),
    *_of_adapters(),
    ("Options of the codec `csv`", (CsvFormat,)),
    ("Options of the codec `excel`", (ExcelFormat,)),
    ("Options of the codec `fixed`", (FixedFormat,)),
    ("Options of the codec `fhir`", (FhirFormat,)),
    ("Options of the codecs `xml`, `hl7v3` and `cda`", (XmlOptions,)),
    *_of_schemes(),
)
_DURATIONS = (("d", 86400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0))
_SIZES = (("GB", float(1 << 30)), ("MB", float(1 << 20)), ("KB", float(1 << 10)))
_HEAD = """# Contract reference

Made by `python docs/generate.py` from the models the hub checks files with; do not edit. Unknown keys are errors.

Durations are written `500ms`, `5s`, `30m`, `24h`, `90d`, or as a number of seconds; sizes `64KB`, `50MB`, `2GB`, or as a number of bytes.
"""


def reference() -> str:
    """The whole document."""
    lines = [_HEAD]
    seen: set[type[BaseModel]] = set()
    for title, models in _PARTS:
        lines.append(f"## {title}\n")
        waiting = list(models)
        while waiting:
            model = waiting.pop(0)
            if model in seen:
                continue
            seen.add(model)
            lines.append(_table(model))
            waiting += _models_in(model)
    return "\n".join(lines).rstrip() + "\n"


def _table(model: type[BaseModel]) -> str:
    lines = [f"### {model.__name__}\n"]
    if model.__doc__ and model.__doc__ is not BaseModel.__doc__:
        text = model.__doc__.strip().split("\n\n")[0].replace("``", "`")
        lines.append(" ".join(text.split()) + "\n")
    if not model.model_fields:
        return "\n".join([*lines, "It has no options.\n"])
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        cells = (f"`{field.alias or name}`", _unit(field) or _type(field.annotation), _default(field), _meaning(field))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _meaning(field: FieldInfo) -> str:
    limits = []
    for item in field.metadata:
        for sign, words in (
            ("ge", "at least"),
            ("gt", "more than"),
            ("le", "at most"),
            ("min_length", "length at least"),
        ):
            value = getattr(item, sign, None)
            if value is not None:
                limits.append(f"{words} {value}")
        if getattr(item, "pattern", None):
            limits.append(f"matches `{item.pattern}`")
    text = (field.description or "").replace("``", "`")
    return "; ".join(part for part in (text, ", ".join(limits)) if part)


def _unit(field: FieldInfo) -> str:
    """``duration`` or ``size``, which pydantic knows only as numbers with a converter in front."""
    converters = [getattr(part, "func", None) for part in _parts_of(field)]
    if parse_duration in converters:
        return "duration"
    return "size" if parse_size in converters else ""


def _parts_of(field: FieldInfo) -> list[Any]:
    inner = [part for choice in typing.get_args(field.annotation) for part in getattr(choice, "__metadata__", ())]
    return [*field.metadata, *inner]


def _with_unit(number: float, units: tuple[tuple[str, float], ...]) -> str:
    for unit, size in units:
        if number >= size and number % size == 0:
            return f"`{int(number // size)}{unit}`"
    return f"`{number:g}`"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default_factory() if field.default_factory is not None else field.default  # type: ignore[call-arg]
    if value is PydanticUndefined or value is None:
        return ""
    if isinstance(value, BaseModel):
        return "its defaults"
    if _unit(field):
        return _with_unit(value, _DURATIONS if _unit(field) == "duration" else _SIZES)
    if value == "" or hasattr(value, "get_secret_value"):
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "`[" + ", ".join(str(item) for item in value) + "]`"
    return f"`{value}`"


def _type(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(part) for part in arguments if part is not type(None))
    if origin is typing.Literal:
        return " ".join(f"`{value}`" if value != "" else "empty" for value in arguments)
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        inner = _type(arguments[1])
        return f"{_type(arguments[0])} → " + (f"({inner})" if " or " in inner or " → " in inner else inner)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    names = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "SecretStr": "secret"}
    name = getattr(annotation, "__name__", "any")
    return "any" if annotation is Any else names.get(name, name)


def _models_in(model: type[BaseModel]) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    waiting: list[Any] = [field.annotation for field in model.model_fields.values()]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, type) and issubclass(item, BaseModel):
            found.append(item)
        waiting += typing.get_args(item)
    return found


if __name__ == "__main__":
    OUTPUT.write_text(reference(), encoding="utf-8")
