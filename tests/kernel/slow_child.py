"""A process that checks as messages tell it to: waits, dies, finds something; otherwise the real one."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from hub.checking import child
from hub.checking.load import Made
from hub.codecs.json_codec import JsonCodec
from hub.mapping import Context
from hub.validators.report import Finding, Severity


class Obedient:
    """Does what ``check`` of a message says; ``gate`` names a file it waits for."""

    name = "obedient"
    stamp = "obedient@1"
    slow = True

    def check(self, raw: bytes, tree: Any, context: Context) -> list[Finding]:
        order = tree.get("check", "")
        if order == "hang":
            while True:
                time.sleep(1)
        if order == "die":
            os._exit(7)
        if order == "raise":
            raise RuntimeError("a bug")
        if order == "gate":
            while not Path(tree["gate"]).exists():
                time.sleep(0.005)
        if order in ("error", "warning"):
            return [Finding("obedient.told", "as told", "check", "say something else", severity=Severity(order))]
        return []


def make(body: dict[str, Any]) -> Made:
    return Made(JsonCodec(), "", (Obedient(),))


if __name__ == "__main__":
    child.make_slow = make  # type: ignore[assignment]
    sys.exit(child.main())
