"""The program itself, in a process of its own: languages, exit statuses, pipes, and folders nobody has run in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
import yaml

from hub.cli.app import COMMANDS
from tests.cli.conftest import Run
from tests.kernel.process import ROOT, HubProcess, Sink, adt, make_site, wait_for

pytestmark = pytest.mark.xdist_group("command_line")

NAMES = sorted(COMMANDS)


def program(*arguments: str, language: str = "en") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "TONGQU_LANG": language, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "hub.cli", *arguments], env=environment, capture_output=True, timeout=60, check=False
    )


HELP = """
import sys
from typer.testing import CliRunner
from hub.cli.app import app
for command in sys.argv[1:]:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0, result.output
    print(result.output, end="\\x00")
"""


def helps(language: str) -> list[str]:
    """The help of the program and of every command; the language is chosen at a start, so it takes a process."""
    environment = {**os.environ, "TONGQU_LANG": language, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", HELP, "", *NAMES], env=environment, capture_output=True, check=True, timeout=60
    )
    return done.stdout.decode().split("\0")[:-1]


def test_help_in_both_languages() -> None:
    english, chinese = helps("en"), helps("zh")
    assert len(english) == len(chinese) == len(NAMES) + 1
    for name, one, other in zip(["", *NAMES], english, chinese, strict=True):
        assert not any("\u4e00" <= char <= "\u9fff" for char in one.replace("小明", "")), name
        assert any("\u4e00" <= char <= "\u9fff" for char in other.replace("小明", "")), name
    for name in NAMES:
        assert name in english[0]
        assert name in chinese[0]


def test_the_program_speaks_the_language_of_the_environment(tmp_path: Path) -> None:
    missing = str(tmp_path / "hub.yaml")
    english, chinese = program("check", "-c", missing), program("status", "-c", missing, language="zh_CN.UTF-8")
    assert english.returncode == chinese.returncode == 1
    assert "can't be read" in english.stdout.decode() + english.stderr.decode()
    assert "无法读取" in chinese.stderr.decode()
    assert b"Traceback" not in english.stderr + chinese.stderr


def test_a_broken_pipe_is_no_error(tmp_path: Path) -> None:
    """``hub … | head`` ends without a word."""
    config = tmp_path / "hub.yaml"
    plugins = tmp_path / "plugins"
    for number in range(300):
        folder = plugins / f"p{number}"
        folder.mkdir(parents=True)
        (folder / "plugin.yaml").write_text("id: ?\n")
    config.write_text(yaml.safe_dump({"plugins": [str(plugins)], "mappings": []}))
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "hub.cli", "check", "--config", str(config)],
            stdout=writing,
            stderr=subprocess.PIPE,
            env={**os.environ, "TONGQU_LANG": "en", "PYTHONPATH": str(ROOT)},
            timeout=60,
        )
    finally:
        os.close(writing)
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_nothing_was_stored_yet(command: Run, tmp_path: Path) -> None:
    config = make_site(tmp_path, "http://127.0.0.1:9")
    for arguments in (["messages"], ["calls"], ["dead"], ["verify-ledger"], ["audit"], ["show", "0000000000000"]):
        found = command(*arguments, "--config", str(config))
        assert found.status == 1
        assert "nothing is stored" in found.errors
        assert "hub run" in found.errors
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize("text", ["systems: [", "stoer: {}\n", "- a list\n", "admin: {port: many}\n"])
def test_a_broken_configuration_is_told_with_its_line(command: Run, tmp_path: Path, text: str) -> None:
    config = tmp_path / "hub.yaml"
    config.write_text(text)
    for arguments in (["run"], ["status"], ["messages"], ["plugins"]):
        found = command(*arguments, "--config", str(config))
        assert found.status == 1
        assert "error: " in found.errors
        assert re.search(r"hub\.yaml:[12]: ", found.errors)
    assert command("check", "--config", str(config)).status == 1


def test_altered_entries_of_the_trail_and_a_store_of_a_stopped_hub(tmp_path: Path, command: Run) -> None:
    """What a hub leaves behind is read without it, and tampering is noticed."""
    sink = Sink()
    config = make_site(tmp_path, sink.url)
    with HubProcess(config) as hub:
        hub.send(adt("1"), adt("2"))
        wait_for(lambda: len(sink.bodies) == 2, "delivery")
        for _ in range(3):
            assert hub.call("POST", "/api/v1/reload").status == 200
        assert hub.stop() == 0
    sink.close()
    at = ["--config", str(config)]
    assert command("verify-ledger", *at).status == 0
    assert len(command("messages", "--json", *at).json["messages"]) == 2
    assert command("audit", "--verify", *at).status == 0
    catalog = tmp_path / "var" / "worker-00" / "catalog.db"
    connection = apsw.Connection(str(catalog))
    connection.execute("UPDATE audit SET entry = replace(entry, 'config.reload', 'config.relaod') WHERE seq = 2")
    connection.close()
    found = command("audit", "--verify", *at)
    assert found.status == 1
    assert "entry 2" in found.out
    assert command("audit", "--verify", "--json", *at).json["problems"]


def test_the_installed_program_is_the_same() -> None:
    installed = shutil.which("hub", path=str(Path(sys.executable).parent))
    assert installed is not None
    done = subprocess.run(
        [installed, "--help"], capture_output=True, timeout=60, env={**os.environ, "TONGQU_LANG": "en"}
    )
    assert done.returncode == 0
    assert b"verify-ledger" in done.stdout
