"""What the receiving parties of the demo demand of a document, field by field, independent of the mappings that make it.

The waybill's table is that of the ministry's guide (WLHY_YD1001, 交办运函〔2019〕1391号); the others are the provincial platform's
and the gateway's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["ENCOUNTER", "LAB_REPORT", "NOTICE", "PATIENT", "WAYBILL", "Field", "Number", "complaints"]

_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")


class Number(str):
    """A number with decimals, as it was written in the document."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Field:
    """``need``: M mandatory, C mandatory where what holds it is there, O optional.

    ``kind``: ``an`` text, ``n`` digits as text, ``dN`` a number with at most N decimals, ``fN`` a text with N of them,
    ``t`` yyyyMMddHHmmss, ``iso`` time with offset, ``date``, ``flag`` true or false, ``int``, or the codes allowed (``1|2``). ``length`` in characters, 0 = any.
    """

    path: str
    kind: str
    length: int
    need: str


def _table(text: str) -> tuple[Field, ...]:
    fields = []
    for line in filter(None, text.splitlines()):
        path, kind, length, need = line.split()
        fields.append(Field(path, kind, int(length), need))
    return tuple(fields)


WAYBILL = _table("""
root.header.messageReferenceNumber                        an  35  M
root.header.documentName                                  an  35  M
root.header.documentVersionNumber                         2.0 35  M
root.header.senderCode                                    an  35  M
root.header.recipientCode                                 an  35  M
root.header.enterpriseSenderCode                          an  35  M
root.header.messageSendingDateTime                        t   14  M
root.header.messageFunctionCode                           9   1   M
root.header.ipcType                                       an  16  M
root.body.originalDocumentNumber                          an  35  M
root.body.shippingNoteNumber                              an  20  M
root.body.serialNumber                                    n   4   M
root.body.vehicleAmount                                   n   4   M
root.body.transportTypeCode                               1|2|3|4|5|6|7|8 2 M
root.body.sendToProDateTime                               t   14  M
root.body.carrier                                         an  512 M
root.body.unifiedSocialCreditIdentifier                   an  18  M
root.body.permitNumber                                    an  50  M
root.body.consignmentDateTime                             t   14  M
root.body.businessTypeCode                                1002996|1003997|1003998|1002998|1003999 7 M
root.body.despatchActualDateTime                          t   14  M
root.body.goodsReceiptDateTime                            t   14  M
root.body.consignorInfo.consignor                         an  512 M
root.body.consignorInfo.consignorID                       an  35  M
root.body.consignorInfo.placeOfLoading                    an  256 M
root.body.consignorInfo.countrySubdivisionCode            n   12  M
root.body.consigneeInfo.consignee                         an  512 M
root.body.consigneeInfo.consigneeID                       an  35  O
root.body.consigneeInfo.goodsReceiptPlace                 an  256 M
root.body.consigneeInfo.countrySubdivisionCode            n   12  M
root.body.totalMonetaryAmount                             f3  19  M
root.body.vehicleInfo.vehiclePlateColorCode               1|2|3|4|5|9|91|92|93|94 2 M
root.body.vehicleInfo.vehicleNumber                       an  35  M
root.body.vehicleInfo.despatchActualDateTime              t   14  O
root.body.vehicleInfo.goodsReceiptDateTime                t   14  O
root.body.vehicleInfo.placeOfLoading                      an  256 O
root.body.vehicleInfo.goodsReceiptPlace                   an  256 O
root.body.vehicleInfo.loadingCountrySubdivisionCode       n   12  O
root.body.vehicleInfo.receiptCountrySubdivisionCode       n   12  O
root.body.vehicleInfo.driver[].driverName                 an  30  M
root.body.vehicleInfo.driver[].drivingLicense             an  18  M
root.body.vehicleInfo.goodsInfo[].descriptionOfGoods      an  512 M
root.body.vehicleInfo.goodsInfo[].cargoTypeClassificationCode n 4 M
root.body.vehicleInfo.goodsInfo[].goodsItemGrossWeight    f3  15  M
root.body.vehicleInfo.goodsInfo[].cube                    f4  10  O
root.body.vehicleInfo.goodsInfo[].totalNumberOfPackages   int 8   O
root.body.actualCarrierInfo.actualCarrierName             an  256 M
root.body.actualCarrierInfo.actualCarrierBusinessLicense  an  50  M
root.body.actualCarrierInfo.actualCarrierID               an  50  M
root.body.insuranceInformation.policyNumber               an  30  M
root.body.insuranceInformation.insuranceCompanyCode       an  30  M
root.body.remark                                          an  256 O
""")

_HEADER = """
header.messageId                an    40  M
header.sourceMessageId          an    40  M
header.occurredAt               iso   0   M
header.organisationCode         an    40  M
header.organisationName         an    80  M
"""

PATIENT = _table(
    _HEADER
    + """
header.event                    admit|register|update 0 M
header.operator.code            an    20  O
header.operator.name            an    40  O
patient.localId                 an    40  M
patient.identifiers[].type      local|citizen|health_card|other 0 M
patient.identifiers[].value     an    40  M
patient.identifiers[].issuer    an    40  O
patient.name                    an    60  M
patient.sex.code                0|1|2|9 0 M
patient.sex.name                an    20  M
patient.birthDate               date  10  M
patient.maritalStatus           10|20|21|22|23|30|40|90 0 O
patient.ethnicGroup.code        an    10  O
patient.ethnicGroup.name        an    20  O
patient.nationality             an    3   M
patient.phone                   n     20  O
patient.workPhone               n     20  O
patient.address.text            an    200 C
patient.address.province        an    40  O
patient.address.city            an    40  O
patient.address.street          an    120 O
patient.address.postalCode      n     6   O
patient.address.type            residence|household|work 0 C
patient.deceased                flag  0   M
contacts[].order                int   0   C
contacts[].name                 an    60  C
contacts[].relation             0|1|2|3|4|5|6|7|8 0 C
contacts[].phone                n     20  O
allergies[].category            drug|food|environment|other 0 C
allergies[].substance           an    80  C
allergies[].severity            an    10  O
allergies[].reactions[]         an    80  O
insurance[].planCode            an    10  C
insurance[].company             an    80  O
insurance[].number              an    40  O
"""
)

ENCOUNTER = _table(
    _HEADER
    + """
header.event                    admit|register|update|discharge 0 M
encounter.number                an    40  M
encounter.patientId             an    40  M
encounter.patientName           an    60  M
encounter.class.code            1|2|3 0   M
encounter.class.name            门诊|急诊|住院 0 M
encounter.emergency             flag  0   M
encounter.department.code       an    20  M
encounter.department.name       an    40  M
encounter.bed.ward              an    20  C
encounter.bed.room              an    20  C
encounter.bed.bed               an    20  C
encounter.attendingDoctor.code  an    20  C
encounter.attendingDoctor.name  an    60  C
encounter.admittedAt            iso   0   M
encounter.dischargedAt          iso   0   O
encounter.leftBy                1|2|3|4|5|9 0 O
encounter.days                  int   0   O
diagnoses[].order               int   0   C
diagnoses[].code                an    20  C
diagnoses[].name                an    120 C
diagnoses[].system              ICD-10|ICD-9-CM-3|local 0 C
diagnoses[].type                admission|working|final 0 C
diagnoses[].at                  iso   0   O
"""
)

LAB_REPORT = _table(
    _HEADER
    + """
report.number                   an    40  M
report.orderNumber              an    40  M
report.status                   preliminary|final|corrected|cancelled 0 M
report.patientId                an    40  M
report.patientName              an    60  M
report.encounterNumber          an    40  O
report.item.code                an    20  M
report.item.name                an    80  M
report.specimen.code            an    20  O
report.specimen.name            an    40  O
report.sampledAt                iso   0   M
report.receivedAt               iso   0   O
report.reportedAt               iso   0   M
report.orderedBy.code           an    20  O
report.orderedBy.name           an    60  O
report.remark                   an    500 O
results[].order                 int   0   M
results[].code                  an    20  M
results[].name                  an    80  M
results[].type                  number|text|code 0 M
results[].value                 an    200 M
results[].number                d6    0   O
results[].unit                  an    20  O
results[].reference             an    60  O
results[].flag.code             0|1|2|3|4|5|6 0 O
results[].flag.name             an    20  O
results[].critical              flag  0   M
results[].testedAt              iso   0   O
results[].technician            an    60  O
"""
)

NOTICE = _table("""
phone                           n     20  M
signature                       an    20  M
template                        an    40  M
parameters.patient              an    1   M
parameters.date                 an    10  O
parameters.hospital             an    40  O
text                            an    300 M
reference                       an    40  M
""")


def complaints(document: Any, fields: tuple[Field, ...]) -> list[str]:
    """Everything that is wrong with a document: missing, too long, of another kind, or not in the table at all."""
    found: list[str] = []
    known = _Known()
    for field in fields:
        known.add(field.path)
        _walk(document, field.path.split("."), "", field, found)
    _unknown(document, known, "", found)
    return found


def _walk(value: Any, steps: list[str], place: str, field: Field, found: list[str]) -> None:
    if not steps:
        reason = _wrong(value, field)
        if reason:
            found.append(f"{place}: {reason}")
        return
    name, repeats = steps[0].removesuffix("[]"), steps[0].endswith("[]")
    place = f"{place}.{name}" if place else name
    below = value.get(name) if isinstance(value, dict) else None
    if below is None or below == []:
        last = len(steps) == 1
        if field.need == "M" or (field.need == "C" and last and not repeats):
            found.append(f"{place}: missing")
        return
    if repeats and not isinstance(below, list):
        found.append(f"{place}: not a list")
        return
    for number, item in enumerate(below if repeats else [below]):
        _walk(item, steps[1:], f"{place}[{number}]" if repeats else place, field, found)


def _wrong(value: Any, field: Field) -> str:
    """Why a value is not acceptable; "" when it is."""
    kind = field.kind
    if kind == "flag":
        return "" if isinstance(value, bool) else "not true or false"
    if kind == "int":
        return "" if isinstance(value, int) and not isinstance(value, bool) else "not a whole number"
    if kind == "d6":
        whole = isinstance(value, int) and not isinstance(value, bool)
        fits = isinstance(value, Number) and re.fullmatch(rf"\d{{1,15}}\.\d{{1,{kind[1:]}}}", value)
        return "" if whole or fits else f"not a number with at most {kind[1:]} decimals"
    if not isinstance(value, str) or isinstance(value, Number) or not value:
        return "not a text"
    if field.length and len(value) > field.length:
        return f"longer than {field.length} characters"
    if kind == "n":
        return "" if value.isascii() and value.isdigit() else "not digits"
    if kind in ("f3", "f4"):
        return "" if re.fullmatch(rf"\d{{1,15}}\.\d{{{kind[1:]}}}", value) else f"not a number with {kind[1:]} decimals"
    if kind == "date":
        return "" if _DATE.fullmatch(value) else "not a date"
    if kind in ("t", "iso"):
        try:
            if kind == "t":
                datetime.strptime(value, "%Y%m%d%H%M%S")
                return ""
            return "" if datetime.fromisoformat(value).tzinfo else "a time without offset"
        except ValueError:
            return "not a time"
    return "" if kind == "an" or value in kind.split("|") else f"not one of {kind}"


class _Known:
    """The names a table knows, as a tree."""

    def __init__(self) -> None:
        self.below: dict[str, _Known] = {}

    def add(self, path: str) -> None:
        node = self
        for step in path.split("."):
            node = node.below.setdefault(step.removesuffix("[]"), _Known())


def _unknown(value: Any, known: _Known, place: str, found: list[str]) -> None:
    if isinstance(value, list):
        for item in value:
            _unknown(item, known, place, found)
    elif isinstance(value, dict):
        for name, below in value.items():
            path = f"{place}.{name}" if place else name
            if name not in known.below:
                found.append(f"{path}: not a field of this document")
            else:
                _unknown(below, known.below[name], path, found)
