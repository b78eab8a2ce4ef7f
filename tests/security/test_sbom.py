"""``hub sbom``: what is installed and needed, complete and always the same."""

from __future__ import annotations

from importlib import metadata

import orjson
import typer
from typer.testing import CliRunner

from hub.cli.security import sbom
from hub.sbom import bill_of_materials, written


def test_every_needed_package_is_listed_once_with_its_version() -> None:
    bill = bill_of_materials()
    components = {component["name"].lower().replace("_", "-"): component for component in bill["components"]}
    assert len(components) == len(bill["components"])
    for name in ("pydantic", "aiohttp", "cryptography", "orjson", "pydantic-core"):
        assert components[name]["version"] == metadata.version(name)
        assert components[name]["purl"] == f"pkg:pypi/{name}@{metadata.version(name)}"
    assert bill["metadata"]["component"]["version"] == metadata.version("tongqu")
    refs = {component["bom-ref"] for component in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    for row in bill["dependencies"]:
        assert row["ref"] in refs
        assert set(row["dependsOn"]) <= refs
    pydantic = next(row for row in bill["dependencies"] if row["ref"] == components["pydantic"]["bom-ref"])
    assert components["pydantic-core"]["bom-ref"] in pydantic["dependsOn"]


def test_the_same_packages_give_the_same_document() -> None:
    assert written(bill_of_materials()) == written(bill_of_materials())


def test_a_package_that_is_not_there_gives_an_empty_bill() -> None:
    assert bill_of_materials("no-such-package-7fd1")["components"] == []


def test_the_command() -> None:
    app = typer.Typer()
    app.command()(sbom)
    told = CliRunner().invoke(app, [])
    assert told.exit_code == 0
    bill = orjson.loads(told.stdout)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
