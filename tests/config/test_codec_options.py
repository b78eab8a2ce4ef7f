"""Options of codecs in contracts: checked with file, line, key and remedy; every interface has its own codec."""

from __future__ import annotations

from pathlib import Path

import pytest

import hub.registry
from hub.codecs.csv_codec import CsvCodec, CsvFormat
from hub.deployment import diff
from tests.config.test_deployment import PLUGIN, ROUTE, SYSTEM, deploy

CSV = (
    PLUGIN.replace("    codec: json\n    listen:", "    codec: csv\n    format:\n      delimiter: tab\n    listen:")
    .replace("patient: patient.id", "patient: 'rows[0].id'")
    .replace("settings:\n", "settings:\n  separator: {type: string}\n  lines: {type: integer, default: 0}\n", 1)
)
FILES = {"plugins/his/plugin.yaml": CSV, "config/routes/r.yaml": ROUTE.replace("}", ", mapping: ''}")}


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.registry, "BUILTIN_MODULES", ("tests.config.config_support",))
    monkeypatch.setenv("HIS_TOKEN", "tiger")


def with_format(text: str) -> dict[str, str]:
    return FILES | {"config/systems/his.yaml": SYSTEM + f"    interfaces: {{adt_in: {{format: {text}}}}}\n"}


def test_an_interface_has_its_own_codec(tmp_path: Path) -> None:
    other_system = "  b: {plugin: his, settings: {base_url: 'http://b', port: 7002}, interfaces: {adt_in: {format: {delimiter: bar}}}}\n"
    files = {"config/systems/his.yaml": SYSTEM + other_system}
    deployment, problems = deploy(
        tmp_path, FILES | files | {"config/routes/r.yaml": ROUTE.replace("from: his", "from: '*', mapping: ''")}
    )
    assert problems == []
    one, other = deployment.inbound["his/adt_in"].codec, deployment.inbound["b/adt_in"].codec
    assert isinstance(one, CsvCodec)
    assert one is not deployment.codecs["csv"]
    assert one.decode(b"a\tb|c\n1\t2\n")["rows"] == [{"a": "1", "b|c": "2"}]
    assert other.decode(b"a\tb|c\n1|2\n")["rows"] == [{"a b": "1", "c": "2"}]
    assert deployment.outbound["his/result_out"].codec is deployment.codecs["json"]


def test_settings_may_be_used(tmp_path: Path) -> None:
    files = with_format("{delimiter: '${separator}', skip: '${lines}'}")
    system = files["config/systems/his.yaml"].replace(
        "      token:", "      separator: ';'\n      lines: 1\n      token:"
    )
    deployment, problems = deploy(tmp_path, files | {"config/systems/his.yaml": system})
    assert problems == []
    assert deployment.inbound["his/adt_in"].contract.format == {"delimiter": ";", "skip": 1}
    assert deployment.inbound["his/adt_in"].codec.decode(b"title\na;b\n1;2\n")["rows"] == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "{delimter: x}",
            "config/systems/his.yaml:7: systems.his.interfaces.adt_in.format.delimter: unknown key 'delimter' -> did you mean 'delimiter'?",
        ),
        (
            "{delimiter: '||'}",
            "config/systems/his.yaml:7: systems.his.interfaces.adt_in.format.delimiter: "
            "the delimiter must be one character, tab, comma, semicolon, bar or auto -> correct the value",
        ),
        (
            "{header: yess}",
            "config/systems/his.yaml:7: systems.his.interfaces.adt_in.format.header: 'yess' is not allowed here -> allowed: first, none, auto",
        ),
        (
            "{skip: two}",
            "config/systems/his.yaml:7: systems.his.interfaces.adt_in.format.skip: expected a whole number, found 'two' -> write a whole number",
        ),
        (
            "{delimiter: '${token}'}",
            "config/systems/his.yaml:7: systems.his.interfaces.adt_in.format.delimiter: "
            "the secret 'token' can't be used here -> secrets belong in listen and connect",
        ),
    ],
)
def test_wrong_options_are_told(tmp_path: Path, text: str, expected: str) -> None:
    deployment, problems = deploy(tmp_path, with_format(text))
    assert problems[0] == f"error {expected}"
    assert "his/adt_in" not in deployment.inbound


def test_wrong_options_of_the_contract_itself(tmp_path: Path) -> None:
    _, problems = deploy(tmp_path, FILES | {"plugins/his/plugin.yaml": CSV.replace("delimiter: tab", "skip: -1")})
    assert problems[0] == (
        "error plugins/his/plugin.yaml:18: interfaces.adt_in.format.skip: -1 must be at least 0 -> write a value at least 0"
    )


def test_places_inside_a_layout(tmp_path: Path) -> None:
    layout = """\
    codec: fixed
    format:
      fields:
        - {name: id, length: 5}
        - {name: amount, length: 0, type: number}
    listen:"""
    plugin = PLUGIN.replace("    codec: json\n    listen:", layout)
    _, problems = deploy(tmp_path, FILES | {"plugins/his/plugin.yaml": plugin})
    assert problems[0] == (
        "error plugins/his/plugin.yaml:18: interfaces.adt_in.format.fields[1].length: 0 must be at least 1 -> write a value at least 1"
    )
    _, problems = deploy(
        tmp_path, FILES | {"plugins/his/plugin.yaml": plugin.replace("length: 0", "length: 3, start: 2")}
    )
    assert problems[0] == (
        "error plugins/his/plugin.yaml:15: interfaces.adt_in.format: amount begins inside the field before it -> correct the value"
    )


def test_a_layout_is_needed(tmp_path: Path) -> None:
    plugin = PLUGIN.replace("codec: json\n    listen", "codec: fixed\n    listen")
    _, problems = deploy(tmp_path, FILES | {"plugins/his/plugin.yaml": plugin})
    assert problems[0] == (
        "error plugins/his/plugin.yaml:11: interfaces.adt_in.format: give either fields: or records: -> correct the value"
    )
    plugin = PLUGIN.replace("    timeout: ${timeout}\n", "    reply: {codec: fixed}\n")
    _, problems = deploy(tmp_path, FILES | {"plugins/his/plugin.yaml": plugin})
    assert problems[0] == (
        "error plugins/his/plugin.yaml:25: interfaces.result_out.reply.format: give either fields: or records: -> correct the value"
    )


def test_a_codec_without_options(tmp_path: Path) -> None:
    plugin = PLUGIN.replace("codec: json\n    listen", "codec: json\n    format: {indent: 2}\n    listen")
    _, problems = deploy(tmp_path, FILES | {"plugins/his/plugin.yaml": plugin})
    assert problems[0] == (
        "error plugins/his/plugin.yaml:15: interfaces.adt_in.format: codec 'json' takes no options -> remove format:"
    )


def test_a_codec_with_a_bug_costs_its_system_only(tmp_path: Path) -> None:
    code = (
        "from pydantic import BaseModel\nfrom hub.api import Codec, hookimpl\nclass Options(BaseModel):\n    pass\n"
        "class Odd(Codec):\n    name = 'odd'\n    format_options = Options\n"
        "    def configured(self, options):\n        return 1 // 0\n"
        "    def decode(self, raw, *, encoding=''):\n        return raw\n"
        "    def encode(self, tree, *, encoding=''):\n        return b''\n"
        "@hookimpl\ndef hub_codecs():\n    return [Odd()]\n"
    )
    plugin = PLUGIN.replace("codec: json\n    listen", "codec: odd\n    listen")
    _, problems = deploy(tmp_path, FILES | {"plugins/his/plugin.yaml": plugin, "plugins/his/plugin.py": code})
    assert problems[0] == (
        "error plugins/his/plugin.yaml:11: interfaces.adt_in.format: codec 'odd' failed on its options: ZeroDivisionError"
        " -> tell the author of the codec"
    )


def test_new_options_keep_the_connection(tmp_path: Path) -> None:
    old, _ = deploy(tmp_path, FILES)
    new, _ = deploy(tmp_path, with_format("{delimiter: bar}"))
    assert diff(old, new).swap_inbound == ["his/adt_in"]
    assert CsvFormat().delimiter == "auto"
