"""Whatever comes in over any interface of any plugin is taken in or refused: never an error of the hub's own, never a traceback.

The messages are signed and encrypted as the other party would, so that they get past security to what reads them. What goes out is made by
mappings: whatever they are given, they make something or say why not.
"""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from hub.errors import HubError
from hub.mapping_tools.workbench import Circumstances
from hub.message import Direction, Outcome
from hub.simulator import Simulator
from hub.store.base import CallQuery
from hub.verify import samples
from hub.verify.declared import declared
from hub.verify.rig import Party, Rig
from hub.verify.site import Subject, VerifySite, open_site
from tests.contracts.odd import odd_bytes, odd_trees

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config" / "hub.yaml"
PLUGINS = sorted(file.parent.name for file in (ROOT / "plugins").glob("*/*/plugin.yaml"))
#: Variants of one message for each interface of a plugin.
CALLS, MAPPED = 8, 60
#: Plugins in one hub.
AT_ONCE = 24
TAKEN = {Outcome.OK, Outcome.DUPLICATE, Outcome.CONFLICT, Outcome.REFUSED}
SCHEMES = frozenset(("mllp", "tcp", "astm", "dicom"))
pytestmark = pytest.mark.timeout(900)


class Found:
    """Of one plugin: how often it was tried, and what went wrong."""

    def __init__(self) -> None:
        self.tried = 0
        self.wrong: list[str] = []


class Tracebacks(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is not None and record.exc_info[0] is not None:
            self.lines.append(f"{record.getMessage()}: {record.exc_info[0].__name__}")


@pytest.fixture(scope="module")
def found(request: pytest.FixtureRequest) -> dict[str, Found]:
    """Of the plugins whose tests are to run."""
    mine = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    wanted = {item.callspec.params["plugin"] for item in mine}
    names = [name for name in PLUGINS if name in wanted]
    site = open_site(CONFIG)
    results: dict[str, Found] = defaultdict(Found)
    for start in range(0, len(names), AT_ONCE):
        plugins = [site.registry.plugins[name] for name in names[start : start + AT_ONCE]]
        subjects = [Subject(plugin, declared(plugin, [])) for plugin in plugins]
        for subject in subjects:
            _mapped(site, subject, results[subject.id])
        with tempfile.TemporaryDirectory(prefix="tongqu-odd-") as folder:
            asyncio.run(_called(site, subjects, Path(folder), results))
    return results


async def _called(site: VerifySite, subjects: list[Subject], folder: Path, results: dict[str, Found]) -> None:
    simulators: dict[str, Simulator] = {}
    for subject in subjects:
        try:
            simulators[subject.id] = await Simulator.start(
                subject.plugin,
                site.registry,
                site.mappings,
                settings=samples.tested_settings(site, subject),
                schemas=site.loaded.schema_folders,
                lenient=True,
            )
        except HubError:
            continue  # there is no other party; what its mappings make was looked at
    parties = {s.id: Party(s, dict(simulators[s.id].settings), {}) for s in subjects if s.id in simulators}
    rig = Rig(site, folder, list(parties.values()))
    rig.write()
    tracebacks = Tracebacks()
    logging.getLogger().addHandler(tracebacks)
    await rig.start()
    try:
        await asyncio.gather(*(_party(rig, party, simulators[name], results[name]) for name, party in parties.items()))
    finally:
        await rig.stop()
        logging.getLogger().removeHandler(tracebacks)
        await asyncio.gather(*(simulator.stop() for simulator in simulators.values()), return_exceptions=True)
    for line in tracebacks.lines:
        for subject in subjects:
            results[subject.id].wrong.append(f"of one of {len(subjects)} plugins: {line}")


async def _party(rig: Rig, party: Party, simulator: Simulator, result: Found) -> None:
    for name, contract in party.interfaces.items():
        place = party.place(name)
        if contract.direction != "in" or name not in simulator.interfaces or name in simulator.sources:
            continue
        if why := rig.why_not(place):
            result.wrong.append(f"{name}: {why}")
            continue
        host, port = rig.address(place)
        to = f"{contract.adapter if contract.adapter in SCHEMES else 'http'}://{host}:{port}"
        chance = random.Random(place)
        for number, body in enumerate(odd_bytes(simulator.example(name), chance, CALLS)):
            try:
                reply = await simulator.send(name, to, body)
            except HubError:
                continue  # it can't be signed or encrypted, or the connection was closed on it
            result.tried += 1
            if reply.status >= 500:
                result.wrong.append(f"{name}, variant {number}: {reply.status} {reply.error or reply.body[:200]!r}")
        query = CallQuery(place=place, direction=Direction.IN, limit=200)
        for row in await rig.node.store.reader.calls(query):
            if row.outcome not in TAKEN or row.code.startswith("hub.internal"):
                result.wrong.append(f"{name}: {row.outcome.word} {row.code} {row.error}")


def _mapped(site: VerifySite, subject: Subject, result: Found) -> None:
    """What the mappings of ``out`` interfaces make of odd messages."""
    settings = samples.tested_settings(site, subject)
    for name, contract in subject.plugin.contract.interfaces.items():
        if contract.direction != "out" or not contract.mapping or "${" in contract.mapping:
            continue
        sample = samples.sample_of(site, subject, name, settings)
        if isinstance(sample, str):
            continue
        mapping = site.mappings.get(contract.mapping)
        codec = site.bench.codec(sample.codec, sample.format)
        variables = {"target": f"{subject.id}/{name}"}
        around = Circumstances(settings=settings, variables=variables, type=sample.type, keys=sample.keys)
        given = site.bench.input(mapping, sample.raw, around, encoding=sample.encoding, options=sample.format, name="")
        chance = random.Random(f"{subject.id}/{name}")
        trees: list[Any] = list(odd_trees(given.tree, chance, MAPPED)) if isinstance(given.tree, dict | list) else []
        for raw in () if trees else odd_bytes(sample.raw, chance, MAPPED):
            try:
                trees.append(codec.decode(raw, encoding=sample.encoding))
            except HubError:
                result.tried += 1
            except Exception as error:
                result.wrong.append(f"{name}: {codec.name}: {type(error).__name__}: {error}")
        for tree in trees:
            result.tried += 1
            try:
                mapping.run(tree, given.context)
            except HubError:
                continue
            except Exception as error:
                result.wrong.append(f"{name}: {contract.mapping}: {type(error).__name__}: {error}")


@pytest.mark.parametrize("plugin", PLUGINS)
def test_it_is_taken_in_or_refused(found: dict[str, Found], plugin: str) -> None:
    result = found[plugin]
    assert result.wrong == []
    if not result.tried:
        pytest.skip("nothing of it can be called, and it has no mapping")
