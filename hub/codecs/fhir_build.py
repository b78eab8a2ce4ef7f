"""Makes ``fhir_definitions.txt`` from the StructureDefinitions that HL7 publishes (CC0).

``python -m hub.codecs.fhir_build R4=<folder> R4B=<folder> R5=<folder>`` with folders that hold ``StructureDefinition-*.json``: the unpacked
packages hl7.fhir.r4.examples 4.0.1 (it has the definitions, too), hl7.fhir.r4b.core 4.3.0 and hl7.fhir.r5.core 5.0.0.

A line is ``versions type base element…``; an element is its name, ``*`` if it repeats or ``:``, and its types with commas between:

    R4,R4B Patient.contact BackboneElement relationship*CodeableConcept name:HumanName …

Elements stand in the order of the specification, those of the base come before them. Parts of a type have the path as their name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

__all__ = ["build", "main"]

_URL = "http://hl7.org/fhir/StructureDefinition/"
_FHIR_TYPE = f"{_URL}structuredefinition-fhir-type"
_PARTS = ("BackboneElement", "Element")
_TARGET = Path(__file__).with_name("fhir_definitions.txt")


def _structures(folder: Path) -> Iterator[dict[str, Any]]:
    """The resources and data types among the definitions, profiles and extensions left out."""
    for path in sorted(folder.rglob("StructureDefinition-*.json")):
        found = orjson.loads(path.read_bytes())
        if found["kind"] in ("resource", "complex-type") and found["url"] == _URL + found["type"]:
            yield found


def _type(stated: dict[str, Any]) -> str:
    """The name of a type; ids and the like are stated in the words of FHIRPath, with the FHIR type beside."""
    code: str = stated["code"]
    if "/" not in code:
        return code
    said = [item.get("valueUrl", "") for item in stated.get("extension", ()) if item["url"] == _FHIR_TYPE]
    return said[0] if said else "string"


def _lines(structure: dict[str, Any]) -> Iterator[str]:
    name = structure["type"]
    elements = structure["snapshot"]["element"][1:]
    parents = {element["path"].rpartition(".")[0] for element in elements}
    bases = {name: structure.get("baseDefinition", "").rpartition("/")[2] or "-"}
    own: dict[str, list[str]] = {name: []}
    for element in elements:
        path: str = element["path"]
        parent, _, last = path.rpartition(".")
        if element["base"]["path"].rpartition(".")[0] != parent or element["max"] == "0":
            continue  # the base has it
        types = [_type(stated) for stated in element.get("type", ())]
        if "contentReference" in element:
            types = [element["contentReference"].rpartition("#")[2]]
        elif path in parents and len(types) == 1 and types[0] in _PARTS:
            bases[path], own[path], types = types[0], [], [path]
        own[parent].append(f"{last}{':' if element['max'] == '1' else '*'}{','.join(types)}")
    for part, base in bases.items():
        yield " ".join([part, base, *own[part]])


def build(folders: dict[str, Path]) -> str:
    """The text of the table for the versions given with their folders."""
    versions: dict[str, list[str]] = {}
    for version, folder in folders.items():
        for structure in _structures(folder):
            for line in _lines(structure):
                versions.setdefault(line, []).append(version)
    return "".join(f"{','.join(stated)} {line}\n" for line, stated in versions.items())


def main() -> None:
    """See the module."""
    folders = {version: Path(folder) for version, _, folder in (argument.partition("=") for argument in sys.argv[1:])}
    _TARGET.write_text(build(folders), encoding="utf-8")


if __name__ == "__main__":
    main()
