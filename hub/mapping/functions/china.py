"""Numbers and codes used in China: checked, brought into one form.

Sources: GB 32100-2015 (unified social credit code), GB 11714-1997 (organisation code), GB/T 2260 (administrative divisions) and GB/T 10114
(the three digits that follow it), GB/T 3304-1991 (ethnic groups), GA 36-2018 (plates), ISO/IEC 7812-1 (check digit of cards),
MIIT numbering plan 2017 (mobile numbers, area codes).
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

from hub.i18n import t
from hub.mapping.functions.base import Registry, text_of
from hub.mapping.functions.identity import national_number
from hub.mapping.runtime import FunctionError, is_absent

__all__ = ["CHINA_CODES"]

CHINA_CODES = Registry()


def _refuse(name: str, what: str, what_zh: str, value: Any, remedy: str = "") -> NoReturn:
    raise FunctionError(t(f"{name}: not {what}", f"{name}：不是{what_zh}"), value, remedy)


# -- organisations -----------------------------------------------------------------------------------------------------

_CREDIT = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT_VALUE = {character: number for number, character in enumerate(_CREDIT)}
_CREDIT_CODE = re.compile(r"[0-9A-HJ-NP-RTUWXY]{2}\d{6}[0-9A-HJ-NP-RTUWXY]{10}", re.ASCII)
_ORGANISATION_CODE = re.compile(r"[0-9A-Z]{8}-?[0-9X]", re.ASCII)
_ORGANISATION_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)


def _credit_check(code: str) -> str:
    total = sum(_CREDIT_VALUE[character] * pow(3, place, 31) for place, character in enumerate(code[:17]))
    return _CREDIT[-total % 31]


def _organisation_check(code: str) -> str:
    total = sum(int(c, 36) * weight for c, weight in zip(code[:8], _ORGANISATION_WEIGHTS, strict=True))
    return "0123456789X0"[11 - total % 11]


def _credit_code(value: Any, name: str) -> str:
    text = text_of(value, name).replace(" ", "").upper()
    if not _CREDIT_CODE.fullmatch(text) or _credit_check(text) != text[17]:
        _refuse(name, "a unified social credit code", "有效的统一社会信用代码", value)
    return text


@CHINA_CODES.add(converts=True)
def credit_code(value: Any) -> Any:
    """A unified social credit code, checked, in capitals: 18 characters."""
    return None if is_absent(value) else _credit_code(value, "credit_code")


@CHINA_CODES.add(converts=True)
def organisation_code(value: Any) -> Any:
    """An organisation code, checked, without hyphen: 9 characters; of a unified social credit code the one inside it."""
    if is_absent(value):
        return None
    text = text_of(value, "organisation_code").replace(" ", "").upper()
    if len(text) == 18:
        text = _credit_code(text, "organisation_code")[8:17]
    if not _ORGANISATION_CODE.fullmatch(text) or _organisation_check(text) != text[-1]:
        _refuse("organisation_code", "an organisation code", "有效的组织机构代码", value)
    return text.replace("-", "")


# -- places ------------------------------------------------------------------------------------------------------------

_DIVISION = re.compile(r"[1-9]\d(?:\d{4}|\d{7}|\d{10})", re.ASCII)
_DIVISION_DIGITS = {"province": 2, "city": 4, "county": 6, "town": 9, "village": 12}


@CHINA_CODES.add(converts=True)
def division(value: Any, level: Any = "county") -> Any:
    """The code of an administrative division at a level, zero-filled: division('city') of 320102 is 320100; null when it is coarser.

    ``level``: province, city, county (6 digits), town (9) or village (12). Names come from a code table.
    """
    if is_absent(value):
        return None
    digits = _DIVISION_DIGITS.get(level) if isinstance(level, str) else None
    if digits is None:
        levels = ", ".join(_DIVISION_DIGITS)
        raise FunctionError(t(f"division: the level is one of {levels}", f"division：级别须为 {levels} 之一"))
    text = text_of(value, "division").strip()
    if len(text) == 18:
        text = text[:6]  # that of a citizen number
    if not _DIVISION.fullmatch(text):
        _refuse("division", "a code of an administrative division", "行政区划代码", value, "320102")
    if not int(text[max(0, digits - (2 if digits <= 6 else 3)) : digits] or 0):
        return None
    return text[:digits].ljust(max(6, digits), "0")


# -- people ------------------------------------------------------------------------------------------------------------

_GROUPS = [
    "汉族HA",
    "蒙古族MG",
    "回族HU",
    "藏族ZA",
    "维吾尔族UG",
    "苗族MH",
    "彝族YI",
    "壮族ZH",
    "布依族BY",
    "朝鲜族CS",
    "满族MA",
    "侗族DO",
    "瑶族YA",
    "白族BA",
    "土家族TJ",
    "哈尼族HN",
    "哈萨克族KZ",
    "傣族DA",
    "黎族LI",
    "傈僳族LS",
    "佤族VA",
    "畲族SH",
    "高山族GS",
    "拉祜族LH",
    "水族SU",
    "东乡族DX",
    "纳西族NX",
    "景颇族JP",
    "柯尔克孜族KG",
    "土族TU",
    "达斡尔族DU",
    "仫佬族ML",
    "羌族QI",
    "布朗族BL",
    "撒拉族SL",
    "毛南族MN",
    "仡佬族GL",
    "锡伯族XB",
    "阿昌族AC",
    "普米族PM",
    "塔吉克族TA",
    "怒族NU",
    "乌孜别克族UZ",
    "俄罗斯族RS",
    "鄂温克族EW",
    "德昂族DE",
    "保安族BN",
    "裕固族YG",
    "京族GI",
    "塔塔尔族TT",
    "独龙族DR",
    "鄂伦春族OR",
    "赫哲族HZ",
    "门巴族MB",
    "珞巴族LB",
    "基诺族JN",
]
#: Number, name, letters.
_ETHNIC = [(f"{number:02}", group[:-2], group[-2:]) for number, group in enumerate(_GROUPS, 1)]
_ETHNIC_OF = {
    key: entry
    for entry in _ETHNIC
    for key in (entry[0], str(int(entry[0])), entry[1], entry[1].removesuffix("族"), entry[2])
}
_ETHNIC_PART = {"code": 0, "name": 1, "letters": 2}


@CHINA_CODES.add(converts=True)
def ethnic_group(value: Any, to: Any = "code") -> Any:
    """An ethnic group by number, name or letters (1, 01, 汉, 汉族, HA) as code (01), as name (汉族) or as letters (HA)."""
    if is_absent(value):
        return None
    part = _ETHNIC_PART.get(to) if isinstance(to, str) else None
    if part is None:
        raise FunctionError(
            t("ethnic_group: to is code, name or letters", "ethnic_group：to 须为 code、name 或 letters")
        )
    found = _ETHNIC_OF.get(text_of(value, "ethnic_group").strip().upper())
    if found is None:
        _refuse("ethnic_group", "an ethnic group of GB/T 3304", "GB/T 3304 中的民族", value)
    return found[part]


_COMPOUND = frozenset(
    [
        "欧阳",
        "太史",
        "端木",
        "上官",
        "司马",
        "东方",
        "独孤",
        "南宫",
        "万俟",
        "闻人",
        "夏侯",
        "诸葛",
        "尉迟",
        "公羊",
        "赫连",
        "澹台",
        "皇甫",
        "宗政",
        "濮阳",
        "公冶",
        "太叔",
        "申屠",
        "公孙",
        "慕容",
        "仲孙",
        "钟离",
        "长孙",
        "宇文",
        "司徒",
        "鲜于",
        "司空",
        "闾丘",
        "子车",
        "亓官",
        "司寇",
        "巫马",
        "公西",
        "颛孙",
        "壤驷",
        "公良",
        "漆雕",
        "乐正",
        "宰父",
        "谷梁",
        "拓跋",
        "夹谷",
        "轩辕",
        "令狐",
        "段干",
        "百里",
        "呼延",
        "东郭",
        "南门",
        "羊舌",
        "微生",
        "梁丘",
        "左丘",
        "东门",
        "西门",
        "第五",
        "纳兰",
        "完颜",
        "叶赫",
        "那拉",
        "赫舍里",
        "爱新觉罗",
        "欧陽",
        "司馬",
        "諸葛",
        "長孫",
        "鍾離",
        "尉遲",
        "聞人",
        "東方",
        "東郭",
    ]
)
_CHINESE = re.compile(r"[㐀-䶿一-鿿𠀀-𳑿〇]{2,}")


def _split_name(value: Any, name: str) -> tuple[str | None, str]:
    """(family name, given name) of a Chinese name; (None, all of it) where no family name comes first."""
    text = "".join(text_of(value, name).split())
    if not _CHINESE.fullmatch(text):
        return None, text_of(value, name).strip()
    for length in (4, 3, 2):
        if len(text) > length and text[:length] in _COMPOUND:
            return text[:length], text[length:]
    return text[:1], text[1:]


@CHINA_CODES.add(converts=True)
def family_name(value: Any) -> Any:
    """The family name of a Chinese name, compound ones known: 欧阳明 is 欧阳; null for 买买提·艾力 and names in other scripts."""
    return None if is_absent(value) else _split_name(value, "family_name")[0]


@CHINA_CODES.add(converts=True)
def given_name(value: Any) -> Any:
    """What follows the family name of a Chinese name; the whole name where family_name is null."""
    return None if is_absent(value) else _split_name(value, "given_name")[1]


# -- phones ------------------------------------------------------------------------------------------------------------

_MOBILE = re.compile(r"1[3-9]\d{9}", re.ASCII)
#: Area code and number, extension: 010 and 02x have three digits, all others four; numbers have seven or eight.
_LANDLINE = re.compile(r"(010|02\d|0[3-9]\d\d)([2-8]\d{6,7})", re.ASCII)


@CHINA_CODES.add(converts=True)
def mobile(value: Any) -> Any:
    """A mobile number of mainland China, 11 digits, without +86, spaces and signs."""
    if is_absent(value):
        return None
    text = national_number(value, "mobile")
    if not _MOBILE.fullmatch(text):
        _refuse("mobile", "a mobile number", "手机号码", value)
    return text


@CHINA_CODES.add(converts=True)
def landline(value: Any) -> Any:
    """A landline number of mainland China with its area code: 010-12345678, 0512-1234567."""
    if is_absent(value):
        return None
    found = _LANDLINE.fullmatch(national_number(value, "landline"))
    if not found:
        _refuse("landline", "a landline number with area code", "带区号的固定电话号码", value, "025-83272000")
    return f"{found[1]}-{found[2]}"


# -- vehicles and cards ------------------------------------------------------------------------------------------------

_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_PLATE = re.compile(
    rf"[{_PROVINCES}][A-HJ-NP-Z](?:[A-HJ-NP-Z0-9]{{5}}|[A-HJ-NP-Z0-9]{{4}}[学警港澳挂超领]"
    r"|[A-HJK][A-HJ-NP-Z0-9]\d{4}|\d{5}[A-HJK])|使\d{6}|\d{6}使|[A-HJ-NP-Z]{2}\d{5}"
    rf"|WJ[{_PROVINCES}]?\d{{4}}[A-Z0-9]",
    re.ASCII,
)
_PLATE_NOISE = str.maketrans("", "", " ·•.-\u3000")
_CARD = re.compile(r"[1-9]\d{11,18}", re.ASCII)


@CHINA_CODES.add(converts=True)
def plate_number(value: Any) -> Any:
    """A vehicle plate in capitals without dot and spaces: 苏A12345, 苏AD12345 (electric); trailers, police, embassies, the army too."""
    if is_absent(value):
        return None
    text = text_of(value, "plate_number").translate(_PLATE_NOISE).upper()
    if not _PLATE.fullmatch(text):
        _refuse("plate_number", "a plate number", "车牌号", value, "苏A12345")
    return text


@CHINA_CODES.add(converts=True)
def bank_card(value: Any) -> Any:
    """The number of a bank card without spaces, 12 to 19 digits with a right check digit (Luhn)."""
    if is_absent(value):
        return None
    text = text_of(value, "bank_card").replace(" ", "").replace("-", "")
    if not _CARD.fullmatch(text):
        _refuse("bank_card", "a card number", "银行卡号", value)
    digits = [int(digit) for digit in reversed(text)]
    if (sum(digits[::2]) + sum(sum(divmod(digit * 2, 10)) for digit in digits[1::2])) % 10:
        _refuse("bank_card", "a card number with a right check digit", "校验正确的银行卡号", value)
    return text
