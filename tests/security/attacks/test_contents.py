"""What stands in a message: entities, bombs, depth, control characters; by every door of the hub."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from typing import Any

import pytest

from hub.codecs.registry import builtin_codecs
from hub.errors import HubError
from tests.security.attacks.fortress import ID_CARD, PATIENT, Fortress, hl7

CODECS = {codec.name: codec for codec in builtin_codecs()}
DOCTYPE = '<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/passwd">]><r>&e;</r>'
LAUGHS = (
    '<!DOCTYPE r [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]><r>&j;</r>"
)
XML = {
    "external entity": DOCTYPE,
    "entity bomb": LAUGHS,
    "parameter entity": '<!DOCTYPE r [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x"> %p;]><r/>',
    "external dtd": '<!DOCTYPE r SYSTEM "http://127.0.0.1:9/x.dtd"><r/>',
    "utf-16 doctype": DOCTYPE.encode("utf-16"),
    "utf-7 doctype": '<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE r []><r/>',
    "depth": "<a>" * 50_000 + "</a>" * 50_000,
    "attributes": "<r " + " ".join(f'a{n}="1"' for n in range(50_000)) + "/>",
    "instruction": '<?xml-stylesheet href="file:///etc/passwd"?><r>',
}


def enveloped(text: str | bytes) -> bytes:
    raw = text if isinstance(text, bytes) else text.encode()
    if raw.startswith((b"<!DOCTYPE", b"<?xml")):
        return raw
    return b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>' + raw + b"</s:Body></s:Envelope>"


@pytest.mark.parametrize("name", XML)
@pytest.mark.parametrize("door", ["xml", "soap"])
def test_xml_that_reaches_out_or_blows_up_is_refused(fort: Fortress, door: str, name: str) -> None:
    text = XML[name]
    body = enveloped(text) if door == "soap" else text if isinstance(text, bytes) else text.encode()
    before = len(fort.messages())
    answer = fort.http(door, body, headers={"Content-Type": "text/xml; charset=utf-8"})
    assert 400 <= answer.status < 600
    assert b"root:" not in answer.body
    assert len(fort.messages()) == before
    fort.refused_at(f"fort/{door}")


@pytest.mark.parametrize(
    "coding", ["gzip", "deflate", "gzip, gzip", "gzip, gzip, gzip, gzip, gzip", "br", "zstd", "bogus"]
)
def test_a_bomb_in_the_content_coding_is_refused(fort: Fortress, coding: str) -> None:
    body = b'{"type":"t","id":"bomb","x":"' + b"0" * (64 << 20) + b'"}'
    for part in coding.split(", "):
        body = zlib.compress(body) if part == "deflate" else gzip.compress(body, 6)
    answer = fort.http("json", body, headers={"Content-Encoding": coding})
    assert answer.status in (400, 413, 415)
    assert not [row for row in fort.messages() if row["control_id"] == "bomb"]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
        b'{"type":"t","id":"' + b"9" * 5000 + b'"}',
        b'{"type":"t","id":NaN}',
        b'{"type":"t","id":"\\ud800"}',
        b'{"type":"t","id":"\xff\xfe"}',
        b"\x00" * 1000,
        b'{"type":"t","id":"x"} trailing',
        b"",
    ],
)
def test_json_that_is_none(fort: Fortress, body: bytes) -> None:
    before = len(fort.messages())
    assert 400 <= fort.http("json", body).status < 500
    assert len(fort.messages()) == before
    if body:  # an empty frame is a sign of life
        assert b"OK" not in fort.tcp(body[:60_000])


#: Something that nests, and something cut off or repeated, for each format.
DEEP: dict[str, list[bytes]] = {
    "json": [b"[" * 100_000, b'{"a":' * 100_000],
    "jsonl": [b"[" * 100_000 + b"\n", b'{"a":' * 100_000],
    "xml": [b"<a>" * 100_000, LAUGHS.encode()],
    "hl7v3": [b"<a>" * 100_000],
    "fhir": [
        b'{"resourceType":"Bundle","entry":[{"resource":' * 20_000,
        b'{"resourceType":"Patient","extension":[' * 20_000,
    ],
    "hl7v2": [b"MSH|^~\\&|" + b"^&~" * 100_000, b"MSH|^~\\&|\r" + b"\r" * 100_000, b"MSH" * 10_000],
    "astm": [b"H|\\^&|" + b"\\^&" * 100_000 + b"\r"],
    "csv": [b'"' * 100_000, b"," * 100_000],
    "fixed": [b"x" * 100_000],
    "form": [b"a=1&" * 100_000, b"[" * 100_000 + b"=1"],
    "multipart": [b"--" * 100_000, b"--x\r\n" * 50_000],
    "dicom": [
        b"\x00" * 128 + b"DICM" + b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000
    ],
    "excel": [b"PK\x03\x04" * 20_000],
    "text": [b"\xff" * 1000],
    "bytes": [],
}


@pytest.mark.parametrize("name", sorted(CODECS))
def test_every_codec_answers_depth_with_an_error_of_its_own(name: str) -> None:
    codec = CODECS[name]
    samples = [*DEEP.get(name, []), *(raw for raws in DEEP.values() for raw in raws), b"", b"\x00", b"\xff" * 100]
    for raw in samples:
        try:
            codec.decode(raw[: 1 << 20])
        except HubError:
            continue


def zip_bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook>" + " " * (300 << 20))
    return out.getvalue()


def test_a_workbook_that_unpacks_to_more_than_anybody_needs_is_refused() -> None:
    with pytest.raises(HubError):
        CODECS["excel"].decode(zip_bomb())


CRLF = "x\r\nERROR forged line\r\n\x1b[2J\x1b]0;owned\x07\u202e\u2028"


@pytest.mark.parametrize("door", ["header", "path", "json", "hl7", "tcp"])
def test_what_callers_write_forges_no_log_line_and_steers_no_terminal(fort: Fortress, door: str) -> None:
    if door == "header":
        text = CRLF.replace("\r\n", "\t").encode("utf-8").decode("latin-1")
        fort.http("json", b"{", headers={"User-Agent": text, "X-Request-Id": text, "Idempotency-Key": text})
    elif door == "path":
        fort.http("json", b"{}", path="/json/%0d%0aERROR%20forged%20line%1b%5b2J")
    elif door == "json":
        import json

        body = json.dumps({"type": CRLF, "id": CRLF, "id_number": CRLF}).encode()
        fort.http("json", body)
        fort.http("json", body[:-1])
    elif door == "hl7":
        fort.mllp(hl7("N1\x1b[2J\nERROR forged line", name="\x1b]0;owned\x07"))
        fort.mllp(b"ERROR forged line\x1b[2J")
    else:
        fort.tcp(b'{"type":"\x1b[2J"')
    log = fort.log
    assert "\x1b" not in log
    assert not [line for line in log.splitlines() if line.startswith("ERROR forged")]
    from typer.testing import CliRunner

    from hub.cli.app import app

    config = str(fort.folder / "config" / "hub.yaml")
    for command in (["messages", "--limit", "50"], ["calls", "--limit", "50"]):
        shown = CliRunner().invoke(app, [*command, "--config", config])
        assert shown.exit_code == 0, shown.output
        assert "\x1b[2J" not in shown.output
        assert "\x1b]0" not in shown.output
        assert "\u202e" not in shown.output
        assert not [line for line in shown.output.splitlines() if line.startswith("ERROR forged")]


def test_personal_data_in_what_is_refused_does_not_get_into_the_log(fort: Fortress) -> None:
    body: Any = f'{{"type":"t","name":"{PATIENT}","id_number":"{ID_CARD}"'.encode()
    assert fort.http("json", body, path=f"/json?id={ID_CARD}").status >= 400
    assert ID_CARD.encode() not in fort.http("json", body).body
    fort.mllp(b"PID|1||" + ID_CARD.encode() + b"||" + PATIENT.encode())
    fort.tcp(body)
