"""What the simulated party says to a call, whatever transport it came over."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.errors import HubError
from hub.i18n import t
from hub.logs import get_logger
from hub.mapping import Context
from hub.masking import mask_text
from hub.secrets import Secret
from hub.simulator.behaviour import Behaviour, Moods
from hub.simulator.calls import SimulatedCall, Verdict
from hub.simulator.side import Side, Unfit
from hub.simulator.state import Memory, Record, Stopped
from hub.simulator.texts import context_of

__all__ = ["Facts", "Opened", "Party", "Said"]

log = get_logger(__name__)

#: Calls that are remembered.
_KEPT = 5000
#: Longest time a callback waits for another to leave before it, seconds.
_HELD = 10.0


@dataclass(slots=True)
class Facts:
    """What a transport knows of a call besides its body; expressions read it as ``$query``, ``$path``, ``$headers``, ``$form``."""

    query: Mapping[str, str] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Opened:
    """A call as far as it could be read: for ``side``, ``unfit`` where it is refused."""

    side: Side
    body: bytes
    facts: Facts
    tree: Any = None
    unfit: Unfit | None = None


@dataclass(slots=True)
class Said:
    """The answer: to be sealed, and spoilt as ``behaviour`` says."""

    status: int
    body: bytes
    behaviour: Behaviour | None = None
    refused: bool = False
    code: str = ""  # of a refusal, the party's own
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


Told = Callable[[str, bytes], Awaitable[None]]


class Party:
    """The memory of one simulated party, and what follows from it. ``tell`` sends a callback: interface, body."""

    def __init__(self, moods: Moods, tell: Told, *, lenient: bool = False) -> None:
        self.moods = moods
        self.lenient = lenient
        self.memory = Memory()
        self.calls: deque[SimulatedCall] = deque(maxlen=_KEPT)
        self._tell = tell
        self._waiting: list[tuple[str, bytes]] = []  # callbacks that leave in reverse order
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    # -- calls ---------------------------------------------------------------------------------------------------

    def read(self, side: Side, body: bytes, facts: Facts) -> Opened:
        """An opened call, read and checked; its refusal, if any, is in the result."""
        opened = Opened(side, body, facts)
        try:
            opened.tree = side.read(body, self._context(side, facts, None))
        except Unfit as error:
            opened.unfit = error
        except HubError as error:  # an expression of ``simulate`` that this request is no food for
            opened.unfit = Unfit("simulate.expression", error.text, 4)
        return opened

    def hear(self, opened: Opened) -> Said:
        """Take or refuse a call, remember it, and say what is answered."""
        side, began = opened.side, time.time()
        side.calls += 1
        behaviour = self.moods.next(side.interface)
        problem, code = "", ""
        if behaviour is not None and not behaviour.takes_effect:
            said, code = self._misbehaved(opened, behaviour)
            problem = behaviour.kind
        elif opened.unfit is not None:
            said, code = self._refused(opened, opened.unfit)
            problem = opened.unfit.text
        else:
            try:
                said = self._taken(opened)
            except Unfit as error:
                said, code = self._refused(opened, error)
                problem = error.text
        if behaviour is not None and not said.refused:
            said.behaviour = behaviour
            problem = problem or behaviour.kind
        verdict: Verdict = "misbehaved" if said.behaviour is not None else "refused" if said.refused else "accepted"
        call = SimulatedCall(side.interface, side.calls, verdict, mask_text(problem), code, opened.body, began)
        self.calls.append(call)
        log.info("%s call %d: %s %s %s", side.interface, call.number, verdict, code, call.problem)
        return said

    def _taken(self, opened: Opened) -> Said:
        side, tree = opened.side, opened.tree
        if side.source is not None:
            try:
                return side.source.answer(tree, opened.facts)
            except HubError as error:
                raise Unfit("simulate.source", error.text) from None
        assert side.replies is not None  # noqa: S101 - an ``out`` interface has them
        record: Record | None = None
        after: Record | None = None
        key = ""
        try:
            if side.state is not None:
                key = side.state.key(tree, self._context(side, opened.facts, None))
                if not key:
                    raise Unfit("simulate.key", t("the call has no key", "调用缺少业务键"))
                record = side.state.find(self.memory, key, _identity(opened), lenient=self.lenient)
            context = self._context(side, opened.facts, record)
            for check, code in () if self.lenient else side.checks:
                if check(tree, context):
                    raise Unfit("simulate.check", code, business=code)
            if side.state is not None and record is not None:
                after = side.state.after(record, tree, context)
                context = self._context(side, opened.facts, after)
            body = side.replies.good(tree, context)
        except Stopped as stop:
            if stop.answer is not None:
                return Said(*stop.answer)
            raise Unfit("simulate.state", stop.text, business=stop.code) from None
        except HubError as error:
            raise Unfit("simulate.expression", error.text) from None
        # Only now: a call that can't be answered is refused, and has changed nothing.
        if side.state is not None and record is not None and after is not None:
            side.state.keep(self.memory, key, record, after, _identity(opened), (side.replies.status, body))
        self._plan(opened, record)
        return Said(side.replies.status, body)

    def _refused(self, opened: Opened, unfit: Unfit) -> tuple[Said, str]:
        code = unfit.business or _code_of(opened.side, unfit.code)
        return self._says(opened, code, unfit.text), code

    def _misbehaved(self, opened: Opened, behaviour: Behaviour) -> tuple[Said, str]:
        code = ""
        if behaviour.kind == "error":
            code = behaviour.code
            said = self._says(opened, code, t(f"error {code}, as told", f"按要求返回错误 {code}"))
        elif behaviour.kind == "unauthorised":
            opened.side.tickets.end_all()
            code = _code_of(opened.side, "security.token")
            said = self._says(opened, code, t("the token has expired", "令牌已过期"))
        elif behaviour.kind == "status":
            said = Said(int(behaviour.code), b"")
        else:
            said = Said(0, b"")
        said.behaviour = behaviour
        return said, code

    def _says(self, opened: Opened, code: str, text: str) -> Said:
        side = opened.side
        if side.source is not None:
            return Said(*side.source.refused(code, text), refused=True, code=code, text=text)
        assert side.replies is not None  # noqa: S101
        context = self._context(side, opened.facts, None)
        try:
            status, body = side.replies.refused(code, text, opened.tree if opened.tree is not None else {}, context)
        except HubError as error:
            log.warning("%s: the refusal %s can't be written: %s", side.interface, code, error.text)
            status, body = 500, b""
        return Said(status, body, refused=True, code=code, text=text)

    def _context(self, side: Side, facts: Facts, record: Record | None) -> Context:
        settings = {name: value for name, value in side.settings().items() if not isinstance(value, Secret)}
        return context_of(
            settings,
            {
                "record": record.shown() if record is not None else {},
                "count": side.calls,
                "id": secrets.token_hex(8),
                "query": dict(facts.query),
                "path": dict(facts.path),
                "headers": dict(facts.headers),
                "form": dict(facts.form),
                "accepts": list(side.bound.contract.accepts),
            },
        )

    # -- callbacks -----------------------------------------------------------------------------------------------

    def _plan(self, opened: Opened, record: Record | None) -> None:
        if opened.side.callback is None:
            return
        task = asyncio.get_running_loop().create_task(self._call_back(opened, record))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call_back(self, opened: Opened, record: Record | None) -> None:
        rule = opened.side.callback
        assert rule is not None  # noqa: S101 - planned only where there is one
        await asyncio.sleep(rule.after)
        try:
            context = self._context(opened.side, opened.facts, record)
            if rule.when is not None and not rule.when(opened.tree, context):
                return
            if record is not None and rule.becomes is not None:
                record.status = str(rule.becomes(opened.tree, context) or "")
                context = self._context(opened.side, opened.facts, record)
            body = rule.body(opened.tree, context)
        except HubError as error:
            log.warning("%s: no callback: %s", opened.side.interface, error.text)
            return
        behaviour = self.moods.next(rule.to)
        kind = behaviour.kind if behaviour is not None else ""
        if kind == "out_of_order":
            self._waiting.append((rule.to, body))
            await asyncio.sleep(_HELD)
            told = self._held()  # nothing else has come: it leaves all the same
        else:
            told = [*[(rule.to, body)] * (2 if kind == "duplicate" else 1), *self._held()]
        for to, each in told:
            try:
                await self._tell(to, each)
            except HubError as error:
                log.warning("callback %s: %s", to, error.text)
            except Exception as error:  # of one transport; those after it are told all the same
                log.warning("callback %s: %s", to, mask_text(repr(error)))

    def _held(self) -> list[tuple[str, bytes]]:
        """Callbacks that waited, the last one first."""
        held = list(reversed(self._waiting))
        self._waiting.clear()
        return held


def _code_of(side: Side, why: str) -> str:
    """The party's own code for a refusal; a source has none."""
    return side.replies.code_of(why) if side.replies is not None else why


def _identity(opened: Opened) -> bytes:
    """What makes two requests the same: body and address."""
    facts = opened.facts
    return b"\0".join(
        [opened.body, repr(sorted(facts.path.items())).encode(), repr(sorted(facts.query.items())).encode()]
    )
