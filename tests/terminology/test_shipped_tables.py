"""The tables that come with the hub: complete, with a source, and right where it can be checked."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from hub.mapping.tables import CodeTable, load_table
from hub.terminology import Catalogue

ROOT = Path(__file__).resolve().parents[2]
VALUE_SETS = ROOT.parent / "shared" / "protocols" / "protocols-health-valuesets.csv"

#: Name, rows, and some of them.
STANDARD = {
    "document_type_name": (53, {"C0001": "病历概要", "C0032": "住院病案首页", "C0053": "出院小结"}),
    "drug_route_name": (24, {"1": "口服", "404": "静脉注射或静脉滴注", "9": "其他用药途径"}),
    "education_name": (40, {"10": "研究生教育", "71": "初中毕业", "73": "初中肄业", "90": "其他"}),
    "ethnic_group_name": (56, {"01": "汉族", "05": "维吾尔族", "15": "土家族", "56": "基诺族"}),
    "id_type_name": (8, {"01": "居民身份证", "06": "港澳居民来往内地通行证", "99": "其他法定有效证件"}),
    "insurance_type_name": (8, {"01": "城镇职工基本医疗保险", "07": "商业医疗保险"}),
    "marital_status_hl7": (8, {"10": "S", "20": "M", "23": "M", "30": "W", "40": "D", "90": "U"}),
    "marital_status_name": (8, {"10": "未婚", "21": "初婚", "90": "未说明的婚姻状况"}),
    "patient_type_hl7": (4, {"1": "O", "2": "E", "3": "I", "9": "U"}),
    "patient_type_name": (4, {"1": "门诊", "2": "急诊", "3": "住院", "9": "其他"}),
    "sex_hl7": (4, {"0": "U", "1": "M", "2": "F", "9": "U"}),
    "sex_name": (4, {"0": "未知的性别", "1": "男性", "2": "女性", "9": "未说明的性别"}),
    "title_class_name": (6, {"1": "正高", "4": "师级/助理", "6": "待聘"}),
    "work_status_name": (13, {"11": "国家公务员", "37": "现役军人", "90": "其他"}),
}


def table(name: str) -> CodeTable:
    found, problems = load_table(ROOT / "mappings" / "tables" / f"{name}.csv", name)
    assert problems == []
    return found


def entries(name: str) -> dict[str, str]:
    return {row.source: row.target for row in table(name).rows}


def test_no_table_has_a_problem() -> None:
    catalogue = Catalogue([ROOT / "mappings"])
    assert [problem for name in catalogue.names() for problem in catalogue.problems(name)] == []
    assert set(STANDARD) <= set(catalogue.names())


@pytest.mark.parametrize("name", sorted(STANDARD))
def test_standard_tables_are_complete_and_say_where_they_are_from(name: str) -> None:
    found = table(name)
    rows, some = STANDARD[name]
    assert len(found.rows) == rows
    assert some.items() <= entries(name).items()
    assert found.version
    assert found.source
    assert found.from_system


@pytest.mark.parametrize(
    ("codes", "names"),
    [("sex_hl7", "sex_name"), ("marital_status_hl7", "marital_status_name"), ("patient_type_hl7", "patient_type_name")],
)
def test_tables_of_one_code_system_list_the_same_codes(codes: str, names: str) -> None:
    assert entries(codes).keys() == entries(names).keys()
    assert table(codes).from_system == table(names).from_system


@pytest.mark.parametrize(
    ("there", "back", "codes"),
    [("sex_gbt2261", "sex_hl7", "MFU"), ("marital_status_gbt2261", "marital_status_hl7", "SMWDU")],
)
def test_the_main_codes_of_hl7_come_back_as_they_were(there: str, back: str, codes: str) -> None:
    assert [entries(back)[entries(there)[code]] for code in codes] == list(codes)


@pytest.mark.skipif(not VALUE_SETS.exists(), reason="the list of value sets is not here")
@pytest.mark.parametrize(
    ("name", "codes", "names"),
    [
        (
            "document_type_name",
            "subject/clinicalDocument/code/@code",
            "subject/clinicalDocument/code/displayName/@value",
        ),
        (
            "drug_route_name",
            "entry/substanceAdministration/routeCode/@code",
            "entry/substanceAdministration/routeCode/@displayName",
        ),
        ("education_name", "educationLevel/educationLevelCode/@code", "educationLevel/educationLevelCode/@displayName"),
        (
            "ethnic_group_name",
            "patientRole/patient/ethnicGroupCode/@code",
            "patientRole/patient/ethnicGroupCode/@displayName",
        ),
        (
            "marital_status_name",
            "patientRole/patient/maritalStatusCode/@code",
            "patientRole/patient/maritalStatusCode/@displayName",
        ),
        (
            "sex_name",
            "patientRole/patient/administrativeGenderCode/@code",
            "patientRole/patient/administrativeGenderCode/@displayName",
        ),
        (
            "work_status_name",
            "patient/occupation/occupationCode/@code",
            "patient/occupation/occupationCode/@displayName",
        ),
    ],
)
def test_they_say_what_the_schemas_enforce(name: str, codes: str, names: str) -> None:
    with VALUE_SETS.open(encoding="utf-8", newline="") as file:
        sets = [(cells[0], cells[1].split("|")) for cells in csv.reader(file)]

    def values(ending: str) -> list[str]:
        return next(values for path, values in sets if path.endswith(ending))

    assert entries(name) == dict(zip(values(codes), values(names), strict=True))
