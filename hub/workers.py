"""Which worker process owns which system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.errors import ConfigError, Problem
from hub.i18n import t

if TYPE_CHECKING:
    from hub.deployment import Deployment

__all__ = ["assign_workers", "worker_groups"]


def worker_groups(deployment: Deployment) -> list[list[str]]:
    """Systems that must be owned by one worker, because their messages reach a common target in order.

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
            if bound is None or bound.contract.order_by == "":
                continue
            for place in deployment.sources_of(route_id):
                system = deployment.inbound[place].system
                first = by_target.setdefault(target, system)
                one, other = sorted((root(first), root(system)))
                parent[other] = one
    groups: dict[str, list[str]] = {}
    for name in deployment.systems:
        groups.setdefault(root(name), []).append(name)
    return [sorted(group) for _, group in sorted(groups.items())]


def assign_workers(deployment: Deployment, workers: int) -> dict[str, int]:
    """System -> worker, the same for the same deployment on every call.

    Groups go, the one with most inbound interfaces first, to the worker that has fewest; ``worker:`` of a system decides
    for its group. Raises :class:`ConfigError` when two systems of a group ask for different workers, or for one
    that doesn't exist.
    """
    if workers < 1:
        raise ValueError("at least one worker")
    load = [0] * workers
    weight = dict.fromkeys(deployment.systems, 0)
    for bound in deployment.inbound.values():
        weight[bound.system] += 1
    result: dict[str, int] = {}
    problems: list[Problem] = []
    free: list[tuple[int, list[str]]] = []
    for group in worker_groups(deployment):
        total = sum(weight[name] for name in group)
        asked = {name: worker for name in group if (worker := deployment.systems[name].worker) is not None}
        for name, worker in asked.items():
            if worker >= workers:
                text = t(f"there is no worker {worker}", f"没有工作进程 {worker}")
                remedy = t(f"write 0 to {workers - 1}", f"请写 0 至 {workers - 1}")
                problems.append(Problem(text, key=f"systems.{name}.worker", remedy=remedy))
        if len(set(asked.values())) > 1:
            one, other = [name for name, _ in sorted(asked.items(), key=lambda item: (item[1], item[0]))][
                :: len(asked) - 1
            ]
            text = t(
                f"{one!r} and {other!r} send in order to a common target and need one worker",
                f"{one!r} 与 {other!r} 须按序发往同一目标，应由同一工作进程负责",
            )
            remedy = t(f"give {one!r} and {other!r} the same worker", f"请为 {one!r} 与 {other!r} 指定相同的 worker")
            problems.append(Problem(text, key=f"systems.{other}.worker", remedy=remedy))
        elif asked:
            worker = next(iter(asked.values()))
            if worker < workers:
                load[worker] += total
            result.update(dict.fromkeys(group, worker))
        else:
            free.append((total, group))
    if problems:
        raise ConfigError(problems)
    for total, group in sorted(free, key=lambda item: (-item[0], item[1])):
        worker = load.index(min(load))
        load[worker] += total
        result.update(dict.fromkeys(group, worker))
    return {name: result[name] for name in deployment.systems}
