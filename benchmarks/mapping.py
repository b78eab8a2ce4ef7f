"""What mapping costs: one ADT^A01 (1.6 KB) decoded and mapped to a JSON tree of 40 fields, and its parts.

Run with ``python -m benchmarks.mapping``. Each figure is processor time, the best of several rounds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hub.codecs.hl7v2 import Hl7Codec
from hub.codecs.json_codec import JsonCodec
from hub.mapping import Context, MappingLibrary, compile_expression, compile_extract

MESSAGE = "\r".join(
    [
        r"MSH|^~\&|ADTSYS|NORTH^1.2.3.4.5^ISO|HUB|CENTRAL|20260115093015.123+0000||ADT^A01^ADT_A01|CTRL0001|P|2.5.1|||AL|NE|GBR|UNICODE UTF-8",
        "EVN|A01|20260115093012|||9001^Clerk^Casey^^^^^^NORTH|20260115093000",
        "PID|1||800012345^^^NORTH^MR~9990001234^^^NATL^NH||Example^Alexandra^Quinn^^Ms^^L~Sample^Alexandra^^^^^M||19710412|F||"
        "2106-3^White^HL70005|12 Test Street^Flat 3^Sampletown^North County^AB12 3CD^GBR^H~PO Box 77^^Sampletown^North County"
        "^AB12 9ZZ^GBR^M||+44 1632 960001^PRN^PH^^44^1632^960001~^NET^Internet^alex.example@example.org|+44 1632 960002^WPN^PH|"
        "en^English^ISO639|M^Married^HL70002|CHR|ACC778899^^^NORTH^AN|||||Sampletown|N|1|GBR",
        "PD1|||NORTH PRACTICE^^10001|5551234^Doctor^Dana^^^Dr^^^NATL",
        "NK1|1|Example^Jordan^^^Mr|SPO^Spouse^HL70063|12 Test Street^Flat 3^Sampletown^North County^AB12 3CD^GBR|+44 1632 960003^PRN^PH",
        "NK1|2|Sample^Robin^^^Mrs|MTH^Mother^HL70063|4 Other Road^^Sampletown^North County^AB12 4EF^GBR|+44 1632 960005^PRN^PH",
        "PV1|1|I|WARD7^BAY2^BED4^NORTH^^^^^Ward 7|E|||7001^Surgeon^Sam^^^Mr^^^NORTH|7002^Referrer^Rae^^^Dr^^^NORTH|"
        "7003^Consult^Kim^^^Dr^^^NORTH|SUR||||7|||7001^Surgeon^Sam^^^Mr^^^NORTH|INP|VIS445566^^^NORTH^VN|SELF|||||||||||||||||||NORTH"
        "||ADM|||20260115092500",
        "PV2||GEN^General^L|ABD^Abdominal pain, acute^L|||||20260115|20260119|4|||||||||||||N",
        "OBX|1|NM|8302-2^Body height^LN||168|cm^centimetre^UCUM|||||F|||20260115092700",
        "OBX|2|NM|29463-7^Body weight^LN||71.5|kg^kilogram^UCUM|||||F|||20260115092700",
        "AL1|1|DA^Drug allergy^HL70127|PEN^Penicillin^L|MO^Moderate^HL70128|Rash~Urticaria|20140203",
        "DG1|1||R10.0^Acute abdomen^I10||20260115092600|A",
        "",
    ]
).encode()

MAPPING = """
from: {codec: hl7v2, types: ["ADT^A01"]}
to: {codec: json}
fields:
  source: MSH-3
  facility: MSH-4.1
  sent: MSH-7 | datetime
  type: join('^', MSH-9.1, MSH-9.2)
  controlId: MSH-10
  event: EVN-1
  eventTime: EVN-2 | datetime
  operator: EVN-5.1
  patient:
    mrn: PID-3[.5=='MR'].1
    national: PID-3[.5=='NH'].1
    identifiers: {each: PID-3, value: .1, assigner: .4, kind: .5 | default('MR')}
    family: PID-5.1
    given: PID-5.2
    fullName: join(' ', PID-5.1, PID-5.2)
    gender: PID-8 | table('gender')
    birthDate: PID-7 | date
    race: PID-10.2
    street: PID-11.1
    city: PID-11.3
    state: PID-11.4
    zip: PID-11.5
    country: PID-11.6
    phone: PID-13.1 | phone
    language: PID-15.1
    marital: PID-16.1 | table('marital', unmapped='keep')
    account: PID-18.1
  contacts: {each: NK1, name: "join(' ', .2.1, .2.2)", relation: .3.1}
  visit:
    class: PV1-2 | table('class')
    ward: PV1-3.1
    room: PV1-3.2
    bed: PV1-3.3
    attending: PV1-7.1
    attendingName: join(' ', PV1-7.2, PV1-7.3)
    number: PV1-19.1
    admitted: PV1-44 | datetime
  diagnosis: DG1-3.1
  diagnosisText: DG1-3.2
  allergy: AL1-3.2 if exists(AL1-3.1) else AL1-3.3
  height: OBX[.3.1=='8302-2']-5 | number
  weight: OBX[.3.1=='29463-7']-5 | number
"""

TABLES = {
    "gender": "from,to\nM,male\nF,female\n",
    "marital": "from,to\nS,single\nM,married\n",
    "class": "from,to\nI,inpatient\nO,outpatient\n",
}
JSON_MAPPING = """
from: {codec: json}
to: {codec: json}
fields:
  id: controlId
  who: {name: patient.fullName, born: patient.birthDate | format_date('yyyyMMdd'), zip: patient.zip}
  numbers: {each: patient.identifiers, no: .value, of: .assigner}
  bed: concat(visit.ward, '-', visit.bed)
"""


def best(call: Callable[[], object], count: int = 2000, rounds: int = 7) -> float:
    """Microseconds of processor time of one call, the best of several rounds."""
    times: list[float] = []
    for _ in range(rounds):
        begin = time.process_time()
        for _ in range(count):
            call()
        times.append((time.process_time() - begin) / count * 1e6)
    return min(times)


def library_of(folder: str, **mappings: str) -> MappingLibrary:
    """A library of these mappings and the code tables of the benchmark, written to a folder."""
    root = Path(folder)
    (root / "tables").mkdir()
    for name, text in TABLES.items():
        (root / "tables" / f"{name}.csv").write_text(text, encoding="utf-8")
    for name, text in mappings.items():
        (root / f"{name}.yaml").write_text(text, encoding="utf-8")
    return MappingLibrary([root])


def main() -> list[tuple[str, float, str]]:
    """(name, value, unit) of each figure."""
    codec, json_codec = Hl7Codec(), JsonCodec()
    context = Context(now_us=1_768_440_615_000_000)
    with tempfile.TemporaryDirectory() as folder:
        library = library_of(folder, adt=MAPPING, again=JSON_MAPPING)
        begin = time.process_time()
        mapping = library.get("adt")
        compiling = (time.process_time() - begin) * 1e6
        again = library.get("again")
    tree = codec.decode(MESSAGE)
    target = mapping.run(tree, context)[0]
    when = compile_expression("MSH-9.1 == 'ADT' and MSH-9.2 in ['A01', 'A04']", "hl7v2")
    keys = compile_extract(
        {"patient_id": "PID-3.1", "visit": "PV1-19.1", "name": "join('', PID-5.1, PID-5.2)"}, "hl7v2"
    )

    def whole() -> object:
        return mapping.run(codec.decode(MESSAGE), context)

    def envelope() -> object:
        decoded = codec.decode(MESSAGE)
        return codec.envelope(decoded), keys(decoded, context)

    return [
        ("ADT decode, map to 40 JSON fields", best(whole), "us"),
        ("ADT decode, envelope, 3 business keys", best(envelope), "us"),
        ("the mapping alone, fields split already", best(lambda: mapping.run(tree, context)), "us"),
        ("JSON to JSON, 9 fields", best(lambda: again.run(target, context)), "us"),
        ("route condition, fields split already", best(lambda: when(tree, context)), "us"),
        ("target to JSON bytes", best(lambda: json_codec.encode(target)), "us"),
        ("compile a mapping of 40 fields", compiling, "us"),
    ]


if __name__ == "__main__":
    for label, value, unit in main():
        print(f"{label:45} {value:10.1f} {unit}")
