"""A message made from the JSON schema of an interface: the least the schema asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from hub.api import Bound
from hub.mapping import Context
from hub.mapping.formats import kind_of_tree
from hub.validators.report import Severity

__all__ = ["made_up"]

_DEEPEST = 12
_FORMS = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T09:30:00+08:00",
    "time": "09:30:00",
    "email": "someone@example.org",
    "uri": "https://example.org/",
    "uuid": "6f0c2a5e-7d55-4b0e-9d6e-0a6f3a2b1c4d",
}


def made_up(bound: Bound, schemas: list[Path]) -> bytes | None:
    """None where there is no JSON schema, or what is made does not fit it (patterns, conditions)."""
    rule = bound.contract.validation
    if rule is None or kind_of_tree(bound.codec.name) != "json":
        return None
    for name in rule.schemas:
        file = next((folder / name for folder in schemas if (folder / name).is_file()), None)
        if file is None or file.suffix != ".json":
            continue
        schema = orjson.loads(file.read_bytes())
        tree = _value(schema, schema, 0)
        body = bound.codec.encode(tree, encoding=bound.contract.encoding)
        checks = bound.checks.fast if bound.checks is not None else ()
        found = [finding for one in checks for finding in one.check(body, tree, Context())]
        if not any(finding.severity is Severity.ERROR for finding in found):
            return body
    return None


def _value(schema: Any, root: Any, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return "x"
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        found: Any = root
        for part in reference[2:].split("/"):
            found = found.get(part, {}) if isinstance(found, dict) else {}
        return _value(found, root, depth + 1)
    for known in ("const", "default"):
        if known in schema:
            return schema[known]
    for choices in ("enum", "examples"):
        if schema.get(choices):
            return schema[choices][0]
    for options in ("oneOf", "anyOf"):
        if schema.get(options):
            return _value({**schema, options: None, **schema[options][0]}, root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    match kind:
        case "object":
            members = schema.get("properties", {})
            return {name: _value(members.get(name, {}), root, depth + 1) for name in schema.get("required", [])}
        case "array":
            return [_value(schema.get("items", {}), root, depth + 1) for _ in range(schema.get("minItems", 1))]
        case "integer" | "number":
            least = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
            return int(least) if kind == "integer" or float(least).is_integer() else least
        case "boolean":
            return True
        case "null":
            return None
    return _FORMS.get(schema.get("format", "")) or "1" * max(schema.get("minLength", 1), 1)
