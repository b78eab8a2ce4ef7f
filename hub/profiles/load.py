"""Reading ``profile.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hub.contract import Profile
from hub.errors import Problem
from hub.validation import validate
from hub.yaml_source import Document

__all__ = ["LoadedProfile", "read_profile"]


@dataclass(frozen=True, slots=True)
class LoadedProfile:
    """A profile that was read without errors; its parents and parameters are looked at when a plugin extends it."""

    contract: Profile
    folder: Path
    file: Path
    document: Document

    @property
    def stamp(self) -> str:
        return f"{self.contract.id}@{self.contract.version}"


def read_profile(document: Document, problems: list[Problem]) -> LoadedProfile | None:
    """The profile; None when it has errors, which are added to ``problems``."""
    contract = validate(Profile, document.data, document.place(), problems)
    if contract is None:
        return None
    return LoadedProfile(contract, document.path.parent, document.path, document)
