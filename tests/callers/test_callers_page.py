"""The examples of the page about callers are what the hub takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.http.options import HttpListen
from adapters.mllp.options import MllpListen
from hub.contract import HubConfig, Interface
from hub.security.schemes.signature import SignatureOptions

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "callers.md").read_text(encoding="utf-8")
BLOCKS: list[dict[str, Any]] = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]
LISTEN = {"http": HttpListen, "mllp": MllpListen}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: "/".join(block))
def test_examples_are_valid(block: dict[str, Any]) -> None:
    for declared in block.pop("interfaces", {}).values():
        interface = Interface.model_validate(declared)
        LISTEN[interface.adapter].model_validate(interface.listen)
    if "listen" in block:
        HttpListen.model_validate(block.pop("listen"))
    for scheme in block.pop("security", []):
        SignatureOptions.model_validate(scheme["signature"])
    HubConfig.model_validate(block)


def test_every_command_is_one() -> None:
    from hub.cli.callers import app

    known = {command.name for command in app.registered_commands}
    named = set(re.findall(r"hub callers (\w+)", TEXT))
    assert named <= known
    assert len(BLOCKS) >= 6
