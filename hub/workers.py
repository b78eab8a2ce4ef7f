"""Which worker process owns which system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.answering import answered_places
from hub.errors import ConfigError, Problem
from hub.i18n import t

if TYPE_CHECKING:
    from hub.deployment import Deployment

__all__ = ["assign_workers", "worker_conflicts", "worker_groups"]


def worker_groups(deployment: Deployment) -> list[list[str]]:
    """Systems that must be owned by one worker, because their messages reach a common target in order or are answered by one system.

    Each worker delivers what its own systems received; a target whose contract says ``order_by: ''`` takes messages from
    several workers at once.
    """
    parent = {name: name for name in deployment.systems}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    by_target: dict[str, str] = {}
    for route_id, route in deployment.routes.items():
        for target in route.to:
            bound = deployment.outbound.get(target)
            if bound is None or (bound.contract.order_by == "" and bound.contract.callback is None):
                continue
            for place in deployment.sources_of(route_id):
                system = deployment.inbound[place].system
                # What feeds a flow is owned by the worker that owns the flows.
                first = by_target.setdefault(target, bound.system if bound.contract.adapter == "flow" else system)
                one, other = sorted((root(first), root(system)))
                parent[other] = one
    for bound in deployment.inbound.values():
        for target in answered_places(bound, deployment.outbound):
            asking = by_target.get(target)
            if asking is not None:
                one, other = sorted((root(asking), root(bound.system)))
                parent[other] = one
    groups: dict[str, list[str]] = {}
    for name in deployment.systems:
        groups.setdefault(root(name), []).append(name)
    return [sorted(group) for _, group in sorted(groups.items())]


def worker_conflicts(deployment: Deployment) -> list[Problem]:
    """Systems that need one worker and ask for different ones."""
    problems: list[Problem] = []
    for group in worker_groups(deployment):
        asked = [(name, deployment.systems[name].worker) for name in group]
        asked = [(name, worker) for name, worker in asked if worker is not None]
        for name, worker in asked[1:]:
            first, chosen = asked[0]
            if worker == chosen:
                continue
            text = t(
                f"worker {worker}, but {first!r} has worker {chosen} and both send in order to a common target",
                f"worker 为 {worker}，而 {first!r} 为 {chosen}，二者须按序发往同一目标",
            )
            remedy = t("give both the same worker", "请指定相同的 worker")
            problems.append(deployment.declared[f"systems.{name}"].problem(text, ("worker",), remedy=remedy))
    return problems


def assign_workers(deployment: Deployment, workers: int) -> dict[str, int]:
    """System -> worker, the same for the same deployment on every call.

    Groups go, the one with most inbound interfaces first, to the worker that has fewest; ``worker:`` of a system decides
    for its group. Raises :class:`ConfigError` when two systems of a group ask for different workers, or when one asks for
    a worker that doesn't exist.
    """
    if workers < 1:
        raise ValueError("at least one worker")
    problems = worker_conflicts(deployment)
    for name, system in deployment.systems.items():
        if system.worker is not None and system.worker >= workers:
            text = t(f"there is no worker {system.worker}", f"没有工作进程 {system.worker}")
            remedy = t(
                f"write 0 to {workers - 1}, or start more workers", f"请写 0 至 {workers - 1}，或启动更多工作进程"
            )
            problems.append(deployment.declared[f"systems.{name}"].problem(text, ("worker",), remedy=remedy))
    if problems:
        raise ConfigError(problems)
    weight = dict.fromkeys(deployment.systems, 0)
    for bound in deployment.inbound.values():
        weight[bound.system] += 1
    load = [0] * workers
    result: dict[str, int] = {}
    free: list[tuple[int, list[str]]] = []
    for group in worker_groups(deployment):
        total = sum(weight[name] for name in group)
        chosen = next((w for name in group if (w := deployment.systems[name].worker) is not None), None)
        if chosen is None:
            free.append((total, group))
        else:
            load[chosen] += total
            result.update(dict.fromkeys(group, chosen))
    for total, group in sorted(free, key=lambda item: (-item[0], item[1])):
        worker = load.index(min(load))
        load[worker] += total
        result.update(dict.fromkeys(group, worker))
    return {name: result[name] for name in deployment.systems}
