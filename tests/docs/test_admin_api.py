"""The page about the admin API lists every operation there is, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from hub.admin.operations import OPERATIONS

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "admin-api.md").read_text(encoding="utf-8")


def test_every_operation_is_listed() -> None:
    listed = set(re.findall(r"^\| `([A-Z]+) (\S+)`( \(open\))? \|", TEXT, re.MULTILINE))
    assert listed == {(o.method, o.path, " (open)" if o.open else "") for o in OPERATIONS}
