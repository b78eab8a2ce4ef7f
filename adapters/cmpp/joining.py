"""Long messages of readers: parts are kept in the hub's store, the whole goes on when all have come or time is up.

A part is answered once it is stored. What is kept is the ``mark`` of the interface: the message joined from its parts and the mark
without them are one commit, so a crash neither loses a part nor makes a message twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import orjson

from adapters.cmpp.options import CmppListen
from adapters.cmpp.pdu import Deliver
from adapters.cmpp.texts import Piece, content_of, text_of
from hub.api import Bound, HubError, IntakePort, Item, Receipt, StoreBusy
from hub.i18n import t
from hub.logs import get_logger
from hub.message import Outcome

__all__ = ["Joiner"]

log = get_logger(__name__)

_MARK = "parts"
#: Msg_Ids of parts that went on, by which a part that is sent again is known.
_GONE = 512
#: Most parts of one message that are kept: 9000 characters.
_MOST_PARTS = 135
_AGAIN_S = 1.0

Done = Callable[[Receipt], None]


class Joiner:
    """One part at a time: each is a commit, and long messages are rare."""

    def __init__(self, bound: Bound, intake: IntakePort, options: CmppListen) -> None:
        self._bound, self._intake, self._options = bound, intake, options
        self._groups: dict[str, dict[str, Any]] = {}  # oldest first
        self._gone: list[int] = []
        self._asked: asyncio.Queue[tuple[Deliver, Piece, Done]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._groups)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"cmpp parts {self._bound.place}")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        while not self._asked.empty():
            self._asked.get_nowait()[2](_busy())

    def add(self, deliver: Deliver, piece: Piece, done: Done) -> None:
        """``done`` is called once the part is stored, or with a refusal."""
        self._asked.put_nowait((deliver, piece, done))

    # -- parts -----------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        await self._load()
        while True:
            due = min((group["at"] for group in self._groups.values()), default=None)
            pause = None if due is None else max(0.01, due + self._options.join_within - time.time())
            try:
                async with asyncio.timeout(pause):
                    deliver, piece, done = await self._asked.get()
            except TimeoutError:
                await self._overdue()
                continue
            receipt = _busy()
            try:
                receipt = await self._add(deliver, piece)
            except HubError as error:
                receipt = Receipt(Outcome.REFUSED, error=error)
            except Exception:  # a mistake here: this part comes again, and the others must not wait for it for ever
                log.exception("%s: a part of a long message can't be kept", self._bound.place)
            finally:
                done(receipt)

    async def _load(self) -> None:
        while True:
            try:
                kept = await self._intake.mark(self._bound, _MARK)
                break
            except HubError as error:
                log.warning("%s: parts of long messages can't be read: %s", self._bound.place, error.text)
                await asyncio.sleep(_AGAIN_S)
        try:
            found = orjson.loads(kept) if kept else {}
            self._groups, self._gone = found.get("groups", {}), found.get("gone", [])
        except (orjson.JSONDecodeError, AttributeError):
            log.error("%s: kept parts of long messages are no such thing; they are left out", self._bound.place)

    async def _add(self, deliver: Deliver, piece: Piece) -> Receipt:
        if piece.total > _MOST_PARTS:
            raise HubError(
                t(f"a message of {piece.total} parts", f"长短信共 {piece.total} 条，超出上限"), code="cmpp.parts"
            )
        if deliver.msg_id and deliver.msg_id in self._gone:
            return Receipt(Outcome.DUPLICATE)
        groups, gone = dict(self._groups), list(self._gone)
        name = f"{deliver.src}|{deliver.dest_id}|{piece.reference}|{piece.total}|{deliver.msg_fmt}"
        group = groups.get(name)
        if group is None:
            group = {"at": time.time(), "msg_id": str(deliver.msg_id), "parts": {}, "ids": []}
            group |= {"phone": deliver.src, "dest_id": deliver.dest_id, "service_id": deliver.service_id}
            group |= {"msg_fmt": deliver.msg_fmt, "total": piece.total, "link_id": deliver.link_id}
        parts = {**group["parts"], str(piece.number): piece.data.hex()}
        groups[name] = group = {**group, "parts": parts, "ids": [*group["ids"], deliver.msg_id][-_MOST_PARTS:]}
        if piece.number == min(map(int, parts)):  # the whole is known by its first part, in whatever order they come
            group["msg_id"] = str(deliver.msg_id)
        items: list[Item] = []
        if len(parts) == piece.total:
            items.append(self._close(groups, gone, name))
        while len(groups) > self._options.join_messages:
            items.append(self._close(groups, gone, min(groups, key=lambda key: groups[key]["at"])))
        return await self._commit(items, groups, gone)

    async def _overdue(self) -> None:
        limit = time.time() - self._options.join_within
        groups, gone = dict(self._groups), list(self._gone)
        names = [name for name, group in groups.items() if group["at"] <= limit]
        try:
            await self._commit([self._close(groups, gone, name) for name in names], groups, gone)
        except HubError as error:
            if not isinstance(error, StoreBusy):
                log.warning("%s: an incomplete message can't be taken: %s", self._bound.place, error.text)
            await asyncio.sleep(_AGAIN_S)

    def _close(self, groups: dict[str, dict[str, Any]], gone: list[int], name: str) -> Item:
        group = groups.pop(name)
        gone += [number for number in group["ids"] if number]
        parts = {int(number): bytes.fromhex(data) for number, data in group["parts"].items()}
        missing = [number for number in range(1, group["total"] + 1) if number not in parts]
        tree: dict[str, Any] = {"kind": "message"}
        tree |= {key: group[key] for key in ("msg_id", "phone", "dest_id", "service_id", "msg_fmt")}
        data = b"".join(parts[number] for number in sorted(parts))
        # Decoded as a whole: a gateway may have cut a character in two. With a gap each part for itself.
        if missing:
            texts = [text_of(parts[number], group["msg_fmt"]) for number in sorted(parts)]
            text = None if None in texts else "".join(str(one) for one in texts)
        else:
            text = text_of(data, group["msg_fmt"])
        tree |= content_of(text, data)
        if group["link_id"]:
            tree["link_id"] = group["link_id"]
        tree |= {"parts": group["total"], "missing": missing}
        control_id = f"mo-{group['msg_id']}" if group["msg_id"] != "0" else ""
        return Item(orjson.dumps(tree), control_id=control_id)

    async def _commit(self, items: list[Item], groups: dict[str, dict[str, Any]], gone: list[int]) -> Receipt:
        gone = gone[-_GONE:]
        mark = orjson.dumps({"groups": groups, "gone": gone}).decode()
        receipts = await self._intake.take(self._bound, items, mark=mark, name=_MARK)
        self._groups, self._gone = groups, gone
        for receipt in receipts:
            if not receipt.accepted and receipt.error is not None:
                return receipt  # it is in the call log, refused
        return Receipt(Outcome.OK)


def _busy() -> Receipt:
    return Receipt(Outcome.REFUSED, error=StoreBusy(t("not now", "暂不可用")))
