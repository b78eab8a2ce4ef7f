"""Going through the steps of one instance, from what has just happened until everything waits again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hub.codecs.json_codec import JsonCodec
from hub.errors import HubError
from hub.flows.definition import Definition
from hub.flows.events import Arrived
from hub.flows.model import End, Step, Then
from hub.flows.state import WAITING, Closing, Instance, Record
from hub.flows.undoing import Undoing
from hub.i18n import t
from hub.masking import mask_text
from hub.router import type_matcher

__all__ = ["Run", "Unpack"]

_JSON = JsonCodec()
#: Steps one event may lead through: more is a loop without an end.
_MOST_STEPS = 1000
_COMPLETED = End(name="completed")
#: Gives back the message that :attr:`~hub.flows.events.Arrived.pack` was made of.
Unpack = Callable[[dict[str, Any]], Arrived]


class Run(Undoing):
    """Works on ``instance``, which belongs to it. ``now``: microseconds since the epoch."""

    def __init__(self, definition: Definition, instance: Instance, now: int, unpack: Unpack) -> None:
        super().__init__(definition, instance, now)
        self._unpack = unpack
        self._agenda: list[tuple[str, str | None]] = []
        self._count = 0

    # -- going on ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._agenda.append(("", self.definition.lists[""][0]))
        self.proceed()

    def proceed(self) -> None:
        """Until everything waits, or the flow has ended."""
        while self._agenda and self.instance.closing is None and self.instance.open:
            name, step = self._agenda.pop(0)
            self._count += 1
            if self._count > _MOST_STEPS:
                text = t(f"more than {_MOST_STEPS} steps without a wait", f"连续执行超过 {_MOST_STEPS} 个步骤而无等待")
                self.instance.error = {"code": "flow.loop", "text": text, "step": step or ""}
                return self.finish("failed", "failed", text)
            if step is None:
                self._list_ended(name)
            else:
                self.begin(step)

    def begin(self, step_id: str) -> None:
        """Enter a step."""
        one, step = self.instance, self.definition.steps[step_id]
        one.at[self.definition.list_of[step_id]] = step_id
        before = one.steps.get(step_id)
        record = one.steps[step_id] = Record(run=before.run + 1 if before else 1, since=self.now)
        try:
            if not self.holds(step.when):
                record.state, record.ended = "skipped", self.now
                self.note("skipped", step_id)
                return self._next(step_id)
            getattr(self, f"_begin_{step.kind}")(step, record)
        except HubError as error:
            self.fail(step, error.code, error.text)

    def _begin_set(self, step: Step, record: Record) -> None:
        found = self.values(step.set or {}, self.instance.vars, "json")
        self.instance.vars.update(found)
        self.complete(step)

    def _begin_end(self, step: Step, record: Record) -> None:
        assert step.end is not None  # noqa: S101 - by its kind
        record.state, record.ended = "done", self.now
        self.finish_by(step.end)

    def _begin_delay(self, step: Step, record: Record) -> None:
        record.due, record.timed = self.now + int((step.delay or 0) * 1e6), "delay"
        self.note("waits", step.id)

    def _begin_choose(self, step: Step, record: Record) -> None:
        for number, case in enumerate(step.choose or ()):
            if not self.holds(case.when):
                continue
            self.note("chosen", step.id, case.when)
            if case.steps:
                self._agenda.append((f"{step.id}.{number}", case.steps[0].id))
                return
            record.state, record.ended = "done", self.now
            return self.jump(step, case.goto, case.end)
        self.complete(step)

    def _begin_parallel(self, step: Step, record: Record) -> None:
        for name in self.definition.below(step.id):
            ids = self.definition.lists[name]
            self._agenda.append((name, ids[0] if ids else None))
        self.note("begun", step.id)

    def _begin_repeat(self, step: Step, record: Record) -> None:
        record.rounds = 1
        self._agenda.append((f"{step.id}.steps", self.definition.lists[f"{step.id}.steps"][0]))
        self.note("begun", step.id)

    def _begin_send(self, step: Step, record: Record) -> None:
        assert step.send is not None  # noqa: S101 - by its kind
        if step.send.within:
            record.due, record.timed = self.now + int(step.send.within * 1e6), "timeout"
        self.send(step, record)

    def send(self, step: Step, record: Record) -> None:
        """A message of its own for each try. Raises :class:`HubError`."""
        assert step.send is not None  # noqa: S101 - by its kind
        control = f"{self.instance.id}/{step.id}/{record.run}.{record.tries + 1}"
        self.emit(step, step.send, control, undo=False, context=self.context())
        record.tries += 1
        record.state, record.sent, record.delivered, record.early = "active", control, False, None
        record.dead = False
        record.code = record.text = ""

    def _begin_wait(self, step: Step, record: Record) -> None:
        assert step.wait is not None  # noqa: S101 - by its kind
        if step.wait.within:
            record.due, record.timed = self.now + int(step.wait.within * 1e6), "timeout"
        self.note("waits", step.id)
        for kept in list(self.instance.parked):
            try:
                if self.offer(step, self._unpack(kept)):
                    self.instance.parked.remove(kept)
                    return
            except HubError as error:  # of its content: it can't be taken by this step, nor wait for another
                self.instance.parked.remove(kept)
                self.note("refused", step.id, mask_text(error.text), int(kept.get("message", 0)))

    def _begin_manual(self, step: Step, record: Record) -> None:
        assert step.manual is not None  # noqa: S101 - by its kind
        if step.manual.within:
            record.due, record.timed = self.now + int(step.manual.within * 1e6), "timeout"
        self.note("waits", step.id, step.manual.role)

    # -- messages ------------------------------------------------------------------------------------------------

    def offer(self, step: Step, arrived: Arrived) -> bool:
        """Let a waiting step have a message; False where it is not what the step waits for. Raises :class:`HubError`."""
        assert step.wait is not None  # noqa: S101 - by its kind
        for given in step.wait.inputs:
            if self.meant(given, arrived):
                found = self.take(given, arrived, step.id)
                if given.goto:
                    self.complete(step, found, on=False)
                    self.jump(step, given.goto, None)
                else:
                    self.complete(step, found)
                return True
        return False

    def live(self) -> list[tuple[Step, Record]]:
        """Steps the instance is at."""
        one = self.instance
        found = [(self.definition.steps[step], one.steps[step]) for step in one.at.values()]
        return [(step, record) for step, record in found if record.state in WAITING]

    def send_again(self, step: Step, record: Record) -> None:
        """One more try of a send, as a message of its own."""
        assert step.send is not None  # noqa: S101 - only they are tried again
        if step.send.within:
            record.due, record.timed = self.now + int(step.send.within * 1e6), "timeout"
        try:
            self.send(step, record)
        except HubError as error:
            self.fail(step, error.code, error.text)

    # -- ends of steps -------------------------------------------------------------------------------------------

    def complete(self, step: Step, result: dict[str, Any] | None = None, *, on: bool = True) -> None:
        """A step is done; ``on``: with the next one."""
        record = self.instance.steps[step.id]
        record.state, record.ended, record.due, record.sent = "done", self.now, 0, ""
        record.early = None
        self.to_undo(step, record.run, result or {})
        self.note("done", step.id)
        if on:
            self._next(step.id)

    def _next(self, step: str) -> None:
        self._agenda.append((self.definition.list_of[step], self.definition.next_of(step)))

    def _list_ended(self, name: str) -> None:
        self.instance.at.pop(name, None)
        if not name:
            return self.finish_by(_COMPLETED)
        step = self.definition.steps[self.definition.owner[name]]
        record = self.instance.steps[step.id]
        if step.repeat is not None:
            try:
                over = self.holds(step.repeat.until)
            except HubError as error:
                return self.fail(step, error.code, error.text)
            if over:
                return self.complete(step)
            if record.rounds >= step.repeat.times:
                text = t(f"not fulfilled after {record.rounds} rounds", f"{record.rounds} 轮后条件仍未满足")
                return self.fail(step, "flow.repeat", text)
            record.rounds += 1
            self._agenda.append((name, self.definition.lists[name][0]))
            return None
        if step.parallel is not None:
            record.through.append(name.partition(".")[2])
            if step.parallel.until == "all" and len(record.through) < len(step.parallel.branches):
                return None
            self.drop_inside(step)
        self.complete(step)
        return None

    def fail(self, step: Step, code: str, text: str) -> None:
        """A step has failed: what its ``on_error`` says."""
        record = self.instance.steps[step.id]
        record.code, record.text = code, mask_text(text)
        self.instance.error = {"code": code, "text": record.text, "step": step.id}
        self.note("failed", step.id, f"{code}: {record.text}" if code else record.text)
        rule = self.definition.on_error(step)
        then = next((found for pattern, found in rule.codes.items() if _like(pattern, code)), None)
        if then is None and rule.retry is not None and step.send is not None and record.tries <= rule.retry.times:
            self.stray(step, record)
            record.state, record.sent = "active", ""
            record.due, record.timed = self.now + int(rule.retry.every * 1e6), "retry"
            return
        self.follow(step, then or rule.then)

    def follow(self, step: Step, then: Then) -> None:
        """What follows where a step did not come to its usual end."""
        record = self.instance.steps[step.id]
        if then.do == "hold":
            record.state, record.due = "held", 0
            self.note("held", step.id)
            return
        self.stray(step, record)
        self.drop_inside(step)
        record.state, record.ended, record.due, record.sent = "failed", self.now, 0, ""
        if then.do == "continue":
            self._next(step.id)
        elif then.do == "fail":
            self.finish("failed", "failed", record.text)
        else:
            self.jump(step, then.goto, then.end)

    def stray(self, step: Step, record: Record) -> None:
        """What a step has sent goes on without it: should it have its effect, that is to be undone."""
        if not record.sent or record.dead or step.compensate is None:
            return
        if record.delivered:
            self.to_undo(step, record.run, {})
        else:
            self.instance.strays[record.sent] = step.id

    def jump(self, step: Step, goto: str, end: End | None) -> None:
        """Go on elsewhere; with neither, at the next step."""
        if end is not None:
            return self.finish_by(end)
        if not goto:
            return self._next(step.id)
        name = self.definition.list_of[goto]
        here = self.instance.at.get(name)
        if here is not None and here != step.id:
            self.drop(here)
        self._agenda = [entry for entry in self._agenda if entry[0] != name]
        self._agenda.append((name, goto))
        return None

    def drop(self, step_id: str) -> None:
        """Leave a step, with everything in it."""
        step, record = self.definition.steps[step_id], self.instance.steps[step_id]
        for name in self.definition.below(step_id):
            self._drop_list(name)
        if record.state in WAITING:
            self.stray(step, record)
            record.state, record.ended, record.due, record.sent = "dropped", self.now, 0, ""
            self.note("dropped", step_id)

    def _drop_list(self, name: str) -> None:
        self._agenda = [entry for entry in self._agenda if entry[0] != name]
        step = self.instance.at.pop(name, None)
        if step is not None:
            self.drop(step)

    def drop_inside(self, step: Step) -> None:
        """Leave what is within a step."""
        for name in self.definition.below(step.id):
            self._drop_list(name)

    # -- the end -------------------------------------------------------------------------------------------------

    def finish_by(self, end: End) -> None:
        self.finish("ended", end.name, "", undo=end.compensate)

    def finish(self, state: str, end: str, reason: str, *, undo: bool = True) -> None:
        """Leave everything; where ``undo``, undo what was done, the last first, and only then end."""
        one = self.instance
        self._drop_list("")
        self._agenda.clear()
        one.deadline = 0
        one.closing = Closing(state, end, reason)
        if not undo:
            one.undo.clear()
            one.strays.clear()
        elif one.undo or one.strays:
            self.note("compensating", text=reason)
        self.undo_next()


def _like(pattern: str, text: str) -> bool:
    return type_matcher([pattern])(text)
