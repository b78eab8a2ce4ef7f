"""A book of entries: what it takes, what it refuses, and what a comparison of its sides says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.reconcile.book import Book
from adapters.reconcile.comparing import compare
from adapters.reconcile.entries import Batch, Entry, read_request
from adapters.reconcile.options import ReconcileConnect
from adapters.reconcile.sender import ReconcileSender
from hub.api import Bound, HubError, Outgoing, PermanentError, Reply, TransientError
from hub.keys.ring import DataKeys
from hub.store.sealer import Sealer
from hub.store.sealing import seals

DAY = "2026-01-15"
OPTIONS = ReconcileConnect(
    book="till",
    sides=cast(
        Any, {"channel": {"required": True, "name": "支付渠道"}, "platform": {"continuous": True}, "hospital": None}
    ),
    void=["closed"],
)


def entry(key: str, amount: int, state: str = "paid", **more: Any) -> Entry:
    more = {"kind": "payment", "day": DAY, "at": "", "details": {}} | more
    return Entry(key=key, amount=amount, state=state, **more)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    opened = Book(tmp_path, "till")
    yield opened
    opened.close()


def report(book: Book, options: ReconcileConnect = OPTIONS) -> dict[str, Any]:
    return compare(options, DAY, book.complete(DAY), book.touched(DAY))


def found(book: Book, options: ReconcileConnect = OPTIONS) -> dict[str, tuple[list[str], list[str], int]]:
    return {
        one["key"]: (one["problems"], one["missing"], one["difference"]) for one in report(book, options)["differences"]
    }


# -- what is taken ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", "not JSON"),
        (b"[]", "an object"),
        (b'{"compare": "2026-02-30"}', "compare: a day"),
        (b'{"side": "bank", "entries": []}', "side: one of"),
        (b'{"side": "bank", "list": "2026-01-15"}', "side: one of"),
        (b'{"side": "platform", "list": 7}', "list: a day"),
        (b'{"side": "platform", "entries": {}}', "entries: a list"),
        (b'{"side": "platform"}', "entries: a list"),
        (b'{"side": "channel", "complete": true}', "day: missing"),
        (b'{"side": "channel", "complete": 1, "day": "2026-01-15"}', "complete: true or false"),
        (b'{"side": "platform", "entries": [{"key": "1", "amount": 1.5, "state": "paid"}]}', "entries[0].amount"),
        (b'{"side": "platform", "entries": [{"key": "1", "amount": true, "state": "paid"}]}', "entries[0].amount"),
        (
            b'{"side": "platform", "entries": [{"key": "1", "amount": 9007199254740992, "state": "paid"}]}',
            "entries[0].amount",
        ),
        (b'{"side": "platform", "entries": [{"key": "", "amount": 1, "state": "paid"}]}', "entries[0].key"),
        (b'{"side": "platform", "entries": [{"key": "1", "amount": 1, "state": "paid"}]}', "entries[0].day"),
        (
            b'{"side": "platform", "entries": [{"key": "1", "amount": 1, "state": 2, "day": "2026-01-15"}]}',
            "entries[0].state",
        ),
        (b'{"side": "platform", "entries": [7]}', "entries[0]: an object"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(body: bytes, told: str) -> None:
    with pytest.raises(PermanentError) as caught:
        read_request(body, {"channel", "platform"})
    assert told in str(caught.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
        lambda of: st.lists(of) | st.dictionaries(st.text(), of),
    )
)
@settings(derandomize=True, max_examples=200)
def test_nothing_else_than_a_refusal_comes_of_any_json(tree: Any) -> None:
    for body in (
        tree,
        {"side": "channel", "day": DAY, "entries": [tree]},
        {"side": "channel", "day": tree, "complete": True},
    ):
        with contextlib.suppress(PermanentError):
            read_request(orjson.dumps(body), {"channel"})


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"sides": {"a": {}}}, "two sides"),
        ({"sides": {"a": {"required": True, "continuous": True}, "b": {}}}, "can't be waited for"),
        ({"compare": []}, "compare"),
        ({"book": "../x"}, "book"),
    ],
)
def test_wrong_settings(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ReconcileConnect(**({"book": "till", "sides": {"a": {}, "b": {}}} | wrong))


# -- comparing -------------------------------------------------------------------------------------------------------


def test_what_all_sides_have_alike_is_no_difference(book: Book) -> None:
    book.enter(Batch("channel", [entry("1", 100), entry("2", 5, "closed")], DAY))
    book.enter(Batch("platform", [entry("1", 100)], ""))
    book.enter(Batch("hospital", [entry("1", 100)], DAY))
    told = report(book)
    assert (told["total"], told["matched"], told["abnormal"], told["amount"], told["difference"]) == (1, 1, 0, 100, 0)
    assert told["kinds"] == {"payment": {"abnormal": 0, "amount": 100, "difference": 0, "matched": 1, "total": 1}}


def test_each_kind_of_difference(book: Book) -> None:
    book.enter(
        Batch(
            "channel",
            [entry("amount", 100), entry("state", 7), entry("lost", 5), entry("twice", 3), entry("twice", 3)],
            DAY,
        )
    )
    book.enter(
        Batch(
            "platform",
            [
                entry("amount", 90),
                entry("state", 7, "closed"),
                entry("twice", 3),
                entry("only", 1),
                entry("void", 1, "closed"),
            ],
            "",
        )
    )
    assert found(book) == {
        "amount": (["amount"], [], 10),
        "state": (["state"], [], 7),
        "lost": (["missing"], ["platform"], 5),
        "twice": (["duplicate"], [], 3),
        "only": (["missing"], ["channel"], 1),
    }
    assert report(book)["leftOut"] == ["hospital"]  # its list has not come, and nobody waits for it


def test_a_refund_is_not_the_payment_of_the_same_number(book: Book) -> None:
    book.enter(Batch("channel", [entry("1", 100), entry("1", 100, "refunded", kind="refund")], DAY))
    book.enter(Batch("platform", [entry("1", 100)], ""))
    assert [(one["kind"], one["problems"]) for one in report(book)["differences"]] == [("refund", ["missing"])]


def test_about_midnight_days_differ_and_numbers_meet(book: Book) -> None:
    book.enter(Batch("channel", [entry("1", 100)], DAY))
    book.enter(Batch("platform", [entry("1", 100, day="2026-01-16")], ""))
    assert found(book) == {}


def test_what_else_is_to_be_compared_is_named(book: Book) -> None:
    options = OPTIONS.model_copy(update={"compare": ["amount", "merchant"]})
    book.enter(
        Batch("channel", [entry("1", 1, details={"merchant": "A"}), entry("2", 1, details={"merchant": "A"})], DAY)
    )
    book.enter(Batch("platform", [entry("1", 1, details={"merchant": "B"}), entry("2", 1)], ""))
    assert found(book, options) == {"1": (["merchant"], [], 0)}


def test_a_report_counts_more_than_it_lists(book: Book) -> None:
    book.enter(Batch("channel", [entry(str(number), 1) for number in range(5)], DAY))
    told = report(book, OPTIONS.model_copy(update={"listed": 2}))
    assert (len(told["differences"]), told["unlisted"], told["abnormal"]) == (2, 3, 5)


# -- the book --------------------------------------------------------------------------------------------------------


def test_a_list_of_a_day_takes_the_place_of_the_earlier_one(book: Book) -> None:
    book.enter(Batch("channel", [entry("1", 100), entry("2", 100)], DAY))
    book.enter(Batch("channel", [entry("2", 70)], DAY))
    assert {one["key"]: one["sides"]["channel"]["amount"] for one in report(book)["differences"]} == {"2": 70}


STATES = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.sampled_from(["paid", "closed", "waiting"])), max_size=8
)


@given(STATES, st.randoms(use_true_random=False))
@settings(derandomize=True, max_examples=40, deadline=None)
def test_the_latest_state_counts_whatever_order_it_comes_in(
    tmp_path_factory: pytest.TempPathFactory, states: list[tuple[str, int, str]], chance: Any
) -> None:
    moments = [
        entry(key, amount, state, at=f"2026-01-15T10:00:{at:02}") for at, (key, amount, state) in enumerate(states)
    ]
    mixed = moments * 2
    chance.shuffle(mixed)
    book = Book(tmp_path_factory.mktemp("book"), "till")
    for one in mixed:
        book.enter(Batch("platform", [one], ""))
    kept = {kept.key: (kept.data["amount"], kept.data["state"]) for thing in book.touched(DAY) for kept in thing}
    book.close()
    assert kept == {one.key: (one.amount, one.state) for one in moments}


def test_the_same_report_is_filed_once(book: Book) -> None:
    first = book.file(DAY, {"total": 1})
    assert first["version"] == 1
    assert book.file(DAY, {"total": 1}) == first
    assert book.file(DAY, {"total": 2})["version"] == 2
    assert book.file("2026-01-16", {"total": 2})["version"] == 1


def test_old_days_go(book: Book) -> None:
    book.enter(Batch("channel", [entry("1", 1)], DAY))
    book.file(DAY, {})
    book.prune("2026-01-16")
    assert report(book)["total"] == 0
    assert book.complete(DAY) == set()
    assert book.file(DAY, {})["version"] == 1


class OneKey(DataKeys):
    def current(self) -> tuple[int, bytes]:
        return 1, b"k" * 32

    def get(self, version: int) -> bytes:
        return b"k" * 32


def test_only_the_hubs_user_may_read_a_book(tmp_path: Path) -> None:
    before = os.umask(0)  # where nothing else helps
    try:
        opened = Book(tmp_path, "till")
        opened.enter(Batch("channel", [entry("1", 1)], DAY))
        rights = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "books").iterdir()}
        opened.close()
    finally:
        os.umask(before)
    assert rights == {"till.sqlite": 0o600, "till.sqlite-wal": 0o600, "till.sqlite-shm": 0o600}
    assert stat.S_IMODE((tmp_path / "books").stat().st_mode) == 0o700


@pytest.mark.parametrize("details", ['{"a":' * 300 + "1" + "}" * 300, '{"a": "' + "x" * (16 << 10) + '"}'])
def test_details_too_deep_or_too_large_are_refused_with_their_place(details: str) -> None:
    body = '{"side": "channel", "day": "%s", "entries": [{"key": "1", "amount": 1, "state": "paid", "details": %s}]}'
    with pytest.raises(PermanentError, match=r"entries\[0\]\.details"):
        read_request((body % (DAY, details)).encode(), {"channel"})


def test_where_the_store_is_sealed_the_book_is(tmp_path: Path) -> None:
    seals(tmp_path, Sealer(OneKey(), "aes-256-gcm"))
    book = Book(tmp_path, "till")
    book.enter(Batch("channel", [entry("1", 4711, details={"order": "secret-order"})], DAY))
    book.file(DAY, {"text": "secret-order"})
    assert [one["sides"]["channel"]["amount"] for one in report(book)["differences"]] == [4711]
    assert book.file(DAY, {"text": "secret-order"})["version"] == 1
    book.close()
    assert all(b"secret-order" not in file.read_bytes() for file in (tmp_path / "books").iterdir())
    elsewhere = tmp_path.parent / "no keys"
    shutil.copytree(tmp_path, elsewhere)
    unopened = Book(elsewhere, "till")
    with pytest.raises(sqlite3.DatabaseError, match="sealed"):
        report(unopened)
    unopened.close()


# -- sending ---------------------------------------------------------------------------------------------------------


class NoKeys(DataKeys):
    def current(self) -> tuple[int, bytes]:
        raise HubError("the key store is locked", code="key.locked")

    def get(self, version: int) -> bytes:
        raise HubError("the key store is locked", code="key.locked")


async def test_without_keys_just_now_it_is_tried_again(tmp_path: Path) -> None:
    seals(tmp_path, Sealer(NoKeys(), "aes-256-gcm"))
    bound = cast(Bound, type("Place", (), {"options": OPTIONS, "data": tmp_path, "place": "till/entries"})())
    sender = ReconcileSender(bound)
    rows = [{"key": "1", "amount": 100, "state": "paid"}]
    try:
        with pytest.raises(TransientError, match="locked"):
            await sender.send(outgoing({"side": "channel", "day": DAY, "complete": True, "entries": rows}))
    finally:
        await sender.stop()


def outgoing(body: Any) -> Outgoing:
    return Outgoing(orjson.dumps(body), 1, "key", "t", "c", 1, 5.0)


async def test_a_day_is_not_compared_before_the_bill_is_there(tmp_path: Path) -> None:
    bound = cast(Bound, type("Place", (), {"options": OPTIONS, "data": tmp_path, "place": "till/compare"})())
    sender = ReconcileSender(bound)
    await sender.start()
    try:
        assert "book till" in await sender.probe()
        early = await sender.send(outgoing({"compare": DAY}))
        assert (early.ok, early.code, early.transient) == (False, "incomplete", True)
        assert "支付渠道" in early.error
        rows = [{"key": "1", "amount": 100, "state": "paid"}]
        done = await sender.send(outgoing({"side": "channel", "day": DAY, "complete": True, "entries": rows}))
        assert orjson.loads(done.body) == {"code": "ok", "entered": 1}
        told: Reply = await sender.send(outgoing({"compare": DAY}))
        assert (told.ok, orjson.loads(told.body)["version"], orjson.loads(told.body)["abnormal"]) == (True, 1, 1)
    finally:
        await sender.stop()


async def test_what_one_side_has_of_a_day_is_listed(tmp_path: Path) -> None:
    bound = cast(Bound, type("Place", (), {"options": OPTIONS, "data": tmp_path, "place": "till/listing"})())
    sender = ReconcileSender(bound)
    await sender.start()
    try:
        rows = [
            {"key": "B", "amount": -5, "state": "paid", "details": {"yuan": "-0.05"}},
            {"key": "A", "amount": 1, "state": "closed"},
        ]
        await sender.send(outgoing({"side": "platform", "day": DAY, "entries": rows}))
        await sender.send(
            outgoing({"side": "channel", "day": DAY, "entries": [{"key": "C", "amount": 2, "state": "paid"}]})
        )
        told = await sender.send(outgoing({"list": DAY, "side": "platform"}))
        empty = await sender.send(outgoing({"list": "2026-01-16", "side": "platform"}))
    finally:
        await sender.stop()
    assert orjson.loads(told.body) == {
        "code": "ok",
        "day": DAY,
        "side": "platform",
        "entries": [
            {"kind": "payment", "key": "A", "at": "", "amount": 1, "state": "closed", "details": {}},
            {"kind": "payment", "key": "B", "at": "", "amount": -5, "state": "paid", "details": {"yuan": "-0.05"}},
        ],
    }
    assert orjson.loads(empty.body)["entries"] == []


async def test_two_interfaces_share_a_book(tmp_path: Path) -> None:
    bound = cast(Bound, type("Place", (), {"options": OPTIONS, "data": tmp_path, "place": "till/entries"})())
    one, other = ReconcileSender(bound), ReconcileSender(bound)
    rows = [{"key": str(number), "amount": 1, "state": "paid", "day": DAY} for number in range(50)]
    await asyncio.gather(
        *(sender.send(outgoing({"side": "platform", "entries": [row]})) for row in rows for sender in (one, other))
    )
    await other.send(outgoing({"side": "channel", "day": DAY, "complete": True}))
    told = orjson.loads((await other.send(outgoing({"compare": DAY}))).body)
    assert told["sides"]["platform"] == {"name": "platform", "entries": 50, "amount": 50}
    await one.stop()
    await other.stop()


async def test_a_book_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "books").write_text("in the way")
    bound = cast(Bound, type("Place", (), {"options": OPTIONS, "data": tmp_path, "place": "till/entries"})())
    sender = ReconcileSender(bound)
    with pytest.raises(TransientError, match="can't be used"):
        await sender.send(outgoing({"compare": DAY}))
    (tmp_path / "books").unlink()
    assert (await sender.send(outgoing({"compare": DAY}))).code == "incomplete"
    await sender.stop()
