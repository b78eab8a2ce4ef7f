"""Reads what lookups found: values from messages received earlier and from the replies of other systems. Asks nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import orjson

from hub.api import Bound
from hub.delivery.classify import Verdict
from hub.delivery.plan import OFF_LOOP_BYTES, World, decode_message
from hub.errors import HubError
from hub.i18n import t
from hub.ids import id_text, millis_of, parse_id, worker_of
from hub.mapping import CompiledMapping, Context
from hub.mapping.mapping import CompiledLookup
from hub.mapping.runtime import CHINA
from hub.masking import mask_text
from hub.message import Message, Outcome
from hub.store.base import CallQuery, MessageQuery, StoreReader

__all__ = ["MOST_SERIALS", "LookupFailed", "Readings"]

#: Messages of one second that have a serial of four digits; those from 9000 on are left for others.
MOST_SERIALS = 9_000


class LookupFailed(Exception):
    """A lookup did not succeed; ``verdict`` is that of the attempt."""

    def __init__(self, outcome: Outcome, code: str, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.verdict = Verdict(outcome, code, mask_text(text), "lookup", retry_after)


def _gone(lookup: CompiledLookup) -> LookupFailed:
    text = t(f"the answer of lookup {lookup.name} was not kept", f"查询 {lookup.name} 的应答未保存")
    return LookupFailed(Outcome.FAILED, "lookup.gone", text)


class Readings:
    """``reader`` reads the store of all workers, ``stored_key`` gives the form in which the value of a business key is stored."""

    def __init__(self, reader: StoreReader, stored_key: Callable[[str, str], str]) -> None:
        self._reader = reader
        self._stored_key = stored_key

    async def again(
        self, mapping: CompiledMapping, message: Message, params: str, context: Context, world: World
    ) -> dict[str, Any]:
        """The values an attempt had, by what its call recorded (``params``); raises :class:`LookupFailed` for what is gone."""
        references: Mapping[str, str] = orjson.loads(params).get("lookups", {}) if params else {}
        values: dict[str, Any] = {}
        for lookup in mapping.lookups:
            asked = lookup.ask(decode_message(message, world), context)
            reference = references.get(lookup.name)
            if not asked:
                values[lookup.name] = None
            elif lookup.serial and not lookup.store:
                values[lookup.name] = await self.serial(message)
            elif lookup.store:  # the same at any time: only what was received before counts
                values[lookup.name], number = await self.from_store(lookup, asked[0], message, context, world)
                if reference and (not number or id_text(number) != reference):
                    raise _gone(lookup)
            else:
                place = lookup.place(str(context.variables.get("target", "")))
                bound = world.outbound.get(place)
                reply = await self._recorded(place, parse_id(reference)) if reference else None
                if reply is None or bound is None:
                    raise _gone(lookup)
                values[lookup.name] = await self.reply(lookup, bound, reply, context)
        return values

    async def _recorded(self, place: str, call_id: int) -> bytes | None:
        """The reply of a call in the log."""
        query = CallQuery(place=place, before=call_id + 1, limit=1, bodies=True)
        return next((c.response for c in await self._reader.calls(query) if c.id == call_id), None)

    async def from_store(
        self, lookup: CompiledLookup, keys: Mapping[str, Any], message: Message, context: Context, world: World
    ) -> tuple[Any, int]:
        """(the value, the id of the message it is from); (None, 0) when there is none."""
        if any(keys.get(key) in (None, "") for key in lookup.keys):
            return None, 0  # with one key less it could be somebody else
        wanted = {key: self._stored_key(key, str(value)) for key, value in keys.items()}
        whole = "/" in lookup.source
        query = MessageQuery(
            type=lookup.store,
            source=lookup.source if whole else "",
            system="" if whole else lookup.source,
            keys=wanted,
            before=message.id,
            limit=1,
        )
        page = await self._reader.search(query)
        earlier = await self._reader.message(page.rows[0].id) if page.rows else None
        if earlier is None:
            return None, 0
        variables = {"serial": await self.serial(earlier)} if lookup.serial else {}
        return self._read(lookup, earlier, context, world, variables), earlier.id

    async def serial(self, message: Message) -> dict[str, Any]:
        """``time``, the second of a message's id, and ``number``, how many ids of messages this worker made before it in that second.

        Messages become visible in the order of their ids, before they are delivered, so the answer never changes. Raises
        :class:`LookupFailed` when there are too many for a number of four digits.
        """
        second = millis_of(message.id) // 1000
        query = MessageQuery(
            since_ms=second * 1000, until_ms=(second + 1) * 1000, before=message.id, limit=MOST_SERIALS + 1
        )
        page = await self._reader.search(query)
        number = sum(worker_of(row.id) == worker_of(message.id) for row in page.rows)
        if len(page.rows) > MOST_SERIALS:
            text = t(f"more than {MOST_SERIALS} messages in one second", f"同一秒内的消息超过 {MOST_SERIALS} 条")
            raise LookupFailed(Outcome.FAILED, "lookup.serial", text)
        return {"time": f"{datetime.fromtimestamp(second, CHINA):%Y%m%d%H%M%S}", "number": number}

    def _read(
        self, lookup: CompiledLookup, earlier: Message, context: Context, world: World, variables: dict[str, Any]
    ) -> Any:
        if earlier.codec != lookup.codec:
            text = t(
                f"lookup {lookup.name} reads {lookup.codec}, the message found is {earlier.codec}",
                f"查询 {lookup.name} 读取 {lookup.codec}，而找到的消息为 {earlier.codec}",
            )
            raise LookupFailed(Outcome.FAILED, "lookup.codec", text)
        around = Context(settings=context.settings, message=earlier, now_us=context.now_us, variables=variables)
        return lookup.value(decode_message(earlier, world), around)

    async def reply(self, lookup: CompiledLookup, bound: Bound, body: bytes, context: Context) -> Any:
        """What the reply of another system says; None when that is nothing."""
        codec = bound.reply_codec or bound.codec
        if not body.strip():
            return None
        try:
            if len(body) > OFF_LOOP_BYTES:
                tree = await asyncio.to_thread(codec.decode, body, encoding=bound.contract.encoding)
            else:
                tree = codec.decode(body, encoding=bound.contract.encoding)
        except HubError as error:
            text = t(f"the reply of {bound.place}: {error.text}", f"{bound.place} 的应答：{error.text}")
            raise LookupFailed(Outcome.TRANSIENT, error.code, text) from None
        around = Context(settings=bound.settings, message=context.message, now_us=context.now_us)
        return lookup.value(tree, around)
