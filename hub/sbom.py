"""The software bill of materials: what is installed and the hub depends on, as CycloneDX 1.5 JSON; from the installed metadata alone."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable
from importlib import metadata
from typing import Any

import orjson
from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement

__all__ = ["bill_of_materials", "written"]

ROOT = "tongqu"
_NAMESPACE = uuid.UUID("8f3c2a52-6a56-5d0e-9f0e-0c5f3b6f6a10")


def bill_of_materials(root: str = ROOT) -> dict[str, Any]:
    """Everything that ``root`` depends on here, extras that are installed included. The same packages give the same document."""
    found = _reachable(root)
    own = found.pop(_canonical(root), None)
    components = [_component(distribution) for _, distribution in sorted(found.items())]
    version = own.version if own is not None else "0"
    subject = {
        "type": "application",
        "bom-ref": f"pkg:pypi/{root}@{version}",
        "name": root,
        "version": version,
        "purl": f"pkg:pypi/{root}@{version}",
    }
    refs = {_canonical(name): _ref(found[name]) for name in found}
    links = [{"ref": subject["bom-ref"], "dependsOn": _links(own, refs) if own is not None else []}]
    links += [{"ref": refs[name], "dependsOn": _links(found[name], refs)} for name in sorted(found)]
    digest = hashlib.sha256(orjson.dumps([component["purl"] for component in components])).hexdigest()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'{root}@{version} {digest}')}",
        "version": 1,
        "metadata": {"component": subject},
        "components": components,
        "dependencies": links,
    }


def written(bill: dict[str, Any]) -> bytes:
    return orjson.dumps(bill, option=orjson.OPT_INDENT_2) + b"\n"


def _reachable(root: str) -> dict[str, metadata.Distribution]:
    found: dict[str, metadata.Distribution] = {}
    waiting = [(root, True)]
    while waiting:
        name, with_extras = waiting.pop()
        name = _canonical(name)
        if name in found:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # of another platform, or of an extra that is not installed
        found[name] = distribution
        waiting.extend((needed, False) for needed in _needs(distribution, extras=with_extras))
    return found


def _needs(distribution: metadata.Distribution, *, extras: bool) -> Iterable[str]:
    names = distribution.metadata.get_all("Provides-Extra") or [] if extras else []
    for text in distribution.requires or ():
        try:
            requirement = Requirement(text)
            wanted = requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in ("", *names)
            )
        except (InvalidRequirement, UndefinedEnvironmentName):
            continue
        if wanted:
            yield requirement.name


def _links(distribution: metadata.Distribution, refs: dict[str, str]) -> list[str]:
    wanted = {_canonical(name) for name in _needs(distribution, extras=False)}
    return sorted(refs[name] for name in wanted if name in refs)


def _component(distribution: metadata.Distribution) -> dict[str, Any]:
    ref = _ref(distribution)
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": ref,
        "name": distribution.metadata["Name"],
        "version": distribution.version,
        "purl": ref,
        "scope": "required",
    }
    license_ = _license(distribution)
    if license_:
        component["licenses"] = [license_]
    return component


def _license(distribution: metadata.Distribution) -> dict[str, Any] | None:
    given = distribution.metadata
    expression = _first(distribution, "License-Expression")
    if expression:
        return {"expression": expression}
    named = [
        row.rpartition("::")[2].strip() for row in given.get_all("Classifier") or [] if row.startswith("License ::")
    ]
    text = ", ".join(named) or _first(distribution, "License").partition("\n")[0][:100]
    return {"license": {"name": text}} if text else None


def _first(distribution: metadata.Distribution, name: str) -> str:
    return str((distribution.metadata.get_all(name) or [""])[0]).strip()


def _ref(distribution: metadata.Distribution) -> str:
    return f"pkg:pypi/{_canonical(distribution.metadata['Name'])}@{distribution.version}"


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
