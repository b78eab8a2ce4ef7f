"""Which page of a REST source comes next."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

from adapters.http.poll_options import Paging
from adapters.http.request import Endpoint, encoded_path
from hub.api import HubError
from hub.i18n import t
from hub.mapping import Context, compile_expression

__all__ = ["Pager", "Position", "link_next"]

_LONGEST = 8192
_PARAMETER = r"\s*;\s*[\w!#$&+.^`|~*-]{1,40}(?:\s*=\s*(?:\"[^\"]{0,2000}\"|[^\s;,\"]{0,2000}))?"
_LINK = re.compile(rf"<([^<>]{{0,{_LONGEST}}})>((?:{_PARAMETER}){{0,20}})")
_REL = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]+))", re.IGNORECASE)

#: Where a page is: {"page": 3}, {"offset": 200}, {"next": token}, {"target": path and query}; empty: the first.
Position = dict[str, Any]


class Pager:
    """The ``paging`` of one interface."""

    def __init__(self, options: Paging, codec: str, endpoint: Endpoint, place: str) -> None:
        self.options = options
        self._endpoint = endpoint

        def compiled(text: str, key: str) -> Callable[[Any, Context], Any] | None:
            return compile_expression(text, codec, key=f"{place}.paging.{key}") if text else None

        self._next = compiled(options.next, "next")
        self._more = compiled(options.more, "more")
        self._total = compiled(options.total, "total")
        self._key = {"url": "target", "link": "target"}.get(options.by, options.by)

    @property
    def reads_reply(self) -> bool:
        return any((self._next, self._more, self._total))

    @property
    def by_token(self) -> bool:
        """Whether the source may not know a position any longer."""
        return self._key in ("next", "target")

    def usable(self, position: Position) -> Position:
        """A position read from a mark, which other options may have written."""
        value = position.get(self._key)
        kinds = int if self._key in ("page", "offset") else str
        return {self._key: value} if isinstance(value, kinds) else {}

    def variables(self, position: Position) -> dict[str, Any]:
        by, options = self.options.by, self.options
        found: dict[str, Any] = {"size": options.size} if options.size else {}
        if by == "page":
            found["page"] = position.get("page", options.start)
        elif by == "offset":
            found["offset"] = position.get("offset", 0)
        elif by == "next" and "next" in position:
            found["next"] = position["next"]
        return found

    def after(self, position: Position, tree: Any, items: int, links: str, address: str) -> Position | None:
        """The position of the page after this one, ``None`` when it was the last. Raises :class:`HubError`.

        ``tree``: the decoded reply; ``links``: its Link header; ``address``: where it was read from.
        """
        if self._more is not None and not self._more(tree, Context()):
            return None
        by, options = self.options.by, self.options
        if by == "page":
            number = int(self.variables(position)["page"])
            return (
                None
                if self._is_last((number - options.start + 1) * options.size, tree, items)
                else {"page": number + 1}
            )
        if by == "offset":
            offset = int(self.variables(position)["offset"]) + items
            return None if not items or self._is_last(offset, tree, items) else {"offset": offset}
        value = link_next(links) if by == "link" else self._next(tree, Context()) if self._next is not None else None
        if value is None or value == "" or value is False:
            return None
        text = str(value)
        if len(text) > _LONGEST:
            raise HubError(t("the token of the next page is too long", "下一页标识过长"), code="http.next")
        return {"next": text} if by == "next" else {"target": self._target(text, address)}

    def _is_last(self, read: int, tree: Any, items: int) -> bool:
        if self._total is not None:
            total = self._total(tree, Context())
            try:
                total = int(total)
            except (TypeError, ValueError):
                raise HubError(
                    t("paging.total is no number", "paging.total 不是数字"),
                    code="http.total",
                    remedy=t("correct the expression", "请更正表达式"),
                ) from None
            return read >= total if self.options.size or self.options.by == "offset" else not items
        if self._more is not None:
            return False
        return items < self.options.size

    def _target(self, text: str, address: str) -> str:
        """Path and query of the next page; on the same scheme, host and port only."""
        try:
            url = urljoin(address, text.strip())
            parts = urlsplit(url)
            same = parts.scheme in ("http", "https") and self._endpoint.same_place(Endpoint(url))
        except ValueError:
            same = False
        if not same:
            raise HubError(
                t(
                    f"the next page is not on {self._endpoint.target}; addresses of others are not followed",
                    f"下一页不在 {self._endpoint.target} 上，不会访问其他主机的地址",
                ),
                code="http.next_elsewhere",
            )
        return encoded_path(parts.path, parts.query)


def link_next(header: str) -> str:
    """The target of the link with ``rel=next`` (RFC 8288); "" where there is none."""
    for link in _LINK.finditer(header[: 4 * _LONGEST]):
        rel = _REL.search(link[2])
        if rel is not None and "next" in (rel[1] or rel[2] or "").lower().split():
            return link[1]
    return ""
