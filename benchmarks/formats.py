"""What reading and mapping costs by format, each beside the obvious other way of doing the same in the same run.

Run with ``python -m benchmarks.formats``. Processor time, the best of several rounds.
"""

from __future__ import annotations

import csv
import io
import tempfile
import time
from collections.abc import Callable
from typing import Any

import hl7
import orjson
from fhir.resources.R4B.patient import Patient
from hl7apy.parser import parse_message
from lxml import etree

from benchmarks.mapping import MAPPING, MESSAGE, best, library_of
from hub.codecs.csv_codec import CsvCodec
from hub.codecs.fhir import FhirCodec
from hub.codecs.hl7v2 import Hl7Codec
from hub.codecs.hl7v3 import CdaCodec
from hub.mapping import Context

__all__ = ["main"]

Row = tuple[str, float, str]

_RESULTS = 30
_OBSERVATION = """
<entry><observation classCode="OBS" moodCode="EVN"><code code="T{n:03d}" codeSystem="1.2.156.112604.1.4" displayName="item {n}"/>
<statusCode code="completed"/><effectiveTime value="202601150{d}3000"/><value xsi:type="PQ" value="{n}.5" unit="mmol/L"/>
<referenceRange><observationRange><value xsi:type="IVL_PQ"><low value="1.0"/><high value="9.0"/></value></observationRange></referenceRange>
</observation></entry>"""
#: About 10 KB.
DOCUMENT = (
    """<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<templateId root="2.16.156.10011.2.1.1.26"/><id root="2.16.156.10011.1.1" extension="D0001"/><code code="C0006"/><title>report</title>
<effectiveTime value="20260115093000"/><recordTarget><patientRole><id root="2.16.156.10011.1.3" extension="359999198305021234"/>
<patient><name>Sample Alex</name><administrativeGenderCode code="1"/><birthTime value="19830502"/></patient></patientRole></recordTarget>
<author><time value="20260115"/><assignedAuthor><id root="2.16.156.10011.1.7" extension="D7"/></assignedAuthor></author>
<component><structuredBody><component><section><code code="30954-2"/>"""
    + "".join(_OBSERVATION.format(n=n, d=n % 9) for n in range(_RESULTS))
    + "</section></component></structuredBody></component></ClinicalDocument>"
).encode()
_ENTRY = "ClinicalDocument/component/structuredBody/component/section/entry/observation"
_CDA_FIELDS = {
    "id": "ClinicalDocument/id/@extension",
    "kind": "ClinicalDocument/code/@code",
    "title": "ClinicalDocument/title",
    "at": "ClinicalDocument/effectiveTime/@value",
    "card": "ClinicalDocument/recordTarget/patientRole/id[@root='2.16.156.10011.1.3']/@extension",
    "name": "ClinicalDocument/recordTarget/patientRole/patient/name",
    "sex": "ClinicalDocument/recordTarget/patientRole/patient/administrativeGenderCode/@code",
    "born": "ClinicalDocument/recordTarget/patientRole/patient/birthTime/@value",
    "author": "ClinicalDocument/author/assignedAuthor/id/@extension",
    **{f"r{n}": f"{_ENTRY}[code/@code='T{n:03d}']/value/@value" for n in range(21)},
}
CDA_MAPPING = "from: {codec: cda}\nto: {codec: json}\nfields:\n" + "".join(
    f'  {name}: "{path}"\n' for name, path in _CDA_FIELDS.items()
)
PATIENT = orjson.dumps(
    {
        "resourceType": "Patient",
        "id": "p1",
        "identifier": [{"system": f"urn:oid:1.2.{n}", "value": f"80001234{n}"} for n in range(4)],
        "name": [{"family": "Example", "given": ["Alexandra", "Quinn"]}, {"family": "Sample"}],
        "telecom": [{"system": "phone", "value": f"1380000000{n}"} for n in range(3)],
        "gender": "female",
        "birthDate": "1971-04-12",
        "address": [{"line": ["12 Test Street", "Flat 3"], "city": "Sampletown", "postalCode": "AB12 3CD"}],
    }
)
_COLUMNS, _ROWS = 15, 100_000


def _v3(path: str) -> etree.XPath:
    """The same path for lxml, with the prefix XPath demands."""
    steps = "/".join(step if step.startswith("@") else f"v:{step}" for step in path.split("/"))
    return etree.XPath(
        "/" + steps.replace("[code/", "[v:code/").replace("v:@", "@"), namespaces={"v": "urn:hl7-org:v3"}
    )


def _by_xpath(paths: dict[str, etree.XPath]) -> bytes:
    root = etree.fromstring(DOCUMENT)
    made: dict[str, Any] = {}
    for name, path in paths.items():
        found: Any = path(root)
        if found:
            first = found[0]
            made[name] = first if isinstance(first, str) else "".join(first.itertext()).strip()
    return orjson.dumps(made)


def _once(call: Callable[[], object], rounds: int = 3) -> float:
    """Seconds of processor time, the best of a few rounds."""
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return min(times)


def main() -> list[Row]:
    """(name, value, unit) of each figure."""
    context = Context(now_us=1_768_440_615_000_000)
    with tempfile.TemporaryDirectory() as folder:
        library = library_of(folder, adt=MAPPING, cda=CDA_MAPPING)
        adt, cda = library.get("adt"), library.get("cda")
    codec, documents, resources, tables = Hl7Codec(), CdaCodec(), FhirCodec(), CsvCodec()
    text = MESSAGE.decode()
    paths = {name: _v3(path) for name, path in _CDA_FIELDS.items()}
    ours = orjson.dumps(cda.run(documents.decode(DOCUMENT), context)[0])
    if orjson.loads(ours) != orjson.loads(_by_xpath(paths)):
        raise AssertionError("the two ways of reading the document differ")
    header = ",".join(f"c{n}" for n in range(_COLUMNS))
    rows = "\r\n".join(",".join(f"{row}{n}" for n in range(_COLUMNS)) for row in range(_ROWS))
    table = f"{header}\r\n{rows}\r\n".encode()
    size = len(DOCUMENT)
    return [
        (
            "ADT: decode, 40 fields to JSON bytes",
            best(lambda: orjson.dumps(adt.run(codec.decode(MESSAGE), context)[0])),
            "us",
        ),
        ("  the package hl7: parse only", best(lambda: hl7.parse(text), 100), "us"),
        ("  the package hl7apy: parse only", best(lambda: parse_message(text, find_groups=False), 3, 3), "us"),
        (
            f"CDA of {size} bytes: decode, 30 fields to JSON bytes",
            best(lambda: orjson.dumps(cda.run(documents.decode(DOCUMENT), context)[0]), 300),
            "us",
        ),
        ("  lxml with 30 compiled XPaths", best(lambda: _by_xpath(paths), 300), "us"),
        ("FHIR Patient: decode and encode", best(lambda: resources.encode(resources.decode(PATIENT))), "us"),
        (
            "  fhir.resources: validate and dump",
            best(lambda: Patient.model_validate_json(PATIENT).model_dump_json(), 200),
            "us",
        ),
        (f"CSV of {_ROWS:,} rows, {_COLUMNS} columns: decode", _once(lambda: tables.decode(table)), "s"),
        ("  csv.DictReader", _once(lambda: list(csv.DictReader(io.StringIO(table.decode())))), "s"),
    ]


if __name__ == "__main__":
    for label, value, unit in main():
        print(f"{label:60} {value:10.2f} {unit}")
