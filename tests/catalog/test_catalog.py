"""The catalogue of external systems: its data, how plugins refer to it, and what the comparison counts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pytest
import typer
from typer.testing import CliRunner

from hub.catalog import FOLDER, Catalog, compare
from hub.cli.catalog import catalog as command
from hub.errors import ConfigError, HubError
from hub.i18n import language, set_language
from hub.registry import Registry

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    before = language()
    set_language("en")
    yield
    set_language(before)


@pytest.fixture(scope="module")
def known() -> Catalog:
    return Catalog.read()


def site(folder: Path, **plugins: str) -> Path:
    """A site with these plugins: id -> the lines that matter."""
    for name, text in plugins.items():
        file = folder / "plugins" / "some" / name / "plugin.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(f"id: {name}\nname: {name}\n{text}\n", encoding="utf-8")
    for name in ("config", "mappings", "schemas", "plugins"):
        (folder / name).mkdir(exist_ok=True)
    config = folder / "config" / "hub.yaml"
    config.write_text("name: site\nlanguage: en\n", encoding="utf-8")
    return config


def plugin(catalog: str, *interfaces: str, head: str = "") -> str:
    lines = [f"catalog: {catalog}" if catalog else "", head, "interfaces:"]
    for text in interfaces:
        name, _, more = text.partition(" ")
        rest = f", catalog: [{more}]" if more else ""
        lines.append(
            f"  {name}: {{direction: out, adapter: mllp, connect: {{host: localhost, port: 1}}, codec: hl7v2{rest}}}"
        )
    return "\n".join(line for line in lines if line)


# -- the data ----------------------------------------------------------------------------------------------------


def test_how_much_it_holds(known: Catalog) -> None:
    assert len(known.systems) == 432
    assert len(known.groups) == 13
    assert Counter(system.priority for system in known.systems.values()) == {1: 78, 2: 188, 3: 166}
    own = [interface for system in known.systems.values() for interface in system.interfaces.values()]
    shared = [interface for profile in known.profiles.values() for interface in profile.values()]
    assert (len(own), sum(interface.named for interface in own)) == (879, 366)
    assert (len(known.profiles), len(shared), sum(interface.named for interface in shared)) == (11, 223, 188)
    assert sum(known.group_of[name] == "portal_apps" for name in known.systems) == 64


def test_a_system_has_the_interfaces_of_its_profile_without_what_is_internal(known: Catalog) -> None:
    found = known.interfaces("cloud_imaging")
    assert {"portal_embed", "image_share"} <= found.keys()
    internal = {name for name, interface in known.profiles["portal_app"].items() if interface.internal}
    assert internal
    assert not internal & found.keys()
    assert (known.profiles["portal_app"].keys() - internal) <= found.keys()


def test_every_id_that_shipped_plugins_name_exists(known: Catalog) -> None:
    found = compare(known, Registry.discover([ROOT / "plugins"]).plugins.values())
    assert [str(problem) for problem in found.problems] == []


# -- a catalogue with mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "new", "key"),
    [
        ("systems/payment.yaml", "maybe_same_as: [alipay_login]", "maybe_same_as: [alipay_logout]", "maybe_same_as"),
        ("systems/payment.yaml", "    name: 支付宝\n", "    name: 支付宝\n    parent: nobody\n", "parent"),
        ("systems/portal_apps.yaml", "    profile: portal_app\n", "    profile: portal_ap\n", "profile"),
        ("systems/payment.yaml", "'004:6658'", "'009:6658'", "sources"),
        ("systems/payment.yaml", "    priority: 2\n", "    priority: 4\n", "priority"),
        ("systems/payment.yaml", "  alipay_pay:\n", "  his:\n", "his"),
        ("profiles.yaml", "style: sso", "style: song", "style"),
        ("documents.yaml", "groups:\n", "group:\n", "groups"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, file: str, old: str, new: str, key: str) -> None:
    folder = tmp_path / "catalog"
    copytree(FOLDER, folder)
    path = folder / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        Catalog.read(folder)
    problems = caught.value.problems
    assert any(key in problem.key and problem.line > 0 and folder.name in problem.file for problem in problems)


def test_no_catalogue(tmp_path: Path) -> None:
    with pytest.raises(HubError) as caught:
        Catalog.read(tmp_path)
    assert caught.value.code == "catalog.missing"


# -- comparing ---------------------------------------------------------------------------------------------------


def test_what_is_covered(known: Catalog, tmp_path: Path) -> None:
    site(
        tmp_path,
        one=plugin("alipay_pay", "pay"),
        two=plugin("alipay_pay", "other consultation_fee", head="assumed: true"),
        three=plugin("wechat_pay", "something", head="assumed: true"),
        four=plugin("", "anything"),
    )
    found = compare(known, Registry.discover([tmp_path / "plugins"]).plugins.values())
    rows = {row.id: row for row in found.systems}
    alipay = rows["alipay_pay"]
    assert (alipay.plugins, alipay.covered, alipay.missing) == (["one", "two"], ["pay", "consultation_fee"], [])
    assert not alipay.assumed, "one of its plugins follows a specification"
    wechat = rows["wechat_pay"]
    assert wechat.assumed
    assert wechat.covered == []
    assert set(wechat.missing) == set(known.interfaces("wechat_pay"))
    assert found.elsewhere == ["four"]
    count = found.chosen("payment").count()
    assert (count.systems, count.covered, count.assumed, count.interfaces_covered) == (8, 2, 1, 2)
    assert "alipay_pay" not in {row.id for row in found.chosen("payment", missing=True).systems}
    assert {row.system.priority for row in found.chosen(priority=1).systems} == {1}


def run(*arguments: str) -> tuple[int, str, BaseException | None]:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, result.exception


def test_the_command_in_both_languages(tmp_path: Path) -> None:
    config = site(tmp_path, one=plugin("alipay_pay", "pay"))
    status, out, _ = run("-c", str(config))
    assert status == 0
    assert out.splitlines()[-1].split() == ["all", "1/78", "0/188", "0/166", "1/432", "1/3449"]
    config.write_text("name: site\nlanguage: zh\n", encoding="utf-8")
    status, out, _ = run("-c", str(config), "--group", "payment", "--priority", "1", "--missing")
    assert status == 0
    assert "未覆盖" in out
    assert next(line for line in out.splitlines() if line.startswith("alipay_pay")).split()[-2:] == [
        "1/2",
        "consultation_fee",
    ]
    assert "fiscal_receipt" not in out


def test_the_command_for_programs(tmp_path: Path) -> None:
    config = site(tmp_path, one=plugin("alipay_pay", "pay"), two=plugin("", "x"))
    status, out, _ = run("-c", str(config), "--group", "payment", "--json")
    answer = json.loads(out)
    assert status == 0
    assert answer["count"]["systems"] == 8
    assert answer["groups"]["payment"]["priorities"]["1"] == {
        "systems": 4, "covered": 1, "assumed": 0, "interfaces": 19, "interfaces_covered": 1,
    }  # fmt: skip
    assert answer["plugins_without_catalog"] == ["two"]
    row = next(row for row in answer["systems"] if row["id"] == "alipay_pay")
    assert row["interfaces"] == {"covered": ["pay"], "missing": ["consultation_fee"]}


def test_why_nothing_covers_an_interface(tmp_path: Path) -> None:
    config = site(tmp_path, one=plugin("phip_statistics", "x"), two=plugin("phip_hr", "interface_upkeep"))
    why = "phip_statistics/ims_statistics_link: the document names it and says nothing of what is exchanged"
    _, out, _ = run("-c", str(config), "--group", "portal_apps", "--missing")
    assert why in out.splitlines()
    assert "phip_hr/interface_upkeep" not in out  # covered
    _, out, _ = run("-c", str(config), "--group", "portal_apps")
    assert why not in out
    _, out, _ = run("-c", str(config), "--group", "portal_apps", "--json")
    rows = {row["id"]: row["open"] for row in json.loads(out)["systems"]}
    assert list(rows["phip_statistics"]) == ["ims_statistics_link"]
    assert list(rows["phip_hr"]) == ["expert_feed"]


def test_ids_the_catalogue_does_not_have(tmp_path: Path) -> None:
    config = site(tmp_path, one=plugin("alipay_pai", "pay"), two=plugin("alipay_pay", "other payy"))
    status, out, _ = run("-c", str(config))
    assert status == 1
    assert "no system 'alipay_pai'" in out
    assert "no interface 'payy'" in out
    assert "plugin.yaml:3" in out


def test_a_group_nobody_knows(tmp_path: Path) -> None:
    _, _, error = run("-c", str(site(tmp_path)), "--group", "paymant")
    assert isinstance(error, HubError)
    assert error.code == "catalog.group"
    assert "payment" in error.remedy
