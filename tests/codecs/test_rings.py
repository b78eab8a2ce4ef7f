"""What a codec makes is freed when nobody refers to it any more, not when the cyclic collector comes by.

Thousands of messages a second would otherwise stop everybody for tens of milliseconds at a time, or keep their bytes for long. Not in
the list: workbooks, because lxml's reader of large files leaves a small ring of its own.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

from hub.codecs.registry import builtin_codecs
from hub.mapping import Context, compile_extract
from tests.codecs.dicom_support import element, file, item, sequence

CODECS = {codec.name: codec for codec in builtin_codecs()}
#: Sequences in sequences, with a value whose representation depends on the data set around it.
DICOM = file(
    element(0x00080005, "CS", b"ISO_IR 192")
    + sequence(0x00081140, item(element(0x00080104, "LO", "名".encode()) + sequence(0x00081140, item(b""))))
    + element(0x00280103, "US", b"\x01\x00")
)
TABLE = {"rows": [{"a": "1", "b": "x"}, {"a": "2", "b": None}]}
RAW: dict[str, Callable[[], bytes]] = {
    "hl7v2": lambda: b"MSH|^~\\&|A|B|C|D|1||ADT^A01|1|P|2.5\rPID|1||7\rOBX|1||5\rOBX|2||6\r",
    "json": lambda: b'{"a": {"b": [1, 2.50]}}',
    "jsonl": lambda: b'{"a": 1}\n{"a": 2}\n',
    "xml": lambda: b"<a xmlns='urn:x'><b c='1'>t<!-- n --></b></a>",
    "cda": lambda: b"<ClinicalDocument xmlns='urn:hl7-org:v3'><id root='1'/></ClinicalDocument>",
    "hl7v3": lambda: b"<PRPA_IN201311UV02 xmlns='urn:hl7-org:v3'><id extension='1'/></PRPA_IN201311UV02>",
    "fhir": lambda: b"<Patient xmlns='http://hl7.org/fhir'><active value='true'/></Patient>",
    "dicom": lambda: DICOM,
    "csv": lambda: CODECS["csv"].encode(TABLE),
    "form": lambda: b"a=1&b=2",
    "text": lambda: "文".encode(),
    "binary": lambda: b"\x00\x01",
}
READ = {
    "hl7v2": "OBX[.1=='2']-3",
    "json": "a.b[0]",
    "jsonl": "rows[0].a",
    "xml": "a/b[@c='1']",
    "cda": "ClinicalDocument/id[@root='1']/@root",
    "hl7v3": "*/id/@extension",
    "fhir": "active",
    "dicom": "ReferencedImageSequence[0].CodeMeaning",
    "csv": "rows[0].a",
    "form": "a",
    "text": "text",
    "binary": "'x'",
}


@pytest.mark.parametrize("name", sorted(RAW))
def test_nothing_is_left_to_the_collector(name: str) -> None:
    codec, raw = CODECS[name], RAW[name]()
    read = compile_extract({"value": READ[name]}, name)

    def use() -> Any:
        tree = codec.decode(raw)
        codec.envelope(tree)
        found = read(tree, Context())
        codec.encode(tree)
        return found

    assert use()["value"]  # what is made once, such as tables of names, is made here
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            use()
        assert gc.collect() == 0
    finally:
        gc.enable()
