"""Payloads inside payloads: what functions unpack, pack, parse and write, and where they stop."""

from __future__ import annotations

import base64
import gzip
import io
import json
import random
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import MappingError
from hub.mapping import Context, compile_expression

if TYPE_CHECKING:
    from conftest import Folder

ORDER = {"order": {"id": "007", "items": [{"code": "A"}, {"code": "B"}]}}
PACKED = base64.b64encode(gzip.compress(json.dumps(ORDER).encode())).decode()


def call(text: str, **values: Any) -> Any:
    return compile_expression(text, "json")(values, Context())


def failed(text: str, **values: Any) -> MappingError:
    with pytest.raises(MappingError) as caught:
        call(text, **values)
    return caught.value


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return out.getvalue()


# -- what they give ----------------------------------------------------------------------------------------------------


def test_a_payload_in_a_payload_in_a_payload() -> None:
    assert call("(p | unbase64 | gunzip | parse('json')).order.items[1].code", p=PACKED) == "B"
    text = call("t | format('json') | gzip | base64", t=ORDER)
    assert json.loads(gzip.decompress(base64.b64decode(text))) == ORDER


def test_in_a_mapping(folder: Folder) -> None:
    text = (
        "vars:\n  inner: body | unbase64 | gunzip | parse('json')\n"
        "fields:\n  id: $inner.order.id\n  whole: $inner\n  csv: $inner.order.items | format('csv')\n"
    )
    assert folder.run(text, {"body": PACKED}) == {"id": "007", "whole": ORDER, "csv": "code\r\nA\r\nB\r\n"}


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("parse(x, 'json')", {"x": '{"a":[1,"张"]}'}, {"a": [1, "张"]}),
        ("parse(x, 'json')", {"x": b'{"a":1}'}, {"a": 1}),
        ("parse(x, 'json', 'gbk')", {"x": '{"a":"张"}'.encode("gbk")}, {"a": "张"}),
        ("parse(x, 'csv').rows[0].a", {"x": "a;b\n1;2\n"}, "1"),
        ("parse(x, 'csv').rows[0].a", {"x": "a;b\n张;2\n".encode("gbk")}, "张"),
        ("parse(x, 'form')", {"x": "a=1&b=%E5%BC%A0"}, {"a": "1", "b": "张"}),
        ("parse(x, 'jsonl').rows[1]", {"x": "1\n2\n"}, 2),
        ("parse(x, 'text')", {"x": "a"}, {"text": "a"}),
        ("parse(x, 'json')", {"x": None}, None),
        ("parse(x, 'json')", {"x": ""}, None),
        ("parse(x, codec)", {"x": "1", "codec": "json"}, 1),
        ("format(x, 'json')", {"x": {"a": "张"}}, '{"a":"张"}'),
        ("format(x, 'json', 'gbk')", {"x": {"a": "张"}}, '{"a":"张"}'.encode("gbk")),
        ("format(x, 'csv')", {"x": [{"a": "1"}]}, "a\r\n1\r\n"),
        ("format(x, 'form')", {"x": {"a": "1 2"}}, "a=1+2"),
        ("format(x, 'json')", {"x": None}, None),
        ("format(x, 'binary')", {"x": {"bytes": b"\xff"}}, b"\xff"),
        ("parse(format(x, 'excel'), 'excel').rows", {"x": [{"a": "01"}]}, [{"a": "01"}]),
        ("parse(format(x, 'multipart'), 'multipart')", {"x": {"a": "1"}}, {"a": "1"}),
        ("decode(x)", {"x": "张三".encode("gbk")}, "张三"),
        ("decode(x, 'latin-1')", {"x": b"\xe9"}, "é"),
        ("decode(x)", {"x": b""}, ""),
        ("decode(x)", {"x": None}, None),
        ("encode(x)", {"x": "张"}, "张".encode()),
        ("encode(x, 'gbk')", {"x": "张"}, "张".encode("gbk")),
        ("encode(x)", {"x": None}, None),
        ("base64(x)", {"x": b"\xff\x00"}, "/wA="),
        ("base64(x)", {"x": "张"}, "5byg"),
        ("base64(x)", {"x": 12}, "MTI="),
        ("base64(x)", {"x": None}, None),
        ("unbase64(x)", {"x": " /w\r\nA= "}, b"\xff\x00"),
        ("unbase64(x)", {"x": "_wA"}, b"\xff\x00"),
        ("unbase64(x)", {"x": ""}, None),
        ("inflate(x)", {"x": zlib.compress(b"abc")}, b"abc"),
        ("inflate(x)", {"x": zlib.compress(b"abc")[2:-4]}, b"abc"),
        ("inflate(deflate(x))", {"x": "张"}, "张".encode()),
        ("gunzip(gzip(x))", {"x": b""}, b""),
        ("gunzip(x)", {"x": None}, None),
        ("unzip(zip(x, '报告.xml'), '*.xml')", {"x": "<a/>"}, b"<a/>"),
        ("unzip(x)", {"x": zipped({"d/": b"", "a.txt": b"1", "b.xml": b"2"})}, b"1"),
        ("unzip(x, '*.xml')", {"x": zipped({"a.txt": b"1", "b.xml": b"2"})}, b"2"),
        ("unzip(x, 'b.xml')", {"x": zipped({"a.txt": b"1", "b.xml": b"2"})}, b"2"),
        ("unzip(x, 'c.xml')", {"x": zipped({"a.txt": b"1"})}, None),
        ("unzip(x)", {"x": None}, None),
        ("zip(x, 'a')", {"x": None}, None),
    ],
)
def test_what_they_give(text: str, values: dict[str, Any], expected: Any) -> None:
    found = call(text, **values)
    assert found == expected
    assert type(found) is type(expected)


def test_the_same_gives_the_same_bytes() -> None:
    for text in ("gzip(x)", "deflate(x)", "zip(x, 'a')", "format(x | parse('json'), 'excel')"):
        value = '[{"a":"1"}]'
        assert call(text, x=value) == call(text, x=value)


@given(st.binary(max_size=200))
def test_what_is_packed_is_unpacked(data: bytes) -> None:
    assert call("x | gzip | base64 | unbase64 | gunzip", x=data) == data
    assert call("x | deflate | inflate", x=data) == data
    assert call("x | zip('a') | unzip('a')", x=data) == data


# -- what they refuse --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ("parse(x, 'json')", {"x": '{"a":\n 张三}'}, "parse json: line 2 column 2: not JSON"),
        ("parse(x, 'csv')", {"x": "a,b\n1\n"}, "parse csv: line 2: 1 values for 2 columns"),
        ("parse(x, 'json')", {"x": {"a": 1}}, "parse works on text, this is a object"),
        ("parse(x, 'json')", {"x": "\ud800"}, "parse: half a character"),
        ("parse(x, codec)", {"x": "1", "codec": "dicom"}, "'dicom' is no codec that can be used here"),
        ("parse(x, 'json', 'no such')", {"x": b"1"}, "unknown character set no such"),
        ("format(x, 'csv')", {"x": {"a": 1}}, "format csv: there is no list of rows"),
        ("format(x, 'json')", {"x": {"a": b"1"}}, "format json: a value of type bytes"),
        ("decode(x)", {"x": "text"}, "decode works on bytes, this is a text"),
        ("decode(x)", {"x": b"\xff\xff\xff"}, "decode: byte 0"),
        ("encode(x, 'gbk')", {"x": "㐀"}, "encode: line 1: a character can't be written in gbk"),
        ("unbase64(x)", {"x": "a"}, "unbase64: not base 64"),
        ("unbase64(x)", {"x": "张三"}, "unbase64: not base 64"),
        ("unbase64(x)", {"x": "ab=c"}, "unbase64: not base 64"),
        ("gunzip(x)", {"x": b"abc"}, "gunzip: not packed data of this kind"),
        ("gunzip(x)", {"x": gzip.compress(b"abc")[:-3]}, "gunzip: the end of the packed data is missing"),
        ("gunzip(x)", {"x": "H4sI"}, "gunzip works on bytes, this is a text"),
        ("inflate(x)", {"x": b""}, "inflate: the end of the packed data is missing"),
        ("unzip(x)", {"x": b"PK"}, "unzip: not a zip archive"),
        ("zip(x, '')", {"x": "a"}, "zip: not a name of a file"),
        ("zip(x, name)", {"x": "a", "name": "\0"}, "zip: not a name of a file"),
    ],
)
def test_what_they_refuse(text: str, values: dict[str, Any], message: str) -> None:
    error = failed(text, **values)
    assert message in str(error)
    assert "张三" not in str(error)


def test_a_codec_that_does_not_fit_is_found_when_compiling() -> None:
    for text, remedy in (
        ("parse(x, 'jsno')", "did you mean 'json'?"),
        ("x | format('dicom')", "known: "),
        ("parse(x, 'fixed')", "known: "),
    ):
        with pytest.raises(MappingError) as caught:
            compile_expression(text, "json")
        assert remedy in caught.value.remedy


# -- limits ------------------------------------------------------------------------------------------------------------


def test_bombs() -> None:
    zeros = b"\0" * (30 << 20)
    for text, value in (
        ("gunzip(x)", gzip.compress(zeros)),
        ("inflate(x)", zlib.compress(zeros)),
        ("unzip(x)", zipped({"a": zeros})),
        ("unzip(x)", zipped({str(number): b"" for number in range(2001)})),
    ):
        assert failed(text, x=value).reason
    deep = "[" * 100_000
    assert "nested deeper" in failed("parse(x, 'json')", x=deep).reason


def test_a_run_has_a_budget(folder: Folder) -> None:
    packed = gzip.compress(random.Random(1).randbytes(1 << 20))
    text = "fields: {all: {each: items, expr: $big | gunzip | base64 | length}}\n"
    mapping = folder.mapping("vars: {big: big | unbase64}\n" + text)
    tree = {"big": base64.b64encode(packed).decode()}
    assert mapping.run({**tree, "items": [1]}, Context()) == [{"all": [1_398_104]}]
    with pytest.raises(MappingError) as caught:
        mapping.run({**tree, "items": list(range(50))}, Context())
    assert "permitted number of nodes" in str(caught.value)


@given(
    st.binary(max_size=60),
    st.sampled_from(["gunzip", "inflate", "unzip", "decode", "parse('json')", "parse('csv')", "parse('excel')"]),
)
def test_any_bytes_are_taken_or_refused(data: bytes, function: str) -> None:
    try:
        call(f"x | {function}", x=data)
    except MappingError:
        return
