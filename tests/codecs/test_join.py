"""Several documents of a format put together in one, and taken apart again by those who read them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.codecs.base import Joint
from hub.codecs.csv_codec import CsvCodec
from hub.codecs.excel_codec import ExcelCodec
from hub.codecs.fhir import FhirCodec
from hub.codecs.fixed_codec import FixedCodec
from hub.codecs.fixed_layout import FixedFormat
from hub.codecs.form_codec import FormCodec
from hub.codecs.hl7v2 import Hl7Codec, split_batch
from hub.codecs.json_codec import JsonCodec
from hub.codecs.jsonl_codec import JsonLinesCodec
from hub.codecs.records import MAX_ROWS
from hub.errors import CodecError

JOINT = Joint("B|1", 1_700_000_000_000_000)
FIXED = FixedCodec(FixedFormat.model_validate({"fields": [{"name": "a", "length": 3}, {"name": "b", "length": 2}]}))
values = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=2)


def message(number: int, charset: str = "UNICODE UTF-8", name: str = "张", marks: str = "|^~\\&") -> bytes:
    sep = marks[0]
    fields = [
        f"MSH{marks}",
        "HIS",
        "东院",
        "HUB",
        "B",
        "20260115",
        "",
        "ADT^A01",
        str(number),
        "P",
        "2.5.1",
        *[""] * 6,
        charset,
    ]
    python = "gb18030" if charset == "GB 18030-2000" else "utf-8"
    return (sep.join(fields) + f"\rPID{sep}1{sep}{sep}{name}\r").encode(python)


@pytest.mark.parametrize("codec", [CsvCodec(), ExcelCodec(), FIXED, JsonLinesCodec()])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(rows=st.lists(st.fixed_dictionaries({"a": values, "b": values}), min_size=1, max_size=6))
def test_records_are_one_table(codec: Any, rows: list[dict[str, str]]) -> None:
    trees = [row if number % 2 else {"rows": [row]} for number, row in enumerate(rows)]
    again = codec.decode(codec.encode(codec.join(trees, "rows", JOINT)))
    assert [dict(row) for row in again["rows"]] == rows


def test_what_was_read_can_be_joined_as_it_is() -> None:
    codec = CsvCodec()
    one, two = codec.decode(b"a,b\r\n1,2\r\n"), codec.decode(b"b,a\r\n4,3\r\n")
    assert codec.encode(codec.join([one, two], "rows", JOINT)) == b"a,b\r\n1,2\r\n3,4\r\n"


def test_too_many_records() -> None:
    with pytest.raises(CodecError):
        JsonLinesCodec().join([{"rows": [1] * MAX_ROWS}, 1], "rows", JOINT)


def test_json_is_an_array() -> None:
    codec = JsonCodec()
    assert codec.encode(codec.join([{"a": 1}, [2], None], "array", JOINT)) == b'[{"a":1},[2],null]'


@pytest.mark.parametrize("way", ["batch", "file"])
def test_hl7_messages_are_a_batch(way: str) -> None:
    codec = Hl7Codec()
    raws = [message(number) for number in range(3)]
    lines = codec.encode(codec.join([codec.decode(raw) for raw in raws], way, JOINT)).decode().split("\r")
    head = next(line for line in lines if line.startswith("BHS")).split("|")
    assert head[1:6] == ["^~\\&", "HIS", "东院", "HUB", "B"]
    assert (head[10], head[6][:4]) == ("B\\F\\1", "2023")
    ends = [line for line in lines if line[:3] in ("FHS", "BTS", "FTS")]
    assert [line[:5] for line in ends] == (["BTS|3"] if way == "batch" else ["FHS|^", "BTS|3", "FTS|1"])
    assert split_batch("\r".join(lines).encode()) == raws


def test_hl7_in_another_character_set_and_with_other_delimiters() -> None:
    codec = Hl7Codec()
    raws = [message(1, "GB 18030-2000", marks="#:;!+"), message(2, "GB 18030-2000")]
    batch = codec.encode(codec.join([codec.decode(raw) for raw in raws], "batch", JOINT))
    assert batch.startswith("BHS#:;!+#HIS#东院".encode("gb18030"))
    assert split_batch(batch) == raws


def test_a_name_in_the_head_may_hold_braces() -> None:
    codec = Hl7Codec()
    raw = message(1).replace(b"HIS", b"{0}")
    assert b"|{0}|" in codec.encode(codec.join([codec.decode(raw)], "batch", JOINT))


def test_hl7_in_utf_16_is_refused() -> None:
    codec = Hl7Codec()
    wide = codec.decode(b"\xff\xfe" + message(1).decode().encode("utf-16-le"))
    with pytest.raises(CodecError, match="UTF-16"):
        codec.encode(codec.join([wide], "batch", JOINT))


def test_fhir_resources_are_a_bundle() -> None:
    codec = FhirCodec()
    patient = {"resourceType": "Patient", "id": "p1"}
    observation = {"resourceType": "Observation", "status": "final"}
    own = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"resource": patient, "request": {"method": "DELETE"}}],
    }
    bundle = codec.join([patient, observation, own], "transaction", JOINT)
    assert (bundle["type"], bundle["identifier"]["value"]) == ("transaction", "B|1")
    assert [entry["request"] for entry in bundle["entry"]] == [
        {"method": "PUT", "url": "Patient/p1"},
        {"method": "POST", "url": "Observation"},
        {"method": "DELETE"},
    ]
    assert codec.decode(codec.encode(bundle)) == bundle
    assert "request" not in codec.join([patient], "collection", JOINT)["entry"][0]
    with pytest.raises(CodecError):
        codec.join([{"name": "no resource"}], "batch", JOINT)


def test_a_format_that_knows_no_such_thing_says_so() -> None:
    assert FormCodec.joins == ()
    with pytest.raises(CodecError, match=r"collect\.mapping|合为一份|no document of several"):
        FormCodec().join([{}], "", JOINT)
