"""``answers`` of an interface, compiled: by what key a message answers what was sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hub.api import Bound
from hub.delivery.awaiting import key_text
from hub.delivery.plan import World
from hub.errors import HubError, MappingError
from hub.i18n import t
from hub.mapping import CompiledMapping, Context, compile_expression
from hub.message import Answer
from hub.router import Router

__all__ = ["AnswerRule", "asks_for_request"]

_REQUEST = "$request"


class AnswerRule:
    """``places``: the targets whose answers come in here. ``waits``: routes or mappings ask what is answered."""

    __slots__ = ("_key", "places", "refuse", "wait", "waits")

    def __init__(self, bound: Bound, places: list[str], waits: bool) -> None:
        answers = bound.contract.answers
        assert answers is not None  # noqa: S101 - it has places
        self._key = compile_expression(answers.key, bound.codec.name, key=f"{bound.place}.answers.key")
        self.places = places
        self.refuse = answers.unknown == "refuse"
        self.wait = answers.wait
        self.waits = waits

    def key(self, tree: Any, context: Context) -> str:
        """Raises :class:`HubError` for a key that can't be one, or, where what is unknown is refused, for none."""
        key = key_text(self._key(tree, context))
        if not key and self.refuse:
            raise HubError(t("it does not say what it answers", "未指明所应答的请求"), code="answer.key")
        return key

    def of(self, tree: Any, context: Context) -> Answer | None:
        """What a message answers; None when it does not say so, and is one like any other."""
        key = self.key(tree, context)
        return Answer(key, self.places, self.waits) if key else None


def asks_for_request(place: str, world: World, router: Router) -> bool:
    """Whether a route of an interface, or what is sent by it, asks for ``$request``."""
    for route, target in router.routed(place):
        rule, bound = world.routes.get(route), world.outbound.get(target)
        contract = bound.contract if bound is not None else None
        texts = [rule.when if rule is not None else ""]
        name = rule.mapping if rule is not None else None
        if contract is not None:
            texts += [contract.order_by or "", contract.idempotency]
            texts += [contract.hours.unless] if contract.hours is not None else []
            name = contract.mapping if name is None else name
        if any(_REQUEST in text for text in texts):
            return True
        if name:
            try:
                mapping = world.mappings.get(name)
            except MappingError:
                continue  # told with the deployment
            if any(_REQUEST in text for text in _texts(mapping)):
                return True
    return False


def _texts(mapping: CompiledMapping) -> Iterator[str]:
    """What a mapping is written as, with what it includes."""
    for part in (mapping, *mapping.parts):
        # The program holds what is included, the file its lookups.
        yield part.source.replace("ctx.variables.get('request')", _REQUEST)
        if part.lookups:
            yield Path(part.file).read_text(encoding="utf-8", errors="replace")
