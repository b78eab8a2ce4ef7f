"""Mappings to plain trees: the shape of the target, what is left out, loops, includes, splits, and errors with their line."""

from __future__ import annotations

import copy
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.codecs.hl7v2 import Hl7Codec
from hub.errors import MappingError, Problem
from hub.i18n import language, set_language
from hub.mapping import Context

if TYPE_CHECKING:
    from conftest import Folder

ORDER: dict[str, Any] = {
    "id": "o1",
    "name": "张三",
    "gender": "F",
    "empty": "",
    "none": None,
    "lines": [
        {"sku": "a", "n": 2, "tags": ["x", "y"]},
        {"sku": "b", "n": 0},
        {"sku": "c", "n": 5, "tags": ["z"]},
    ],
    "address": {"city": "邵阳", "zip": "422000"},
}


def test_shape_of_the_target(folder: Folder) -> None:
    text = """
        fields:
          id: id
          patient: {fullName: name, sex: gender | table('gender')}
          type.coding[0].code: "'C'"
          type.coding[0].system: {const: urn:x}
          type.text: {const: text}
          "['odd.key']": address.city
          "['when']": id
          list: [id, {const: 2}, {a: address.zip}]
          number: 5
          whole: address
    """
    assert folder.run(textwrap.dedent(text), ORDER) == {
        "id": "o1",
        "patient": {"fullName": "张三", "sex": "female"},
        "type": {"coding": [{"code": "C", "system": "urn:x"}], "text": "text"},
        "odd.key": "邵阳",
        "when": "o1",
        "list": ["o1", 2, {"a": "422000"}],
        "number": 5,
        "whole": {"city": "邵阳", "zip": "422000"},
    }


def test_keys_come_out_in_the_order_written(folder: Folder) -> None:
    result = folder.run("fields: {z: id, a: id, m: {q: id, b: id}}", ORDER)
    assert list(result) == ["z", "a", "m"]
    assert list(result["m"]) == ["q", "b"]


def test_what_is_absent_is_left_out(folder: Folder) -> None:
    text = """
        fields:
          gone: missing
          none: none
          kept: {expr: missing, keep_null: true}
          empty: empty
          object: {a: missing, b: {c: none}}
          list: [missing, {a: missing}]
          items: {each: missing, v: .x}
          nothing: {const: null}
          blank: {const: ''}
          dotted.a[0].b: missing
    """
    assert folder.run(textwrap.dedent(text), ORDER) == {"kept": None, "empty": "", "nothing": None, "blank": ""}


def test_an_empty_text_of_hl7_is_absent(folder: Folder) -> None:
    mapping = folder.mapping(
        "fields: {a: PID-1, b: PID-2, c: {expr: PID-2, keep_null: true}, d: upper(PID-2), e: {expr: PID-2, default: x}}",
        source="hl7v2",
    )
    message = Hl7Codec().decode(b"MSH|^~\\&|\rPID|1||x\r")
    assert mapping.run(message, Context()) == [{"a": "1", "c": None, "e": "x"}]


def test_default_and_required(folder: Folder) -> None:
    text = "fields: {a: {expr: missing, default: d}, b: {expr: id, default: d}, c: {expr: id, required: true}, d: {expr: empty, default: e}}"
    assert folder.run(text, ORDER) == {"a": "d", "b": "o1", "c": "o1", "d": ""}
    with pytest.raises(MappingError, match="required value is absent"):
        folder.run("fields: {a: {expr: missing, required: true}}", ORDER)


def test_required_takes_no_empty_text_and_joining_nothing_gives_nothing(folder: Folder) -> None:
    mapping = folder.mapping("fields: {a: {expr: $settings.key, required: true}}")
    for value in ("", None):
        with pytest.raises(MappingError, match="a required value is absent"):
            mapping.run({}, Context(settings={"key": value}))
    assert mapping.run({}, Context(settings={"key": "k"})) == [{"a": "k"}]
    with pytest.raises(MappingError, match="a required value is absent"):
        folder.run("fields: {a: {expr: x, required: true}}", {"x": ""})
    assert folder.run("fields: {a: {expr: x, required: true, default: d}}", {"x": ""}) == {"a": ""}

    text = """
        fields:
          two: join(' ', x, y)
          many: join('-', x, y, z)
          list: l | join(',')
          glued: concat(x, y)
          marked: concat(x, '#')
          other: {expr: "join(' ', x, y)", default: none}
          must: join(' ', x, y) | default(concat(x, z)) | default('end')
          null: {expr: "join(' ', x, y)", keep_null: true}
    """
    assert folder.run(textwrap.dedent(text), {"x": "", "l": []}) == {
        "marked": "#", "other": "none", "must": "end", "null": None,
    }  # fmt: skip
    message = Hl7Codec().decode(b"MSH|^~\\&|\rPID|1\r")
    fields = "fields: {PID-5.1: {const: x}, PID-6: \"join(' ', PID-8, PID-9)\", a: 1}".replace(", a: 1", "")
    (made,) = folder.mapping(fields, source="hl7v2", target="hl7v2").run(message, Context())
    assert made.get("PID-6") == ""


def test_a_mapping_refuses_in_two_languages(folder: Folder) -> None:
    text = "vars: {one: \"fail('several patients', '多个患者') if y else 'one'\"}\nfields: {a: \"required(x, 'no x', '没有 x')\"}"
    mapping = folder.mapping(text)
    assert mapping.run({"x": 1}, Context()) == [{"a": 1}]
    for tree, english, chinese in (({"y": 1, "x": 1}, "several patients", "多个患者"), ({}, "no x", "没有 x")):
        before = language()
        try:
            for name, told in (("en", english), ("zh", chinese)):
                set_language(name)
                with pytest.raises(MappingError) as caught:
                    mapping.run(tree, Context())
                assert caught.value.reason == told
        finally:
            set_language(before)
    with pytest.raises(MappingError, match="only English"):
        folder.run("fields: {a: \"x or fail('only English')\"}", {})


def test_conditions(folder: Folder) -> None:
    text = """
        fields:
          a: {expr: id, when: gender == 'F'}
          b: {const: 1, when: gender == 'M'}
          c: {when: missing, x: id}
          d: {when: id, x: id}
    """
    assert folder.run(textwrap.dedent(text), ORDER) == {"a": "o1", "d": {"x": "o1"}}


def test_each(folder: Folder) -> None:
    text = """
        fields:
          lines:
            each: lines
            where: .n > 0
            no: $number
            sku: .sku | upper
            of: id
            tags: {each: .tags, value: ., sku: ..sku}
          skus: {each: lines, expr: .sku}
          counted: {each: lines, when: .tags, expr: $number}
          single: {each: address, city: .city}
          texts: {each: lines, expr: .none, default: d}
    """
    assert folder.run(textwrap.dedent(text), ORDER) == {
        "lines": [
            {
                "no": 1,
                "sku": "A",
                "of": "o1",
                "tags": [{"value": "x", "sku": "a"}, {"value": "y", "sku": "a"}],
            },
            {"no": 2, "sku": "C", "of": "o1", "tags": [{"value": "z", "sku": "c"}]},
        ],
        "skus": ["a", "b", "c"],
        "counted": [1, 3],
        "single": [{"city": "邵阳"}],
        "texts": ["d", "d", "d"],
    }


def test_a_list_at_the_top(folder: Folder) -> None:
    assert folder.run("fields: [id, {const: 1}]", ORDER) == ["o1", 1]
    assert folder.run("fields: {each: lines, sku: .sku}", ORDER, name="n") == [{"sku": "a"}, {"sku": "b"}, {"sku": "c"}]
    assert folder.run("fields: address", ORDER, name="o") == ORDER["address"]
    assert folder.run("fields: {each: missing, sku: .sku}", ORDER, name="p") == {}


def test_variables_are_computed_in_order_and_seen_everywhere(folder: Folder) -> None:
    text = """
        vars:
          first: lines[0].sku
          both: concat($first, '-', id)
          skus: lines[*].sku | list
        fields:
          a: $both
          b: {each: lines, expr: "concat($first, .sku)"}
          c: {each: lines, when: .sku in $skus, expr: .n}
          d: $skus[1]
    """
    assert folder.run(textwrap.dedent(text), ORDER) == {
        "a": "a-o1",
        "b": ["aa", "ab", "ac"],
        "c": [2, 0, 5],
        "d": "b",
    }


def test_when_at_the_top_decides_whether_there_is_a_target(folder: Folder) -> None:
    mapping = folder.mapping("when: gender == 'F'\nfields: {a: id}")
    assert mapping.run(ORDER, Context()) == [{"a": "o1"}]
    assert mapping.run({"gender": "M"}, Context()) == []
    assert not mapping.splits


def test_split_makes_one_target_per_element(folder: Folder) -> None:
    mapping = folder.mapping("split: lines\nwhen: .n > 0\nfields: {sku: .sku, order: id}")
    assert mapping.splits
    assert mapping.run(ORDER, Context()) == [{"sku": "a", "order": "o1"}, {"sku": "c", "order": "o1"}]
    assert mapping.run({}, Context()) == []


def test_the_current_segment_of_hl7_as_a_list_of_one(folder: Folder) -> None:
    mapping = folder.mapping(
        """
        from: {codec: hl7v2}
        to: {codec: json}
        fields:
          orders:
            each: OBR
            same: {each: ., id: .2, notes: {each: .NTE, expr: .3}}
        """
    )
    raw = b"MSH|^~\\&|A\rOBR|1|X\rNTE|1||n1\rNTE|2||n2\rOBR|2|Y\rNTE|1||n3\r"
    (found,) = mapping.run(Hl7Codec().decode(raw), Context())
    assert found == {
        "orders": [{"same": [{"id": "X", "notes": ["n1", "n2"]}]}, {"same": [{"id": "Y", "notes": ["n3"]}]}]
    }


def test_split_of_hl7_by_group(folder: Folder) -> None:
    mapping = folder.mapping(
        "split: OBR\nfields: {order: .2.1, results: {each: .OBX, code: .3.1, value: .5, note: {each: .NTE, expr: .3}}, "
        "first: .OBX-5, high: \".OBX[.8=='H']-3.1\", patient: PID-3.1, count: count(.OBX)}",
        source="hl7v2",
    )
    message = Hl7Codec().decode(
        b"MSH|^~\\&|\rPID|1||800\rOBR|1|A\rOBX|1||x||1|||N\rNTE|1||n1\rNTE|2||n2\rOBX|2||y||2|||H\rOBR|2|B\rOBX|1||z||3\rNTE|1||n3\r"
    )
    assert mapping.run(message, Context()) == [
        {
            "order": "A",
            "results": [{"code": "x", "value": "1", "note": ["n1", "n2"]}, {"code": "y", "value": "2"}],
            "first": "1",
            "high": "y",
            "patient": "800",
            "count": 2,
        },
        {
            "order": "B",
            "results": [{"code": "z", "value": "3", "note": ["n3"]}],
            "first": "3",
            "patient": "800",
            "count": 1,
        },
    ]


def test_include(folder: Folder) -> None:
    fragment = "fragment: true\nfrom: {codec: json}\nto: {codec: json}\nvars: {v: .sku}\nfields: {code: $v, of: id}\n"
    folder.write("common/line.yaml", fragment)
    folder.write("common/list.yaml", fragment.replace("{code: $v, of: id}", "[.sku, id]"))
    text = """
        fields:
          one: {include: common/line, from: "lines[sku=='b']"}
          none: {include: common/line, from: "lines[sku=='q']"}
          all: {each: lines, include: common/line, n: .n}
          list: {include: common/list, from: lines}
          when: 1
    """.replace("when: 1", "mixed: {include: common/line, from: 'lines[-1]', extra: {const: 1}, when: id}")
    assert folder.run(textwrap.dedent(text), ORDER) == {
        "one": {"code": "b", "of": "o1"},
        "all": [
            {"code": "a", "of": "o1", "n": 2},
            {"code": "b", "of": "o1", "n": 0},
            {"code": "c", "of": "o1", "n": 5},
        ],
        "list": ["a", "o1"],
        "mixed": {"code": "c", "of": "o1", "extra": 1},
    }


def test_a_whole_mapping_can_be_included(folder: Folder) -> None:
    folder.mapping("fields: {city: address.city}", name="city")
    assert folder.run("fields: {a: {include: city}, b: id}", ORDER) == {"a": {"city": "邵阳"}, "b": "o1"}


def test_further_keys_are_added_to_what_an_include_makes(folder: Folder) -> None:
    base = """
        fields:
          p: {q: id, list: {each: lines, expr: .sku}, deep.one: name}
          whole: address
          n: name
    """
    folder.write("base.yaml", HEAD + textwrap.dedent(base))
    text = """
        fields:
          a: {include: base, p.r: gender, p.deep.two: id, whole.zip: id}
          b: {include: base, p: {q: none, deep: {one: gender}}, whole: id}
          c: {include: base, when: id, p: {when: none, q: gender}, p.list: {each: lines, expr: .n}}
    """.replace("p: {when: none, q: gender}, p.list", "p.list")
    before = copy.deepcopy(ORDER)
    assert folder.run(textwrap.dedent(text), ORDER) == {
        "a": {
            "p": {"q": "o1", "list": ["a", "b", "c"], "deep": {"one": "张三", "two": "o1"}, "r": "F"},
            "whole": {"city": "邵阳", "zip": "o1"},
            "n": "张三",
        },
        "b": {
            "p": {"q": "o1", "list": ["a", "b", "c"], "deep": {"one": "F"}},
            "whole": "o1",
            "n": "张三",
        },
        "c": {
            "p": {"q": "o1", "list": [2, 0, 5], "deep": {"one": "张三"}},
            "whole": {"city": "邵阳", "zip": "422000"},
            "n": "张三",
        },
    }
    assert before == ORDER
    for fields, kind in (("n.x: id", "text"), ("'p.list.x': id", "list"), ("'p.list[0].x': id", "list")):
        with pytest.raises(MappingError, match=f"makes a {kind} here") as caught:
            folder.run(f"fields:\n  a:\n    include: base\n    {fields}\n", ORDER)
        assert (caught.value.line, caught.value.target) == (
            6,
            f"a.{fields.split(':')[0].strip(chr(39))}".rsplit(".x")[0].removesuffix("[0]"),
        )


def test_fields_of_an_include_are_left_out(folder: Folder) -> None:
    inner = "fields: {x: id, y: {expr: none, required: true}, z: {u: id, v: name}, 'w.a': id, w.b: name}\n"
    folder.write("inner.yaml", HEAD + inner)
    folder.write(
        "outer.yaml", HEAD + "fields: {include: inner, from: lines, o: {include: inner, without: [y, z, w]}, a.b: id}\n"
    )
    assert folder.run("fields: {r: {include: inner, without: [y, z.u, w.a]}}", ORDER) == {
        "r": {"x": "o1", "z": {"v": "张三"}, "w": {"b": "张三"}}
    }
    # What the included mapping includes in turn, and what it writes at a key of its own.
    assert folder.run("fields: {r: {include: outer, without: [y, o.x, a, w], z.v: gender}}", ORDER) == {
        "r": {"x": "o1", "z": {"u": "o1", "v": "F"}}
    }
    with pytest.raises(MappingError, match="inner has no field 'wx'"):
        folder.run("fields: {r: {include: inner, without: [wx]}}", ORDER)
    with pytest.raises(MappingError, match="without: stands only with include:"):
        folder.run("fields: {r: {without: [x], a: id}}", ORDER)


def test_includes_may_be_deep_and_circles_are_told_as_such(folder: Folder) -> None:
    for level in range(20):
        origin = ", from: inner" if level % 2 else ""
        folder.write(f"l{level}.yaml", HEAD + f"fields: {{f: {{include: l{level + 1}{origin}}}, n: n}}\n")
    folder.write("l20.yaml", HEAD + "fields: {x: .x}\n")
    target = folder.library().get("l0").run({"n": 1, "x": "end", "inner": {"x": "inner"}}, Context())[0]
    for _ in range(20):
        assert target["n"] == 1
        target = target["f"]
    assert target == {"x": "inner"}

    for level in range(40):
        folder.write(f"d{level}.yaml", HEAD + f"fields: {{f: {{include: d{level + 1}}}}}\n")
    folder.write("d40.yaml", HEAD + "fields: {f: {include: d39}}\n")
    with pytest.raises(MappingError, match="include: nested deeper than 32"):
        folder.library().get("d0")
    with pytest.raises(MappingError, match="include each other: d39 > d40 > d39"):
        folder.library().get("d39")


def test_the_source_is_not_changed(folder: Folder) -> None:
    before = copy.deepcopy(ORDER)
    mapping = folder.mapping("fields: {a: address, b: {each: lines, t: .tags}, c: {const: {x: [1]}}}")
    first = mapping.run(ORDER, Context())[0]
    first["c"]["x"].append(2)
    assert mapping.run(ORDER, Context())[0]["c"] == {"x": [1]}
    assert before == ORDER


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("2026-01-15", "2026-01-15"),
        ("1.50", 1.5),
        ("007", 7),
        ("'007'", "007"),
        ("true", True),
        ("~", None),
        ("1e999", "1e999"),
        ("1_000", "1_000"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
        ("0x1F", "0x1F"),
    ],
)
def test_constants_are_what_people_expect(folder: Folder, value: str, expected: Any) -> None:
    result = folder.run(f"fields: {{a: {{const: {value}}}}}", {})["a"]
    assert result == expected
    assert type(result) is type(expected)


def test_an_error_names_line_target_source_and_masked_value(folder: Folder) -> None:
    mapping = folder.mapping("fields:\n  a: id\n  patient:\n    born:\n      birth | date\n")
    with pytest.raises(MappingError) as caught:
        mapping.run({"id": "1", "birth": "13812345678"}, Context())
    error = caught.value
    assert error.file == str(folder.root / "m.yaml")
    assert error.line == 7
    assert error.target == "patient.born"
    assert error.source == "birth | date"
    assert error.value == "138****5678"
    assert "13812345678" not in str(error)
    assert error.remedy
    assert str(error).startswith(f"{error.file}:7: patient.born <- birth | date: date: not a date")


def test_an_error_inside_a_loop_and_an_include_names_its_own_file(folder: Folder) -> None:
    folder.write("part.yaml", "fragment: true\nfrom: {codec: json}\nto: {codec: json}\nfields:\n  n: .n | date\n")
    mapping = folder.mapping("fields:\n  lines: {each: lines, include: part}\n")
    with pytest.raises(MappingError) as caught:
        mapping.run(ORDER, Context())
    assert (caught.value.file, caught.value.line) == (str(folder.root / "part.yaml"), 5)
    assert caught.value.target == "lines[].n"


def test_an_error_in_a_variable_or_condition_names_it(folder: Folder) -> None:
    for text, target in (
        ("vars:\n  d: name | date\nfields: {a: $d}", "vars.d"),
        ("when: number(name)\nfields: {a: id}", "when"),
        ("fields:\n  a: {expr: id, when: number(name)}", "a.when"),
        ("fields:\n  a: {each: lines, where: number(.sku), expr: .n}", "a[].where"),
    ):
        with pytest.raises(MappingError) as caught:
            folder.mapping(text).run(ORDER, Context())
        assert caught.value.target == target


def test_a_runaway_mapping_is_stopped(folder: Folder) -> None:
    text = "fields: {a: {each: x, b: {each: $.x, c: {each: $.x, v: .}}}}"
    mapping = folder.mapping(text)
    with pytest.raises(MappingError, match="number of nodes"):
        mapping.run({"x": list(range(1000))}, Context())
    assert folder.mapping(text, name="n").run({"x": [1, 2]}, Context())
    limited = folder.mapping("fields: {a: {each: x, v: .}}", name="o", budget=10)
    assert limited.run({"x": [1] * 5}, Context())
    with pytest.raises(MappingError, match="number of nodes"):
        limited.run({"x": [1] * 20}, Context())


@pytest.mark.parametrize(
    "text",
    [
        'fields: {a: {each: x, v: "$.x[id==..id].id"}}',
        "vars: {ids: 'x[*].id | list'}\nfields: {a: {each: x, when: .no in $ids, v: .id}}",
        "fields: {a: {each: x, v: 'count($.x[id==..id])'}}",
        "fields: {a: {each: x, v: 'sum($.x[*].id)'}}",
    ],
)
def test_looking_through_lists_again_and_again_is_stopped(folder: Folder, text: str) -> None:
    with pytest.raises(MappingError, match="number of nodes"):
        folder.mapping(text).run({"x": [{"id": n, "no": -1} for n in range(2000)]}, Context())


def problems_of(folder: Folder, text: str) -> list[Problem]:
    folder.write("m.yaml", text)
    return folder.library().problems()


HEAD = "from: {codec: json}\nto: {codec: json}\n"


@pytest.mark.parametrize(
    ("text", "line", "key", "part"),
    [
        (HEAD + "fields:\n  a: b ==\n", 4, "a", "a value expected"),
        (HEAD + "fields:\n  a:\n    b:\n      each: x +\n      c: .d\n", 6, "a.b", "a value expected"),
        (HEAD + "fields:\n  a: {each: x | list, v: .}\n", 4, "a", "a path is needed"),
        (HEAD + "fields:\n  a: {expr: x, wen: y}\n", 4, "a.wen", "does not go with"),
        (HEAD + "fields:\n  a: {const: 1, expr: x}\n", 4, "a.const", "exactly one kind"),
        (HEAD + "fields:\n  a: {b: x, default: 1}\n", 4, "a.default", "exactly one kind"),
        (HEAD + "fields:\n  a: {b: x, from: y}\n", 4, "a.from", "stands only with include"),
        (HEAD + "fields:\n  a: {b: x, where: y}\n", 4, "a.where", "stands only with each"),
        (HEAD + "fields:\n  a: x\n  a: y\n", 5, "a", "written twice"),
        (HEAD + "fields:\n  a.b: x\n  a: {c: y}\n", 5, "a", "already has a rule"),
        (HEAD + "fields:\n  a[1]: x\n", 0, "a[1]", "there is no [0]"),
        (HEAD + "fields:\n  'a[': x\n", 4, "a[", "not a target path"),
        (HEAD + "fields:\n  a:\n", 4, "a", "there is no rule"),
        (HEAD + "fields:\n  a: {}\n", 4, "a", "there is no rule"),
        (HEAD + "fields:\n  a: {include: nowhere}\n", 4, "a", "there is no mapping 'nowhere'"),
        (HEAD + "fields:\n  a: {include: m}\n", 4, "a", "include each other"),
        (HEAD + "fields:\n  a: x | table('nowhere')\n", 4, "a", "no code table 'nowhere'"),
        (HEAD + "fields:\n  a: {expr: x, required: perhaps}\n", 4, "a.required", "true or false"),
        (HEAD + "vars:\n  now: x\nfields: {a: x}\n", 4, "vars.now", "can't be the name"),
        (HEAD + "vars:\n  v: x +\nfields: {a: $v}\n", 4, "vars.v", "a value expected"),
        (HEAD + "when: x +\nfields: {a: x}\n", 3, "when", "a value expected"),
        (HEAD + "split: x + 1\nfields: {a: x}\n", 3, "split", "a path is needed"),
        (HEAD + "nonsense: 1\nfields: {a: x}\n", 3, "nonsense", "unknown key"),
        ("mapping: other\n" + HEAD + "fields: {a: x}\n", 1, "mapping", "not the name of the file"),
        ("from: {codec: json, tyes: x}\nto: {codec: json}\nfields: {a: x}\n", 1, "from.tyes", "unknown key"),
        ("from: {codec: json}\nfields: {a: x}\n", 1, "to", "to.codec is missing"),
        (
            "from: {codec: json}\nto: {codec: json, base: source}\nfields: {a: x}\n",
            1,
            "to.base",
            "HL7 v2, XML and DICOM only",
        ),
        (HEAD, 1, "fields", "fields: is missing"),
        ("", 1, "", "the file is empty"),
        ("a: [1, 2", 0, "", "not YAML"),
        ("- a\n- b\n", 1, "", "keys and values expected"),
        ("a: &x [*x]\n", 1, "a", "unknown key"),
        (HEAD + "fields: &x {a: *x}\n", 0, "", "too deeply nested"),
        (HEAD + "fields:\n" + "".join("  " * n + "  a:\n" for n in range(45)), 0, "", "too deeply nested"),
    ],
)
def test_problems_are_told_with_line_and_key(folder: Folder, text: str, line: int, key: str, part: str) -> None:
    found = problems_of(folder, text)
    matching = [problem for problem in found if part in problem.text]
    assert matching, [str(problem) for problem in found]
    assert matching[0].file == str(folder.root / "m.yaml")
    assert matching[0].key == key
    if line:
        assert matching[0].line == line


def test_all_problems_of_a_file_are_told(folder: Folder) -> None:
    found = problems_of(
        folder, HEAD + "when: a +\nfields:\n  a: b |\n  c: {each: x, d: .y | nope, e: .f | upper}\n  g: h(\n"
    )
    assert [problem.line for problem in found] == [3, 5, 6, 7]


def test_an_unknown_variable_is_a_warning(folder: Folder) -> None:
    (found,) = problems_of(folder, HEAD + "fields:\n  a: $statsu\n")
    assert found.severity == "warning"
    assert folder.library().get("m").run({}, Context()) == [{}]


def test_an_include_bomb_is_stopped(folder: Folder) -> None:
    for level in range(8):
        inner = "".join(f"  f{n}: {{include: l{level + 1}}}\n" for n in range(10)) if level < 7 else "  x: y\n"
        folder.write(f"l{level}.yaml", HEAD + "fields:\n" + inner)
    found = folder.library()
    with pytest.raises(MappingError, match="too many rules"):
        found.get("l0")


def test_an_include_bomb_without_a_single_rule_is_stopped(folder: Folder) -> None:
    for level in range(20):
        inner = "".join(f"  f{n}: {{include: l{level + 1}}}\n" for n in range(10)) if level < 19 else "  []\n"
        folder.write(f"l{level}.yaml", HEAD + "fields:\n" + inner)
    with pytest.raises(MappingError, match="too many rules"):
        folder.library().get("l0")


YAML_BITS = st.sampled_from(
    [
        *(
            "from: {codec: json}\n",
            "to: {codec: json}\n",
            "fields:\n",
            "  a: b\n",
            "  c: {each: d, e: .f}\n",
            "  - x\n",
        ),
        *(
            "  g: {const: 1}\n",
            "  h: {include: m}\n",
            "when: x\n",
            "split: y\n",
            "vars: {v: 1}\n",
            "    k: v\n",
            "  l:\n",
        ),
        *(
            "&a ",
            "*a ",
            "!!python/object:os.system ",
            "{",
            "}",
            "[",
            "]",
            ": ",
            "- ",
            "'",
            '"',
            "|\n",
            "\t",
            "\x00",
            "? ",
        ),
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(YAML_BITS, max_size=20).map("".join))
def test_any_file_compiles_or_has_problems(text: str) -> None:
    from hub.mapping.document_read import parse_document
    from hub.mapping.functions import BUILTIN
    from hub.mapping.mapping import compile_mapping

    document = parse_document(text, "m", "m.yaml")
    result = compile_mapping(document, lambda name: document if name == "m" else None, lambda name: None, BUILTIN)
    assert (result.run is not None) != any(problem.severity == "error" for problem in result.problems)
    if result.run is not None:
        result.run({"b": 1, "d": [{"f": 1}]}, Context())
