"""Form data: urlencoded, and multipart with files."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.form_codec import MAX_FIELDS, FormCodec
from hub.codecs.form_multipart import BOUNDARY, MultipartCodec
from hub.errors import CodecError

FORM = FormCodec()
MULTIPART = MultipartCodec()


def refused(codec: FormCodec | MultipartCodec, raw: bytes, encoding: str = "") -> CodecError:
    with pytest.raises(CodecError) as caught:
        codec.decode(raw, encoding=encoding)
    return caught.value


# -- urlencoded ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "tree"),
    [
        (b"", {}),
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"a=1&a=2&b=&a=3", {"a": ["1", "2", "3"], "b": ""}),
        (b"a", {"a": ""}),
        (b"&&a=1&", {"a": "1"}),
        (b"=x", {"": "x"}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a+b=1+2%2B3%26%3D", {"a b": "1 2+3&="}),
        (b"a=%zz%2", {"a": "%zz%2"}),
        (b"%E5%A7%93%E5%90%8D=%E5%BC%A0%E4%B8%89", {"姓名": "张三"}),
        ("姓名=张三".encode(), {"姓名": "张三"}),
    ],
)
def test_reading(raw: bytes, tree: Any) -> None:
    assert FORM.decode(raw) == tree
    assert FORM.encode(FORM.decode(raw)) == raw


def test_another_character_set() -> None:
    raw = b"%D0%D5%C3%FB=%D5%C5%C8%FD"
    assert FORM.decode(raw, encoding="gbk") == {"姓名": "张三"}
    assert FORM.encode({"姓名": "张三"}, encoding="gbk") == raw
    error = refused(FORM, b"a=1&" + raw)
    assert (error.code, error.place, "张" in str(error)) == ("form.charset", "field 2", False)


def test_writing() -> None:
    tree = {"a b": "1+2&", "list": ["x", 1, None], "none": None, "empty": "", "ok": True, "名": "张"}
    assert FORM.encode(tree) == b"a+b=1%2B2%26&list=x&list=1&empty=&ok=true&%E5%90%8D=%E5%BC%A0"
    for wrong, code in (([], "form.tree"), ({"a": {"b": 1}}, "form.value"), ({"a": "\ud800"}, "form.charset")):
        with pytest.raises(CodecError) as caught:
            FORM.encode(wrong)
        assert caught.value.code == code


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
values = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.dictionaries(names, st.one_of(values, st.lists(values, min_size=2, max_size=3)), max_size=4))
def test_what_is_written_is_read(tree: dict[str, Any]) -> None:
    raw = FORM.encode(tree)
    assert FORM.decode(raw) == {name.removeprefix("\ufeff"): value for name, value in tree.items()} or "\ufeff" in str(
        tree
    )
    assert raw.decode() == urlencode(tree, doseq=True)
    assert parse_qsl(raw.decode(), keep_blank_values=True) == [
        (name, item) for name, value in tree.items() for item in (value if isinstance(value, list) else [value])
    ]


def test_too_many_fields() -> None:
    assert refused(FORM, b"&" * MAX_FIELDS).code == "form.fields"
    with pytest.raises(CodecError):
        FORM.encode({"a": ["x"] * (MAX_FIELDS + 1)})


@given(st.binary(max_size=80), st.sampled_from(["", "gbk", "utf-16"]))
def test_any_bytes_are_read_or_refused(raw: bytes, encoding: str) -> None:
    for codec in (FORM, MULTIPART):
        try:
            tree = codec.decode(raw, encoding=encoding)
        except CodecError:
            continue
        assert codec.encode(tree, encoding=encoding) == raw


# -- multipart -------------------------------------------------------------------------------------------------------

GOOD = (
    b"--AaB03x\r\n"
    b'Content-Disposition: form-data; name="patient"\r\n\r\n'
    b"\xe5\xbc\xa0\xe4\xb8\x89\r\n"
    b"--AaB03x\r\n"
    b'content-disposition: form-data; name=report; filename="\xe6\x8a\xa5\xe5\x91\x8a %221%22.pdf"\r\n'
    b"Content-Type: application/pdf\r\n\r\n"
    b"%PDF\r\n--AaB03\r\n\x00\xff\r\n"
    b"--AaB03x \t\r\n"
    b'Content-Disposition: form-data; name="data"\r\n'
    b"Content-Type: application/json\r\n\r\n"
    b'{"a":1}\r\n'
    b"--AaB03x--\r\n"
)


def test_parts() -> None:
    tree = MULTIPART.decode(GOOD)
    assert tree == {
        "patient": "张三",
        "report": {
            "filename": '报告 "1".pdf',
            "content_type": "application/pdf",
            "bytes": b"%PDF\r\n--AaB03\r\n\x00\xff",
        },
        "data": {"content_type": "application/json", "bytes": b'{"a":1}'},
    }
    assert MULTIPART.encode(tree) == GOOD
    written = MULTIPART.encode(dict(tree))
    assert written.startswith(b"--" + BOUNDARY.encode() + b"\r\n")
    assert MULTIPART.decode(written) == tree
    assert f"boundary={BOUNDARY}" in MULTIPART.content_type


def test_repeated_names_and_character_sets() -> None:
    raw = (
        b'--b\r\nContent-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset=gbk\r\n\r\n\xd5\xc5\r\n'
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n--b--'
    )
    assert MULTIPART.decode(raw) == {"a": ["张", ""]}
    plain = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xd5\xc5\r\n--b--'
    assert MULTIPART.decode(plain, encoding="gbk") == {"a": "张"}
    error = refused(MULTIPART, plain)
    assert (error.code, error.place) == ("multipart.charset", "part 1")


def test_nothing_nests() -> None:
    for depth in (1, 50):
        inner = b"x"
        for level in range(depth):
            mark = b"b%d" % level
            inner = (
                b"--" + mark + b'\r\nContent-Disposition: form-data; name="a"\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n'
                + inner + b"\r\n--" + mark + b"--\r\n"
            )  # fmt: skip
        tree = MULTIPART.decode(inner)
        assert list(tree) == ["a"]
        assert isinstance(tree["a"]["bytes"], bytes)


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b"", ""),
        (b"a=1", ""),
        (b"--\r\n", ""),
        (b"--" + b"b" * 71 + b"\r\n", ""),
        (b"--b\r\n", "part 1"),
        (GOOD[:-12], "part 3"),
        (b"--b\r\n\r\nx\r\n--b--", "part 1"),
        (b"--b\r\nno colon\r\n\r\nx\r\n--b--", "part 1"),
        (b"--b\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--b--", "part 1"),
        (b"--b\r\nContent-Disposition: form-data; filename=a\r\n\r\nx\r\n--b--", "part 1"),
        (b'--b\r\nContent-Disposition: form-data; name="a\r\n\r\nx\r\n--b--', "part 1"),
        (
            b"--b\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n--b--",
            "part 1",
        ),
        (b"--b\r\nContent-Disposition: form-data; name=a\r\n" + b"X: y\r\n" * 5000 + b"\r\nx\r\n--b--", "part 1"),
        (b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--bc\r\n\r\n--b--", "part 2"),
    ],
)
def test_what_is_refused(raw: bytes, place: str) -> None:
    error = refused(MULTIPART, raw)
    assert (error.code, error.place) == ("multipart.invalid", place)


def test_limits() -> None:
    assert refused(MULTIPART, b"--b\r\n" + b"\r\n--b" * (MAX_FIELDS + 2)).code == "multipart.fields"
    part = b'\r\n--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx'
    assert len(MULTIPART.decode((part * MAX_FIELDS)[2:] + b"\r\n--b--")["a"]) == MAX_FIELDS


def test_what_can_not_be_written() -> None:
    for tree, code in (
        ([], "multipart.tree"),
        ({"a": {"bytes": "x"}}, "multipart.tree"),
        ({"a": {"filename": 1, "bytes": b"x"}}, "multipart.tree"),
        ({"a": {"content_type": "a\r\nX: y", "bytes": b"x"}}, "multipart.invalid"),
        ({"a": {"bytes": b"--" + BOUNDARY.encode()}}, "multipart.invalid"),
        ({"a": b"x"}, "multipart.value"),
    ):
        with pytest.raises(CodecError) as caught:
            MULTIPART.encode(tree)
        assert caught.value.code == code


files = st.fixed_dictionaries(
    {
        "content_type": st.sampled_from(["application/pdf", "text/plain; charset=utf-8"]),
        "bytes": st.binary(max_size=20),
    },
    optional={"filename": values.filter(lambda name: "%" not in name)},
).filter(lambda file: "filename" in file or file["content_type"] == "application/pdf")


@given(
    st.dictionaries(
        names.filter(lambda name: "%" not in name and name[0] != "\ufeff"), st.one_of(values, files), max_size=4
    )
)
def test_forms_with_files_come_back(tree: dict[str, Any]) -> None:
    expected = {name: value.removeprefix("\ufeff") if isinstance(value, str) else value for name, value in tree.items()}
    assert MULTIPART.decode(MULTIPART.encode(tree)) == expected


def test_damaged_forms_are_read_or_refused() -> None:
    chance = random.Random(1)
    for _ in range(3000):
        data = bytearray(GOOD)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = chance.choice(
                (b"", b'"', b";", b"\r\n", b"\r", b"\0", b"\xff", b"--")
            )
        try:
            tree = MULTIPART.decode(bytes(data))
        except CodecError:
            continue
        assert MULTIPART.encode(tree) == data
