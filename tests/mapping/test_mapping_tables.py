"""Code tables in mappings: heads, dates, versions, directions, and what the stamp covers."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.errors import MappingError, Problem
from hub.mapping import Context
from hub.mapping.tables import load_table
from hub.mapping.tables_dates import day_of, day_text, parse_day
from hub.message import Message

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Folder

CHINA = timezone(timedelta(hours=8))
HEAD = "from: {codec: json}\nto: {codec: json}\n"


def received(at: str) -> Context:
    """The context of a message received at a time, Beijing unless it says otherwise."""
    moment = datetime.fromisoformat(at)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=CHINA)
    return Context(message=Message(1, int(moment.timestamp() * 1e6), "his/in", "t", "", b""))


def translate(folder: Folder, expression: str, value: Any, on: str = "2026-11-20", name: str = "m") -> Any:
    """What ``x | <expression>`` gives for a message of a day; None when it is left out."""
    (target,) = folder.mapping(f'fields: {{a: "x | {expression}"}}', name=name).run({"x": value}, received(on))
    return target.get("a")


def problems(folder: Folder, csv: str, name: str = "t") -> list[Problem]:
    return load_table(folder.write(f"tables/{name}.csv", csv), name)[1]


# -- reading ---------------------------------------------------------------------------------------------------------


def test_the_head_says_what_a_table_is(folder: Folder) -> None:
    path = folder.write(
        "tables/t.csv",
        "# Reviewed by the laboratory.\n# version: 2024-1\n# source: GB/T 2261.1\n# valid-from: 2024-04-01\n"
        "# valid_to: 2025/3/31\n# review: Approved\n# from: 1.2.3\n# to: local codes\n"
        "from,to,valid_to,note\n1,one,2024-12-31,first\n",
    )
    table, found = load_table(path, "t")
    assert found == []
    assert (table.version, table.source, table.review) == ("2024-1", "GB/T 2261.1", "approved")
    assert (table.from_system, table.to_system) == ("1.2.3", "local codes")
    assert [day_text(day) for day in table.days] == ["2024-04-01", "2025-03-31"]
    (row,) = table.rows
    assert (row.line, row.source, row.target, row.note) == (10, "1", "one", "first")
    assert [day_text(day) for day in row.days] == ["", "2024-12-31"]


@pytest.mark.parametrize(
    ("csv", "line", "column", "part"),
    [
        ("from,to,remark\n", 1, "remark", "no column 'remark'"),
        ("from,to,note,note\n", 1, "note", "twice"),
        ("from;to\n1;2\n", 1, "", "columns must be"),
        ("from,to\n1,2\n1,2\n", 3, "from", "'1' is listed twice (line 2)"),
        ("from,to\n1,2\n1,3\n", 3, "from", "'1' is listed twice, to '2' (line 2) and to '3'"),
        ("from,to,valid_to\n1,2,2024-05-01\n1,3,\n", 3, "from", "listed twice"),
        ("from,to\n,2\n", 2, "from", "from is empty"),
        ('from,to\n1,"a\nb"\n', 2, "to", "line break"),
        ("from,to\n1,\x07\n", 2, "to", "control character"),
        (f"from,to\n{'9' * 4001},1\n", 2, "from", "too long"),
        ("from,to,valid_from\n1,2,2024-02-30\n", 2, "valid_from", "'2024-02-30' is not a date"),
        ("from,to,valid_to\n1,2,20240229\n", 2, "valid_to", "'20240229' is not a date"),
        ("from,to,valid_from,valid_to\n1,2,2024-02-02,2024-02-01\n", 2, "valid_to", "ends before it begins"),
        ("# valid_from: soon\nfrom,to\n", 1, "valid_from", "'soon' is not a date"),
        ("# version: 1\n# version: 2\nfrom,to\n", 2, "version", "given twice"),
        ("# review: perhaps\nfrom,to\n", 1, "review", "no state of review"),
        ('from,to\n"a\nb",1\n2,"3"x\n', 2, "from", "line break"),
        ('from,to\n"a,1\n', 2, "", "not CSV"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(folder: Folder, csv: str, line: int, column: str, part: str) -> None:
    found = problems(folder, csv)[0]
    assert part in found.text
    assert (found.line, found.severity) == (line, "error")
    assert found.file == str(folder.root / "tables/t.csv")
    assert found.key == (f"table t, {column}" if column else "table t")
    assert found.remedy


def test_bytes_that_are_no_utf_8_have_a_line(folder: Folder) -> None:
    path = folder.root / "tables/t.csv"
    path.write_bytes("from,to\n1,一\n".encode() + "2,男\n".encode("gb18030"))
    (found,) = load_table(path, "t")[1]
    assert (found.line, "UTF-8" in found.text, "hub tables import" in found.remedy) == (3, True, True)


def test_a_slip_in_the_head_and_a_draft_are_warnings(folder: Folder) -> None:
    found = problems(folder, "# vaild_from: 2024-04-01\n# review: draft\n# Remark: fine\nfrom,to\n1,2\n")
    assert [(problem.severity, problem.line) for problem in found] == [("warning", 1), ("warning", 2)]
    assert "# valid_from:" in found[0].remedy
    folder.write("m.yaml", HEAD + "fields: {a: x | table('t')}\n")
    assert folder.library().get("m").run({"x": "1"}, Context()) == [{"a": "2"}]


def test_a_file_that_is_too_large_is_not_read(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.mapping.tables.MAX_TABLE", 10)
    (found,) = problems(folder, "from,to\n1,2\n")
    assert "larger than" in found.text


@settings(max_examples=150, deadline=None)
@given(
    raw=st.one_of(
        st.binary(max_size=200), st.text(max_size=200).map(lambda text: ("from,to\n" + text).encode("utf-8", "replace"))
    )
)
def test_any_bytes_are_a_table_or_a_problem(raw: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(raw)
    table, found = load_table(path, "any")
    assert all(problem.text and problem.file == str(path) for problem in found)
    assert len({row.source for row in table.rows}) == len(table.rows)


@given(st.dates())
def test_a_day_is_read_as_it_is_written(day: date) -> None:
    assert parse_day(day.isoformat()) == day.toordinal()
    assert parse_day(f"{day.year:04}/{day.month}/{day.day}") == day.toordinal()
    assert day_text(day.toordinal()) == day.isoformat()


# -- dates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "day"),
    [
        ("2024-03-31T15:59:59.999999+00:00", "2024-03-31"),
        ("2024-03-31T16:00:00+00:00", "2024-04-01"),
        ("2024-04-01T00:00:00", "2024-04-01"),
        ("1969-12-31T23:00:00", "1969-12-31"),
    ],
)
def test_the_day_of_a_message_is_the_one_in_beijing(at: str, day: str) -> None:
    assert day_text(day_of(received(at))) == day


def test_without_a_message_the_time_of_the_run_counts() -> None:
    assert day_text(day_of(Context(now_us=received("2024-04-01").message.received_at))) == "2024-04-01"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("on", "expected"),
    [("2024-03-31", "old"), ("2024-04-01", "new"), ("2025-03-31T23:59:59", "new"), ("2025-04-01", None)],
)
def test_a_row_counts_from_its_first_day_to_its_last(folder: Folder, on: str, expected: str | None) -> None:
    folder.write(
        "tables/t.csv", "from,to,valid_from,valid_to\n1,old,,2024-03-31\n1,new,2024-04-01,2025-03-31\n2,two,,\n"
    )
    assert translate(folder, "table('t', unmapped='null')", "1", on) == expected
    assert translate(folder, "table('t', unmapped='null')", 1, on) == expected
    assert translate(folder, "table('t', unmapped='null')", "2", on) == "two"


@pytest.mark.parametrize(("on", "expected"), [("2024-03-31", "?"), ("2024-04-01", "one"), ("2025-04-01", "?")])
def test_the_head_dates_the_whole_table(folder: Folder, on: str, expected: str) -> None:
    folder.write("tables/t.csv", "# valid_from: 2024-04-01\n# valid_to: 2025-03-31\nfrom,to\n1,one\n")
    assert translate(folder, "table('t', default='?')", "1", on) == expected


def test_policies_hold_for_dated_tables_and_the_error_names_the_day(folder: Folder) -> None:
    folder.write("tables/t.csv", "from,to,valid_from\n1,one,2024-04-01\n")
    assert translate(folder, "table('t', unmapped='keep')", "1", "2024-01-01") == "1"
    assert translate(folder, "table('t', unmapped='word')", "1", "2024-01-01") == "word"
    assert translate(folder, "table('t')", "", "2024-01-01") is None
    with pytest.raises(MappingError, match="table t does not list the value on 2024-01-01"):
        translate(folder, "table('t')", "1", "2024-01-01")


def test_a_list_is_no_value_of_a_dated_table_either(folder: Folder) -> None:
    folder.write("tables/t.csv", "from,to,valid_from\n1,one,2024-04-01\n")
    with pytest.raises(MappingError, match="single value"):
        translate(folder, "table('t')", ["1"])


def test_in_a_loop_the_day_is_asked_once(folder: Folder) -> None:
    folder.write("tables/t.csv", "from,to,valid_from\n1,one,2024-04-01\n")
    mapping = folder.mapping("fields: {a: {each: xs, expr: \". | table('t')\"}, b: \"y | table('t')\"}")
    assert mapping.source.count("day_of(ctx)") == 1
    assert mapping.run({"xs": ["1", "1"], "y": "1"}, received("2024-04-01")) == [{"a": ["one", "one"], "b": "one"}]


def test_a_table_without_dates_is_a_look_up_in_a_dict(folder: Folder) -> None:
    source = folder.mapping("fields: {a: \"x | table('gender')\"}").source
    assert "day_of" not in source
    assert ".get(" in source


# -- versions --------------------------------------------------------------------------------------------------------

VERSIONS = {
    "t": "# version: first\nfrom,to\n1,one\n2,two\n",
    "t@2024": "# valid_from: 2024-04-01\nfrom,to\n1,yi\n",
    "t@2026": "# valid_from: 2026-01-01\n# valid_to: 2026-06-30\nfrom,to\n1,I\n",
    "t@archive": "from,to\n1,archived\n",
}


def write_versions(folder: Folder) -> None:
    for name, text in VERSIONS.items():
        folder.write(f"tables/{name}.csv", text)


@pytest.mark.parametrize(
    ("on", "expected"),
    [("2024-03-31", "one"), ("2024-04-01", "yi"), ("2026-01-01", "I"), ("2026-06-30", "I"), ("2026-07-01", "yi")],
)
def test_the_newest_version_valid_on_the_day_is_asked(folder: Folder, on: str, expected: str) -> None:
    write_versions(folder)
    assert folder.library().problems() == []
    assert translate(folder, "table('t')", "1", on) == expected


def test_what_the_newest_version_dropped_is_not_looked_for_in_an_older_one(folder: Folder) -> None:
    write_versions(folder)
    assert translate(folder, "table('t', unmapped='null')", "2", "2024-03-31") == "two"
    assert translate(folder, "table('t', unmapped='null')", "2", "2024-04-01") is None


@pytest.mark.parametrize(
    ("version", "expected"),
    [("'first'", "one"), ("'2024'", "yi"), ("2024", "yi"), ("'2026'", "I"), ("'archive'", "archived")],
)
def test_a_version_can_be_fixed(folder: Folder, version: str, expected: str) -> None:
    write_versions(folder)
    assert translate(folder, f"table('t', version={version})", "1", "2020-01-01") == expected


def test_rows_of_a_fixed_version_keep_their_dates(folder: Folder) -> None:
    folder.write("tables/t.csv", "# version: 1\n# valid_from: 2024-01-01\nfrom,to,valid_to\n1,one,2023-12-31\n")
    assert translate(folder, "table('t', version='1', unmapped='null')", "1", "2023-12-31") == "one"
    assert translate(folder, "table('t', version='1', unmapped='null')", "1", "2024-01-01") is None


def test_versions_that_can_not_be_told_apart(folder: Folder) -> None:
    for name in ("t", "t@a", "t@b"):
        folder.write(f"tables/{name}.csv", ("" if name == "t" else "# valid_from: 2024-01-01\n") + "from,to\n1,2\n")
    folder.write("m.yaml", HEAD + "fields: {a: x | table('t')}\n")
    (found,) = folder.library().problems()
    assert "t@a and t@b are both valid from 2024-01-01" in found.text
    assert (found.file, found.line) == (str(folder.root / "m.yaml"), 3)


def test_an_unknown_version_names_those_there_are(folder: Folder) -> None:
    write_versions(folder)
    folder.write("m.yaml", HEAD + "fields: {a: \"x | table('t', version='2025')\"}\n")
    (found,) = folder.library().problems()
    assert "no version '2025'" in found.text
    assert found.remedy == "it has first, 2024, 2026, archive"
    folder.write("m.yaml", HEAD + "fields: {a: \"x | table('nothing', version='2025')\"}\n")
    assert "no code table 'nothing'" in folder.library().problems()[0].text


def test_a_version_alone_is_found_by_its_version_only(folder: Folder) -> None:
    folder.write("tables/t@2024.csv", "from,to\n1,2\n")
    (found,) = folder.library().problems()
    assert (found.severity, found.key) == ("warning", "table t@2024")
    assert translate(folder, "table('t', version='2024')", "1") == "2"


def test_arguments_that_must_be_literals(folder: Folder) -> None:
    for text, part in (
        ("version=y", "version must be a literal"),
        ("version=true", "version must be a text"),
        ("version=1.5", "version must be a text"),
        ("reverse='yes'", "reverse is true or false"),
        ("reverse=y", "reverse must be a literal"),
    ):
        folder.write("m.yaml", HEAD + f"fields: {{a: \"x | table('gender', {text})\"}}\n")
        assert part in folder.library().problems()[0].text


# -- the other direction ---------------------------------------------------------------------------------------------


def test_a_table_is_read_in_reverse(folder: Folder) -> None:
    assert translate(folder, "table('gender', reverse=true)", "female") == "F"
    assert translate(folder, "table('gender', reverse=true, unmapped='null')", "F") is None
    assert translate(folder, "table('gender', reverse=false)", "F") == "female"


def test_reverse_needs_one_to_one_and_names_the_rows(folder: Folder) -> None:
    folder.write("tables/t.csv", "# version: 1\nfrom,to\nO,9\nU,0\nA,9\nN,9\nX,\nY,\n")
    folder.write("m.yaml", HEAD + "fields: {a: \"x | table('t', reverse=true)\"}\n")
    (found,) = folder.library().problems()
    assert "table t is not one-to-one in reverse" in found.text
    assert "'9' from 'O' (line 3) and 'A' (line 5), '9' from 'O' (line 3) and 'N' (line 6)" in found.text
    assert (found.file, found.line) == (str(folder.root / "m.yaml"), 3)


def test_reverse_is_one_to_one_on_each_day(folder: Folder) -> None:
    folder.write("tables/t.csv", "from,to,valid_from,valid_to\nA,1,,2024-03-31\nB,1,2024-04-01,\n")
    assert translate(folder, "table('t', reverse=true)", "1", "2024-03-31") == "A"
    assert translate(folder, "table('t', reverse=true)", "1", "2024-04-01") == "B"


_CODES = st.text("0123456789abc", min_size=1, max_size=3)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(_CODES, _CODES.map(str.upper), max_size=8).filter(lambda d: len(set(d.values())) == len(d)))
def test_there_and_back(folder: Folder, pairs: dict[str, str]) -> None:
    folder.write("tables/t.csv", "from,to\n" + "".join(f"{source},{target}\n" for source, target in pairs.items()))
    mapping = folder.mapping("fields: {a: {each: xs, expr: \". | table('t') | table('t', reverse=true)\"}}")
    (target,) = mapping.run({"xs": list(pairs)}, Context())
    assert target.get("a", []) == list(pairs)


# -- the stamp -------------------------------------------------------------------------------------------------------


def stamp(folder: Folder, expression: str) -> str:
    folder.write("m.yaml", HEAD + f'fields: {{a: "x | {expression}"}}\n')
    return folder.library().get("m").stamp


def touch(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8") + "9,nine\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("expression", "covered"),
    [
        ("table('t')", {"t", "t@2024", "t@2026"}),
        ("table('t', version='2024')", {"t@2024"}),
        ("table('t', version='archive')", {"t@archive"}),
        ("table('t', version='first')", {"t"}),
    ],
)
def test_the_stamp_covers_the_files_that_are_used_and_no_others(
    folder: Folder, expression: str, covered: set[str]
) -> None:
    write_versions(folder)
    changes = set()
    for name in VERSIONS:
        before = stamp(folder, expression)
        touch(folder.root / f"tables/{name}.csv")
        if stamp(folder, expression) != before:
            changes.add(name)
    assert changes == covered


def test_a_new_version_takes_effect_with_a_reload(folder: Folder) -> None:
    folder.write("tables/t.csv", "from,to\n1,one\n")
    folder.write("m.yaml", HEAD + "fields: {a: x | table('t')}\n")
    library = folder.library()
    before = library.get("m")
    folder.write("tables/t@2.csv", "# valid_from: 2024-04-01\nfrom,to\n1,eins\n")
    assert library.reload() == []
    after = library.get("m")
    assert after.stamp != before.stamp
    assert [after.run({"x": "1"}, received(on)) for on in ("2024-03-31", "2024-04-01")] == [
        [{"a": "one"}],
        [{"a": "eins"}],
    ]


def test_a_broken_version_keeps_the_mapping_from_being_used(folder: Folder) -> None:
    write_versions(folder)
    folder.write("tables/t@2024.csv", "# valid_from: 2024-04-01\nfrom,to\n1,2\n1,3\n")
    folder.write("m.yaml", HEAD + "fields: {a: x | table('t')}\n")
    with pytest.raises(MappingError, match="listed twice"):
        folder.library().get("m")
    folder.write("m.yaml", HEAD + "fields: {a: \"x | table('t', version='2026')\"}\n")
    assert folder.library().get("m").run({"x": "1"}, Context()) == [{"a": "I"}]
