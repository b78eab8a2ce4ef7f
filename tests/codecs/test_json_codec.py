"""JSON in and out: exact numbers, duplicate keys, positions, depth, character sets."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.json_codec import MAX_DEPTH, JsonCodec
from hub.errors import CodecError

CODEC = JsonCodec()


def refused(raw: bytes, **options: str) -> CodecError:
    with pytest.raises(CodecError) as caught:
        CODEC.decode(raw, **options)
    return caught.value


# -- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0", 0),
        ("-7", -7),
        ("9007199254740993", 9007199254740993),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", 2**64),
        ("-9223372036854775809", -(2**63) - 1),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("12.5", 12.5),
        ("0.1", 0.1),
        ("1.0", 1.0),
        ("12.50", Decimal("12.50")),
        ("0.00", Decimal("0.00")),
        ("100.10", Decimal("100.10")),
        ("12345678901234567.89", Decimal("12345678901234567.89")),
        ("0.1234567890123456789", Decimal("0.1234567890123456789")),
        ("0.30000000000000004", 0.30000000000000004),
        ("1e400", Decimal("1e400")),
        ("1e-400", Decimal("1e-400")),
        ("-1.5E+308", Decimal("-1.5E+308")),
        ("5e-324", 5e-324),
    ],
)
@pytest.mark.parametrize("around", ["{}", "[{}]", '{{"a":{}}}', '{{"a" : {} , "b":"1.50"}}', "[1,\n{}\n]", " {}"])
def test_numbers_come_back_as_written(written: str, value: object, around: str) -> None:
    raw = around.format(written).encode()
    tree = CODEC.decode(raw)
    number = tree
    while isinstance(number, dict | list):
        number = number["a"] if isinstance(number, dict) else number[-1]
    assert number == value
    assert type(number) is type(value)
    again = json.loads(CODEC.encode(tree), parse_float=Decimal)
    assert again == json.loads(raw, parse_float=Decimal)


decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**25), max_value=10**25, places=None)


@given(
    st.lists(
        st.one_of(
            decimals.map(lambda d: format(d, "f")),
            st.integers(-(10**40), 10**40).map(str),
            st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([",", ", ", " ,\n"]),
)
def test_no_number_is_damaged(written: list[str], between: str) -> None:
    raw = f'{{"n":[{between.join(written)}],"s":"x"}}'.encode()
    tree = CODEC.decode(raw)
    expected = [Decimal(text) for text in written]
    read = [Decimal(repr(value)) if isinstance(value, float) else Decimal(value) for value in tree["n"]]
    assert read == expected
    again = json.loads(CODEC.encode(tree), parse_float=Decimal, parse_int=Decimal)
    assert again["n"] == expected


def test_scale_of_amounts_is_kept() -> None:
    raw = b'{"total":12.50,"items":[{"price":6.250},{"price":0.10}],"id":12345678901234567890123}'
    assert CODEC.encode(CODEC.decode(raw)) == raw


def test_numbers_beyond_reason_are_refused() -> None:
    assert refused(b"9" * 5000).code == "json.number"
    assert refused(b"[1e99999999999999999999]").code == "json.number"


@pytest.mark.parametrize("raw", [b"NaN", b"[Infinity]", b'{"a":-Infinity}', b"[1e400,NaN]", b"01", b"1.", b".5", b"+1"])
def test_what_is_no_number(raw: bytes) -> None:
    assert refused(raw).code == "json.invalid"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity")])
def test_nan_is_not_written(value: object) -> None:
    for tree in (value, [None, {"a": value}], {"a": [value, Decimal("1.10")]}):
        with pytest.raises(CodecError) as caught:
            CODEC.encode(tree)
        assert caught.value.code == "json.number"


# -- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a" :1,"a":1}',
        b'{"a":1,"\\u0061":1}',
        b'[{"x":{"k":[],"k":{}}}]',
        b'{"\\u003a":1,"\\u003a":1,"":":"}',
        b'{"a":{"b":1},"a":2.50}',
        b'{"a":1,\n "b":2,\n "a":3}',
        '{"名":1,"\\u540d":1}'.encode(),
    ],
)
def test_duplicate_keys_are_refused(raw: bytes) -> None:
    assert refused(raw).code == "json.duplicate_key"


def test_keys_that_may_be_personal_are_not_told() -> None:
    for key in ("13800138000", "110101199001011234", "张三", "a@b.cn", "Zhang San", "k" * 60):
        error = refused(json.dumps({key: 1}).encode()[:-1] + b"," + json.dumps(key).encode() + b":2}")
        assert key not in str(error)
    assert "waybill_no" in str(refused(b'{"waybill_no":1,"waybill_no":2}'))


def test_equal_keys_of_different_objects_are_fine() -> None:
    raw = b'[{"a":{"a":1}},{"a":":","b":"a:b\\"a\\":"}]'
    assert CODEC.encode(CODEC.decode(raw)) == raw


def objects(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    keys = st.sampled_from(['"a"', '"b"', '"\\u0061"', '":"', '"\\u003a"', '"c\\""', '"名"', '"\\u540d"'])
    colons = st.sampled_from([":", " :", ": "])
    pairs = st.tuples(keys, colons, inner).map("".join)
    return st.lists(pairs, max_size=4).map(lambda found: "{" + ",".join(found) + "}")


@given(st.recursive(st.sampled_from(["1", '"a:"', "1.50"]), objects, max_leaves=8))
def test_duplicate_keys_are_found_wherever_they_are(raw: str) -> None:
    duplicate = False

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal duplicate
        duplicate = duplicate or len(dict(pairs)) != len(pairs)
        return dict(pairs)

    expected = json.loads(raw, object_pairs_hook=look, parse_float=Decimal)
    if duplicate:
        assert refused(raw.encode()).code == "json.duplicate_key"
    else:
        assert CODEC.decode(raw.encode()) == expected


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b"", "line 1 column 1"),
        (b"{", "line 1 column 2"),
        (b'{"a":1,\n "b":x}', "line 2 column 6"),
        ('{"姓名":"张三",\n"b":?}'.encode(), "line 2 column 5"),
        (b"[1,2", "line 1 column 5"),
        (b"[1e400,\n ?]", "line 2 column 2"),
    ],
)
def test_place_of_an_error(raw: bytes, place: str) -> None:
    error = refused(raw)
    assert (error.code, error.place) == ("json.invalid", place)
    assert "张三" not in str(error)


def test_halves_of_characters_are_refused() -> None:
    for raw in (b'"\\ud800"', b'["\\udfff",1.50]', b'["\\ud800",1e400]', b'{"\\ud800":1e400}'):
        assert refused(raw).code in ("json.invalid", "json.type")
    with pytest.raises(CodecError):
        CODEC.encode({"a": "\ud800"})
    assert CODEC.decode(b'["\\ud83d\\ude00",1.50]') == ["😀", Decimal("1.50")]


@pytest.mark.parametrize("number", ["1", "1.50", "1e400"])
@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
def test_depth(start: str, end: str, number: str) -> None:
    deepest = (start * MAX_DEPTH + number + end * MAX_DEPTH).encode()
    assert json.loads(CODEC.encode(CODEC.decode(deepest)), parse_float=Decimal) == json.loads(
        deepest, parse_float=Decimal
    )
    for depth in (MAX_DEPTH + 1, 1000, 1100, 100_000):
        raw = (start * depth + number + end * depth).encode()
        assert refused(raw).code == "json.depth"


def test_depth_in_writing() -> None:
    for leaf in (1, Decimal("1.50")):
        tree: Any = leaf
        for _ in range(MAX_DEPTH + 1):
            tree = [tree]
        with pytest.raises(CodecError) as caught:
            CODEC.encode(tree)
        assert caught.value.code == "json.depth"


@pytest.mark.parametrize("value", [{1: "a"}, {"a": object()}, {"a": b"x"}, {"a": {1, 2}}])
def test_what_is_not_json_is_not_written(value: object) -> None:
    with pytest.raises(CodecError) as caught:
        CODEC.encode(value)
    assert caught.value.code in ("json.key", "json.type")


# -- character sets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["gbk", "gb18030", "utf-16", "utf-16-le", "utf-8", "UTF-8", "utf8", ""])
def test_character_sets(encoding: str) -> None:
    text = '{"姓名":"张三","金额":12.50}'
    raw = text.encode(encoding or "utf-8")
    tree = CODEC.decode(raw, encoding=encoding)
    assert tree == {"姓名": "张三", "金额": Decimal("12.50")}
    assert CODEC.encode(tree, encoding=encoding) == raw


def test_a_byte_order_mark_is_not_part_of_it() -> None:
    assert CODEC.decode(b'\xef\xbb\xbf{"a":1}') == {"a": 1}
    assert CODEC.decode('\ufeff{"a":1}'.encode("utf-16-le"), encoding="utf-16-le") == {"a": 1}


def test_wrong_character_sets() -> None:
    raw = '{"姓名":1}'.encode("gbk")
    error = refused(raw)
    assert (error.code, error.place) == ("json.charset", "byte 2")
    assert error.remedy
    assert refused(b'"\x80"', encoding="gbk").code == "json.charset"
    for name in ("no such", "hex"):
        assert refused(b"{}", encoding=name).code == "json.charset"
        with pytest.raises(CodecError):
            CODEC.encode({}, encoding=name)
    with pytest.raises(CodecError) as caught:
        CODEC.encode({"a": "张"}, encoding="latin-1")
    assert caught.value.code == "json.charset"


# -- properties ------------------------------------------------------------------------------------------------------

trees = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**30), 10**30),
        st.floats(allow_nan=False, allow_infinity=False),
        decimals,
        st.text(st.characters(exclude_categories=["Cs"])),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=5),
    ),
    max_leaves=20,
)


@given(trees)
def test_what_is_written_is_read(tree: Any) -> None:
    raw = CODEC.encode(tree)
    assert equal(CODEC.decode(raw), tree)
    for style in ({"ensure_ascii": True}, {"ensure_ascii": False, "indent": 2}):
        assert equal(CODEC.decode(json.dumps(plain(tree), **style).encode()), plain(tree))


def plain(tree: Any) -> Any:
    """Without what the standard library can't write."""
    if isinstance(tree, Decimal):
        return str(tree)
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    return [plain(value) for value in tree] if isinstance(tree, list) else tree


def equal(one: Any, other: Any) -> bool:
    """Numbers by value, whichever type holds them; all else by type as well."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    numbers = (int, float, Decimal)
    if isinstance(one, numbers) and isinstance(other, numbers) and bool not in (type(one), type(other)):
        return Decimal(repr(one) if isinstance(one, float) else one) == Decimal(
            repr(other) if isinstance(other, float) else other
        )
    return type(one) is type(other) and bool(one == other)


@given(st.binary(max_size=80), st.sampled_from(["", "gbk", "utf-16", "latin-1"]))
def test_any_bytes_are_read_or_refused(raw: bytes, encoding: str) -> None:
    try:
        tree = CODEC.decode(raw, encoding=encoding)
    except CodecError:
        return
    CODEC.encode(tree)


def test_damaged_documents_are_read_or_refused() -> None:
    chance = random.Random(1)
    good = json.dumps(
        {"a": [1, 2.5, "张三", None, True, {"b": "12.50", "c": 1e22}], "d": 12345678901234567890}
    ).encode()
    for _ in range(5000):
        data = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = chance.choice(
                (b"", b'"', b",", b"{", b"]", b"\\u00", b"9", b"e", b"\xff")
            )
        try:
            tree = CODEC.decode(bytes(data))
        except CodecError:
            continue
        assert json.loads(CODEC.encode(tree), parse_float=Decimal) == json.loads(data, parse_float=Decimal)
