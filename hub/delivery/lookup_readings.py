"""Reads what lookups found: values from messages received earlier and from the replies of other systems. Asks nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from hub.api import Bound
from hub.delivery.classify import Verdict
from hub.delivery.plan import OFF_LOOP_BYTES, World, decode_message
from hub.errors import HubError
from hub.i18n import t
from hub.ids import id_text, parse_id
from hub.mapping import CompiledMapping, Context
from hub.mapping.mapping import CompiledLookup
from hub.masking import mask_text
from hub.message import Message, Outcome
from hub.store.base import CallQuery, MessageQuery, StoreReader

__all__ = ["LookupFailed", "Readings"]


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
            elif lookup.store:  # the same at any time: only what was received before counts
                values[lookup.name], number = await self.from_store(lookup, asked[0], message, context, world)
                if reference and (not number or id_text(number) != reference):
                    raise _gone(lookup)
            else:
                bound = world.outbound.get(lookup.system)
                reply = await self._recorded(lookup, parse_id(reference)) if reference else None
                if reply is None or bound is None:
                    raise _gone(lookup)
                values[lookup.name] = await self.reply(lookup, bound, reply, context)
        return values

    async def _recorded(self, lookup: CompiledLookup, call_id: int) -> bytes | None:
        """The reply of a call in the log."""
        query = CallQuery(place=lookup.system, before=call_id + 1, limit=1, bodies=True)
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
        return self._read(lookup, earlier, context, world), earlier.id

    def _read(self, lookup: CompiledLookup, earlier: Message, context: Context, world: World) -> Any:
        if earlier.codec != lookup.codec:
            text = t(
                f"lookup {lookup.name} reads {lookup.codec}, the message found is {earlier.codec}",
                f"查询 {lookup.name} 读取 {lookup.codec}，而找到的消息为 {earlier.codec}",
            )
            raise LookupFailed(Outcome.FAILED, "lookup.codec", text)
        around = Context(settings=context.settings, message=earlier, now_us=context.now_us)
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
            text = t(f"the reply of {lookup.system}: {error.text}", f"{lookup.system} 的应答：{error.text}")
            raise LookupFailed(Outcome.TRANSIENT, error.code, text) from None
        around = Context(settings=bound.settings, message=context.message, now_us=context.now_us)
        return lookup.value(tree, around)
