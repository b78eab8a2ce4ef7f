"""What a Subscription resource asks for, in R4 (also of the Backport) and in R5."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from adapters.fhir.subscriptions.criteria import Criterion, criterion
from adapters.fhir.subscriptions.options import SubscriptionOptions
from adapters.http.option_types import OWN_HEADERS
from hub.api import HubError
from hub.i18n import t

__all__ = ["BACKPORT", "HIDDEN", "Spec", "spec_of", "with_secrets", "without_secrets"]

BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
#: Stands for the value of a header where a subscription is shown.
HIDDEN = "***"
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}):[ \t]*(.*)", re.ASCII)
_MOST = 20
_CONTENTS = ("empty", "id-only", "full-resource")
_FORMS = {
    "application/fhir+json": "json",
    "application/json": "json",
    "application/fhir+xml": "xml",
    "application/xml": "xml",
}


@dataclass(frozen=True, slots=True)
class Spec:
    """``topic`` "": a subscription of R4 by criterion, which is told by a PUT, or with ``form`` "" by a POST without a body."""

    criteria: tuple[tuple[str, ...], ...]  # one of these, and all that is in it
    endpoint: str
    headers: tuple[tuple[str, str], ...]
    form: str  # "json", "xml", "" for none
    topic: str = ""
    content: str = ""  # one of _CONTENTS, with a topic
    end: float = 0.0  # Unix time, 0 for none
    heartbeat: int = 0  # seconds, 0 for none
    timeout: float = 0.0  # seconds, 0 for what the interface says
    most: int = 1  # resources in one notification
    types: frozenset[str] = frozenset()


def spec_of(tree: dict[str, Any], version: str, options: SubscriptionOptions) -> Spec:
    """Raises :class:`HubError` for a subscription that can't be served."""
    asked = _r5(tree, version, options) if version == "R5" else _r4(tree, version, options)
    if not options.allows(asked.endpoint):
        raise _wrong(
            "endpoints may not have this address; have it added to subscriptions.endpoints",
            "不允许使用该 endpoint 地址，请将其加入 subscriptions.endpoints",
            "fhir.endpoint",
        )
    return asked


def _r4(tree: dict[str, Any], version: str, options: SubscriptionOptions) -> Spec:
    channel = tree.get("channel")
    if not isinstance(channel, dict) or channel.get("type") != "rest-hook":
        raise _wrong("channel.type is rest-hook", "channel.type 只能是 rest-hook")
    wanted = _text(tree.get("criteria"), "criteria", needed=True)
    payload = _text(channel.get("payload"), "channel.payload")
    form = _form(payload)
    more = channel.get("header") or []
    headers = tuple(_header(line) for line in more) if isinstance(more, list) and len(more) <= _MOST else _many()
    base: dict[str, Any] = {
        "endpoint": _text(channel.get("endpoint"), "channel.endpoint", needed=True).rstrip("/"),
        "headers": headers,
        "form": form,
        "end": _end(tree.get("end")),
    }
    if "://" not in wanted.partition("?")[0]:
        one = criterion(wanted, version)
        return Spec(((one.text,),), **base, types=frozenset((one.type,)))
    filters = [
        criterion(_text(one.get("valueString"), "_criteria", needed=True), version)
        for one in _extensions(tree.get("_criteria"), "backport-filter-criteria")
    ]
    contents = _extensions(channel.get("_payload"), "backport-payload-content")
    content = str(contents[0].get("valueCode", "")) if contents else "empty"
    heartbeat = _number(_extensions(channel, "backport-heartbeat-period"), "valueUnsignedInt", 86400)
    timeout = _number(_extensions(channel, "backport-timeout"), "valueUnsignedInt", 300)
    count = _number(_extensions(channel, "backport-max-count"), "valuePositiveInt", 1000)
    return _topical(
        wanted, filters, options, version, {**base, "form": form or "json"}, content, heartbeat, timeout, count
    )


def _r5(tree: dict[str, Any], version: str, options: SubscriptionOptions) -> Spec:
    kind = tree.get("channelType")
    if not isinstance(kind, dict) or kind.get("code") != "rest-hook":
        raise _wrong("channelType is rest-hook", "channelType 只能是 rest-hook")
    filters = tree.get("filterBy") or []
    parameters = tree.get("parameter") or []
    if not isinstance(filters, list) or not isinstance(parameters, list) or max(len(filters), len(parameters)) > _MOST:
        _many()
    headers = tuple(
        _header(f"{one.get('name')}: {one.get('value')}" if isinstance(one, dict) else "") for one in parameters
    )
    base: dict[str, Any] = {
        "endpoint": _text(tree.get("endpoint"), "endpoint", needed=True).rstrip("/"),
        "headers": headers,
        "form": _form(_text(tree.get("contentType"), "contentType") or "application/fhir+json"),
        "end": _end(tree.get("end")),
    }
    content = tree.get("content", "empty")
    numbers = [
        _number([tree], name, most) for name, most in (("heartbeatPeriod", 86400), ("timeout", 300), ("maxCount", 1000))
    ]
    topic = _text(tree.get("topic"), "topic", needed=True)
    return _topical(topic, [_filter(one, version) for one in filters], options, version, base, content, *numbers)


def _topical(
    topic: str, filters: list[Criterion], options: SubscriptionOptions, version: str, base: dict[str, Any],
    content: Any, heartbeat: int, timeout: int, count: int,
) -> Spec:  # fmt: skip
    if topic not in options.topics:
        raise _wrong("this topic is not offered", "不提供该主题", "fhir.topic")
    if content not in _CONTENTS:
        raise _wrong(f"the content is one of {', '.join(_CONTENTS)}", f"content 须为 {'、'.join(_CONTENTS)} 之一")
    found = [criterion(text, version) for text in options.topics[topic]]
    types = {one.type for one in found}
    if any(one.type not in types for one in filters):
        raise _wrong("a filter is for another type of resource than the topic", "过滤条件的资源类型与主题不符")
    # Filters concern the resources of their type only.
    every = tuple((one.text, *(more.text for more in filters if more.type == one.type)) for one in found)
    return Spec(
        every,
        **base,
        topic=topic,
        content=content,
        heartbeat=heartbeat,
        timeout=float(timeout),
        most=count or 1,
        types=frozenset(types),
    )


def _filter(one: Any, version: str) -> Criterion:
    if not isinstance(one, dict):
        raise _wrong("filterBy is a list of objects", "filterBy 须为对象列表")
    kind, name, value = (
        _text(one.get(part), f"filterBy.{part}", needed=True) for part in ("resourceType", "filterParameter", "value")
    )
    modifier = _text(one.get("modifier"), "filterBy.modifier")
    comparator = _text(one.get("comparator"), "filterBy.comparator")
    full = f"{name}:{modifier}" if modifier else name
    return criterion(f"{kind}?{urlencode({full: comparator + value})}", version)


def _extensions(holder: Any, name: str) -> list[dict[str, Any]]:
    found = holder.get("extension") if isinstance(holder, dict) else None
    if not isinstance(found, list):
        return []
    if len(found) > _MOST:
        _many()
    return [one for one in found if isinstance(one, dict) and one.get("url") == BACKPORT + name]


def _number(holders: list[dict[str, Any]], name: str, most: int) -> int:
    value = holders[0].get(name, 0) if holders else 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise _wrong(f"{name} is a number from 0 to {most}", f"{name} 须为 0 到 {most} 的整数")
    return value


def _text(value: Any, name: str, *, needed: bool = False) -> str:
    if value is None and not needed:
        return ""
    if not isinstance(value, str) or not value or len(value) > 2000 or not value.isprintable():
        raise _wrong(f"{name} must be a text", f"{name} 须为文本")
    return value


def _form(media: str) -> str:
    kind = media.partition(";")[0].strip().lower()
    if kind and kind not in _FORMS:
        raise _wrong(
            "the payload is application/fhir+json or application/fhir+xml",
            "payload 须为 application/fhir+json 或 application/fhir+xml",
        )
    return _FORMS[kind] if kind else ""


def _header(line: Any) -> tuple[str, str]:
    found = _HEADER.fullmatch(line) if isinstance(line, str) and len(line) <= 8000 and line.isprintable() else None
    if found is None or found[1].lower() in OWN_HEADERS | {"idempotency-key"}:
        raise _wrong(
            "a header is Name: value, and none of the connection", "header 须为“名称: 值”，且不能是连接相关的请求头"
        )
    return found[1].lower(), found[2].strip()


def _end(value: Any) -> float:
    if value is None:
        return 0.0
    try:
        end = datetime.fromisoformat(_text(value, "end", needed=True))
        return (end if end.tzinfo is not None else end.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise _wrong(
            "end is a time, e.g. 2027-01-01T00:00:00+08:00", "end 须为时间，如 2027-01-01T00:00:00+08:00"
        ) from None


def _many() -> Any:
    raise _wrong(f"more than {_MOST} of a kind", f"同类项超过 {_MOST} 个")


def _wrong(english: str, chinese: str, code: str = "fhir.subscription") -> HubError:
    return HubError(t(f"the subscription can't be served: {english}", f"无法提供该订阅：{chinese}"), code=code)


# -- secrets -------------------------------------------------------------------------------------------------------


def without_secrets(tree: dict[str, Any]) -> dict[str, Any]:
    """As it is shown: values of headers are not."""
    channel = tree.get("channel")
    if isinstance(channel, dict) and "header" in channel:
        hidden = [f"{line.partition(':')[0]}: {HIDDEN}" for line in _texts(channel["header"])]
        tree = {**tree, "channel": {**channel, "header": hidden}}
    if "parameter" in tree:
        tree = {**tree, "parameter": [{**one, "value": HIDDEN} for one in _named(tree["parameter"])]}
    return tree


def with_secrets(tree: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """As it is stored: a value that the subscriber was not shown stays as it was."""
    channel, earlier = tree.get("channel"), before.get("channel")
    if isinstance(channel, dict) and isinstance(channel.get("header"), list) and isinstance(earlier, dict):
        known = {line.partition(":")[0].lower(): line for line in _texts(earlier.get("header"))}
        lines = [
            known.get(line.partition(":")[0].lower(), line)
            if isinstance(line, str) and line.endswith(f": {HIDDEN}")
            else line
            for line in channel["header"]
        ]
        tree = {**tree, "channel": {**channel, "header": lines}}
    if isinstance(tree.get("parameter"), list):
        values = {one["name"]: one.get("value") for one in _named(before.get("parameter"))}
        kept = [
            {**one, "value": values.get(one["name"], HIDDEN)} if _named([one]) and one.get("value") == HIDDEN else one
            for one in tree["parameter"]
        ]
        tree = {**tree, "parameter": kept}
    return tree


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _named(value: Any) -> list[dict[str, Any]]:
    """Those of a list that are objects with a name."""
    found = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
    return [one for one in found if isinstance(one.get("name"), str)]
