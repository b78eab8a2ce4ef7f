"""``hub check --security``: what is unsafe is found at its line, what is safe is left alone, and no secret is told."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from typer.testing import CliRunner

from hub.check_security import Finding, SecurityReport, examine
from hub.check_security.secrets import is_default
from hub.cli.app import app
from hub.keys.config import KeysConfig
from hub.keys.opened import close_key_store, folder_of, master_source
from hub.keys.store import KeyStore

GOOD_SECRET = "9d41c5e07b32f8a6514de07a3c92bb18"
FIRST = "Passw0rd"
_IN = {"direction": "in", "adapter": "http", "codec": "json", "type": "'t'", "control_id": "id"}
_OUT = {"direction": "out", "adapter": "http", "codec": "json"}
_BASIC = {"type": "basic", "user": "lis", "secret": "${secret}"}


class Folder:
    """A configuration of one system ``x`` with one interface ``x/it``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.contract: dict[str, Any] = {**_IN, "listen": {"path": "/in", "auth": {"type": "none"}}}
        self.secret = GOOD_SECRET
        self.settings: dict[str, Any] = {"secret": {"type": "secret", "required": True}}
        self.given: dict[str, Any] = {}
        self.config: dict[str, Any] = {}

    def write(self) -> Path:
        plugin = {"id": "x", "name": "x", "settings": self.settings, "interfaces": {"it": self.contract}}
        place = self.folder / "plugins" / "x"
        place.mkdir(parents=True, exist_ok=True)
        (place / "plugin.yaml").write_text(yaml.safe_dump(plugin, sort_keys=False), encoding="utf-8")
        (self.folder / "mappings").mkdir(exist_ok=True)
        data = self.folder / "var"
        data.mkdir(mode=0o700, exist_ok=True)
        file = self.folder / "config" / "hub.yaml"
        file.parent.mkdir(exist_ok=True)
        secret = file.parent / "secret"
        secret.write_text(self.secret, encoding="utf-8")
        secret.chmod(0o600)
        settings = {
            "plugins": ["../plugins"],
            "mappings": ["../mappings"],
            "store": {"path": "../var"},
            "systems": {"x": {"plugin": "x", "settings": {"secret": "file:secret", **self.given}}},
            **self.config,
        }
        file.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        return file

    def report(self) -> SecurityReport:
        return examine(self.write())

    def one(self, rule: str) -> Finding:
        report = self.report()
        found = [finding for finding in report.findings if finding.rule == rule]
        assert len(found) == 1, [(f.rule, f.text) for f in report.findings]
        return found[0]


@pytest.fixture
def it(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def line_of(finding: Finding) -> str:
    return Path(finding.file).read_text(encoding="utf-8").splitlines()[finding.line - 1]


def listening(**more: Any) -> dict[str, Any]:
    return {**_IN, "listen": {"path": "/in", "auth": _BASIC, **more}}


def calling(**more: Any) -> dict[str, Any]:
    return {**_OUT, "connect": {"url": "https://platform.example/api", **more}}


def signed(**more: Any) -> dict[str, Any]:
    times = {"time": {"now": "ms", "at": {"header": "X-Time"}}, "nonce": {"random": 16, "at": {"header": "X-N"}}}
    text = "{target}\n{time}\n{nonce}\n{body}"
    return {"signature": {"secret": "${secret}", "at": {"header": "X-S"}, "text": text, "values": times, **more}}


OUTSIDE = {"host": "0.0.0.0", "allow": ["10.1.0.0/16"]}
CASES: list[tuple[str, str, dict[str, Any], str]] = [
    ("listener.no_tls", "high", listening(**OUTSIDE), "host"),
    ("listener.no_tls", "medium", listening(**OUTSIDE, auth={"type": "none"}) | {"security": [signed()]}, "host"),
    ("listener.open_to_all", "medium", listening(host="0.0.0.0", allow=["10.1.0.0/16", "*"]), "*"),
    ("listener.open_to_all", "medium", listening(host="0.0.0.0", allow=["10.0.0.0/8"]), "10.0.0.0/8"),
    ("listener.no_auth", "high", listening(**OUTSIDE, auth={"type": "none"}), "auth"),
    ("listener.no_auth", "low", listening(auth={"type": "none"}), "auth"),
    (
        "listener.no_auth",
        "medium",
        {"direction": "in", "adapter": "mllp", "codec": "hl7v2", "listen": {"port": 0, **OUTSIDE}},
        "listen",
    ),
    ("target.no_tls", "high", calling(url="http://platform.example/api", auth=_BASIC), "url"),
    ("target.no_tls", "medium", calling(url="http://platform.example/api"), "url"),
    ("tls.not_verified", "high", calling(tls={"verify": False}), "verify"),
    ("tls.old_version", "low", calling(tls={"min_version": "1.2"}), "min_version"),
    ("scheme.weak_algorithm", "medium", calling() | {"security": [signed(algorithm="hmac-sha1")]}, "algorithm"),
    (
        "scheme.weak_algorithm",
        "medium",
        calling() | {"security": [signed(algorithm="md5", text="{body}{secret}", values={})]},
        "algorithm",
    ),
    (
        "scheme.repeatable",
        "medium",
        {**listening(auth={"type": "none"}), "control_id": "", "security": [signed(text="{body}", values={})]},
        "signature",
    ),
    (
        "scheme.long_window",
        "low",
        {**listening(auth={"type": "none"}), "security": [signed(window="1h")]},
        "window",
    ),
    (
        "scheme.query_not_signed",
        "high",
        {
            **listening(auth={"type": "none"}, query_as_body=True, methods=["GET"]),
            "security": [signed(text="{time}{nonce}{body}")],
        },
        "signature",
    ),
    ("scheme.ecb", "medium", calling() | {"security": [{"encryption": {"key": "${secret}", "algorithm": "sm4-ecb"}}]}, "algorithm"),
    (
        "scheme.not_authenticated",
        "high",
        calling() | {"security": [{"encryption": {"key": "${secret}", "algorithm": "sm4-cbc"}}]},
        "encryption",
    ),
    (
        "scheme.decrypted_first",
        "low",
        calling() | {"security": [signed(), {"encryption": {"key": "${secret}", "algorithm": "sm4-cbc"}}]},
        "encryption",
    ),
    (
        "scheme.constant_iv",
        "medium",
        calling()
        | {"security": [{"encryption": {"key": "${secret}", "algorithm": "sm4-cbc", "iv": {"const": "11" * 16}}}, signed()]},
        "iv",
    ),
    (
        "scheme.plain_allowed",
        "medium",
        calling() | {"security": [{"encryption": {"key": "${secret}", "required": False}}]},
        "required",
    ),
    (
        "scheme.prescribed_weak",
        "low",
        calling() | {"security": [{"bosssoft": {"appid": "A", "key": "${secret}"}}]},
        "bosssoft",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "severity", "contract", "line"), CASES)
def test_what_is_unsafe_is_found_at_its_line(
    it: Folder, rule: str, severity: str, contract: dict[str, Any], line: str
) -> None:
    it.contract = contract
    found = it.one(rule)
    assert (found.severity, found.place) == (severity, "x/it")
    assert found.file.endswith("plugin.yaml")
    assert line in line_of(found)
    assert found.remedy
    assert found.clause.startswith("GB/T ")


@pytest.mark.parametrize(
    "contract",
    [
        listening(),
        listening(auth={"type": "none"}) | {"security": [signed()]},
        calling(auth=_BASIC),
        calling(url="http://127.0.0.1:9/api", auth=_BASIC),
        calling() | {"security": [{"encryption": {"key": "${secret}"}}, signed()]},
    ],
)
def test_what_is_safe_is_left_alone(it: Folder, contract: dict[str, Any]) -> None:
    it.contract = contract
    report = it.report()
    assert [f for f in report.findings if f.place] == []
    assert report.ok


@pytest.mark.parametrize(
    ("secret", "rule"), [(FIRST, "secret.default"), ("lis", "secret.default"), ("short-one", "secret.short")]
)
def test_a_password_that_is_tried_first_is_found_and_not_told(it: Folder, secret: str, rule: str) -> None:
    it.contract, it.secret = listening(), secret
    found = it.one(rule)
    assert secret not in repr(orjson.dumps(found.as_dict())).replace("plugins/x", "")
    assert "secret" in line_of(found)


def test_a_secret_written_as_a_plain_setting_is_found(it: Folder) -> None:
    it.settings["db_password"] = {"type": "string"}
    it.given["db_password"] = "written-down-4711"
    found = it.one("secret.in_config")
    assert found.severity == "high"
    assert "4711" not in str(found)


def test_a_key_written_into_a_contract_is_found(it: Folder) -> None:
    it.contract = calling() | {"security": [{"encryption": {"key": GOOD_SECRET}}]}
    found = it.one("secret.in_config")
    assert "key:" in line_of(found)
    assert GOOD_SECRET not in str(found)


def test_rights_of_files_and_folders(it: Folder) -> None:
    file = it.write()
    assert not {f.rule for f in examine(file).findings} & {"data.rights", "files.writable"}
    (it.folder / "var").chmod(0o755)
    (it.folder / "plugins" / "x" / "plugin.yaml").chmod(0o666)
    rules = {f.rule: f for f in examine(file).findings}
    assert rules["data.rights"].remedy == f"chmod 700 {it.folder / 'var'}"
    assert rules["files.writable"].severity == "high"


def test_a_key_file_that_others_may_read(it: Folder) -> None:
    key = it.folder / "tls.key"
    key.write_text("x", encoding="utf-8")
    key.chmod(0o644)
    it.contract = listening(tls={"certificate": str(it.folder / "tls.pem"), "key": str(key)})
    assert it.one("secret.file_rights").remedy == f"chmod 600 {key}"
    key.chmod(0o600)
    assert not any(f.rule == "secret.file_rights" for f in it.report().findings)


@pytest.mark.parametrize(
    ("config", "rule"),
    [
        ({"admin": {"host": "0.0.0.0"}}, "admin.no_tls"),
        ({"admin": {"token": "file:weak"}}, "admin.weak_token"),
        ({"log": {"level": "debug"}}, "log.debug"),
        ({"store": {"path": "../var", "retention": "30d"}}, "store.short_retention"),
        ({}, "store.plain"),
        ({}, "keys.none"),
        ({}, "audit.no_copy"),
        ({"audit": {"export": {"soc": {"to": "udp://127.0.0.1"}}}}, "audit.plain_copy"),
        ({"audit": {"allow_short": True}}, "audit.short_retention"),
        ({"admin": {"host": "0.0.0.0"}}, "admin.shared_token"),
        ({"routes": {"all": {"from": "*", "to": "x/it"}}}, "route.everything"),
    ],
)
def test_the_hub_itself(it: Folder, config: dict[str, Any], rule: str) -> None:
    it.config = config
    if "routes" in config:
        it.contract = calling()
        it.config["systems"] = {"x": {"plugin": "x", "settings": {"secret": "file:secret"}}, "y": {"plugin": "y"}}
        other = it.folder / "plugins" / "y"
        other.mkdir(parents=True)
        text = yaml.safe_dump(
            {"id": "y", "name": "y", "interfaces": {"in": {**_IN, "listen": {"path": "/y", "auth": {"type": "none"}}}}}
        )
        (other / "plugin.yaml").write_text(text, encoding="utf-8")
    (it.folder / "config").mkdir()
    weak = it.folder / "config" / "weak"
    weak.write_text("changeme", encoding="utf-8")
    weak.chmod(0o600)
    found = it.one(rule)
    assert "changeme" not in str(found)


def test_the_key_store_is_looked_at(it: Folder) -> None:
    keys = KeysConfig(path="../keys", master="file:../keys/master.key")
    it.config["keys"] = {"path": keys.path, "master": keys.master}
    file = it.write()
    base = file.parent
    KeyStore.create(folder_of(keys, base), master_source(keys.master, base))
    try:
        folder_of(keys, base).chmod(0o750)
        rules = {finding.rule for finding in examine(file).findings}
    finally:
        close_key_store(keys, base)
    assert {"keys.rights", "keys.master_beside"} <= rules
    assert "keys.none" not in rules


def test_the_command_tells_as_table_and_json_and_by_its_status(it: Folder) -> None:
    it.contract = calling(tls={"verify": False})
    file = str(it.write())
    told = CliRunner().invoke(app, ["check", "--security", "--config", file])
    assert told.exit_code == 1
    assert "tls.not_verified" in told.stdout.replace("\n", "")
    found = CliRunner().invoke(app, ["check", "--security", "--config", file, "--json"])
    assert found.exit_code == 1
    report = orjson.loads(found.stdout)
    assert (report["ok"], report["high"]) == (False, 1)
    assert report["findings"][0]["rule"] == "tls.not_verified"
    it.contract = calling()
    file = str(it.write())
    assert CliRunner().invoke(app, ["check", "--security", "--config", file]).exit_code == 0


def test_what_can_not_be_read_is_not_called_safe(it: Folder) -> None:
    it.contract = calling(tls={"verify": "perhaps"})
    report = it.report()
    assert (report.ok, report.unread > 0) == (False, True)


def test_defaults() -> None:
    assert is_default("ADMIN")
    assert is_default("HIS", "his")
    assert is_default("0000000000000000")
    assert not is_default(GOOD_SECRET)


def test_nothing_is_left_behind(it: Folder) -> None:
    """Looking changes nothing."""
    file = it.write()
    before = {path: path.stat().st_mtime_ns for path in it.folder.rglob("*") if "__pycache__" not in path.parts}
    examine(file)
    after = {path: path.stat().st_mtime_ns for path in it.folder.rglob("*") if "__pycache__" not in path.parts}
    assert before == after
    assert stat.S_IMODE(os.stat(file.parent / "secret").st_mode) == 0o600
