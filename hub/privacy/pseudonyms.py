"""Consistent replacements for test data: the same value has the same pseudonym, valid in its form, and nobody gets back without the key.

Everything is drawn from HMAC-SHA-256 under one key, apart for each class. Digits of numbers go through a Feistel network of ten rounds over that
HMAC (the shape of NIST SP 800-38G, FF1), so that different numbers stay different. Dates are shifted by a number of days
that depends on the date of birth: of one person all by the same, the one inside the citizen number too, and ages stay.
"""

from __future__ import annotations

import datetime
import hmac
import re

from hub.errors import HubError
from hub.i18n import t
from hub.masking import SECRET, is_id_number, luhn
from hub.privacy.masks import CJK, is_chinese
from hub.privacy.model import PersonalClass
from hub.privacy.normal import check_character, normalised

__all__ = ["KEY_BYTES", "Pseudonyms"]

#: Shortest key, bytes.
KEY_BYTES = 16
_ROUNDS = 10
_MOST_DAYS = 180
_SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金"
_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰红梅林波辉云龙飞建国志文斌宇浩凯鑫琳婷雪慧莹佳欣怡晨阳博思远嘉诚"
_COMPOUND = (
    "欧阳",
    "上官",
    "司马",
    "诸葛",
    "东方",
    "皇甫",
    "尉迟",
    "公孙",
    "慕容",
    "令狐",
    "夏侯",
    "司徒",
    "长孙",
    "宇文",
)
_LATIN = (
    "LI",
    "WANG",
    "ZHAO",
    "CHEN",
    "YANG",
    "ZHOU",
    "SUN",
    "HE",
    "GAO",
    "LIN",
    "XU",
    "TANG",
    "FENG",
    "DENG",
    "SU",
    "WEI",
)
_STREETS = ("和平路", "建设路", "人民路", "解放路", "中山路", "新华路", "文化路", "工业大道", "滨江路", "学院路")
_REGION = re.compile(
    rf"(?:[{CJK}]{{2,8}}?(?:省|自治区|市|自治州|地区|盟|特别行政区)){{0,2}}(?:[{CJK}]{{1,8}}?(?:区|县|市|旗))?"
)
_DATE = re.compile(r"(\d{4})([-/.年]?)(\d{2})([-/.月]?)(\d{2})(?!\d{1}(?:\D|\Z))")
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


class Pseudonyms:
    """Replacements under one key of at least 16 bytes (:class:`HubError` otherwise)."""

    def __init__(self, key: bytes) -> None:
        if len(key) < KEY_BYTES:
            raise HubError(
                t(f"a pseudonym key has at least {KEY_BYTES} bytes", f"假名密钥至少 {KEY_BYTES} 字节"),
                code="privacy.key",
            )
        self._key = key

    def __repr__(self) -> str:
        return "Pseudonyms(***)"

    def of(self, kind: PersonalClass, value: str, part: str = "", person: str = "") -> str:
        """The pseudonym of a value. ``part``: family or given, of a name; ``person``: date of birth or number all dates go by."""
        text = value.strip()
        how = kind.pseudonym
        if not text or how == "keep":
            return value
        if how == "id_number" and not is_id_number(text):
            how = "number"
        if how == "id_number":
            return self._id_number(text)
        if how == "name":
            return self._name(text, part)
        if how == "phone":
            return self._phone(text)
        if how == "number":
            return self._number(kind.id, text)
        if how == "bank_card":
            return self._card(text)
        if how == "date":
            return self.date(text, person or _digits(text)[:8])
        if how == "address":
            found = _REGION.match(text)
            kept = text[: found.end()] if found else ""
            draw = self._draw("address", text)
            return f"{kept}{_STREETS[draw % len(_STREETS)]}{draw // 16 % 400 + 1}号"
        if how == "email":
            return f"u{self._draw('email', text.lower()):016x}@example.com"
        if how == "plate":
            return self._plate(text)
        return SECRET

    # -- parts -------------------------------------------------------------------------------------------------------

    def _draw(self, what: str, text: str, size: int = 8) -> int:
        data = f"{what}\0{text}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hmac.digest(self._key, data, "sha256")[:size], "big")

    def shift(self, person: str) -> int:
        """Days by which the dates of a person are moved, never 0; ``person`` as for :meth:`of`."""
        days = self._draw("shift", person) % (2 * _MOST_DAYS) - _MOST_DAYS
        return days if days < 0 else days + 1

    def date(self, text: str, person: str) -> str:
        """A date or time of day moved by the shift of a person; other text, and dates known to the month only, as they are."""
        found = _DATE.match(text)
        if not found:
            return text
        year, one, month, two, day = found.groups()
        try:
            moved = datetime.date(int(year), int(month), int(day)) + datetime.timedelta(self.shift(person))
        except (ValueError, OverflowError):
            return text
        return f"{moved.year:04d}{one}{moved.month:02d}{two}{moved.day:02d}{text[found.end() :]}"

    def _id_number(self, text: str) -> str:
        long = normalised(text, "id_number")
        birth = long[6:14]
        moved = self.date(birth, birth)
        draw = self._draw("id_number", long)
        serial = draw % 500 * 2 + int(long[16]) % 2  # odd for men, even for women
        if len(text) == 15:
            return f"{text[:6]}{moved[2:]}{serial:03d}"
        body = f"{long[:6]}{moved}{serial:03d}"
        if body == long[:17]:
            body = f"{body[:14]}{(serial + 2) % 1000:03d}"
        return body + check_character(body)

    def _name(self, text: str, part: str) -> str:
        if is_chinese(text):
            if part == "family":
                return self._family(text)
            if part == "given" or "·" in text:
                return self._given(text)
            split = 2 if text.startswith(_COMPOUND) and len(text) > 2 else 1
            return self._family(text[:split]) + self._given(text[split:])
        out = [
            word if not any(c.isalpha() for c in word) else self._latin(word)
            for word in re.split(r"([\s,.'’-]+)", text)
        ]
        return "".join(out)

    def _family(self, text: str) -> str:
        others = _SURNAMES.replace(text, "") if len(text) == 1 else _SURNAMES
        return others[self._draw("family", text) % len(others)]

    def _given(self, text: str) -> str:
        draw = self._draw("given", text, 16)
        out = ""
        for char in text[:8]:
            others = _GIVEN.replace(char, "")
            out += others[draw % len(others)]
            draw //= 64
        return out

    def _latin(self, word: str) -> str:
        others = [one for one in _LATIN if one != word.upper()]
        name = others[self._draw("latin", word.upper()) % len(others)]
        return name if word.isupper() else name.lower() if word.islower() else name.capitalize()

    def _phone(self, text: str) -> str:
        digits = _digits(text)
        plain = normalised(digits, "phone")
        if re.fullmatch(r"1[3-9]\d{9}", plain):
            fresh = plain[:3] + self._feistel("phone", plain[3:])
            return _refilled(text, digits[: len(digits) - 11] + fresh)
        kept = text.find("-") + 1 if 0 < text.find("-") <= 5 else 0
        rest = _digits(text[kept:])
        return text[:kept] + _refilled(text[kept:], self._feistel("phone", rest))

    def _number(self, kind: str, text: str) -> str:
        if any(c.isdigit() for c in text):
            return _refilled(text, self._feistel(kind, _digits(text)))
        draw = self._draw(kind, text, 32)
        out = ""
        for char in text[:48]:
            if char.isalpha():
                draw, pick = divmod(draw, len(_LETTERS))
                char = _LETTERS[pick] if char.isupper() or not char.isascii() else _LETTERS[pick].lower()
            out += char
        return out

    def _card(self, text: str) -> str:
        digits = _digits(text)
        if len(digits) < 12:
            return self._number("bank_card", text)
        body = digits[:6] + self._feistel("bank_card", digits[6:-1])
        check = next(d for d in "0123456789" if luhn(body + d)) if luhn(digits) else digits[-1]
        return _refilled(text, body + check)

    def _plate(self, text: str) -> str:
        if len(text) < 4:
            return SECRET
        draw = self._draw("plate", text.upper())
        out = text[:2]
        for char in text[2:10]:
            draw, pick = divmod(draw, 24)
            out += (
                char
                if not char.isascii() or not char.isalnum()
                else str(pick % 10)
                if char.isdigit()
                else _LETTERS[pick]
            )
        return out

    def _feistel(self, what: str, digits: str) -> str:
        """Another number with as many digits; one to one among all with as many."""
        size = len(digits)
        if size < 2:
            return str((int(digits) + self._draw(what, "") % 9 + 1) % 10) if digits else ""
        left, right = digits[: size // 2], digits[size // 2 :]
        for number in range(_ROUNDS):
            width = len(left)
            mixed = (int(left) + self._draw(f"{what}/{size}/{number}", right, 16)) % 10**width
            left, right = right, f"{mixed:0{width}d}"
        return left + right if left + right != digits else self._feistel(what + "'", digits)


def _digits(text: str) -> str:
    return "".join(c for c in text if c.isascii() and c.isdigit())


def _refilled(text: str, digits: str) -> str:
    """The text with its digits replaced one after the other."""
    fresh = iter(digits)
    return "".join(next(fresh, "0") if c.isascii() and c.isdigit() else c for c in text)
