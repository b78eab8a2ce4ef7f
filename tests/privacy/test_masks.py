"""The masks, exactly; classes by field, path and name."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.errors import ConfigError
from hub.privacy import Policy, load_policy, mask_message
from hub.privacy.detect import detect, value_class
from hub.privacy.masks import masked, shape

ID = "110105194912310021"
ID18 = "11010519491231002X"


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("name", "张三", "张*"),
        ("name", "张三丰", "张**"),
        ("name", "Zhang San", "Z********"),
        ("name", "张", "*"),
        ("id_number", ID18, "110105********002X"),
        ("id_number", "110105491231002", "110105*****1002"),
        ("phone", "13812345678", "138****5678"),
        ("phone", "0739-5312345", "073*****2345"),
        ("bank_card", "6228480402564890018", "6228***********0018"),
        ("birth_date", "19491231", "1949****"),
        ("birth_date", "1949-12-31", "1949-**-**"),
        ("birth_date", "1949-12-31T08:00:00+08:00", "1949-**-*****:**:**+**:**"),
        ("email", "zhang.san@example.com", "z***@example.com"),
        ("address", "湖南省邵阳市大祥区城南街道12号", "湖南省邵阳市大祥区***"),
        ("address", "城南街道12号", "***"),
        ("plate", "湘E12345", "湘E***45"),
        ("diagnosis", "高血压", "***"),
        ("insurance_number", "YB123", "Y**23"),
        ("id_number", "1", "*"),
        ("name", "  ", "  "),
    ],
)
def test_masks(policy: Policy, kind: str, value: str, shown: str) -> None:
    assert masked(policy.classes[kind], value) == shown


def test_shape() -> None:
    assert shape("张三 A1-2") == "xx x9-9"
    assert len(shape("x" * 500)) < 80


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (ID18, "id_number"),
        ("110105 19491231 002X", "id_number"),
        ("110105194912310022", ""),
        ("13812345678", "phone"),
        ("+86 138-1234-5678", "phone"),
        ("12812345678", ""),
        ("6228480402564890018", "bank_card"),
        ("6228480402564890019", ""),
        ("20261128080000123", ""),
    ],
)
def test_numbers_are_known_by_their_form(text: str, kind: str) -> None:
    assert value_class(text) == kind


def test_free_text() -> None:
    found: list[tuple[str, str]] = []

    def replace(kind: str, value: str) -> str:
        found.append((kind, value))
        return f"<{kind}>"

    text = f"患者姓名：张三丰，证件{ID18}，车牌湘E12345，护照号 E12345678，电话13812345678，a@example.com"
    assert (
        detect(text, replace)
        == "患者姓名：<name>，证件<id_number>，车牌<plate>，护照号 <paper_number>，电话<phone>，<email>"
    )
    assert dict(found)["name"] == "张三丰"
    plain = "LOINC 883-9, 2026-11-28 08:00, 1.2.156.10011.2.3.1, 订单 20261128000123"
    assert detect(plain, replace) == plain


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("patientName", "name"),
        ("PATIENT_NAME", "name"),
        ("身份证号", "id_number"),
        ("sfzh", "id_number"),
        ("guardianIdCardNo", "id_number"),
        ("contactMobile", "phone"),
        ("doctorName", "staff_name"),
        ("hospitalName", ""),
        ("deptName", ""),
        ("itemName", ""),
        ("drivingLicenseID", "id_number"),
        ("vehicleNumber", "plate"),
        ("carrierVehiclePlateNumber", "plate"),
        ("status", ""),
        ("id", ""),
        ("number", ""),
    ],
)
def test_names_of_members(policy: Policy, key: str, kind: str) -> None:
    assert policy.class_of_key(key) == kind


def test_canonical_types_say_what_is_personal(policy: Policy) -> None:
    pairs = policy.pairs
    assert pairs["patient", "birthDate"] == "birth_date"
    assert pairs["identifiers", "value"] == "identifier"
    assert pairs["name", "text"] == "name"
    assert pairs["requestedby", "name"] == "staff_name"
    assert pairs["results", "value"] == "health"
    assert pairs["record", "chiefComplaint"] == "diagnosis"


def test_a_value_in_its_field_is_hidden_where_else_it_stands(policy: Policy) -> None:
    raw = f"MSH|^~\\&|A|B|C|D|1||ADT^A01|1|P|2.5\rPV2|||复诊的张三丰\rEVN||1|||备注张三丰{ID18}\rPID|||{ID18}^^^^NI||张三丰".encode()
    text = mask_message(policy, "hl7v2", raw, policy.view())
    assert text is not None
    assert "三丰" not in text
    assert ID18 not in text
    assert text.split("\r")[3] == "PID|||110105********002X^^^^NI||张**"


def test_the_character_set_of_the_message_is_that_of_its_masks(policy: Policy) -> None:
    raw = "MSH|^~\\&|A|B|C|D|1||ADT^A01|1|P|2.5|||||CHN|GB18030\rPID|||1||张三丰".encode("gb18030")
    text = mask_message(policy, "hl7v2", raw, policy.view())
    assert text is not None
    assert text.endswith("张**")


def test_staff_is_shown_and_can_be_hidden(tmp_path: Path) -> None:
    raw = b'{"doctorName": "\xe7\x8e\x8b\xe5\xb0\x8f\xe5\xb7\x9d", "x_custom": "abc123456"}'
    assert "王小川" in (mask_message(load_policy(), "json", raw, load_policy().view()) or "")
    site = tmp_path / "privacy.yaml"
    site.write_text(
        "views: {masked: {level: 2}}\nclasses: {site_number: {title: number of ours, level: 3, mask: [1, 1]}}\n"
        "names: {site_number: [x_custom]}\nhl7v2: {ZPI: {2: site_number}}\nkeys: {patient_name: name}\n",
        "utf-8",
    )
    policy = load_policy(site)
    text = mask_message(policy, "json", raw, policy.view())
    assert text == '{"doctorName":"王**","x_custom":"a*******6"}'
    hl7 = mask_message(policy, "hl7v2", b"MSH|^~\\&|A\rZPI||secret1", policy.view())
    assert hl7 == "MSH|^~\\&|A\rZPI||s*****1"


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("names:\n  nonsense: [a]\n", "names.nonsense", 2),
        ("views: {mine: {level: 9}}\n", "views.mine.level", 1),
        ("\nroles: {monitor: none}\n", "roles.monitor", 2),
        ("patterns: {name: '('}\n", "patterns.name", 1),
        ("classes: {x: {title: x, level: 3, mask: 3}}\n", "classes.x.mask", 1),
        ("classes: {x: {title: x, level: 3, mask: shout}}\n", "classes.x.mask", 1),
        ("hl7v2: {PID: {5: 'name@a'}}\n", "hl7v2.PID.5", 1),
        ("keys: {a: nothing}\n", "keys.a", 1),
        ("unknown: 1\n", "unknown", 1),
    ],
)
def test_a_wrong_file_is_told_with_its_line(tmp_path: Path, text: str, key: str, line: int) -> None:
    site = tmp_path / "privacy.yaml"
    site.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_policy(site)
    problem = caught.value.problems[0]
    assert problem.key.startswith(key)
    assert problem.line == line


def test_views_by_right_and_role(policy: Policy) -> None:
    assert policy.view_for(["monitor"], ["personal.read"]).open
    assert policy.view_for([]).name == "masked"
    assert policy.view_for(["engineer"]).name == "structure"
    assert policy.view_for(["auditor", "monitor"]).name == "masked"
    assert not policy.view_for(["auditor"]).bodies
