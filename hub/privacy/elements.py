"""XML: CDA and HL7 v3 by elements and the ones they stand in, other documents by the names of elements and attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.privacy.detect import value_class
from hub.privacy.members import is_thing
from hub.privacy.model import Act, plain_key
from hub.privacy.treat import Treatment

if TYPE_CHECKING:
    from lxml import etree

__all__ = ["treat_xml"]

_V3 = ("urn:hl7-org:v3",)
_NAME_PARTS = frozenset(("family", "given"))
_REGION_PARTS = frozenset(("state", "city", "county", "country", "postalCode"))
_OPEN_ATTRIBUTES = frozenset(
    (
        "codeSystem",
        "codeSystemName",
        "root",
        "assigningAuthorityName",
        "use",
        "classCode",
        "moodCode",
        "typeCode",
        "typeId",
        "type",
        "unit",
        "schemaLocation",
        "nullFlavor",
    )
)


def treat_xml(root: etree._Element, treatment: Treatment) -> None:
    """Change a document in place; comments and processing instructions are treated as free text."""
    stack: list[tuple[etree._Element, tuple[str, ...], str, bool]] = [(root, (), "", False)]
    while stack:  # no recursion: depth is the sender's choice
        element, above, inherited, v3 = stack.pop()
        if not isinstance(element.tag, str):
            element.text = treatment.other(element.text or "")
            _tail(element, inherited, treatment)
            continue
        namespace, _, name = element.tag.rpartition("}")
        v3 = namespace.lstrip("{") in _V3 if namespace else v3
        if v3:
            kind = _v3_element(element, name, above, inherited, treatment)
        else:
            kind = _plain_element(element, name, above, inherited, treatment)
        path = (*above[-5:], name)
        if len(element):
            stack.extend((child, path, kind, v3) for child in element)
        if above:
            _tail(element, inherited, treatment)


def _tail(element: etree._Element, inherited: str, treatment: Treatment) -> None:
    text = element.tail
    if text and not text.isspace():
        element.tail = _text(inherited, text, "", treatment)


def _text(kind: str, text: str, part: str, treatment: Treatment) -> str:
    if kind == "organisation" or not kind:
        return treatment.other(text)
    if kind in ("identifier", "staff_number"):
        return treatment.number(text, ()) if kind == "identifier" else treatment.other(text)
    if kind == "phone" and "@" in text:
        kind = "email"
    stripped = text.strip()
    shown = treatment.value({"person": "name", "staff": "staff_name"}.get(kind, kind), stripped, part)
    return text.replace(stripped, shown, 1) if stripped else text


# -- CDA and HL7 v3 ------------------------------------------------------------------------------------------------------


def _match(rules: tuple[tuple[tuple[str, ...], str], ...], path: tuple[str, ...]) -> str:
    """Rules are ordered by length: the first whose ancestors all stand above, in this order, is the closest."""
    best, where = "", -1
    for needed, kind in rules:
        at = len(path)
        for step in reversed(needed):
            at = next((i for i in range(at - 1, -1, -1) if path[i] == step), -1)
            if at < 0:
                break
        if at >= 0 and at > where:
            best, where = kind, at if needed else -1
    return best


def _v3_element(
    element: etree._Element, name: str, above: tuple[str, ...], inherited: str, treatment: Treatment
) -> str:
    rules = treatment.policy.hl7v3
    kind = inherited
    if not kind and f"{name}*" in rules:
        kind = _match(rules[f"{name}*"], above)
    path = (*above, name)
    for attribute, value in element.attrib.items():
        local = str(attribute).rpartition("}")[2]
        text = str(value)
        found = _match(rules[f"@{local}"], path) if f"@{local}" in rules else ""
        if (
            not found
            and kind in ("diagnosis", "health", "note")
            and local not in _OPEN_ATTRIBUTES
            and "}" not in str(attribute)
        ):
            found = kind
        if not found and local == "extension" and value_class(text):
            found = "identifier"
        if not found:
            if local not in _OPEN_ATTRIBUTES and "}" not in str(attribute):
                element.set(attribute, treatment.other(text))
        elif found == "identifier":
            element.set(attribute, treatment.number(text, (element.get("root", ""),)))
        elif found == "phone":
            scheme, colon, number = (
                text.rpartition(":") if text[:5].lower().startswith(("tel", "mailt", "fax", "sms")) else ("", "", text)
            )
            element.set(attribute, scheme + colon + treatment.value("email" if "@" in number else "phone", number))
        elif found != "staff_number":
            element.set(attribute, treatment.value(found, text))
    text = element.text or ""
    if text and not text.isspace():
        if kind == "address" and name in _REGION_PARTS:
            element.text = treatment.other(text)
        else:
            element.text = _text(kind, text, name if name in _NAME_PARTS else "", treatment)
    return kind


# -- other XML -----------------------------------------------------------------------------------------------------------


def _class(name: str, above: tuple[str, ...], treatment: Treatment) -> str:
    policy = treatment.policy
    within = plain_key(above[-1]) if above else ""
    kind = policy.pairs.get((within, name)) or policy.class_of_key(name)
    if kind in ("name", "staff_name") and plain_key(name) == "name" and is_thing(policy, within):
        return ""
    if kind == "name" and any(plain_key(one) in policy.staff for one in above):
        return "staff_name"
    return "phone" if kind == "contact" else kind


def _plain_element(
    element: etree._Element, name: str, above: tuple[str, ...], inherited: str, treatment: Treatment
) -> str:
    own = _class(name, above, treatment)
    kind = own or inherited
    path = (*above, name)
    labelled = ""
    for attribute, value in element.attrib.items():
        local = str(attribute).rpartition("}")[2]
        text = str(value)
        found = _class(local, path, treatment) if local not in ("name", "id", "value", "type", "code", "key") else ""
        if local in ("name", "key", "id", "code", "title", "field") and len(text) <= 40:
            labelled = labelled or treatment.policy.class_of_key(text)
        if local == "value" and (labelled or kind):
            found = labelled or kind
        if local == "name" and kind and not labelled and plain_key(name) not in treatment.policy.things:
            found = "name" if kind in ("name", "staff_name") else ""
        if "}" not in str(attribute) and local not in _OPEN_ATTRIBUTES:
            element.set(attribute, _text(found, text, "", treatment))
    text = element.text or ""
    if text and not text.isspace():
        element.text = _text(labelled or kind, text, "", treatment)
    keep = (
        kind
        if kind
        in (
            "name",
            "staff_name",
            "address",
            "note",
            "diagnosis",
            "health",
            "phone",
            "biometric",
            "birth_date",
            "id_number",
        )
        else ""
    )
    return "" if treatment.view.others is not Act.CLEAR and not keep else keep
