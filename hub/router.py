"""Routes decide: which targets get a message, through which mapping, in which order.

Everything is compiled when the router is made; for a message it costs one dictionary look-up and the ``when`` expressions of the
routes that its source and type can match at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hub.api import Bound
from hub.contract import RouteConfig
from hub.errors import MappingError
from hub.mapping import Context, compile_expression

__all__ = ["UNKEYED", "WHOLE_TARGET", "OrderKey", "Router", "TargetRoute", "order_key_of", "type_matcher"]

#: Ordering key of an interface without ``order_by``: everything in arrival order.
WHOLE_TARGET = "*"
#: Ordering key of a message that lacks the value ``order_by`` names: such messages keep order among themselves.
UNKEYED = "?"

#: Types come from outside: a sender that makes up new ones must not grow the cache for ever.
_CACHE_LIMIT = 10_000

OrderKey = Callable[[Any, Context], str]
Condition = Callable[[Any, Context], Any]


def type_matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """True for types that match one of the patterns; ``*`` stands for any run of characters."""
    alternatives = "|".join(".*".join(re.escape(part) for part in pattern.split("*")) for pattern in patterns)
    match = re.compile(alternatives, re.DOTALL).fullmatch
    return lambda message_type: match(message_type) is not None


def _whole_target(tree: Any, context: Context) -> str:
    return WHOLE_TARGET


def _both(first: Callable[[str], bool], second: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda message_type: first(message_type) and second(message_type)


def order_key_of(bound: Bound, source_codec: str) -> OrderKey:
    """The function that reads a target's ordering key from a source message."""
    expression = bound.contract.order_by
    if expression is None:
        return _whole_target if bound.order_key is None else bound.order_key(source_codec)
    if expression == "":
        return lambda tree, context: ""
    try:
        read = compile_expression(expression, source_codec, key=f"{bound.place}.order_by")
    except MappingError:
        return _whole_target  # told at check; until it is mended the order is stricter than asked for, never looser

    def key(tree: Any, context: Context) -> str:
        try:
            value = read(tree, context)
        except MappingError:
            return UNKEYED  # the message is none the worse for it; those without a key keep order among themselves
        return UNKEYED if value is None or value == "" else str(value)

    return key


@dataclass(frozen=True, slots=True)
class TargetRoute:
    """One route to one target, for messages of one source and type."""

    route: str
    target: str
    when: Condition | None
    order_key: OrderKey


class Router:
    """The routes of a deployment, compiled; immutable, replaced as a whole by a reload."""

    def __init__(
        self,
        routes: Mapping[str, RouteConfig],
        sources_of: Callable[[str], Iterable[str]],
        inbound: Mapping[str, Bound],
        outbound: Mapping[str, Bound],
    ) -> None:
        self._by_source: dict[str, list[tuple[Callable[[str], bool], TargetRoute]]] = {}
        self._cache: dict[tuple[str, str], tuple[TargetRoute, ...]] = {}
        for route_id, route in routes.items():
            if not route.enabled:
                continue
            matches = type_matcher(route.types)
            for place in sources_of(route_id):
                source = inbound.get(place)
                if source is None:
                    continue
                codec = source.codec.name
                when = compile_expression(route.when, codec, key=f"routes.{route_id}.when") if route.when else None
                for target in route.to:
                    bound = outbound.get(target)
                    fits = matches if bound is None else _both(matches, type_matcher(bound.contract.accepts))
                    # A target that can't run just now gets its deliveries all the same; they wait in the store.
                    order_key = _whole_target if bound is None else order_key_of(bound, codec)
                    self._by_source.setdefault(place, []).append((fits, TargetRoute(route_id, target, when, order_key)))

    def routed(self, source: str) -> Iterator[tuple[str, str]]:
        """(route, target) of everything that messages of an interface may be routed to."""
        for _, entry in self._by_source.get(source, ()):
            yield entry.route, entry.target

    def targets(self, source: str, message_type: str, tree: Any, context: Context) -> list[TargetRoute]:
        """The targets of a message; empty: it is stored and counted as filtered."""
        key = (source, message_type)
        candidates = self._cache.get(key)
        if candidates is None:
            candidates = tuple(entry for fits, entry in self._by_source.get(source, ()) if fits(message_type))
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            self._cache[key] = candidates
        return [entry for entry in candidates if entry.when is None or entry.when(tree, context)]
