"""FHIR resources, tree to tree: names, addresses, contacts and identifiers by their type, the rest by resource and element."""

from __future__ import annotations

from typing import Any

from hub.privacy.model import Act
from hub.privacy.treat import Treatment

__all__ = ["treat_fhir"]

_DEEPEST = 200
_STAFF = frozenset(("Practitioner", "PractitionerRole", "CareTeam"))
_THINGS = frozenset(
    ("Organization", "Location", "Medication", "Device", "HealthcareService", "InsurancePlan", "Substance")
)
#: Kinds of references whose ``display`` is no person's name.
_NO_PERSON = (
    "Organization/", "Location/", "Medication/", "Device/", "HealthcareService/", "Encounter/", "Observation/", "Condition/",
    "ServiceRequest/", "Specimen/", "DiagnosticReport/", "Procedure/", "Coverage/", "Endpoint/", "Schedule/", "Slot/",
)  # fmt: skip
_NARRATIVE = '<div xmlns="http://www.w3.org/1999/xhtml">***</div>'
_HIDDEN_DATA = "Kioq"  # *** in base 64
_NAME_PARTS = {"family": "family", "given": "given", "text": ""}
_DATA = frozenset(("data", "photo"))


def treat_fhir(tree: Any, treatment: Treatment) -> Any:
    """A copy of a resource, a bundle, or a part of one."""
    return _Fhir(treatment).node(tree, "", "", 0)


class _Fhir:
    __slots__ = ("rules", "shaped", "treatment", "value")

    def __init__(self, treatment: Treatment) -> None:
        self.treatment = treatment
        self.rules = treatment.policy.fhir
        self.value = treatment.value
        self.shaped = treatment.view.others is not Act.CLEAR

    def node(self, tree: Any, resource: str, key: str, depth: int) -> Any:
        if isinstance(tree, str):
            return self.treatment.other(tree)
        if isinstance(tree, dict):
            return "***" if depth > _DEEPEST else self.members(tree, resource, depth)
        if isinstance(tree, list):
            return "***" if depth > _DEEPEST else [self.node(one, resource, key, depth + 1) for one in tree]
        if tree is None or isinstance(tree, bool):
            return tree
        return 0 if self.shaped else tree

    def members(self, tree: dict[str, Any], resource: str, depth: int) -> dict[str, Any]:
        kind = tree.get("resourceType")
        if isinstance(kind, str):
            resource = kind
        out: dict[str, Any] = {}
        for key, value in tree.items():
            if key == "resourceType" or value is None:
                out[key] = value
                continue
            plain = key.removeprefix("_")
            rule = self.rules.get(f"{resource}.{plain}") or self.rules.get(f"*.{plain}")
            if rule:
                out[key] = self.whole(value, rule, plain, depth)
            elif isinstance(value, dict | list):
                out[key] = self.typed(value, resource, plain, depth)
            elif key == "birthDate":
                out[key] = self.value("birth_date", str(value))
            elif key in _DATA and isinstance(value, str):
                out[key] = _HIDDEN_DATA
            elif key == "div":
                out[key] = self.narrative(value)
            elif key == "display" and isinstance(value, str):
                out[key] = self.display(tree, value)
            else:
                out[key] = self.node(value, resource, key, depth + 1)
        return out

    def typed(self, value: Any, resource: str, key: str, depth: int) -> Any:
        """An object, or a list of such, told by its name and what is in it."""
        if depth > _DEEPEST:
            return "***"
        if isinstance(value, list):
            return [
                self.typed(one, resource, key, depth + 1)
                if isinstance(one, dict | list)
                else self.one(one, resource, key)
                for one in value
            ]
        if (
            "family" in value
            or "given" in value
            or (key in ("name", "valueHumanName") and "text" in value and resource not in _THINGS)
        ):
            return self.name(value, resource, depth)
        if key == "telecom" or key == "valueContactPoint":
            return self.contact(value, resource, depth)
        if "line" in value or key in ("address", "valueAddress"):
            return self.address(value, resource, depth)
        if key in ("identifier", "valueIdentifier") or ("system" in value and "value" in value and "code" not in value):
            return self.identifier(value, resource, depth)
        return self.members(value, resource, depth + 1)

    def one(self, value: Any, resource: str, key: str) -> Any:
        return self.node(value, resource, key, 0)

    def name(self, value: dict[str, Any], resource: str, depth: int) -> dict[str, Any]:
        kind = "staff_name" if resource in _STAFF else "name"
        out: dict[str, Any] = {}
        for key, part in value.items():
            if key in _NAME_PARTS:
                how = _NAME_PARTS[key]
                out[key] = (
                    [self.value(kind, one, how) if isinstance(one, str) else one for one in part]
                    if isinstance(part, list)
                    else self.value(kind, part, how)
                    if isinstance(part, str)
                    else part
                )
            elif key in ("extension", "_family", "_given", "_text"):
                out[key] = self.node(part, resource, key, depth + 1)
            else:
                out[key] = part if not self.shaped else self.node(part, resource, key, depth + 1)
        return out

    def contact(self, value: dict[str, Any], resource: str, depth: int) -> dict[str, Any]:
        text = value.get("value")
        out = self.members({k: v for k, v in value.items() if k != "value"}, resource, depth + 1)
        if isinstance(text, str):
            shown = self.value("email" if "@" in text else "phone", text)
            return {k: shown if k == "value" else out[k] for k in value}
        return out | ({"value": "***"} if "value" in value else {})

    def address(self, value: dict[str, Any], resource: str, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, part in value.items():
            if key in ("text", "postalCode") and isinstance(part, str):
                out[key] = self.value("address", part)
            elif key == "line" and isinstance(part, list | str):
                lines = part if isinstance(part, list) else [part]
                shown = [self.value("address", one) if isinstance(one, str) else one for one in lines]
                out[key] = shown if isinstance(part, list) else shown[0]
            else:
                out[key] = self.node(part, resource, key, depth + 1)
        return out

    def identifier(self, value: dict[str, Any], resource: str, depth: int) -> dict[str, Any]:
        text = value.get("value")
        out = self.members({k: v for k, v in value.items() if k != "value"}, resource, depth + 1)
        if not isinstance(text, str):
            return out | ({"value": "***"} if "value" in value else {})
        system = value.get("system")
        types = [str(system).removeprefix("urn:oid:")] if system else []
        type_ = value.get("type")
        if isinstance(type_, dict):
            codings = type_.get("coding")
            types += [str(c.get("code")) for c in codings if isinstance(c, dict)] if isinstance(codings, list) else []
            types.append(str(type_.get("text")))
        shown = self.treatment.number(text, tuple(types))
        return {k: shown if k == "value" else out[k] for k in value}

    def display(self, tree: dict[str, Any], value: str) -> str:
        reference = tree.get("reference")
        if "code" in tree or not ("reference" in tree or "identifier" in tree or "type" in tree):
            return self.treatment.other(value)
        if isinstance(reference, str) and reference.lstrip("#").startswith(_NO_PERSON):
            return self.treatment.other(value)
        staff = isinstance(reference, str) and reference.startswith("Practitioner")
        return self.value("staff_name" if staff else "name", value)

    def narrative(self, value: Any) -> Any:
        act = self.treatment.value("note", "x")
        return value if act == "x" and not self.shaped else _NARRATIVE

    def whole(self, value: Any, kind: str, key: str, depth: int) -> Any:
        """Everything inside belongs to the class, but what says which code table a code is of."""
        if depth > _DEEPEST:
            return "***"
        if isinstance(value, list):
            return [self.whole(one, kind, key, depth + 1) for one in value]
        if isinstance(value, dict):
            out = {}
            for name, part in value.items():
                if (
                    name
                    in (
                        "system",
                        "unit",
                        "version",
                        "userSelected",
                        "reference",
                        "use",
                        "url",
                        "status",
                        "contentType",
                        "type",
                    )
                    and not self.shaped
                ):
                    out[name] = part if isinstance(part, str) else self.node(part, "", name, depth + 1)
                elif name in _DATA and isinstance(part, str):
                    out[name] = _HIDDEN_DATA
                else:
                    out[name] = self.whole(part, kind, name, depth + 1)
            return out
        if value is None:
            return None
        if isinstance(value, str):
            return self.value(kind, value)
        shown = self.value(kind, str(value))
        return value if shown == str(value) else shown
