"""A run of contract tests: plugins in groups, each group in a hub of its own, groups shared out among processes."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hub.i18n import language, set_language, t
from hub.verify.declared import Declared, declared
from hub.verify.digest import around, digest
from hub.verify.group import Group
from hub.verify.model import PluginReport, Report
from hub.verify.proving import Proven, prove
from hub.verify.sharing import Sharing
from hub.verify.site import Subject, VerifySite, open_site
from hub.verify.static import static_checks

__all__ = ["Options", "verify"]

#: Most plugins in one hub.
_GROUP = 24


@dataclass(frozen=True, slots=True)
class Options:
    """``calls``: also what needs a running hub; ``proofs``: run the tests named as proof; ``benchmark``: measure."""

    calls: bool = True
    proofs: bool = False
    benchmark: bool = False


def verify(
    config_file: str | os.PathLike[str],
    names: Iterable[str] = (),
    *,
    jobs: int = 1,
    options: Options = Options(),
) -> Report:
    """Run the contract tests of these plugins, or of all that a configuration finds.

    Raises :class:`ConfigError` when the configuration can't be used, :class:`HubError` for a plugin nobody knows.
    """
    begun = time.perf_counter()
    site = open_site(config_file)
    names = list(names)
    chosen = site.chosen(names)
    report = Report(datetime.now(UTC).isoformat(timespec="seconds"), jobs=jobs)
    report.not_loaded = {} if names else _not_loaded(site)
    proven = prove(site.root, _named(site, chosen), jobs=jobs) if options.proofs else {}
    groups = _groups(chosen, jobs)
    found: list[PluginReport] = []
    if jobs == 1 or len(groups) == 1:
        for group in groups:
            found += _verify_group(site, group, chosen, options, proven)
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=context) as pool:
            file = os.fspath(config_file)
            tasks = [(file, group, chosen, options, proven, language()) for group in groups]
            for part in pool.map(_in_process, tasks):
                found += part
    lost = set(chosen) - {one.plugin for one in found}
    gone = t("its files changed while it was verified", "验证期间文件被更改")
    report.not_loaded = {**report.not_loaded, **dict.fromkeys(sorted(lost), gone)}
    report.plugins = {one.plugin: one for one in sorted(found, key=lambda one: one.plugin)}
    if options.calls:
        _sharing(site, chosen).borrow(report.plugins)
    report.seconds = time.perf_counter() - begun
    return report


def _sharing(site: VerifySite, chosen: list[str]) -> Sharing:
    return Sharing(Subject(site.registry.plugins[name], Declared()) for name in chosen if name in site.registry.plugins)


def _groups(names: Sequence[str], jobs: int) -> list[list[str]]:
    """Neighbours in the alphabet are of a kind and cost alike: they are dealt out."""
    if not names:
        return []
    count = max(min(jobs, len(names)), math.ceil(len(names) / _GROUP))
    return [list(names[start::count]) for start in range(count)]


def _named(site: VerifySite, chosen: Iterable[str]) -> list[str]:
    """The tests named as proof of these plugins."""
    return [name for one in chosen for name in declared(site.registry.plugins[one], []).proof.all]


def _in_process(
    task: tuple[str, list[str], list[str], Options, Mapping[str, Proven], str],
) -> list[PluginReport]:
    file, names, chosen, options, proven, words = task
    set_language(words)
    return _verify_group(open_site(file), names, chosen, options, proven)


def _verify_group(
    site: VerifySite, names: list[str], chosen: list[str], options: Options, proven: Mapping[str, Proven]
) -> list[PluginReport]:
    """``chosen``: all plugins of the run; ``proven``: what the tests named as proof said."""
    # A plugin can have been broken since the run began; whoever began it says so.
    subjects = [site.subject(name) for name in names if name in site.registry.plugins]
    reports = {subject.id: _static(site, subject, proven) for subject in subjects}
    if options.calls:
        with tempfile.TemporaryDirectory(prefix="tongqu-verify-") as folder:
            group = Group(site, Path(folder), subjects, _sharing(site, chosen), benchmark=options.benchmark)
            for name, (results, seconds) in asyncio.run(group.run()).items():
                reports[name].add(results)
                reports[name].seconds += seconds
    return list(reports.values())


def _static(site: VerifySite, subject: Subject, proven: Mapping[str, Proven]) -> PluginReport:
    begun = time.perf_counter()
    plugin = subject.plugin
    contract = plugin.contract
    report = PluginReport(
        contract.id,
        contract.name,
        plugin.folder.parent.name,
        contract.version,
        contract.assumed,
        [f"{'←' if one.direction == 'in' else '→'} {name}" for name, one in contract.interfaces.items()],
        digest=digest(site, subject),
        around=around(site, subject),
    )
    report.add(static_checks(site, subject, proven))
    report.seconds = time.perf_counter() - begun
    return report


def _not_loaded(site: VerifySite) -> dict[str, str]:
    problems = site.registry.problems
    return {
        name: "; ".join(f"{p.key}: {p.text}" for p in problems if f"/{name}/" in p.file or name in p.file)
        for name in sorted(site.registry.failed)
    }
