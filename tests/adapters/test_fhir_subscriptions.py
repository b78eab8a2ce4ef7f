"""Subscriptions at the facade: what callers may do with them, and how subscribers are told, with a subscriber in a process of its own."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import apsw
import pytest
from fhir.resources import get_fhir_model_class as r5
from fhir.resources.R4B import get_fhir_model_class as r4b

from adapters.fhir import FhirAdapter
from adapters.fhir.receiver import FhirReceiver
from adapters.fhir.subscriptions.feed import FeedSender, FhirSubscriptionsAdapter
from adapters.fhir.subscriptions.options import FeedConnect
from adapters.fhir.subscriptions.store import SubscriptionStore
from hub.api import Bound, HubError, PermanentError, TransientError
from hub.contract import Interface
from tests.adapters.fhir_subscriber import SubscriberPeer
from tests.adapters.fhir_support import FhirIntake, ask, bound_in, codec_of, judge, outcome_of
from tests.adapters.http_support import Answer, outgoing, until

LOCAL = {
    "endpoints": ["http://127.0.0.1:1"],
    "networks": ["127.0.0.0/8"],
    "retry_interval": "20ms",
    "max_interval": "100ms",
}
TOPIC = "http://example.cn/topics/results"
BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"


class NotingIntake(FhirIntake):
    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[dict[str, str], HubError | None]] = []

    def note_run(self, bound: Bound, **more: Any) -> None:
        self.noted.append((dict(more["params"]), more.get("error")))


@dataclass
class Site:
    receiver: FhirReceiver
    feed: FeedSender
    intake: NotingIntake
    sent: int = 0
    told: list[int] = field(default_factory=list)

    async def send(self, tree: Mapping[str, Any] | bytes, key: str = "") -> int:
        """A message comes to the feed; how many are to be told."""
        self.sent += 1
        body = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
        reply = await self.feed.send(replace(outgoing(body), idempotency_key=key or f"k{self.sent}"))
        assert reply.ok
        return int(json.loads(reply.body)["notifications"])

    async def status(self, number: str) -> str:
        return str((await ask(self.receiver, "GET", f"/Subscription/{number}")).json["status"])

    async def becomes(self, number: str, status: str) -> None:
        end = time.monotonic() + 15
        while (found := await self.status(number)) != status:
            assert time.monotonic() < end, f"it is {found}"


@asynccontextmanager
async def site(folder: Path, version: str = "R4", **options: Any) -> AsyncIterator[Site]:
    contract: dict[str, Any] = {"format": {"version": version}}
    intake = NotingIntake()
    given: dict[str, Any] = {"interactions": ["subscribe"], "subscriptions": {**LOCAL, **options}}
    receiver = FhirAdapter().receiver(replace(bound_in(contract, **given), data=folder), intake)
    assert isinstance(receiver, FhirReceiver)
    interface = Interface(direction="out", adapter="fhir_subscriptions", codec="fhir", **contract)
    bound = Bound("his/feed", "his", "feed", "p@1", interface, codec_of(contract), {}, FeedConnect(), data=folder)
    feed = FhirSubscriptionsAdapter().sender(bound)
    assert isinstance(feed, FeedSender)
    await receiver.start()
    try:
        await feed.start()
        try:
            yield Site(receiver, feed, intake)
        finally:
            await feed.stop()
    finally:
        await receiver.stop(5.0)


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[SubscriberPeer]:
    with SubscriberPeer(tmp_path) as found:
        yield found


def to(peer: SubscriberPeer) -> dict[str, Any]:
    return {"endpoints": [peer.url]}


def subscription(endpoint: str, criteria: str = "Observation?status=final", **channel: Any) -> dict[str, Any]:
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "test",
        "criteria": criteria,
        "channel": {"type": "rest-hook", "endpoint": endpoint, "payload": "application/fhir+json", **channel},
    }


def topical(endpoint: str, content: str = "full-resource", **channel: Any) -> dict[str, Any]:
    found = subscription(endpoint, TOPIC, **channel)
    found["channel"]["_payload"] = {"extension": [{"url": f"{BACKPORT}backport-payload-content", "valueCode": content}]}
    return found


def observation(number: str, status: str = "final", **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": number, "status": status, "code": {"text": "x"}, **more}


async def create(site: Site, tree: dict[str, Any]) -> Answer:
    return await ask(site.receiver, "POST", "/Subscription", json.dumps(tree).encode())


async def subscribed(site: Site, tree: dict[str, Any]) -> str:
    """Its id, once it is active."""
    answer = await create(site, tree)
    assert answer.status == 201, answer.body
    number = str(answer.json["id"])
    await site.becomes(number, "active")
    return number


# -- what callers may do -------------------------------------------------------------------------------------------------


async def test_a_subscription_is_kept_changed_and_ended(tmp_path: Path, peer: SubscriberPeer) -> None:
    wanted = subscription(f"{peer.url}/hook", header=["Authorization: Bearer secret-1", "X-Id: 7"])
    async with site(tmp_path, **to(peer)) as here:
        answer = await create(here, wanted)
        assert (answer.status, answer.headers["etag"]) == (201, 'W/"1"')
        number = answer.json["id"]
        assert answer.headers["location"] == f"http://hub/fhir/Subscription/{number}/_history/1"
        await here.becomes(number, "active")
        read = await ask(here.receiver, "GET", f"/Subscription/{number}")
        found = judge(read)
        assert (found.status, found.criteria, found.meta.versionId) == ("active", "Observation?status=final", "2")
        assert found.channel.header == ["Authorization: ***", "X-Id: ***"]
        assert b"secret-1" not in read.body
        etag = read.headers["etag"]
        assert (await ask(here.receiver, "GET", f"/Subscription/{number}", If_None_Match=etag)).status == 304
        assert (await ask(here.receiver, "GET", f"/Subscription/{number}/_history/2")).status == 200
        assert (await ask(here.receiver, "GET", f"/Subscription/{number}/_history/1")).status == 404
        status = judge(await ask(here.receiver, "GET", f"/Subscription/{number}/$status"))
        assert {one.name: one.valueCode for one in status.entry[0].resource.parameter if one.valueCode} == {
            "status": "active",
            "type": "query-status",
        }
        page = judge(await ask(here.receiver, "GET", f"/Subscription?status=active&url={peer.url}/hook"))
        assert [one.resource.id for one in page.entry] == [number]
        assert judge(await ask(here.receiver, "GET", "/Subscription?status=off")).total == 0
        # Changed by what was read: what was not shown stays.
        changed = {**read.json, "criteria": "Observation?status=amended", "status": "requested"}
        body = json.dumps(changed).encode()
        assert (await ask(here.receiver, "PUT", f"/Subscription/{number}", body, If_Match='W/"1"')).status == 412
        assert (await ask(here.receiver, "PUT", f"/Subscription/{number}", body, If_Match=etag)).status == 200
        await here.becomes(number, "active")
        assert await here.send(observation("1")) == 0
        assert await here.send(observation("2", "amended")) == 1
        await until(lambda: peer.calls)
        headers = {name.lower(): value for name, value in peer.calls[0]["headers"].items()}
        assert (headers["authorization"], headers["x-id"]) == ("Bearer secret-1", "7")
        assert (await ask(here.receiver, "DELETE", f"/Subscription/{number}")).status == 204
        assert (await ask(here.receiver, "GET", f"/Subscription/{number}")).status == 404
        assert await here.send(observation("3", "amended")) == 0
        metadata = judge(await ask(here.receiver, "GET", "/metadata"))
        assert "Subscription" in [one.type for one in metadata.rest[0].resource]
    assert "secret-1" not in repr(here.intake.noted)
    assert {"interaction": "create", "type": "Subscription", "id": "", "method": "POST"} in [
        one for one, _ in here.intake.noted
    ]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"criteria": "Observation?nonsense=1"}, 422),
        ({"criteria": "http://example.cn/no-such-topic"}, 422),
        ({"criteria": None}, 422),
        ({"status": "entered-in-error"}, 422),
        ({"channel": {"type": "email", "endpoint": "mailto:a@b"}}, 422),
        ({"channel": {"type": "rest-hook", "endpoint": "http://127.0.0.1:9/other"}}, 422),
        ({"channel": {"type": "rest-hook", "endpoint": "http://169.254.169.254/latest"}}, 422),
        ({"channel": {"type": "rest-hook"}}, 422),
        ({"channel": "rest-hook"}, 422),
        ({"channel": {"type": "rest-hook", "endpoint": "http://127.0.0.1:1", "payload": "text/html"}}, 422),
        ({"channel": {"type": "rest-hook", "endpoint": "http://127.0.0.1:1", "header": ["Host: other"]}}, 422),
        ({"channel": {"type": "rest-hook", "endpoint": "http://127.0.0.1:1", "header": ["X: a\r\nY: b"]}}, 422),
        ({"channel": {"type": "rest-hook", "endpoint": "http://127.0.0.1:1", "header": [7]}}, 422),
        ({"end": "soon"}, 422),
        ({"resourceType": "Patient"}, 400),
    ],
)
async def test_what_can_not_be_served_is_refused(tmp_path: Path, changes: dict[str, Any], status: int) -> None:
    async with site(tmp_path) as here:
        wanted = {
            name: value
            for name, value in {**subscription("http://127.0.0.1:1"), **changes}.items()
            if value is not None
        }
        assert outcome_of(await create(here, wanted))[0] == status
        assert judge(await ask(here.receiver, "GET", "/Subscription")).total == 0
        for method in ("PATCH", "DELETE"):
            assert (
                outcome_of(await ask(here.receiver, method, "/Subscription?a=b", b"[]" if method == "PATCH" else b""))[
                    0
                ]
                == 405
            )


async def test_there_are_only_so_many(tmp_path: Path) -> None:
    async with site(tmp_path, most=1) as here:
        assert (await create(here, subscription("http://127.0.0.1:1"))).status == 201
        assert outcome_of(await create(here, subscription("http://127.0.0.1:1")))[0] == 422


async def test_one_interface_of_a_system_serves_subscriptions(tmp_path: Path) -> None:
    async with site(tmp_path):
        with pytest.raises(HubError, match="another interface"):
            async with site(tmp_path):
                pass
    async with site(tmp_path):
        pass


async def test_addresses_are_looked_at_when_the_endpoint_is_called(tmp_path: Path, peer: SubscriberPeer) -> None:
    """The list has the name, but the name means this machine."""
    async with site(tmp_path, endpoints=[f"http://localhost:{peer.port}"], networks=["10.0.0.0/8"]) as here:
        number = (await create(here, subscription(f"http://localhost:{peer.port}"))).json["id"]

        async def told() -> str:
            return str((await ask(here.receiver, "GET", f"/Subscription/{number}")).json.get("error", ""))

        end = time.monotonic() + 15
        while not await told():
            assert time.monotonic() < end
        assert "not permitted" in await told()
        assert await here.status(number) == "requested"
    assert peer.calls == []


# -- telling -------------------------------------------------------------------------------------------------------------


async def test_each_payload_and_only_what_meets_the_criteria(tmp_path: Path, peer: SubscriberPeer) -> None:
    async with site(tmp_path, **to(peer)) as here:
        await subscribed(here, subscription(f"{peer.url}/json"))
        await subscribed(here, subscription(f"{peer.url}/xml?key=1", payload="application/fhir+xml"))
        empty = subscription(f"{peer.url}/empty")
        del empty["channel"]["payload"]
        await subscribed(here, empty)
        await subscribed(here, subscription(f"{peer.url}/patients", "Patient?active=true"))
        exact = b'{"resourceType":"Observation","id":"o-1","status":"final","valueQuantity":{"value":1.50}}'
        assert await here.send(exact) == 3
        assert await here.send(observation("o-2", "preliminary")) == 0
        assert await here.send({"resourceType": "Observation.delete", "type": "Observation", "id": "o-1"}) == 0
        assert await here.send({"resourceType": "Patient", "active": True}) == 1
        await until(lambda: len(peer.calls) == 4)
    told = {call["path"]: call for call in peer.calls}
    assert {path: call["method"] for path, call in told.items()} == {
        "/json/Observation/o-1": "PUT",
        "/xml/Observation/o-1?key=1": "PUT",
        "/empty": "POST",
        "/patients/Patient": "POST",  # without an id it is created
    }
    assert told["/json/Observation/o-1"]["body"].encode() == exact
    assert '<value value="1.50"/>' in told["/xml/Observation/o-1?key=1"]["body"]
    assert (told["/empty"]["body"], told["/empty"]["headers"]["Content-Length"]) == ("", "0")


async def test_resources_of_a_bundle_are_told_one_by_one(tmp_path: Path, peer: SubscriberPeer) -> None:
    bundle: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"resource": observation(number), "request": {"method": "PUT", "url": f"Observation/{number}"}}
            for number in "123"
        ],
    }
    bundle["entry"][1]["resource"]["status"] = "preliminary"
    async with site(tmp_path, **to(peer)) as here:
        await subscribed(here, subscription(peer.url))
        assert await here.send(bundle) == 2
        await until(lambda: len(peer.calls) == 2)
        with pytest.raises(PermanentError):
            await here.send(b"no FHIR")
    assert [call["path"] for call in peer.calls] == ["/Observation/1", "/Observation/3"]


async def test_a_delivery_that_comes_again_is_told_once(tmp_path: Path, peer: SubscriberPeer) -> None:
    async with site(tmp_path, **to(peer)) as here:
        await subscribed(here, subscription(peer.url))
        assert await here.send(observation("1"), key="same") == 1
        assert await here.send(observation("1"), key="same") == 0
        assert await here.send(observation("2")) == 1
        await until(lambda: len(peer.calls) == 2)
    assert [call["path"] for call in peer.calls] == ["/Observation/1", "/Observation/2"]


async def test_a_subscriber_that_is_away_holds_up_nobody_and_gets_all_in_order(
    tmp_path: Path, peer: SubscriberPeer
) -> None:
    away = SubscriberPeer(tmp_path, "away")
    with away:
        async with site(tmp_path, endpoints=[peer.url, away.url], timeout="2s", error_after="200ms") as here:
            await subscribed(here, subscription(peer.url))
            late = await subscribed(here, subscription(away.url))
            away.kill()
            for number in range(20):
                assert await here.send(observation(str(number))) == 2
            await until(lambda: len(peer.calls) == 20)
            await here.becomes(late, "error")
            assert "connect" in judge(await ask(here.receiver, "GET", f"/Subscription/{late}")).error
            assert await here.send(observation("20")) == 2  # also while it is in error
            away.answers("hang")
            away.start()
            await until(lambda: any(error and error.code == "http.timeout" for _, error in here.intake.noted))
            away.answers(503)
            await until(lambda: any(error and error.code == "503" for _, error in here.intake.noted))
            away.answers(200)
            await until(lambda: len(away.calls) == 21)
            await here.becomes(late, "active")
    assert [call["path"] for call in away.calls] == [f"/Observation/{number}" for number in range(21)]


async def test_one_that_is_refused_is_left_out_and_told_in_the_log(tmp_path: Path, peer: SubscriberPeer) -> None:
    async with site(tmp_path, **to(peer)) as here:
        number = await subscribed(here, subscription(peer.url))
        peer.answers(422)
        await here.send(observation("1"))
        await until(lambda: any(error and error.code == "fhir.notification_refused" for _, error in here.intake.noted))
        peer.answers(200)
        await here.send(observation("2"))
        await until(lambda: peer.calls)
        assert await here.status(number) == "active"
    assert [call["path"] for call in peer.calls] == ["/Observation/2"]


async def test_a_subscription_ends_when_it_says_so_is_gone_or_fails_for_too_long(
    tmp_path: Path, peer: SubscriberPeer
) -> None:
    async with site(tmp_path, **to(peer), error_after="50ms", off_after="300ms") as here:
        wanted = {**subscription(peer.url), "end": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))}
        ended = await subscribed(here, wanted)
        await here.becomes(ended, "off")
        assert await here.send(observation("1")) == 0
        gone = await subscribed(here, subscription(peer.url))
        peer.answers(410)
        assert await here.send(observation("2")) == 1
        await here.becomes(gone, "off")
        peer.answers(200)
        failing = await subscribed(here, subscription(peer.url))
        peer.answers(500)
        for number in "345":
            await here.send(observation(number))
        await here.becomes(failing, "off")
        dropped = [
            one["dropped"] for one, error in here.intake.noted if error and error.code == "fhir.subscription_off"
        ]
        assert "3" in dropped
        # It may begin again, with what comes from now on.
        peer.answers(200)
        again = json.dumps({**subscription(peer.url), "id": failing}).encode()
        assert (await ask(here.receiver, "PUT", f"/Subscription/{failing}", again)).status == 200
        await here.becomes(failing, "active")
        await here.send(observation("6"))
        await until(lambda: peer.calls and peer.calls[-1]["path"] == "/Observation/6")
    rows = sqlite3.connect(tmp_path / "subscriptions" / "his.db").execute(
        "SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM content)"
    )
    assert rows.fetchone() == (0, 0)


async def test_a_queue_that_is_too_long_ends_a_subscription(tmp_path: Path, peer: SubscriberPeer) -> None:
    async with site(tmp_path, **to(peer), max_waiting=5) as here:
        number = await subscribed(here, subscription(peer.url))
        peer.answers(503)
        for at in range(8):
            await here.send(observation(str(at)))
        await here.becomes(number, "off")


async def test_what_waits_is_told_after_a_restart(tmp_path: Path, peer: SubscriberPeer) -> None:
    async with site(tmp_path, **to(peer)) as here:
        number = await subscribed(here, subscription(peer.url))
        peer.answers(503)
        for at in range(5):
            await here.send(observation(str(at)))
    peer.answers(200)
    async with site(tmp_path, **to(peer)) as here:
        await until(lambda: len(peer.calls) == 5)
        assert await here.status(number) == "active"
    assert [call["path"][-1] for call in peer.calls] == list("01234")


async def test_other_options_after_a_restart_keep_what_waits(tmp_path: Path, peer: SubscriberPeer) -> None:
    async with site(tmp_path, **to(peer)) as here:
        number = await subscribed(here, subscription(peer.url))
        peer.answers(503)
        await here.send(observation("1"))
    peer.answers(200)
    async with site(tmp_path) as here:  # its endpoint is no longer in the list
        assert await here.status(number) == "requested"
        assert await here.send(observation("2")) == 0
    assert peer.calls == []
    async with site(tmp_path, **to(peer)) as here:
        await until(lambda: len(peer.calls) == 1)


async def test_a_full_disk_is_no_success(tmp_path: Path, peer: SubscriberPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(tmp_path, **to(peer)) as here:
        await subscribed(here, subscription(peer.url))
        before = SubscriptionStore.feed

        def full(*arguments: Any) -> int:
            raise apsw.FullError

        monkeypatch.setattr(SubscriptionStore, "feed", staticmethod(full))
        with pytest.raises(TransientError):
            await here.send(observation("1"), key="a")
        monkeypatch.setattr(SubscriptionStore, "put", staticmethod(full))
        assert outcome_of(await create(here, subscription(peer.url)))[0] == 503
        monkeypatch.setattr(SubscriptionStore, "feed", staticmethod(before))
        assert await here.send(observation("1"), key="a") == 1
        await until(lambda: peer.calls)


# -- topics --------------------------------------------------------------------------------------------------------------

TOPICS = {TOPIC: ["Observation?status=final", "Patient"]}


@pytest.mark.parametrize("version", ["R4", "R4B"])
@pytest.mark.parametrize("content", ["empty", "id-only", "full-resource"])
async def test_notifications_of_a_topic(tmp_path: Path, peer: SubscriberPeer, version: str, content: str) -> None:
    wanted = topical(peer.url, content)
    wanted["_criteria"] = {
        "extension": [{"url": f"{BACKPORT}backport-filter-criteria", "valueString": "Observation?code=718-7"}]
    }
    async with site(tmp_path, version, **to(peer), topics=TOPICS) as here:
        number = await subscribed(here, wanted)
        assert await here.send(observation("1", code={"coding": [{"code": "718-7"}]})) == 1
        assert await here.send(observation("2", code={"coding": [{"code": "other"}]})) == 0
        assert await here.send({"resourceType": "Patient", "id": "7"}) == 1
        await until(lambda: len(peer.bodies()) == 3)
    handshake, first, second = peer.bodies()
    for bundle in (handshake, first, second):
        assert r4b("Bundle").model_validate(bundle).model_dump()["type"] == "history"

    def status_of(bundle: Any) -> dict[str, Any]:
        tree = bundle["entry"][0]["resource"]
        if version != "R4":
            assert tree["subscription"]["reference"].endswith(f"/fhir/Subscription/{number}")
            return {name: tree.get(name) for name in ("status", "type", "eventsSinceSubscriptionStart")}
        found = {one["name"]: one.get("valueCode", one.get("valueString")) for one in tree["parameter"]}
        return {
            "status": found["status"],
            "type": found["type"],
            "eventsSinceSubscriptionStart": found["events-since-subscription-start"],
        }

    assert [status_of(one) for one in (handshake, first, second)] == [
        {"status": "requested", "type": "handshake", "eventsSinceSubscriptionStart": "0"},
        {"status": "active", "type": "event-notification", "eventsSinceSubscriptionStart": "1"},
        {"status": "active", "type": "event-notification", "eventsSinceSubscriptionStart": "2"},
    ]
    assert len(first["entry"]) == (1 if content == "empty" else 2)
    if content != "empty":
        assert first["entry"][1]["fullUrl"].endswith("/fhir/Observation/1")
        assert ("resource" in first["entry"][1]) == (content == "full-resource")


async def test_notifications_of_r5_with_several_resources_and_heartbeats(tmp_path: Path, peer: SubscriberPeer) -> None:
    wanted = {
        "resourceType": "Subscription",
        "status": "requested",
        "topic": TOPIC,
        "channelType": {"code": "rest-hook"},
        "endpoint": peer.url,
        "parameter": [{"name": "Authorization", "value": "Bearer secret-1"}],
        "content": "id-only",
        "maxCount": 10,
        "heartbeatPeriod": 1,
        "filterBy": [
            {"resourceType": "Observation", "filterParameter": "date", "comparator": "ge", "value": "2026-01-01"}
        ],
    }
    async with site(tmp_path, "R5", **to(peer), topics=TOPICS) as here:
        number = await subscribed(here, wanted)
        read = await ask(here.receiver, "GET", f"/Subscription/{number}")
        r5("Subscription").model_validate_json(read.body)
        assert b"secret-1" not in read.body
        peer.answers(503)
        for at in range(3):
            assert await here.send(observation(str(at), effectiveDateTime="2026-02-02")) == 1
        assert await here.send(observation("4", effectiveDateTime="2025-02-02")) == 0
        peer.answers(200)
        await until(lambda: any(one["entry"][0]["resource"]["type"] == "heartbeat" for one in peer.bodies()))
        answer = await ask(here.receiver, "GET", f"/Subscription/{number}/$status")
    for body in peer.bodies():
        assert r5("Bundle").model_validate(body).model_dump()["type"] == "subscription-notification"
    events = [
        event["eventNumber"]
        for body in peer.bodies()
        for event in body["entry"][0]["resource"].get("notificationEvent", ())
    ]
    assert events == [1, 2, 3]
    assert answer.json["entry"][0]["resource"]["eventsSinceSubscriptionStart"] == 3


async def test_who_does_not_answer_the_handshake_is_told_nothing(tmp_path: Path, peer: SubscriberPeer) -> None:
    async with site(tmp_path, **to(peer), topics=TOPICS, error_after="10ms") as here:
        peer.answers(404)
        number = (await create(here, topical(peer.url))).json["id"]
        end = time.monotonic() + 15
        while not (await ask(here.receiver, "GET", f"/Subscription/{number}")).json.get("error"):
            assert time.monotonic() < end
        assert await here.status(number) == "requested"
        assert await here.send(observation("1")) == 0
        peer.answers(200)
        await here.becomes(number, "active")
        assert await here.send(observation("2")) == 1
        await until(lambda: len(peer.bodies()) == 2)


async def test_feeds_of_several_processes_share_the_queues(tmp_path: Path, peer: SubscriberPeer) -> None:
    """Here two connections, which the file can't tell from two processes."""
    async with site(tmp_path, **to(peer)) as here:
        interface = Interface(direction="out", adapter="fhir_subscriptions", codec="fhir")
        bound = Bound("his/feed", "his", "feed", "p@1", interface, codec_of({}), {}, FeedConnect(), data=tmp_path)
        other = FhirSubscriptionsAdapter().sender(bound)
        await other.start()
        try:
            await subscribed(here, subscription(peer.url))
            calls = [
                feed.send(
                    replace(outgoing(json.dumps(observation(f"{name}{at}")).encode()), idempotency_key=f"{name}{at}")
                )
                for at in range(40)
                for name, feed in (("a", here.feed), ("b", other))
            ]
            assert all(reply.ok for reply in await asyncio.gather(*calls))
            await until(lambda: len(peer.calls) == 80)
        finally:
            await other.stop()
    told = [call["path"].rpartition("/")[2] for call in peer.calls]
    for name in "ab":
        assert [one for one in told if one.startswith(name)] == [f"{name}{at}" for at in range(40)]
