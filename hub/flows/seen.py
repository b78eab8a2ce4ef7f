"""What the expressions of a flow see of an instance, and what a message changes in it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from hub.flows.definition import Definition
from hub.flows.events import Arrived, Document, Note, Outcome
from hub.flows.model import Input
from hub.flows.state import Instance, plain
from hub.mapping import Context

__all__ = ["Seen"]


class Seen:
    """``instance`` is changed in place; what follows is gathered in ``out``."""

    def __init__(self, definition: Definition, instance: Instance, now: int) -> None:
        self.definition = definition
        self.instance = instance
        self.now = now
        self.out = Outcome(instance)

    def context(self, **more: Any) -> Context:
        one = self.instance
        own = {
            "flow": {
                "id": one.id,
                "key": one.key,
                "name": one.flow,
                "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.started_at / 1e6)),
            },
            "doc": {name: doc["data"] for name, doc in one.docs.items()},
            "version": {name: doc["version"] for name, doc in one.docs.items()},
            "choice": one.choices,
            "error": one.error,
        }
        return Context(variables={**one.vars, **own, **more}, now_us=self.now)

    def values(
        self, expressions: Mapping[str, str], tree: Any, codec: str, context: Context | None = None
    ) -> dict[str, Any]:
        """Variables from a tree. Raises :class:`HubError`."""
        context = context or self.context()
        evaluate = self.definition.evaluate
        return {name: plain(evaluate(text, tree, context, codec)) for name, text in expressions.items()}

    def holds(self, text: str) -> bool:
        """A condition on the variables. Raises :class:`HubError`."""
        return not text or bool(self.definition.evaluate(text, self.instance.vars, self.context()))

    def note(self, what: str, step: str = "", text: str = "", message_id: int = 0) -> None:
        self.out.notes.append(Note(what, step, text, message_id))

    def meant(self, given: Input, arrived: Arrived) -> bool:
        """Whether a message is one of these, and for this instance. Raises :class:`HubError`."""
        if not self.definition.fits(given, arrived.place, arrived.type):
            return False
        context = self.context()
        codec = self.definition.codec_of(given.source)
        if self.definition.key(given, arrived.tree, context) != self.instance.key:
            return False
        return not given.when or bool(self.definition.evaluate(given.when, arrived.tree, context, codec))

    def take(self, given: Input, arrived: Arrived, step: str) -> dict[str, Any]:
        """Variables and document of a message. Raises :class:`HubError`, and nothing is changed."""
        one, codec = self.instance, self.definition.codec_of(given.source)
        found = self.values(given.set, arrived.tree, codec)
        if given.document:
            context = self.context()
            data = plain(self.definition.evaluate(given.data, arrived.tree, context, codec)) if given.data else found
            version = one.docs.get(given.document, {}).get("version", 0) + 1
            one.docs[given.document] = {"version": version, "data": data}
            self.out.documents.append(Document(given.document, version, data, arrived.message_id))
        one.vars.update(found)
        self.note("received", step, arrived.type, arrived.message_id)
        return found
