"""Events and instances brought together: each event is one unit of one transaction, with all that follows from it.

Runs in the thread that owns ``flows.db``. What is to be sent lies in the outbox afterwards, in the same commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import apsw

from hub.errors import HubError
from hub.flows.core import advance, begin
from hub.flows.definition import Definition
from hub.flows.events import Arrived, Event, Note, Outcome
from hub.flows.model import Input
from hub.flows.packing import keepable, must_fit, packed, unpacked
from hub.flows.state import Instance
from hub.flows.store import FlowStore, Row
from hub.flows.work import Accepted, Fate, Incoming, Order, Told, Work
from hub.i18n import t
from hub.ids import id_text
from hub.logs import get_logger
from hub.mapping import Context
from hub.masking import mask_text

__all__ = ["Keeper"]

log = get_logger(__name__)

#: Timers looked at in one transaction.
_MOST_DUE = 100
#: What can't be done now though it is due is looked at again after so long, microseconds.
_POSTPONED_US = 60_000_000
#: What ended instances of a flow stay whose definition can't be read any more, seconds: as long as by default.
_KEEP_S = 180 * 86_400.0


class Keeper:
    """``next_id`` makes ids of instances, ``decode`` reads bytes of a place; ``clock``: microseconds since the epoch."""

    def __init__(
        self,
        store: FlowStore,
        next_id: Callable[[], int],
        decode: Callable[[str, bytes], Any],
        clock: Callable[[], int],
    ) -> None:
        self.store = store
        self._next_id = next_id
        self._decode = decode
        self._clock = clock
        self._current: dict[str, Definition] = {}
        self._versions: dict[str, Definition] = {}
        self._codecs: Mapping[str, str] = {}

    def use(self, current: Mapping[str, Definition], codecs: Mapping[str, str]) -> None:
        """Start new instances by these definitions; those that run go on by theirs."""
        self._codecs = codecs
        self._current = dict(current)
        self._versions = {one.version: one for one in current.values()}

    def older(self) -> list[Definition]:
        """Definitions by which something runs, and which are no longer the present ones."""
        found = []
        for version, flow, raw in self.store.open_definitions():
            try:
                one = Definition.read(flow, raw, self._codecs, version)
            except (HubError, ValueError) as error:
                log.error("flow %s: a version something runs by can't be read: %s", flow, error)
                continue
            if one.version not in self._versions:
                self._versions[one.version] = one
            if self._current.get(flow) is None or self._current[flow].version != one.version:
                found.append(one)
        return found

    def definition(self, version: str) -> Definition:
        """Raises :class:`HubError` when it is nowhere."""
        found = self._versions.get(version)
        if found is None:
            stored = self.store.definition(version)
            if stored is None:
                raise HubError(
                    t(f"there is no version {version} of the flow", f"没有流程版本 {version}"), code="flow.version"
                )
            try:
                found = self._versions[version] = Definition.read(*stored, self._codecs, version)
            except ValueError as error:  # accepted by an earlier version of the hub
                raise HubError(
                    t(f"version {version} of the flow can't be read any more", f"流程版本 {version} 已无法读取"),
                    code="flow.version",
                    remedy=t("run the version of the hub that accepted it", "请使用曾接受该定义的枢纽版本"),
                ) from error
        return found

    # -- work ----------------------------------------------------------------------------------------------------

    def handle(self, works: Sequence[Work]) -> list[Told]:
        """All of it in one commit; what fails by itself has no effect and hinders nothing. Raises :class:`HubError` for the whole."""
        told: list[Told] = []
        with self.store.transaction():
            for work in works:
                try:
                    with self.store.part():
                        told.append(self._one(work))
                except HubError as error:
                    told.append(Told(error=error))
                except apsw.Error:
                    raise
                except Exception as error:  # a mistake here, or in a codec: only this piece of work suffers
                    log.exception("flows: a piece of work failed")
                    text = t(f"the hub failed: {type(error).__name__}", f"枢纽处理失败：{type(error).__name__}")
                    told.append(Told(error=HubError(text, code="hub.unexpected")))
        return told

    def _one(self, work: Work) -> Told:
        if isinstance(work, Incoming):
            return self._incoming(work)
        if isinstance(work, Accepted):
            self.store.mark_sent(work.seq, work.message_id)
            return Told("done")
        if isinstance(work, Fate):
            return self._fate(work)
        if isinstance(work, Order):
            row = self.store.instance(work.instance)
            if row is None:
                raise HubError(t("there is no such flow instance", "没有该流程实例"), code="flow.unknown")
            return self._advance(row, work.event)
        for number in self.store.due(self._clock(), _MOST_DUE):
            try:
                with self.store.part():
                    row = self.store.instance(number)
                    if row is not None:
                        self._advance(row, work)
            except apsw.Error:
                raise
            except Exception as error:  # one that can't go on must not keep the timers of all others from passing
                text = error.text if isinstance(error, HubError) else type(error).__name__
                log.error("flow instance %s: %s", id_text(number), mask_text(text))
                self.store.postpone(number, self._clock() + _POSTPONED_US)
        return Told("done")

    def _advance(self, row: Row, event: Event) -> Told:
        definition = self.definition(row.instance.version)
        outcome = advance(definition, row.instance, event, self._clock(), self._unpack)
        if outcome.sendings or outcome.notes or outcome.documents or _changed(row.instance, outcome.instance):
            self._save(row.id, outcome)
        return Told(outcome.verdict, row.id)

    def _save(self, number: int, outcome: Outcome) -> None:
        now = self._clock()
        self.store.put(outcome.instance)
        self.store.enqueue(number, outcome.instance.key, outcome.sendings, now)
        self.store.add_notes(number, outcome.notes, now)
        self.store.add_documents(number, outcome.documents, now)

    def _fate(self, work: Fate) -> Told:
        sent = self.store.sent(control=work.settled.sent)
        row = self.store.instance(sent.instance) if sent is not None else None
        if sent is None or row is None:
            return Told("ignored")
        told = Told("ignored", row.id)
        if sent.state < 2 and work.settled.sent in row.instance.awaited():
            told = self._advance(row, work.settled)
            row = self.store.instance(row.id) or row
        # What was refused never became a message: a further try is one of its own. What nobody waits for any more need not be
        # looked after, dead letters neither: their number would only grow.
        if sent.state == 0 or work.settled.sent not in row.instance.awaited():
            self.store.mark_done(work.settled.sent)
        return told

    # -- messages ------------------------------------------------------------------------------------------------

    def _incoming(self, work: Incoming) -> Told:
        event = f"{work.flow}:{id_text(work.message_id)}" + (f".{work.part}" if work.part else "")
        known = self.store.seen(event)
        if known is not None:
            return Told("duplicate", known)
        arrived = Arrived(
            event,
            work.place,
            work.type,
            work.message_id,
            work.tree,
            packed(work.place, work.raw, work.answers),
            work.answers,
        )
        told = self._place(work, arrived)
        # An answer no step waits for is found again with every look at what it answers.
        if told.verdict != "ignored" or (work.answers and told.instance):
            self.store.note_seen(event, told.instance, self._clock())
        return told

    def _place(self, work: Incoming, arrived: Arrived) -> Told:
        answered = self.store.sent(control=work.answers) if work.answers else None
        unused: Told | None = None
        if answered is not None:
            row = self.store.instance(answered.instance)
            if row is not None:
                told = self._advance(row, arrived)
                if told.verdict != "ignored":
                    return told
                unused = told
        keys = self._keys(work, arrived)
        for key in keys:
            row = self.store.running(work.flow, key)
            if row is not None and (unused is None or unused.instance != row.id):
                told = self._advance(row, arrived)
                if told.verdict != "ignored":
                    return told
                unused = told
        started = self._start(work, arrived)  # by another key it may be the start of one
        if started is not None or unused is not None:
            return started or unused  # type: ignore[return-value]  # one of them there is
        for key, waits in keys.items():
            row = self.store.latest(work.flow, key)
            if row is not None:
                return self._advance(row, arrived)  # has ended: it is noted there
            if waits:
                return self._early(work, arrived, key)
        if keys:
            return Told("ignored")
        raise HubError(
            t(
                "the flow has no use for this message: no type, or no business key",
                "流程不接收此消息：类型不符或缺少业务键",
            ),
            code="flow.unwanted",
            remedy=t("see start and for of the flow", "请查看流程的 start 与 for"),
        )

    def _keys(self, work: Incoming, arrived: Arrived) -> dict[str, bool]:
        """Business keys the message may have, by all versions; True where a step may wait for it. Raises :class:`HubError`."""
        found: dict[str, bool] = {}
        context = Context(now_us=self._clock())
        for definition in self._versions.values():
            if definition.flow != work.flow:
                continue
            for step, given in definition.inputs():
                if definition.fits(given, arrived.place, arrived.type):
                    key = definition.key(given, arrived.tree, context)
                    if key:
                        found[key] = found.get(key, False) or bool(step)
        return found

    def _start(self, work: Incoming, arrived: Arrived) -> Told | None:
        definition = self._current.get(work.flow)
        if definition is None:
            return None
        now = self._clock()
        context = Context(now_us=now)
        for given in definition.model.start:
            if not definition.fits(given, arrived.place, arrived.type):
                continue
            codec = definition.codec_of(given.source)
            if given.when and not definition.evaluate(given.when, arrived.tree, context, codec):
                continue
            key = definition.key(given, arrived.tree, context)
            if not key:
                raise HubError(t("the message has no business key", "消息没有业务键"), code="flow.key")
            if self.store.running(definition.flow, key) is not None:
                return None  # it was offered the message, and had no use for it
            return self._begin(definition, key, given, arrived, now)
        return None

    def _begin(self, definition: Definition, key: str, given: Input, arrived: Arrived, now: int) -> Told:
        number = self._next_id()
        outcome = begin(definition, id_text(number), key, given, arrived, now)
        self.store.keep_definition(definition.flow, definition.version, definition.raw, now)
        self._save(number, outcome)
        for kept in self.store.take_early(definition.flow, key, number):
            row = self.store.instance(number)
            if row is not None and row.instance.open:
                try:
                    with self.store.part():
                        self._advance(row, self._unpack(kept))
                except HubError as error:
                    log.error("flow %s: what came early can't be taken: %s", definition.flow, mask_text(error.text))
                    refused = Note("refused", text=mask_text(error.text), message_id=int(kept.get("message", 0)))
                    self.store.add_notes(number, [refused], now)
        return Told("started", number)

    def _early(self, work: Incoming, arrived: Arrived, key: str) -> Told:
        definition = self._current.get(work.flow)
        early = definition.model.early if definition is not None else 0
        if not early:
            raise HubError(t("no instance of the flow has this key", "没有此业务键的流程实例"), code="flow.unknown")
        until = self._clock() + int(early * 1e6)
        pack = {**keepable(arrived.pack), "event": arrived.event, "type": arrived.type, "message": arrived.message_id}
        number, size = self.store.early(work.flow, key)
        # More than an instance keeps would be refused when it begins, with nobody left to send it again.
        must_fit(number + 1, size + len(pack.get("raw", "")))
        self.store.keep_early(work.flow, key, arrived.event, pack, until)
        return Told("early")

    def _unpack(self, kept: dict[str, Any]) -> Arrived:
        return unpacked(kept, self._decode)

    # -- housekeeping --------------------------------------------------------------------------------------------

    def clean(self) -> tuple[int, list[str]]:
        """(instances removed, ids of messages that came early and nobody asked for): a part of them; to be called until there are none."""
        now = self._clock()
        removed = 0
        with self.store.transaction():
            for flow in self.store.flows():
                keep = self._keep(flow)
                if keep:
                    removed += self.store.prune(flow, now - int(keep * 1e6))
            unclaimed = [id_text(int(kept["message"])) for kept in self.store.expired(now)]
        return removed, unclaimed

    def _keep(self, flow: str) -> float:
        """How long ended instances stay, seconds; of a flow whose file is gone, what its last version said."""
        definition = self._current.get(flow)
        if definition is None:
            raw = self.store.last_definition(flow)
            try:
                definition = Definition.read(flow, raw or b"", self._codecs)
            except (HubError, ValueError):
                return _KEEP_S
        return definition.model.keep


def _changed(before: Instance, after: Instance) -> bool:
    return before != replace(after, updated_at=before.updated_at)
