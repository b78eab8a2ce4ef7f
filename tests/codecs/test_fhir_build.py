"""The table of FHIR's elements as it is made from definitions, and that the one shipped has the types messages are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hub.codecs import fhir_build
from hub.codecs.fhir_definitions import VERSIONS, definitions

URL = "http://hl7.org/fhir/StructureDefinition/"


def element(path: str, *types: str, base: str = "", top: str = "1", **more: Any) -> dict[str, Any]:
    return {
        "path": path,
        "max": top,
        "base": {"path": base or path},
        "type": [{"code": code} for code in types],
        **more,
    }


def structure(name: str, *elements: dict[str, Any], base: str = "DomainResource", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "StructureDefinition",
        "url": URL + name,
        "type": name,
        "kind": "resource",
        "baseDefinition": URL + base,
        "snapshot": {"element": [element(name), *elements]},
        **more,
    }


ID = {"code": "http://hl7.org/fhirpath/System.String"}
TYPED = {**ID, "extension": [{"url": URL + "structuredefinition-fhir-type", "valueUrl": "id"}]}
THING = structure(
    "Thing",
    element("Thing.id", "id", base="Resource.id"),
    element("Thing.key") | {"type": [TYPED]},
    element("Thing.plain") | {"type": [ID]},
    element("Thing.name", "HumanName", top="*"),
    element("Thing.value[x]", "string", "Quantity"),
    element("Thing.gone", "string", top="0"),
    element("Thing.part", "BackboneElement", top="*"),
    element("Thing.part.id", "string", base="Element.id"),
    element("Thing.part.code", "CodeableConcept"),
    element("Thing.part.part", top="*", contentReference="#Thing.part"),
)
LINES = (
    "Thing DomainResource key:id plain:string name*HumanName value[x]:string,Quantity part*Thing.part",
    "Thing.part BackboneElement code:CodeableConcept part*Thing.part",
)


def test_a_table(tmp_path: Path) -> None:
    profile = structure("Thing", element("Thing.id", "id"), url="http://example.org/profile")
    for version, found in (("A", [THING, profile]), ("B", [THING]), ("C", [structure("Other", kind="logical")])):
        for number, one in enumerate(found):
            path = tmp_path / version / "package" / f"StructureDefinition-{number}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(one), encoding="utf-8")
    built = fhir_build.build({version: tmp_path / version for version in "ABC"})
    assert built == "".join(f"A,B {line}\n" for line in LINES)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_table_that_is_shipped(version: str) -> None:
    known = definitions(version)
    patient = known.resource("Patient")
    assert patient is not None
    assert list(patient.elements)[:6] == ["id", "meta", "implicitRules", "language", "text", "contained"]
    assert patient.elements["deceasedBoolean"].kind == "boolean"
    assert patient.elements["deceasedDateTime"].type == "dateTime"
    assert patient.elements["contact"].type == "Patient.contact"
    extension = known.get("Extension")
    assert extension is not None
    assert (extension.elements["url"].kind, extension.elements["id"].kind) == ("attribute", "attribute")
    entry = known.get("Bundle.entry")
    assert entry is not None
    assert entry.elements["resource"].kind == "resource"
    assert entry.elements["link"].type == "Bundle.link"
    narrative = known.get("Narrative")
    assert narrative is not None
    assert narrative.elements["div"].kind == "xhtml"
