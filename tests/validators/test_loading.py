"""From a declaration to validators: which kinds there are, what fits which codec, sharing, faults."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hub.codecs.registry import builtin_codecs
from hub.validators import load
from hub.validators.loading import STANDARDS
from tests.validators.validator_support import check, made, write

XSD = '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="a"/></xs:schema>'
SCH = '<schema xmlns="http://purl.oclc.org/dsdl/schematron"><pattern><rule context="a"><assert test="b"/></rule></pattern></schema>'


def test_several_in_their_order(tmp_path: Path) -> None:
    folder = write(tmp_path, m__x_xsd=XSD, m__x_sch=SCH)
    validators, problems = load([folder], "cda", schemas=["m/x.sch", "m/x.xsd"])
    assert problems == []
    assert [validator.name for validator in validators] == ["m/x.sch", "m/x.xsd"]
    assert [validator.slow for validator in validators] == [True, False]


def test_schema_and_standard(tmp_path: Path) -> None:
    folder = write(tmp_path, x_json="{}")
    validators, problems = load([folder], "fhir", {"version": "R5"}, schemas=["x.json"], standard=True)
    assert problems == []
    assert [validator.name for validator in validators] == ["x.json", "fhir R5"]


@pytest.mark.parametrize("codec", [codec.name for codec in builtin_codecs()])
def test_standards(codec: str) -> None:
    validators, problems = load([], codec, standard=True)
    assert problems == []
    assert len(validators) == (codec in STANDARDS)


@pytest.mark.parametrize(
    ("codec", "name", "fits"),
    [
        ("json", "x.json", True),
        ("fhir", "x.json", True),
        ("csv", "x.json", True),
        ("jsonl", "X.JSON", True),
        ("xml", "x.json", False),
        ("hl7v2", "x.json", False),
        ("dicom", "x.json", False),
        ("xml", "x.xsd", True),
        ("hl7v3", "x.xsd", True),
        ("cda", "x.sch", True),
        ("json", "x.xsd", False),
        ("fhir", "x.sch", False),
        ("json", "x.yaml", False),
        ("json", "x", False),
    ],
)
def test_kinds(tmp_path: Path, codec: str, name: str, fits: bool) -> None:
    folder = write(tmp_path, x_json="{}", x_xsd=XSD, x_sch=SCH, x_yaml="")
    (folder / "X.JSON").write_text("{}")
    (folder / "x").write_text("{}")
    validators, problems = load([folder], codec, schemas=[name])
    assert (len(validators), len(problems)) == (fits, not fits)
    for problem in problems:
        assert problem.file == ""  # the declaration is wrong, not the file
        assert problem.remedy


@pytest.mark.parametrize(
    "name", ["nope.json", "../x.json", "/etc/passwd.json", "a\\x.json", "a/../x.json", "x\0.json", "folder.json"]
)
def test_names_that_lead_nowhere(tmp_path: Path, name: str) -> None:
    write(tmp_path, x_json="{}")
    folder = write(tmp_path / "schemas", y_json="{}")
    (folder / "folder.json").mkdir()
    validators, (problem,) = load([folder], "json", schemas=[name])
    assert validators == []
    assert problem.file == ""
    assert problem.severity == "error"


def test_no_folders() -> None:
    _, (problem,) = load([], "json", schemas=["x.json"])
    assert "no folder" in problem.text


def test_the_first_folder_wins(tmp_path: Path) -> None:
    own = write(tmp_path / "own", x_json='{"type": "string"}')
    common = write(tmp_path / "common", x_json='{"type": "number"}', y_json="{}")
    (validator,), _ = load([own, common], "json", schemas=["x.json"])
    assert check(validator, "x") == []
    assert load([own, common], "json", schemas=["y.json"])[1] == []


def test_a_broken_schema_leaves_the_others(tmp_path: Path) -> None:
    folder = write(tmp_path, good_json="{}", bad_json="{", worse_json="[")
    validators, problems = load([folder], "json", schemas=["bad.json", "good.json", "worse.json"])
    assert [validator.name for validator in validators] == ["good.json"]
    assert [problem.file for problem in problems] == [str(folder / "bad.json"), str(folder / "worse.json")]


def test_too_large_a_schema(tmp_path: Path) -> None:
    folder = write(tmp_path, x_json=b" " * (17 << 20) + b"{}")
    assert "larger than 16 MB" in load([folder], "json", schemas=["x.json"])[1][0].text


# -- sharing ---------------------------------------------------------------------------------------------------------------


def test_the_same_content_is_compiled_once(tmp_path: Path) -> None:
    folder = write(tmp_path, x_json='{"maxLength": 3}')
    first = made(folder, "x.json")
    assert made(folder, "x.json") is first
    other = write(tmp_path / "other", x_json='{"maxLength": 3}')
    assert made(other, "x.json") is first


def test_a_change_anywhere_makes_another(tmp_path: Path) -> None:
    folder = write(tmp_path, x_json='{"$ref": "t.json"}', t_json='{"type": "string"}')
    first = made(folder, "x.json")
    stamp = first.stamp  # type: ignore[attr-defined]
    assert stamp.startswith("x.json@")
    write(folder, t_json='{"type": "number"}')
    second = made(folder, "x.json")
    assert second.stamp != stamp  # type: ignore[attr-defined]
    assert [len(check(validator, "x")) for validator in (first, second)] == [0, 1]


def test_what_nobody_uses_is_let_go(tmp_path: Path) -> None:
    from hub.validators import loading

    folder = write(tmp_path, x_json='{"title": "nobody else has this"}')
    before = len(loading._compiled)
    validator = made(folder, "x.json")
    assert len(loading._compiled) == before + 1
    del validator
    gc.collect()
    assert len(loading._compiled) <= before


def test_loading_from_several_threads(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        a_xsd=XSD.replace("<xs:element", '<xs:include schemaLocation="b.xsd"/><xs:element'),
        b_xsd=XSD.replace('"a"', '"b"'),
    )
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: made(folder, "a.xsd", "xml"), range(40)))
    assert len({id(validator) for validator in found}) == 1
