"""Tests of mappings in YAML: read strictly, run against the mapping, differences told field by field."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from hub.codecs.base import Codec
from hub.mapping import MappingLibrary
from hub.mapping_tools import Workbench
from hub.mapping_tools.cases import Case, load_tests
from hub.mapping_tools.testing import CaseResult, TestReport, run_tests
from tests.mapping_tools.conftest import ADT, ROOT, Bench


def problems(folder: Bench, text: str) -> list[tuple[int, str, str, str]]:
    """(line, key, text, remedy)"""
    found = load_tests(folder.write("m.tests.yaml", text)).problems
    assert all(problem.file.endswith("m.tests.yaml") for problem in found)
    return [(problem.line, problem.key, problem.text, problem.remedy) for problem in found]


GOOD = "cases:\n  - name: a\n    input: {x: 1}\n    output: {a: 1}\n"


@pytest.mark.parametrize(
    ("text", "line", "key", "told", "remedy"),
    [
        ("cases:\n  - name: a\n    input: 1\n    ouput: 1\n", 4, "cases[0].ouput", "unknown key 'ouput'", "output"),
        ("case: []\n" + GOOD, 1, "case", "unknown key 'case'", "cases"),
        ("cases:\n  - name: a\n    input: 1\n", 2, "cases[0]", "nothing is expected", "say one of output"),
        ("cases:\n  - name: a\n    count: 0\n", 2, "cases[0]", "exactly one of input: and input_file:", "path"),
        ("cases:\n  - name: a\n    input: 1\n    input_file: x\n    count: 0\n", 2, "cases[0]", "exactly one", "path"),
        ("cases:\n  - input: 1\n    count: 0\n", 2, "cases[0].name", "'name' is missing", "name"),
        ("cases: []\n", 1, "cases", "at least 1 long", ""),
        ("cases:\n  - name: a\n    input: 1\n    error: {}\n", 4, "cases[0].error", "which error?", "code, target or text"),
        ("cases:\n  - name: a\n    input: 1\n    error: {text: x}\n    count: 1\n", 4, "cases[0].error", "makes no output", "remove"),
        ("cases:\n  - name: a\n    input: 1\n    output: 1\n    output_file: f\n", 5, "cases[0].output_file", "not both", ""),
        ("cases:\n  - name: a\n    input: 1\n    count: 0\n    now: yesterday\n", 5, "cases[0].now", "'yesterday' is not a time", ""),
        ("cases:\n  - name: a\n    input: 1\n    count: 0\n    message: {id: 12}\n", 5, "cases[0].message.id", "expected text", '"12"'),
        ("cases:\n  - name: a\n    input: 1\n    count: 0\n    message: {id: short}\n", 5, "cases[0].message.id", "13 characters", ""),
        ("cases:\n  - name: a\n    input: 1\n    count: 0\n    message: {typ: x}\n", 5, "cases[0].message.typ", "unknown key 'typ'", "type"),
        ("defaults: {setting: 1}\n" + GOOD, 1, "defaults.setting", "unknown key 'setting'", "settings"),
        (GOOD + GOOD.split("cases:\n")[1], 5, "cases[1].name", "the name of two cases", "rename"),
        ("- name: a\n", 1, "", "expected keys and values", "cases:"),
        ("cases:\n  - {name: a\n", 3, "", "not valid YAML", "brackets"),
        ("cases:\n  - name: a\n    name: b\n", 3, "", "stands twice", "remove"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_line_key_and_remedy(
    folder: Bench, text: str, line: int, key: str, told: str, remedy: str
) -> None:
    ((found_line, found_key, found_text, found_remedy),) = problems(folder, text)
    assert (found_line, found_key) == (line, key)
    assert told in found_text
    assert remedy in found_remedy


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.one_of(
        st.text(),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=2),
                st.dictionaries(st.sampled_from([*Case.model_fields, "cases"]), inner, max_size=4),
            ),
            max_leaves=8,
        ).map(lambda data: json.dumps({"cases": [data]})),
    )
)
def test_any_file_is_read_or_refused(folder: Bench, text: str) -> None:
    file = folder.root / "any.tests.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    found = load_tests(file)
    assert bool(found.problems) != bool(found.cases)


def run(folder: Bench, cases: str, defaults: str = "") -> TestReport:
    folder.write("m.tests.yaml", defaults + "cases:\n" + cases)
    return run_tests(folder.open(), ["m"])


def case(folder: Bench, body: str, defaults: str = "") -> CaseResult:
    """One case; the body is indented by four."""
    lines = "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    report = run(folder, f"  - name: it\n{lines}", defaults)
    assert report.problems == []
    (result,) = report.results
    return result


def differences(result: CaseResult, *, clear: bool = True) -> list[tuple[str, str, str]]:
    assert result.error == ""
    return [difference.shown(clear=clear) for difference in result.differences]


PLAIN = "fields: {a: x, b: {each: l, c: .y}, n: z | decimal}"
JSON = "input: {x: v, l: [{y: 1}, {y: 2}], z: '12.50'}\n"


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ("output: {a: v, b: [{c: 1}, {c: 2}], n: 12.5}", []),
        ("output: {a: w, b: [{c: 1}], n: 12.5, d: 1}", [
            ("d", "1", "nothing"), ("a", "'w'", "'v'"), ("b[1]", "nothing", '{"c":2}'),
        ]),
        ("output: {a: v, b: [{c: '1'}, {c: 2}], n: 12.5}", [("b[0].c", "'1'", "1")]),
        ("output: 5", [("$", "5", '{"a":"v","b":[{"c":1},{"c":2}],"n":12.5}')]),
        # As text the digits count, as YAML only the number.
        ('output: \'{"a": "v", "b": [{"c": 1}, {"c": 2}], "n": 12.50}\'', []),
        ('output: \'{"a": "v", "b": [{"c": 1}, {"c": 2}], "n": 12.5}\'', [("n", "12.5", "'12.50'")]),
        ("contains: {b: [{c: 1}]}", []),
        ("contains: {b: [{c: 1}, {c: 2}, {c: 3}], q: {r: 1}, z: null, a: null}", [
            ("b[2]", '{"c":3}', "nothing"), ("q", '{"r":1}', "nothing"), ("a", "nothing", "'v'"),
        ]),
        ("contains: {a: {b: 1}}", [("a", '{"b":1}', "'v'")]),
        ("paths: {'b[1].c': 2, 'b[-1].c': 2, n: 12.500, q: null, $: {a: v, b: [{c: 1}, {c: 2}], n: 12.5}}", []),
        ("paths: {'b[1]': {c: 3}, q.r: 1, a: null}", [
            ("b[1].c", "3", "2"), ("q.r", "1", "nothing"), ("a", "nothing", "'v'"),
        ]),
        ("count: 1", []),
        ("count: 0", [("count", "0", "1")]),
    ],
)  # fmt: skip
def test_what_is_expected_of_an_output(folder: Bench, expected: str, told: list[tuple[str, str, str]]) -> None:
    folder.mapping(PLAIN)
    assert differences(case(folder, JSON + expected)) == told


FILTERED = "fields: {list: {each: l, kind: .k, v: .y}}"
FILTERED_INPUT = "input: {l: [{k: a, y: 1}, {k: b, y: 2}, {k: b}]}\n"


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ("paths: {\"list[kind=='b'].v\": 2, \"list[kind=='z']\": null, \"list[kind=='b'].none\": null}", []),
        ("paths: {\"list[kind=='b']\": {kind: b, v: 2}}", []),
        ("paths: {\"list[kind=='a'].v\": 2}", [("list[kind=='a'].v", "2", "1")]),
        ("paths: {\"list[kind=='z'].v\": 2}", [("list[kind=='z'].v", "2", "nothing")]),
        ("paths: {\"list[kind=='a'].v\": null}", [("list[kind=='a'].v", "nothing", "1")]),
    ],
)
def test_paths_with_filters(folder: Bench, expected: str, told: list[tuple[str, str, str]]) -> None:
    folder.mapping(FILTERED)
    assert differences(case(folder, FILTERED_INPUT + expected)) == told


XML = """
fields:
  o:item:
    "@no": x
    id[@root='1.2']/@extension: x
    id[@root='1.3']/@extension: y
    line: {each: l, "@n": .k, text: .y}
    note: x
"""
XML_INPUT = "input: {x: 7, y: Y, l: [{k: a, y: 1}, {k: b, y: '02'}]}\n"


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ("paths: {o:item/@no: 7, item/id/@extension: 7, \"item/id[@root='1.3']/@extension\": Y, 'item/line[2]/text': '02', item/none: null}", []),
        ("paths: {\"item/line[text='1']/@n\": a, item/note/text(): '7'}", []),
        ("paths: {'item/line[2]/text': 2}", [("item/line[2]/text", "'2'", "'02'")]),
        ("paths: {item/@none: 1, item/note: null}", [("item/@none", "1", "nothing"), ("item/note", "nothing", "'7'")]),
        ("contains: {item: {'@no': 7, line: [{'@n': a, text: '1'}, {text: '02', none: null}], note: {'#text': 7}}}", []),
        ("contains: {item: {\"id[@root='1.3']\": {'@extension': Z}, line: [null]}}",
         [("item/id[@root='1.3']/@extension", "'Z'", "'Y'"), ("item/line[1]", "nothing", "'1'")]),
    ],
)  # fmt: skip
def test_places_in_xml(folder: Bench, expected: str, told: list[tuple[str, str, str]]) -> None:
    folder.write("m.yaml", "from: {codec: json}\nto: {codec: xml, namespaces: {o: 'urn:o'}}" + XML)
    assert differences(case(folder, XML_INPUT + expected)) == told


def test_a_part_of_a_document_is_told_by_its_elements(folder: Bench) -> None:
    folder.write("m.yaml", "from: {codec: json}\nto: {codec: xml, namespaces: {o: 'urn:o'}}" + XML)
    assert "by its elements" in case(folder, XML_INPUT + "contains: <item/>").error
    assert "a step expected" in case(folder, XML_INPUT + "paths: {'item/': 1}").error


def test_true_is_not_one(folder: Bench) -> None:
    folder.mapping("fields: {a: x}")
    assert differences(case(folder, "input: {x: true}\noutput: {a: 1}")) == [("a", "1", "true")]
    assert differences(case(folder, "input: {x: 1}\ncontains: {a: true}")) == [("a", "true", "1")]


def test_what_looks_like_personal_data_is_masked(folder: Bench) -> None:
    folder.mapping("fields: {name: x, phone: y}")
    result = case(folder, "input: {x: 欧阳锋, y: '13812345678'}\noutput: {name: 李四, phone: '13900000000'}")
    assert differences(result, clear=False) == [
        ("name", "'李*'", "'欧*锋'"),
        ("phone", "'139****0000'", "'138****5678'"),
    ]
    assert differences(result)[0] == ("name", "'李四'", "'欧阳锋'")
    assert "13812345678" not in str(result.as_dict(clear=False))


SPLIT = "split: l\nwhen: .y > 0\nfields: {a: .y, x: x}"


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ("output: [{a: 1, x: v}, {a: 2, x: v}]", []),
        ("output: [{a: 1, x: v}]", [("count", "1", "2")]),
        ("output: [{a: 1, x: v}, {a: 3, x: v}]", [("[1].a", "3", "2")]),
        ("contains: [{a: 1}, {x: v}]", []),
        ("contains: [{a: 1}, {}, {}]", [("[2]", "{}", "nothing")]),
        ("paths: {'[0].a': 1, '[1]': {a: 2, x: v}, '[7].a': null}", []),
        ("paths: {'[7].a': 1}", [("[7].a", "1", "nothing")]),
        ("count: 2", []),
        ("output: []", [("count", "0", "2")]),
    ],
)
def test_what_is_expected_of_several_outputs(folder: Bench, expected: str, told: list[tuple[str, str, str]]) -> None:
    folder.mapping(SPLIT)
    assert differences(case(folder, JSON.replace("l: [", "l: [{y: 0}, ") + expected)) == told


@pytest.mark.parametrize(
    ("mapping", "expected", "told"),
    [
        (SPLIT, "output: {a: 1}", "list of outputs"),
        (SPLIT, "paths: {a: 1}", "which output?"),
        (PLAIN, "paths: {'a..b': 1}", "not a path"),
    ],
)
def test_expectations_that_do_not_fit(folder: Bench, mapping: str, expected: str, told: str) -> None:
    folder.mapping(mapping)
    result = case(folder, JSON + expected)
    assert not result.ok
    assert told in result.error


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ("error: {code: mapping.failed, target: a, text: not a}", []),
        ("error: {target: b}", [("error.target", "'b'", "'a'")]),
        ("error: {code: x.y, text: nothing of the kind}", ["error.code", "error.text"]),
        ("output: {}", "m.yaml:3: a <- x | int: int: not a number (value 欧*锋)"),
    ],
)
def test_errors(folder: Bench, expected: str, told: object) -> None:
    folder.mapping("fields: {a: x | int}")
    result = case(folder, "input: {x: 欧阳锋}\n" + expected)
    if isinstance(told, str):
        assert told.rpartition(": ")[2] in result.error
        assert "欧阳锋" not in result.error
    else:
        shown = differences(result)
        assert shown == told or [path for path, _, _ in shown] == told


def test_an_error_that_does_not_happen(folder: Bench) -> None:
    folder.mapping("fields: {a: x}")
    assert differences(case(folder, "input: {x: 1}\nerror: {target: a}")) == [("error", "'a'", "nothing")]


def test_errors_of_the_codec_count_as_well(folder: Bench) -> None:
    folder.mapping("fields: {a: PID-3}", source="hl7v2")
    assert case(folder, "input: no message\nerror: {code: hl7.no_msh}").ok
    assert "MSH" in case(folder, "input: no message\noutput: {}").error


def test_hl7_inputs_are_written_line_by_line(folder: Bench) -> None:
    folder.mapping(
        "fields: {name: PID-5.1, type: $message.type, number: $message.control_id, segments: 'OBX[*]-5 | list'}",
        source="hl7v2",
    )
    lines = ADT.replace("|2.5.1", "|2.5.1|||||CHN|GB 18030-2000").strip("\r").split("\r")
    body = "input: |\n" + "".join(f"  {line}\n" for line in lines)
    expected = "output: {name: 张, type: ADT^A01, number: M1, segments: ['6.8', 红, '140']}"
    assert differences(case(folder, body + expected)) == []
    # In the character set a case names, the declared one counts for nothing.
    assert differences(case(folder, body + "encoding: gb18030\n" + expected)) == []
    assert "can't be written" in case(folder, body + "encoding: ascii\n" + expected).error


def test_hl7_outputs(folder: Bench) -> None:
    folder.mapping("fields: {PID-5.1: x, PID-3: {each: l, '.1': .y}, OBX: {each: l, '.1': .y}}", target="hl7v2")
    assert differences(case(folder, JSON + "paths: {PID-5.1: v, 'PID-3[2]': 2, 'OBX[2]-1': '2', PID-8: null}")) == []
    assert differences(case(folder, JSON + "paths: {PID-5.1: w, PID-8: F, PID-5: null}")) == [
        ("PID-5.1", "'w'", "'v'"),
        ("PID-8", "'F'", "nothing"),
        ("PID-5", "nothing", "'v'"),
    ]
    whole = "output: |\n  MSH|^~\\&\n  PID|||1~2||{}\n  OBX|1\n  OBX|2\n"
    assert differences(case(folder, JSON + whole.format("v"))) == []
    assert differences(case(folder, JSON + whole.format("w"))) == [("PID-5", "'w'", "'v'")]
    assert "paths:" in case(folder, JSON + "contains: {PID: 1}").error


def test_files_beside_the_tests(folder: Bench) -> None:
    folder.write("in/x.json", '{"x": "v"}')
    folder.write("in/out.json", '{"n": 1, "a": "v"}')
    folder.mapping("fields: {a: x, n: {const: 1}}")
    assert differences(case(folder, "input_file: in/x.json\noutput_file: in/out.json")) == []
    folder.write("in/out.json", '{"n": 1.0, "a": "w"}')
    assert differences(case(folder, "input_file: in/x.json\noutput_file: in/out.json")) == [
        ("n", "1.0", "1"),
        ("a", "'w'", "'v'"),
    ]
    both = case(folder, "input_file: in/x.json\noutput_file: [in/out.json, in/out.json]")
    assert differences(both)[0] == ("count", "2", "1")
    result = case(folder, "input_file: in/y.json\ncount: 1")
    assert "in/y.json can't be read" in result.error
    assert "relative" in result.error


def test_settings_variables_message_and_time(folder: Bench) -> None:
    folder.mapping(
        "fields: {s: $settings.s, t: $settings.t, v: $v, now: $now, id: $message.id, src: $message.source, type: $message.type, "
        "at: $message.received_at, key: $message.keys.k, number: $message.control_id, group: $message.correlation}"
    )
    defaults = (
        "defaults:\n  settings: {s: 1, t: 2}\n  variables: {v: x}\n  now: 2026-11-20T08:12:00\n"
        "  message: {id: 0000100000001, source: his/adt, keys: {k: K}}\n"
    )
    body = "input: {}\nsettings: {t: 3}\nmessage: {type: T, received_at: 2026-11-20T00:00:00Z, control_id: N, correlation: C}\n"
    whole = (
        "output: {s: 1, t: 3, v: x, now: '2026-11-20T08:12:00.000+08:00', id: '0000100000001', src: his/adt, type: T, "
        "at: '2026-11-20T08:00:00.000+08:00', key: K, number: N, group: C}"
    )
    assert differences(case(folder, body + whole, defaults)) == []
    fixed = "output: {now: '2026-01-15T09:30:00.000+08:00', id: '0000100000000', at: '2026-01-15T09:30:00.000+08:00', src: '', type: '', number: '', group: ''}"
    assert differences(case(folder, "input: {}\n" + fixed)) == []


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    separator: str = Field(",", min_length=1)


class Words(Codec):
    """``{"words": […]}`` with a separator between them."""

    name = "words"
    format_options = Options

    def __init__(self, separator: str = "") -> None:
        self.separator = separator

    def configured(self, options: BaseModel) -> Words:
        return Words(getattr(options, "separator", ""))

    def decode(self, raw: bytes, *, encoding: str = "") -> Any:
        return {"words": raw.decode().strip().split(self.separator)}

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        return self.separator.join(tree["words"]).encode()


def test_options_of_codecs(folder: Bench) -> None:
    folder.mapping("fields: {words: {each: words, expr: . | upper}}", source="words", target="words")

    def result(body: str, defaults: str = "") -> CaseResult:
        folder.write("m.tests.yaml", f"{defaults}cases:\n  - name: a\n{body}")
        library = MappingLibrary([folder.root])
        return run_tests(Workbench(library, {"words": Words()}, [folder.root], []), ["m"]).results[0]

    assert result("    input: a,b\n    output: A,B\n").ok
    assert result('    input: a;b\n    input_format: {separator: ";"}\n    output: {words: [A, B]}\n').ok
    other = '    input: {words: [a, b]}\n    input_format: {separator: "-"}\n    output_format: {separator: "+"}\n'
    assert result(other + "    output: A+B\n    paths: {'words[1]': B}\n").ok
    assert result(
        "    input: a-b\n    output: A-B\n",
        'defaults: {input_format: {separator: "-"}, output_format: {separator: "-"}}\n',
    ).ok
    wrong = result("    input: a\n    input_format: {seperator: x}\n    output: A\n")
    assert "options of codec words: seperator: unknown key" in wrong.error
    assert "separator" in wrong.error.rpartition("->")[2]


def test_a_report_over_several_mappings(folder: Bench) -> None:
    folder.mapping("fields: {a: x}", "one")
    folder.mapping("fields: {a: x |}", "two")
    folder.mapping("fields: {a: x}", "three")
    folder.mapping("fragment: true\nfields: {a: x}", "part")
    folder.write("one.tests.yaml", GOOD + "  - {name: b, input: {x: 2}, output: {a: 1}}\n")
    folder.write("two.tests.yaml", GOOD)
    folder.write("gone.tests.yaml", GOOD)
    bench = folder.open()
    report = run_tests(bench, bench.library.names(), strays=True)
    assert [(r.mapping, r.name, r.line, r.ok) for r in report.results] == [
        ("one", "a", 2, True),
        ("one", "b", 5, False),
        ("two", "a", 2, False),
    ]
    assert "function expected" in report.results[2].error
    assert report.untested == ["three"]
    assert [(Path(p.file).name, "no mapping" in p.text) for p in report.problems] == [("gone.tests.yaml", True)]
    assert not report.ok


def test_pytest_runs_them(tmp_path: Path) -> None:
    """As ``make test`` does for the mappings that are shipped."""
    folder = Bench(tmp_path / "mappings")
    folder.mapping("fields: {name: x}", "group/good")
    folder.write(
        "group/good.tests.yaml",
        "cases:\n  - {name: fits, input: {x: 1}, output: {name: 1}}\n  - {name: differs, input: {x: 欧阳锋}, output: {name: 李四}}\n",
    )
    folder.mapping("fields: {a: x}", "bad")
    folder.write("bad.tests.yaml", "cases:\n  - {name: fits, input: {x: 1}, outputs: {a: 1}}\n")
    shutil.copy(ROOT / "mappings" / "conftest.py", tmp_path / "mappings" / "conftest.py")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "hub.yaml").write_text("plugins: []\nmappings: [../mappings]\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TONGQU_LANG": "en", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--continue-on-collection-errors", "mappings"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "1 failed, 1 passed, 1 error" in done.stdout
    assert "name: expected '李*', found '欧*锋'" in done.stdout
    assert "bad.tests.yaml:2: cases[0].outputs: unknown key 'outputs'" in done.stdout
