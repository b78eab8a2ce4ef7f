"""Flows in a deployment: the system ``flow`` with an interface for each, and the routes that their inputs and sends are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from hub.answering import answering
from hub.api import Bound
from hub.contract import Breaker, Interface, RetryPolicy, RouteConfig, SystemConfig
from hub.errors import HubError, Problem
from hub.flows.adapter import FlowAdapter, NoOptions
from hub.flows.checks import problems_with, usable_places
from hub.flows.definition import FLOW_SYSTEM, Definition, place_of, route_of
from hub.flows.loading import load_flows
from hub.i18n import t
from hub.mapping import Context

if TYPE_CHECKING:
    from pathlib import Path

    from hub.deployment import Deployment

__all__ = ["PARAMS", "add_flows", "add_older", "route_flows"]

#: What a message of a flow is handed in with; see :mod:`hub.flows.service`.
PARAMS = ("flow_route", "flow_type", "flow_key", "flow_instance")
_UNKEYED = "?"
#: Messages of a flow that are told apart by their number for so long, should they be handed in twice.
_WINDOW_S = 400 * 86_400.0


def add_flows(deployment: Deployment, folders: Iterable[Path], declared: dict[str, Any]) -> None:
    """Read the flows and add the interfaces of those that are sound; before routes are resolved, which may lead to them."""
    problems: list[Problem] = []
    found = load_flows(folders, problems)
    deployment.problems.extend(problems)
    if not found:
        return
    if FLOW_SYSTEM in deployment.config.systems:
        place = declared[f"systems.{FLOW_SYSTEM}"]
        text = t(f"{FLOW_SYSTEM!r} is the system of the hub's own flows", f"{FLOW_SYSTEM!r} 是枢纽自身流程的系统名")
        deployment.problems.append(place.problem(text, remedy=t("rename this system", "请更改该系统的名称")))
        return
    deployment.flows = found
    for one in found.values():
        _add_places(deployment, one)


def _add_places(deployment: Deployment, one: Definition) -> None:
    from hub.deployment import InterfaceOrigin

    deployment.registry.adapters.setdefault(FlowAdapter.name, FlowAdapter())
    deployment.systems.setdefault(FLOW_SYSTEM, SystemConfig(plugin=FLOW_SYSTEM))
    place, codec = place_of(one.flow), deployment.codecs["json"]
    stamp = f"{one.flow}@{one.version}"
    given = Interface.model_validate(
        {
            "name": one.model.name,
            "direction": "in",
            "adapter": FlowAdapter.name,
            "codec": "json",
            "type": "$flow_type",
            "keys": {"flow_key": "$flow_key", "flow_instance": "$flow_instance"},
            "duplicate_window": _WINDOW_S,
        }
    )
    taken = Interface(
        name=one.model.name,
        direction="out",
        adapter=FlowAdapter.name,
        codec="json",
        concurrency=64,
        timeout=60.0,
        retry=RetryPolicy(attempts=100_000, interval=1.0),
        breaker=Breaker(failures=1000, open_for=1.0),
    )
    data, options = deployment.data, NoOptions()
    origin = InterfaceOrigin(one.document.place(), one.document.place("start"), {}, {}, frozenset())
    deployment.inbound[place] = Bound(place, FLOW_SYSTEM, one.flow, stamp, given, codec, {}, options, data=data)
    deployment.outbound[place] = Bound(
        place,
        FLOW_SYSTEM,
        one.flow,
        stamp,
        taken,
        codec,
        {},
        options,
        data=data,
        order_key=_order_key(deployment, one.flow),
    )
    deployment.origins[place] = origin


def _order_key(deployment: Deployment, flow: str) -> Callable[[str], Callable[[Any, Context], str]]:
    """Messages of one business key reach a flow in the order of their arrival."""

    def of(source_codec: str) -> Callable[[Any, Context], str]:
        def key(tree: Any, context: Context) -> str:
            definition, message = deployment.flows.get(flow), context.message
            if definition is None or message is None:
                return _UNKEYED
            request = message.request
            if request is not None and request.source == place_of(flow):
                return request.keys.get("flow_key", _UNKEYED)
            for _, given in definition.inputs():
                if given.source == message.source and definition.fits(given, message.source, message.type):
                    try:
                        return definition.key(given, tree, context) or _UNKEYED
                    except HubError:
                        return _UNKEYED  # told when the flow reads it
            return _UNKEYED

        return key

    return of


def route_flows(deployment: Deployment) -> None:
    """Check the flows against the systems, and add the routes of those that are sound; once all other routes are known."""
    codecs = usable_places(deployment)
    for one in list(deployment.flows.values()):
        one.codecs = codecs
        problems = problems_with(one, deployment)
        deployment.problems.extend(problems)
        if any(problem.severity == "error" for problem in problems):
            # It takes nothing in and starts nothing; what runs goes on by the version it began with.
            del deployment.flows[one.flow]
            continue
        _add_sends(deployment, one)
        _add_inputs(deployment, one, {})


def add_older(deployment: Deployment, definitions: Iterable[Definition]) -> None:
    """Routes of earlier versions, by which something still runs."""
    for one in definitions:
        place = place_of(one.flow)
        if place not in deployment.outbound:
            _add_places(deployment, one)
        _add_sends(deployment, one)
        present = deployment.flows.get(one.flow)
        _add_inputs(deployment, one, _inputs(present) if present is not None else {})


def _add(deployment: Deployment, name: str, source: str, route: RouteConfig) -> None:
    deployment.routes[name] = route
    deployment.sources[name] = (source,)


def _add_sends(deployment: Deployment, one: Definition) -> None:
    place = place_of(one.flow)
    for step, send, undo in one.sends():
        name = route_of(one.flow, step.id, one.version, undo=undo)
        route = RouteConfig(source=[place], when=f"$flow_route == '{name}'", to=[send.to], mapping=send.mapping)
        _add(deployment, name, place, route)
        if step.send is send and step.send.until == "callback":
            for bound in answering(send.to, deployment.inbound, deployment.outbound):
                answer = f"flow:{one.flow}:answers:{bound.place}"
                meant = RouteConfig(source=[bound.place], when=f"$request.source == '{place}'", to=[place], mapping="")
                _add(deployment, answer, bound.place, meant)


def _inputs(one: Definition) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for _, given in one.inputs():
        if given.source:
            found.setdefault(given.source, []).extend(
                each for each in given.types if each not in found.get(given.source, ())
            )
    return found


def _add_inputs(deployment: Deployment, one: Definition, known: dict[str, list[str]]) -> None:
    """``known``: what another version takes in by routes of its own."""
    place = place_of(one.flow)
    for source, types in _inputs(one).items():
        new = [each for each in types if each not in known.get(source, ()) and "*" not in known.get(source, ())]
        if new and source in deployment.inbound:
            name = f"flow:{one.flow}:from:{source}" + (f"@{one.version}" if known else "")
            _add(deployment, name, source, RouteConfig(source=[source], types=new, to=[place], mapping=""))
