"""A hub of two workers: questions are answered for both, orders go to the worker they concern, a dead one comes back."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.ids import parse_id, worker_of
from tests.kernel.process import HubProcess, Sink, adt, make_site, wait_for

pytestmark = pytest.mark.xdist_group("two_workers")


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    server = Sink()
    yield server
    server.close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[HubProcess]:
    config = make_site(tmp_path_factory.mktemp("two"), sink.url)
    with HubProcess(config, "--workers", "2") as process:
        yield process


def rows(hub: HubProcess, path: str) -> list[dict[str, Any]]:
    answer = hub.call("GET", path)
    assert answer.status == 200, answer.body
    (found,) = [value for value in answer.json.values() if isinstance(value, list)]
    return list(found)


def dead(hub: HubProcess, count: int) -> list[str]:
    def find() -> list[str]:
        found = [row["id"] for row in rows(hub, "/api/v1/deliveries?state=dead&limit=1000")]
        return found if len(found) == count else []

    return list(wait_for(find, f"{count} dead letters"))


def test_messages_of_both_workers_are_found_in_one_list(hub: HubProcess, sink: Sink) -> None:
    hub.send(*(adt(f"A{n}", "PA") for n in range(3)), place="east/adt")
    hub.send(*(adt(f"B{n}", "PB") for n in range(3)), place="west/adt")
    east, west = {f"A{n}" for n in range(3)}, {f"B{n}" for n in range(3)}
    wait_for(lambda: east <= set(sink.numbers()) and west <= set(sink.numbers("/west/patient")), "delivery")
    found = rows(hub, "/api/v1/messages")
    assert {row["control_id"] for row in found} >= east | west
    assert {worker_of(parse_id(row["id"])) for row in found} == {0, 1}
    assert [row["id"] for row in found] == sorted((row["id"] for row in found), reverse=True)
    for row in found:
        answer = hub.call("GET", f"/api/v1/messages/{row['id']}")
        assert answer.json["control_id"] == row["control_id"]
    assert {row["id"] for row in rows(hub, "/api/v1/messages?key.patient_id=PB")} == {
        row["id"] for row in found if row["source"] == "west/adt"
    }


def test_status_metrics_plugins_and_readiness_speak_for_both(hub: HubProcess) -> None:
    workers = hub.workers()
    assert sorted(worker["worker"] for worker in workers) == [0, 1]
    assert sorted(place for worker in workers for place in worker["inbound"]) == ["east/adt", "west/adt"]
    assert all(len(worker["inbound"]) == 1 for worker in workers)
    text = hub.call("GET", "/metrics").body.decode()
    assert 'worker="0"' in text
    assert 'worker="1"' in text
    assert {row["id"] for row in rows(hub, "/api/v1/plugins")} == {"his", "platform"}
    assert hub.call("GET", "/readyz").json == {"ready": True, "reasons": []}
    assert hub.call("GET", "/api/v1/ledger").json["balanced"] is True


def test_verbs_go_to_the_worker_of_each_delivery(hub: HubProcess, sink: Sink) -> None:
    sink.status = 400
    try:
        hub.send(*(adt(f"C{n}", "PA") for n in range(2)), place="east/adt")
        hub.send(*(adt(f"D{n}", "PB") for n in range(2)), place="west/adt")
        ids = dead(hub, 4)
    finally:
        sink.status = 200
    assert {worker_of(parse_id(number)) for number in ids} == {0, 1}
    answer = hub.call("POST", "/api/v1/deliveries/hold", {"ids": [ids[0], ids[-1]], "reason": "both"}, X_Actor="li")
    assert (answer.status, sorted(answer.json["done"])) == (200, sorted([ids[0], ids[-1]]))
    answer = hub.call("POST", "/api/v1/deliveries/resend", {"query": {"state": "dead,held"}})
    assert (answer.status, sorted(answer.json["done"])) == (200, sorted(ids))
    wait_for(lambda: {"C0", "C1"} <= set(sink.numbers("/east/patient")[-2:]), "the eastern ones")
    wait_for(lambda: {"D0", "D1"} <= set(sink.numbers("/west/patient")[-2:]), "the western ones")
    wait_for(lambda: not rows(hub, "/api/v1/deliveries?state=dead"), "no dead letters")
    entries = rows(hub, "/api/v1/audit")
    assert {entry["worker"] for entry in entries if "worker" in entry} == {0, 1}
    assert {(e["entry"]["action"], e["entry"]["actor"]) for e in entries} >= {("delivery.hold", "li")}


def test_replay_asks_both(hub: HubProcess, sink: Sink) -> None:
    hub.send(adt("Y0", "PA"), place="east/adt")
    hub.send(adt("Y1", "PB"), place="west/adt")
    wait_for(lambda: "Y0" in sink.numbers() and "Y1" in sink.numbers("/west/patient"), "delivery")
    hub.settled()
    answer = hub.call("POST", "/api/v1/replay", {"query": {"since": "-1h"}})
    assert answer.status == 200
    assert {worker_of(parse_id(result["message_id"])) for result in answer.json["results"]} == {0, 1}
    assert all(result["same"] for result in answer.json["results"])


@pytest.mark.parametrize("place", ["east/adt", "west/adt"])
def test_a_message_sent_by_hand_goes_to_its_owner(hub: HubProcess, place: str) -> None:
    answer = hub.call("POST", f"/api/v1/interfaces/{place}/messages", adt(f"H{place[0]}"))
    assert (answer.status, answer.json["outcome"]) == (202, "accepted")
    owner = next(worker["worker"] for worker in hub.workers() if place in worker["inbound"])
    assert worker_of(parse_id(answer.json["message_id"])) == owner


@pytest.mark.parametrize(
    ("status", "method", "path", "body"),
    [
        (401, "GET", "/api/v1/status", None),
        (400, "POST", "/api/v1/interfaces/nobody/adt/messages", b"MSH|"),
        (400, "POST", "/api/v1/deliveries/explode", {"ids": ["0000000000000"]}),
        (400, "POST", "/api/v1/deliveries/resend", {"ids": ["zz"]}),
        (400, "POST", "/api/v1/deliveries/resend", {"ids": 7}),
        (400, "POST", "/api/v1/deliveries/resend", {}),
        (422, "POST", "/api/v1/deliveries/resend", {"ids": ["0000ZZZZZZZZZ"]}),
        (422, "POST", "/api/v1/replay", {"query": {"since": "-1h"}, "mapping": "nonesuch"}),
    ],
)
def test_a_workers_refusal_is_passed_on(hub: HubProcess, status: int, method: str, path: str, body: Any) -> None:
    answer = hub.call(method, path, body, token="wrong" if status == 401 else None)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert answer.json["detail"]


def test_a_reload_reaches_both_and_a_broken_one_neither(hub: HubProcess, sink: Sink) -> None:
    good = hub.config.read_text()
    mapping = hub.config.parent.parent / "mappings" / "patient.yaml"
    text = mapping.read_text()
    try:
        mapping.write_text(text + "  more: {const: yes}\n")
        answer = hub.call("POST", "/api/v1/reload")
        assert (answer.status, sorted(answer.json)) == (200, ["0", "1"])
        hub.send(adt("R0", "PA"), place="east/adt")
        hub.send(adt("R1", "PB"), place="west/adt")
        wait_for(lambda: "R0" in sink.numbers() and "R1" in sink.numbers("/west/patient"), "delivery")
        assert [body["more"] for _, body in sink.bodies if body["number"] in ("R0", "R1")] == ["yes", "yes"]
        hub.config.write_text(good.replace("east_platform/patient", "east_platform/patent"))
        answer = hub.call("POST", "/api/v1/reload")
        assert answer.status == 422
        assert answer.json["problems"][0]["line"]
        assert answer.json["problems"][0]["remedy"]
    finally:
        hub.config.write_text(good)
        mapping.write_text(text)
        assert hub.call("POST", "/api/v1/reload").status == 200


def test_a_worker_that_dies_is_started_again(hub: HubProcess, sink: Sink) -> None:
    children = [path.read_text().split() for path in Path(f"/proc/{hub.pid}/task").glob("*/children")]
    victims = []
    for number in itertools.chain(*children):
        arguments = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
        if arguments[-3:-1] == [b"--worker", b"1"]:
            victims.append(int(number))
    (victim,) = victims
    place = next(iter(next(w for w in hub.workers() if w["worker"] == 1)["inbound"]))
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: hub.call("GET", "/readyz").status == 503, "the loss is noticed")
    wait_for(lambda: hub.call("GET", "/readyz").status == 200, "it is back")
    hub.send(adt("Z1", "PZ"), place=place)
    path = f"/{place.partition('/')[0]}/patient"
    wait_for(lambda: "Z1" in sink.numbers(path), "delivery after the restart")
    assert hub.call("GET", "/api/v1/ledger").json["balanced"] is True


def test_it_stops_in_good_order_and_does_not_start_with_fewer_workers(tmp_path: Path) -> None:
    config = make_site(tmp_path, "http://127.0.0.1:9")  # nobody listens on the discard port: deliveries stay open
    hub = HubProcess(config, "--workers", "2")
    hub.send(adt("1", "PA"), place="east/adt")
    hub.send(adt("2", "PB"), place="west/adt")
    assert hub.stop() == 0
    with pytest.raises(AssertionError, match="run with --workers 2"):
        HubProcess(config)
