"""JSON, forms and FHIR, tree to tree: the same members, other values."""

from __future__ import annotations

from typing import Any

from hub.privacy.model import Act, Policy, plain_key
from hub.privacy.treat import Treatment

__all__ = ["is_thing", "treat_json"]

_VALUES = frozenset(("value", "val", "fieldvalue", "content", "text", "paramvalue"))
_LABELS = ("name", "key", "field", "label", "code", "fieldName", "title", "paramName")
_THING_ENDS = ("organisation", "organization", "department", "hospital", "company", "location", "item", "drug")
_DEEPEST = 200


def treat_json(tree: Any, treatment: Treatment) -> Any:
    """A copy with every value treated by the names of the members it stands in."""
    return _tree(tree, treatment, "", "", 0, False)


def _tree(tree: Any, treatment: Treatment, key: str, within: str, depth: int, staff: bool) -> Any:
    if isinstance(tree, dict):
        if depth > _DEEPEST:
            return "***"
        return _object(tree, treatment, plain_key(key) if key else within, depth, staff)
    if isinstance(tree, list):
        if depth > _DEEPEST:
            return "***"
        return [_tree(one, treatment, key, within, depth + 1, staff) for one in tree]
    return _scalar(tree, treatment)


def _object(members: dict[str, Any], treatment: Treatment, within: str, depth: int, staff: bool) -> dict[str, Any]:
    policy = treatment.policy
    staff = staff or within in policy.staff
    out: dict[str, Any] = {}
    label = _labelled(members, treatment) if len(members) <= 12 else ""
    for key, value in members.items():
        if value is None or value == "" or isinstance(value, bool):
            out[key] = value
            continue
        kind = policy.pairs.get((within, key)) or policy.class_of_key(key)
        if kind in ("name", "staff_name") and plain_key(key) == "name" and is_thing(policy, within):
            kind = ""
        if kind == "name" and staff:
            kind = "staff_name"
        if not kind and label and plain_key(key) in _VALUES:
            kind = label
        if not kind:
            out[key] = _tree(value, treatment, key, within, depth + 1, staff)
        else:
            out[key] = _classed(value, treatment, kind, key, within, members, depth, staff)
    return out


def is_thing(policy: Policy, within: str) -> bool:
    """Whether what is in this member is an organisation or a thing, whose name is no person's."""
    return within in policy.things or within.endswith(_THING_ENDS)


def _labelled(members: dict[str, Any], treatment: Treatment) -> str:
    """The class that ``{"name": "身份证号", "value": …}`` gives its value."""
    for key in _LABELS:
        value = members.get(key)
        if isinstance(value, str) and len(value) <= 40:
            kind = treatment.policy.class_of_key(value)
            if kind and any(plain_key(k) in _VALUES for k in members):
                return kind
    return ""


def _classed(
    value: Any, treatment: Treatment, kind: str, key: str, within: str, members: dict[str, Any], depth: int, staff: bool
) -> Any:
    if isinstance(value, dict):
        # The class of a member does not make its parts nameless: {"name": {"text": …}} has its own rules, if any apply.
        if depth > _DEEPEST:
            return "***"
        found = _object(value, treatment, plain_key(key), depth + 1, staff or kind == "staff_name")
        if kind in ("name", "address", "phone", "note", "diagnosis", "health", "biometric", "birth_date"):
            return {k: _rest(one, value.get(k), treatment, kind, k, depth) for k, one in found.items()}
        return found
    if isinstance(value, list):
        return [_classed(one, treatment, kind, key, within, members, depth + 1, staff) for one in value]
    text = value if isinstance(value, str) else str(value)
    if kind == "identifier":
        types = tuple(str(members[k]) for k in ("kind", "system", "type") if isinstance(members.get(k), str))
        shown = treatment.number(text, types)
    elif kind == "contact":
        shown = treatment.value("email" if "@" in text else "phone", text)
    else:
        if kind == "id_number" and plain_key(key) in ("idno", "idnumber", "certno", "personid", "cardid"):
            kind = treatment.number_class(text, (), "id_number")
        shown = treatment.value(kind, text, {"family": "family", "given": "given"}.get(key, ""))
    return value if shown == text else shown


_OPEN_PARTS = frozenset(
    ("use", "kind", "system", "type", "period", "start", "end", "rank", "country", "province", "city", "county", "state", "postalcode", "divisioncode", "district",
     "table", "unit", "status", "mediatype", "contenttype", "number", "code")
)  # fmt: skip


def _rest(shown: Any, value: Any, treatment: Treatment, kind: str, key: str, depth: int) -> Any:
    """Texts in an object of a class that no rule of their own has treated."""
    plain = plain_key(key)
    if plain in _OPEN_PARTS and not (plain == "code" and kind in ("diagnosis", "health")):
        return shown
    if isinstance(value, str) and shown == value and value:
        return treatment.value(kind, value)
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and shown == value
        and kind in ("health", "diagnosis")
    ):
        return treatment.value(kind, str(value))
    if isinstance(value, list) and depth < _DEEPEST and isinstance(shown, list):
        return [_rest(s, v, treatment, kind, key, depth + 1) for s, v in zip(shown, value, strict=True)]
    if isinstance(value, dict) and depth < _DEEPEST and isinstance(shown, dict):
        return {k: _rest(s, value.get(k), treatment, kind, k, depth + 1) for k, s in shown.items()}
    return shown


def _scalar(value: Any, treatment: Treatment) -> Any:
    if isinstance(value, str):
        return treatment.other(value)
    if value is None or isinstance(value, bool):
        return value
    if treatment.view.others is not Act.CLEAR:
        return 0
    text = str(value)
    if len(text) < 11:
        return value
    shown = treatment.other(text)
    return value if shown == text else shown
