"""Functions defined in mappings; empty texts that are absent; invalid= of converters; absent= of tables."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from hub.codecs.hl7v2 import Hl7Codec
from hub.errors import MappingError
from hub.mapping import Context
from hub.mapping.document import Text
from hub.mapping_tools.scope import Evaluator, Expressions, Frame

if TYPE_CHECKING:
    from conftest import Folder

HEAD = "from: {codec: json}\nto: {codec: json}\n"
SHARED = """
description: shared
define:
  full_name(family, given): join('', $family, $given)
  age_group(years): "'child' if $years < 18 else 'adult'"
"""


def run(folder: Folder, text: str, tree: Any) -> Any:
    folder.write("m.yaml", HEAD + text)
    (result,) = folder.library().get("m").run(tree, Context(now_us=1_768_440_615_000_000, settings={"sep": "-"}))
    return result


# -- definitions -------------------------------------------------------------------------------------------------------


def test_a_definition_is_called_like_a_function(folder: Folder) -> None:
    text = """
define:
  tagged(value, tag): concat($tag, ':', $value)
  twice(value): "$value | tagged('a') | tagged(tag='b')"
  stamp(): concat($now | substring(0, 4), $settings.sep)
fields: {a: x | tagged('t'), b: "twice(x)", c: stamp(), d: {each: l, expr: . | twice}}
"""
    assert run(folder, text, {"x": "1", "l": ["p", "q"]}) == {
        "a": "t:1", "b": "b:a:1", "c": "2026-", "d": ["b:a:p", "b:a:q"],
    }  # fmt: skip


def test_a_path_handed_over_stands_where_the_argument_stands(folder: Folder) -> None:
    text = """
define:
  listed(values, sep): $values | join($sep)
  known(code): $code | table('gender')
vars: {k: x}
fields: {a: "l | listed('+')", b: x | known, c: "m[k == $k].v | listed('')"}
"""
    tree = {"l": ["p", "q"], "x": "M", "m": [{"k": "M", "v": "1"}, {"k": "M", "v": "2"}, {"k": "F", "v": "3"}]}
    assert run(folder, text, tree) == {"a": "p+q", "b": "male", "c": "12"}


def test_an_argument_that_is_computed_is_computed_once(folder: Folder) -> None:
    calls: list[Any] = []

    def counted(value: Any) -> Any:
        calls.append(value)
        return value

    folder.write("m.yaml", HEAD + "define:\n  triple(v): concat($v, $v, $v)\nfields: {a: x | counted | triple}\n")
    mapping = folder.library({"counted": counted}).get("m")
    assert mapping.run({"x": "1"}, Context()) == [{"a": "111"}]
    assert calls == ["1"]


def test_names_of_the_caller_mean_nothing_inside_and_the_other_way_round(folder: Folder) -> None:
    text = "define:\n  f(v): concat('<', $v, '>')\n  g(w): $w | f\nvars: {v: x, w: y}\nfields: {a: 'f($w)', b: 'g($v)', c: $v}\n"
    assert run(folder, text, {"x": "1", "y": "2"}) == {"a": "<2>", "b": "<1>", "c": "1"}


def test_definitions_are_shared_by_files_and_come_with_includes(folder: Folder) -> None:
    folder.write("common/f.yaml", SHARED)
    folder.write("part.yaml", "fragment: true\n" + HEAD + "use: [common/f]\nfields: {name: .f | full_name(.g)}\n")
    library = folder.library()
    assert library.problems() == []
    text = "use: [common/f]\nfields: {who: {include: part, from: p}, group: age_group(n)}\n"
    assert run(folder, text, {"p": {"f": "欧阳", "g": "明"}, "n": 7}) == {"who": {"name": "欧阳明"}, "group": "child"}
    with pytest.raises(MappingError, match="functions"):
        library.get("common/f")


def test_the_stamp_covers_what_is_used_and_a_reload_takes_it_up(folder: Folder) -> None:
    folder.write("f.yaml", SHARED)
    folder.write("m.yaml", HEAD + "use: [f]\nfields: {a: 'full_name(x, y)'}\n")
    library = folder.library()
    before = library.get("m")
    folder.write("f.yaml", SHARED.replace("join('',", "join('·',"))
    assert library.reload(["f"]) == []
    after = library.get("m")
    assert after.hash != before.hash
    assert after.run({"x": "a", "y": "b"}, Context()) == [{"a": "a·b"}]


def test_hl7_fields_are_handed_over_as_texts(folder: Folder) -> None:
    folder.write("f.yaml", SHARED)
    folder.write(
        "m.yaml", "from: {codec: hl7v2}\nto: {codec: json}\nuse: [f]\nfields: {a: 'full_name(PID-5.1, PID-5.2)'}\n"
    )
    tree = Hl7Codec().decode("MSH|^~\\&|\rPID|||||欧阳^明".encode())
    assert folder.library().get("m").run(tree, Context()) == [{"a": "欧阳明"}]


@pytest.mark.parametrize(
    ("text", "line", "key", "told"),
    [
        ("define: {'f': '1'}\nfields: {a: x}\n", 3, "define.f", "a name with its arguments"),
        ("define: {'F(a)': '1'}\nfields: {a: x}\n", 3, "define.F(a)", "a name with its arguments"),
        ("define: {'f(a, a)': '1'}\nfields: {a: x}\n", 3, "define.f(a, a)", "a name with its arguments"),
        ("define: {'f(now)': '1'}\nfields: {a: x}\n", 3, "define.f(now)", "a name with its arguments"),
        ("define:\n  f(a): $b\nfields: {a: x}\n", 4, "define.f", "$b is none of its arguments"),
        ("define:\n  f(a): concat($a, b.c)\nfields: {a: x}\n", 4, "define.f", "a definition has no paths"),
        ("define:\n  f(a): $a |\nfields: {a: x}\n", 4, "define.f", "a function expected"),
        ("define:\n  f(a): $a | nosuch\nfields: {a: x}\n", 4, "define.f", "there is no function 'nosuch'"),
        ("define:\n  f(a): $a | upper(1)\nfields: {a: x}\n", 4, "define.f", "upper"),
        ("define:\n  f(a): $a | f\nfields: {a: x}\n", 4, "define.f", "it calls itself"),
        ("define:\n  upper(a): $a\nfields: {a: x}\n", 4, "define.upper", "such a function already"),
        ("define:\n  f(a): $a\n  f(b): $b\nfields: {a: x}\n", 5, "define.f(b)", "written twice"),
        ("use: [nothing]\nfields: {a: x}\n", 3, "use[0]", "no file with define:"),
        ("define:\n  f(a): $a\nfields: {a: 'f(x, y)'}\n", 5, "a", "too many positional arguments"),
        ("define:\n  f(a): $a | table('none')\nfields: {a: f(x)}\n", 5, "a", "f: there is no code table 'none'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_definition_is_told_where_it_stands(
    folder: Folder, text: str, line: int, key: str, told: str
) -> None:
    folder.write("m.yaml", HEAD + text)
    found = [problem for problem in folder.library().problems(["m"]) if told in problem.text]
    assert [(problem.line, problem.key) for problem in found] == [(line, key)]


def test_definitions_that_call_each_other_in_a_circle_are_refused(folder: Folder) -> None:
    folder.write("m.yaml", HEAD + "define:\n  f(a): $a | g\n  g(a): $a | f\n  h(a): $a | f\nfields: {a: x}\n")
    told = [problem.key for problem in folder.library().problems(["m"]) if "calls itself" in problem.text]
    assert told == ["define.f", "define.g", "define.h"]


def test_two_files_can_not_define_the_same_differently(folder: Folder) -> None:
    folder.write("one.yaml", "define:\n  f(a): $a\n")
    folder.write("two.yaml", "define:\n  f(a): $a | upper\n")
    folder.write("m.yaml", HEAD + "use: [one, two]\nfields: {a: f(x)}\n")
    assert any("such a function already" in problem.text for problem in folder.library().problems())


def test_calls_that_multiply_are_refused(folder: Folder) -> None:
    lines = ["  f0(a): $a", *(f"  f{n}(a): concat(f{n - 1}($a), f{n - 1}($a))" for n in range(1, 20))]
    folder.write("m.yaml", HEAD + "define:\n" + "\n".join(lines) + "\nfields: {a: x | f19}\n")
    assert any("calls of definitions" in problem.text for problem in folder.library().problems(["m"]))


def test_an_error_inside_a_definition_names_the_call(folder: Folder) -> None:
    with pytest.raises(MappingError) as caught:
        run(folder, "define:\n  f(a): $a | int\nfields:\n  a: f(x)\n", {"x": "secret"})
    assert (caught.value.line, caught.value.target, caught.value.source) == (6, "a", "f(x)")
    assert "secret" not in caught.value.text


# -- from.empty --------------------------------------------------------------------------------------------------------

EMPTY = "from: {codec: json, empty: absent}\nto: {codec: json}\n"


@pytest.mark.parametrize(
    ("rule", "kept", "left_out"),
    [
        ("x", {"a": ""}, {}),
        ("{expr: x, default: d}", {"a": ""}, {"a": "d"}),
        ("{expr: x, keep_null: true}", {"a": ""}, {"a": None}),
        ("{each: l, expr: .}", {"a": ["", "p"]}, {"a": ["p"]}),
        ("l | count", {"a": 2}, {"a": 1}),
        ("l[*] | join('+')", {"a": "p"}, {"a": "p"}),
        ("o", {"a": {"k": ""}}, {"a": {"k": ""}}),
        ("x | trim", {"a": ""}, {}),
        ("{const: ''}", {"a": ""}, {"a": ""}),
    ],
)
def test_empty_texts_are_values_or_absent(folder: Folder, rule: str, kept: Any, left_out: Any) -> None:
    tree = {"x": "", "l": ["", "p"], "o": {"k": ""}}
    for head, expected in ((HEAD, kept), (EMPTY, left_out)):
        folder.write("m.yaml", head + f"fields:\n  a: {rule}\n")
        assert folder.library().get("m").run(tree, Context()) == [expected]


def test_a_required_value_may_not_be_empty_where_empty_is_absent(folder: Folder) -> None:
    folder.write("m.yaml", EMPTY + "fields: {a: {expr: x, required: true}}\n")
    with pytest.raises(MappingError, match="required"):
        folder.library().get("m").run({"x": ""}, Context())


@pytest.mark.parametrize("head", ["{codec: json, empty: none}", "{codec: hl7v2, empty: absent}"])
def test_other_formats_and_choices_have_no_say_in_it(folder: Folder, head: str) -> None:
    folder.write("m.yaml", f"from: {head}\nto: {{codec: json}}\nfields: {{a: {{const: 1}}}}\n")
    assert [problem.key for problem in folder.library().problems(["m"])] == ["from.empty"]


def test_tools_see_empty_as_the_mapping_does() -> None:
    for absent in (False, True):
        expressions = Expressions("json", {}, lambda name: None, empty_absent=absent)
        value, kind = Evaluator(expressions, {"x": ""}, Context()).value(expressions.parse(Text("x", 1)), Frame("root"))
        assert Evaluator(expressions, {}, Context()).present(value, kind) is not absent


# -- invalid= ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    ["date", "datetime", "number", "int", "decimal", "bool", "round", "id_card", "id_card_birth_date", "phone", "oid_uri"],
)  # fmt: skip
def test_what_can_not_be_converted_is_null_or_kept_where_that_is_asked_for(folder: Folder, call: str) -> None:
    rules = f"fields: {{n: \"x | {call}(invalid='null')\", k: \"x | {call}(invalid='keep')\", z: \"y | {call}(invalid='keep')\"}}\n"
    assert run(folder, rules, {"x": "?!"}) == {"k": "?!"}
    with pytest.raises(MappingError):
        run(folder, f"fields: {{e: \"x | {call}(invalid='error')\"}}\n", {"x": "?!"})


def test_invalid_goes_with_other_arguments_and_with_what_is_packed(folder: Folder) -> None:
    rules = """
fields:
  a: x | round(2, invalid='keep')
  b: y | round(2, invalid='keep')
  c: x | unbase64(invalid='null') | default('none')
  d: x | parse('json', invalid='keep')
  e: p | parse('json', invalid='keep')
"""
    assert run(folder, rules, {"x": "?", "y": "1.005", "p": "[1]"}) == {
        "a": "?", "b": Decimal("1.01"), "c": "none", "d": "?", "e": [1],
    }  # fmt: skip


@pytest.mark.parametrize("call", ["x | date(invalid='nul')", "x | date(invalid=y)", "x | upper(invalid='null')"])
def test_what_invalid_says_is_checked_when_the_mapping_is_compiled(folder: Folder, call: str) -> None:
    folder.write("m.yaml", HEAD + f'fields: {{a: "{call}"}}\n')
    assert [problem.key for problem in folder.library().problems(["m"])] == ["a"]


# -- absent= -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("table('gender', default='9')", {"M": "male", "?": "9", "": None, None: None}),
        ("table('gender', default='9', absent='0')", {"M": "male", "?": "9", "": "0", None: "0"}),
        ("table('gender', unmapped='keep', absent=y)", {"M": "male", "?": "?", "": "why", None: "why"}),
        ("match({'M': 'm'}, absent='0', default=y)", {"M": "m", "?": "why", "": "0", None: "0"}),
        ("match({'M': null}, unmapped='null', absent=y)", {"M": None, "?": None, None: "why"}),
    ],
)
def test_absent_says_what_stands_for_no_value(folder: Folder, call: str, expected: dict[Any, Any]) -> None:
    folder.write("m.yaml", HEAD + f'fields: {{z: {{const: 1}}, a: "x | {call}"}}\n')
    mapping = folder.library().get("m")
    for value, wanted in expected.items():
        (made,) = mapping.run({"x": value, "y": "why"}, Context())
        assert made.get("a") == wanted, value


def test_absent_of_an_hl7_field(folder: Folder) -> None:
    folder.write(
        "m.yaml",
        "from: {codec: hl7v2}\nto: {codec: json}\nfields: {a: \"PID-8 | table('gender', default='9', absent='0')\"}\n",
    )
    mapping = folder.library().get("m")
    for field, wanted in (("M", "male"), ("X", "9"), ("", "0")):
        tree = Hl7Codec().decode(f"MSH|^~\\&|\rPID||||||||{field}".encode())
        assert mapping.run(tree, Context()) == [{"a": wanted}]
