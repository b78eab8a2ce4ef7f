"""What the systems of the demo send: HL7 v2 messages of a HIS and a LIS, waybills of a freight operator."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tests.demo.people import Patient, citizen_number, credit_code, plate

__all__ = ["Clock", "adt", "oru", "waybill"]

_WARDS = (("W03", "心内科"), ("W05", "普外科"), ("W07", "呼吸科"))
_DIAGNOSES = (("I10.x00", "高血压"), ("K35.800", "急性阑尾炎"), ("J18.900", "肺炎"))
_TESTS = (
    ("WBC", "白细胞计数", r"10\S\9/L", "3.5-9.5", (6.2, 11.8, 2.9)),
    ("RBC", "红细胞计数", r"10\S\12/L", "3.8-5.8", (4.41, 4.02, 5.91)),
    ("HGB", "血红蛋白", "g/L", "115-175", (131, 98, 142)),
    ("PLT", "血小板计数", r"10\S\9/L", "125-350", (287, 210, 58)),
)
_CARGO = (("螺纹钢", "钢铁", 31.5, 0), ("苹果", "鲜活农产品", 12.25, 640), ("家电", "机械、设备、电器", 8.4, 212))


class Clock:
    """The time on the walls of the story: a morning that begins at eight and moves on with every message."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def tick(self) -> datetime:
        self._now += timedelta(seconds=23)
        return self._now


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M%S")


def _segment(name: str, fields: dict[int, str]) -> str:
    """A segment from its fields by HL7 number (MSH counts its separator as 1)."""
    last = max(fields)
    first = 3 if name == "MSH" else 1
    head = r"MSH|^~\&" if name == "MSH" else name
    return "|".join([head, *(fields.get(number, "") for number in range(first, last + 1))])


def _message(*segments: str) -> str:
    return "\r".join(segment for segment in segments if segment) + "\r"


def _header(sender: str, facility: str, kind: str, number: str, at: datetime, more: dict[int, str]) -> str:
    fields = {3: sender, 4: facility, 5: "TONGQU", 6: "HUB", 7: _stamp(at), 9: kind, 10: number, 11: "P", 12: "2.5.1"}
    return _segment("MSH", {**fields, 17: "CHN", **more})


def _pid(patient: Patient, phone: str) -> str:
    split = patient.order % 3 == 0  # some departments enter family and given name apart, most don't
    return _segment(
        "PID",
        {
            1: "1",
            3: f"{patient.id}^^^H9001^PI~{patient.citizen}^^^^NNCHN",
            5: f"{patient.family}^{patient.given}" if split else patient.name,
            7: patient.birth,
            8: patient.sex,
            11: f"演示路{patient.order}号^^演示市^虚构省^350000^CHN^H",
            13: f"{phone}^PRN^CP" if phone else "",
            16: "SMWD"[patient.order % 4],
            22: "HA^汉族",
            28: "156",
            30: "N",
        },
    )


def _doctor(patient: Patient) -> str:
    return f"D{patient.order % 7:03}^演示医生"


def adt(event: str, patient: Patient, number: str, at: datetime, *, phone: str | None = None) -> bytes:
    """ADT^A01 admit, A03 discharge, A04 register an outpatient, A08 update, A31 update of a person; UTF-8.

    Every third patient is an inpatient. ``phone`` is the number the patient gives now, where it changed.
    """
    structure = {"A01": "ADT_A01", "A03": "ADT_A03", "A04": "ADT_A01", "A08": "ADT_A01", "A31": "ADT_A05"}[event]
    inpatient = event in ("A01", "A03") or (event == "A08" and patient.order % 3 == 0)
    discharge = event == "A03"
    arriving = event in ("A01", "A04")
    code, ward = _WARDS[patient.order % len(_WARDS)]
    bed = f"{code}^{patient.order % 9 + 1:02}^{patient.order % 4 + 1}^H9001^^^^^{ward}"
    icd, diagnosis = _DIAGNOSES[patient.order % len(_DIAGNOSES)]
    visit = {
        1: "1",
        2: "I" if inpatient else "O",
        3: bed if inpatient else "OPD^^^H9001^^^^^门诊",
        4: "R",
        7: _doctor(patient),
        19: patient.visit,
        36: "01" if discharge else "",
        44: _stamp(at - timedelta(days=5) if discharge else at),
        45: _stamp(at) if discharge else "",
    }
    mother = {
        1: "1",
        2: f"{patient.family}亲属",
        3: "SPO" if patient.order % 2 else "MTH",
        5: f"1990001{patient.order:04}",
    }
    allergy = {1: "1", 2: "DA^药物过敏", 3: "^青霉素", 4: "MO", 5: "皮疹~荨麻疹"}
    found = {1: "1", 3: f"{icd}^{diagnosis}^I10", 5: _stamp(at), 6: "F" if discharge else "A"}
    insurance = {1: "1", 2: "310^职工基本医疗保险", 3: "YB01", 4: "演示市医保局", 36: patient.id}
    return _message(
        _header("HIS", "H9001", f"ADT^{event}^{structure}", number, at, {18: "UNICODE UTF-8"}),
        _segment("EVN", {1: event, 2: _stamp(at), 5: "R001^挂号员^甲"}),
        _pid(patient, patient.phone if phone is None else phone),
        _segment("NK1", mother) if arriving else "",
        _segment("PV1", visit) if event != "A31" else "",
        _segment("PV2", {11: "5"}) if discharge else "",
        _segment("AL1", allergy) if arriving and patient.order % 4 == 0 else "",
        _segment("DG1", found) if inpatient else "",
        _segment("IN1", insurance) if event == "A01" else "",
    ).encode("utf-8")


def oru(patient: Patient, number: str, at: datetime, *, status: str = "F") -> bytes:
    """ORU^R01 with a blood count, in GB18030; asks for an accept acknowledgement (enhanced mode)."""
    ordered = f"O{number[3:]}"
    results = []
    for order, (code, name, unit, reference, values) in enumerate(_TESTS, 1):
        value = values[(patient.order + order) % 3]
        low, high = (float(bound) for bound in reference.split("-"))
        flag = "H" if value > high else "L" if value < low else "N"
        fields = {1: str(order), 2: "NM", 3: f"{code}^{name}^L", 5: str(value), 6: unit, 7: reference, 8: flag}
        results.append(_segment("OBX", {**fields, 11: status, 14: _stamp(at), 16: "T01^演示检验师"}))
    test = {
        1: "1",
        2: f"{ordered}^HIS",
        3: f"R{ordered}^LIS",
        4: "CBC^血常规五分类^L",
        7: _stamp(at - timedelta(minutes=40)),
        14: _stamp(at - timedelta(minutes=30)),
        15: "BLD&全血",
        16: _doctor(patient),
        22: _stamp(at),
        25: status,
    }
    modes = {15: "AL", 16: "NE", 18: "GB 18030-2000"}
    return _message(
        _header("LIS", "L9001", "ORU^R01^ORU_R01", number, at, modes),
        _pid(patient, patient.phone),
        _segment("PV1", {1: "1", 2: "O", 3: "OPD^^^H9001", 4: "R", 7: _doctor(patient), 19: patient.visit}),
        _segment("ORC", {1: "RE", 2: f"{ordered}^HIS", 3: f"R{ordered}^LIS"}),
        _segment("OBR", test),
        *results,
        _segment("NTE", {1: "1", 2: "L", 3: r"标本无溶血 \T\ 无凝块"}),
    ).encode("gb18030")


def waybill(order: int, at: datetime, *, small: bool = False) -> dict[str, Any]:
    """A finished waybill in the operator's own form; ``small``: a van of up to 4.5 t, which needs no permit."""
    name, kind, tons, packages = _CARGO[order % len(_CARGO)]
    driver_birth = f"{1965 + order % 30}{order % 12 + 1:02}15"
    goods: dict[str, Any] = {"name": name, "kind": kind, "tons": 1.2 if small else tons}
    if packages:
        goods |= {"packages": packages, "cubicMetres": round(packages * 0.042, 3)}
    carrier: dict[str, Any] = {"name": f"演示运输{order}队", "creditCode": credit_code(1000 + order)}
    if not small:
        carrier["permit"] = f"359999{order:06}"
    document: dict[str, Any] = {
        "messageId": f"OP{at:%Y%m%d}{order:06}",
        "operator": {"name": "演示网络货运有限公司", "creditCode": credit_code(1), "permit": "359999000001"},
        "waybill": {
            "number": f"YD{at:%Y%m%d}{order:05}",
            "orderNumber": f"DD{order:08}",
            "serial": "0000",
            "orderedAt": f"{at - timedelta(days=2):%Y-%m-%d %H:%M:%S}",
            "loadedAt": f"{at - timedelta(hours=20):%Y-%m-%d %H:%M:%S}",
            "deliveredAt": f"{at:%Y-%m-%d %H:%M:%S}",
            "business": "城市配送" if small else "干线普货",
            "freightYuan": 480.5 if small else 3200 + order * 10.25,
        },
        "consignor": {
            "name": "演示钢铁贸易公司",
            "creditCode": credit_code(20 + order),
            "place": f"虚构省演示市工业路{order}号",
            "area": "359999",
        },
        "consignee": {"name": "样例仓储公司", "place": f"虚构省样例市仓库{order}号", "area": "359998"},
        "vehicle": {
            "plate": f"{plate(order)[:2]}·{plate(order)[2:]}",
            "plateColour": "蓝" if small else "黄",
            "ratedTons": 1.5 if small else 32.5,
        },
        "drivers": [{"name": f"司机样{order}", "idNumber": citizen_number(driver_birth, order * 2 + 1)}],
        "goods": [goods],
        "actualCarrier": carrier,
    }
    if order % 2:
        document["insurance"] = {"policy": f"PL{order:08}", "company": "中国人民财产保险股份有限公司"}
    return document
