"""A FHIR server on fhirstarter, run as a program: patients in a file, so that they outlive it. ``python fhir_server.py PORT FOLDER``"""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

os.environ["FHIR_SEQUENCE"] = "R4B"

import uvicorn
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.patient import Patient
from fhirstarter import FHIRProvider, FHIRStarter, InteractionContext, JSONPatch, convert_json_patch
from fhirstarter.exceptions import FHIRResourceNotFoundError

_FILE = Path(sys.argv[2]) / "patients.jsonl"
_PATIENTS: dict[str, dict[str, Any]] = {}
provider = FHIRProvider()


def load() -> None:
    for line in _FILE.read_text(encoding="utf-8").splitlines() if _FILE.exists() else []:
        tree = json.loads(line)
        _PATIENTS[tree["id"]] = tree


def keep(number: str, tree: dict[str, Any]) -> str:
    version = int(_PATIENTS.get(number, {}).get("meta", {}).get("versionId", "0")) + 1
    tree["id"] = number
    tree["meta"] = {"versionId": str(version), "lastUpdated": datetime.now(UTC).isoformat(timespec="milliseconds")}
    _PATIENTS[number] = tree
    with _FILE.open("a", encoding="utf-8") as file:
        file.write(json.dumps(tree) + "\n")
    return number


def known(number: str) -> dict[str, Any]:
    if number not in _PATIENTS:
        raise FHIRResourceNotFoundError
    return _PATIENTS[number]


@provider.read(Patient)
async def read(context: InteractionContext, id_: str) -> Patient:
    return Patient.model_validate(known(id_))


@provider.create(Patient)
async def create(context: InteractionContext, resource: Patient) -> str:
    return keep(str(uuid4()), json.loads(resource.model_dump_json()))


@provider.update(Patient)
async def update(context: InteractionContext, id_: str, resource: Patient) -> str:
    return keep(id_, json.loads(resource.model_dump_json()))


@provider.patch(Patient)
async def patch(context: InteractionContext, id_: str, json_patch: JSONPatch) -> str:
    tree = dict(known(id_))
    for one in convert_json_patch(json_patch):
        assert one["op"] == "replace"
        tree[one["path"][1:]] = one["value"]
    return keep(id_, tree)


@provider.delete(Patient)
async def delete(context: InteractionContext, id_: str) -> None:
    _PATIENTS.pop(id_, None)


@provider.search_type(Patient)
async def search(
    context: InteractionContext, _id: list[str] | None, _last_updated: list[str] | None, active: str | None
) -> Bundle:
    since = _last_updated[0].removeprefix("ge") if _last_updated else ""
    found = [one for one in _PATIENTS.values() if not since or _instant(one["meta"]["lastUpdated"]) >= _instant(since)]
    if _id:
        found = [one for one in found if one["id"] in _id]
    found.sort(key=lambda one: _instant(one["meta"]["lastUpdated"]))
    entries = [{"resource": one, "search": {"mode": "match"}} for one in found]
    return Bundle.model_validate({"type": "searchset", "total": len(found), "entry": entries})


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


if __name__ == "__main__":
    load()
    app = FHIRStarter(title="peer")
    app.add_providers(provider)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
