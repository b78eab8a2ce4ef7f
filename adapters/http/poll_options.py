"""Options of the adapter ``http_poll``: ``listen`` of an interface that reads a REST source again and again."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from adapters.http.client_options import OutboundAuth, Probe, header_of
from adapters.http.option_types import OWN_HEADERS, HeaderName, Options, PlainUrl, texts_of
from adapters.http.proxy import Proxy
from adapters.http.token_options import LoginAuth, OAuth2Auth
from adapters.schedule import Schedule
from adapters.template import Template
from adapters.tls import ClientTls
from hub.contract import Duration, Size
from hub.errors import HubError
from hub.mapping import compile_expression

__all__ = ["HttpPoll", "Paging", "Since"]


class Paging(Options):
    """How the source divides a long answer. ``{page}``, ``{offset}``, ``{size}`` and ``{next}`` stand in query, headers and body."""

    by: Literal["page", "offset", "next", "url", "link"] = Field(
        description="page: {page} counts up; offset: {offset} grows by the items read; next: {next} is a token from the "
        "reply; url: the reply has the address of the next page; link: its Link header has it (RFC 8288, rel=next). "
        "Addresses on other hosts are refused"
    )
    start: int = Field(1, ge=0, description="page: number of the first page")
    size: int = Field(
        0, ge=0, le=100_000, description="{size}, items asked for; page, offset: a page with fewer items is the last"
    )
    next: str = Field("", description="next, url: expression on the reply, e.g. meta.nextToken")
    more: str = Field("", description="expression on the reply: whether there is a further page, e.g. data.hasNext")
    total: str = Field(
        "", description="page, offset: expression on the reply for the items of all pages, e.g. data.total"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.by in ("next", "url")) != bool(self.next):
            raise ValueError("paging.next belongs to by: next and by: url, and these need it")
        if self.by in ("page", "offset"):
            if not (self.size or self.more or self.total):
                raise ValueError(f"paging by {self.by} ends where size, more or total says: give one of them")
        elif self.total:
            raise ValueError("paging.total belongs to by: page and by: offset")
        return self


class Since(Options):
    """How the source is asked only for what is new: ``{since}`` stands in query, headers, path and body."""

    by: Literal["item", "reply", "time"] = Field(
        description="item: the largest value any item has; reply: a token the last page has; time: when the run before began"
    )
    value: str = Field("", description="item, reply: expression on an item or on the reply, e.g. updatedAt")
    start: str = Field(
        "", description="{since} of the first run; absent: parameters that hold it are left out; time: ISO 8601"
    )
    overlap: Duration = Field(0.0, ge=0, description="time: read so much again, for what becomes visible late")
    format: str = Field("%Y-%m-%d %H:%M:%S", description="time: how {since} and {now} are written (strftime)")
    tz: str = Field("Asia/Shanghai", description="time: their time zone")

    @field_validator("tz")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name!r} is not a time zone; write e.g. Asia/Shanghai or UTC") from None
        return name

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.by == "time") == bool(self.value):
            raise ValueError("since.value belongs to by: item and by: reply, and these need it")
        if self.by != "time" and self.overlap:
            raise ValueError("since.overlap belongs to by: time")
        if self.by == "time":
            time.strftime(self.format)
            if self.start:
                self.epoch(self.start)
        return self

    def epoch(self, text: str) -> float:
        """Unix seconds of an ISO 8601 time; raises ``ValueError``."""
        from datetime import datetime

        when = datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=ZoneInfo(self.tz))).timestamp()


class HttpPoll(Options):
    """``listen`` of an interface that reads a REST source. Texts may hold ``{page}``, ``{offset}``, ``{size}``, ``{next}``, ``{since}``
    and ``{now}``; query parameters, headers and members of the body whose value is missing are left out."""

    url: PlainUrl = Field(description="http:// or https:// address; its path and query may hold {name} templates")
    path: str = Field("", description="joined to the path of url")
    method: Literal["GET", "POST"] = "GET"
    query: dict[str, str] = Field(default_factory=dict)
    headers: dict[HeaderName, str] = Field(default_factory=dict)
    body: dict[str, Any] = Field(
        default_factory=dict,
        description="POST: members of the body, sent as JSON; a text that is one {name} alone keeps its type",
    )
    form: bool = Field(False, description="send the body as a form instead of JSON")
    auth: Annotated[OutboundAuth | OAuth2Auth | LoginAuth, Field(discriminator="type")] | None = None
    proxy: Proxy | None = Field(None, description="the way to the source, where it can't be reached directly")
    tls: ClientTls = Field(default_factory=ClientTls)
    success: str = Field(
        "", description="expression on the reply: whether it is one, e.g. code == 0; false fails the run"
    )
    message: str = Field("", description="expression on the reply for the text of its failure")
    items: str = Field(
        "",
        description="codec json: expression for the list whose entries are messages, '.' where the reply is the list; "
        "default: each reply is one message",
    )
    paging: Paging | None = None
    since: Since | None = None
    changed_only: bool = Field(
        True,
        description="without items, paging and since: a reply with the content of the one before is not taken again; "
        "asked for by ETag and Last-Modified where the source has them",
    )
    long_poll: bool = Field(
        False, description="the source answers when it has something, or after a while: ask again at once; see timeout"
    )
    pause: Duration = Field(0.0, ge=0, description="shortest time between two calls, for sources with a rate limit")
    timeout: Duration = Field(
        30.0, gt=0, description="longest time of one call; long_poll: longer than the source waits"
    )
    connect_timeout: Duration = Field(5.0, gt=0, description="longest time to connect, TLS included")
    reply_limit: Size = Field(32 << 20, ge=1, description="largest reply, bytes, after decompression")
    probe: Probe | None = Field(None, description="default: connect, TLS included, and close")
    schedule: Schedule = Field(default_factory=Schedule)

    @field_validator("path")
    @classmethod
    def _path_only(cls, path: str) -> str:
        if "?" in path or "#" in path:
            raise ValueError("path has no query; use the option query")
        return path

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.body and self.method == "GET":
            raise ValueError("GET sends no body; use query, or method: POST")
        if self.form and any(isinstance(value, dict | list) for value in self.body.values()):
            raise ValueError("a form has texts and numbers, no lists or objects")
        if self.message and not self.success:
            raise ValueError("message belongs to success")
        if self.since is not None and self.since.by == "item" and not self.items:
            raise ValueError("since by item needs items")
        paging = self.paging
        if (
            paging is not None
            and not self.items
            and (paging.by == "offset" or (paging.by == "page" and not paging.more))
        ):
            raise ValueError("without items only paging by page with more can tell which page is the last")
        return self

    @model_validator(mode="after")
    def _expressions_are_understood(self) -> Self:
        if not self.items:
            return self  # which codec reads them is known when the interface starts
        paging, since = self.paging or Paging(by="link"), self.since
        for name, text in (
            ("success", self.success),
            ("message", self.message),
            ("items", self.items),
            ("paging.next", paging.next),
            ("paging.more", paging.more),
            ("paging.total", paging.total),
            ("since.value", since.value if since is not None else ""),
        ):
            if text:
                try:
                    compile_expression(text, "json")
                except HubError as error:
                    raise ValueError(f"{name}: {error.text}") from None
        return self

    @model_validator(mode="after")
    def _headers_do_not_collide(self) -> Self:
        names = [name.lower() for name in self.headers]
        if self.auth is not None:
            names.append(header_of(self.auth))
        for name in names:
            if name in OWN_HEADERS:
                raise ValueError(f"header {name} is written by the adapter itself; remove it")
            if name and names.count(name) > 1:
                raise ValueError(f"header {name} is given twice; headers and auth must differ")
        return self

    @model_validator(mode="after")
    def _templates_are_sound(self) -> Self:
        known = {"now"}
        if self.since is not None:
            known.add("since")
        if self.paging is not None:
            known |= {"page": {"page"}, "offset": {"offset"}, "next": {"next"}}.get(self.paging.by, set())
            known |= {"size"} if self.paging.size else set()
        if isinstance(self.auth, LoginAuth):
            known.add("token")
        used: set[str] = set()
        for text in (self.url, self.path, *self.query.values(), *self.headers.values(), *texts_of(self.body)):
            used |= set(Template(text).names)
        if used - known:
            raise ValueError(f"there is no value for {{{min(used - known)}}}; known are {', '.join(sorted(known))}")
        for name in ("since", "page", "offset", "next"):
            # by reply the whole address may come from the source
            if name in known and name not in used:
                raise ValueError(
                    f"{{{name}}} stands nowhere in query, headers, path or body: every call would be the same"
                )
        if self.probe is not None and Template(self.url + self.probe.path).names:
            raise ValueError("a probe has no values for {name} templates: url must not hold any")
        return self
