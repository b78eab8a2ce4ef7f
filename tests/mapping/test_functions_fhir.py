"""Functions on FHIR bundles: who is meant, who refers to whom, and what hostile bundles can't do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import MappingError
from hub.mapping import Context, MappingLibrary, compile_expression
from hub.mapping.functions.fhir import BundleIndex

if TYPE_CHECKING:
    from conftest import Folder


def call(text: str, tree: Any) -> Any:
    return compile_expression(text, "fhir")(tree, Context())


def bundle(*entries: tuple[str | None, dict[str, Any]]) -> dict[str, Any]:
    return {
        "resourceType": "Bundle",
        "entry": [
            {"fullUrl": url, "resource": resource} if url else {"resource": resource} for url, resource in entries
        ],
    }


def patient(number: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": number, **more}


def visit(reference: Any) -> dict[str, Any]:
    return {"resourceType": "Encounter", "subject": {"reference": reference}}


URL = "urn:uuid:00000000-0000-4000-8000-000000000001"
SERVER = "https://his.example.org/fhir"
FOUND = "(resources('Encounter')[0].subject | resolve).id"


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        (URL, "a"),
        (f"{SERVER}/Patient/b", "b"),
        (f"{SERVER}/Patient/b/_history/3", "b"),
        ("Patient/b", "b"),
        ("Patient/b/_history/1", "b"),
        ("Patient/a", "a"),
        ("Patient/c", "c"),
        ("Patient/nobody", None),
        ("Practitioner/a", None),
        ("https://other.example.org/fhir/Patient/b", None),
        ("Patient?identifier=x|1", None),
        ("a", None),
        ("", None),
        ("#a", None),
        (None, None),
        (["Patient/a"], None),
        ({"reference": "Patient/a"}, None),
        (7, None),
    ],
)
def test_what_a_reference_means(reference: Any, found: str | None) -> None:
    tree = bundle(
        (None, visit(reference)),
        (URL, patient("a")),
        (f"{SERVER}/Patient/b", {"resourceType": "Patient", "id": "b"}),
        (None, patient("c")),
    )
    assert call(FOUND, tree) == found


def test_the_id_of_a_url_counts_where_the_resource_has_none() -> None:
    assert (
        call("('Patient/b' | resolve).name", bundle((f"{SERVER}/Patient/b", {"resourceType": "Patient", "name": "x"})))
        == "x"
    )


def test_a_relative_reference_that_could_mean_two_means_none() -> None:
    one, other = patient("p", active=True), patient("p", active=False)
    tree = bundle(
        (None, visit("Patient/p")), ("https://a.example.org/Patient/p", one), ("https://b.example.org/Patient/p", other)
    )
    assert call(FOUND, tree) is None
    assert call("('https://b.example.org/Patient/p' | resolve).active", tree) is False


def test_the_first_of_several_entries_with_the_same_url_counts() -> None:
    assert call(f"('{URL}' | resolve).id", bundle((URL, patient("first")), (URL, patient("second")))) == "first"


def contained(name: str) -> dict[str, Any]:
    """A report whose contained observation refers to the container, and which refers to both of what it contains."""
    return {
        "resourceType": "DiagnosticReport",
        "id": name,
        "subject": {"reference": "#p"},
        "specimen": [{"reference": "#s"}, {"reference": "#none"}],
        "contained": [
            {"resourceType": "Patient", "id": "p", "name": [{"text": name}]},
            {"resourceType": "Specimen", "id": "s", "subject": {"reference": "#p"}, "parent": [{"reference": "#"}]},
        ],
    }


def test_contained_resources_are_those_of_the_same_container() -> None:
    tree = bundle((None, contained("one")), (None, contained("two")))
    assert call("(resources('DiagnosticReport')[1].subject | resolve).name[0].text", tree) == "two"
    specimen = "(resources('DiagnosticReport')[1].specimen | resolve)"
    assert call(f"({specimen}.subject | resolve).name[0].text", tree) == "two"
    assert call(f"({specimen}.parent | resolve).id", tree) == "two"
    assert call("resources('DiagnosticReport')[1].specimen[1] | resolve", tree) is None
    assert call("resources('Specimen')", tree) == []  # found by what refers to them only


def test_a_resource_that_is_no_bundle() -> None:
    report = contained("alone")
    assert call("count(resources('DiagnosticReport'))", report) == 1
    assert call("(subject | resolve).name[0].text", report) == "alone"
    assert call("('DiagnosticReport/alone' | resolve).id", report) == "alone"


def test_who_refers_to_a_resource() -> None:
    reports: list[dict[str, Any]] = [
        {
            "resourceType": "DiagnosticReport",
            "id": "r1",
            "result": [{"reference": "Observation/1"}, {"reference": "Observation/1"}],
        },
        {"resourceType": "DiagnosticReport", "id": "r2", "result": [{"reference": "Observation/2"}]},
    ]
    observations: list[dict[str, Any]] = [{"resourceType": "Observation", "id": number} for number in "123"]
    tree = bundle(*((None, item) for item in (*observations, *reports)))
    assert call("referring(resources('Observation')[0], 'DiagnosticReport', 'result') | length", tree) == 1
    assert call("referring(resources('Observation')[1], 'DiagnosticReport', 'result')[0].id", tree) == "r2"
    assert call("referring(resources('Observation')[2], 'DiagnosticReport', 'result')", tree) == []
    assert call("referring(null, 'DiagnosticReport', 'result')", tree) == []
    assert call("resources('Observation', unless='DiagnosticReport.result')[0].id", tree) == "3"
    assert (
        call("resources('Observation', unless=['DiagnosticReport.result', 'Observation.hasMember']) | length", tree)
        == 1
    )
    deep = bundle((None, observations[0]), (None, {"resourceType": "E", "d": [{"c": {"reference": "Observation/1"}}]}))
    assert call("referring(resources('Observation')[0], 'E', 'd.c') | length", deep) == 1


def test_groups_are_by_what_is_meant_else_by_what_is_written() -> None:
    tree = bundle(
        (URL, patient("p")),
        (None, visit(URL)),
        (None, visit("Patient/p")),
        (None, visit("Patient/elsewhere")),
        (None, visit("Patient/elsewhere")),
        (None, {"resourceType": "Encounter"}),
        (None, {"resourceType": "Encounter", "subject": {"display": "x"}}),
        (None, {"resourceType": "Encounter", "subject": {"display": "x", "identifier": {"value": "1"}}}),
        (None, {"resourceType": "Encounter", "subject": {"display": "x"}}),
        (None, {"resourceType": "Encounter", "subject": [7]}),
    )
    groups = call("grouped(resources('Encounter'), 'subject')", tree)
    assert [len(group) for group in groups] == [2, 2, 1, 2, 1, 1]
    same = {"identifier": [{"value": "1"}, {"value": "1", "system": "s"}, {"value": "1"}, "text", None]}
    assert [len(group) for group in call("grouped(identifier, 'value', 'system')", same)] == [2, 1]


def rows(tree: Any, expression: str = "resources('DiagnosticReport')[0].result") -> list[tuple[str, str]]:
    found = call(f"observation_rows({expression})", tree)
    return [(row["item"].get("code", row["observation"].get("code")), row.get("sub", "")) for row in found]


def observation(number: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": number, "code": number, **more}


def report(*results: str) -> dict[str, Any]:
    return {
        "resourceType": "DiagnosticReport",
        "result": [{"reference": f"Observation/{number}"} for number in results],
    }


def test_members_and_components_one_by_one() -> None:
    members = [{"reference": "Observation/2"}, {"reference": "Observation/3"}, {"reference": "Observation/1"}]
    tree = bundle(
        (None, report("1", "4", "5", "2")),
        (None, observation("1", hasMember=members)),  # the head of a panel, and of a ring
        (None, observation("2", valueInteger=0)),
        (None, observation("3", component=[{"code": "3a"}, {"code": "3b"}])),
        (None, observation("4", component=[{"code": "4"}, {"code": "4"}])),  # a value that repeats
        (None, observation("5", valueString="x", hasMember=[{"reference": "Observation/2"}])),
    )
    assert rows(tree) == [("2", ""), ("3a", "1"), ("3b", "2"), ("4", ""), ("5", "")]
    assert rows(tree, "resources('Observation')[2]") == [("3a", "1"), ("3b", "2")]


def test_a_result_that_is_not_there_is_an_error_unless_told_otherwise() -> None:
    tree = bundle((None, report("1", "2", "p")), (None, observation("1")), (None, patient("p")))
    with pytest.raises(MappingError, match=r"(?i)bundle"):
        rows(tree)
    assert len(call("observation_rows(resources('DiagnosticReport')[0].result, missing='skip')", tree)) == 1
    assert call("observation_rows(nothing)", tree) == []


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("2026", "2026"),
        ("2026-01", "202601"),
        ("2026-01-15", "20260115"),
        ("2026-01-15T09:30:15+08:00", "20260115093015"),
        ("2026-01-15T09:30:15.123456+08:00", "20260115093015.1234"),
        ("2026-01-15T09:30:15Z", "20260115093015+0000"),
        ("2026-01-15T09:30:15-05:30", "20260115093015-0530"),
        ("1986-07-01T10:00:00+09:00", "19860701100000"),  # summer time in China
        ("1986-07-01T10:00:00+08:00", "19860701100000+0800"),
        (None, None),
        ("", None),
        ('""', None),
    ],
)
def test_times_of_hl7(value: str | None, written: str | None) -> None:
    assert call("x | hl7_time", {"x": value}) == written


def test_the_offset_of_another_zone_is_left_out_on_request() -> None:
    assert call("x | hl7_time('UTC')", {"x": "2026-01-15T09:30:15Z"}) == "20260115093015"


@pytest.mark.parametrize("value", ["2026-02-30", "soon", [], {}, True])
def test_what_is_no_time_is_an_error(value: Any) -> None:
    with pytest.raises(MappingError, match="hl7_time"):
        call("x | hl7_time", {"x": value})


@given(
    st.integers(1, 9999),
    st.integers(1, 12),
    st.integers(1, 28),
    st.integers(0, 23),
    st.sampled_from(["Z", "+01:00", "+08:00", "-11:30"]),
)
def test_times_come_back(year: int, month: int, day: int, hour: int, offset: str) -> None:
    value = f"{year:04}-{month:02}-{day:02}T{hour:02}:59:07{offset}"
    assert call("x | hl7_time | datetime", {"x": value}) == value.replace("Z", "+00:00")


def test_the_index_is_made_once_and_counts_against_the_budget(folder: Folder) -> None:
    text = "fields: {a: {each: x, v: ('Patient/1' | resolve).id, w: ('Patient/2' | resolve).id}}"
    mapping = folder.mapping(text, source="fhir")
    assert mapping.source.count("bundle_index(tree)") == 1
    tree = {**bundle(*((None, patient(str(number))) for number in range(50))), "x": [1, 2]}
    folder.write("small.yaml", f"from: {{codec: fhir}}\nto: {{codec: json}}\n{text}\n")
    with pytest.raises(MappingError):
        MappingLibrary([folder.root], budget=40).get("small").run(tree, Context())
    assert mapping.run(tree, Context()) == [{"a": [{"v": "1", "w": "2"}, {"v": "1", "w": "2"}]}]


def test_other_sources_have_no_references() -> None:
    with pytest.raises(MappingError, match="FHIR"):
        compile_expression("resources('Patient')", "hl7v2")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["", "#", "#a", "Patient/a", URL, "Patient", "Observation", "a"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "resourceType",
                    "id",
                    "entry",
                    "resource",
                    "fullUrl",
                    "reference",
                    "subject",
                    "contained",
                    "result",
                    "hasMember",
                    "component",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(JSON, JSON)
def test_any_tree_is_looked_through_without_a_fault(tree: Any, other: Any) -> None:
    for whole in (
        tree,
        {"resourceType": "Bundle", "entry": tree},
        {"resourceType": "Bundle", "entry": [{"resource": tree}, other]},
    ):
        index = BundleIndex(whole)
        for kind in list(index.kinds):
            for resource in index.resources(kind, "Patient.subject"):
                index.referring(resource, kind, "subject.reference")
                index.resolve(resource.get("subject"))
                index.resolve(resource.get("result"))
            index.grouped(index.resources(kind), "subject", "id")
            index.observation_rows(index.resources(kind), "skip")
