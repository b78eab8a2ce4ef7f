"""Made-up people, vehicles and companies. Check digits are right, the area code 359999 does not exist: nobody is meant.

Check digits after GB 11643-1999 (citizen number) and GB 32100-2015 (credit code of an organisation).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Patient", "citizen_number", "credit_code", "patients", "plate"]

_AREA = "359999"
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CREDIT_DIGITS = "0123456789ABCDEFGHJKLMNPQRTUWXY"

_FAMILIES = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张"
#: 眧 has a byte that looks like the field separator in GB18030, 䶮 is missing in GBK, 𠮷 takes four bytes.
_GIVEN = ("样一", "样二", "眧", "䶮", "𠮷", "样三", "样四", "样五")


def citizen_number(birth: str, order: int) -> str:
    """18 characters for a day of birth (yyyymmdd); an odd ``order`` tells a man, an even one a woman."""
    body = f"{_AREA}{birth}{order:03}"
    return body + "10X98765432"[sum(w * int(d) for w, d in zip(_WEIGHTS, body, strict=True)) % 11]


def credit_code(order: int) -> str:
    """18 characters: registered by the market supervision (9), a company (1), the area, a number."""
    body = f"91{_AREA}MADEM{order:04}"
    total = sum(_CREDIT_DIGITS.index(char) * pow(3, place, 31) for place, char in enumerate(body))
    return body + _CREDIT_DIGITS[(31 - total % 31) % 31]


def plate(order: int) -> str:
    return f"闽Z{order:05}"


@dataclass(frozen=True, slots=True)
class Patient:
    """Somebody who visits the hospital this morning."""

    order: int
    family: str
    given: str
    sex: str  # HL7 table 0001
    birth: str  # yyyymmdd
    citizen: str
    phone: str  # "" where none was left

    @property
    def name(self) -> str:
        return self.family + self.given

    @property
    def id(self) -> str:
        """The hospital's own number."""
        return f"P{self.order:06}"

    @property
    def visit(self) -> str:
        return f"V{self.order:06}"


def patients(count: int) -> list[Patient]:
    found = []
    for order in range(1, count + 1):
        birth = f"{1940 + order * 7 % 70}{order % 12 + 1:02}{order % 28 + 1:02}"
        found.append(
            Patient(
                order=order,
                family=_FAMILIES[order % len(_FAMILIES)],
                given=_GIVEN[order % len(_GIVEN)],
                sex="M" if order % 2 else "F",
                birth=birth,
                citizen=citizen_number(birth, order),
                phone=f"1990000{order:04}" if order % 5 else "",
            )
        )
    return found
