"""Looking at code tables, comparing their versions, and making them from other files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hub.errors import ConfigError, HubError
from hub.mapping.tables import load_table
from hub.terminology import Catalogue, Comparison, compare, import_table


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / "tables" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# -- the catalogue ---------------------------------------------------------------------------------------------------


def test_of_a_name_the_first_folder_counts(tmp_path: Path) -> None:
    write(tmp_path / "site", "a", "from,to\n1,site\n")
    write(tmp_path / "hub", "a", "from,to\n1,hub\n")
    write(tmp_path / "hub", "a@2024", "# valid_from: 2024-01-01\nfrom,to\n")
    write(tmp_path / "hub", "a_name", "from,to\n")
    catalogue = Catalogue([tmp_path / "site", tmp_path / "hub", tmp_path / "missing"])
    assert catalogue.names() == ["a", "a@2024", "a_name"]
    assert catalogue.get("a").rows[0].target == "site"
    assert catalogue.get("a").versions == {}
    with pytest.raises(HubError) as caught:
        catalogue.get("a_nam")
    assert (caught.value.code, "a_name" in caught.value.remedy) == ("table.missing", True)


def test_problems_of_a_table_are_those_of_its_file_and_between_its_versions(tmp_path: Path) -> None:
    write(tmp_path, "a", "# valid_from: 2024-01-01\nfrom,to\n1,2\n1,3\n")
    write(tmp_path, "a@x", "# valid_from: 2024-01-01\nfrom,to\n")
    catalogue = Catalogue([tmp_path])
    assert [(problem.line, problem.severity) for problem in catalogue.problems("a")] == [(4, "error"), (0, "error")]
    assert "both valid from 2024-01-01" in catalogue.problems("a")[1].text
    assert catalogue.problems("a@x") == []


# -- comparing -------------------------------------------------------------------------------------------------------


def compared(tmp_path: Path, old: str, new: str) -> Comparison:
    tables = [load_table(write(tmp_path, name, text), name) for name, text in (("old", old), ("new", new))]
    assert [problems for _, problems in tables] == [[], []]
    return compare(tables[0][0], tables[1][0])


def test_rows_added_removed_changed(tmp_path: Path) -> None:
    found = compared(
        tmp_path,
        "# version: 1\n# source: a\nfrom,to,note\n1,one,\n2,two,\n3,three,\n4,four,x\n",
        "# version: 2\n# source: a\nfrom,to,note\n4,four,y\n3,drei,\n1,one,\n5,five,\n",
    )
    assert found.head == {"version": ("1", "2")}
    assert [row.source for row in found.added] == ["5"]
    assert [row.source for row in found.removed] == ["2"]
    assert [(old.target, new.target, new.note) for old, new in found.changed] == [
        ("three", "drei", ""),
        ("four", "four", "y"),
    ]
    assert (found.same, found.equal) == (1, False)


def test_the_order_of_rows_and_columns_is_no_difference(tmp_path: Path) -> None:
    found = compared(tmp_path, "from,to,note\n1,a,\n2,b,n\n", "from,to,valid_to,note\n2,b,,n\n1,a,,\n")
    assert (found.equal, found.same) == (True, 2)
    assert found.as_dict() == {"equal": True, "head": {}, "added": [], "removed": [], "changed": [], "same": 2}


def test_dated_rows_of_one_value_are_told_apart_by_their_first_day(tmp_path: Path) -> None:
    head = "from,to,valid_from,valid_to\n"
    found = compared(
        tmp_path,
        head + "1,a,,2023-12-31\n1,b,2024-01-01,\n2,x,2024-01-01,\n",
        head + "1,a,,2023-12-31\n1,b,2024-01-01,2024-12-31\n1,c,2025-01-01,\n2,x,2025-01-01,\n",
    )
    assert [row.target for row in found.added] == ["c"]
    assert [(old.source, old.target) for old, _ in found.changed] == [("1", "b"), ("2", "x")]
    assert (found.removed, found.same) == ([], 1)
    assert found.as_dict()["changed"][1]["new"] == {
        "line": 5,
        "from": "2",
        "to": "x",
        "note": "",
        "valid_from": "2025-01-01",
        "valid_to": "",
    }


# -- importing -------------------------------------------------------------------------------------------------------

HEAD = {"version": "2026", "source": "the hospital's list", "valid_from": "", "review": "draft"}


def imported(tmp_path: Path, raw: bytes, columns: tuple[str, str, str] = ("code", "name", ""), **options: Any) -> Any:
    source = tmp_path / "list.csv"
    source.write_bytes(raw)
    options = {"name": "t", "head": HEAD, **options}
    return import_table(source, tmp_path / "tables", options.pop("name"), columns, options.pop("head"), **options)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_two_columns_become_a_table(tmp_path: Path, encoding: str, delimiter: str) -> None:
    lines = ["code|class|name|remark", "A01|x|伤寒|甲", "A02|x|沙门菌感染|", "A01|y|伤寒|乙", "|z|无|", "A03|z||"]
    raw = "\r\n".join(lines).replace("|", delimiter).encode(encoding)
    done = imported(tmp_path, raw, ("code", "name", "remark"))
    assert (done.rows, done.repeated, done.empty) == (3, 1, 1)
    assert done.file.read_text(encoding="utf-8") == (
        "# version: 2026\n# source: the hospital's list\n# review: draft\n"
        "from,to,note\nA01,伤寒,甲\nA02,沙门菌感染,\nA03,,\n"
    )
    table, problems = load_table(done.file, "t")
    assert [problem.severity for problem in problems] == ["warning"]
    assert (len(table.rows), table.review) == (3, "draft")
    assert sorted(path.name for path in done.file.parent.iterdir()) == ["t.csv"]


def test_values_that_need_quotes_survive(tmp_path: Path) -> None:
    done = imported(tmp_path, b'code,name\n"a,b","say ""x"""\n#1,2\n')
    table, _ = load_table(done.file, "t")
    assert [(row.source, row.target) for row in table.rows] == [("a,b", 'say "x"'), ("#1", "2")]


@pytest.mark.parametrize(
    ("raw", "options", "part"),
    [
        (b"code,name\n1,a\n2,b\n1,c\n", {}, "'1' is 'a' in row 1 and 'c' in row 3"),
        (b"code,title\n1,a\n", {}, "no column 'name'"),
        (b"code,name\n1,a\n", {"name": "../t"}, "can't be the name"),
        (b"code,name\n1,a\n", {"name": "a@b@c"}, "can't be the name"),
        (b"code,name\n1,a\n", {"head": {"source": "a\nb"}}, "write one line"),
        (b"code,name\n1,a\n", {"head": {"valid_from": "soon"}}, "'soon' is not a date"),
        (b'code,name\n1,"a\nb"\n', {}, "line break"),
        (b'code,name\n1,"a\n', {}, ""),
        (b"code,name\n1,\xff\xff\xff\n", {}, ""),
    ],
)
def test_what_can_not_be_imported_leaves_nothing_behind(
    tmp_path: Path, raw: bytes, options: dict[str, Any], part: str
) -> None:
    with pytest.raises(HubError) as caught:
        imported(tmp_path, raw, **options)
    assert part in str(caught.value)
    assert not list(tmp_path.glob("tables/*"))
    assert not list(tmp_path.glob("tables/.*"))


def test_an_existing_table_is_not_replaced(tmp_path: Path) -> None:
    before = write(tmp_path, "t", "from,to\n1,2\n").read_bytes()
    with pytest.raises(HubError) as caught:
        imported(tmp_path, b"code,name\n1,a\n")
    assert (caught.value.code, "t@<version>" in caught.value.remedy) == ("table.exists", True)
    assert (tmp_path / "tables" / "t.csv").read_bytes() == before
    assert imported(tmp_path, b"code,name\n1,a\n", name="t@2026").file.name == "t@2026.csv"


def test_a_problem_of_the_table_to_be_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        imported(tmp_path, b'code,name\n1,"a\nb"\n')
    (problem,) = caught.value.problems
    assert problem.file == str(tmp_path / "tables" / "t.csv")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(HubError, match="can't be read"):
        import_table(tmp_path / "none.csv", tmp_path, "t", ("a", "b", ""), {})
