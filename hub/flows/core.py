"""The heart of flows: what follows from an event, as a pure function of the definition, the instance and the event.

No clock, no file, no network: given the same, it says the same. An event that has had its effect has none when it comes again, since
what it refers to (a message that is awaited, a step that waits) is not there any more; deliveries that are repeated are kept out
before, by their number (:mod:`hub.flows.store`).
"""

from __future__ import annotations

import copy
from typing import Any

from hub.errors import HubError
from hub.flows.decisions import FlowError, cancelled, completed, retried
from hub.flows.definition import Definition
from hub.flows.events import Arrived, Cancelled, Completed, Event, Outcome, Retried, Settled, Tick
from hub.flows.model import Input, Step
from hub.flows.packing import keepable, must_fit
from hub.flows.run import Run, Unpack
from hub.flows.state import WAITING, Instance, Record
from hub.i18n import t

__all__ = ["FlowError", "advance", "begin"]


def begin(definition: Definition, instance_id: str, key: str, given: Input, arrived: Arrived, now: int) -> Outcome:
    """A new instance from a message. Raises :class:`HubError` for a message it can't be made of."""
    one = Instance(instance_id, definition.flow, definition.version, key, now)
    if definition.model.deadline is not None:
        one.deadline = now + int(definition.model.deadline.after * 1e6)
    run = Run(definition, one, now, _nothing)
    run.note("started", text=arrived.type, message_id=arrived.message_id)
    run.take(given, arrived, "")
    run.start()
    return _ended(run, "started")


def advance(definition: Definition, instance: Instance, event: Event, now: int, unpack: Unpack) -> Outcome:
    """What follows; ``instance`` stays as it is.

    Raises :class:`HubError` for a message whose content can't be taken and for an order that can't be carried out: nothing has
    happened then.
    """
    run = Run(definition, copy.deepcopy(instance), now, unpack)
    if not instance.open:
        if isinstance(event, Completed | Retried | Cancelled):
            raise FlowError(t("the flow has ended", "流程已结束"))
        if isinstance(event, Arrived):
            run.note("late", text=event.type, message_id=event.message_id)
        return run.out
    if isinstance(event, Arrived):
        verdict = _arrived(run, event)
    elif isinstance(event, Settled):
        verdict = _settled(run, event)
    elif isinstance(event, Tick):
        verdict = _tick(run)
    elif isinstance(event, Completed):
        verdict = completed(run, event)
    elif isinstance(event, Retried):
        verdict = retried(run, event)
    else:
        verdict = cancelled(run, event)
    return _ended(run, verdict)


def _nothing(pack: dict[str, Any]) -> Arrived:
    raise AssertionError("a new instance has kept nothing")


def _ended(run: Run, verdict: str) -> Outcome:
    one = run.instance
    run.proceed()
    if one.closing is not None:
        one.state = "held" if one.closing.held else "compensating"
    elif one.open:
        one.state = "held" if any(r.state == "held" for _, r in run.live()) else "running"
    one.updated_at = run.now
    run.out.verdict = verdict
    return run.out


# -- messages --------------------------------------------------------------------------------------------------------


def _arrived(run: Run, event: Arrived) -> str:
    one = run.instance
    if event.answers and _called_back(run, event):
        return "taken"
    if one.closing is None:
        for step, _ in run.live():
            if step.wait is not None and run.offer(step, event):
                return "taken"
    if any(step and run.meant(given, event) for step, given in run.definition.inputs()) and one.closing is None:
        if any(kept.get("event") == event.event for kept in one.parked):
            return "kept"
        pack = keepable(event.pack)
        must_fit(len(one.parked) + 1, sum(len(kept.get("raw", "")) for kept in (*one.parked, pack)))
        one.parked.append({**pack, "event": event.event, "type": event.type, "message": event.message_id})
        run.note("kept", text=event.type, message_id=event.message_id)
        return "kept"
    run.note("ignored", text=event.type, message_id=event.message_id)
    return "ignored"


def _called_back(run: Run, event: Arrived) -> bool:
    for step, record in run.live():
        if step.send is None or record.sent != event.answers or step.send.until != "callback":
            continue
        try:
            codec = run.definition.codec_of(event.place)
            found = run.values(step.send.callback, event.tree, codec)
        except HubError as error:
            run.note("received", step.id, event.type, event.message_id)
            run.to_undo(step, record.run, {})
            run.fail(step, error.code, error.text)
            return True
        run.note("received", step.id, event.type, event.message_id)
        if record.delivered:
            run.instance.vars.update(found)
            run.complete(step, found)
        else:
            record.early = found  # the reply, whose fields may be needed, is still to come
        return True
    return False


# -- what became of what was sent -----------------------------------------------------------------------------------


def _settled(run: Run, event: Settled) -> str:
    one, closing = run.instance, run.instance.closing
    if closing is not None and closing.sent == event.sent:
        if event.delivered:
            run.undone()
        elif not closing.held:
            run.undo_failed(event.code, event.text)
        return "done"
    if event.sent in one.strays:
        step_id = one.strays.pop(event.sent)
        if event.delivered or event.unknown:
            run.to_undo(run.definition.steps[step_id], int(event.sent.rpartition("/")[2].partition(".")[0]), {})
        if closing is not None:
            run.undo_next()
        return "done"
    for step, record in run.live():
        if step.send is not None and record.sent == event.sent:
            _sent(run, step, record, event)
            return "done"
    return "ignored"


def _sent(run: Run, step: Step, record: Record, event: Settled) -> None:
    send = step.send
    assert send is not None  # noqa: S101 - asked by the caller
    if record.delivered:
        return  # told already, and asked for again every few seconds while the later answer is awaited
    if not event.delivered and record.early is None:
        if record.state == "held" and record.code == event.code:
            return  # told already
        record.dead = True
        if event.unknown:
            run.to_undo(step, record.run, {})
        run.fail(step, event.code, event.text)
        return
    found: dict[str, Any] = {}
    if event.delivered and send.reply:
        try:
            if event.broken:
                raise HubError(event.broken, code="flow.reply")
            context = run.context(status=event.status, code=event.code)
            codec = run.definition.codec_of(f"reply:{send.to}")
            found = run.values(send.reply, event.tree, codec, context)
        except HubError as error:
            if record.state == "held" and record.code == error.code:
                return  # told already
            run.to_undo(step, record.run, {})
            run.fail(step, error.code, error.text)
            return
    run.instance.vars.update(found)
    record.delivered, record.dead = True, False
    if send.until == "callback":
        if record.early is None:
            if record.state == "held" and record.code != "flow.timeout":  # its dead letter was sent again
                record.state, record.code, record.text = "active", "", ""
            run.note("delivered", step.id)
            return
        run.instance.vars.update(record.early)
        found.update(record.early)
    run.complete(step, found)


# -- time ------------------------------------------------------------------------------------------------------------


def _tick(run: Run) -> str:
    one = run.instance
    if one.closing is not None:
        return "ignored"
    happened = "ignored"
    for step, record in sorted(run.live(), key=lambda pair: pair[1].due):
        if not record.due or record.due > run.now or record.state not in WAITING or one.closing is not None:
            continue
        happened = "done"
        timed, record.due = record.timed, 0
        if timed == "delay":
            run.complete(step)
        elif timed == "retry":
            run.send_again(step, record)
        else:
            _timeout(run, step, record)
        run.proceed()
    if one.closing is None and one.open and one.deadline and one.deadline <= run.now:
        happened = "done"
        _deadline(run)
    return happened


def _timeout(run: Run, step: Step, record: Record) -> None:
    part = step.send or step.wait or step.manual
    assert part is not None  # noqa: S101 - only they have a timeout
    record.code, record.text = "flow.timeout", t("not in time", "超时")
    run.instance.error = {"code": record.code, "text": record.text, "step": step.id}
    run.note("timeout", step.id)
    run.follow(step, part.on_timeout)


def _deadline(run: Run) -> None:
    one, rule = run.instance, run.definition.model.deadline
    assert rule is not None  # noqa: S101 - there is a time
    text = t("the flow was not through in time", "流程未在期限内完成")
    one.deadline = 0
    one.error = {"code": "flow.deadline", "text": text, "step": ""}
    run.note("deadline")
    then = rule.then
    if then.do == "fail":
        run.finish("failed", "failed", text)
    elif then.end is not None:
        run.finish_by(then.end)
    elif then.goto:
        here = run.definition.steps[one.at[""]]
        run.drop(here.id)
        run.jump(here, then.goto, None)
    elif then.do == "hold":
        for step, record in run.live():
            if not run.definition.below(step.id):  # what is around others goes on when they do
                record.state, record.due = "held", 0
                record.code, record.text = "flow.deadline", text
