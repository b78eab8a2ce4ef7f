"""What files show: each demand is felt when it is not met, and met again when it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hub.verify import Options, PluginReport, Status, verify
from tests.verify.verify_site import NOTES, make_site


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_site(tmp_path, {"desk": {}})
    return tmp_path


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def judged(root: Path, *, proofs: bool = False) -> PluginReport:
    return verify(root / "config" / "hub.yaml", ["desk"], options=Options(calls=False, proofs=proofs)).plugins["desk"]


def test_everything_is_there(root: Path) -> None:
    found = judged(root)
    evidence = {"proof", "replay", "fuzz", "flow"}
    assert {r.check for r in found.results if r.status is not Status.PASSED} == evidence
    assert {found.status(check) for check in evidence} == {Status.MISSING}


FOLDER = "plugins/group/desk"
CONTRACT = f"{FOLDER}/plugin.yaml"
FAILED, MISSING = Status.FAILED, Status.MISSING
CASES: dict[str, tuple[str, Status, str, Callable[[Path], object]]] = {
    "an adapter nobody knows": ("manifest", FAILED, "pigeon", lambda r: edit(r / CONTRACT, "adapter: http\n    connect", "adapter: pigeon\n    connect")),
    "no example": ("examples", MISSING, "no example", lambda r: edit(r / CONTRACT, "    examples: [examples/received.json]\n", "")),
    "an example that is no JSON": ("examples", FAILED, "received.json", lambda r: (r / FOLDER / "examples/received.json").write_text("{")),
    "an example its schema refuses": ("examples", FAILED, "desk.json", lambda r: (r / FOLDER / "examples/received.json").write_text("{}")),
    "a mapping that is not there": ("mappings", FAILED, "missing or have errors", lambda r: edit(r / CONTRACT, "mapping: desk/sent", "mapping: desk/nothing")),
    "no tests": ("mappings", MISSING, "without tests", lambda r: (r / "mappings/desk/sent.tests.yaml").unlink()),
    "a test that fails": ("mappings", FAILED, "tests fail", lambda r: edit(r / "mappings/desk/sent.tests.yaml", "output: {number: A-1", "output: {number: A-2")),
    "too little covered": ("coverage", MISSING, "less than 80%", lambda r: edit(r / "mappings/desk/sent.yaml", "  number: number", "  number: number\n  more: more\n  again: again")),
    "no error table": ("error_table", MISSING, "no error table", lambda r: edit(r / CONTRACT, '    errors:\n      "4001": {class: permanent, text: no such thing}\n      "5001": {class: transient, text: busy}\n      "2001": {class: delivered, text: known already}\n', "")),
    "no retry policy": ("retry", MISSING, "retried", lambda r: edit(r / CONTRACT, "    retry: {attempts: 2, interval: 5s}\n", "")),
    "notes in English only": ("notes", MISSING, "in Chinese", lambda r: (r / FOLDER / "README.md").write_text(NOTES.split("**运维")[0])),
    "notes in Chinese only": ("notes", MISSING, "in English", lambda r: (r / FOLDER / "README.md").write_text("**运维" + NOTES.split("**运维")[1])),
    "no notes": ("notes", MISSING, "English and Chinese", lambda r: (r / FOLDER / "README.md").unlink()),
    "no sources": ("sources", MISSING, "no sources", lambda r: edit(r / CONTRACT, "sources: [specification 1.2]\n", "")),
    "fields without source": ("sources", MISSING, "no source is cited for number", lambda r: edit(r / "schemas/desk.json", '"description": "specification 1.2, table 3", ', "")),
    "no schema": ("sources", MISSING, "desk/sent: no source is cited for number, name", lambda r: edit(r / CONTRACT, "    validate: {mode: warn, schema: desk.json}\n    order_by", "    order_by")),
    "verify.yaml with a mistake": ("manifest", FAILED, "prof", lambda r: (r / FOLDER / "verify.yaml").write_text("prof: {}\n")),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_there(root: Path, case: str) -> None:
    check, status, told, spoil = CASES[case]
    spoil(root)
    found = judged(root)
    assert found.status(check) is status
    texts = [f"{result.place} {result.why} {result.remedy}" for result in found.of(check)]
    assert any(told in text for text in texts), texts


def test_tests_named_as_proof_must_exist_run_and_pass(root: Path) -> None:
    file = root / "tests" / "test_vectors.py"
    file.parent.mkdir()
    file.write_text(
        "import pytest\n\ndef test_good():\n    pass\n\ndef test_bad():\n    assert False\n\ndef test_away():\n    pytest.skip('no peer')\n",
        encoding="utf-8",
    )
    declared = root / FOLDER / "verify.yaml"

    def proof(*names: str, proofs: bool = True) -> Status | None:
        declared.write_text(f"proof: {{vectors: [{', '.join(names)}]}}\n", encoding="utf-8")
        return judged(root, proofs=proofs).status("proof")

    assert proof("tests/test_vectors.py::test_nothing") is Status.FAILED
    assert proof("tests/test_other.py::test_good") is Status.FAILED
    assert proof("tests/test_vectors.py::test_good", proofs=False) is Status.SKIPPED
    assert proof("tests/test_vectors.py::test_good") is Status.PASSED
    assert proof("tests/test_vectors.py::test_bad") is Status.FAILED
    assert proof("tests/test_vectors.py::test_away") is Status.SKIPPED, "a peer that is away proves nothing"


def test_a_replay_set_is_run(root: Path) -> None:
    folder = root / FOLDER / "replay"
    folder.mkdir()
    tests = (root / "mappings/desk/sent.tests.yaml").read_text(encoding="utf-8")
    (folder / "send.yaml").write_text(tests, encoding="utf-8")
    assert judged(root).status("replay") is Status.PASSED
    edit(folder / "send.yaml", "output: {number: A-1", "output: {number: A-2")
    found = judged(root)
    assert found.status("replay") is Status.FAILED
    assert "an order" in found.of("replay")[0].why
    (folder / "send.yaml").rename(folder / "other.yaml")
    assert judged(root).status("replay") is Status.FAILED


def test_notes_beside_the_fields_of_a_mapping_cite_as_well(root: Path) -> None:
    edit(root / CONTRACT, "    validate: {mode: warn, schema: desk.json}\n    order_by", "    order_by")
    assert judged(root).status("sources") is MISSING
    mapping = root / "mappings/desk/sent.yaml"
    head, _, fields = mapping.read_text(encoding="utf-8").partition("fields:\n")
    noted = [
        f"{line}  # specification 1.2" if line.startswith("  ") and line[2] != " " and ":" in line else line
        for line in fields.splitlines()
    ]
    mapping.write_text(f"{head}fields:\n" + "\n".join(noted) + "\n", encoding="utf-8")
    assert judged(root).status("sources") is Status.PASSED


@pytest.mark.parametrize(
    ("validate", "source", "status"),
    [
        ("warn", "HL7 v2.5.1 chapter 3", Status.PASSED),
        ("warn", "specification 1.2", MISSING),
        ("'off'", "HL7 v2.5.1 chapter 3", MISSING),
        ("{standard: false}", "HL7 v2.5.1 chapter 3", MISSING),
    ],
)
def test_messages_that_are_held_against_a_standard_have_its_fields(
    root: Path, validate: str, source: str, status: Status
) -> None:
    contract = (root / CONTRACT).read_text(encoding="utf-8")
    head, _, rest = contract.partition("  receive:\n")
    inbound = f"  receive:\n    direction: in\n    adapter: mllp\n    listen: {{port: '${{port}}'}}\n    codec: hl7v2\n    validate: {validate}\n"
    text = head.replace("[specification 1.2]", f"[specification 1.2, {source}]") + inbound
    (root / CONTRACT).write_text(text, encoding="utf-8")
    found = {result.place: result.status for result in judged(root).of("sources")}
    assert found["receive"] is status, (found, rest)
