"""Runs the replay sets of interfaces without a mapping: kept messages are read, named, keyed and checked as intake and delivery do.

Nothing is called or stored, so security is left out: a case of a protected interface is the message as it is once it was opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.api import Bound
from hub.checking.checks import Checks, record_of, run
from hub.checking.load import make_slow
from hub.contract import IntakeConfig, RetryPolicy
from hub.delivery.plan import Plan, StepError
from hub.errors import ConfigError, HubError, Problem
from hub.i18n import t
from hub.ids import id_text
from hub.intake.source import KEY_LENGTH, Source, check_names, read, too_large
from hub.mapping import Context
from hub.mapping_tools.cases import read_beside
from hub.mapping_tools.steps import MISSING
from hub.mapping_tools.testing import Difference, written_input
from hub.mapping_tools.workbench import instant, message_id
from hub.masking import mask_text
from hub.message import CheckRecord, CheckVerdict, Delivery, Message
from hub.metrics import InboundStats
from hub.router import order_key_of, type_matcher
from hub.simulator.binding import bound_interfaces
from hub.simulator.invent import invent
from hub.simulator.keys import KeyBook
from hub.verify.kept_cases import KeptCase, KeptSet, Received, Sent, load_kept
from hub.verify.site import Subject, VerifySite
from hub.yaml_source import Document

__all__ = ["replay_kept"]

#: Of the message received, and of the delivery: the contract decides nothing by them.
_MESSAGE, _DELIVERY = 1, 2


@dataclass(slots=True)
class _Made:
    """What became of a message, by the keys of a case."""

    values: dict[str, Any] = field(default_factory=dict)
    findings: list[tuple[str, str]] = field(default_factory=list)  # rule, place
    refused: str = ""
    why: str = ""  # of ``refused``

    def refuse(self, error: HubError) -> None:
        self.refused, self.why = error.code, error.text

    def checked(self, checks: Checks, record: CheckRecord) -> None:
        self.findings = [(one["rule"], one["place"]) for one in record.findings]
        if record.verdict is CheckVerdict.REFUSED:
            self.refuse(checks.failure(record))


def replay_kept(site: VerifySite, subject: Subject, name: str, file: Path) -> list[Problem]:
    """Everything in the set of interface ``name`` that is no longer so, with file, line and key; empty: all is as kept."""
    kept = load_kept(file, subject.plugin.contract.interfaces[name].direction)
    if kept.document is None:
        return kept.problems
    try:
        bound = _bound(site, subject, name, kept.around.settings)
    except HubError as error:
        found = error.problems if isinstance(error, ConfigError) else [Problem(error.text, remedy=error.remedy)]
        return [_unbound(kept.document, problem) for problem in found]
    return [problem for number in range(len(kept.cases)) for problem in _replayed(site, bound, kept, number)]


def _unbound(document: Document, problem: Problem) -> Problem:
    """Why there is no interface to try: a setting of the set, or what is wrong with the contract or what it names."""
    setting = problem.key.partition(".settings")
    if setting[1]:
        name = setting[2].removeprefix(".")
        path = ("defaults", "settings", name) if name else ("defaults", "settings")
        return document.problem(problem.text, path, remedy=problem.remedy)
    where = ": ".join(part for part in (Path(problem.file).name, problem.key, problem.text) if part)
    return document.problem(where, remedy=problem.remedy)


def _bound(site: VerifySite, subject: Subject, name: str, settings: Mapping[str, Any]) -> Bound:
    """The interface as a hub has it, settings that are needed and not given being invented; raises :class:`HubError`."""
    plugin = subject.plugin
    given = {**subject.declared.settings, **settings}
    known = {key: value for key, value in given.items() if key in plugin.contract.settings}
    made = invent(plugin, known, KeyBook(), "127.0.0.1", [name])
    unknown = {key: value for key, value in given.items() if key not in known}
    open_ = {name: {"security": None}}
    found = bound_interfaces(
        plugin, site.registry, site.mappings, made | unknown, [name], open_, site.loaded.schema_folders
    )
    return found[name]


def _replayed(site: VerifySite, bound: Bound, kept: KeptSet, number: int) -> Iterator[Problem]:
    case, document = kept.cases[number], kept.document
    assert document is not None  # noqa: S101 - there are cases
    now = instant(case.now or kept.around.now)
    try:
        raw = _raw(bound, kept, case)
    except HubError as error:
        yield document.problem(error.text, ("cases", number), remedy=error.remedy)
        return
    if isinstance(case, Received):
        made = _received(bound, case, raw, now)
        wanted: dict[str, Any] = {"type": case.type, "control_id": case.control_id, "keys": case.keys}
    else:
        kind = case.message.type
        if not type_matcher(bound.contract.accepts)(kind):
            text = t(f"the interface does not take type {kind!r}", f"接口不接收类型 {kind!r}")
            remedy = t(
                f"message: {{type: …}} is one of {', '.join(bound.contract.accepts)}",
                f"message: {{type: …}} 应为 {'、'.join(bound.contract.accepts)}",
            )
            yield document.problem(text, ("cases", number, "message", "type"), remedy=remedy)
            return
        made = _sent(site, bound, case, raw, now)
        wanted = {"order_key": case.order_key, "idempotency": case.idempotency, "path": case.path}
    yield from _compared(document, number, case, wanted, made)


def _raw(bound: Bound, kept: KeptSet, case: KeptCase) -> bytes:
    """The message of a case as it is received; raises :class:`HubError`."""
    if case.input_file:
        return read_beside(kept.file, case.input_file)
    encoding = bound.contract.encoding
    if isinstance(case.input, str):
        return written_input(case.input, bound.codec.name, encoding)[0]
    return bound.codec.encode(case.input, encoding=encoding)


# -- what becomes of it --------------------------------------------------------------------------------------------------


def _received(bound: Bound, case: Received, raw: bytes, now: int) -> _Made:
    source, made = Source(bound, IntakeConfig(), InboundStats()), _Made()
    context = Context(settings=bound.settings, message=None, now_us=now, variables=case.variables)
    try:
        if len(raw) > source.max_size:
            raise too_large(len(raw), source.max_size)
        found = read(source, raw)
        if isinstance(found, Exception):
            raise found
        tree, kind, own_control, _ = found
        kind, control_id = source.names(tree, context, kind, own_control, case.message.control_id)
        keys = source.keys_of(tree, context)
        check_names(kind, control_id)
        made.values = {"type": kind, "control_id": control_id, "keys": keys}
        context.message = Message(_MESSAGE, now, bound.place, kind, control_id, raw, keys, codec=bound.codec.name)
        if bound.checks is not None:
            made.checked(bound.checks, _checked(bound.checks, raw, tree, context))
    except HubError as error:
        made.refuse(error)
    except Exception as error:  # a bug in a plugin's codec or function: intake refuses it so
        made.refuse(HubError(type(error).__name__, code="hub.unexpected"))
    return made


def _sent(site: VerifySite, bound: Bound, case: Sent, raw: bytes, now: int) -> _Made:
    facts, made = case.message, _Made()
    made.values["path"] = str(bound.contract.connect.get("path", ""))
    message = Message(
        id=message_id(facts.id),
        received_at=instant(facts.received_at) if facts.received_at else now,
        source=facts.source,
        type=facts.type,
        control_id=facts.control_id,
        raw=raw,
        keys=facts.keys,
        codec=bound.codec.name,
        correlation=facts.correlation,
    )
    delivery = Delivery(_DELIVERY, message.id, "", bound.place, message=message)
    plan = Plan(bound, site.deployment, RetryPolicy())
    try:
        message.tree = bound.codec.decode(raw, encoding=bound.contract.encoding)
        ordered = order_key_of(bound, bound.codec.name)(message.tree, Context(message=message, now_us=now))
        made.values["order_key"] = ordered[:KEY_LENGTH]
        prepared = plan.prepare(delivery, now)
        own = prepared.idempotency_key
        made.values["idempotency"] = "" if own == id_text(_DELIVERY) else own
        for body in prepared.bodies:
            tree = bound.codec.decode(body, encoding=bound.contract.encoding)
            if bound.checks is not None:
                record = _checked(bound.checks, body, tree, plan.context(delivery, now))
                made.checked(bound.checks, record)
    except StepError as error:
        made.refuse(error.error)
    except HubError as error:
        made.refuse(error)
    return made


def _checked(checks: Checks, raw: bytes, tree: Any, context: Context) -> CheckRecord:
    slow = make_slow(checks.slow.body).validators if checks.slow is not None else ()
    return record_of(checks, run((*checks.fast, *slow), raw, tree, context))


# -- comparing -----------------------------------------------------------------------------------------------------------


def _compared(
    document: Document, number: int, case: KeptCase, wanted: Mapping[str, Any], made: _Made
) -> Iterator[Problem]:
    def told(difference: Difference, path: Sequence[str | int], more: str = "") -> Problem:
        _, expected, found = difference.shown(clear=False)
        text = t(f"{case.name}: expected {expected}, found {found}", f"{case.name}：应为 {expected}，实为 {found}")
        return document.problem(text + more, ("cases", number, *path))

    for key, value in wanted.items():
        found = made.values.get(key, {} if isinstance(value, dict) else "")
        if not isinstance(value, dict):
            if value != found:
                yield told(Difference(key, value or MISSING, found or MISSING), (key,))
            continue
        for name in sorted(value.keys() | found.keys()):
            old, new = value.get(name, MISSING), found.get(name, MISSING)
            if old != new:
                yield told(Difference(name, old, new), (key, name))
    left = list(made.findings)
    for index, one in enumerate(case.findings):
        if (one.rule, one.place) in left:
            left.remove((one.rule, one.place))
        else:
            yield told(Difference("finding", _finding(one.rule, one.place), MISSING), ("findings", index))
    for rule, place in left:
        yield told(Difference("finding", MISSING, _finding(rule, place)), ("findings",))
    if case.refused != made.refused:
        more = f" ({mask_text(made.why)})" if made.why else ""
        yield told(Difference("refused", case.refused or MISSING, made.refused or MISSING), ("refused",), more)


def _finding(rule: str, place: str) -> str:
    return f"{rule} {place}".strip()
