"""The plugins of the hub read once, pages of some of them, and sites made for a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.handbook.build import contents
from hub.handbook.material import Material, gather
from hub.i18n import language, set_language
from tests.handbook.support import ROOT, Site, subjects


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    before = language()
    set_language("en")
    yield
    set_language(before)


@pytest.fixture(scope="session")
def repository() -> Material:
    """The plugins that come with the hub, without their levels: those cost a run of all mapping tests."""
    return gather(ROOT / "config" / "hub.yaml", quality=False)


@pytest.fixture(scope="session")
def chosen() -> tuple[str, ...]:
    """Plugins of different kinds, among them those that are read by people first."""
    return (
        *("medical_insurance", "wechat_pay", "alipay", "freight_exchange", "freight_province", "aliyun_sms"),
        *("his_hl7v2", "payment_desk", "mobile_insurance_payment", "insurance_desk"),
    )


@pytest.fixture(scope="session")
def handbook(repository: Material, chosen: tuple[str, ...]) -> dict[str, str]:
    """File -> text, of those plugins."""
    made = contents(repository, subjects(repository, *chosen))
    return {name: content.decode() for name, content in made.items()}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Write files below a folder that is a site; returns its configuration file."""

    def make(files: dict[str, str], config: str = "") -> Path:
        for folder in ("plugins", "mappings", "mappings/tables", "schemas", "config"):
            (tmp_path / folder).mkdir(exist_ok=True)
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        file = tmp_path / "config" / "hub.yaml"
        file.write_text(f"name: site\nwatch: false\n{config}", encoding="utf-8")
        return file

    return make
