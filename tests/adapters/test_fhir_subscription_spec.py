"""Subscription resources of whatever content: served, or refused with a reason; and what of them is shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.fhir.subscriptions.options import SubscriptionOptions
from adapters.fhir.subscriptions.spec import BACKPORT, spec_of, with_secrets, without_secrets
from hub.api import HubError

OPTIONS = SubscriptionOptions.model_validate(
    {"endpoints": ["https://app.example.cn"], "topics": {"http://t/1": ["Observation?status=final"]}}
)
_TEXTS = st.sampled_from(
    [
        "rest-hook", "https://app.example.cn/x", "Observation?status=final", "http://t/1", "application/fhir+json", "X-A: b", "***", "X-A: ***",
        "2027-01-01T00:00:00Z", "id-only", f"{BACKPORT}backport-payload-content", "Observation", "status", "final", "",
    ]
)  # fmt: skip
_NAMES = st.sampled_from(
    [
        "criteria", "_criteria", "channel", "type", "endpoint", "payload", "_payload", "header", "end", "topic", "channelType", "code", "contentType",
        "content", "filterBy", "resourceType", "filterParameter", "value", "parameter", "name", "extension", "url", "valueCode", "heartbeatPeriod",
        "timeout", "maxCount",
    ]
)  # fmt: skip
_JSON = st.recursive(
    _TEXTS | st.none() | st.booleans() | st.integers(-1, 1 << 40) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)
_R4: dict[str, Any] = {
    "resourceType": "Subscription",
    "criteria": "Observation?status=final",
    "channel": {"type": "rest-hook", "endpoint": "https://app.example.cn/x", "payload": "application/fhir+json"},
}
_R5: dict[str, Any] = {
    "resourceType": "Subscription",
    "topic": "http://t/1",
    "channelType": {"code": "rest-hook"},
    "endpoint": "https://app.example.cn/x",
    "parameter": [{"name": "X-A", "value": "b"}],
}


@given(st.sampled_from(["R4", "R4B", "R5"]), st.dictionaries(_NAMES, _JSON, max_size=6), st.booleans())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_resource_is_served_or_refused(version: str, changes: dict[str, Any], whole: bool) -> None:
    base = _R5 if version == "R5" else _R4
    tree = {**base, **changes} if whole else changes
    if whole and version != "R5" and isinstance(changes.get("channel"), dict):
        tree["channel"] = {**_R4["channel"], **changes["channel"]}
    tree = with_secrets(tree, base)
    try:
        spec = spec_of(tree, version, OPTIONS)
    except HubError:
        return
    assert OPTIONS.allows(spec.endpoint)
    assert spec.criteria
    without_secrets(tree)


@pytest.mark.parametrize(
    ("version", "tree"),
    [
        ("R4", {**_R4, "channel": {**_R4["channel"], "header": ["Authorization: Bearer a:b", "X-A: c"]}}),
        ("R5", {**_R5, "parameter": [{"name": "Authorization", "value": "Bearer a:b"}, {"name": "X-A", "value": "c"}]}),
    ],
)
def test_values_of_headers_are_not_shown_and_stay(version: str, tree: dict[str, Any]) -> None:
    shown = without_secrets(tree)
    assert "Bearer" not in str(shown)
    assert dict(spec_of(with_secrets(shown, tree), version, OPTIONS).headers) == {
        "authorization": "Bearer a:b",
        "x-a": "c",
    }


def test_numbers_and_filters_of_the_backport() -> None:
    def extension(name: str, **value: Any) -> dict[str, Any]:
        return {"url": BACKPORT + name, **value}

    tree = {
        **_R4,
        "criteria": "http://t/1",
        "_criteria": {"extension": [extension("backport-filter-criteria", valueString="Observation?code=a")]},
        "channel": {
            **_R4["channel"],
            "extension": [
                extension("backport-heartbeat-period", valueUnsignedInt=60),
                extension("backport-timeout", valueUnsignedInt=5),
                extension("backport-max-count", valuePositiveInt=20),
            ],
            "_payload": {"extension": [extension("backport-payload-content", valueCode="id-only")]},
        },
    }
    spec = spec_of(tree, "R4", OPTIONS)
    assert (spec.heartbeat, spec.timeout, spec.most, spec.content) == (60, 5.0, 20, "id-only")
    assert spec.criteria == (("Observation?status=final", "Observation?code=a"),)
    other = {"extension": [extension("backport-filter-criteria", valueString="Patient?active=true")]}
    with pytest.raises(HubError, match="another type"):
        spec_of({**tree, "_criteria": other}, "R4", OPTIONS)
