"""``hub tables …`` as people and programs call it, and the API behind it on a hub of two workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.i18n import set_language
from tests.cli.conftest import Run
from tests.kernel.process import HubProcess, Sink, adt, make_site, wait_for

SEX = "# version: 2003\n# source: GB/T 2261.1\nfrom,to,note\nM,1,male\nF,2,female\nO,9,\n"
SEX_2024 = "# version: 2024\n# valid_from: 2024-04-01\n# review: approved\nfrom,to,note,valid_to\nM,1,man,\nF,2,female,2024-12-31\nX,9,,\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the tables of a deployment."""
    tables = tmp_path / "mappings" / "tables"
    tables.mkdir(parents=True)
    (tables / "sex.csv").write_text(SEX, encoding="utf-8")
    (tables / "sex@2024.csv").write_text(SEX_2024, encoding="utf-8")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "hub.yaml").write_text("plugins: []\nmappings: [../mappings]\n")
    monkeypatch.setenv("TONGQU_CONFIG", str(tmp_path / "config" / "hub.yaml"))
    return tables


def test_list(place: Path, command: Run) -> None:
    assert [
        (head["name"], head["rows"], head["version"], head["valid_from"], head["review"])
        for head in command("tables", "list", "--json").json["tables"]
    ] == [
        ("sex", 3, "2003", "", ""),
        ("sex@2024", 3, "2024", "2024-04-01", "approved"),
    ]
    out = command("tables", "list").out
    assert "GB/T 2261.1" in out
    assert "2024-04-01" in out


def test_show(place: Path, command: Run) -> None:
    shown = command("tables", "show", "sex", "--json").json
    assert (shown["version"], shown["versions"], shown["rows"]) == ("2003", ["sex@2024"], 3)
    assert shown["entries"][0] == {"line": 4, "from": "M", "to": "1", "note": "male", "valid_from": "", "valid_to": ""}
    out = command("tables", "show", "sex@2024").out
    assert "version: 2024" in out
    assert "2024-12-31" in out
    missing = command("tables", "show", "sec")
    assert (missing.status, "did you mean sex" in missing.errors) == (1, True)


def test_check(place: Path, command: Run) -> None:
    assert command("tables", "check").out == "2 tables: 0 errors, 0 warnings\n"
    (place / "bad.csv").write_text("# review: draft\nfrom,to\n1,2\n1,3\n", encoding="utf-8")
    done = command("tables", "check", "--json")
    assert (done.status, done.json["ok"], done.json["tables"]) == (1, False, ["bad", "sex", "sex@2024"])
    assert [(p["severity"], p["line"], p["key"]) for p in done.json["problems"]] == [
        ("warning", 1, "table bad, review"),
        ("error", 4, "table bad, from"),
    ]
    told = command("tables", "check", "bad")
    assert (told.status, f"error: {place / 'bad.csv'}:4: table bad, from: '1' is listed twice" in told.out) == (1, True)
    assert command("tables", "check", "sex").status == 0
    assert command("tables", "check", "nothing").status == 1


def test_compare(place: Path, command: Run) -> None:
    done = command("tables", "compare", "sex", "sex@2024", "--json").json
    assert done["head"]["version"] == {"old": "2003", "new": "2024"}
    assert [row["from"] for row in done["added"]] == ["X"]
    assert [row["from"] for row in done["removed"]] == ["O"]
    assert [(pair["old"]["note"], pair["new"]["note"]) for pair in done["changed"]] == [
        ("female", "female"),
        ("male", "man"),
    ]
    out = command("tables", "compare", "sex", str(place / "sex@2024.csv")).out
    assert "male → man" in out
    assert out.endswith("1 added, 1 removed, 2 changed, 0 the same\n")
    same = command("tables", "compare", "sex", "sex", "--json").json
    assert (same["equal"], same["same"]) == (True, 3)
    assert command("tables", "compare", "sex", str(place / "none.csv")).status == 1


def test_import(place: Path, command: Run, tmp_path: Path) -> None:
    source = tmp_path / "list.tsv"
    source.write_bytes("代码\t名称\n01\t内科\n02\t外科\n01\t内科\n".encode("gb18030"))
    arguments = ("tables", "import", str(source), "--from-column", "代码", "--to-column", "名称", "--version", "2026")
    done = command(*arguments, "--name", "department", "--source", "HIS", "--json").json
    assert done == {"file": str(place / "department.csv"), "rows": 2, "repeated": 1, "empty": 0}
    assert (place / "department.csv").read_text(encoding="utf-8") == (
        "# version: 2026\n# source: HIS\n# review: draft\nfrom,to\n01,内科\n02,外科\n"
    )
    again = command(*arguments, "--name", "department")
    assert (again.status, "exists" in again.errors) == (1, True)
    other = command(*arguments, "--name", "department@2027", "--valid-from", "2027-01-01")
    assert "2 rows; 1 repeated ones taken once" in other.out
    assert command("tables", "list", "--json").json["tables"][1]["valid_from"] == "2027-01-01"


def test_in_chinese(place: Path, command: Run) -> None:
    set_language("zh")
    assert "代码表" in command("tables", "list").out
    assert command("tables", "check").out == "2 个代码表：0 个错误，0 个警告\n"
    assert "新增 1，删除 1，更改 2，相同 0" in command("tables", "compare", "sex", "sex@2024").out


# -- values that are not listed, from a hub of two workers ---------------------------------------------------------


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    sink = Sink()
    folder = tmp_path_factory.mktemp("tables")
    config = make_site(folder, sink.url)
    tables = folder / "mappings" / "tables"
    tables.mkdir()
    (tables / "known.csv").write_text("from,to\nP1,one\n", encoding="utf-8")
    (folder / "mappings" / "patient.yaml").write_text(
        "from: {codec: hl7v2}\nto: {codec: json}\n"
        "fields: {number: MSH-10, id: \"PID-3.1 | table('known', unmapped='keep')\"}\n",
        encoding="utf-8",
    )
    with HubProcess(config, "--workers", "2") as process:
        yield process
    sink.close()


@pytest.mark.xdist_group("two_workers_tables")
def test_unmapped_of_both_workers(two: HubProcess, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TONGQU_ADMIN_URL", two.url)
    monkeypatch.setenv("TONGQU_CONFIG", str(two.config))
    assert command("tables", "unmapped", "--json").json == {"unmapped": []}
    two.send(adt("A1", "P1"), adt("A2", "P2"), adt("A3", "P3"), place="east/adt")
    two.send(adt("B1", "P2"), adt("B2", "P2"), place="west/adt")

    def counted() -> list[tuple[str, str, int]]:
        rows = two.call("GET", "/api/v1/tables/unmapped").json["unmapped"]
        found = [(row["table"], row["value"], row["count"]) for row in rows]
        return found if sum(count for _, _, count in found) >= 4 else []

    assert wait_for(counted, "four look-ups") == [("known", "P2", 3), ("known", "P3", 1)]
    out = command("tables", "unmapped").out
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [["known", "P2", "3"], ["known", "P3", "1"]]
