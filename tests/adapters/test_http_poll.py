"""Reading REST sources: pages, what is new, marks, failures; against a source on a real socket."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.http.paging import link_next
from adapters.http.poll import HttpPollReceiver
from adapters.http.poll_options import HttpPoll
from adapters.http.poll_progress import Progress
from hub.api import HubError, IntakePort, UnreachableError
from hub.codecs.form_codec import FormCodec
from tests.adapters.http_source import Call, Kept, Said, poll_bound, polling, read_once, run_once, source
from tests.adapters.http_support import DEADLINE, Peer, scripted, until


def rows(*numbers: int) -> list[dict[str, Any]]:
    return [{"id": number, "at": f"2026-01-{number:02d}"} for number in numbers]


def by_page(total: int, **more: Any) -> Any:
    """A source of numbered pages."""

    def answer(call: Call) -> Said:
        page, size = int(call.query["page"]), int(call.query["size"])
        found = rows(*range(1, total + 1))[(page - 1) * size : page * size]
        return Said({"code": 0, "data": {"list": found, "total": total, "more": page * size < total}})

    return answer


PAGED = {"query": {"page": "{page}", "size": "{size}"}, "items": "data.list"}


# -- pages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "calls"), [({}, 3), ({"total": "data.total"}, 2), ({"more": "data.more"}, 2)], ids=["size", "total", "more"]
)
async def test_numbered_pages_are_read_until_the_last(end: dict[str, str], calls: int) -> None:
    kept = Kept()
    async with source(by_page(4)) as lis:
        await read_once(lis.url, kept, **PAGED, paging={"by": "page", "size": 2, **end})
    assert kept.json == rows(1, 2, 3, 4)
    assert [call.query["page"] for call in lis.calls] == ["1", "2", "3"][:calls]


async def test_an_offset_grows_by_the_items_read() -> None:
    def answer(call: Call) -> Said:
        at = int(call.json["offset"])
        return Said(rows(*range(at + 1, min(at + 3, 6))))

    kept = Kept()
    async with source(answer) as lis:
        await read_once(
            lis.url,
            kept,
            method="POST",
            body={"offset": "{offset}", "max": "{size}"},
            items=".",
            paging={"by": "offset", "size": 2},
        )
    assert kept.json == rows(1, 2, 3, 4, 5)
    assert [call.json for call in lis.calls] == [{"offset": n, "max": 2} for n in (0, 2, 4)]


async def test_a_token_from_the_reply_leads_on() -> None:
    pages = {"": ("a", rows(1)), "a": ("b &=", rows(2)), "b &=": (None, rows(3))}

    def answer(call: Call) -> Said:
        token, found = pages[call.query.get("cursor", "")]
        return Said({"items": found, "meta": {"next": token}})

    kept = Kept()
    async with source(answer) as lis:
        await read_once(
            lis.url, kept, query={"cursor": "{next}"}, items="items", paging={"by": "next", "next": "meta.next"}
        )
    assert kept.json == rows(1, 2, 3)
    assert "cursor" not in lis.calls[0].query


@pytest.mark.parametrize("by", ["url", "link"])
async def test_addresses_of_the_next_page_are_followed_on_the_same_host_only(by: str) -> None:
    def answer(call: Call) -> Said:
        next_page = {"/reports": "/reports/2?x=1", "/reports/2": "http://127.0.0.1:1/3"}[call.path]
        link = f'Link: <{next_page}>; rel="next", </first>; rel=first'
        return Said({"items": rows(1), "next": next_page}, headers=[link])

    paging = {"by": "url", "next": "next"} if by == "url" else {"by": "link"}
    kept = Kept()
    async with source(answer) as lis:
        await read_once(f"{lis.url}/reports", kept, items="items", paging=paging)
    assert [(call.path, call.query) for call in lis.calls] == [("/reports", {}), ("/reports/2", {"x": "1"})]
    assert kept.errors == ["http.next_elsewhere"]


async def test_a_source_that_gives_the_same_page_for_ever_is_left() -> None:
    kept = Kept()
    async with source(lambda call: Said({"data": {"list": rows(1, 2)}})) as lis:
        for _ in range(3):
            await read_once(lis.url, kept, **PAGED, paging={"by": "page", "size": 2})
    assert kept.errors == ["http.no_progress"] * 3
    assert kept.json == rows(1, 2)


async def test_a_source_that_leads_in_a_circle_is_left() -> None:
    circle = {None: "a", "a": "b", "b": "c", "c": "a"}
    kept = Kept()
    options: dict[str, Any] = {"query": {"at": "{next}"}, "items": "rows", "paging": {"by": "next", "next": "next"}}
    async with source(lambda call: Said({"rows": rows(1), "next": circle[call.query.get("at")]})) as lis:
        for _ in range(3):
            await read_once(lis.url, kept, **options)
    assert kept.errors == ["http.no_progress"] * 3
    assert len(kept.items) == 3


async def test_a_page_that_is_as_the_last_one_of_the_run_before_is_no_circle() -> None:
    kept = Kept()
    async with source(by_page(1)) as lis, polling(lis.url, kept, **PAGED, paging={"by": "page", "size": 2}) as receiver:
        await run_once(receiver)
        await run_once(receiver)
    assert kept.errors == []


async def test_a_run_goes_on_at_the_page_where_it_was_broken_off() -> None:
    broken = True

    def answer(call: Call) -> Said:
        if broken and call.query["page"] == "2":
            return Said(b"", "500 Oops")
        said: Said = by_page(5)(call)
        return said

    kept = Kept()
    options = {**PAGED, "paging": {"by": "page", "size": 2}}
    async with source(answer) as lis:
        await read_once(lis.url, kept, **options)
        assert (kept.errors, kept.json) == (["500"], rows(1, 2))
        broken = False
        lis.calls.clear()
        await read_once(lis.url, kept, **options)
    assert kept.json == rows(1, 2, 3, 4, 5)
    assert lis.calls[0].query["page"] == "2"


async def test_a_token_the_source_no_longer_knows_begins_anew() -> None:
    broken = True

    def answer(call: Call) -> Said:
        token = call.query.get("cursor")
        if token == "old":
            return Said(b"", "500 Oops") if broken else Said({"error": "expired"}, "410 Gone")
        return Said({"items": rows(1), "next": "old" if broken else ""})

    kept = Kept()
    options: dict[str, Any] = {
        "query": {"cursor": "{next}"},
        "items": "items",
        "paging": {"by": "next", "next": "next"},
    }
    async with source(answer) as lis:
        await read_once(lis.url, kept, **options)
        broken = False
        run = await read_once(lis.url, kept, **options)
    assert (run["error"], run["restarted"]) == ("", "1")
    assert kept.errors == ["500"]


# -- what is new -------------------------------------------------------------------------------------------------------


def since_source(data: list[dict[str, Any]]) -> Any:
    """Gives what is as old as ``since`` or newer, as most do."""

    def answer(call: Call) -> Said:
        return Said([row for row in data if row["at"] >= call.query.get("since", "")])

    return answer


async def test_only_what_is_new_is_taken_and_the_boundary_once() -> None:
    data = rows(1, 2)
    kept = Kept()
    options = {"query": {"since": "{since}"}, "items": ".", "since": {"by": "item", "value": "at"}}
    async with source(since_source(data)) as lis:
        await read_once(lis.url, kept, **options)
        data.append({"id": 22, "at": "2026-01-02"})  # as old as the newest, only visible now
        await read_once(lis.url, kept, **options)
        data += rows(3)
        await read_once(lis.url, kept, **options)
        commits = kept.commits
        run = await read_once(lis.url, kept, **options)
    assert [row["id"] for row in kept.json] == [1, 2, 22, 3]
    assert [call.query.get("since") for call in lis.calls] == [None, "2026-01-02", "2026-01-02", "2026-01-03"]
    assert (run["taken"], kept.commits) == (0, commits)  # nothing new is no commit


async def test_numbers_are_compared_as_numbers() -> None:
    kept = Kept()
    options = {"query": {"since": "{since}"}, "items": ".", "since": {"by": "item", "value": "id", "start": "0"}}
    async with source(lambda call: Said([{"id": "9"}, {"id": "10"}, {"id": 9.5}])) as lis:
        await read_once(lis.url, kept, **options)
        await read_once(lis.url, kept, **options)
    assert [call.query["since"] for call in lis.calls] == ["0", "10"]


async def test_a_token_of_the_last_page_is_kept() -> None:
    kept = Kept()
    options: dict[str, Any] = {
        "query": {"sync": "{since}"},
        "items": "items",
        "since": {"by": "reply", "value": "token"},
    }
    async with source(lambda call: Said({"items": [], "token": call.query.get("sync", "") + "x"})) as lis:
        for _ in range(3):
            await read_once(lis.url, kept, **options)
    assert [call.query.get("sync") for call in lis.calls] == [None, "x", "xx"]


async def test_by_time_a_run_asks_from_where_the_one_before_began() -> None:
    kept = Kept()
    since = {"by": "time", "start": "2026-01-01T00:00:00", "format": "%Y%m%d%H%M%S", "overlap": "10m"}
    options: dict[str, Any] = {"query": {"from": "{since}", "to": "{now}"}, "items": ".", "since": since}
    async with source(lambda call: Said([])) as lis:
        await read_once(lis.url, kept, **options)
        await read_once(lis.url, kept, **options)
    first, second = (call.query for call in lis.calls)
    assert first["from"] == "20260101000000"
    read = time.mktime(time.strptime(second["from"], "%Y%m%d%H%M%S"))
    assert time.mktime(time.strptime(first["to"], "%Y%m%d%H%M%S")) - read == 600


async def test_a_page_that_is_as_before_is_not_taken_again() -> None:
    text = b'{"state": 1}'

    def answer(call: Call) -> Said:
        if call.headers.get("if-none-match") == '"v1"':
            return Said(b"", "304 Not Modified")
        return Said(text, headers=['ETag: "v1"'] if text.endswith(b"1}") else [])

    kept = Kept()
    async with source(answer) as lis:
        await read_once(lis.url, kept)
        await read_once(lis.url, kept)
        assert kept.items == [text]
        lis.answer = lambda call: Said(b'{"state": 2}')
        await read_once(lis.url, kept)
        await read_once(lis.url, kept)
    assert kept.items == [text, b'{"state": 2}']


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=5))
def test_a_source_that_gives_the_newest_again_is_taken_exactly_once(runs: list[list[int]]) -> None:
    data: list[tuple[int, int]] = []
    taken: list[bytes] = []
    mark = ""
    number = 0
    for fresh in runs:
        highest = max((value for value, _ in data), default=0)
        for step in fresh:
            number += 1
            data.append((highest + step, number))  # never older than what was there
        progress = Progress.load(mark)
        progress.begin(1.0)
        since = int(progress.since or 0)
        seen = [pair for pair in data if pair[0] >= since]
        for at in range(0, len(seen), 2):
            page = seen[at : at + 2]
            taken += progress.note([repr(pair).encode() for pair in page], [str(value) for value, _ in page])
            progress = Progress.load(progress.dump())  # the hub may begin anew after any page
        progress.end()
        mark = progress.dump()
    assert sorted(taken) == sorted(repr(pair).encode() for pair in data)


def test_a_mark_does_not_grow_without_limit() -> None:
    progress = Progress()
    progress.begin(1.0)
    raws = [b"%d" % number for number in range(20_000)]
    assert progress.note(raws, ["2026"] * len(raws)) == raws
    progress.end()
    assert len(progress.dump()) < 200_000
    assert Progress.load(progress.dump()) == progress


@pytest.mark.parametrize("mark", ["", "{", "[]", "7", '{"other": 1}'])
def test_a_mark_that_can_not_be_read_counts_as_none(mark: str) -> None:
    assert Progress.load(mark) == Progress()


# -- long polling ------------------------------------------------------------------------------------------------------


async def test_a_long_poll_is_asked_again_at_once_and_given_up_at_the_end() -> None:
    answers = [Said(rows(1)), Said(rows(2)), None]
    kept = Kept()
    async with source(lambda call: answers.pop(0)) as lis, asyncio.timeout(DEADLINE):
        async with polling(lis.url, kept, items=".", long_poll=True, timeout="1h") as receiver:
            receiver.run_now()
            await until(lambda: len(lis.calls) == 3)
            assert kept.json == rows(1, 2)
        assert receiver.status()["running"] is None
    assert kept.errors == []


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["429 Too Many", "503 Unavailable"])
async def test_a_source_that_asks_to_wait_is_left_alone(status: str) -> None:
    kept = Kept()
    async with source(lambda call: Said(b"", status, ["Retry-After: 3600"])) as lis:
        async with polling(lis.url, kept) as receiver:
            await run_once(receiver)
            assert kept.errors == [status[:3]]
            receiver.run_now()
            await until(lambda: receiver.status()["running"] is not None)
            assert receiver.status()["asked_to_wait_s"] > 3500
        assert len(lis.calls) == 1


async def test_every_failure_has_its_code_and_passes() -> None:
    said: list[Said] = []
    kept = Kept()
    options = {"items": "data", "success": "code == 0", "message": "msg", "reply_limit": 1000}
    async with source(lambda call: said[0]) as lis, polling(lis.url, kept, **options) as receiver:
        for wrong in (
            Said({"code": 7, "msg": "患者 13800138000 不存在"}),
            Said(b"<html>"),
            Said({"code": 0, "data": ["x" * 2000]}),
            Said(b"", "404 Not Found"),
            Said(b"", "302 Found", ["Location: http://elsewhere/"]),
            Said(b"\x1f\x8bnope", headers=["Content-Encoding: gzip"]),
        ):
            said[:] = [wrong]
            await run_once(receiver)
        assert kept.errors == [
            "http.source_failed",
            "http.bad_page",
            "http.reply_too_large",
            "404",
            "302",
            "http.coding",
        ]
        assert "13800138000" not in str([error for _, error in kept.runs])
        said[:] = [Said({"code": 0, "data": rows(1)})]
        await run_once(receiver)
    assert kept.json == rows(1)


async def test_a_reply_that_is_cut_short_takes_nothing() -> None:
    kept = Kept()
    whole = orjson.dumps(rows(1, 2))

    async def cut(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(whole) + whole[:-3])

    async with scripted(cut) as port:
        await read_once(f"http://127.0.0.1:{port}", kept, items=".")
    assert (kept.errors, kept.items) == (["http.lost"], [])


async def test_a_source_that_is_away_is_unreachable_and_a_silent_one_times_out() -> None:
    kept = Kept()
    async with source(lambda call: None) as lis:
        await read_once(lis.url, kept, timeout="200ms")
        url = lis.url
    await read_once(url, kept)
    assert kept.errors == ["http.timeout", "http.unreachable"]


async def test_a_full_store_takes_the_page_later() -> None:
    kept = Kept(busy=2)
    async with source(lambda call: Said(rows(1))) as lis:
        run = await read_once(lis.url, kept, items=".")
    assert (kept.json, run["taken"]) == (rows(1), 1)


async def test_items_keep_their_digits() -> None:
    kept = Kept()
    async with source(lambda call: Said(b'{"rows":[{"id":12345678901234567890,"sum":12.50}]}')) as lis:
        await read_once(lis.url, kept, items="rows")
    assert kept.items == [b'{"id":12345678901234567890,"sum":12.50}']


async def test_a_probe_tells_whether_the_source_is_there() -> None:
    kept = Kept()
    async with source(lambda call: Said(b"", "204 No Content")) as lis:
        async with polling(f"{lis.url}/reports", kept) as receiver:
            assert f"127.0.0.1:{lis.port}" in await receiver.probe()
        async with polling(lis.url, kept, probe={"path": "health", "expect": [204]}) as receiver:
            assert "204" in await receiver.probe()
        assert [(call.method, call.path) for call in lis.calls] == [("GET", "/health")]
    async with polling(lis.url, kept) as receiver:
        with pytest.raises(UnreachableError):
            await receiver.probe()


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"query": {"p": "{page}"}}, "no value for {page}"),
        ({"items": "a", "paging": {"by": "page", "size": 5}}, "{page} stands nowhere"),
        ({"items": "a", "paging": {"by": "page"}}, "size, more or total"),
        ({"paging": {"by": "next"}}, "paging.next"),
        ({"paging": {"by": "offset", "size": 5}, "query": {"o": "{offset}"}}, "without items"),
        ({"since": {"by": "item", "value": "at"}, "query": {"s": "{since}"}}, "needs items"),
        ({"since": {"by": "time", "value": "at"}}, "since.value"),
        ({"body": {"a": 1}}, "GET sends no body"),
        ({"headers": {"Host": "x"}}, "written by the adapter"),
        ({"url": "ftp://x"}, "http://"),
        ({"items": "data.("}, "items: "),
        ({"items": "data", "success": "code ==", "paging": {"by": "link"}}, "success: "),
    ],
)
def test_options_that_can_not_work_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as raised:
        HttpPoll.model_validate({"url": "http://x", **options})
    assert says in str(raised.value)


def test_items_need_json() -> None:
    bound = replace(poll_bound("http://x", items="a"), codec=FormCodec())
    with pytest.raises(HubError, match=r"json"):
        HttpPollReceiver(bound, cast(IntakePort, Kept()))


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ('<https://x/2>; rel="next"', "https://x/2"),
        ('<a,b>; rel=prev, </2?a=1,2>; title="x, y"; rel="last next"', "/2?a=1,2"),
        ("<2>; REL=Next", "2"),
        ("<2>; rel=nextish", ""),
        ("", ""),
        ("<<>>;;,rel=next", ""),
    ],
)
def test_link_headers(header: str, target: str) -> None:
    assert link_next(header) == target


@given(st.text(alphabet='<>;,= "relnxt', max_size=200))
def test_any_link_header_is_read_without_an_error(header: str) -> None:
    link_next(header)
