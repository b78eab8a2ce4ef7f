"""How good a plugin is: bronze, silver, gold, platinum, by checks of its files and by what ``hub verify`` recorded of them.

Nothing is called here. What only calls can show counts when it was recorded for the files as they are now; without a record a
plugin is "not verified" and has no level.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from hub.verify.digest import digest
from hub.verify.levels import Criterion, Quality, judge
from hub.verify.model import LEVELS, PluginReport
from hub.verify.record import Record
from hub.verify.site import VerifySite, open_site
from hub.verify.static import static_checks

__all__ = ["LEVELS", "Criterion", "Quality", "qualities", "quality_of"]


def qualities(config_file: str | os.PathLike[str], names: Iterable[str] = ()) -> dict[str, Quality]:
    """The quality of these plugins, or of all that a configuration finds; those that can't be loaded are left out.

    Runs the tests of their mappings. Raises :class:`ConfigError` when the configuration can't be used, :class:`HubError` for
    a plugin nobody knows, or a record that is none.
    """
    site = open_site(config_file)
    record = Record.read(site.root)
    return {name: quality_of(site, record, name) for name in site.chosen(names)}


def quality_of(site: VerifySite, record: Record, name: str) -> Quality:
    """The same for one plugin of a site that is open."""
    subject = site.subject(name)
    contract = subject.plugin.contract
    stamp = digest(site, subject)
    report = PluginReport(contract.id, contract.name, subject.plugin.folder.parent.name, digest=stamp)
    report.add(static_checks(site, subject, {}))
    return judge(report, record.of(name, stamp))
