"""What the tests of the handbook share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub.handbook.build import contents
from hub.handbook.material import Material, gather
from hub.handbook.subject import Subject, of_plugin

__all__ = ["HOSTILE", "ROOT", "Site", "described", "subjects"]

ROOT = Path(__file__).resolve().parents[2]

#: What somebody could write into any text of a contract.
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)> | `x` [a](javascript:alert(3)) **b** <!-- # \u202e'

#: Writes files below a folder that is a site; returns its configuration file.
Site = Callable[..., Path]


def subjects(material: Material, *names: str) -> list[Subject]:
    return [of_plugin(material.plugin(name)) for name in names]


def described(config: Path, *names: str, **options: Any) -> dict[str, str]:
    """Every file of the handbook of these plugins of a site."""
    material = gather(config, quality=False)
    made = contents(material, subjects(material, *names), **options)
    return {name: content.decode() for name, content in made.items()}
