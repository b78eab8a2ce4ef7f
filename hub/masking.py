"""Masking of personal data and secrets, for everything people or log collectors see (invariant 7).

:func:`mask` is for a value known to be sensitive, :func:`mask_text` for free text that may contain something sensitive. Every log line
and error text passes through :func:`mask_text`, so the common case, nothing to mask, has to cost next to nothing: cheap tests
for the few characters a finding must contain come first, the thorough patterns run only behind them. No pattern can backtrack
over more than a fixed number of characters, so hostile text costs time in proportion to its length.

Sources: GB 11643-1999 (18-digit citizen number, its check character and the older 15-digit form), ISO/IEC 7812-1 annex B (Luhn),
RFC 6750 (bearer tokens), RFC 7519 (JWT), RFC 3986 section 3.2.1 (user information in URLs).
"""

from __future__ import annotations

import hmac
import re

__all__ = ["SECRET", "Confidential", "is_id_number", "key_digest", "luhn", "mask", "mask_text"]

#: What stands in the place of a secret; secrets keep no shape at all.
SECRET = "***"  # noqa: S105


class Confidential(str):
    """A value of a call for expressions and business keys, as it came: where the call log would keep it, it is masked."""

    __slots__ = ()


_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_LONGEST_SHAPE = 64

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS = "10X98765432"

# -- one value -----------------------------------------------------------------------------------------------------------

_NAME = re.compile(rf"[{_CJK}·•]{{1,15}}\Z")
_ID = re.compile(r"[0-9]{15}(?:[0-9]{2}[0-9Xx])?\Z")
_PHONE = re.compile(r"1[3-9][0-9]{9}\Z")


def mask(value: str) -> str:
    """A value with its shape kept and its content gone: 张*丰, 110***********1234, 138****5678, z***@example.com.

    At most half of the characters remain, of a Chinese name of three the first and the last. Values beyond 64 characters are shortened and their length is told.
    """
    size = len(value)
    if size <= 1:
        return "*" * size
    if _NAME.match(value):
        return value[0] + "*" if size == 2 else value[0] + "*" * (size - 2) + value[-1]
    if _ID.match(value):
        return value[:3] + "*" * (size - 7) + value[-4:]
    if _PHONE.match(value):
        return value[:3] + "****" + value[-4:]
    local, at, domain = value.rpartition("@")
    if at and local and "." in domain:
        return _printable(local[0] + "***@" + domain[:_LONGEST_SHAPE])
    if size <= 2:
        return "*" * size
    head, tail = (1, 0) if size <= 4 else (1, 1) if size <= 7 else (2, 2) if size <= 13 else (3, 4)
    ends = _printable(value[:head]), _printable(value[size - tail :])
    if size > _LONGEST_SHAPE:
        return f"{ends[0]}***{ends[1]} ({size})"
    return ends[0] + "*" * (size - head - tail) + ends[1]


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def is_id_number(value: str) -> bool:
    """Whether this is a citizen number: 18 characters with a right check character, or the 15 digits of before 1999."""
    if len(value) == 15:
        return _digits(value) and value[0] in "12345678" and _date(value[8:10], value[10:12])
    if len(value) != 18 or not _digits(value[:17]) or value[0] not in "12345678":
        return False
    if value[6:8] not in ("18", "19", "20") or not _date(value[10:12], value[12:14]):
        return False  # one in eleven numbers made of a time stamp would pass the check character alone
    total = sum(weight * int(digit) for weight, digit in zip(_ID_WEIGHTS, value, strict=False))
    return _ID_CHECKS[total % 11] == value[17].upper()


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _date(month: str, day: str) -> bool:
    return 1 <= int(month) <= 12 and 1 <= int(day) <= 31


def luhn(digits: str) -> bool:
    """Whether the last digit is the right check digit of the others (ISO/IEC 7812-1 annex B)."""
    total = 0
    for place, char in enumerate(reversed(digits)):
        digit = int(char)
        if place & 1:
            digit = digit * 2 - 9 if digit > 4 else digit * 2
        total += digit
    return total % 10 == 0


def key_digest(value: str, salt: bytes) -> str:
    """``"h:"`` and 16 hex digits that stand for a value in indexes: equal values have equal digests, nobody can go back without the salt.

    HMAC-SHA-256 cut to 64 bits. Blanks around it and case don't matter, since the check character of a citizen number
    is written ``x`` as well as ``X``. Raises ``ValueError`` for a salt under 16 bytes, which could be guessed.
    """
    if len(salt) < 16:
        raise ValueError(f"the salt must have at least 16 bytes, not {len(salt)}")
    return "h:" + hmac.digest(salt, value.strip().upper().encode("utf-8", "surrogatepass"), "sha256")[:8].hex()


# -- free text: numbers --------------------------------------------------------------------------------------------------

# Any number worth masking has at least 11 digits, in one run or in groups with single separators. Wherever it begins, every 4th
# character of the text then has two digits in a row (the groups below were checked one by one; the tests do it again).
_EVERY = 4
_maybe_number = re.compile(r"[0-9][0-9]").search

_NUMBER = re.compile(
    r"(?<![0-9])(?:"
    r"[0-9]{11,}[Xx]?"
    r"|1[3-9][0-9][- ][0-9]{4}[- ][0-9]{4}"
    r"|[0-9]{6}[- ][0-9]{8}[- ][0-9]{3}[0-9Xx]"
    r"|[0-9]{4}(?:[- ][0-9]{4}){3}(?:[- ][0-9]{1,3})?"
    r")(?![0-9])"
)

#: First digits of bank cards in use: UnionPay, Visa, Mastercard, American Express, JCB, Diners, older Chinese cards.
_CARD = ("62", "60", "4", "51", "52", "53", "54", "55", "34", "37", "35", "36", "38", "95", "94", "68", "69")


def _number(found: re.Match[str]) -> str:
    whole = found[0]
    digits = whole.replace("-", "").replace(" ", "")
    if digits[-1] in "Xx" and not (len(digits) == 18 and is_id_number(digits)):  # an x that just happens to follow
        return _number_text(whole[:-1], digits[:-1]) + whole[-1]
    return _number_text(whole, digits)


def _number_text(whole: str, digits: str) -> str:
    size = len(digits)
    if size in (15, 18) and is_id_number(digits):
        return _stars(whole, 3, 4)
    if size in (11, 13, 15) and _PHONE.match(digits[-11:]) and digits[:-11] in ("", "86", "0086"):
        return _stars(whole, size - 8, 4)
    if 15 <= size <= 19 and digits.startswith(_CARD) and digits.isdigit() and luhn(digits):
        return _stars(whole, 4, 4)
    return whole


def _stars(whole: str, head: int, tail: int) -> str:
    """Stars for all digits but the first ``head`` and the last ``tail``; separators stay."""
    out, seen, last = [], 0, sum(c not in "- " for c in whole) - tail
    for char in whole:
        if char in "- ":
            out.append(char)
            continue
        out.append(char if seen < head or seen >= last else "*")
        seen += 1
    return "".join(out)


# -- free text: secrets and names ----------------------------------------------------------------------------------------


def _any_case(words: str) -> str:
    """``re.IGNORECASE`` would cost the scanner its quick way to the next candidate."""
    return "".join(f"[{c}{c.upper()}]" if c.islower() else c for c in words)


# The cheap test starts from the separator, of which a line has few, and looks back at the end of the label.
_ENDS_3 = _any_case("pwd|key")
_ENDS_4 = _any_case("word|sswd|rase|cret|oken|tion|okie|ture|tial|ials|name|n_id|n-id|onid")
_GAP = r"[\"'\s]"
_ESCAPED = r"\\[\"']"


def _ended_by(gap: str) -> str:
    """The end of some label, then ``gap``, then the separator the search stands behind."""
    longest = rf"(?<=(?:{_ENDS_4}){gap}.)|(?<=(?:{_ENDS_3}){gap}.)"
    return rf"(?:{longest}|(?<=[xX][mM]{gap}.)|(?<=[名者人员机主码令钥牌称]{gap}.))"


# One pattern for each separator: the scanner jumps to a single literal character far quicker than to one of a set.
_LABELS = tuple(
    (
        separator,
        re.compile(
            rf"{separator}(?:(?<=[dDyYeEtTnNlLsSmM名者人员机主码令钥牌称].){_ended_by('')}"
            r"|(?<=[\"'\s]\s.)"
            rf"|(?<=[\"'\s].)(?:{_ended_by(_GAP)}|{_ended_by(_ESCAPED)}))"
        ).search,
    )
    for separator in ":=>："
)


def _maybe_label(text: str) -> bool:
    for separator, search in _LABELS:
        if separator in text and search(text):
            return True
    return "assword " in text  # <wsse:Password Type="…">


_QUOTE = r"(?:\\?[\"'])?"
_SEPARATOR = rf"{_QUOTE}\s{{0,4}}(?:=>|[:=：>])\s{{0,4}}"

_SECRET = re.compile(
    r"(?P<label>(?:"
    r"pass(?:word|wd|phrase)|pwd|secret|token|(?:api|access|secret|private|sign|signing|app|encryption|session)[_-]?key"
    r"|signature|credentials?|session[_-]?id|密码|口令|密钥|令牌"
    rf"){_SEPARATOR}|<(?:[A-Za-z0-9]{{1,32}}:)?password\s[^<>]{{0,300}}>)"
    r"(?P<value>\\\"[^\"\\]*|\"(?:[^\"\\]|\\.)*|'(?:[^'\\]|\\.)*|(?:(?:bearer|basic)\s{1,4})?(?:[^\s\"'&;<>,]|,(?!\s))+)"
    # A whole header line: its value has blanks and commas.
    rf"|(?P<header>(?:authorization|cookie){_SEPARATOR})(?P<line>\"(?:[^\"\\]|\\.)*|'[^']*|[^\r\n]+)",
    re.IGNORECASE | re.DOTALL,
)
_BEARER = re.compile(r"\b(bearer\s{1,4})[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_JWT = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?")
_PEM = re.compile(r"(-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----).*?(?:-----END [A-Z0-9 ]{0,40}-----|\Z)", re.DOTALL)
_USERINFO = re.compile(r"(://[^\s/:@\"'<>]{0,256}:)[^\s/\"'<>]{1,1024}@")
_EMAIL = re.compile(r"(?<![A-Za-z0-9._%+-])([A-Za-z0-9._%+-]{1,64})(@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8})")

_CHINESE_NAME = rf"[{_CJK}]{{1,10}}(?:[·•][{_CJK}]{{1,10}}){{1,4}}|[{_CJK}]{{2,4}}"
_NAMED = re.compile(
    rf"((?:姓名|患者|病人|联系人|监护人|驾驶员|司机|收货人|发货人|户主)(?:姓名|名称)?{_SEPARATOR}{_QUOTE})({_CHINESE_NAME})"
    rf"|((?:name|xm){_SEPARATOR}{_QUOTE})({_CHINESE_NAME})(?![{_CJK}])"
    r"|((?:patient|full|real|given|family|first|last|contact|driver|guardian)[_ -]?name"
    rf"{_SEPARATOR}{_QUOTE})([A-Z][A-Za-z'.-]*(?:[ ,^][A-Z][A-Za-z'.-]*){{0,3}})",
    re.IGNORECASE,
)


def _secret(found: re.Match[str]) -> str:
    label = found["label"] or found["header"]
    value = found["value"] or found["line"]
    opening = '\\"' if value.startswith('\\"') else value[0] if value[0] in "\"'" else ""
    return label + opening + (SECRET if len(value) > len(opening) else "")


def _named(found: re.Match[str]) -> str:
    for place in (1, 3, 5):
        if found[place] is not None:
            return found[place] + mask(found[place + 1])
    return found[0]


def mask_text(text: str) -> str:
    """The text with personal data and secrets masked.

    Found anywhere: citizen numbers (18 digits with a right check character, 15 digits with a possible date), mobile phones, bank
    cards (Luhn), e-mail addresses, bearer tokens, JWTs, PEM private keys, passwords in URLs. Found by the label
    before them: passwords, tokens, keys, cookies and ``Authorization`` values; names of persons.
    """
    if _maybe_number(text[::_EVERY]):
        text = _NUMBER.sub(_number, text)
    if _maybe_label(text):
        text = _NAMED.sub(_named, _SECRET.sub(_secret, text))
    if "earer " in text or "EARER " in text:
        text = _BEARER.sub(rf"\g<1>{SECRET}", text)
    if "@" in text:
        text = _EMAIL.sub(_email, _USERINFO.sub(rf"\g<1>{SECRET}@", text))
    if "eyJ" in text:
        text = _JWT.sub(SECRET, text)
    if "PRIVATE KEY" in text:
        text = _PEM.sub(rf"\g<1>{SECRET}", text)
    return text


def _email(found: re.Match[str]) -> str:
    return found[1][0] + "***" + found[2]
