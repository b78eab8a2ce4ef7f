"""Finding personal data in text that says nothing about its structure."""

from __future__ import annotations

import re
from collections.abc import Callable

from hub.masking import is_id_number, luhn
from hub.privacy.masks import CJK

__all__ = ["detect", "person_like", "value_class"]

#: Gives what takes the place of a value of a class.
Replace = Callable[[str, str], str]

_NUMBER = re.compile(
    r"(?<![0-9A-Za-z])(?:"
    r"(?:\+?86[- ]?)?1[3-9][0-9](?:[- ]?[0-9]{4}){2}(?![0-9A-Za-z])"
    r"|[0-9]{6}[- ]?(?:[0-9]{8}[- ]?[0-9]{3}[0-9Xx]|[0-9]{9})(?![0-9A-Za-z])"
    r"|[0-9]{4}(?:[- ]?[0-9]{4}){2}[- ]?[0-9]{3,4}(?:[- ]?[0-9]{1,3})?(?![0-9A-Za-z])"
    r")"
)
_MAYBE_NUMBER = re.compile(r"[0-9]{3}").search
_CARD = ("62", "60", "4", "51", "52", "53", "54", "55", "34", "37", "35", "36", "38", "95", "94", "68", "69")
_EMAIL = re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
_PLATE = re.compile(
    r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-HJ-NP-Z][·-]?[A-HJ-NP-Z0-9]{4,5}[A-HJ-NP-Z0-9挂学警港澳](?![A-Za-z0-9])"
)
_PASSPORT = re.compile(r"(?<=护照)((?:号码|号)?[:：\s]{0,4})([A-Z]{1,2}[0-9]{7,8})(?![0-9A-Za-z])")
_LABELLED = re.compile(
    rf"((?:姓名|患者|病人|联系人|监护人|驾驶员|司机|收货人|发货人|户主|家属|本人|申请人|病员)(?:姓名|名称)?(?:[\"']?\s{{0,4}}[:=：]\s{{0,4}}[\"']?|\s{{1,2}}))([{CJK}]{{1,10}}(?:[·•][{CJK}]{{1,10}}){{1,4}}|[{CJK}]{{2,4}})"
)
_LABEL = re.compile(r"[名者人员机主属]").search
_PERSON = re.compile(
    "(?:欧阳|上官|司马|诸葛|东方|皇甫|尉迟|公孙|慕容|令狐|夏侯|司徒|长孙|宇文|"
    "[赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张孔曹严华金魏陶姜戚谢邹喻柏水窦章云苏潘葛奚范彭郎鲁韦昌马苗凤花方俞任袁柳酆鲍史唐费廉岑薛雷贺倪汤滕殷罗毕郝邬安常乐于时傅皮卞齐康伍余元卜顾孟平黄和穆萧尹姚邵湛汪祁毛禹狄米贝明臧计伏成戴谈宋茅庞熊纪舒屈项祝董梁杜阮蓝闵席季麻强贾路娄危江童颜郭梅盛林刁钟徐邱骆高夏蔡田樊胡凌霍虞万支柯管卢莫房丁邓石崔龚程嵇邢裴陆荣翁荀羊惠甄曲封储靳段巫焦巴牧山谷车侯全班仰秋仲伊宫宁仇甘厉祖武符刘景詹龙叶幸司韶黎薄印宿白怀蒲从索赖卓蔺屠蒙池乔阴胥苍双闻莘党翟谭贡劳逄姬申扶冉宰郦雍桑桂牛寿通边扈燕冀尚农温庄晏柴瞿阎连茹习艾鱼容向古易慎戈廖终居衡步都耿满弘匡国文寇广东欧沃利蔚越师巩聂晁勾冷辛那简饶曾沙鞠丰关查荆红游竺权盖益桓公肖付代闫])"
    rf"[{CJK}]{{1,2}}\Z"
).match


def person_like(value: str) -> bool:
    """Whether a whole value looks like the name of a Chinese person: a known surname and one or two characters."""
    return 2 <= len(value) <= 4 and _PERSON(value) is not None


def value_class(value: str) -> str:
    """The class a whole value betrays by its form: citizen number, mobile phone, bank card; else ``""``."""
    found = _NUMBER.fullmatch(value.strip())
    return _number_class(found[0]) if found else ""


def _number_class(whole: str) -> str:
    digits = whole.translate({32: None, 43: None, 45: None})
    if len(digits) in (15, 18) and is_id_number(digits):
        return "id_number"
    if len(digits) in (11, 13) and re.fullmatch(r"(?:86)?1[3-9][0-9]{9}", digits):
        return "phone"
    if 15 <= len(digits) <= 19 and digits.isdigit() and digits.startswith(_CARD) and luhn(digits):
        return "bank_card"
    return ""


def detect(text: str, replace: Replace) -> str:
    """The text with what is found replaced: citizen numbers by check character, mobile phones, bank cards by Luhn, e-mail
    addresses, number plates, passports and names behind their labels."""
    if _MAYBE_NUMBER(text):

        def number(found: re.Match[str]) -> str:
            kind = _number_class(found[0])
            return replace(kind, found[0]) if kind else found[0]

        text = _NUMBER.sub(number, text)
        if not text.isascii():
            text = _PLATE.sub(lambda found: replace("plate", found[0]), text)
            if "护照" in text:
                text = _PASSPORT.sub(lambda found: found[1] + replace("paper_number", found[2]), text)
    if "@" in text:
        text = _EMAIL.sub(lambda found: replace("email", found[0]), text)
    if not text.isascii() and _LABEL(text):
        text = _LABELLED.sub(lambda found: found[1] + replace("name", found[2]), text)
    return text
