"""A hub as a process with subscribers, by the example of the documentation; hub and subscriber are killed under load."""

from __future__ import annotations

import http.client
import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound

from hub.deployment import load_deployment
from tests.adapters.fhir_subscriber import SubscriberPeer
from tests.kernel.process import ROOT, HubProcess, wait_for

_EXAMPLE = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def site(folder: Path, *endpoints: str) -> Path:
    """The plugin and the systems of the documentation; port and endpoints are the test's."""
    text = (ROOT / "docs" / "adapters" / "fhir-subscriptions.md").read_text(encoding="utf-8")
    plugin, config, *_ = _EXAMPLE.findall(text)
    tree = yaml.safe_load(plugin)
    tree["interfaces"]["changes"]["listen"]["subscriptions"] |= {
        "endpoints": list(endpoints), "networks": ["127.0.0.0/8"], "retry_interval": "50ms", "max_interval": "200ms",
    }  # fmt: skip
    (folder / "plugins" / tree["id"]).mkdir(parents=True)
    (folder / "plugins" / tree["id"] / "plugin.yaml").write_text(
        yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8"
    )
    given = yaml.safe_load(config)
    given["systems"]["ward"]["settings"]["port"] = 0
    settings = {
        "plugins": ["../plugins"],
        "mappings": [],
        "schemas": [],
        "watch": False,
        "store": {"path": "../var", "min_free_disk": 0},
        "admin": {"port": 0},
        **given,
    }
    file = folder / "config" / "hub.yaml"
    file.parent.mkdir()
    token = file.parent / "ward.token"
    token.touch(0o600)
    token.write_text("secret-1", encoding="utf-8")
    file.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return file


def client_of(hub: HubProcess) -> SyncFHIRClient:
    return SyncFHIRClient(f"http://127.0.0.1:{hub.port('ward/changes')}/fhir", authorization="Bearer secret-1")


def subscribe(client: SyncFHIRClient, endpoint: str) -> Any:
    """By a client library of others; returns once it is active."""
    channel = {"type": "rest-hook", "endpoint": endpoint, "payload": "application/fhir+json", "header": ["X-Key: k"]}
    made = client.resource(
        "Subscription", status="requested", reason="test", criteria="Observation?status=final", channel=channel
    )
    made.save()
    wait_for(
        lambda: client.reference("Subscription", made["id"]).to_resource()["status"] == "active",
        "an active subscription",
    )
    return made


def put(port: int, number: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    body = json.dumps({"resourceType": "Observation", "id": number, "status": "final", "code": {"text": "x"}})
    headers = {"Content-Type": "application/fhir+json", "Idempotency-Key": number, "Authorization": "Bearer secret-1"}
    connection.request("PUT", f"/fhir/Observation/{number}", body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_example_of_the_documentation_works(tmp_path: Path) -> None:
    config = site(tmp_path, (peer := SubscriberPeer(tmp_path)).url)
    assert not load_deployment(config).problems
    with peer, HubProcess(config) as hub:
        client = client_of(hub)
        made = subscribe(client, f"{peer.url}/hook")
        assert put(hub.port("ward/changes"), "o-1") == 200
        wait_for(lambda: peer.calls, "a notification")
        wait_for(
            lambda: b"notifications" in hub.call("GET", "/api/v1/calls?limit=100").body, "its line in the call log"
        )
        (call,) = peer.calls
        assert (call["method"], call["path"], call["headers"]["x-key"]) == ("PUT", "/hook/Observation/o-1", "k")
        assert [one["id"] for one in client.resources("Subscription").search(status="active").fetch()] == [made["id"]]
        with pytest.raises(OperationOutcome):
            subscribe(client, "http://127.0.0.1:1/elsewhere")
        made.delete()
        with pytest.raises(ResourceNotFound):
            client.reference("Subscription", made["id"]).to_resource()
        assert put(hub.port("ward/changes"), "o-2") == 200
        hub.settled()
        assert b"secret-1" not in hub.call("GET", "/api/v1/calls?limit=100").body
        states = [one["state"] for one in hub.call("GET", "/api/v1/deliveries").json["deliveries"]]
    assert states == ["delivered", "delivered"]
    assert len(peer.calls) == 1


def test_what_was_acknowledged_is_told_in_order_though_hub_and_subscriber_are_killed(tmp_path: Path) -> None:
    fast, slow = SubscriberPeer(tmp_path, "fast"), SubscriberPeer(tmp_path, "slow")
    config = site(tmp_path, fast.url, slow.url)
    acknowledged: list[str] = []
    stopped = threading.Event()

    def keep_sending(port: int) -> None:
        try:
            while not stopped.is_set():
                number = f"n{len(acknowledged):05}"
                if put(port, number) == 200:
                    acknowledged.append(number)
        except (OSError, http.client.HTTPException):
            return

    with fast, slow:
        hub = HubProcess(config)
        client = client_of(hub)
        for peer in (fast, slow):
            subscribe(client, peer.url)
        slow.pause()
        for round_ in range(3):
            sender = threading.Thread(target=keep_sending, args=(hub.port("ward/changes"),), daemon=True)
            sender.start()
            wanted = len(acknowledged) + 40
            wait_for(lambda wanted=wanted: len(acknowledged) >= wanted, "some traffic")
            wait_for(lambda: len(fast.calls) > 20, "some notifications")
            if round_ == 1:  # the subscriber is away for a while
                slow.resume()
                slow.kill()
            hub.kill()
            sender.join()
            hub = HubProcess(config)
        slow.start()
        stopped.set()

        def told(peer: SubscriberPeer) -> list[str]:
            return list(dict.fromkeys(call["path"].rpartition("/")[2] for call in peer.calls))

        with hub:
            for peer in (fast, slow):
                wait_for(lambda peer=peer: set(acknowledged) <= set(told(peer)), "all notifications")
            hub.settled()
    for peer in (fast, slow):
        assert told(peer) == sorted(told(peer))
        keys = [call["headers"]["idempotency-key"] for call in peer.calls]
        # What was told twice, because the hub died before it knew, has the same key.
        assert len(set(keys)) == len(told(peer))
