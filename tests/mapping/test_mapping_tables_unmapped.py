"""Values that tables do not list: counted, masked, bounded, and without influence on any result."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from hub.errors import MappingError
from hub.mapping import Context
from hub.mapping.tables_unmapped import MAX_CODE, Unmapped, merge

if TYPE_CHECKING:
    from conftest import Folder


@pytest.fixture(autouse=True)
def noted(monkeypatch: pytest.MonkeyPatch) -> Unmapped:
    """What the mappings of this test note."""
    unmapped = Unmapped()
    monkeypatch.setattr("hub.mapping.functions.choice.UNMAPPED", unmapped)
    return unmapped


HEAD = "from: {codec: json}\nto: {codec: json}\n"


def counts(unmapped: Unmapped) -> list[tuple[str, str | None, int]]:
    """What was noted, whoever asked."""
    found: Counter[tuple[str, str | None]] = Counter()
    for row in unmapped.rows():
        found[row["table"], row["value"]] += row["count"]
    return [(table, value, count) for (table, value), count in found.items()]


@pytest.mark.parametrize("policy", ["unmapped='keep'", "unmapped='null'", "unmapped='?'", "default=y"])
def test_each_policy_counts_what_is_not_listed(folder: Folder, policy: str, noted: Unmapped) -> None:
    mapping = folder.mapping(f"fields: {{a: \"x | table('gender', {policy})\"}}")
    for value in ("M", "X", "X", "", None, 7):
        mapping.run({"x": value}, Context())
    assert counts(noted) == [("gender", "X", 2), ("gender", "7", 1)]


def test_an_error_counts_as_well(folder: Folder, noted: Unmapped) -> None:
    mapping = folder.mapping("fields: {a: x | table('gender')}")
    with pytest.raises(MappingError):
        mapping.run({"x": "X"}, Context())
    assert counts(noted) == [("gender", "X", 1)]


def test_match_and_dated_and_reverse_tables_count(folder: Folder, noted: Unmapped) -> None:
    folder.write("tables/t.csv", "from,to,valid_from\n1,one,2024-04-01\n")
    mapping = folder.mapping(
        """fields:
          a: "x | match({'1': 'one'}, unmapped='null')"
          b: "x | table('t', unmapped='null')"
          c: "x | table('t', unmapped='null', reverse=true)"
          d: "x | match({'2': null}, default='')"
        """
    )
    mapping.run({"x": "2"}, Context())
    assert counts(noted) == [("match", "2", 1), ("t", "2", 2)]


def test_results_are_the_same_however_full_the_notes_are(folder: Folder, noted: Unmapped) -> None:
    mapping = folder.mapping("fields: {a: \"x | table('gender', unmapped='keep')\"}")
    before = [mapping.run({"x": str(number)}, Context()) for number in range(1200)]
    assert [mapping.run({"x": str(number)}, Context()) for number in range(1200)] == before
    assert before == [[{"a": str(number)}] for number in range(1200)]
    rows = noted.rows()
    assert (len(rows), rows[-1]["value"], rows[-1]["count"]) == (1001, None, 400)
    assert sum(row["count"] for row in rows) == 2400


def test_tables_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.mapping.tables_unmapped.MOST_TABLES", 2)
    unmapped = Unmapped()
    for name in ("a", "b", "c", "a"):
        unmapped.note(name, "", "", "1")
    assert counts(unmapped) == [("a", "1", 2), ("b", "1", 1)]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("离异", "离异"),
        ("X-12", "X-12"),
        ("13812345678", "138****5678"),
        ("11010519491231002X", "110***********002X"),
        ("zhang@example.com", "z***@example.com"),
        ("a\x1b[31mb\ud800", "a?[31mb?"),
    ],
)
def test_what_looks_personal_is_masked(value: str, shown: str) -> None:
    unmapped = Unmapped()
    unmapped.note("t", "", "", value)
    (row,) = unmapped.rows()
    assert row["value"] == shown


def test_a_text_too_long_for_a_code_is_masked_as_a_whole() -> None:
    unmapped = Unmapped()
    unmapped.note("t", "", "", "患者自述头晕三天，" * 5)
    unmapped.note("t", "", "", "9" * MAX_CODE)
    assert sorted(row["value"] for row in unmapped.rows()) == ["9" * MAX_CODE, "患者自" + "*" * 38 + "晕三天，"]


def test_first_and_last_seen_and_the_place() -> None:
    unmapped = Unmapped()
    unmapped.note("t", "ministry/patient", "sex.code", "1")
    unmapped.note("t", "ministry/patient", "sex.code", "1")
    unmapped.note("t", "ministry/visit", "sex", "1")
    first, second = unmapped.rows()
    assert (first["mapping"], first["field"], first["count"]) == ("ministry/patient", "sex.code", 2)
    assert (second["mapping"], second["field"], second["count"]) == ("ministry/visit", "sex", 1)
    assert first["first_seen"] <= first["last_seen"] <= second["first_seen"] == second["last_seen"]


def test_threads_note_into_the_same_rows() -> None:
    unmapped = Unmapped()

    def work() -> None:
        for number in range(500):
            unmapped.note("t", "", "", str(number % 7))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row["value"] for row in unmapped.rows()) == [str(number) for number in range(7)]


def row(value: str | None, count: int, first: str, last: str, table: str = "t") -> dict[str, Any]:
    return {
        "table": table,
        "value": value,
        "count": count,
        "first_seen": first,
        "last_seen": last,
        "mapping": "m",
        "field": "f",
    }


def test_the_rows_of_workers_are_put_together() -> None:
    one = [row("1", 2, "2026-01-02", "2026-01-03"), row(None, 9, "2026-01-02", "2026-01-03")]
    two = [row("1", 1, "2026-01-01", "2026-01-02"), row("2", 5, "2026-01-01", "2026-01-01"), row("1", 1, "b", "c", "s")]
    assert merge([one, two, []]) == [
        row("1", 1, "b", "c", "s"),
        row("2", 5, "2026-01-01", "2026-01-01"),
        row("1", 3, "2026-01-01", "2026-01-03"),
        row(None, 9, "2026-01-02", "2026-01-03"),
    ]
    assert one[0]["count"] == 2


def test_a_mapping_says_for_which_field_it_asked(folder: Folder, noted: Unmapped) -> None:
    folder.write("part.yaml", HEAD + "fragment: true\nfields: {kind: \".k | table('gender', unmapped='null')\"}\n")
    mapping = folder.mapping(
        """vars: {sex: "x | table('gender', unmapped='null')"}
fields:
  a: {b: "$sex", c: "x | match({'1': 'one'}, default='0')"}
  list: {each: xs, v: ". | table('gender', unmapped='keep')"}
  part: {include: part, from: y}
""",
        name="ministry/patient",
    )
    mapping.run({"x": "Q", "xs": ["R", "R"], "y": {"k": "S"}}, Context())
    assert [(row["table"], row["value"], row["mapping"], row["field"], row["count"]) for row in noted.rows()] == [
        ("gender", "R", "ministry/patient", "list[].v", 2),
        ("gender", "Q", "ministry/patient", "vars.sex", 1),
        ("gender", "S", "part", "part.kind", 1),
        ("match", "Q", "ministry/patient", "a.c", 1),
    ]


def test_a_segment_of_hl7_is_such_a_field_too(folder: Folder, noted: Unmapped) -> None:
    mapping = folder.mapping("fields: {PID-8: \"x | table('gender', unmapped='keep')\"}", target="hl7v2")
    mapping.run({"x": "Q"}, Context())
    assert [(row["value"], row["mapping"], row["field"]) for row in noted.rows()] == [("Q", "m", "PID-8")]
