"""REST sources of ``http_poll``, played: pages of what lies ready, as the contract's own rules read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

import orjson

from adapters.http.played import PlayedInterface
from adapters.http.poll_options import HttpPoll
from adapters.http.poll_progress import as_value, digest, larger
from adapters.template import Template
from hub.api import HubError
from hub.i18n import t
from hub.mapping import Context, compile_expression
from hub.mapping.nodes import Node
from hub.simulator.party import Facts, Said
from hub.simulator.side import Side, Unfit
from hub.simulator.solve import give, hold, parsed, plain_paths
from hub.simulator.source import Entry, Source

__all__ = ["PlayedSource"]

_FORM = "application/x-www-form-urlencoded"
#: Entries of a page where the question does not say how many.
_PAGE = 50
#: Where the address of a further page says how many entries come before it.
_AFTER = "simulated_after"
_PLACE = re.compile(r"\{\w+\}")


class PlayedSource(PlayedInterface, Source):
    """One source at one address. Raises :class:`HubError` where its answers can't be derived from the options."""

    def __init__(self, side: Side, options: HttpPoll) -> None:
        self._poll = options
        super().__init__(side, options)
        side.source = self
        self._codec = side.bound.codec
        self._encoding = side.bound.contract.encoding
        name = self._codec.name
        paging, since = options.paging, options.since

        def read(text: str) -> Node | None:
            return parsed(text, name)

        self._success, self._message = read(options.success), read(options.message)
        self._items = read(options.items)
        self._next = read(paging.next) if paging is not None else None
        self._more = read(paging.more) if paging is not None else None
        self._total = read(paging.total) if paging is not None else None
        self._token = read(since.value) if since is not None and since.by == "reply" else None
        by_item = since is not None and since.by == "item"
        self._value = compile_expression(since.value, name) if since is not None and by_item else None
        self._good_shape()

    def content_type(self) -> str:
        return _FORM if self._poll.form else "application/json"

    # -- the question --------------------------------------------------------------------------------------------------

    def read(self, body: bytes, context: Context) -> Any:
        if self.side.bodiless:
            return {}
        try:
            tree = orjson.loads(body)
        except orjson.JSONDecodeError:
            tree = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)) if self._poll.form else None
        if not isinstance(tree, dict):
            raise Unfit("json.invalid", t("the body is not what the contract sends", "请求正文与契约不符"), 3)
        for path, text in _leaves(self._poll.body, ()):
            given = _at(tree, path)
            if not _PLACE.search(str(text)) and str(given) != str(text):
                raise Unfit("http.body", t(f"{'.'.join(path)} is not as agreed", f"{'.'.join(path)} 不符合约定"), 4)
        return tree

    def _values(self, tree: Any, facts: Facts) -> dict[str, str]:
        """``page``, ``offset``, ``size``, ``next`` and ``since`` as they were asked for."""
        found = dict(facts.path)
        for name, text in self.query.items():
            found |= _matched(text, facts.query.get(name))
        for name, text in self._poll.headers.items():
            found |= _matched(text, facts.headers.get(name.lower()))
        for path, leaf in _leaves(self._poll.body, ()):
            found |= _matched(str(leaf), _at(tree, path))
        return found

    # -- the answer ----------------------------------------------------------------------------------------------------

    def answer(self, tree: Any, facts: Facts) -> Said:
        values = self._values(tree, facts)
        entries = self._since(values.get("since"))
        if self._poll.paging is not None:
            return self._page(entries, values, facts)
        if self._items is not None:
            return self._said(self._listed(entries, len(entries)), entries)
        return self._whole(entries[-1:], facts)

    def _since(self, since: str | None) -> list[Entry]:
        """What is new to whoever asks. What has the very value asked for is given again, as most sources do."""
        shelf, options = self.side.shelf, self._poll.since
        if options is None or not since:
            return list(shelf.entries)
        if options.by == "reply":
            return shelf.entries[max(_number(since, "since") - shelf.gone, 0) :]
        if options.by == "time":
            try:
                when = datetime.strptime(since, options.format).replace(tzinfo=ZoneInfo(options.tz)).timestamp()
            except ValueError:
                raise Unfit("http.since", t("since is no time as agreed", "since 不是约定格式的时间")) from None
            return [entry for entry in shelf.entries if entry.at >= when]
        found = []
        for entry in shelf.entries:
            value = self._value_of(entry)
            if not larger(since, value) if value else not entry.given:
                found.append(entry)
        return found

    def _value_of(self, entry: Entry) -> str:
        assert self._value is not None  # noqa: S101 - asked for with since by item
        try:
            return as_value(self._value(self._codec.decode(entry.body, encoding=self._encoding), Context()))
        except HubError:
            return ""

    def _page(self, entries: list[Entry], values: Mapping[str, str], facts: Facts) -> Said:
        paging = self._poll.paging
        assert paging is not None  # noqa: S101 - asked by the caller
        size = 1 if self._items is None else _number(values.get("size") or str(paging.size or _PAGE), "size")
        match paging.by:
            case "page":
                first = (_number(values.get("page", str(paging.start)), "page") - paging.start) * size
            case "offset":
                first = _number(values.get("offset", "0"), "offset")
            case "next":
                first = _number(values.get("next", "0"), "next")
            case _:
                first = _number(facts.query.get(_AFTER, "0"), _AFTER)
        if first < 0 or size < 1:
            raise Unfit("http.page", t("there is no such page", "没有该页"))
        chunk = entries[first : first + size]
        after = first + size
        more = after < len(entries)
        if self._items is not None:
            tree = self._listed(chunk, len(entries))
        elif chunk:
            tree = give(self._decoded(chunk[0]), self._total, len(entries))
        else:
            return self._said({}, [])
        tree = hold(tree, self._more, more)
        headers: dict[str, str] = {}
        address = f"?{urlencode({**facts.query, _AFTER: after})}"
        if more and paging.by in ("next", "url"):
            tree = give(tree, self._next, str(after) if paging.by == "next" else address)
        elif more and paging.by == "link":
            headers["link"] = f'<{address}>; rel="next"'
        said = self._said(tree, chunk)
        said.headers = headers
        return said

    def _listed(self, entries: list[Entry], total: int) -> Any:
        tree = hold({}, self._success, True)
        tree = give(tree, self._items, [self._decoded(entry) for entry in entries])
        return give(tree, self._total, total)

    def _whole(self, entries: list[Entry], facts: Facts) -> Said:
        """Each reply is a message: the last that came, as it is."""
        if not entries:
            return Said(204, b"")
        entry = entries[0]
        body, headers = entry.body, {}
        if self._token is not None:
            return self._said(self._decoded(entry), entries)
        if self._poll.changed_only and self.side.protection is None:
            mark = f'"{digest(body)}"'
            if facts.headers.get("if-none-match") == mark:
                return Said(304, b"", headers={"etag": mark})
            headers["etag"] = mark
        entry.given = True
        return Said(200, body, headers=headers)

    def _said(self, tree: Any, entries: list[Entry]) -> Said:
        shelf = self.side.shelf
        tree = give(tree, self._token, str(shelf.gone + len(shelf.entries)))
        body = self._codec.encode(tree, encoding=self._encoding)
        for entry in entries:
            entry.given = True
        return Said(200, body)

    def _decoded(self, entry: Entry) -> Any:
        return self._codec.decode(entry.body, encoding=self._encoding)

    # -- refusals ------------------------------------------------------------------------------------------------------

    def refused(self, code: str, text: str) -> tuple[int, bytes]:
        if code.startswith(("security.", "http.auth")):
            return 401, b""
        if self._success is None:
            return 400 if code.startswith(("http.", "json.")) else 500, b""
        tree = hold({}, self._success, False)
        for path in plain_paths(self._success):
            tree = give(tree, path, code)
            break
        tree = give(tree, self._message, text)
        return 200, self._codec.encode(tree, encoding=self._encoding)

    # -- at the start --------------------------------------------------------------------------------------------------

    def check_entry(self, body: bytes) -> None:
        """Raises :class:`HubError` for one that can't stand in a page."""
        if self._items is not None:
            self._codec.decode(body, encoding=self._encoding)

    def _good_shape(self) -> None:
        """Raises :class:`HubError` where the contract's own expressions would not find again what is put there."""
        if self._items is None:
            return
        name, options = self._codec.name, self._poll
        tree = hold(give(hold({}, self._success, True), self._items, [{"n": 1}]), self._more, False)
        tree = give(tree, self._total, 1)
        found = compile_expression(options.items, name)(tree, Context())
        good = not options.success or compile_expression(options.success, name)(tree, Context())
        if not good or found != [{"n": 1}]:
            raise HubError(
                t(
                    f"{self.side.interface}: a page can't be derived from listen.success and listen.items",
                    f"{self.side.interface}：无法由 listen.success 与 listen.items 推出页面",
                ),
                code="simulate.source",
                remedy=t("write plain paths and equalities there", "请在其中使用简单路径与相等比较"),
            )


def _leaves(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Members of ``body`` that are no objects; lists are not looked into."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _leaves(value, (*path, name))
    elif not isinstance(tree, list):
        yield path, tree


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def _matched(text: str, given: Any) -> dict[str, str]:
    """What stands in the places of a template."""
    names = Template(text).names
    if not names or given is None:
        return {}
    pattern = "(.*)".join(re.escape(part) for part in _PLACE.split(text))
    found = re.fullmatch(pattern, str(given), re.DOTALL)
    return dict(zip(names, found.groups(), strict=True)) if found is not None else {}


def _number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Unfit("http.page", t(f"{name} is no number", f"{name} 不是数字")) from None
