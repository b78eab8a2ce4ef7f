"""``hub docs``: what it writes where, and what it says when it can't."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from hub.cli.docs import docs
from hub.errors import HubError
from tests.handbook.support import ROOT, Site
from tests.handbook.test_descriptions import SOAP

app = typer.Typer()
app.command("docs")(docs)
app.command("other")(lambda: None)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["docs", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def written(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def config(site: Site) -> Path:
    return site(
        {"plugins/some/hip/plugin.yaml": SOAP},
        "systems: {platform: {plugin: hip, name: 市平台, settings: {port: 18433}}, off: {plugin: hip, enabled: false}}\n",
    )


def test_one_plugin_in_one_language(config: Path, tmp_path: Path) -> None:
    told = run("hip", "-c", str(config), "--out", str(tmp_path / "out"), "--language", "zh")
    assert written(tmp_path / "out") == {
        *("index.zh.html", "index.zh.md", "hip/zh.html", "hip/zh.md", "hip/openapi.zh.json", "hip/service.wsdl")
    }
    assert "6 files" in told
    assert "English" not in (tmp_path / "out" / "hip" / "zh.html").read_text()


def test_systems_with_their_addresses(config: Path, tmp_path: Path) -> None:
    run("--systems", "-c", str(config), "--out", str(tmp_path / "out"), "--no-levels")
    assert {name.partition("/")[0] for name in written(tmp_path / "out") if "/" in name} == {"platform"}
    assert "http://127.0.0.1:18433/hip" in (tmp_path / "out" / "platform" / "zh.md").read_text()
    assert "市平台" in (tmp_path / "out" / "index.zh.md").read_text()


def test_what_is_the_same_is_left_alone_and_what_changed_is_written(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("hip", "-c", str(config), "--out", str(out), "--no-levels")
    run(*arguments)
    page, index = out / "hip" / "en.md", out / "index.en.md"
    before = index.stat().st_mtime_ns
    page.write_text("old")
    run(*arguments)
    assert page.read_text() != "old"
    assert index.stat().st_mtime_ns == before
    assert not [name for name in written(out) if ".handbook" in name]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nobody",), "no plugin 'nobody'"),
        (("--system", "off"), "no system 'off'"),
        (("hip", "--system", "platform"), "not of both"),
    ],
)
def test_what_there_is_not(config: Path, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(HubError, match=words):
        CliRunner().invoke(
            app, ["docs", *arguments, "-c", str(config), "--out", str(tmp_path / "out")], catch_exceptions=False
        )
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_a_file(config: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(HubError, match="can't be written") as raised:
        run("hip", "-c", str(config), "--out", str(tmp_path / "out"), "--no-levels")
    assert "--out" in raised.value.remedy


def test_levels_are_on_the_pages(tmp_path: Path) -> None:
    """Those of one plugin of the repository, beside a copy of its mappings."""
    for name in ("config", "plugins", "mappings", "schemas"):
        (tmp_path / name).mkdir()
    (tmp_path / "config" / "hub.yaml").write_text("name: site\nlanguage: en\n")
    shutil.copytree(ROOT / "plugins" / "payment" / "payment_desk", tmp_path / "plugins" / "payment" / "payment_desk")
    run("-c", str(tmp_path / "config" / "hub.yaml"), "--out", str(tmp_path / "out"), "--language", "en")
    assert "Quality level" in (tmp_path / "out" / "payment_desk" / "en.md").read_text()
