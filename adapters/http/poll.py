"""Reading a REST source: one run takes what is new, page by page, each page and its mark in one commit of the hub."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

from adapters.http.answer import decoded, error_text, phrase, retry_after
from adapters.http.client import HttpClient, Target
from adapters.http.client_options import OutboundAuth
from adapters.http.connection import Response
from adapters.http.content import fill_tree, plain_body
from adapters.http.page_reader import Page, PageReader
from adapters.http.paging import Pager
from adapters.http.poll_options import HttpPoll
from adapters.http.poll_progress import Progress, digest, no_progress
from adapters.http.protected import client_of
from adapters.http.request import Endpoint, RequestHead, encoded_path, join_path
from adapters.http.token import TokenSource
from adapters.polling import PollingReceiver, Run
from adapters.tls import client_context
from hub.api import Bound, HubError, IntakePort, Item, PermanentError, SendError, TransientError, UnreachableError
from hub.i18n import t

__all__ = ["HttpPollReceiver"]

_MARK = "poll"
#: A long poll without anything that is answered sooner, seconds, is none: it is asked again when the schedule says so.
_SHORT = 1.0
_PASSING = frozenset((401, 403, 408, 425, 429))


class HttpPollReceiver(PollingReceiver):
    """Reads one REST source."""

    def __init__(self, bound: Bound, intake: IntakePort) -> None:
        self._options = options = cast(HttpPoll, bound.options)
        super().__init__(bound, intake, options.schedule)
        if options.long_poll:
            self.default_every = _SHORT
        self._endpoint = endpoint = Endpoint(options.url)
        self._pager = (
            Pager(options.paging, bound.codec.name, endpoint, bound.place) if options.paging is not None else None
        )
        self._reader = PageReader(bound, options, self._pager)
        auth = options.auth
        own = auth if isinstance(auth, OutboundAuth) else None
        kind = plain_body({}, as_form=options.form)[1] if options.method == "POST" else ""
        self._head = RequestHead(
            bound.place,
            endpoint,
            options.method,
            path=options.path,
            query=options.query,
            headers=options.headers,
            auth=own,
            content_type=kind,
            proxy=options.proxy,
        )
        #: Whole replies of a source that can't be asked for what is new: those that are as before are left out.
        self._compares = options.changed_only and not (options.items or options.paging or options.since)
        self._client: HttpClient | None = None
        self._tokens: TokenSource | None = None
        self._ended = asyncio.Event()
        self._not_before = 0.0  # loop time: the source asked to be left alone until then
        self._calls = 0
        self._committed = ""  # the mark

    # -- hub.api.Receiver ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        options, endpoint = self._options, self._endpoint
        self._client = client_of(
            Target(
                host=endpoint.host,
                port=endpoint.port,
                ssl=client_context(options.tls) if endpoint.secure else None,
                server_name=options.tls.server_name,
                connections=2,  # one reads, one is for a probe
                connect_timeout=options.connect_timeout,
                reply_limit=options.reply_limit,
                proxy=options.proxy,
            ),
            self.bound.protection,
        )
        if options.auth is not None and not isinstance(options.auth, OutboundAuth):
            self._tokens = TokenSource(
                self.bound.place, options.auth, options.tls, options.proxy, options.connect_timeout
            )
        await super().start()

    async def stop(self, grace: float) -> None:
        self._ended.set()
        await super().stop(grace)
        if self._tokens is not None:
            await self._tokens.close()
        if self._client is not None:
            await self._client.close()

    @property
    def source(self) -> str:
        scheme = "https" if self._endpoint.secure else "http"
        return f"{scheme}://{self._endpoint.authority}{join_path(self._endpoint.path, self._options.path)}"

    def status(self) -> dict[str, Any]:
        left = self._not_before - time.monotonic()
        more = {"tokens_fetched": self._tokens.fetched} if self._tokens is not None else {}
        return super().status() | {"calls": self._calls, "asked_to_wait_s": max(round(left, 1), 0.0)} | more

    async def probe(self) -> str:
        options, client = self._options, self._started()
        began = time.perf_counter()
        token = await self._tokens.get() if self._tokens is not None else ""
        probe = options.probe
        if probe is None:
            await client.check(options.connect_timeout)
            took = (time.perf_counter() - began) * 1000
            return t(
                f"connected to {self._endpoint.target} in {took:.0f} ms",
                f"已连接 {self._endpoint.target}，用时 {took:.0f} 毫秒",
            )
        path = join_path(self._endpoint.path, probe.path)
        auth = options.auth if isinstance(options.auth, OutboundAuth) else None
        head = RequestHead(self.bound.place, self._endpoint, probe.method, auth=auth, proxy=options.proxy)
        start = head.fill({}, target=encoded_path(path))
        if self._tokens is not None:
            start += self._tokens.line(token)
        response = await client.call(
            start + b"\r\n",
            b"",
            options.connect_timeout * 2,
            repeatable=True,
            without_body=probe.method == "HEAD",
        )
        status = response.status
        if status not in probe.expect if probe.expect else not 200 <= status < 300:
            raise TransientError(
                t(f"{probe.method} {path} answered {status}", f"{probe.method} {path} 返回 {status}"), code=str(status)
            )
        took = (time.perf_counter() - began) * 1000
        return t(f"{status} {phrase(status)} in {took:.0f} ms", f"{status} {phrase(status)}，用时 {took:.0f} 毫秒")

    # -- one run -------------------------------------------------------------------------------------------------

    async def read(self, run: Run) -> None:
        self._committed = await self.intake.mark(self.bound, _MARK)
        progress = Progress.load(self._committed)
        while True:
            began = time.monotonic()
            taken = await self._round(run, progress)
            quick = not taken and time.monotonic() - began < _SHORT
            if not self._options.long_poll or quick or self._ended.is_set() or not self.go_on(run):
                return

    async def _round(self, run: Run, progress: Progress) -> int:
        """All pages there are now; how many messages they had."""
        if self._pager is not None:
            progress.position = self._pager.usable(progress.position)
        else:
            progress.position = {}
        resumed = bool(progress.position)
        progress.begin(time.time())
        taken = 0
        while await self._wait_turn():
            try:
                response = await self._ask(progress)
            except PermanentError as error:
                if not (resumed and self._pager is not None and self._pager.by_token and _gone(error)):
                    raise
                # The source no longer knows the page where the last run was broken off.
                run.details["restarted"] = "1"
                progress.position, progress.passed, resumed = {}, [], False
                progress.begin(time.time())
                continue
            if response is None:
                return taken
            resumed = False
            page = await self._reader.read(response.body) if response.body else Page()
            if page.raws and self._pager is not None and not self._pager.by_token:
                was, progress.body = progress.body, digest(response.body)
                if was == progress.body:
                    raise no_progress()
            raws = self._news(progress, page, response)
            last = self._turn(progress, page, response)
            mark = progress.dump()
            if raws or mark != self._committed:
                await self.take(run, [Item(raw) for raw in raws], mark, _MARK)
                self._committed = mark
            taken += len(raws)
            if last or not self.go_on(run):
                return taken
        return taken

    def _news(self, progress: Progress, page: Page, response: Response) -> list[bytes]:
        since = self._options.since
        if self._compares:
            progress.etag = response.header(b"etag")[:512]
            progress.modified = response.header(b"last-modified")[:64]
            was, progress.body = progress.body, digest(response.body) if page.raws else ""
            return [] if progress.body == was else page.raws
        if since is not None and since.by == "item":
            return progress.note(page.raws, page.values)
        if page.token:
            progress.best = page.token
        return page.raws

    def _turn(self, progress: Progress, page: Page, response: Response) -> bool:
        """On to the next page; True when this was the last."""
        if self._pager is not None and response.body:
            following = self._pager.after(
                progress.position, page.tree, len(page.raws), response.header(b"link"), self._address(progress)
            )
            if following is not None:
                if self._pager.by_token:
                    progress.passed_by(following)
                progress.position = following
                return False
            progress.body = ""
        since = self._options.since
        if since is not None and since.by == "time":
            progress.best = repr(progress.until)
        progress.end()
        return True

    # -- one call ------------------------------------------------------------------------------------------------

    async def _ask(self, progress: Progress) -> Response | None:
        """The reply for the page progress stands at, its content codings undone; ``None``: nothing new, or stopped."""
        client, variables = self._started(), self._variables(progress)
        more = b""
        if self._compares:
            if progress.etag:
                more += b"if-none-match: %b\r\n" % progress.etag.encode("latin-1", "ignore")
            if progress.modified:
                more += b"if-modified-since: %b\r\n" % progress.modified.encode("latin-1", "ignore")
        target = str(progress.position.get("target", ""))
        deadline = asyncio.get_running_loop().time() + self._options.timeout

        async def once(line: bytes, token: str) -> Response:
            left = max(deadline - asyncio.get_running_loop().time(), 0.001)
            return await self._call(client, line + more, variables | ({"token": token} if token else {}), target, left)

        began = time.monotonic()
        try:
            asking = self._tokens.shown(deadline, once) if self._tokens is not None else once(b"", "")
            response = await self._unless_ended(asking)
        except TransientError as error:
            if self._options.long_poll and error.code == "http.timeout" and time.monotonic() - began >= _SHORT:
                return None
            raise
        if response is None or response.status == 304:
            return None
        if not 200 <= response.status < 300:
            raise self._failure(response)
        return response

    async def _call(
        self, client: HttpClient, more: bytes, variables: Mapping[str, Any], target: str, within: float
    ) -> Response:
        options = self._options
        head = self._head.fill(variables, optional=True, target=target) + more
        body = b""
        if options.method == "POST":
            body, _ = plain_body(fill_tree(options.body, variables, optional=True), as_form=options.form)
            head += b"content-length: %d\r\n" % len(body)
        self._calls += 1
        response = await client.call(head + b"\r\n", body, within, repeatable=options.method == "GET")
        if response.body and b"content-encoding" in response.headers:
            response.body = await decoded(client, response)
        return response

    def _failure(self, response: Response) -> SendError:
        status, text = response.status, error_text(response, response.body)
        wait = retry_after(response.header(b"retry-after"))
        if wait:
            self._not_before = time.monotonic() + wait
        if status in (502, 503, 504):
            return UnreachableError(text, code=str(status))
        passing = status in _PASSING or status >= 500
        return (TransientError if passing else PermanentError)(text, code=str(status))

    async def _unless_ended(self, asking: Any) -> Response | None:
        """The reply, or ``None`` when the interface stops while a long poll waits; other calls finish."""
        task = asyncio.ensure_future(asking)
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait(
                [task, ended] if self._options.long_poll else [task], return_when=asyncio.FIRST_COMPLETED
            )
            return task.result() if task.done() else None
        finally:
            for each in (task, ended):
                each.cancel()
            await asyncio.gather(task, ended, return_exceptions=True)

    async def _wait_turn(self) -> bool:
        """Wait as long as the source asked for, and ``pause`` after the call before; False when the interface stops."""
        if self._calls and self._options.pause:
            self._not_before = max(self._not_before, time.monotonic() + self._options.pause)
        left = self._not_before - time.monotonic()
        if left > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._ended.wait()
        return not self._ended.is_set()

    def _variables(self, progress: Progress) -> dict[str, Any]:
        since = self._options.since
        found: dict[str, Any] = {}
        if since is not None and since.by == "time":
            form = since.format

            def written(seconds: float) -> str:
                return datetime.fromtimestamp(seconds, ZoneInfo(since.tz)).strftime(form)

            found["now"] = written(progress.until)
            if progress.since:
                found["since"] = written(float(progress.since) - since.overlap)
            elif since.start:
                found["since"] = written(since.epoch(since.start))
        elif since is not None:
            found["since"] = progress.since or since.start or None
        if "now" not in found:
            found["now"] = datetime.fromtimestamp(progress.until, ZoneInfo("Asia/Shanghai")).isoformat(
                timespec="seconds"
            )
        return found | (self._pager.variables(progress.position) if self._pager is not None else {})

    def _address(self, progress: Progress) -> str:
        """Of the page progress stands at, as far as a relative address needs it."""
        scheme = "https" if self._endpoint.secure else "http"
        path = str(progress.position.get("target") or encoded_path(join_path(self._endpoint.path, self._options.path)))
        return f"{scheme}://{self._endpoint.authority}{path}"

    def _started(self) -> HttpClient:
        if self._client is None:
            raise UnreachableError(
                t(f"{self.bound.place} is not started", f"{self.bound.place} 尚未启动"), code="http.stopped"
            )
        return self._client


def _gone(error: HubError) -> bool:
    return error.code.isdigit() and 400 <= int(error.code) < 500
