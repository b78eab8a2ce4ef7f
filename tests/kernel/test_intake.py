"""From bytes to a durable message: what is accepted, what is refused, what is recognised, and when it is said."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import apsw
import orjson
import pytest

from hub.api import HubError, Receipt
from hub.codecs.json_codec import JsonCodec
from hub.errors import StoreBusy
from hub.intake import OFF_LOOP_BYTES, intake
from hub.masking import key_digest
from hub.message import DeliveryState, Direction, Outcome
from hub.node import data_folder, salt_of
from hub.store.base import MessageQuery
from tests.kernel.conftest import StartHub
from tests.kernel.kernel_support import Hub, Site, until

M1 = {"id": "m1", "type": "adt", "key": "a", "pid": "p7"}


@contextmanager
def commits_held_back(hub: Hub) -> Iterator[None]:
    """No transaction of the store can begin: another connection has the file, as a backup tool might."""
    (segment,) = hub.folder().glob("segment-*.db")
    connection = apsw.Connection(str(segment))
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


async def stored(hub: Hub, **query: Any) -> list[int]:
    return [row.id for row in (await hub.node.store.reader.search(MessageQuery(**query))).rows]


async def test_a_message_is_kept_byte_for_byte_with_its_envelope(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    raw = b' {"id": "m1",\t"type":"adt","pid" :"p7", "note":"\xe5\xbc\xa0"}\r\n'
    receipt = await hub.wire.submit("his/in", raw)
    assert (receipt.outcome, receipt.accepted, receipt.type, receipt.control_id) == (Outcome.OK, True, "adt", "m1")
    message = await hub.node.store.reader.message(receipt.message_id)
    assert message is not None
    assert (message.raw, message.source, message.codec) == (raw, "his/in", "json")
    assert message.keys == {"patient_id": "p7"}
    assert message.content_hash == blake2b(raw, digest_size=16).digest()
    (call,) = await hub.calls("his/in")
    assert (call.direction, call.outcome, call.remote) == (Direction.IN, Outcome.OK, "test")
    assert call.message_id == receipt.message_id


async def test_nothing_is_answered_before_the_commit(site: Site, start: StartHub) -> None:
    peer = site.target()
    hub = await start(site)
    with commits_held_back(hub):
        answers = [hub.wire.offer("his/in", {**M1, "id": f"m{n}"}) for n in range(20)]
        await asyncio.sleep(0.1)  # time enough for whoever would not wait
        assert not any(answer.done() for answer in answers)
        assert peer.calls == []
        assert await stored(hub) == []
    receipts = await asyncio.wait_for(asyncio.gather(*answers), 20)
    assert all(receipt.outcome is Outcome.OK for receipt in receipts)
    assert sorted(await stored(hub)) == sorted(receipt.message_id for receipt in receipts)
    await hub.reached(DeliveryState.DELIVERED, 20)


async def test_answers_come_in_the_order_of_the_messages(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    order: list[str] = []
    receiver = hub.wire.receivers["his/in"]
    for n in range(200):
        receiver.intake.submit(
            receiver.bound, b'{"id":"m%d","type":"t"}' % n, lambda receipt: order.append(receipt.control_id)
        )
    await until(lambda: len(order) == 200)
    assert order == [f"m{n}" for n in range(200)]


async def test_a_store_that_can_not_commit_refuses_and_recovers(site: Site, start: StartHub) -> None:
    peer = site.target()
    hub = await start(site)
    with commits_held_back(hub):
        receipt = await hub.wire.submit("his/in", M1)
        assert not receipt.accepted
        assert isinstance(receipt.error, StoreBusy)
        receiver = hub.wire.receivers["his/in"]
        assert not receiver.intake.ready()
        assert hub.node.readiness()
        again = await hub.wire.submit("his/in", M1)
        assert isinstance(again.error, StoreBusy)
    await until(lambda: hub.node.store.writable)
    assert hub.node.readiness() == []
    assert (await hub.wire.submit("his/in", M1)).outcome is Outcome.OK
    await hub.reached(DeliveryState.DELIVERED)
    assert len(peer.calls) == 1


async def test_a_repeated_message_is_answered_as_before_and_not_delivered_again(site: Site, start: StartHub) -> None:
    peer = site.target()
    hub = await start(site)
    first = await hub.wire.submit("his/in", M1)
    for _ in range(3):
        again = await hub.wire.submit("his/in", M1)
        assert (again.outcome, again.accepted, again.message_id) == (Outcome.DUPLICATE, True, first.message_id)
    await hub.restart(5.0)
    again = await hub.wire.submit("his/in", M1)
    assert (again.outcome, again.message_id) == (Outcome.DUPLICATE, first.message_id)
    await hub.reached(DeliveryState.DELIVERED)
    assert len(peer.calls) == 1
    assert await stored(hub) == [first.message_id]
    outcomes = [call.outcome for call in await hub.calls("his/in")]
    assert outcomes == [Outcome.OK] + [Outcome.DUPLICATE] * 4


async def test_repeated_while_the_first_is_not_committed_yet(site: Site, start: StartHub) -> None:
    peer = site.target()
    hub = await start(site)
    with commits_held_back(hub):
        answers = [hub.wire.offer("his/in", M1) for _ in range(5)]
    receipts = await asyncio.wait_for(asyncio.gather(*answers), 20)
    assert [receipt.outcome for receipt in receipts] == [Outcome.OK] + [Outcome.DUPLICATE] * 4
    assert len({receipt.message_id for receipt in receipts}) == 1
    await hub.reached(DeliveryState.DELIVERED)
    assert len(peer.calls) == 1


async def test_the_same_number_with_other_bytes_is_a_conflict_and_processed(site: Site, start: StartHub) -> None:
    peer = site.target()
    hub = await start(site)
    first = await hub.wire.submit("his/in", M1)
    other = await hub.wire.submit("his/in", {**M1, "pid": "p8"})
    assert (other.outcome, other.accepted) == (Outcome.CONFLICT, True)
    assert other.message_id != first.message_id
    assert await stored(hub, conflict=True) == [other.message_id]
    await hub.reached(DeliveryState.DELIVERED, 2)
    assert [body["pid"] for body in peer.bodies] == ["p7", "p8"]
    assert (await hub.wire.submit("his/in", M1)).outcome is Outcome.DUPLICATE
    assert hub.node.metrics.inbound("his/in").snapshot()["conflict"] == 1


async def test_without_a_window_nothing_is_a_duplicate(site: Site, start: StartHub) -> None:
    site.system("his", "his", **{"in": {"duplicate_window": 0}})
    site.target()
    hub = await start(site)
    for _ in range(2):
        assert (await hub.wire.submit("his/in", M1)).outcome is Outcome.OK
    await hub.reached(DeliveryState.DELIVERED, 2)


async def test_the_same_number_of_another_system_is_no_duplicate(site: Site, start: StartHub) -> None:
    site.system("east", "his")
    site.target()
    site.config["routes"]["to_sink"]["from"] = ["his", "east/in"]
    hub = await start(site)
    assert (await hub.wire.submit("his/in", M1)).outcome is Outcome.OK
    assert (await hub.wire.submit("east/in", M1)).outcome is Outcome.OK
    await hub.reached(DeliveryState.DELIVERED, 2)


async def test_a_number_the_transport_carries_stands_in_for_a_missing_one(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    first = await hub.wire.submit("his/in", {"type": "t"}, control_id="k1")
    again = await hub.wire.submit("his/in", {"type": "t"}, control_id="k1")
    own = await hub.wire.submit("his/in", {"id": "m1", "type": "t"}, control_id="k1")
    assert (first.control_id, again.outcome, own.control_id) == ("k1", Outcome.DUPLICATE, "m1")
    await hub.reached(DeliveryState.DELIVERED, 2)


async def test_what_matches_no_route_is_stored_and_counted_as_filtered(site: Site, start: StartHub) -> None:
    site.target()
    site.config["routes"]["to_sink"]["types"] = ["oru"]
    hub = await start(site)
    receipt = await hub.wire.submit("his/in", M1)
    assert receipt.outcome is Outcome.OK
    assert await hub.deliveries() == []
    report = await hub.node.store.reader.verify_ledger()
    assert (report.messages, report.filtered) == (1, 1)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "json.invalid"),
        (b"MSH|^~\\&|", "json.invalid"),
        (b"[" * 5000, "json."),
        (b'{"id":"' + b"x" * 300 + b'"}', "intake.envelope"),
        (b'{"type":"' + b"x" * 300 + b'"}', "intake.envelope"),
        (b'{"pad":"' + b"x" * 2000 + b'"}', "intake.too_large"),
    ],
)
async def test_what_can_not_be_understood_is_refused_and_kept(
    site: Site, start: StartHub, raw: bytes, code: str
) -> None:
    site.system("his", "his", **{"in": {"max_size": 1000 if code == "intake.too_large" else 100_000}})
    site.target()
    hub = await start(site)
    receipt = await hub.wire.submit("his/in", raw)
    assert not receipt.accepted
    assert receipt.error is not None
    assert receipt.error.code.startswith(code)
    assert not isinstance(receipt.error, StoreBusy)  # "never", not "later"
    (call,) = await hub.logged("his/in", 1)
    assert (call.outcome, call.code, call.request or b"") == (Outcome.REFUSED, receipt.error.code, raw)
    assert await stored(hub) == []
    figures = hub.node.metrics.inbound("his/in").snapshot()
    assert (figures["received"], figures["refused"], figures["accepted"]) == (1, 1, 0)


async def test_a_codec_that_throws_costs_one_message(site: Site, start: StartHub) -> None:
    site.plugin(
        "moody",
        """
id: moody
name: brings a codec with a bug
interfaces:
  unused: {direction: out, adapter: wire, connect: {channel: x}, codec: json}
""",
        """
from hub.api import Codec, hookimpl

class Moody(Codec):
    name = "moody"

    def decode(self, raw, *, encoding=""):
        return {"id": raw.split(b":")[1].decode()}

    def encode(self, tree, *, encoding=""):
        return b""

@hookimpl
def hub_codecs():
    return [Moody()]
""",
    )
    site.system("his", "his", **{"in": {"codec": "moody", "type": "", "control_id": "", "keys": {}}})
    site.target(codec="moody", order_by=None)
    hub = await start(site)
    assert [p for p in hub.node.problems if p.severity == "error"] == []
    bad = await hub.wire.submit("his/in", b"no colon")
    assert not bad.accepted
    assert bad.error is not None
    assert not isinstance(bad.error, StoreBusy)
    assert (await hub.wire.submit("his/in", b"a:b")).outcome is Outcome.OK
    await hub.reached(DeliveryState.DELIVERED)


async def test_an_ordering_key_that_can_not_be_read_does_not_cost_the_message(site: Site, start: StartHub) -> None:
    site.target(order_by="key | number")
    hub = await start(site)
    for number, key in enumerate(("1", "no number", [], {"a": 1})):
        receipt = await hub.wire.submit("his/in", {"id": f"m{number}", "type": "t", "key": key})
        assert receipt.accepted, receipt.error
    await hub.reached(DeliveryState.DELIVERED, 4)


async def test_an_id_number_is_indexed_as_a_hash_only(site: Site, start: StartHub) -> None:
    site.system("his", "his", **{"in": {"keys": {"id_number": "pid", "patient_id": "key"}}})
    site.target()
    hub = await start(site)
    number = "110101199003070011"
    receipt = await hub.wire.submit("his/in", {**M1, "pid": number})
    message = await hub.node.store.reader.message(receipt.message_id)
    assert message is not None
    salt = salt_of(data_folder(site.file, hub.node.deployment.config))
    assert message.keys == {"id_number": key_digest(number, salt), "patient_id": "a"}
    assert number not in str(message.keys)


async def test_a_full_queue_refuses_and_says_later(site: Site, start: StartHub) -> None:
    site.config["store"]["queue"] = 100
    site.target()
    hub = await start(site)
    with commits_held_back(hub):
        answers = [hub.wire.offer("his/in", {**M1, "id": f"m{n}"}) for n in range(300)]
        refused = [answer.result() for answer in answers if answer.done()]
        assert len(refused) == 200
        assert all(isinstance(receipt.error, StoreBusy) and not receipt.accepted for receipt in refused)
        assert not hub.wire.receivers["his/in"].intake.ready()
    receipts: list[Receipt] = await asyncio.wait_for(asyncio.gather(*answers), 20)
    accepted = [receipt for receipt in receipts if receipt.accepted]
    assert sorted(await stored(hub, limit=1000)) == sorted(receipt.message_id for receipt in accepted)
    assert len(accepted) == 100
    await hub.reached(DeliveryState.DELIVERED, 100)
    await until(hub.wire.receivers["his/in"].intake.ready)


async def test_what_the_adapter_refused_is_logged(site: Site, start: StartHub) -> None:
    hub = await start(site)
    receiver = hub.wire.receivers["his/in"]
    receiver.intake.refuse(receiver.bound, b"\x00\x01" * 50_000, HubError("bad framing", code="x.frame"), remote="r")
    (call,) = await hub.logged("his/in", 1)
    assert (call.outcome, call.code, call.remote, call.error) == (Outcome.REFUSED, "x.frame", "r", "bad framing")
    assert call.request == (b"\x00\x01" * 50_000)[: 64 << 10]


async def test_a_stopped_hub_accepts_nothing_but_answers(site: Site, start: StartHub) -> None:
    site.target()
    hub = await start(site)
    receiver = hub.wire.receivers["his/in"]
    offered = [hub.wire.offer("his/in", {**M1, "id": f"m{n}"}) for n in range(50)]
    stopping = asyncio.create_task(hub.stop())
    receipts = await asyncio.wait_for(asyncio.gather(*offered), 20)
    await stopping
    assert all(receipt.outcome is Outcome.OK for receipt in receipts)
    late: list[Receipt] = []
    receiver.intake.submit(receiver.bound, b'{"id":"late"}', late.append)
    assert [receipt.outcome for receipt in late] == [Outcome.REFUSED]
    assert isinstance(late[0].error, StoreBusy)


class TestLargeMessages:
    """They are read in a thread: the loop goes on, and what came behind them at the same interface stays behind them."""

    @pytest.fixture
    def slow(self, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
        """Reading a large JSON message waits until this is set."""
        go_on = threading.Event()
        decode = JsonCodec.decode

        def patient(codec: JsonCodec, raw: bytes, *, encoding: str = "") -> Any:
            if len(raw) > OFF_LOOP_BYTES:
                assert go_on.wait(20)
            return decode(codec, raw, encoding=encoding)

        monkeypatch.setattr(JsonCodec, "decode", patient)
        return go_on

    @staticmethod
    def large(number: str, **more: str) -> dict[str, str]:
        return {**M1, "id": number, "text": "x" * OFF_LOOP_BYTES, **more}

    async def test_others_go_on_and_the_order_stays(self, site: Site, start: StartHub, slow: threading.Event) -> None:
        peer = site.target()
        site.system("other", "his")
        hub = await start(site)
        order: list[str] = []
        receiver = hub.wire.receivers["his/in"]
        for message in ({**M1, "id": "a"}, self.large("b"), {**M1, "id": "c"}, self.large("d"), {**M1, "id": "e"}):
            receiver.intake.submit(
                receiver.bound, orjson.dumps(message), lambda receipt: order.append(receipt.control_id)
            )
        receipt = await hub.wire.submit("other/in", {**M1, "id": "z"})
        assert receipt.outcome is Outcome.OK
        await until(lambda: order == ["a"])
        slow.set()
        await until(lambda: len(order) == 5)
        assert order == ["a", "b", "c", "d", "e"]
        assert [row.control_id for row in (await hub.node.store.reader.search(MessageQuery(source="his/in"))).rows] == [
            *"edcba"
        ]
        await until(lambda: len(peer.calls) == 5)
        assert (await hub.wire.submit("his/in", {**M1, "id": "f"})).outcome is Outcome.OK

    async def test_one_that_can_not_be_read_is_refused_in_its_turn(
        self, site: Site, start: StartHub, slow: threading.Event
    ) -> None:
        hub = await start(site)
        broken = hub.wire.offer("his/in", b"{" + b"x" * OFF_LOOP_BYTES)
        behind = hub.wire.offer("his/in", M1)
        slow.set()
        assert (await broken).outcome is Outcome.REFUSED
        assert (await behind).outcome is Outcome.OK
        assert [call.outcome for call in await hub.logged("his/in", 2)].count(Outcome.REFUSED) == 1

    async def test_too_many_at_once_are_not_taken(
        self, site: Site, start: StartHub, slow: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(intake, "_LARGE_BYTES", 3 * OFF_LOOP_BYTES)
        hub = await start(site)
        offers = [hub.wire.offer("his/in", self.large(f"l{n}")) for n in range(6)]
        slow.set()
        receipts = await asyncio.gather(*offers)
        assert [receipt.outcome for receipt in receipts] == [Outcome.OK] * 2 + [Outcome.REFUSED] * 4
        assert isinstance(receipts[-1].error, StoreBusy)
        assert (await hub.wire.submit("his/in", self.large("later"))).outcome is Outcome.OK

    async def test_a_stop_waits_for_them(self, site: Site, start: StartHub, slow: threading.Event) -> None:
        hub = await start(site)
        offer = hub.wire.offer("his/in", self.large("last"))
        stopping = asyncio.create_task(hub.stop())
        await until(lambda: not hub.node.intake.ready())
        slow.set()
        assert (await offer).outcome is Outcome.OK
        await stopping
