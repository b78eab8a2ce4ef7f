"""Instances of flows as JSON, for the admin API and the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hub.flows.definition import Definition
from hub.flows.model import Step
from hub.flows.state import Instance, Record, plain
from hub.ids import id_text
from hub.masking import mask, mask_text

__all__ = ["document_json", "instance_json", "note_json", "sent_json", "step_json", "time_text"]

#: Digits from which on a number may be that of a phone, a card or a case.
_LONG = 7
#: Up to here a number is the same in every program (RFC 8259 section 6).
_EXACT = 2**53 - 1


def time_text(at: int) -> str:
    """UTC; "" for none."""
    return datetime.fromtimestamp(at / 1e6, UTC).isoformat(timespec="milliseconds") if at else ""


def masked(value: Any, clear: bool) -> Any:
    """Texts, and numbers long enough to say who somebody is, keep their shape only, unless ``clear``."""
    if clear:
        return _json(value)
    if isinstance(value, dict):
        return {name: masked(each, clear) for name, each in value.items()}
    if isinstance(value, list):
        return [masked(each, clear) for each in value]
    if isinstance(value, str):
        return mask(value)
    long = isinstance(value, int | float | Decimal) and len(str(value)) >= _LONG
    return mask(str(value)) if long else _json(value)


def _json(value: Any) -> Any:
    """Amounts, and numbers beyond what programs count exactly, as text."""
    if isinstance(value, dict):
        return {name: _json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_json(each) for each in value]
    if isinstance(value, int) and abs(value) > _EXACT:
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(plain(value))


def instance_json(
    one: Instance, definition: Definition | None, *, clear: bool = False, full: bool = False
) -> dict[str, Any]:
    """``full``: with its steps and variables; ``clear``: what they hold unmasked."""
    ends = definition.model.ends if definition is not None else {}
    found: dict[str, Any] = {
        "id": one.id,
        "flow": one.flow,
        "name": definition.model.name if definition is not None else "",
        "version": one.version,
        "key": one.key if clear else mask_text(one.key),
        "state": one.state,
        "end": one.end,
        "end_name": ends.get(one.end, ""),
        "reason": one.reason,
        "started_at": time_text(one.started_at),
        "updated_at": time_text(one.updated_at),
        "ended_at": time_text(one.ended_at),
        "due": time_text(one.due),
        "at": sorted(one.at.values()),
    }
    if one.closing is not None:
        closing = one.closing
        found["closing"] = {
            "end": closing.end,
            "step": closing.step,
            "undone": closing.undone,
            "held": closing.held,
            "code": closing.code,
            "text": closing.text,
        }
    if not full:
        return found
    found["variables"] = masked(one.vars, clear)
    found["documents"] = {name: doc["version"] for name, doc in one.docs.items()}
    found["choices"] = dict(one.choices)
    found["error"] = dict(one.error)
    found["kept"] = [{"type": kept.get("type", ""), "message": id_text(int(kept["message"]))} for kept in one.parked]
    steps = definition.steps if definition is not None else {}
    found["steps"] = [step_json(step, one.steps.get(name), name) for name, step in steps.items()]
    return found


def step_json(step: Step, record: Record | None, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": name,
        "name": step.name,
        "kind": step.kind,
        "state": record.state if record is not None else "",
        "run": record.run if record is not None else 0,
        "tries": record.tries if record is not None else 0,
        "since": time_text(record.since) if record is not None else "",
        "ended": time_text(record.ended) if record is not None else "",
        "due": time_text(record.due) if record is not None else "",
        "code": record.code if record is not None else "",
        "text": record.text if record is not None else "",
    }
    if step.manual is not None and record is not None and record.state in ("active", "held"):
        manual = step.manual
        found["manual"] = {
            "title": manual.title or step.name,
            "role": manual.role,
            "choices": {choice: told.name for choice, told in manual.choices.items()},
            "fields": {
                field: {"name": told.name, "required": told.required, "type": told.type}
                for field, told in manual.fields.items()
            },
            "show": list(manual.show),
        }
    return found


def note_json(note: dict[str, Any]) -> dict[str, Any]:
    message = note["message"]
    return {**note, "at": time_text(note["at"]), "message": id_text(message) if message else ""}


def document_json(document: dict[str, Any], *, clear: bool = False) -> dict[str, Any]:
    found = note_json({**document})
    found["data"] = masked(document["data"], clear)
    return found


def sent_json(sent: Any) -> dict[str, Any]:
    """A message the flow has sent, :class:`hub.flows.store.Outgoing`."""
    states = ("waiting", "sent", "done")
    return {
        "control_id": sent.control,
        "step": sent.step,
        "undo": sent.undo,
        "target": sent.target,
        "type": sent.type,
        "state": states[sent.state],
        "message": id_text(sent.message) if sent.message else "",
    }
