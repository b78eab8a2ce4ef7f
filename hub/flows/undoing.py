"""Undoing what an instance has done, step by step, the last first; and what it sends."""

from __future__ import annotations

from typing import Any

from hub.codecs.json_codec import JsonCodec
from hub.errors import HubError
from hub.flows.definition import route_of
from hub.flows.events import Sending
from hub.flows.model import Send, Step
from hub.flows.seen import Seen
from hub.flows.state import Undo, plain
from hub.mapping import Context
from hub.masking import mask_text

__all__ = ["Undoing"]

_JSON = JsonCodec()


class Undoing(Seen):
    """``instance.closing`` says what is being undone, and how the instance ends afterwards."""

    def emit(self, step: Step, send: Send, control: str, *, undo: bool, context: Context) -> None:
        """Put a message into the outbox. Raises :class:`HubError`, and there is none."""
        one = self.instance
        tree = dict(one.vars) if send.fields is None else plain(self.definition.build(send.fields, one.vars, context))
        route = route_of(one.flow, step.id, one.version, undo=undo)
        name = self.definition.type_of(step.id, send)
        self.out.sendings.append(Sending(control, step.id, undo, send.to, name, route, _JSON.encode(tree)))
        self.note("undoing" if undo else "sends", step.id, send.to)

    def to_undo(self, step: Step, run: int, result: dict[str, Any]) -> None:
        if step.compensate is None:
            return
        known = next((u for u in self.instance.undo if (u.step, u.run) == (step.id, run)), None)
        if known is not None:
            known.result.update(result)
        else:
            self.instance.undo.append(Undo(step.id, run, result))

    def undo_next(self) -> None:
        """Undo one more step; once there is none, the flow has ended."""
        one, closing = self.instance, self.instance.closing
        assert closing is not None  # noqa: S101 - asked by callers
        if one.strays:  # they may still have their effect
            return
        if not one.undo:
            one.state, one.end, one.reason = closing.state, closing.end, closing.reason
            one.closing, one.ended_at = None, self.now
            for kept in one.parked:
                self.note("unused", text=str(kept.get("type", "")), message_id=int(kept.get("message", 0)))
            one.parked.clear()
            self.note("ended", text=one.end)
            return
        entry = one.undo[-1]
        closing.step, closing.run, closing.tries = entry.step, entry.run, 0
        self.undo_send()

    def undo_send(self) -> None:
        """Send what undoes the step in question; one more try."""
        one, closing = self.instance, self.instance.closing
        assert closing is not None  # noqa: S101 - asked by callers
        step, entry = self.definition.steps[closing.step], one.undo[-1]
        assert step.compensate is not None  # noqa: S101 - it would not be in the list
        closing.tries += 1
        closing.held, closing.code, closing.text = False, "", ""
        control = f"{one.id}/{step.id}~undo/{closing.run}.{closing.tries}"
        try:
            self.emit(step, step.compensate, control, undo=True, context=self.context(result=entry.result))
        except HubError as error:
            self.undo_failed(error.code, error.text)
            return
        closing.sent = control

    def undo_failed(self, code: str, text: str) -> None:
        closing = self.instance.closing
        assert closing is not None  # noqa: S101 - asked by callers
        closing.held, closing.code, closing.text = True, code, mask_text(text)
        self.note("undo_failed", closing.step, f"{code}: {closing.text}")

    def undone(self, what: str = "undone") -> None:
        """The step in question is undone, or a person says so."""
        one, closing = self.instance, self.instance.closing
        assert closing is not None  # noqa: S101 - asked by callers
        entry = one.undo.pop()
        record = one.steps.get(entry.step)
        if record is not None and record.run == entry.run:
            record.state = what
        closing.undone.append(entry.step)
        closing.sent, closing.held = "", False
        self.note(what, entry.step)
        self.undo_next()
