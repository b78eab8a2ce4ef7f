"""What people decide about an instance: manual steps, what is held, and breaking it off."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from hub.errors import HubError
from hub.flows.events import Cancelled, Completed, Retried
from hub.flows.model import Step
from hub.flows.run import Run
from hub.flows.state import Record
from hub.i18n import t

__all__ = ["FlowError", "cancelled", "completed", "retried"]

_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")


class FlowError(HubError):
    """An order that can't be carried out now."""

    code = "flow.state"


def completed(run: Run, event: Completed) -> str:
    step, _ = _at(run, event.step)
    if step.manual is None:
        raise FlowError(t(f"{step.id} is not a manual step", f"{step.id} 不是人工步骤"))
    choice = step.manual.choices.get(event.choice)
    if choice is None:
        known = ", ".join(step.manual.choices)
        raise FlowError(
            t(f"no choice {event.choice!r}; there are: {known}", f"没有选项 {event.choice!r}；可选：{known}")
        )
    found = _filled(step, event.fields)
    run.instance.vars.update(found)
    run.instance.choices[step.id] = event.choice
    run.note("completed", step.id, f"{event.actor}: {event.choice}")
    run.complete(step, found, on=False)
    run.jump(step, choice.goto, choice.end)
    return "done"


def _filled(step: Step, given: dict[str, Any]) -> dict[str, Any]:
    """What a person filled in, checked."""
    assert step.manual is not None  # noqa: S101 - asked by the caller
    fields = step.manual.fields
    for name in given:
        if name not in fields:
            known = ", ".join(fields) or "-"
            raise FlowError(t(f"no field {name!r}; there are: {known}", f"没有字段 {name!r}；可填：{known}"))
    found: dict[str, Any] = {}
    for name, field in fields.items():
        value = given.get(name)
        if value in (None, ""):
            if field.required:
                raise FlowError(t(f"{name} must be filled in", f"{name} 必填"))
            continue
        value = _as(field.type, value)
        if value is None:
            raise FlowError(t(f"{name} must be a {field.type}", f"{name} 类型须为 {field.type}"))
        if isinstance(value, str) and len(value) > field.max_length:
            raise FlowError(
                t(f"{name} is longer than {field.max_length} characters", f"{name} 超过 {field.max_length} 个字符")
            )
        found[name] = value
    return found


def _as(kind: str, value: Any) -> Any:
    """What was filled in as its kind, also where it came as text; None where it is none."""
    if kind == "boolean":
        return value if isinstance(value, bool) else {"true": True, "false": False}.get(str(value))
    if kind == "text":
        return value if isinstance(value, str) else None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return Decimal(value) if "." in value else int(value)
    return value if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else None


def _at(run: Run, step_id: str) -> tuple[Step, Record]:
    found = next(((s, r) for s, r in run.live() if s.id == step_id), None)
    if found is None or run.instance.closing is not None:
        now = ", ".join(s.id for s, _ in run.live()) or "-"
        raise FlowError(t(f"the flow is not at {step_id!r} but at: {now}", f"流程不在 {step_id!r}，当前步骤：{now}"))
    return found


def retried(run: Run, event: Retried) -> str:
    closing = run.instance.closing
    if closing is not None:
        if not closing.held:
            raise FlowError(t("what was done is just being undone", "正在执行补偿"))
        run.note("retried", closing.step, event.actor + (" skip" if event.skip else ""))
        if event.skip:
            run.undone("skipped")
        else:
            run.undo_send()
        return "done"
    held = [s.id for s, r in run.live() if r.state == "held"]
    wanted = event.step or (held[0] if len(held) == 1 else "")
    if wanted not in held:
        raise FlowError(
            t(f"held are: {', '.join(held) or '-'}; say which", f"挂起的步骤：{', '.join(held) or '-'}，请指明")
        )
    step, record = _at(run, wanted)
    run.note("retried", step.id, event.actor + (" skip" if event.skip else ""))
    if event.skip:
        run.stray(step, record)
        run.drop_inside(step)
        record.state, record.ended, record.sent = "skipped", run.now, ""
        run.jump(step, "", None)
    elif step.send is not None and record.tries:
        run.stray(step, record)
        run.send_again(step, record)
    else:
        run.drop_inside(step)
        run.begin(step.id)
    return "done"


def cancelled(run: Run, event: Cancelled) -> str:
    if run.instance.closing is not None:
        raise FlowError(t("what was done is being undone already", "已在执行补偿"))
    run.note("cancelled", text=event.actor)
    run.finish("cancelled", "cancelled", event.reason)
    return "done"
