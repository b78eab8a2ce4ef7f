"""What docs/adapters/cmpp.md and docs/sms.md show is what the hub takes and gives."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema_rs
import yaml

from adapters.cmpp.composing import compose
from adapters.cmpp.options import CmppConnect
from hub.check import check

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "adapters" / "cmpp.md").read_text(encoding="utf-8")
SMS = (ROOT / "docs" / "sms.md").read_text(encoding="utf-8")


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def test_the_example_contract_is_sound(tmp_path: Path) -> None:
    (tmp_path / "plugins" / "sms_line").mkdir(parents=True)
    (tmp_path / "plugins" / "sms_line" / "plugin.yaml").write_text(blocks(PAGE, "yaml")[0], encoding="utf-8")
    (tmp_path / "config").mkdir()
    (tmp_path / "password").write_text("x")
    (tmp_path / "password").chmod(0o600)
    settings = {"host": "127.0.0.1", "account": "901234", "password": "file:../password"}
    config = {"plugins": ["../plugins"], "systems": {"line": {"plugin": "sms_line", "settings": settings}}}
    file = tmp_path / "config" / "hub.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    assert [problem for problem in check(file).problems if problem.severity == "error"] == []


def test_the_example_message_is_one() -> None:
    options = CmppConnect(host="x", account="901234", password="x", src_id="10690001")
    (part,) = compose(blocks(PAGE, "json")[0].encode(), "key", options).parts
    assert (part.msg_fmt, part.src_id, part.valid_until) == (15, "1069000101", "261128120000032+")


def test_the_example_report_has_the_members_of_one() -> None:
    shown = json.loads(blocks(PAGE, "json")[1])
    example = ROOT / "plugins" / "messaging" / "cmpp_gateway" / "examples" / "report.json"
    assert shown.keys() == json.loads(example.read_text(encoding="utf-8")).keys()


def test_the_example_notice_fits_its_schema() -> None:
    schema = json.loads((ROOT / "schemas" / "sms" / "notice.json").read_text(encoding="utf-8"))
    notice = json.loads(blocks(SMS, "json")[0])
    assert jsonschema_rs.is_valid(schema, notice)
    assert not jsonschema_rs.is_valid(schema, notice | {"template": None})
