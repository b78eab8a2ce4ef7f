"""JSON Schema (draft 2020-12) of rule files and their tests, for completion, hover and checks in editors.

It describes the shape of a file; what only the compiler knows is told by ``hub quality check``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from hub.mapping.functions.base import Function
from hub.quality.cases import RuleCase
from hub.quality.checks import CHECKS
from hub.quality.model import VALUE_TESTS, Override, RuleModel, RuleSetModel
from hub.quality.quantities import QUANTITIES

__all__ = ["rules_schema", "rules_tests_schema"]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
#: Paths that begin with a dot look like numbers to YAML: ``.5``.
_PATHS = ("each", "path", "at", "required", "forbidden", "any_of", "together", "unique")


def _loose(schema: Any) -> Any:
    """Short forms the models take: one text for a list, a text for both languages, ``.5`` as a number."""
    text = {"type": ["string", "number"]}
    properties = schema["properties"]
    for name in _PATHS:
        if name in properties:
            about = properties[name].get("description", "")
            properties[name] = {"anyOf": [text, {"type": "array", "items": text, "minItems": 1}], "description": about}
    for name in ("text", "advice"):
        properties[name] = {
            "anyOf": [{"type": "string"}, {"$ref": "#/$defs/Words"}],
            "description": properties[name].get("description", ""),
        }
    for name in ("table", "quantity", "continuous"):
        properties[name] = {"anyOf": [text, properties[name]["anyOf"][0]]}
    properties["order"] = {"anyOf": [{"type": "array", "items": text, "minItems": 2}, properties["order"]["anyOf"][0]]}
    properties["length"] = {"anyOf": [{"type": "integer", "minimum": 0}, properties["length"]["anyOf"][0]]}
    properties["when"] = {"type": ["string", "number", "boolean"], "description": properties["when"]["description"]}
    return schema


def rules_schema(functions: Mapping[str, Function]) -> dict[str, Any]:
    """The schema of a file of rules; checks and quantities are offered, functions listed in the hover of ``assert``."""
    rule = RuleModel.model_json_schema(ref_template="#/$defs/{model}")
    whole = RuleSetModel.model_json_schema(ref_template="#/$defs/{model}")
    definitions = {**whole.pop("$defs", {}), **rule.pop("$defs", {})}
    rule = _loose(rule)
    checks = "\n".join(f"{f.usage}: {f.summary}" for f in CHECKS.functions.values())
    rule["properties"]["check"] = {
        "description": f"a check of the library\n\n{checks}",
        "anyOf": [{"enum": sorted(CHECKS.functions)}, {"type": "string"}],
    }
    listed = "\n".join(f"{f.usage}: {f.summary}" for f in functions.values())
    rule["properties"]["assert"] = {"type": "string", "description": f"an expression that must hold\n\n{listed}"}
    rule["dependentRequired"] = {name: ["path"] for name in VALUE_TESTS}
    if "Quantity" in definitions:
        definitions["Quantity"]["properties"]["name"]["enum"] = sorted(QUANTITIES)
        definitions["Quantity"]["properties"]["unit"] = {"type": ["string", "number"]}
    for name, text_keys in (("Continuous", ("path",)), ("OrderTest", ())):
        for key in text_keys:
            definitions[name]["properties"][key] = {"type": ["string", "number"]}
    if "OrderTest" in definitions:
        definitions["OrderTest"]["properties"]["paths"]["items"] = {"type": ["string", "number"]}
    changes = {
        name: rule["properties"].get(name, {})
        for name in (field.alias or key for key, field in Override.model_fields.items())
    }
    one = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    definitions["For"]["properties"]["types"] = one
    return {
        **whole,
        "$schema": _DRAFT,
        "$defs": definitions,
        "properties": {
            **whole["properties"],
            "include": one,
            "rules": {"type": "object", "additionalProperties": rule},
            "overrides": {
                "type": "object",
                "additionalProperties": {"type": "object", "additionalProperties": False, "properties": changes},
            },
        },
    }


def rules_tests_schema() -> dict[str, Any]:
    """The schema of the tests beside a file of rules."""
    case = TypeAdapter(RuleCase).json_schema(ref_template="#/$defs/{model}")
    definitions = case.pop("$defs", {})
    finding = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/ExpectedFinding"}]}
    case["properties"]["findings"] = {"type": "array", "items": finding}
    given = {
        key: value
        for key, value in case["properties"].items()
        if key not in ("name", "input", "input_file", "findings", "score", "levels", "asked")
    }
    return {
        "$schema": _DRAFT,
        "$defs": definitions,
        "type": "object",
        "additionalProperties": False,
        "required": ["cases"],
        "properties": {
            "description": {"type": "string"},
            "defaults": {"type": "object", "additionalProperties": False, "properties": given},
            "cases": {"type": "array", "minItems": 1, "items": case},
        },
    }
