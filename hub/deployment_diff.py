"""What a reload has to do: which receivers and senders start, stop, or keep their connections."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hub.api import Bound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.deployment import Deployment

__all__ = ["DeploymentDiff", "diff"]


@dataclass(slots=True)
class DeploymentDiff:
    """Places, sorted. An inbound interface whose connection changes is in ``stop_inbound`` and in ``start_inbound``."""

    start_inbound: list[str] = field(default_factory=list)
    stop_inbound: list[str] = field(default_factory=list)
    swap_inbound: list[str] = field(default_factory=list)  # keeps listening, only its rules are new
    start_outbound: list[str] = field(default_factory=list)  # was not there before
    stop_outbound: list[str] = field(default_factory=list)  # is no longer there
    restart_outbound: list[str] = field(default_factory=list)  # new connections for the same target
    swap_outbound: list[str] = field(default_factory=list)  # keeps its connections, only its rules are new
    routes: list[str] = field(default_factory=list)  # routes added, removed or changed

    def as_dict(self) -> dict[str, Any]:
        return {
            "start_inbound": self.start_inbound,
            "stop_inbound": self.stop_inbound,
            "swap_inbound": self.swap_inbound,
            "start_outbound": self.start_outbound,
            "stop_outbound": self.stop_outbound,
            "restart_outbound": self.restart_outbound,
            "swap_outbound": self.swap_outbound,
            "routes": self.routes,
        }


def diff(old: Deployment, new: Deployment) -> DeploymentDiff:
    """What is to be done to run ``new`` where ``old`` runs. What is equal in both is named nowhere."""
    result = DeploymentDiff()
    added, removed, restarted, result.swap_inbound = _compare(old.inbound, new.inbound, old, new)
    result.start_inbound = sorted(added + restarted)
    result.stop_inbound = sorted(removed + restarted)
    result.start_outbound, result.stop_outbound, result.restart_outbound, result.swap_outbound = _compare(
        old.outbound, new.outbound, old, new
    )
    result.routes = sorted(
        name
        for name in old.routes.keys() | new.routes.keys()
        if old.routes.get(name) != new.routes.get(name) or tuple(old.sources_of(name)) != tuple(new.sources_of(name))
    )
    return result


def _compare(
    before: Mapping[str, Bound], after: Mapping[str, Bound], old: Deployment, new: Deployment
) -> tuple[list[str], list[str], list[str], list[str]]:
    """(added, removed, restarted, swapped)"""
    added = sorted(after.keys() - before.keys())
    removed = sorted(before.keys() - after.keys())
    restarted: list[str] = []
    swapped: list[str] = []
    for place in sorted(before.keys() & after.keys()):
        one, other = before[place], after[place]
        if not _same_connection(one, other, old, new):
            restarted.append(place)
        elif one.contract != other.contract or one.plugin != other.plugin:
            swapped.append(place)
    return added, removed, restarted, swapped


def _same_connection(one: Bound, other: Bound, old: Deployment, new: Deployment) -> bool:
    """True where the adapter would do exactly what it does now: it looks at more than its options."""
    a, b = one.contract, other.contract
    return (
        type(old.adapters.get(a.adapter)) is type(new.adapters.get(b.adapter))
        and one.options == other.options
        and dict(one.settings) == dict(other.settings)
        and type(one.codec) is type(other.codec)
        and (a.adapter, a.style, a.encoding, a.max_size, a.timeout, a.concurrency, a.security)
        == (b.adapter, b.style, b.encoding, b.max_size, b.timeout, b.concurrency, b.security)
    )
