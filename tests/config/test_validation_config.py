"""``hub check`` and ``validate``: what is wrong with schemas and rule sets is told with file and line, used or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.check import check
from hub.config import load_config
from tests.config.config_support import told, write

CODE = "from tests.config.config_support import hub_adapters\n"
PLUGIN = """\
    id: p
    name: p
    interfaces:
      in:
        direction: in
        adapter: wire
        listen: {port: 0}
        codec: json
        validate: {mode: warn, schema: p/a.json}
    """


def site(folder: Path, **files: str) -> Path:
    return write(
        folder,
        {
            "plugins/p/plugin.yaml": PLUGIN,
            "plugins/p/plugin.py": CODE,
            "mappings/.keep": "",
            "config/hub.yaml": "{}\n",
            **{name.replace("__", "/").replace("_DOT_", "."): text for name, text in files.items()},
        },
    )


def test_a_contract_nobody_uses_is_checked_as_well(tmp_path: Path) -> None:
    report = check(site(tmp_path))
    assert [line for line in told(report.problems, tmp_path) if "a.json" in line and "plugins/p/plugin.yaml:9" in line]
    assert not report.ok


def test_faults_of_schemas_and_unused_rule_sets_have_file_and_line(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        {
            "schemas/p/a.json": '{"type": "object",\n "properties": [}',
            "schemas/q.rules.yaml": "for: {codec: json}\nrulez: {}\n",
        },
    )
    file = site(tmp_path)
    problems = [(Path(p.file).name, p.line) for p in check(file).problems if p.severity == "error"]
    assert ("a.json", 2) in problems
    assert ("q.rules.yaml", 2) in problems


@pytest.mark.parametrize(("mode", "severity"), [("warn", "warning"), ("strict", "error")])
def test_without_its_library_a_check_that_refuses_nothing_keeps_no_system_from_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, severity: str
) -> None:
    def gone(codec: str, version: str) -> None:
        raise ImportError(name="hl7apy")

    monkeypatch.setattr("hub.validators.loading._standard", gone)
    file = site(tmp_path)
    contract = tmp_path / "plugins" / "p" / "plugin.yaml"
    text = contract.read_text("utf-8").replace("codec: json", "codec: hl7v2")
    contract.write_text(text.replace("{mode: warn, schema: p/a.json}", mode), "utf-8")
    problems = [p for p in check(file).problems if "hl7v2" in p.text]
    assert [(p.severity, p.line) for p in problems] == [(severity, 9)]


def test_a_sound_one_has_nothing_to_tell(tmp_path: Path) -> None:
    write(tmp_path, {"schemas/p/a.json": '{"type": "object"}'})
    assert [p for p in check(site(tmp_path)).problems if p.severity == "error"] == []


def test_a_plugins_function_with_the_name_of_a_check_costs_only_those_who_use_rules(tmp_path: Path) -> None:
    code = f"from hub.api import hookimpl\n{CODE}@hookimpl\ndef hub_functions():\n    return {{'is_email': str}}\n"
    write(tmp_path, {"schemas/p/a.json": '{"type": "object"}'})
    file = site(tmp_path, plugins__p__plugin_DOT_py=code)
    (problem,) = [p for p in check(file).problems if p.severity == "error"]
    assert "is_email" in problem.text


@pytest.mark.parametrize(("text", "count"), [("{}\n", 0), ("schemas: [../none]\n", 1)])
def test_a_folder_that_is_named_and_missing_is_a_warning(tmp_path: Path, text: str, count: int) -> None:
    file = site(tmp_path)
    file.write_text(text, encoding="utf-8")
    assert len([p for p in load_config(file).problems if p.key.startswith("schemas")]) == count
