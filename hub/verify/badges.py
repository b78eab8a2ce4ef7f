"""The levels of plugins for screens: quickly, from the record alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hub.config import load_config
from hub.errors import HubError
from hub.verify.declared import declared
from hub.verify.digest import around, digest
from hub.verify.levels import Quality, judge_recorded
from hub.verify.record import FILE, Record
from hub.verify.site import Subject, VerifySite, open_site, root_of

__all__ = ["badges", "levels"]


def badges(config_file: Path) -> dict[str, Quality]:
    """What was recorded of each plugin; one whose files have changed since, or that never was verified, has no level.

    Nothing is tested. Raises :class:`ConfigError` when the configuration can't be used.
    """
    return _badges(open_site(config_file))


def levels(config_file: Path) -> Mapping[str, str]:
    """Plugin -> "bronze" … "platinum", "" for below or not verified; nothing where that can't be found out."""
    try:
        if not (root_of(load_config(config_file.resolve())) / FILE).is_file():
            return {}
        return {name: quality.level for name, quality in badges(config_file).items()}
    except HubError:
        return {}


def _badges(site: VerifySite) -> dict[str, Quality]:
    record = Record.read(site.root)
    found: dict[str, Quality] = {}
    for name in site.chosen([]):
        plugin = site.registry.plugins[name]
        subject = Subject(plugin, declared(plugin, []))
        kept = record.current(name, digest(site, subject), around(site, subject))
        found[name] = judge_recorded(name, kept) if kept is not None else Quality(name, (), verified=False)
    return found
