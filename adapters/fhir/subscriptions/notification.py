"""What a subscriber is sent: a PUT or a bare POST (FHIR R4, Subscription, rest-hook), or a notification bundle (R5, and the Backport of R4)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from adapters.fhir.subscriptions.spec import BACKPORT, Spec
from adapters.fhir.subscriptions.store import Event, Kept
from adapters.http.request import Endpoint, encoded_path, header_line
from hub.codecs.fhir import FhirCodec, FhirFormat

__all__ = ["Notification", "Notifications", "instant", "status_resource"]


@dataclass(frozen=True, slots=True)
class Notification:
    """One request, whole: its head and its body."""

    head: bytes
    body: bytes


class Notifications:
    """Writes what is sent. ``base``: of the facade, as its callers know it."""

    def __init__(self, version: Any, base: str) -> None:
        self.version: str = version
        self.base = base
        self._json = FhirCodec(FhirFormat(version=version))
        self._codecs = {"json": self._json, "xml": FhirCodec().configured(FhirFormat(version=version, write="xml"))}

    def of_events(self, kept: Kept, spec: Spec, events: Sequence[Event]) -> Notification:
        """Raises :class:`~hub.api.CodecError` for what can't be written in the subscriber's form."""
        key = f"{events[0].key}-{kept.id}"
        if spec.topic:
            return self._bundle(kept, spec, "event-notification", events, key)
        if not spec.form:
            return self._request("POST", spec, "", b"", "", key)
        body = events[0].body
        tree = self._json.decode(body)
        number = tree.get("id")
        named = isinstance(number, str) and number not in ("", ".", "..")
        below = f"/{tree['resourceType']}" + (f"/{quote(str(number), safe='')}" if named else "")
        codec = self._codecs[spec.form]
        body = codec.encode(tree) if spec.form == "xml" else body
        return self._request("PUT" if named else "POST", spec, below, body, codec.content_type, key)

    def of_itself(self, kept: Kept, spec: Spec, kind: str) -> Notification:
        """``kind``: handshake or heartbeat."""
        return self._bundle(kept, spec, kind, (), f"{kept.id}-{kept.version}-{kind}-{int(time.time())}")

    def _bundle(self, kept: Kept, spec: Spec, kind: str, events: Sequence[Event], key: str) -> Notification:
        at = f"{self.base}/Subscription/{kept.id}"
        seen: list[tuple[Event, str, dict[str, Any]]] = []
        entries: list[dict[str, Any]] = []
        for event in events:
            tree = self._json.decode(event.body)
            url = f"{tree['resourceType']}/{tree['id']}" if isinstance(tree.get("id"), str) else ""
            full = f"{self.base}/{url}" if url else f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, event.key)}"
            seen.append((event, full, tree))
            if spec.content != "empty":
                request = {"method": "PUT", "url": url} if url else {"method": "POST", "url": tree["resourceType"]}
                entries.append(
                    {
                        "fullUrl": full,
                        **({"resource": tree} if spec.content == "full-resource" else {}),
                        "request": request,
                        "response": {"status": "200" if url else "201"},
                    }
                )
        focuses = [(event, full if spec.content != "empty" else "") for event, full, _ in seen]
        last = events[-1].number if events else kept.events
        status = status_resource(self.version, at, kept, spec.topic, kind, last, focuses)
        first = {
            "fullUrl": f"urn:uuid:{uuid.uuid4()}",
            "resource": status,
            "request": {"method": "GET", "url": f"{at}/$status"},
            "response": {"status": "200"},
        }
        bundle = {
            "resourceType": "Bundle",
            "id": str(uuid.uuid4()),
            "type": "subscription-notification" if self.version == "R5" else "history",
            "timestamp": instant(time.time()),
            "entry": [first, *entries],
        }
        codec = self._codecs[spec.form or "json"]
        return self._request("POST", spec, "", codec.encode(bundle), codec.content_type, key)

    def _request(self, method: str, spec: Spec, below: str, body: bytes, kind: str, key: str) -> Notification:
        endpoint = Endpoint(spec.endpoint)
        target = encoded_path(endpoint.path.rstrip("/") + below if below else endpoint.path, endpoint.query)
        lines = {"host": endpoint.authority, "user-agent": "tongqu", "accept": "*/*", **dict(spec.headers)}
        if kind:
            lines["content-type"] = kind
        lines |= {"idempotency-key": key, "content-length": str(len(body))}
        head = f"{method} {target} HTTP/1.1\r\n".encode()
        return Notification(head + b"".join(header_line(name, value) for name, value in lines.items()) + b"\r\n", body)


def status_resource(
    version: str, at: str, kept: Kept, topic: str, kind: str, last: int, events: Sequence[tuple[Event, str]] = ()
) -> dict[str, Any]:
    """How a subscription is: SubscriptionStatus, of R4 a Parameters with the same in it (Subscriptions R5 Backport 1.1)."""
    status = kept.status if kind != "handshake" else "requested"
    if version == "R4":
        parameters: list[dict[str, Any]] = [
            {"name": "subscription", "valueReference": {"reference": at}},
            *([{"name": "topic", "valueCanonical": topic}] if topic else []),
            {"name": "status", "valueCode": status},
            {"name": "type", "valueCode": kind},
            {"name": "events-since-subscription-start", "valueString": str(last)},
        ]
        for event, focus in events:
            parts: list[dict[str, Any]] = [
                {"name": "event-number", "valueString": str(event.number)},
                {"name": "timestamp", "valueInstant": instant(event.at)},
                *([{"name": "focus", "valueReference": {"reference": focus}}] if focus else []),
            ]
            parameters.append({"name": "notification-event", "part": parts})
        return {
            "resourceType": "Parameters",
            "meta": {"profile": [f"{BACKPORT}backport-subscription-status-r4"]},
            "parameter": parameters,
        }

    told = [
        {
            "eventNumber": str(event.number) if version == "R4B" else event.number,
            "timestamp": instant(event.at),
            **({"focus": {"reference": focus}} if focus else {}),
        }
        for event, focus in events
    ]
    return {
        "resourceType": "SubscriptionStatus",
        "status": status,
        "type": kind,
        "eventsSinceSubscriptionStart": str(last) if version == "R4B" else last,
        **({"notificationEvent": told} if told else {}),
        "subscription": {"reference": at},
        **({"topic": topic} if topic else {}),
    }


def instant(at: float) -> str:
    """A Unix time as FHIR writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03}Z"
