"""Taking a reply of a REST source apart: success, items, values of ``since``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from adapters.http.paging import Pager
from adapters.http.poll_options import HttpPoll
from adapters.http.poll_progress import as_value
from hub.api import Bound, CodecError, HubError, TransientError
from hub.i18n import t
from hub.mapping import Context, compile_expression
from hub.masking import mask_text

__all__ = ["Page", "PageReader"]

#: Above this, bytes, a reply is taken apart in a thread: the event loop must not stand still for it.
_THREAD_ABOVE = 64 << 10
_EXCERPT = 300


@dataclass(slots=True)
class Page:
    """One reply."""

    raws: list[bytes] = field(default_factory=list)  # its messages
    values: list[str] = field(default_factory=list)  # of ``since``, one a message; "" for none
    tree: Any = None
    token: str = ""  # of ``since`` by reply


class PageReader:
    """Raises :class:`HubError` when an option can't be used with the codec."""

    def __init__(self, bound: Bound, options: HttpPoll, pager: Pager | None) -> None:
        self._codec = codec = bound.codec
        self._encoding = bound.contract.encoding
        place = bound.place
        if options.items and codec.name != "json":
            raise HubError(
                t(f"{place}: items needs the codec json", f"{place}：items 需要 json 编解码器"),
                code="http.items",
                remedy=t(
                    "remove items: each reply becomes one message, which a mapping may split",
                    "请去掉 items：每个应答成为一条消息，可由映射拆分",
                ),
            )

        def compiled(text: str, key: str) -> Callable[[Any, Context], Any] | None:
            return compile_expression(text, codec.name, key=f"{place}.{key}") if text else None

        since = options.since
        self._success = compiled(options.success, "success")
        self._message = compiled(options.message, "message")
        self._items = compiled(options.items, "items")
        self._of_item = compiled(since.value, "since.value") if since is not None and since.by == "item" else None
        self._of_reply = compiled(since.value, "since.value") if since is not None and since.by == "reply" else None
        self._reads_reply = any((self._success, self._items, self._of_reply)) or (
            pager is not None and pager.reads_reply
        )

    async def read(self, body: bytes) -> Page:
        """Raises :class:`HubError` for a reply that is not what the contract says."""
        if len(body) > _THREAD_ABOVE and self._reads_reply:
            return await asyncio.to_thread(self._read, body)
        return self._read(body)

    def _read(self, body: bytes) -> Page:
        if not self._reads_reply:
            return Page([body], [""])
        try:
            tree = self._codec.decode(body, encoding=self._encoding)
        except CodecError as error:
            raise TransientError(
                t(
                    f"the reply is not {self._codec.name}: {error.text}",
                    f"应答不是 {self._codec.name} 格式：{error.text}",
                ),
                code="http.bad_page",
            ) from None
        if self._success is not None and not self._success(tree, Context()):
            said = self._message(tree, Context()) if self._message is not None else None
            text = f": {mask_text(str(said)[:_EXCERPT])}" if said not in (None, "") else ""
            raise TransientError(
                t(f"the source says it failed{text}", f"来源返回失败{text}"), code="http.source_failed"
            )
        page = Page(tree=tree)
        if self._of_reply is not None:
            page.token = as_value(self._of_reply(tree, Context()))
        if self._items is None:
            page.raws, page.values = [body], [""]
            return page
        items = self._items(tree, Context())
        if items is None or items == "":
            return page
        for item in items if isinstance(items, list) else [items]:
            page.raws.append(self._codec.encode(item, encoding=self._encoding))
            page.values.append(as_value(self._of_item(item, Context())) if self._of_item is not None else "")
        return page
