"""Pseudonyms: valid, consistent, different from what they stand for, one to one."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import HubError
from hub.masking import is_id_number, luhn
from hub.privacy import Policy, Pseudonyms, load_policy, rewrite_message
from hub.privacy.normal import check_character, normalised

P = Pseudonyms(b"0123456789abcdef0123456789abcdef")
CLASSES = load_policy().classes


def make(kind: str, value: str, **more: str) -> str:
    return P.of(CLASSES[kind], value, **more)


births = st.dates(datetime.date(1920, 1, 1), datetime.date(2024, 12, 31)).map(lambda d: d.strftime("%Y%m%d"))


@st.composite
def id_numbers(draw: st.DrawFn) -> str:
    body = f"{draw(st.integers(110101, 659001))}{draw(births)}{draw(st.integers(0, 999)):03d}"
    return body + check_character(body)


@settings(max_examples=200, deadline=None)
@given(number=id_numbers())
def test_citizen_numbers(number: str) -> None:
    made = make("id_number", number)
    assert made != number
    assert is_id_number(made)
    assert made[:6] == number[:6]
    assert int(made[16]) % 2 == int(number[16]) % 2
    # The date inside moves as the date of birth beside it does.
    assert made[6:14] == make("birth_date", number[6:14])
    assert made == make("id_number", number.lower())


@settings(max_examples=200, deadline=None)
@given(digits=st.text("0123456789", min_size=2, max_size=24))
def test_numbers_stay_apart(digits: str) -> None:
    made = make("patient_number", digits)
    assert made != digits
    assert len(made) == len(digits)
    assert made.isdigit()


@pytest.mark.parametrize("size", [2, 3, 4])
def test_different_numbers_have_different_pseudonyms(size: int) -> None:
    every = [f"{n:0{size}d}" for n in range(10**size)]
    made = {P._feistel("x", one) for one in every}
    # Where a number would stand for itself another takes its place, which costs one to one for a handful at most.
    assert len(made) >= len(every) - 5


@settings(max_examples=100, deadline=None)
@given(number=st.integers(10**8, 10**9 - 1), prefix=st.sampled_from(["138", "+86 139", "86158"]))
def test_phones(number: int, prefix: str) -> None:
    value = f"{prefix}{number % 10**8:08d}"
    made = make("phone", value)
    assert made != value
    assert made.startswith(prefix)
    assert len(made) == len(value)


def test_the_same_phone_however_it_is_written() -> None:
    assert make("phone", "+8613812345678")[-11:] == make("phone", "13812345678")
    assert make("phone", "138-1234-5678").replace("-", "") == make("phone", "13812345678")
    assert make("phone", "0739-5312345").startswith("0739-")


def test_cards_are_valid_again() -> None:
    made = make("bank_card", "6228480402564890018")
    assert made.startswith("622848")
    assert luhn(made)
    assert made != "6228480402564890018"


def test_names() -> None:
    whole = make("name", "张三丰")
    assert whole == make("name", "张", part="family") + make("name", "三丰", part="given")
    assert len(whole) == 3
    assert not set(whole) & set("张三丰")
    assert make("name", "ZHANG SAN").isupper()
    assert make("name", "Zhang San").istitle()


def test_dates_keep_their_form_and_distance() -> None:
    moved = [
        make("event_date", one, person="19491231")
        for one in ("2026-11-28", "20261130080000", "2026-12-01T08:00:00+08:00")
    ]
    assert moved[1].endswith("080000")
    assert moved[2].endswith("T08:00:00+08:00")
    days = [datetime.date.fromisoformat(m[:10] if "-" in m[:10] else f"{m[:4]}-{m[4:6]}-{m[6:8]}") for m in moved]
    assert [(day - days[0]).days for day in days] == [0, 2, 3]
    assert days[0] != datetime.date(2026, 11, 28)
    assert make("event_date", "202611", person="x") == "202611"
    assert make("event_date", "99999999", person="x") == "99999999"


def test_ages_stay(policy: Policy) -> None:
    raw = (
        "MSH|^~\\&|A|B|C|D|1||ADT^A01|1|P|2.5\rEVN||20261128\rPID|||P77||张三丰||19491231\rPV1||I|"
        + "|" * 41
        + "20261120"
    )
    made = rewrite_message(policy, "hl7v2", raw.encode(), policy.view("test"), P).decode().split("\r")

    def day(text: str) -> datetime.date:
        return datetime.datetime.strptime(text[:8], "%Y%m%d").date()

    birth, event = day(made[2].split("|")[7]), day(made[1].split("|")[2])
    assert event - birth == datetime.date(2026, 11, 28) - datetime.date(1949, 12, 31)
    assert birth != datetime.date(1949, 12, 31)


def test_another_key_gives_others() -> None:
    other = Pseudonyms(b"x" * 32)
    assert other.of(CLASSES["phone"], "13812345678") != make("phone", "13812345678")
    assert repr(other) == "Pseudonyms(***)"
    with pytest.raises(HubError):
        Pseudonyms(b"short")


@pytest.mark.parametrize("codec", ["dicom", "excel", "binary", "multipart"])
def test_what_cannot_be_made_safe_is_refused(policy: Policy, codec: str) -> None:
    with pytest.raises(HubError) as caught:
        rewrite_message(policy, codec, b"\x00\x01", policy.view("test"), P)
    assert caught.value.code == "privacy.rewrite"
    with pytest.raises(HubError):
        rewrite_message(policy, "hl7v2", b"no message", policy.view("test"), P)
    with pytest.raises(HubError):
        rewrite_message(policy, "json", b"{", policy.view("test"), P)


@pytest.mark.parametrize(
    ("how", "one", "other"),
    [
        ("id_number", "110105491231002", "11010519491231002X"),
        ("id_number", "11010519491231002x ", "11010519491231002X"),
        ("phone", "+86 138-1234-5678", "13812345678"),
        ("phone", "0086 13812345678", "13812345678"),
        ("phone", "8613812345678", "13812345678"),
        ("name", "欧阳 小 明", "欧阳小明"),
        ("name", "Zhang San", "zhangsan"),
        ("number", "yb 123", "YB123"),
    ],
)
def test_one_form_for_search(how: str, one: str, other: str) -> None:
    assert normalised(one, how) == normalised(other, how)
