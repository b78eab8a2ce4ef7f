"""The library: finding, naming, stamping, reloading, and telling what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hub.errors import MappingError
from hub.mapping import Context, MappingLibrary

if TYPE_CHECKING:
    from conftest import Folder

HEAD = "from: {codec: json, types: [a, b]}\nto: {codec: json}\n"
GOOD = HEAD + "fields: {a: x}\n"


def test_names_are_paths_below_the_folder(folder: Folder) -> None:
    folder.write("ministry/waybill.yaml", GOOD)
    folder.write("ministry/waybill.tests.yaml", "- not a mapping")
    folder.write("top.yaml", "mapping: top\n" + GOOD)
    library = folder.library()
    assert library.names() == ["ministry/waybill", "top"]
    assert library.problems() == []
    mapping = library.get("ministry/waybill")
    assert mapping is library.get("ministry/waybill")
    assert (mapping.name, mapping.source_codec, mapping.target_codec) == ("ministry/waybill", "json", "json")
    assert mapping.types == ("a", "b")
    assert mapping.file == str(folder.root / "ministry/waybill.yaml")
    assert mapping.stamp == f"ministry/waybill@{mapping.hash}"
    assert len(mapping.hash) == 12
    assert int(mapping.hash, 16) >= 0
    assert "def run(tree, ctx)" in mapping.source


def test_earlier_folders_win(folder: Folder) -> None:
    folder.write("one/m.yaml", GOOD)
    folder.write("two/m.yaml", HEAD + "fields: {b: x}\n")
    folder.write("two/n.yaml", GOOD)
    library = MappingLibrary([folder.root / "one", folder.root / "two", folder.root / "missing"])
    assert library.names() == ["m", "n"]
    assert library.get("m").run({"x": 1}, Context()) == [{"a": 1}]


def test_an_unknown_name_offers_near_ones(folder: Folder) -> None:
    folder.write("ministry/waybill.yaml", GOOD)
    with pytest.raises(MappingError) as caught:
        folder.library().get("ministry/waybil")
    assert "ministry/waybill" in caught.value.remedy
    with pytest.raises(MappingError):
        folder.library().get("zzz")


def test_a_fragment_is_no_mapping(folder: Folder) -> None:
    folder.write("f.yaml", "fragment: true\n" + GOOD)
    assert folder.library().problems() == []
    with pytest.raises(MappingError, match="fragment"):
        folder.library().get("f")


def test_a_fragment_is_checked_even_when_nobody_includes_it(folder: Folder) -> None:
    folder.write(
        "f.yaml", "fragment: true\n" + HEAD + "fields:\n  a: .x +\n  b: {each: .y, where: '(', c: [.z, .q |]}\n"
    )
    found = {(problem.line, problem.key) for problem in folder.library().problems()}
    assert found == {(5, "a"), (6, "b"), (6, "b.c[1]")}


def test_a_reload_of_some_leaves_the_others_alone(folder: Folder) -> None:
    folder.write("m.yaml", GOOD)
    folder.write("n.yaml", GOOD)
    library = folder.library()
    old = library.get("n")
    library.get("m")
    for name in ("m", "n"):
        folder.write(f"{name}.yaml", HEAD + "fields: {b: x}\n")
    assert library.reload(["m"]) == []
    assert library.get("n") is old
    assert library.get("m").run({"x": 1}, Context()) == [{"b": 1}]


def test_the_hash_covers_includes_and_tables(folder: Folder) -> None:
    folder.write("part.yaml", "fragment: true\n" + HEAD + "fields: {p: x | table('t')}\n")
    folder.write("m.yaml", HEAD + "fields: {include: part}\n")
    folder.write("other.yaml", GOOD)
    table = folder.write("tables/t.csv", "# version: 2024-1\nfrom,to,note\n1,one,first\n")
    library = folder.library()
    before, other = library.get("m"), library.get("other")
    assert before.run({"x": 1}, Context()) == [{"p": "one"}]
    table.write_text("from,to\n1,eins\n", encoding="utf-8")
    assert library.get("m") is before
    assert library.reload() == []
    after = library.get("m")
    assert after.run({"x": 1}, Context()) == [{"p": "eins"}]
    assert after.hash != before.hash
    assert library.get("other").hash == other.hash
    folder.write("part.yaml", "fragment: true\n" + HEAD + "fields: {q: x | table('t')}\n")
    library.reload(["part"])
    assert library.get("m").run({"x": 1}, Context()) == [{"q": "eins"}]
    assert library.get("m").hash not in (before.hash, after.hash)


def test_a_reload_keeps_what_is_broken_now(folder: Folder) -> None:
    folder.write("m.yaml", GOOD)
    folder.write("n.yaml", GOOD)
    library = folder.library()
    old = library.get("m")
    library.get("n")
    folder.write("m.yaml", HEAD + "fields: {a: x +}\n")
    folder.write("n.yaml", HEAD + "fields: {b: x}\n")
    folder.write("new.yaml", GOOD)
    problems = library.reload()
    assert [(problem.file, problem.line) for problem in problems] == [(str(folder.root / "m.yaml"), 3)]
    assert library.get("m") is old
    assert library.get("n").run({"x": 1}, Context()) == [{"b": 1}]
    assert library.get("new").run({"x": 1}, Context()) == [{"a": 1}]
    folder.write("m.yaml", HEAD + "fields: {c: x}\n")
    assert library.reload(["m"]) == []
    assert library.get("m").run({"x": 1}, Context()) == [{"c": 1}]


def test_a_reload_forgets_what_is_gone(folder: Folder) -> None:
    path = folder.write("m.yaml", GOOD)
    library = folder.library()
    library.get("m")
    path.unlink()
    assert library.reload() == []
    assert library.names() == []
    with pytest.raises(MappingError):
        library.get("m")
    assert [problem.key for problem in library.reload(["m"])] == ["m"]


def test_a_broken_mapping_is_told_when_it_is_used(folder: Folder) -> None:
    folder.write("m.yaml", HEAD + "fields:\n  a: x +\n  b: y |\n")
    with pytest.raises(MappingError) as caught:
        folder.library().get("m")
    assert caught.value.line == 4
    assert "and 1 more" in str(caught.value)


@pytest.mark.parametrize(
    ("csv", "line", "part"),
    [
        ("a,b\n1,2\n", 1, "columns must be"),
        ("", 1, "columns must be"),
        ("from,to\n1,2\n1,3\n", 3, "listed twice"),
        ("# version: 1\nfrom,to\n1\n", 3, "1 columns"),
        ("from,to\n1,2,3\n", 2, "3 columns"),
        ('from,to\n"1,2\n', 2, "not CSV"),
    ],
)
def test_problems_of_tables(folder: Folder, csv: str, line: int, part: str) -> None:
    folder.write("tables/t.csv", csv)
    (found,) = folder.library().problems()
    assert found.file == str(folder.root / "tables/t.csv")
    assert part in found.text
    assert found.line == line


def test_a_mapping_with_a_broken_table_is_not_used(folder: Folder) -> None:
    folder.write("tables/t.csv", "from,to\n1,2\n1,3\n")
    folder.write("m.yaml", HEAD + "fields: {a: x | table('t')}\n")
    with pytest.raises(MappingError, match="listed twice"):
        folder.library().get("m")


def test_tables_are_read_as_people_save_them(folder: Folder) -> None:
    (folder.root / "tables/t.csv").write_bytes('\ufefffrom,to,note\r\n男 ,M,\r\n\r\n"a,b","c",x\r\n'.encode())
    mapping = folder.mapping("fields: {a: x | table('t'), b: y | table('t')}")
    assert mapping.run({"x": "男", "y": "a,b"}, Context()) == [{"a": "M", "b": "c"}]
    (folder.root / "tables/t.csv").write_bytes("from,to\n男,M\n".encode("gb18030"))
    assert ["UTF-8" in problem.text for problem in folder.library().problems()] == [True]


def test_policies_for_values_a_table_does_not_list(folder: Folder) -> None:
    text = """fields:
      keep: x | table('gender', unmapped='keep')
      none: x | table('gender', unmapped='null')
      other: x | table('gender', default=y)
      word: x | table('gender', unmapped='unknown')
      found: z | table('gender')
      absent: q | table('gender')
    """
    result = folder.run(text, {"x": "X", "y": "Y", "z": "F"})
    assert result == {"keep": "X", "other": "Y", "word": "unknown", "found": "female"}
    with pytest.raises(MappingError) as caught:
        folder.run("fields: {a: x | table('gender')}", {"x": "13812345678"}, name="n")
    assert "table gender does not list the value" in str(caught.value)
    assert "13812345678" not in str(caught.value)


def test_files_that_can_not_be_read(folder: Folder) -> None:
    (folder.root / "m.yaml").write_bytes("from: 张".encode("gb18030"))
    (folder.root / "big.yaml").write_bytes(b"#" * (1 << 20) * 5)
    found = folder.library().problems()
    assert [("UTF-8" in problem.text, "too large" in problem.text) for problem in found] == [
        (False, True),
        (True, False),
    ]


def test_plugin_functions_in_mappings(folder: Folder) -> None:
    mapping = folder.mapping("fields: {a: x | twice}", functions={"twice": lambda value: value * 2})
    assert mapping.run({"x": 4}, Context()) == [{"a": 8}]
    with pytest.raises(ValueError, match="upper"):
        folder.library(functions={"upper": len})
