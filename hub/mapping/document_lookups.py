"""Reads ``lookups:`` of a mapping file: values that come from an earlier message in the store, or from another system that is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from hub.i18n import t

if TYPE_CHECKING:
    from hub.mapping.document import Rules, Text
    from hub.mapping.document_read import Reader

__all__ = ["Lookup", "read_lookups"]

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d{1,6})(s|m|h|d)", re.ASCII)
_PLACE = re.compile(r"[^/\s]+/[^/\s]+")
_FOR_SYSTEM = ("system", "request", "codec", "read", "when", "cache", "cache_by", "required")
_FOR_STORE = ("store", "source", "keys", "codec", "read", "when", "required", "serial")
_FOR_SERIAL = ("serial",)


@dataclass(slots=True)
class Lookup:
    """One entry. ``system`` is asked with ``ask`` as request, or ``store``, a message type, is searched by the keys ``ask``.

    ``codec``: of request and reply, or of the message found; "" for the usual one. ``read``: what is taken from the reply or
    message; None: all of it. ``cache``: seconds a reply is used again; ``cache_by``: for what, None: for the same request.
    ``serial``: the place of the message found among those of its second; with neither system nor store that of the message under way.
    """

    name: str
    line: int
    system: str = ""
    store: str = ""
    source: str = ""
    codec: str = ""
    ask: Rules | None = None
    read: Rules | None = None
    when: Text | None = None
    cache: float = 0.0
    cache_by: Rules | None = None
    required: bool = False
    serial: bool = False


def read_lookups(reader: Reader, node: yaml.Node) -> dict[str, Lookup]:
    """Those that are sound; the rest are problems of the document."""
    found: dict[str, Lookup] = {}
    for name, name_node, value in reader.entries(node, "lookups"):
        if not name.isidentifier() or name in ("settings", "message", "now", "number", "source", "target"):
            reader.problem(name_node, f"lookups.{name}", t("can't be the name of a lookup", "不能作查询名"))
            continue
        lookup = _lookup(reader, name, value)
        if lookup is not None:
            found[name] = lookup
    return found


def _lookup(reader: Reader, name: str, node: yaml.Node) -> Lookup | None:
    key = f"lookups.{name}"
    entries = {entry: (entry_node, value) for entry, entry_node, value in reader.entries(node, key)}
    kinds = [kind for kind in ("system", "store") if kind in entries]
    alone = not kinds and "serial" in entries
    if len(kinds) != 1 and not alone:
        reader.problem(
            node,
            key,
            t("either system: or store: is needed", "须写 system: 或 store: 之一"),
            t("system: mpi/query, or store: ADT^A01", "system: mpi/query 或 store: ADT^A01"),
        )
        return None
    known = _FOR_SERIAL if alone else _FOR_SYSTEM if kinds == ["system"] else _FOR_STORE
    lookup = Lookup(name, node.start_mark.line + 1)
    for entry, (entry_node, value) in entries.items():
        place = f"{key}.{entry}"
        if entry not in known:
            reader.problem(
                entry_node,
                place,
                t("unknown key", "未知的键"),
                t(f"known: {', '.join(known)}", f"可用：{', '.join(known)}"),
            )
        elif entry in ("system", "store", "source", "codec"):
            text = reader.text(value, place, t("a name", "名称"))
            setattr(lookup, entry, text.text if text else "")
        elif entry in ("request", "keys"):
            lookup.ask = reader.rule(value, place, 1)
        elif entry == "read":
            lookup.read = reader.rule(value, place, 1)
        elif entry == "cache_by":
            lookup.cache_by = reader.rule(value, place, 1)
        elif entry == "when":
            lookup.when = reader.expression(value, place)
        elif entry == "required":
            lookup.required = reader.flag(value, place)
        elif entry == "serial":
            lookup.serial = reader.flag(value, place)
        else:
            lookup.cache = _duration(reader, value, place)
    if alone:
        return lookup
    asked = "request" if lookup.system else "keys"
    if lookup.ask is None:
        reader.problem(node, f"{key}.{asked}", t(f"{asked}: is missing", f"缺少 {asked}:"), f"{asked}: {{…}}")
        return None
    if lookup.system and not _PLACE.fullmatch(lookup.system):
        reader.problem(
            node, f"{key}.system", t("a system and its interface expected", "此处应为系统及其接口"), "mpi/query"
        )
        return None
    return lookup


def _duration(reader: Reader, node: yaml.Node, key: str) -> float:
    found = _DURATION.fullmatch(node.value.strip()) if isinstance(node, yaml.ScalarNode) else None
    if found:
        return int(found[1]) * _SECONDS[found[2]]
    reader.problem(node, key, t("a duration expected", "此处应为时长"), "30s, 10m, 24h")
    return 0.0
