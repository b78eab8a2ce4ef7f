"""What is tried once for many: interfaces that are called, protected and judged alike need not all be put through every fault.

A plugin made from a profile differs from the next in names and addresses. Round trip, probe and what is received are looked at for each
interface; faults, codes, repetition, order, outage and forgeries once for each shape, and the others say where.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from hub.contract import Interface
from hub.i18n import t
from hub.verify.model import PluginReport, Result, Status
from hub.verify.site import Subject

__all__ = ["Sharing", "shape_of"]

#: What tells calls of one shape apart: names and addresses.
_OWN_CALL = frozenset(("path", "query", "method", "operation", "action", "headers"))
_OWN_LISTEN = frozenset(("path", "methods", "host", "port", "allow"))
#: Checks by the kind of sharing.
SHARED = {"shape": ("faults", "errors"), "message": ("idempotency", "order", "outage"), "listener": ("refusals",)}


def shape_of(one: Interface) -> str:
    """How an ``out`` interface is called, protected and judged."""
    connect = {key: value for key, value in one.connect.items() if key not in _OWN_CALL}
    return _text(
        one.adapter,
        one.codec,
        connect,
        one.security,
        one.success,
        one.reply.model_dump(mode="json"),
        {code: rule.model_dump(mode="json") for code, rule in one.errors.items()},
        one.retry.model_dump(mode="json") if one.retry is not None else None,
        one.collect is not None,
        one.results is not None,
    )


def _message_of(one: Interface) -> str:
    """The same, with what decides content, key and order of a message."""
    return _text(shape_of(one), one.mapping, one.order_by, one.idempotency)


def _listener_of(one: Interface) -> str:
    listen = {key: value for key, value in one.listen.items() if key not in _OWN_LISTEN}
    validate = one.validation.model_dump(mode="json") if one.validation is not None else None
    return _text(one.adapter, one.codec, listen, one.security, one.style, one.control_id, validate)


def _text(*parts: Any) -> str:
    return json.dumps(parts, sort_keys=True, default=str)


class Sharing:
    """Which plugin tries what. The first that can takes it; made from all plugins of a run, so that processes agree."""

    def __init__(self, subjects: Iterable[Subject]) -> None:
        self._owners: dict[tuple[str, str], str] = {}  # (kind, shape) -> plugin
        self._kinds: dict[str, dict[str, dict[str, list[str]]]] = {}  # plugin -> kind -> shape -> interfaces
        for subject in subjects:
            found: dict[str, dict[str, list[str]]] = {kind: defaultdict(list) for kind in SHARED}
            for name, one in subject.plugin.contract.interfaces.items():
                if one.direction == "out":
                    found["shape"][shape_of(one)].append(name)
                    found["message"][_message_of(one)].append(name)
                else:
                    found["listener"][_listener_of(one)].append(name)
            self._kinds[subject.id] = found
            for kind, shapes in found.items():
                for shape in shapes:
                    self._owners.setdefault((kind, shape), subject.id)

    def own(self, plugin: str, kind: str) -> set[str]:
        """The interfaces of a plugin that are its own to try: all of each shape that is its, of a message or listener the first."""
        found: set[str] = set()
        for shape, names in self._kinds[plugin][kind].items():
            if self._owners[kind, shape] == plugin:
                found.update(names if kind == "shape" else names[:1])
        return found

    def borrow(self, reports: Mapping[str, PluginReport]) -> None:
        """Give every plugin the results of what another tried for it."""
        lent: dict[tuple[str, str], list[Result]] = {}
        for plugin, report in reports.items():
            for kind, shapes in self._kinds.get(plugin, {}).items():
                for shape, names in shapes.items():
                    owner = self._owners[kind, shape]
                    mine = owner == plugin
                    others = [] if mine and kind == "shape" else names[1:] if mine else names
                    if not others or owner not in reports:
                        continue
                    if (owner, shape) not in lent:
                        tried = self._kinds[owner][kind][shape]
                        lent[owner, shape] = [r for r in reports[owner].results if _of(r, kind, tried)]
                    report.add(_summed(kind, owner, others, lent[owner, shape], mine))


def _of(result: Result, kind: str, interfaces: list[str]) -> bool:
    """Whether a result is what an owner found of a shape, not what it borrowed itself."""
    return result.check in SHARED[kind] and result.place.partition(":")[0] in interfaces


def _summed(kind: str, owner: str, interfaces: list[str], lent: list[Result], mine: bool) -> list[Result]:
    results = []
    for check in SHARED[kind]:
        found = [result for result in lent if result.check == check]
        if not found:
            continue
        bad = next((r for r in found if r.status is Status.FAILED), None) or next(
            (r for r in found if r.status is not Status.PASSED), None
        )
        where = found[0].place.partition(":")[0] if mine else f"{owner}/{found[0].place.partition(':')[0]}"
        why = t(f"alike: tried at {where}", f"同形，已在 {where} 测试")
        status = bad.status if bad is not None else Status.PASSED
        if bad is not None:
            why += f" – {bad.why}"
        results.append(Result(check, status, ", ".join(interfaces), why))
    return results
