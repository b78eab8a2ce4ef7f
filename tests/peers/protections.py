"""What the contract of a plugin declares under ``security``, ready to seal and open: for comparing it with what others make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hub.contract import Interface
from hub.errors import Problem
from hub.registry import Registry
from hub.security.load import load_protection
from hub.security.protection import Protection

__all__ = ["protection"]


class _Origin:
    def problem(self, text: str, path: Any = (), *, remedy: str = "", severity: str = "error") -> Problem:
        return Problem(f"{path}: {text}", remedy=remedy, severity=severity)


def protection(registry: Registry, interface: Interface, settings: Mapping[str, str]) -> Protection:
    """What the contract declares of an interface, with these settings."""
    text = json.dumps(interface.security)
    for name, value in settings.items():
        text = text.replace(f'"${{{name}}}"', json.dumps(value))
    problems: list[Problem] = []
    made = load_protection(
        json.loads(text),
        adapter=registry.adapters["http"],
        direction=interface.direction,
        added={},
        origin=_Origin(),
        problems=problems,
    )
    assert made is not None, problems
    return made
