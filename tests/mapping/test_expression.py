"""The expression language: meaning, errors with their place, and that nothing leads out of it."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import MappingError
from hub.mapping import Context, compile_expression, compile_extract
from hub.message import Message

TREE: dict[str, Any] = {
    "a": {"b": [{"c": 1, "k": "x"}, {"c": 2, "k": "y"}]},
    "reply": {"code": "1001", "ok": True},
    "amount": "12.50",
    "price": 0.1,
    "list": ["p", "q"],
    "empty": "",
    "none": None,
    "姓名": "张三",
    "odd key": {"x-y": 5},
    "if": "keyword",
}


def run(text: str, tree: Any = TREE, **context: Any) -> Any:
    return compile_expression(text, "json")(tree, Context(**context))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # literals
        ("'x'", "x"),
        ('"it\'s"', "it's"),
        (r"'a\n\t\\\'\u5f20'", "a\n\t\\'张"),
        (r"'\d+'", r"\d+"),
        ("12", 12),
        ("-3", -3),
        ("0.5", 0.5),
        ("0.12345678901234567890", Decimal("0.12345678901234567890")),
        ("true", True),
        ("False", False),
        ("null", None),
        ("[1, 'a', amount]", [1, "a", "12.50"]),
        # comparison
        ("reply.code == 1001", True),
        ("1001 == reply.code", True),
        ("reply.code == '1001'", True),
        ("reply.code != 1001", False),
        ("'01' == '1'", False),
        ("price == 0.1", True),
        ("amount == 12.5", True),
        ("reply.ok == true", True),
        ("reply.ok == 1", False),
        ("missing == null", True),
        ("empty == null", True),
        ("missing != null", False),
        ("amount > 9", True),
        ("'10' < '9'", False),
        ("'b' > 'a'", True),
        ("missing < 5", False),
        ("missing > 5", False),
        ("3 >= 3 and 3 <= 3", True),
        ("a.b == 'x'", False),
        # membership
        ("'p' in list", True),
        ("1 in ['1', '2']", True),
        ("reply.code in [1001, 1002]", True),
        ("'x' not in list", True),
        ("'00' in reply.code", True),
        ("'code' in reply", True),
        ("missing in list", False),
        ("'x' in missing", False),
        # logic
        ("missing or 'd'", "d"),
        ("'a' and 'b'", "b"),
        ("not missing", True),
        ("not reply.ok or false", False),
        ("true or missing.x.y > 1 and false", True),
        ("not 'a' == 'b'", True),
        # arithmetic
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("7 / 2", Decimal("3.5")),
        ("8 / 2", 4),
        ("amount * 2", Decimal("25.00")),
        ("price + 0.2", Decimal("0.3")),
        ("missing + 1", None),
        ("- amount", Decimal("-12.50")),
        ("99999999999999999999999999999999999999 + 1", 10**38),
        ("1 - -1", 2),
        # choice
        ("'y' if reply.ok else 'n'", "y"),
        ("'y' if missing else 'n' if empty else 'z'", "z"),
        # pipes: looser than arithmetic, tighter than comparison, as in Python
        ("1 + 2 | string", "3"),
        ("'A' | lower == 'a'", True),
        ("missing or 'B' | lower", "b"),
        ("amount | number | round(0) | string", "13"),
        # paths
        ("a.b[0].c", 1),
        ("a.b[-1].c", 2),
        ("a.b[5].c", None),
        ("a.b.c", 1),
        ("a.b[k=='y'].c", 2),
        ("a.b[k == 'y' and c > 1].c", 2),
        ("a.b[$.reply.code == '1001'].c", 1),
        ("a.b[*].c", 1),
        ("a['b'][1]['k']", "y"),
        ("$.a.b[0].k", "x"),
        ("$['odd key']['x-y']", 5),
        ("$['if']", "keyword"),
        ("姓名", "张三"),
        ("amount[0]", "12.50"),
        ("amount.x.y", None),
        ("list", ["p", "q"]),
        ("none.x", None),
        ("__class__", None),
        ("a.__class__.__mro__", None),
        # steps on values that are no paths
        ("split('a-b', '-')[1]", "b"),
        ("json_decode('{\"k\": [1, 2]}').k[-1]", 2),
    ],
)
def test_meaning(text: str, expected: Any) -> None:
    result = run(text)
    assert result == expected
    assert type(result) is type(expected)


def test_context() -> None:
    message = Message(5, 1_768_440_615_123_000, "his/adt", "ADT^A01", "C1", b"", {"patient_id": "7"})
    context = {
        "settings": {"sender": "S", "nested": {"a": 1}},
        "message": message,
        "now_us": 1_768_440_615_123_000,
        "variables": {"status": 200},
    }
    assert run("$settings.sender", **context) == "S"
    assert run("$settings.nested.a", **context) == 1
    assert run("$message.type", **context) == "ADT^A01"
    assert run("$message.id", **context) == "0000000000005"
    assert run("$message.keys.patient_id", **context) == "7"
    assert run("$message.received_at", **context) == "2026-01-15T09:30:15.123+08:00"
    assert run("$now", **context) == "2026-01-15T09:30:15.123+08:00"
    assert run("now('yyyyMMddHHmmss')", **context) == "20260115093015"
    assert run("now(tz='UTC')", **context) == "2026-01-15T01:30:15.123+00:00"
    assert run("$status == 200", **context) is True
    assert run("$nothing") is None
    assert run("$message.type") is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "a value expected"),
        ("a.b[", "a value expected"),
        ("(1", "')' expected"),
        ("'abc", "the quote is not closed"),
        ("a = 1", "'=' is not a comparison"),
        ("1 < 2 < 3", "can't be chained"),
        ("a b", "unexpected"),
        ("a | ", "a function expected"),
        ("a | nonsense", "there is no function 'nonsense'"),
        ("a | uper", "there is no function 'uper'"),
        ("upper()", "upper:"),
        ("upper(a, b)", "upper:"),
        ("upper(nosuch=1)", "upper:"),
        ("round(a, digits=1, digits=2)", "given twice"),
        ("round(digits=1, a)", "can't follow a named one"),
        ("a ** 2", "'**' is not an operator"),
        ("a % 2", "'%' is not an operator"),
        ("a.b.", "a name expected"),
        ("a if b", "'else' expected"),
        ("{'a': 1}", "only in match"),
        ("match(a, {b: 1})", "must be a literal"),
        ("$message", "not a value"),
        ("$message.raw", "has no 'raw'"),
        ("$number", "inside each"),
        ("[x for x in a]", "comprehension"),
        ("lambda: 1", "unexpected"),
        ("a | table('x')", "mappings only"),
        ("..a", "no element around"),
        ("9" * 41, "longer than"),
        ("1x", "can't be followed"),
        ("regex_match(a, '(a+)+')", "variable part inside"),
        ("format_date(a, 'YYYY')", "means nothing"),
        ("datetime(a, tz='Mars/Base')", "time zone"),
        ("a | f * 2", "can't follow a function"),
        ("'\\ud800'", "hexadecimal"),
        ("(" * 60 + "1" + ")" * 60, "nested deeper"),
        ("not " * 60 + "a", "nested deeper"),
        ("-" * 60 + "1", "nested deeper"),
        ("+".join("1" * 200), "operators in a row"),
        ("a" + ".b" * 100, "steps"),
        ("x" * 9000, "longer than"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, part: str) -> None:
    with pytest.raises(MappingError) as caught:
        compile_expression(text, "json", file="routes.yaml", line=7, key="routes.r.when")
    assert part in str(caught.value)
    assert (caught.value.file, caught.value.line, caught.value.target) == ("routes.yaml", 7, "routes.r.when")
    assert str(caught.value).startswith("routes.yaml:7: routes.r.when: ")


def test_near_names_are_offered() -> None:
    with pytest.raises(MappingError) as caught:
        compile_expression("a | uper", "json")
    assert "upper" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("amount + 'x'", "not a number"),
        ("1 / 0", "division by zero"),
        ("a.b + 1", "not a number but a"),
        ("reply.code < 'abc' and amount < list", "not a number"),
        ("1 in reply.ok", "'in' needs"),
        ("list | upper", "works on text"),
        ("姓名 | number", "not a number"),
    ],
)
def test_a_value_that_does_not_fit_is_an_error_with_place(text: str, part: str) -> None:
    evaluate = compile_expression(text, "json", file="f.yaml", line=3, key="k")
    with pytest.raises(MappingError) as caught:
        evaluate(TREE, Context())
    assert part in str(caught.value)
    assert (caught.value.file, caught.value.line, caught.value.target) == ("f.yaml", 3, "k")
    assert caught.value.source == text
    assert caught.value.__cause__ is None


def test_values_in_errors_are_masked() -> None:
    with pytest.raises(MappingError) as caught:
        compile_expression("name | number", "json")({"name": "张小三"}, Context())
    assert "张小三" not in str(caught.value)
    assert caught.value.value == "张*三"


def test_branches_not_taken_are_not_computed() -> None:
    tree = {"bad": "x", "items": [{"n": "x"}]}
    for text in (
        "1 if true else number(bad)",
        "false and number(bad)",
        "true or items[number(n) > 1].n",
        "'d' if not missing else items[number(n) > 1].n",
        "1 if true else match(bad, {'y': 1})",
        "bad | default(number(bad))",
    ):
        run(text, tree)


def test_expressions_are_compiled_once() -> None:
    first = compile_expression("a.b", "json", key="one")
    assert compile_expression("a.b", "json", key="one") is first


def test_extract_reads_several_values_and_leaves_out_what_is_absent() -> None:
    extract = compile_extract(
        {
            "id": "a.b[0].c",
            "gone": "missing",
            "void": "empty",
            "all": "list",
            "none": "missing[*].x | unique",
            "ok": "reply.ok",
        },
        "json",
    )
    assert extract(TREE, Context()) == {"id": "1", "all": "p q", "ok": "true"}
    assert compile_extract({}, "json")(TREE, Context()) == {}


def test_extract_names_the_key_that_fails() -> None:
    with pytest.raises(MappingError) as caught:
        compile_extract({"good": "a", "bad": "a ="}, "json", file="plugin.yaml", line=4)
    assert caught.value.target == "keys.bad"
    with pytest.raises(MappingError) as caught:
        compile_extract({"good": "amount", "bad": "姓名 | number"}, "json")(TREE, Context())
    assert caught.value.target == "keys.bad"


HOSTILE = [
    "__import__('os')",
    "().__class__.__bases__[0].__subclasses__()",
    "''.__class__",
    "a.__class__.__init__.__globals__['os']",
    "eval('1')",
    "exec('1')",
    "open('/etc/passwd')",
    "(lambda x: x)(1)",
    "f'{a}'",
    "`id`",
    "a; import os",
    "a\nimport os",
    "a #",
    "tree",
    "ctx.settings",
    "run(tree, ctx)",
    "k1",
    "f_upper",
    "$['\\'] or __import__(\\'os\\') or [\\'']",
    "globals()",
    "len",
    "type(a)",
    "str(a)",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("codec", ["json", "hl7v2"])
def test_nothing_leads_out(text: str, codec: str) -> None:
    """Refused, or read as a path of the source, in which nothing of Python is to be found."""
    try:
        evaluate = compile_expression(text, codec)
    except MappingError:
        return
    if codec == "json":
        assert evaluate({"safe": 1}, Context()) is None


def test_a_text_that_looks_like_code_stays_a_text() -> None:
    assert compile_expression(r"'\'); import os; (\''", "json")({}, Context()) == "'); import os; ('"


def test_generated_code_has_no_builtins() -> None:
    from hub.mapping.codegen import Generator
    from hub.mapping.formats import source_format
    from hub.mapping.functions import BUILTIN

    assert Generator(source_format("json"), BUILTIN).namespace["__builtins__"] == {}


TOKENS = st.sampled_from(
    [
        *("a", "b.c", ".x", "..", "$", "$x", "$.", "'", '"', "'t'", "(", ")", "[", "]", "{", "}", ",", ":", "|"),
        *("+", "-", "*", "/", "==", "!=", "<", ">=", "in", "not", "and", "or", "if", "else", "1", "2.5", "upper"),
        *("upper(", "join(", "table('t')", "match({", "PID-5.1", "PID-3[2]", "OBX[", ".3.1", "-5", "\\", "\n", " "),
        *("[*]", "[0]", "true", "null", "default('x')", "sep=", "姓", "\x00", "\ud800", "\u0664"),
    ]
)


@settings(max_examples=600, deadline=None)
@given(st.lists(TOKENS, max_size=25).map("".join), st.sampled_from(["json", "hl7v2"]))
def test_any_sequence_of_tokens_compiles_or_is_refused(text: str, codec: str) -> None:
    with contextlib.suppress(MappingError):
        compile_expression(text, codec)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60), st.sampled_from(["json", "hl7v2"]))
def test_any_text_compiles_or_is_refused(text: str, codec: str) -> None:
    with contextlib.suppress(MappingError):
        compile_expression(text, codec)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(JSON_VALUES)
def test_paths_never_fail_on_any_tree(tree: Any) -> None:
    context = Context()
    for text in ("a", "a.b", "a[0].b", "a[-1]", "a[*].b | list", "a[b == 'x'].c", "a[.b].c | count", "a.b.c or 'd'"):
        compile_expression(text, "json")(tree, context)


@settings(max_examples=200, deadline=None)
@given(JSON_VALUES)
def test_a_path_gives_what_python_gives(tree: Any) -> None:
    expected = tree.get("a", {}) if isinstance(tree, dict) else None
    if isinstance(expected, dict):
        assert compile_expression("a.b", "json")(tree, Context()) == expected.get("b")


@given(st.text(max_size=40))
def test_a_quoted_text_is_itself(text: str) -> None:
    if any("\ud800" <= char <= "\udfff" for char in text):
        return
    quoted = "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    assert compile_expression(quoted, "json")({}, Context()) == text


@given(st.integers(-(10**40), 10**40), st.integers(-(10**40), 10**40))
def test_whole_numbers_are_exact(a: int, b: int) -> None:
    tree = {"a": a, "b": str(b)}
    assert compile_expression("a + b", "json")(tree, Context()) == a + b
    assert compile_expression("a * b", "json")(tree, Context()) == a * b
    assert compile_expression("a < b", "json")(tree, Context()) == (a < b)
