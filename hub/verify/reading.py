"""Checks of ``in`` interfaces that read a source: the party's entries are taken once, bad ones refused, a source that fails read again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from hub.api import Receiver
from hub.errors import HubError
from hub.i18n import t
from hub.message import CallRecord, Direction, Outcome
from hub.simulator import Behaviour
from hub.store.base import CallQuery
from hub.verify.model import Result
from hub.verify.rig import RigError
from hub.verify.talk import Skip, Talk, tried

__all__ = ["read_again", "take"]

#: An entry of no known form, as JSON and as it is.
_STRANGE = b'{"verify": "not a message"}'
_PATIENCE_S = 20.0
_LOOK_S = 0.02
_AGAIN_S = 1.0
#: Rows of the call log looked at.
_ROWS = 500


async def take(talk: Talk, interface: str) -> Result:
    """What lies there is taken and stored, something strange is refused and does not stop what comes after it."""

    async def work() -> str:
        contract = talk.contract(interface)
        before = await _rows(talk, interface)
        if not any(_taken(row) for row in before):
            await _run(talk, interface)
        first = await _until(
            talk, interface, 0, _taken, t("what lies in the source is not taken", "来源中的条目未被接收")
        )
        stored = await talk.rig.node.store.reader.message(first.message_id)
        if stored is None or stored.source != talk.party.place(interface):
            raise RigError(t("taken, but not stored", "已接收但未落库"))
        since = await _last(talk, interface)
        try:
            await talk.simulator.offer(interface, _STRANGE)
        except HubError as error:
            return t(f"nothing strange can be laid there: {error.text}", f"无法放置异常条目：{error.text}")
        await _run(talk, interface)
        # The row of a run that failed is written after it.
        await _until(
            talk, interface, since, _tells, t("nothing tells of something strange", "不符合约定的条目未留下记录")
        )
        strange = [row for row in await _rows(talk, interface, since) if _taken(row)]
        if strange and contract.validation is not None:
            raise RigError(t("something strange is taken like a message", "不符合约定的条目被当作消息接收"))
        await talk.simulator.offer(interface)
        await _run(talk, interface)
        if contract.control_id:
            text = t("what came after something strange is not taken", "异常条目之后的条目未被接收")

            async def another() -> str:
                """By chance an entry may look like an earlier one, and is a repetition then."""
                await talk.simulator.offer(interface)
                return await _run(talk, interface)

            await _until(talk, interface, since, _taken, text, again=another)
        return t("no schema: any entry is a message", "无 schema：任意条目均为消息") if strange else ""

    return await tried("receive", interface, work)


async def read_again(talk: Talk, interface: str) -> list[Result]:
    """The same entry again is no other message; a source that fails is read again by itself; a forged page is not believed."""

    async def repeated() -> str:
        entry = await talk.simulator.offer(interface)
        await _run(talk, interface)
        since = await _last(talk, interface)
        await talk.simulator.offer(interface, entry)
        await _run(talk, interface)
        rows = await _rows(talk, interface, since)
        if any(_taken(row) for row in rows):
            if not talk.contract(interface).control_id:
                raise Skip(t("the contract names no control_id", "契约未指明 control_id"))
            raise RigError(t("the repetition is taken for another message", "重复条目被当作新消息"))
        return ""

    async def brought_again() -> str:
        """Entries come without being asked for, and others may come in between: of two alike one must be a repetition."""
        since = await _last(talk, interface)
        await talk.simulator.offer(interface, await talk.simulator.offer(interface))
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            rows = await _rows(talk, interface, since)
            if any(row.outcome is Outcome.DUPLICATE for row in rows):
                return ""
            bodies: set[bytes] = set()
            for row in filter(_taken, rows):
                stored = await talk.rig.node.store.reader.message(row.message_id)
                if stored is not None and stored.raw in bodies:
                    if not stored.control_id:
                        raise Skip(t("the contract names no control_id", "契约未指明 control_id"))
                    raise RigError(t("the repetition is taken for another message", "重复条目被当作新消息"))
                bodies |= {stored.raw} if stored is not None else set()
            await asyncio.sleep(_LOOK_S)
        raise RigError(t("the repetition is not answered", "重复条目未获处理"))

    async def failing() -> str:
        talk.simulator.misbehave(interface, Behaviour("status", "503"))
        try:
            await talk.simulator.offer(interface)
            receiver, made = _receiver(talk, interface), _made(talk, interface)
            receiver.run_now()
            text = t("a run that fails is not told", "失败的读取未被记录")
            await _reached(lambda: any(run["error"] for run in _runs(talk, interface, made)), text)
            text = t("a source that failed is not read again", "读取失败后未自动重试")
            await _reached(lambda: any(map(_well_again, _runs(talk, interface, made))), text)
        finally:
            talk.simulator.behave(interface)
        return ""

    async def forged() -> str:
        talk.simulator.misbehave(interface, Behaviour("wrong_signature"))
        since = await _last(talk, interface)
        try:
            await talk.simulator.offer(interface)
            error = await _run(talk, interface)
        finally:
            talk.simulator.behave(interface)
        if not error or any(_taken(row) for row in await _rows(talk, interface, since)):
            raise RigError(t("a page with a wrong signature is believed", "签名错误的页面被接收"))
        return ""

    asked = _made(talk, interface) >= 0
    again = repeated if asked else brought_again
    results = [await tried("refusals", f"{interface}: {t('repeated', '重复')}", again)]
    if asked and talk.simulator.answers(interface):
        results.append(await tried("refusals", f"{interface}: {t('failing', '来源故障')}", failing))
    if talk.simulator.signs_replies(interface):
        results.append(await tried("refusals", f"{interface}: {t('forged', '伪造')}", forged))
    return results


def _tells(row: CallRecord) -> bool:
    return _taken(row) or row.outcome is Outcome.REFUSED or bool(row.error)


def _taken(row: CallRecord) -> bool:
    return row.outcome is Outcome.OK and bool(row.message_id)


def _receiver(talk: Talk, interface: str) -> Receiver:
    place = talk.party.place(interface)
    found = talk.rig.node.receivers.get(place)
    if found is None:
        raise RigError(talk.rig.why_not(place))
    return found


def _made(talk: Talk, interface: str) -> int:
    """Runs since the hub began; -1 where entries come by themselves."""
    return int(_receiver(talk, interface).status().get("runs_made", -1))


def _runs(talk: Talk, interface: str, since: int) -> list[dict[str, Any]]:
    """The runs after the first ``since``, newest first, as far as they are kept."""
    status = _receiver(talk, interface).status()
    found: list[dict[str, Any]] = status["runs"][: status["runs_made"] - since]
    return found


def _well_again(run: dict[str, Any]) -> bool:
    return run["reason"] == "again" and not run["error"]


async def _run(talk: Talk, interface: str) -> str:
    """Have the source read now and wait until that is done; the error of the run. Nothing is done where entries come by themselves."""
    made = _made(talk, interface)
    if made < 0:
        return ""
    _receiver(talk, interface).run_now()
    by_hand: list[dict[str, Any]] = []

    def done() -> bool:
        by_hand[:] = [run for run in _runs(talk, interface, made) if run["reason"] == "manual"]
        return bool(by_hand)

    await _reached(done, t("the source is not read when it is asked for", "手动读取未执行"))
    return str(by_hand[0]["error"])


async def _reached(reached: Callable[[], bool], text: str) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not reached():
        if time.monotonic() > end:
            raise RigError(text)
        await asyncio.sleep(_LOOK_S)


async def _until(
    talk: Talk,
    interface: str,
    since: int,
    wanted: Callable[[CallRecord], bool],
    text: str,
    again: Callable[[], Awaitable[str]] | None = None,
) -> CallRecord:
    """A row that is wanted; ``again`` is done now and then until it is there."""
    end = time.monotonic() + _PATIENCE_S
    next_try = time.monotonic() + _AGAIN_S
    while True:
        rows = await _rows(talk, interface, since)
        for row in rows:
            if wanted(row):
                return row
        if time.monotonic() > end:
            told = next((f": {row.error}" for row in rows if row.error), "")
            raise RigError(text + told)
        if again is not None and time.monotonic() > next_try:
            await again()
            next_try = time.monotonic() + _AGAIN_S
        await asyncio.sleep(_LOOK_S)


async def _rows(talk: Talk, interface: str, since: int = 0) -> list[CallRecord]:
    """Of the call log, newest first: messages, refusals, runs that failed."""
    query = CallQuery(place=talk.party.place(interface), direction=Direction.IN, limit=_ROWS)
    return [row for row in await talk.rig.node.store.reader.calls(query) if row.id > since]


async def _last(talk: Talk, interface: str) -> int:
    rows = await _rows(talk, interface)
    return rows[0].id if rows else 0
