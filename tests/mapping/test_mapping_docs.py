"""The reference says what is there: every function with its parameters, and examples that run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hub.codecs.hl7v2 import Hl7Codec
from hub.mapping import Context
from hub.mapping.functions import BUILTIN

if TYPE_CHECKING:
    from conftest import Folder

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "mapping.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_every_function_is_listed(name: str) -> None:
    assert f"| `{BUILTIN[name].usage}` |" in TEXT


def test_every_converter_is_listed() -> None:
    (listed,) = re.findall(r"it is an error\. They are\n(.*)\.\n", TEXT)
    assert re.findall(r"`(\w+)`", listed) == sorted(name for name in BUILTIN if BUILTIN[name].converts)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_compile(folder: Folder, number: int) -> None:
    example = EXAMPLES[number]
    if steps := re.search(r"steps: \[(.*)\]", example):
        for place, name in enumerate(steps[1].split(", ")):
            codecs = ("hl7v2", "json") if place == 0 else ("json", "cda")
            root = "a" if place == 0 else "ClinicalDocument"
            text = f"from: {{codec: {codecs[0]}}}\nto: {{codec: {codecs[1]}}}\nfields: {{{root}: {{const: x}}}}\n"
            folder.write(f"{name}.yaml", text)
        folder.write("example.yaml", example)
        assert folder.library().problems() == []
        return
    if "fields:" not in example:
        example = "fields:\n" + "".join(f"  {line}\n" for line in example.splitlines())
    if "from:" not in example:
        example = f"from: {{codec: {'hl7v2' if 'OBX' in example else 'json'}}}\nto: {{codec: json}}\n{example}"
    folder.write("example.yaml", example)
    assert folder.library().problems() == []


def test_the_first_example_gives_what_one_expects(folder: Folder) -> None:
    folder.write("tables/gender.csv", "from,to\nM,male\nF,female\n")
    folder.write("ministry/patient.yaml", EXAMPLES[0])
    message = Hl7Codec().decode(
        "MSH|^~\\&|\rPID|1||8^^^N&1.2.3&ISO~11010519491231002x^^^&1.2.4^IDCARD||张^三||194912|F|||||138 1234 5678~^NET\r".encode()
    )
    assert folder.library().get("ministry/patient").run(message, Context()) == [
        {
            "resourceType": "Patient",
            "identifier": [
                {"value": "8", "system": "urn:oid:1.2.3", "type": {"coding": [{"code": "MR"}]}},
                {
                    "value": "11010519491231002x",
                    "system": "urn:oid:1.2.4",
                    "type": {"coding": [{"code": "IDCARD"}]},
                },
            ],
            "name": "张三",
            "gender": "female",
            "birthDate": "1949-12",
            "telecom": [{"system": "phone", "value": "13812345678"}],
            "idCard": "11010519491231002X",
        }
    ]
