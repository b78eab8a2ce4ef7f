from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hub.registry
from hub.api import Bound
from hub.codecs.registry import builtin_codecs
from hub.contract import HubConfig, Interface, RouteConfig, SystemConfig
from hub.deployment import Deployment, assign_workers
from hub.errors import ConfigError
from hub.mapping import MappingLibrary
from hub.registry import Registry
from hub.workers import worker_groups
from tests.config.config_support import WireListen
from tests.config.test_deployment import deploy

PLUGIN = """\
id: {id}
name: Test
interfaces:
  in: {{direction: in, adapter: wire, codec: json, listen: {{port: 0}}}}
  out: {{direction: out, adapter: wire, codec: json, connect: {{url: http://x}}{order}}}
"""


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.registry, "BUILTIN_MODULES", ("tests.config.config_support",))


def of(folder: Path, systems: dict[str, str], routes: str) -> tuple[Deployment, list[str]]:
    """Plugin ``o`` sends in order, plugin ``u`` in any order."""
    text = "".join(f"  {name}: {{plugin: {keys}}}\n" for name, keys in systems.items())
    return deploy(
        folder,
        {
            "plugins/his/plugin.yaml": PLUGIN.format(id="o", order=""),
            "plugins/u/plugin.yaml": PLUGIN.format(id="u", order=", order_by: ''"),
            "config/systems/his.yaml": "systems:\n" + text,
            "config/routes/r.yaml": "routes:\n" + routes,
        },
    )


def test_senders_to_an_ordered_target_stay_together(tmp_path: Path) -> None:
    deployment, _ = of(
        tmp_path,
        {"a": "o", "b": "o", "c": "o", "d": "o", "x": "o", "y": "u"},
        "  r1: {from: [a, c], to: x/out}\n  r2: {from: b, to: x/out}\n  r3: {from: [a, d], to: y/out}\n",
    )
    assert worker_groups(deployment) == [["a", "b", "c"], ["d"], ["x"], ["y"]]
    assert assign_workers(deployment, 4) == {"a": 0, "b": 0, "c": 0, "d": 1, "x": 2, "y": 3}
    assert assign_workers(deployment, 2) == {"a": 0, "b": 0, "c": 0, "d": 1, "x": 1, "y": 1}
    assert set(assign_workers(deployment, 1).values()) == {0}


def test_a_chosen_worker_is_honoured_for_the_whole_group(tmp_path: Path) -> None:
    deployment, _ = of(
        tmp_path,
        {"a": "o", "b": "o, worker: 2", "c": "o"},
        "  r1: {from: [a, b], to: c/out}\n",
    )
    assert assign_workers(deployment, 3) == {"a": 2, "b": 2, "c": 0}


def test_workers_that_contradict_each_other(tmp_path: Path) -> None:
    deployment, problems = of(
        tmp_path, {"a": "o, worker: 1", "b": "o, worker: 0", "c": "o"}, "  r1: {from: [a, b, c], to: c/out}\n"
    )
    wanted = (
        "config/systems/his.yaml:3: systems.b.worker: worker 0, but 'a' has worker 1 and both send in order to a common"
        " target -> give both the same worker"
    )
    assert problems == [f"error {wanted}"]
    with pytest.raises(ConfigError) as caught:
        assign_workers(deployment, 2)
    assert [str(p).replace(f"{tmp_path}/", "") for p in caught.value.problems] == [wanted]


def test_a_worker_that_does_not_exist(tmp_path: Path) -> None:
    deployment, problems = of(tmp_path, {"a": "o, worker: 3"}, "  r1: {from: a, to: a/out}\n")
    assert problems == []
    with pytest.raises(ConfigError, match="there is no worker 3 -> write 0 to 1, or start more workers"):
        assign_workers(deployment, 2)
    assert assign_workers(deployment, 4) == {"a": 3}


CODEC = builtin_codecs()[0]


def bound(system: str, number: int, **keys: object) -> Bound:
    contract = Interface.model_validate({"adapter": "wire", "codec": CODEC.name, **keys})
    return Bound(f"{system}/{number}", system, str(number), "p@1", contract, CODEC, {}, WireListen(port=0))


@st.composite
def deployments(draw: st.DrawFn) -> Deployment:
    names = [f"s{n}" for n in range(draw(st.integers(1, 8)))]
    inbound = [bound(name, n, direction="in") for name in names for n in range(draw(st.integers(0, 3)))]
    outbound = [
        bound(name, 9, direction="out", order_by=draw(st.sampled_from(["", "x", None])))
        for name in draw(st.lists(st.sampled_from(names), unique=True))
    ]
    deployment = Deployment(
        HubConfig(),
        Registry(),
        MappingLibrary([]),
        inbound={b.place: b for b in inbound},
        outbound={b.place: b for b in outbound},
        systems={name: SystemConfig(plugin="p") for name in names},
    )
    if inbound and outbound:
        for n in range(draw(st.integers(0, 5))):
            sources = draw(st.lists(st.sampled_from(sorted(deployment.inbound)), min_size=1, unique=True))
            targets = draw(st.lists(st.sampled_from(sorted(deployment.outbound)), min_size=1, unique=True))
            deployment.routes[f"r{n}"] = RouteConfig.model_validate({"from": sources, "to": targets})
            deployment.sources[f"r{n}"] = tuple(sources)
    return deployment


@given(deployments(), st.integers(1, 4))
def test_every_ordered_target_is_fed_by_one_worker(deployment: Deployment, workers: int) -> None:
    assigned = assign_workers(deployment, workers)
    assert assigned == assign_workers(deployment, workers)
    assert set(assigned) == set(deployment.systems)
    assert all(0 <= worker < workers for worker in assigned.values())
    for target, its in deployment.outbound.items():
        if its.contract.order_by == "":
            continue
        feeding = {
            assigned[deployment.inbound[place].system]
            for name, route in deployment.routes.items()
            if target in route.to
            for place in deployment.sources_of(name)
        }
        assert len(feeding) <= 1


@given(st.integers(1, 30), st.integers(1, 5))
def test_systems_without_ties_are_spread_evenly(systems: int, workers: int) -> None:
    inbound = [bound(f"s{n}", 0, direction="in") for n in range(systems)]
    deployment = Deployment(
        HubConfig(),
        Registry(),
        MappingLibrary([]),
        inbound={b.place: b for b in inbound},
        systems={b.system: SystemConfig(plugin="p") for b in inbound},
    )
    counts = Counter(assign_workers(deployment, workers).values())
    loads = [counts[worker] for worker in range(workers)]
    assert max(loads) - min(loads) <= 1
