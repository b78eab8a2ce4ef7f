"""Mappings to HL7 v2: changes to a copy of the source, and new messages."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.hl7v2 import Hl7Codec
from hub.errors import CodecError, MappingError
from hub.mapping import Context

if TYPE_CHECKING:
    from conftest import Folder

CODEC = Hl7Codec()
SAMPLES = Path(os.environ.get("TONGQU_SAMPLES") or Path(__file__).resolve().parents[2].parent / "shared" / "samples")

ADT = (
    b"MSH|^~\\&|HIS|NORTH|||20260115||ADT^A01|C1|P|2.5\r\n"
    b"PID|1||800^^^NORTH&1.2&ISO^MR~999^^^NATL^NH||Zh\\T\\ng^San||1971|F|||a \\.br\\ b^^c\n"
    b"NTE|1||one\rNTE|2||two\r"
    b"ZPI|x^y~z\r"
)


def changed(folder: Folder, fields: str, raw: bytes = ADT, remove: str = "[]", source: str = "hl7v2") -> list[str]:
    """The lines that come out of a mapping with ``base: source``."""
    head = f"from: {{codec: hl7v2}}\nto: {{codec: hl7v2, base: source, remove: {remove}}}\n"
    mapping = folder.mapping(head + textwrap.dedent(fields))
    (target,) = mapping.run(CODEC.decode(raw), Context())
    return CODEC.encode(target).decode().replace("\r\n", "\r").replace("\n", "\r").rstrip("\r").split("\r")


def made(folder: Folder, fields: str, tree: Any) -> list[str]:
    """The lines of a new message made from JSON."""
    mapping = folder.mapping(textwrap.dedent(fields), target="hl7v2")
    (target,) = mapping.run(tree, Context())
    return CODEC.encode(target).decode().rstrip("\r").split("\r")


def test_without_fields_every_byte_stays(folder: Folder) -> None:
    mapping = folder.mapping("from: {codec: hl7v2}\nto: {codec: hl7v2, base: source}\n")
    for raw in (ADT, b"\x0b" + ADT + b"\x1c\r", ADT.replace(b"San", "张三".encode()), b"\r\n" + ADT):
        assert CODEC.encode(mapping.run(CODEC.decode(raw), Context())[0]) == raw


def test_without_fields_every_byte_of_real_messages_stays(folder: Folder) -> None:
    if not (SAMPLES / "hl7v2").is_dir():
        pytest.skip("the sample messages are not here")
    mapping = folder.mapping("from: {codec: hl7v2}\nto: {codec: hl7v2, base: source}\n")
    count = 0
    for path in sorted((SAMPLES / "hl7v2").rglob("*")):
        if not path.is_file():
            continue
        raw = path.read_bytes()
        try:
            message = CODEC.decode(raw)
        except CodecError:
            continue
        count += 1
        assert CODEC.encode(mapping.run(message, Context())[0]) == raw
    assert count > 10


def test_only_the_segments_concerned_change(folder: Folder) -> None:
    mapping = folder.mapping("from: {codec: hl7v2}\nto: {codec: hl7v2, base: source}\nfields: {PID-8: \"'M'\"}\n")
    message = CODEC.decode(ADT)
    out = CODEC.encode(mapping.run(message, Context())[0])
    assert out == ADT.replace(b"|F|", b"|M|")
    assert CODEC.encode(message) == ADT


@pytest.mark.parametrize(
    ("fields", "line", "expected"),
    [
        ("{PID-3.1: {const: '7'}}", 1, "PID|1||7^^^NORTH&1.2&ISO^MR~999^^^NATL^NH|"),
        ("{'PID-3[2].4.2': {const: '7'}}", 1, "~999^^^NATL&7^NH|"),
        ("{'PID-3[4]': {const: '7'}}", 1, "~999^^^NATL^NH~~7||"),
        ("{PID-3: {const: '7'}}", 1, "PID|1||7||"),
        ("{PID-19: {const: '7'}}", 1, "b^^c||||||||7"),
        ("{MSH-3: {const: 'A|B^C'}}", 0, r"MSH|^~\&|A\F\B\S\C|NORTH"),
        ("{MSH-9.2: {const: A08}}", 0, "|ADT^A08|"),
        ("{PID-2: PID-3}", 1, "PID|1|800^^^NORTH&1.2&ISO^MR~999^^^NATL^NH|800"),
        ("{PID-2: 'PID-3[2]'}", 1, "PID|1|999^^^NATL^NH|800"),
        ("{'PID-2[2]': 'PID-3[2]'}", 1, "PID|1|~999^^^NATL^NH|800"),
        ("{PID-2: PID-3.4}", 1, "PID|1|NORTH&1.2&ISO|800"),
        ("{PID-2.3: PID-3.4}", 1, "PID|1|^^NORTH&1.2&ISO|800"),
        ("{PID-2.3.1: PID-3.4}", 1, r"PID|1|^^NORTH\T\1.2\T\ISO|800"),
        ("{PID-2: PID-11}", 1, r"PID|1|a \.br\ b^^c|800"),
        ("{PID-2: upper(PID-5.1)}", 1, r"PID|1|ZH\T\NG|800"),
        ("{PID-2: PID-5.1}", 1, r"PID|1|Zh\T\ng|800"),
        ("{PID-2: PID-99}", 1, "PID|1||800"),
        ("{PID-3: PID-99}", 1, "PID|1||800"),
        ("{PID-3: {expr: PID-99, keep_null: true}}", 1, "PID|1||||Zh"),
        ("{PID-3: {const: ''}}", 1, "PID|1||||Zh"),
        ("{PID-2: {expr: PID-99, default: d}}", 1, "PID|1|d|800"),
        ("{PID-2: {expr: PID-8, when: PID-8 == 'M'}}", 1, "PID|1||800"),
        ("{PID-2: PID-3.1 | list}", 1, "PID|1|800~999|800"),
        ("{PID-2: {each: PID-3, '.1': .1, '.5': \"'X'\"}}", 1, "PID|1|800^^^^X~999^^^^X|800"),
        ("{PID-2: {each: PID-3, where: .5 == 'NH', expr: .}}", 1, "PID|1|999^^^NATL^NH|800"),
        ("{'PID-3[3]': {each: PID-3, expr: .1}}", 1, "MR~999^^^NATL^NH~800~999||"),
        ("{PID-2: [PID-1, {'.2': PID-8}]}", 1, "PID|1|1~^F|800"),
        ("{PID-2: {'.1': PID-1, '.4': {const: x}}}", 1, "PID|1|1^^^x|800"),
        ("{PID: {'.2': PID-1, PID-4: PID-8}}", 1, "PID|1|1|800^^^NORTH&1.2&ISO^MR~999^^^NATL^NH|F|Zh"),
        ("{PID-2: true}", 1, "PID|1|Y|800"),
        ("{PID-2: 12.50 | decimal}", 1, "PID|1|12.5|800"),
        ("{'NTE[2]-3': {const: x}}", 3, "NTE|2||x"),
        ("{'NTE[3]-3': {const: x}}", 5, "NTE|||x"),
        ("{ZZZ-2.2: {const: x}}", 5, "ZZZ||^x"),
        ("{NTE: {each: PID-3, '.1': $number, '.3': .1}}", 6, "NTE|2||999"),
        ("{NTE: [{'.3': {const: x}}]}", 5, "NTE|||x"),
        ("{ZZZ: {when: PID-8 == 'M', '.1': PID-1}}", 4, "ZPI|x^y~z"),
    ],
)
def test_change(folder: Folder, fields: str, line: int, expected: str) -> None:
    lines = changed(folder, f"fields: {fields}")
    assert expected in lines[line]


def test_remove(folder: Folder) -> None:
    lines = changed(folder, "", remove="[NTE, PID-3, ZPI-1, PID-99]")
    assert [line[:3] for line in lines] == ["MSH", "PID", "ZPI"]
    assert lines[1].startswith("PID|1||||Zh")
    assert lines[2] == "ZPI|"


def test_a_new_message(folder: Folder) -> None:
    tree = {
        "name": "张|三",
        "ids": [{"v": "1", "t": "MR"}, {"v": "2", "t": "NH"}],
        "orders": [
            {"no": "A", "results": [{"code": "x", "value": 1}, {"code": "y", "value": 2.5}]},
            {"no": "B", "results": [{"code": "z", "value": None}]},
        ],
    }
    fields = """
        fields:
          PID-5.1: name
          PID-3: {each: ids, ".1": .v, ".5": .t}
          MSH-9.1: {const: ORU}
          MSH-9.2: {const: R01}
          MSH-18: {const: UNICODE UTF-8}
          OBR:
            each: orders
            ".1": $number
            OBR-2.1: .no
            OBX:
              each: .results
              ".1": $number
              ".3.1": .code
              ".5": .value
          ZEN-1: {const: end}
    """
    assert made(folder, fields, tree) == [
        "MSH|^~\\&|||||||ORU^R01|||||||||UNICODE UTF-8",
        "PID|||1^^^^MR~2^^^^NH||张\\F\\三",
        "OBR|1|A",
        "OBX|1||x||1",
        "OBX|2||y||2.5",
        "OBR|2|B",
        "OBX|1||z",
        "ZEN|end",
    ]


def test_a_bare_name_inside_a_segment_means_this_segment(folder: Folder) -> None:
    head = "fragment: true\nfrom: {codec: json}\nto: {codec: hl7v2}\n"
    folder.write("person.yaml", head + "fields: {PID: {include: born, '.8': .sex}, '.5': .name}")
    folder.write("born.yaml", head + "fields: {PID-7: .born}")
    tree = {"people": [{"name": "A", "born": "1950", "sex": "F"}, {"name": "B", "born": "1960", "sex": "M"}]}
    fields = """
        fields:
          PID: {each: people, PID: {include: person}}
          NK1:
            - {PID-1: {const: 9}, NK1: {".2": "people[1].name"}}
            - NK1: {".2": "people[0].name"}
    """
    assert made(folder, fields, tree)[1:] == [
        "PID|9||||A||1950|F",
        "PID|||||B||1960|M",
        "NK1||B",
        "NK1||A",
    ]


def test_the_first_segment_of_a_message_in_a_loop_is_a_warning(folder: Folder) -> None:
    text = """
        from: {codec: json}
        to: {codec: hl7v2}
        fields:
          MSH-9.1: {const: ADT}
          PID:
            each: people
            ".5": .name
            PV1-2: {const: I}
            PV1: {".3": .ward}
            NK1: [{".2": .kin}]
            PD1: {each: ., ".1": .x}
            DG1[1]-3: {const: x}
    """
    folder.write("m.yaml", textwrap.dedent(text))
    told = [(p.line, p.key, p.severity, p.text) for p in folder.library().problems()]
    first = "this is the first PV1 of the message for every PID"
    assert told == [(9, "PID.PV1-2", "warning", first), (10, "PID.PV1", "warning", first)]


def test_distinct_segments_and_repetitions(folder: Folder) -> None:
    tree = {"a": [{"v": 1, "t": "x"}, {"v": 2, "t": "y"}, {"v": 1, "t": "z"}], "b": [2, 3, 3]}
    fields = """
        fields:
          PID-3: {each: a, distinct: .v, ".1": .v, ".5": .t}
          PID-13: {each: b, distinct: ., expr: .}
          PID-14: [{each: b, distinct: ., expr: .}]
          DG1: {each: a, distinct: .v, ".1": .t}
          AL1:
            - {each: a, distinct: .v, ".1": .v}
            - {each: b, distinct: ., ".1": .}
    """
    assert made(folder, fields, tree)[1:] == [
        "PID|||1^^^^x~2^^^^y||||||||||2~3|2~3", "DG1|x", "DG1|y", "AL1|1", "AL1|2", "AL1|3",
    ]  # fmt: skip


def test_messages_made_do_not_touch_each_other(folder: Folder) -> None:
    fields = "fields: {PID-3: id, NTE: {each: notes, '.3': .}}"
    assert made(folder, fields, {"id": "1", "notes": ["a", "b"]})[1:] == ["PID|||1", "NTE|||a", "NTE|||b"]
    assert made(folder, fields, {"id": "2"})[1:] == ["PID|||2"]


def test_split_makes_a_message_per_segment(folder: Folder) -> None:
    mapping = folder.mapping(
        "from: {codec: hl7v2}\nto: {codec: hl7v2, base: source, remove: [NTE]}\nsplit: NTE\nfields: {ZNT-1: .3}\n"
    )
    targets = mapping.run(CODEC.decode(ADT), Context())
    assert [CODEC.decode(CODEC.encode(target)).get("ZNT-1") for target in targets] == ["one", "two"]


def test_include_of_segments_and_fields(folder: Folder) -> None:
    folder.write(
        "head.yaml", "fragment: true\nfrom: {codec: hl7v2}\nto: {codec: hl7v2}\nfields: {MSH-5: {const: HUB}}\n"
    )
    folder.write("cx.yaml", "fragment: true\nfrom: {codec: hl7v2}\nto: {codec: hl7v2}\nfields: {'.1': .1, '.5': .5}\n")
    lines = changed(
        folder,
        "fields:\n  include: head\n  PID-2: {each: PID-3, include: cx}\n  PID-4: {include: cx, from: 'PID-3[2]'}\n",
    )
    assert "|HUB|" in lines[0]
    assert lines[1].startswith("PID|1|800^^^^MR~999^^^^NH|")
    assert "|999^^^^NH|Zh" in lines[1]


def test_other_delimiters_are_translated(folder: Folder) -> None:
    head = "from: {codec: hl7v2}\nto: {codec: hl7v2}\nfields: {PID-2: PID-2, PID-3: 'PID-3[2]', PID-4: PID-4.1, PID-5: PID-5.2}\n"
    message = CODEC.decode(b"MSH#:;!+#HIS\rPID#1#a:b+c;d|e!F!f#x;y:z+q#g^:h#i:j~k\r")
    (target,) = folder.mapping(head).run(message, Context())
    assert CODEC.encode(target).decode().rstrip("\r").split("\r")[1] == r"PID||a^b&c~d\F\e#f|y^z&q|g\S\|j\R\k"


def test_a_value_can_not_break_out_of_its_place(folder: Folder) -> None:
    value = "a|b^c~d&e\\f\rPID|9\ng"
    lines = made(folder, "fields: {PID-3.1: v}", {"v": value})
    assert len(lines) == 2
    message = CODEC.decode("\r".join(lines).encode())
    assert message.get("PID-3.1") == value


def test_without_escape_character_a_delimiter_is_refused(folder: Folder) -> None:
    with pytest.raises(MappingError, match="escape"):
        changed(folder, "fields: {PID-2: {const: 'a|b'}}", raw=b"MSH|^\rPID|1\r")
    with pytest.raises(MappingError, match="defines no separator"):
        changed(folder, "fields: {'PID-2[2]': {const: a}}", raw=b"MSH|^\rPID|1\r")


@pytest.mark.parametrize(
    ("fields", "key", "part"),
    [
        ("{MSH-1: {const: x}}", "MSH-1", "delimiters"),
        ("{pid-3: MSH-3}", "pid-3", "not a place"),
        ("{PID-0: MSH-3}", "PID-0", "not a place"),
        ("{PID-3000: MSH-3}", "PID-3000", "not a place"),
        ("{'.3': MSH-3}", ".3", "not a place"),
        ("{PID: MSH-3}", "PID", "not a value"),
        ("{PID-3.1: {each: PID-3, expr: .1}}", "PID-3.1", "no fields"),
        ("{PID: {each: NTE, expr: .1}}", "PID", "not a value"),
        ("{PID-3: {'.1.2.3': MSH-3}}", "PID-3.1.2.3", "not a place"),
        ("[MSH-3]", "fields", "segments and fields"),
        ("{PID-3: MSH-3 +}", "PID-3", "a value expected"),
    ],
)
def test_problems(folder: Folder, fields: str, key: str, part: str) -> None:
    folder.write("m.yaml", f"from: {{codec: hl7v2}}\nto: {{codec: hl7v2}}\nfields: {fields}\n")
    found = folder.library().problems()
    assert [problem for problem in found if problem.key == key and part in problem.text and problem.line], found


@pytest.mark.parametrize("remove", ["MSH", "MSH-2", "PID-3.1", "x"])
def test_what_can_not_be_removed(folder: Folder, remove: str) -> None:
    folder.write("m.yaml", f"from: {{codec: hl7v2}}\nto: {{codec: hl7v2, base: source, remove: [{remove}]}}\n")
    (found,) = folder.library().problems()
    assert found.key == "to.remove"


def test_base_needs_a_message(folder: Folder) -> None:
    folder.write("m.yaml", "from: {codec: json}\nto: {codec: hl7v2, base: source}\n")
    assert [problem.key for problem in folder.library().problems()] == ["to.base"]


def test_an_error_names_segment_and_field(folder: Folder) -> None:
    with pytest.raises(MappingError) as caught:
        changed(folder, "fields:\n  NTE: {each: PID-3, '.3.1': .1 | date}\n")
    assert caught.value.target == "NTE-3.1"
    assert caught.value.line == 4


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20),
    st.sampled_from(["PID-3", "PID-3.2", "PID-3[2].1.2"]),
)
def test_any_text_written_is_read_again(text: str, place: str) -> None:
    from hub.mapping.document_read import parse_document
    from hub.mapping.functions import BUILTIN
    from hub.mapping.mapping import compile_mapping

    document = parse_document(
        f"from: {{codec: json}}\nto: {{codec: hl7v2}}\nfields: {{'{place}': v, MSH-18: {{const: UNICODE UTF-8}}}}",
        "m",
        "m.yaml",
    )
    result = compile_mapping(document, lambda name: None, lambda name: None, BUILTIN)
    assert result.run is not None
    (target,) = result.run({"v": text}, Context())
    assert CODEC.decode(CODEC.encode(target)).get(place) == text
