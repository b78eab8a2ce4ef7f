"""hub.masking: what must never be readable is not readable, what is harmless stays as it is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.masking import SECRET, is_id_number, key_digest, luhn, mask, mask_text

WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def id_number(region: int, year: int, month: int, day: int, serial: int) -> str:
    """A citizen number with its check character, worked out here on its own (GB 11643: ISO 7064 MOD 11-2)."""
    body = f"{region:06}{year:04}{month:02}{day:02}{serial:03}"
    rest = (12 - sum(w * int(d) for w, d in zip(WEIGHTS, body, strict=True)) % 11) % 11
    return body + ("X" if rest == 10 else str(rest))


def card_number(body: str) -> str:
    """The body with its Luhn digit."""
    total = sum(sum(divmod(int(d) * (2 if i % 2 == 0 else 1), 10)) for i, d in enumerate(reversed(body)))
    return body + str(-total % 10)


id_numbers = st.builds(
    id_number,
    st.integers(110000, 659999),
    st.integers(1900, 2026),
    st.integers(1, 12),
    st.integers(1, 28),
    st.integers(0, 999),
)
phones = st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True)
cards = st.from_regex(r"62[0-9]{13,16}|4[0-9]{14}", fullmatch=True).map(card_number)
words = st.text(st.sampled_from("abc XYZ,.;()张的，。\n\t"), max_size=30)


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("", ""),
        ("x", "*"),
        ("ab", "**"),
        ("abc", "a**"),
        ("abcdef", "a****f"),
        ("ABCDEFGH", "AB****GH"),
        ("张", "*"),
        ("张三", "张*"),
        ("张三丰", "张*丰"),
        ("欧阳娜娜", "欧**娜"),
        ("阿布都·热西提", "阿*****提"),
        ("11010519491231002X", "110***********002X"),
        ("130503670401001", "130********1001"),
        ("13812345678", "138****5678"),
        ("zhang.san@example.com", "z***@example.com"),
        ("a\nb\x1bcdef\r", "a?*****f?"),
    ],
)
def test_mask_keeps_the_shape(value: str, masked: str) -> None:
    assert mask(value) == masked


def test_mask_shortens_long_values_and_tells_their_length() -> None:
    assert mask("x" * 5000) == "xxx***xxxx (5000)"


@given(st.text(min_size=2, max_size=300).filter(lambda v: "@" not in v))
def test_mask_shows_at_most_half_and_no_control_characters(value: str) -> None:
    shown = mask(value)
    assert shown.isprintable()
    most = 2 if len(value) == 3 else len(value) / 2  # 张三丰 is 张*丰
    assert sum(c != "*" for c in shown.split(" (")[0]) <= most


def test_published_id_numbers() -> None:
    # The examples of GB 11643-1999: a woman and a man of Beijing and Guangzhou.
    assert is_id_number("11010519491231002X")
    assert is_id_number("11010519491231002x")
    assert is_id_number("440524188001010014")
    assert is_id_number("130503670401001")
    assert not is_id_number("110105194912310021")
    assert not is_id_number("11010519491331002X")
    assert not is_id_number("130503671301001")
    assert not is_id_number("1101051949123100２X")
    assert not is_id_number("")


@given(id_numbers, st.integers(0, 17), st.integers(1, 9))
def test_every_id_number_is_recognised_and_one_wrong_digit_is_noticed(number: str, place: int, shift: int) -> None:
    assert is_id_number(number)
    digit = number[place]
    if digit.isdigit():
        wrong = number[:place] + str((int(digit) + shift) % 10) + number[place + 1 :]
        assert not is_id_number(wrong)


def test_luhn_vectors() -> None:
    # Test card numbers payment companies publish.
    assert all(luhn(n) for n in ("4111111111111111", "5555555555554444", "378282246310005", "6200000000000005"))
    assert not luhn("4111111111111112")


def test_a_card_number_before_an_x_is_no_citizen_number() -> None:
    assert mask_text("62000000000000000X") == "6200*********0000X"
    assert mask_text("11010519491231002X") == "110***********002X"


@given(words, st.one_of(id_numbers, phones, cards), words)
def test_numbers_are_masked_wherever_they_stand(before: str, number: str, after: str) -> None:
    masked = mask_text(before + number + after)
    assert number not in masked
    assert masked.count("*") >= len(number) // 3
    assert len(masked) == len(before + number + after)


@given(words, phones, st.sampled_from("- "), words)
def test_grouped_phones_are_masked(before: str, phone: str, gap: str, after: str) -> None:
    grouped = gap.join((phone[:3], phone[3:7], phone[7:]))
    assert mask_text(before + grouped + after) == before + gap.join((phone[:3], "****", phone[7:])) + after


@given(words, cards.filter(lambda c: len(c) == 16), st.sampled_from("- "))
def test_grouped_cards_are_masked(before: str, card: str, gap: str) -> None:
    groups = [card[i : i + 4] for i in range(0, 16, 4)]
    assert mask_text(before + gap.join(groups)) == before + gap.join((groups[0], "****", "****", groups[3]))


@given(words, id_numbers, st.sampled_from("- "))
def test_grouped_id_numbers_are_masked(before: str, number: str, gap: str) -> None:
    masked = mask_text(before + gap.join((number[:6], number[6:14], number[14:])))
    assert masked == before + gap.join((number[:3] + "***", "********", number[14:]))


@pytest.mark.parametrize("prefix", ["+86", "86", "0086", "+86 ", "+86-", "tel.", "电话", "tel:"])
def test_phone_prefixes(prefix: str) -> None:
    assert mask_text(prefix + "13812345678") == prefix + "138****5678"


LABELS = re.findall(
    r"\S+",
    """password passwd pwd passphrase secret client_secret token access_token api_key apikey api-key access_key secretKey
    private_key sign_key encryption_key signature credential credentials session_id sessionid session-id
    PASSWORD Password Token 密码 口令 密钥 令牌""",
)
FORMS = (
    "{}=hunter2x",
    "{}: hunter2x",
    "{} = hunter2x",
    "{}  :  hunter2x",
    '"{}":"hunter2x"',
    '"{}": "hunter2x"',
    '"{}" : "hunter2x"',
    "'{}': 'hunter2x'",
    '\\"{}\\":\\"hunter2x\\"',
    "<{}>hunter2x</x>",
    "?{}=hunter2x&b=1",
    "{} => hunter2x",
    '{{"a": 1, "{}": "two words hunter2x \\" more hunter2x", "b": 2}}',
    "{}=a,hunter2x",
    "{}：hunter2x",
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("label", LABELS)
def test_secrets_after_labels(label: str, form: str) -> None:
    text = form.format(label)
    masked = mask_text(text)
    assert "hunter2x" not in masked
    assert SECRET in masked
    assert masked.startswith(text[: text.index(label) + len(label)])


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Authorization: Basic QWxhZGRpbjpvcGVu\nHost: x", "Authorization: ***\nHost: x"),
        ('authorization: Digest username="u", response="r"', "authorization: ***"),
        ("Cookie: a=b; c=d\nHost: x", "Cookie: ***\nHost: x"),
        ('{"Authorization": "Bearer abc.def-ghi", "b": 1}', '{"Authorization": "***", "b": 1}'),
        ("sent Bearer abcdef.ghi_jkl to x", "sent Bearer *** to x"),
        ("BEARER abcdefghi", "BEARER ***"),
        ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln now", "got *** now"),
        ("postgresql://hub:p@ss@db.example/x", "postgresql://hub:***@db.example/x"),
        ("amqp://:geheim@mq/x", "amqp://:***@mq/x"),
        ("mail zhang.san@example.com, thanks", "mail z***@example.com, thanks"),
        (
            '<wsse:Password Type="x#PasswordText">geheim</wsse:Password>',
            '<wsse:Password Type="x#PasswordText">***</wsse:Password>',
        ),
        (
            "key -----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\nabc\n-----END EC PRIVATE KEY----- end",
            "key -----BEGIN EC PRIVATE KEY-----*** end",
        ),
        ("-----BEGIN PRIVATE KEY-----\nMHcCAQEE cut off", "-----BEGIN PRIVATE KEY-----***"),
        ("姓名：张三丰，男", "姓名：张*丰，男"),
        ("患者姓名: 欧阳娜娜", "患者姓名: 欧**娜"),
        ("联系人=阿布都·热西提", "联系人=阿*****提"),
        ('{"name":"张三"}', '{"name":"张*"}'),
        ("<name>张三丰</name>", "<name>张*丰</name>"),
        ("brxm=张三", "brxm=张*"),
        ("xm=张三", "xm=张*"),
        ('{"patientName": "Zhang San"}', '{"patientName": "Zh*****an"}'),
    ],
)
def test_known_forms(text: str, masked: str) -> None:
    assert mask_text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "delivery 01K3A9BCDEFGH to his_a/adt_out: attempt 3 failed, target answered with AE",
        "2026-11-21T10:03:49.123+08:00 took 0.012345678901 s at 1795256298280991 (202611211003490001)",
        "name: freight_ministry, order_key=ABC, message_id=01K3A9BCDEFGH",
        "port 8700 on 127.0.0.1, http://127.0.0.1:8700/metrics?since=1795256298280",
        "name=电子运单上传接口",
        "姓名不能为空",
        "OBX[2]-5 -> 12345678901234567890123456789012",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "urn:oid:2.16.156.10011.1.3, 1.2.840.113619.2.55.3",
    ],
)
def test_harmless_text_is_left_alone(text: str) -> None:
    assert mask_text(text) == text


PIECES = st.sampled_from(
    [
        *"0123456789- .:=：>\"'\\@/Xx张三姓名<\n",
        "password",
        "name",
        "Bearer ",
        "eyJ",
        "138",
        "://",
        "13812345678",
        "a@b.cn",
    ]
)


@given(st.lists(PIECES, max_size=60).map(" ".join))
def test_masking_twice_changes_nothing_more(text: str) -> None:
    once = mask_text(text)
    assert mask_text(once) == once


@given(st.text(max_size=300))
def test_any_text_is_survived(text: str) -> None:
    assert isinstance(mask_text(text), str)


@pytest.mark.parametrize(
    "piece",
    [
        "eyJ",
        "a",
        "1",
        "1 ",
        "123-",
        "://a:",
        "://",
        "password=",
        "<password ",
        '"',
        "\\",
        "name",
        "-----BEGIN PRIVATE KEY",
        "a@",
        "a.",
        "张",
        "=",
        "姓名：",
    ],
)
def test_hostile_repetition_takes_linear_time(piece: str) -> None:
    # With a pattern that backtracks over the whole text one of these would take hours.
    text = piece * (400_000 // len(piece)) + " password=hunter2x"
    assert "hunter2x" not in mask_text(text)


def test_key_digest() -> None:
    salt = b"0123456789abcdef"
    digest = key_digest("11010519491231002X", salt)
    assert re.fullmatch("h:[0-9a-f]{16}", digest)
    assert key_digest(" 11010519491231002x ", salt) == digest
    assert key_digest("110105194912310021", salt) != digest
    assert key_digest("11010519491231002X", b"fedcba9876543210") != digest
    with pytest.raises(ValueError, match="16 bytes"):
        key_digest("x", b"short")
