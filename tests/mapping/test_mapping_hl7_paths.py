"""Paths into HL7 v2 messages."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.hl7v2 import Hl7Codec
from hub.errors import CodecError, MappingError
from hub.mapping import Context, compile_expression, compile_extract

if TYPE_CHECKING:
    from conftest import Folder

MESSAGE = "\r".join(
    [
        r"MSH|^~\&|HIS|NORTH^1.2.3^ISO|HUB||20260115093015||ORU^R01|C1|P|2.5.1",
        r"PID|1||800^^^NORTH&1.2&ISO^MR~999^^^NATL^NH~11010519491231002X^^^GOV^IDCARD||Zhang\T\Co^San~Li^Si||19710412|F^Female|||Road 1\S\a^^City",
        "OBR|1|A^HIS||58410-2^CBC",
        "OBX|1|NM|8302-2^Height||168|cm",
        "NTE|1||tall",
        "OBX|2|NM|29463-7^Weight||71.5|kg",
        "OBR|2|B^HIS||1-1^Other",
        "OBX|1|ST|x^X||one~two~~three",
        'PV1||I|""',
        "",
    ]
)


def decode(text: str = MESSAGE) -> Any:
    return Hl7Codec().decode(text.encode())


def read(path: str, text: str = MESSAGE) -> Any:
    return compile_expression(path, "hl7v2")(decode(text), Context())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("MSH-1", "|"),
        ("MSH-2", "^~\\&"),
        ("MSH-2.1", "^~\\&"),
        ("MSH-3", "HIS"),
        ("MSH-9.2", "R01"),
        ("PID-3", "800^^^NORTH&1.2&ISO^MR"),
        ("PID-3.1", "800"),
        ("PID-3.4", "NORTH&1.2&ISO"),
        ("PID-3.4.2", "1.2"),
        ("PID-3[2].1", "999"),
        ("PID-3[2].4.1", "NATL"),
        ("PID-3[2].4.2", ""),
        ("PID-3[9].1", ""),
        ("PID-3[*].1", "800"),
        ("PID-3[.5=='IDCARD'].1", "11010519491231002X"),
        ("PID-3[.5=='NONE'].1", ""),
        ("PID-3[.5 in ['NH', 'IDCARD']].1", "999"),
        ("PID-3[.4.1=='NATL'].1", "999"),
        ("PID-5.1", "Zhang&Co"),
        ("PID-5[2].2", "Si"),
        ("PID-8", "F^Female"),
        ("PID-11.1", "Road 1^a"),
        ("PID-99", ""),
        ("PID-8.9", ""),
        ("PID-7.1.1", "19710412"),
        ("ZZZ-1.2", ""),
        ("ZZZ[3]-1", ""),
        ("ZZZ[.1=='x']-1", ""),
        ("PID", "PID"),
        ("ZZZ", ""),
        ("OBX-5", "168"),
        ("OBX[2]-5", "71.5"),
        ("OBX[3]-5", "one"),
        ("OBX[3]-5[2]", "two"),
        ("OBX[9]-5", ""),
        ("OBX[.3.1=='29463-7']-5", "71.5"),
        ("OBX[.3.1=='29463-7']-6", "kg"),
        ("OBX[.5 > 100]-6", "cm"),
        ("OBX[.3.1==PID-99]-6", ""),
        ("PV1-3", '""'),
        ("OBX[*]-5 | join(',')", "168,71.5,one,two,three"),
        ("OBX[3]-5 | join(',')", "one,two,three"),
        ("OBX[3]-5[1] | join(',')", "one"),
        ("OBX-5 | join(',')", "168"),
        ("OBX[.2=='NM']-5 | join(',')", "168,71.5"),
        ("OBX[*]-5[.1=='two'] | join(',')", "two"),
        ("PID-3.1 | join(',')", "800,999,11010519491231002X"),
        ("PID-3[.5!='NH'].5 | join(',')", "MR,IDCARD"),
        ("join(' ', PID-5.1, PID-5.2)", "Zhang&Co San"),
        ("count(OBX)", 3),
        ("count(OBX[.2=='NM'])", 2),
        ("count(OBX[2])", 1),
        ("count(ZZZ)", 0),
        ("count(PID-3)", 3),
        ("count(OBX[3]-5)", 3),
        ("exists(ZZZ)", False),
        ("exists(PV1)", True),
        ("'yes' if OBX[.3.1=='x'] else 'no'", "yes"),
        ("PID-8.1 == 'F' and MSH-9.1 in ['ORU', 'ADT']", True),
        ("PID-1 == 1", True),
        ("OBX-5 > 20", True),
        ("OBX-5 - 8", 160),
        ("first(OBX)", "OBX"),
    ],
)
def test_path(path: str, expected: Any) -> None:
    assert read(path) == expected


@pytest.mark.parametrize(
    "path",
    [
        *(
            "PID-0",
            "PID-3[0]",
            "PID-3.0",
            "PID-3.1.2.3",
            "PID-3.1[2]",
            ".1",
            "..1",
            "PID-3[.OBX-5]",
            "pid-3",
            "PIDX-3",
            "PID-",
        ),
        *("PID-3[1", "PID-3[].1", "PID-3.x", "OBX[.NTE-3=='tall']-5", "PID.3", "PID-99999"),
    ],
)
def test_not_a_path(path: str) -> None:
    with pytest.raises(MappingError):
        read(path)


NOTES = "\r".join(
    [
        r"MSH|^~\&|HIS", "NTE|1||for all", "ORC|NW|P1", "OBR|1|A", "NTE|1||of the order", "NTE|2||also", "OBX|1", "NTE|1||of the result",
        "SPM|1", "OBR|2|B", "OBX|1", "NTE|1||of this result", "ORC|NW|P3", "OBR|3|C", "OBX|1", "OBX|2", "",
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("NTE[until OBR]-3", "for all"),
        ("NTE[until OBR] | count", 1),
        ("NTE[until ORC, OBX]-3 | join(',')", "for all"),
        ("NTE[until ZZZ]-3 | count", 5),
        ("NTE[until MSH]-3", ""),
        ("OBX[until ORC]-1", ""),
        ("'yes' if NTE[ until  OBR ] else 'no'", "yes"),
        ("'yes' if OBX[until OBR] else 'no'", "no"),
    ],
)
def test_segments_in_front_of_another(path: str, expected: Any) -> None:
    assert read(path, NOTES) == expected


def test_segments_in_front_of_another_in_a_loop(folder: Folder) -> None:
    text = """
        fields:
          each: OBR
          own: .NTE[until OBX]-3 | join(',')
          first: .NTE[until OBX, SPM]-3
          entries: {each: ".NTE[until OBX]", no: .1, order: ..2}
          all: .NTE[*]-3 | join(',')
          order: .ORC[before]-2
          there: {when: ".ORC[before]", const: true}
          of: {include: orc, from: ".ORC[before]"}
          results: {each: .OBX, order: "..ORC[before]-2", number: ..2, nearest: ".ORC[before]-2"}
    """
    folder.write(
        "orc.yaml", "fragment: true\nfrom: {codec: hl7v2}\nto: {codec: json}\nfields: {kind: .1, number: .2}\n"
    )
    mapping = folder.mapping(textwrap.dedent(text), source="hl7v2")
    (found,) = mapping.run(decode(NOTES), Context())
    assert found == [
        {
            "own": "of the order,also", "first": "of the order", "all": "of the order,also,of the result",
            "entries": [{"no": "1", "order": "A"}, {"no": "2", "order": "A"}],
            "order": "P1", "there": True, "of": {"kind": "NW", "number": "P1"},
            "results": [{"order": "P1", "number": "A", "nearest": "P1"}],
        },
        {"all": "of this result", "results": [{"number": "B"}]},
        {
            "order": "P3", "there": True, "of": {"kind": "NW", "number": "P3"},
            "results": [{"order": "P3", "number": "C", "nearest": "P3"}, {"order": "P3", "number": "C"}],
        },
    ]  # fmt: skip


@pytest.mark.parametrize(
    "path", ["ORC[before]", "PID-3[until OBX].1", "NTE[until]", "NTE[until obx]", "NTE[until OBX", "NTE[before OBX]"]
)
def test_brackets_that_mean_nothing(path: str) -> None:
    with pytest.raises(MappingError):
        read(path, NOTES)


def test_reads_are_shared() -> None:
    from hub.mapping.codegen import Generator
    from hub.mapping.compiler import parse
    from hub.mapping.formats import source_format
    from hub.mapping.functions import BUILTIN

    generator = Generator(source_format("hl7v2"), BUILTIN)
    generator.compile(
        parse("concat(PID-5.1, PID-5.2, PID-5.1, OBX[.3.1==PID-5.1]-5, PID-3.1)", "hl7v2"), generator.root
    )
    lines = [line.text for line in generator.writer.result()]
    assert sum("('PID')" in line for line in lines) == 1
    assert sum("[5] if" in line for line in lines) == 2  # PID-5 and OBX-5


def test_delimiters_of_the_message_are_used() -> None:
    text = "MSH*:;!+*HIS*A:B*\rPID*1**1:2;3:4**x!F!y+z\r"
    assert read("PID-3.2", text) == "2"
    assert read("PID-3[2].1", text) == "3"
    assert read("PID-5.1.1", text) == "x*y"
    assert read("PID-5.1.2", text) == "z"


def test_missing_delimiters_split_nothing() -> None:
    text = "MSH|^\rPID|1||a~b^c&d\\F\\\r"
    assert read("PID-3.1", text) == "a~b"
    assert read("PID-3.2", text) == "c&d\\F\\"
    assert read("PID-3.2.1", text) == "c&d\\F\\"
    assert read("PID-3[2]", text) == ""


def test_extract() -> None:
    extract = compile_extract({"mrn": "PID-3[.5=='MR'].1", "visit": "PV1-19", "all": "PID-3.1 | list"}, "hl7v2")
    assert extract(decode(), Context()) == {"mrn": "800", "all": "800 999 11010519491231002X"}


FIELD = st.text("ab^~&\\|1", max_size=12).map(lambda text: text.replace("|", "\\F\\"))
PATHS = ["PID-3", "PID-3.1", "PID-3.2", "PID-3.2.1", "PID-3[2]", "PID-3[2].1.2", "PID[2]-3.1", "PID-5.1", "ZZZ-1"]


@given(st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=3))
def test_a_path_gives_what_the_codec_gives(rows: list[tuple[str, str]]) -> None:
    text = "MSH|^~\\&|A\r" + "".join(f"PID|1||{three}||{five}\r" for three, five in rows)
    message = decode(text)
    for path in PATHS:
        assert compile_expression(path, "hl7v2")(message, Context()) == message.get(path)


@given(st.binary(max_size=80))
def test_paths_never_fail_on_any_message(noise: bytes) -> None:
    try:
        message = Hl7Codec().decode(b"MSH|^~\\&|A\r" + noise + b"\rPID|1||" + noise)
    except CodecError:
        return
    for path in (
        *PATHS,
        "PID[*]-3 | count",
        "OBX[.1==PID-3]-2",
        "PID-3[.1=='a'].2",
        "count(PID[.3.1=='a'])",
        "list(PID-3.1)",
    ):
        compile_expression(path, "hl7v2")(message, Context())
