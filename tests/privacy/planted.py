"""Invented people, and messages of every codec that carry them in the fields made for it."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from urllib.parse import quote
from xml.sax.saxutils import escape

from hub.privacy.normal import check_character

__all__ = ["CODECS", "Person", "message_of", "person_of"]

CODECS = ("hl7v2", "json", "fhir", "cda", "hl7v3", "xml", "csv", "form", "jsonl", "astm", "multipart", "fixed", "text")
_SURNAMES = "张王李赵陈杨周吴徐孙"
_GIVEN = "磐砚翊骁霁曦澍珩璟琰"


@dataclass(frozen=True)
class Person:
    name: str
    family: str
    given: str
    id_number: str
    birth: str
    phone: str
    card: str
    address: str
    email: str
    insurance: str
    diagnosis: str
    note: str

    @property
    def planted(self) -> tuple[str, ...]:
        """What must not be seen anywhere by those who see masks."""
        return (
            self.name,
            self.given,
            self.id_number,
            self.phone,
            self.card,
            self.address,
            self.email,
            self.insurance,
            self.diagnosis,
            self.note,
        )


def luhn_digit(body: str) -> str:
    from hub.masking import luhn

    return next(d for d in "0123456789" if luhn(body + d))


def person_of(seed: int) -> Person:
    """Region 990101 is nobody's; numbers have right check digits."""
    draw = random.Random(seed)
    family = draw.choice(_SURNAMES)
    given = "".join(draw.sample(_GIVEN, 2))
    birth = f"{draw.randint(1930, 2020)}{draw.randint(1, 12):02d}{draw.randint(1, 28):02d}"
    body = f"130199{birth}{draw.randint(100, 999)}"
    card = f"622848{draw.randint(10**11, 10**12 - 1)}"
    return Person(
        name=family + given,
        family=family,
        given=given,
        id_number=body + check_character(body),
        birth=birth,
        phone=f"19{draw.randint(10**8, 10**9 - 1)}",
        card=card + luhn_digit(card),
        address=f"某省某市某区磐石路{draw.randint(1000, 9999)}号",
        email=f"p{draw.randint(10**6, 10**7)}@example.org",
        insurance=f"YB{draw.randint(10**9, 10**10 - 1)}",
        diagnosis=f"测试性疾病{draw.randint(1000, 9999)}",
        note=f"自述{draw.randint(10**5, 10**6 - 1)}不适",
    )


def message_of(codec: str, p: Person) -> bytes:
    return _MAKERS[codec](p).encode("utf-8")


def _hl7(p: Person) -> str:
    return "\r".join(
        [
            "MSH|^~\\&|HIS|H|HUB|H|20261128080000||ADT^A01^ADT_A01|M1|P|2.5.1|||||CHN|UNICODE UTF-8",
            f"PID|1||{p.id_number}^^^CN^NI~{p.insurance}^^^YB^HC||{p.family}^{p.given}^^^^^L~{p.name}^^^^^^L||{p.birth}|M|||{p.address}^^某市^某省^420000||"
            f"{p.phone}^PRN^PH~^NET^Internet^{p.email}||||||{p.id_number}",
            f"NK1|1|{p.name}|SPO|{p.address}|{p.phone}",
            f"IN1|1|P|I|某保险||||||||||||{p.name}|SEL|{p.birth}|{p.address}|||||||||||||||||{p.insurance}",
            f"DG1|1||Z99^{p.diagnosis}^ICD10|{p.diagnosis}",
            f"OBX|1|ST|A||{p.note}",
            f"NTE|1||{p.name}：{p.note}",
            f"ZZZ|{p.name}|{p.phone}|{p.id_number}|{p.card}|{p.email}",
        ]
    )


def _json(p: Person) -> str:
    return json.dumps(
        {
            "head": {"tranId": "1", "hospital": {"name": "某市医院"}},
            "patientName": p.name,
            "id_card": p.id_number,
            "csrq": p.birth,
            "tel": p.phone,
            "mobileNo": int(p.phone),
            "bankCardNo": p.card,
            "address": p.address,
            "mail": p.email,
            "psn_no": p.insurance,
            "diagnosis": [{"name": p.diagnosis, "code": p.diagnosis}],
            "remark": p.note,
            "driver": {"name": p.name, "telephone": p.phone},
            "fields": [{"name": "身份证号", "value": p.id_number}, {"name": "姓名", "value": p.name}],
            "patient": {
                "name": {"text": p.name, "family": p.family, "given": p.given},
                "identifiers": [
                    {"kind": "citizen", "value": p.id_number},
                    {"kind": "healthCard", "value": p.insurance},
                ],
                "contacts": [{"kind": "mobile", "value": p.phone}, {"kind": "email", "value": p.email}],
                "addresses": [{"text": p.address, "street": p.address}],
                "birthDate": p.birth,
            },
            "visit": {"diagnoses": [{"code": {"code": "Z99", "display": p.diagnosis}, "note": p.note}]},
            "inner": json.dumps({"xm": p.name, "sfzh": p.id_number, "bz": p.note}, ensure_ascii=False),
            "free": f"患者姓名：{p.name}，电话{p.phone}，卡号 {p.card}，{p.email}",
        },
        ensure_ascii=False,
    )


def _fhir(p: Person) -> str:
    patient = {
        "resourceType": "Patient",
        "id": "1",
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{p.name} {p.note}</div>'},
        "identifier": [
            {"type": {"coding": [{"code": "NI"}]}, "system": "urn:oid:2.16.156.10011.1.3", "value": p.id_number},
            {"type": {"coding": [{"code": "HC"}]}, "value": p.insurance},
        ],
        "name": [{"text": p.name, "family": p.family, "given": [p.given]}],
        "telecom": [{"system": "phone", "value": p.phone}, {"system": "email", "value": p.email}],
        "birthDate": f"{p.birth[:4]}-{p.birth[4:6]}-{p.birth[6:]}",
        "address": [{"text": p.address, "line": [p.address], "city": "某市"}],
        "contact": [{"name": {"text": p.name}, "telecom": [{"value": p.phone}]}],
        "photo": [{"contentType": "image/png", "data": "aGVsbG8="}],
        "extension": [{"url": "urn:x:card", "valueString": f"卡号 {p.card}"}],
    }
    condition = {
        "resourceType": "Condition",
        "code": {"coding": [{"system": "urn:icd", "code": p.diagnosis, "display": p.diagnosis}], "text": p.diagnosis},
        "subject": {"reference": "Patient/1", "display": p.name},
        "note": [{"text": p.note}],
    }
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "某检查"},
        "subject": {"reference": "Patient/1"},
        "valueString": p.note,
    }
    entries = [{"resource": one} for one in (patient, condition, observation)]
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}, ensure_ascii=False)


def _cda(p: Person) -> str:
    return (
        '<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><title>某记录</title><recordTarget><patientRole>'
        f'<id root="2.16.156.10011.1.3" extension="{p.id_number}"/><id root="2.16.156.10011.1.19" extension="{p.insurance}"/>'
        f'<addr use="H"><houseNumber>{p.address}</houseNumber><city>某市</city></addr><telecom value="tel:{p.phone}"/><telecom value="mailto:{p.email}"/>'
        f'<patient><name>{p.name}</name><birthTime value="{p.birth}"/></patient></patientRole></recordTarget>'
        "<custodian><assignedCustodian><representedCustodianOrganization><name>某市医院</name></representedCustodianOrganization></assignedCustodian></custodian>"
        f"<component><structuredBody><component><section><title>主诉</title><text>{p.name} {p.note}</text><entry><observation classCode='OBS' moodCode='EVN'>"
        f"<code code='x' codeSystem='1.2'/><value xsi:type='CD' code='{p.diagnosis}' displayName='{p.diagnosis}'/></observation></entry>"
        f"<entry><observation><value xsi:type='ST'>{p.note}</value></observation></entry></section></component></structuredBody></component>"
        f"<!-- 患者姓名：{p.name} {p.phone} {p.card} --></ClinicalDocument>"
    )


def _v3(p: Person) -> str:
    return (
        '<PRPA_IN201311UV02 xmlns="urn:hl7-org:v3"><controlActProcess><subject><registrationRequest><subject1><patient>'
        f'<id root="2.16.156.10011.1.3" extension="{p.id_number}"/><telecom value="{p.phone}"/><patientPerson><name><family>{p.family}</family><given>{p.given}</given></name>'
        f'<birthTime value="{p.birth}"/><addr>{p.address}</addr><asOtherIDs><id extension="{p.insurance}" root="2.16.156.10011.1.19"/></asOtherIDs></patientPerson>'
        "<providerOrganization><name>某市医院</name></providerOrganization></patient></subject1></registrationRequest></subject></controlActProcess></PRPA_IN201311UV02>"
    )


def _xml(p: Person) -> str:
    inner = f"<req><xm>{p.name}</xm><sfzh>{p.id_number}</sfzh><zd>{p.diagnosis}</zd></req>"
    return (
        f'<request><patient><name>{p.name}</name><idNo>{p.id_number}</idNo><birthday>{p.birth}</birthday><phone kind="m">{p.phone}</phone>'
        f'<address>{p.address}</address><email>{p.email}</email></patient><card bankCardNo="{p.card}" psn_no="{p.insurance}"/>'
        f'<param name="patientName" value="{p.name}"/><diagnosisName>{p.diagnosis}</diagnosisName><remark>{p.note}</remark><hospital><name>某市医院</name></hospital>'
        f"<data><![CDATA[{inner}]]></data><text>{escape(inner)}</text></request>"
    )


_COLUMNS = (
    "姓名",
    "身份证号",
    "出生日期",
    "联系电话",
    "银行卡号",
    "家庭住址",
    "email",
    "医保号",
    "诊断",
    "备注",
    "数量",
)


def _cells(p: Person) -> list[str]:
    return [p.name, p.id_number, p.birth, p.phone, p.card, p.address, p.email, p.insurance, p.diagnosis, p.note, "1"]


def _csv(p: Person) -> str:
    return (
        ",".join(_COLUMNS)
        + "\r\n"
        + ",".join(f'"{cell}"' if at % 2 else cell for at, cell in enumerate(_cells(p)))
        + "\r\n"
    )


def _form(p: Person) -> str:
    return "&".join(f"{quote(name)}={quote(cell)}" for name, cell in zip(_COLUMNS, _cells(p), strict=True))


def _multipart(p: Person) -> str:
    parts = [
        f'--b1\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{cell}\r\n'
        for name, cell in zip(_COLUMNS, _cells(p), strict=True)
    ]
    return "".join(parts) + "--b1--\r\n"


def _astm(p: Person) -> str:
    return "\r".join(
        [
            "H|\\^&|||LIS",
            f"P|1|{p.id_number}|||{p.family}^{p.given}||{p.birth}|M||{p.address}||{p.phone}||||||{p.diagnosis}",
            "O|1|S1",
            f"R|1|^^^GLU|{p.note}|mmol/L",
            f"C|1|I|{p.note}",
            f"M|1|{p.card}|{p.email}|{p.name}",
            "L|1|N",
        ]
    )


def _loose(p: Person) -> str:
    """Without structure only what has a form of its own, or a label, can be found."""
    return f"姓名：{p.name} 身份证 {p.id_number} 电话 {p.phone}，卡 {p.card} 邮箱 {p.email}\n{p.name} {p.id_number}\n地址:{p.address}\n备注={p.note}\n诊断: {p.diagnosis}\n医保号：{p.insurance}\n"


_MAKERS = {
    "hl7v2": _hl7,
    "json": _json,
    "jsonl": lambda p: _json(p) + "\n" + _json(p) + "\n",
    "fhir": _fhir,
    "cda": _cda,
    "hl7v3": _v3,
    "xml": _xml,
    "csv": _csv,
    "form": _form,
    "multipart": _multipart,
    "astm": _astm,
    "fixed": lambda p: f"{p.name}      {p.id_number}  {p.phone}  {p.card}\n",
    "text": _loose,
}
