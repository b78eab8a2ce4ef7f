"""``hub new`` and ``hub plugins --quality`` as people and scripts use them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from hub.check import check
from hub.cli.look import plugins
from hub.cli.new import app
from hub.errors import HubError
from hub.registry import Registry

ROOT = Path(__file__).resolve().parents[2]


def test_options_for_scripts(config: Path) -> None:
    options = ["--id", "city_his", "--group", "hospital", "--direction", "in", "--adapter", "mllp", "--codec", "hl7v2"]
    result = CliRunner().invoke(app, ["plugin", "-c", str(config), *options, "--json"])
    assert result.exit_code == 0
    files = [Path(file) for file in json.loads(result.stdout)["files"]]
    assert all(file.is_file() for file in files)
    result = CliRunner().invoke(app, ["system", "city_his", "east", "-c", str(config)])
    assert result.exit_code == 0
    assert str(config.parent / "systems" / "east.yaml") in result.stdout
    assert check(config).problems == []


def test_away_from_a_terminal_nothing_is_asked(config: Path) -> None:
    result = CliRunner().invoke(app, ["plugin", "-c", str(config), "--group", "g"], input="name\n")
    assert isinstance(result.exception, HubError)
    assert result.exception.code == "new.missing"
    assert "--id" in result.exception.text


def test_questions_at_a_terminal(config: Path) -> None:
    main, side = pty.openpty()
    try:
        os.write(main, b"asked_one\nhospital\n\nboth\ntcp\nxml\n")
        program = "from hub.cli.new import app; app()"
        done = subprocess.run(
            [sys.executable, "-c", program, "plugin", "-c", str(config)],
            stdin=side, capture_output=True, cwd=ROOT, timeout=120, check=False,
        )  # fmt: skip
    finally:
        os.close(main)
        os.close(side)
    assert done.returncode == 0, done.stderr.decode()
    contract = Registry.discover([config.parent.parent / "plugins"]).plugins["asked_one"].contract
    assert contract.name == "asked_one"
    assert {(i.direction, i.adapter, i.codec) for i in contract.interfaces.values()} == {
        ("in", "tcp", "xml"),
        ("out", "tcp", "xml"),
    }


@pytest.mark.parametrize("as_json", [True, False])
def test_levels_of_plugins(config: Path, as_json: bool) -> None:
    CliRunner().invoke(app, ["plugin", "-c", str(config), "--id", "one", "--group", "g"])
    look = typer.Typer()
    look.command()(plugins)
    result = CliRunner().invoke(look, ["-c", str(config), "--quality", *(["--json"] if as_json else [])])
    assert result.exit_code == 0
    if as_json:
        (row,) = json.loads(result.stdout)["plugins"]
        assert (row["id"], row["level"], row["verified"]) == ("one", "", False)
        assert any("hub verify" in text for text in row["missing"])
    else:
        assert result.stdout.splitlines()[1].split()[:3] == ["one", "not", "verified"]
