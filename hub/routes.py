"""Checks between systems: routes from sources to targets, and receivers that would get in each other's way."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from hub.answering import answered_places, answering
from hub.api import Bound
from hub.batching import collects
from hub.contract import RouteConfig
from hub.errors import MappingError, Problem
from hub.i18n import t
from hub.validation import Origin, did_you_mean, expression_problems, listed
from hub.yaml_source import Place, key_text

if TYPE_CHECKING:
    from hub.config import LoadedConfig
    from hub.deployment import Deployment
    from hub.mapping import CompiledMapping

__all__ = ["check_receivers", "overlap", "resolve_routes"]


def overlap(one: str, other: str) -> bool:
    """Whether some text matches both patterns; ``*`` stands for any run of characters."""
    if "*" not in one and "*" not in other:
        return one == other
    # ends[j]: the part of ``one`` read so far and the first j characters of ``other`` can match a common text.
    ends = [True] + [False] * len(other)
    for j, char in enumerate(other, 1):
        ends[j] = ends[j - 1] and char == "*"
    for mine in one:
        row = [ends[0] and mine == "*"]
        for j, char in enumerate(other, 1):
            if mine == "*" or char == "*":
                row.append(ends[j] or row[j - 1] or (mine == char and ends[j - 1]))
            else:
                row.append(mine == char and ends[j - 1])
        ends = row
    return ends[-1]


def _any_overlap(some: Iterable[str], others: list[str]) -> bool:
    return any(overlap(one, other) for one in some for other in others)


# -- receivers ---------------------------------------------------------------------------------------------------


def check_receivers(deployment: Deployment) -> None:
    """Two receivers can't have one address, or, where the adapter has paths, one path on it."""
    taken: list[tuple[Bound, str, int, str, frozenset[str]]] = []
    config = deployment.config.admin
    for bound in list(deployment.inbound.values()):
        port = getattr(bound.options, "port", None)
        if not isinstance(port, int) or port == 0:
            continue
        host = str(getattr(bound.options, "host", ""))
        path = _shape(str(getattr(bound.options, "path", "")))
        methods = frozenset(str(method).upper() for method in getattr(bound.options, "methods", None) or ())
        origin = deployment.origins[bound.place]
        if port == config.port and _same_host(host, config.host):
            text = t(
                f"{bound.place} would listen on port {port}, which is the hub's own (admin.port)",
                f"{bound.place} 的监听端口 {port} 与枢纽管理端口（admin.port）相同",
            )
            remedy = t("choose another port", "请更换端口")
            deployment.problems.append(origin.problem(text, ("listen", "port"), remedy=remedy))
            _leave_out(deployment, bound)
            continue
        for other, other_host, other_port, other_path, other_methods in taken:
            if other_port != port or not _same_host(host, other_host):
                continue
            apart = path != other_path or (methods and other_methods and not methods & other_methods)
            if _server(bound) == _server(other) and apart and path:
                continue
            where = f"{host}:{port}{getattr(bound.options, 'path', '')}"
            text = t(
                f"{bound.place} and {other.place} would both listen on {where}",
                f"{bound.place} 与 {other.place} 将同时监听 {where}",
            )
            remedy = t("give one of them another port or path", "请为其一更换端口或路径")
            deployment.problems.append(origin.problem(text, ("listen",), remedy=remedy))
            _leave_out(deployment, bound)
            break
        else:
            taken.append((bound, host, port, path, methods))


def _server(bound: Bound) -> str:
    """What answers on its port: an adapter of its own, or a server that several adapters share (``server`` of the options)."""
    return str(getattr(bound.options, "server", bound.contract.adapter))


def _leave_out(deployment: Deployment, bound: Bound) -> None:
    del deployment.inbound[bound.place]


def _same_host(one: str, other: str) -> bool:
    every = ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound
    return one == other or one in every or other in every


def _shape(path: str) -> str:
    """A path with the names of its variable parts taken out: ``/in/{a}`` and ``/in/{b}`` are the same path."""
    parts = ["{}" if part.startswith("{") and part.endswith("}") else part for part in path.split("/")]
    return "/".join(parts)


# -- routes ------------------------------------------------------------------------------------------------------


def resolve_routes(
    deployment: Deployment, loaded: LoadedConfig, more: Callable[[Deployment], None] | None = None
) -> None:
    """Check every route against the systems; those without errors become part of the deployment. ``more`` adds others."""
    checker = _Routes(deployment, loaded)
    for name, route in loaded.hub.routes.items():
        if route.enabled:
            checker.resolve(name, route)
    if more is not None:
        more(deployment)
    checker.check_sources()


class _Routes:
    def __init__(self, deployment: Deployment, loaded: LoadedConfig) -> None:
        self._deployment = deployment
        self._loaded = loaded
        self._mappings: dict[str, CompiledMapping | MappingError] = {}
        self._by_system: dict[str, list[Bound]] = {}
        for bound in deployment.inbound.values():
            self._by_system.setdefault(bound.system, []).append(bound)

    def resolve(self, name: str, route: RouteConfig) -> None:
        """What concerns the whole leaves out the route; a target with problems stays in it.

        Its deliveries then wait in the store, or become dead letters where the mapping is broken, until the problem is mended:
        a message that was accepted for it must not count as filtered.
        """
        deployment = self._deployment
        place = self._loaded.declared[f"routes.{name}"]
        problems: list[Problem] = []
        sources = self._sources(route, place, problems)
        targets = self._wanted(route)
        for target in self._targets(route, place, problems):
            self._check_types(route, place, target, problems)
            for source in sources:
                self._check_pair(route, place, source, target, problems)
        whole = self._whole(route, place, sources)
        deployment.problems.extend(dict.fromkeys([*problems, *whole]))
        if sources and targets and not whole:
            deployment.routes[name] = route.model_copy(update={"to": targets})
            deployment.sources[name] = tuple(source.place for source in sources)

    def _whole(self, route: RouteConfig, place: Place, sources: list[Bound]) -> list[Problem]:
        problems: list[Problem] = []
        for codec in sorted({source.codec.name for source in sources}):
            if route.when:
                problems.extend(
                    expression_problems(route.when, codec, place, ("when",), key=key_text((*place.path, "when")))
                )
        # Targets that share the types out among them are one target for each message.
        shared = any(self._same_messages(one, other) for one, other in itertools.combinations(route.to, 2))
        for source in sources:
            if source.contract.style == "request" and shared:
                text = t(
                    f"{source.place} waits for a reply (style: request), so there can be one target only",
                    f"{source.place} 等待应答（style: request），只能有一个目标",
                )
                problems.append(place.problem(text, ("to",), remedy=t("name one target", "请只写一个目标")))
        problems.extend(self._callers_of_many(route, place, sources))
        return problems

    def _callers_of_many(self, route: RouteConfig, place: Place, sources: list[Bound]) -> list[Problem]:
        """A caller in request style would wait for others to come, and get the reply to them all."""
        waiting = [source.place for source in sources if source.contract.style == "request"]
        targets = [name for name in route.to if collects(self._deployment.outbound.get(name))]
        return [
            place.problem(
                t(
                    f"{source} waits for a reply of its own, and {target} takes several messages in one call (collect)",
                    f"{source} 等待自己的应答，而 {target} 一次调用携带多条消息（collect）",
                ),
                ("to",),
                remedy=t("name another target", "请更换目标"),
            )
            for source in waiting
            for target in targets
        ]

    # -- ends ----------------------------------------------------------------------------------------------------

    def _sources(self, route: RouteConfig, place: Place, problems: list[Problem]) -> list[Bound]:
        inbound = self._deployment.inbound
        found: dict[str, Bound] = {}
        for number, pattern in enumerate(route.source):
            matches = self._matching(pattern)
            found.update({bound.place: bound for bound in matches})
            if not matches:
                problems.append(self._missing(pattern, place, ("from", number), inbound, receives=True))
        return list(found.values())

    def _matching(self, pattern: str) -> list[Bound]:
        if "*" not in pattern:
            if "/" not in pattern:
                return self._by_system.get(pattern, [])
            bound = self._deployment.inbound.get(pattern)
            return [] if bound is None else [bound]
        fits = re.compile(".*".join(re.escape(part) for part in pattern.split("*"))).fullmatch
        if "/" in pattern:
            return [bound for place, bound in self._deployment.inbound.items() if fits(place)]
        return [bound for system, bounds in self._by_system.items() if fits(system) for bound in bounds]

    def _wanted(self, route: RouteConfig) -> list[str]:
        """The targets of a route that are meant to run, whether they can or not."""
        systems = self._loaded.hub.systems
        wanted = []
        for name in route.to:
            system = systems.get(name.partition("/")[0])
            receives = name in self._deployment.inbound and name not in self._deployment.outbound  # flows do both
            if "*" not in name and not receives and (system is None or system.enabled):
                wanted.append(name)
        return list(dict.fromkeys(wanted))

    def _targets(self, route: RouteConfig, place: Place, problems: list[Problem]) -> list[Bound]:
        outbound = self._deployment.outbound
        found: dict[str, Bound] = {}
        for number, name in enumerate(route.to):
            bound = outbound.get(name)
            if bound is None:
                problems.append(self._missing(name, place, ("to", number), outbound, receives=False))
            else:
                found[name] = bound
        return list(found.values())

    def _missing(
        self, name: str, place: Place, path: tuple[str | int, ...], known: dict[str, Bound], *, receives: bool
    ) -> Problem:
        """Why there is no such end of a route."""
        deployment = self._deployment
        systems = self._loaded.hub.systems
        system = name.partition("/")[0]
        kind = t("source", "来源") if receives else t("target", "目标")
        other = deployment.outbound if receives else deployment.inbound
        if isinstance(place.document.data, dict) and not _is_list(place, path):
            path = path[:-1]
        if name in other:
            text = (
                t(f"{name!r} sends, it can't be a source", f"{name!r} 是发送接口，不能作为来源")
                if receives
                else t(f"{name!r} receives, it can't be a target", f"{name!r} 是接收接口，不能作为目标")
            )
            return place.problem(text, path, remedy=did_you_mean(name, known))
        if "*" in name:
            text = t(f"no {kind} matches {name!r}", f"没有与 {name!r} 匹配的{kind}")
            if not receives:
                remedy = t("name each target", "请逐一写出目标")
                return place.problem(text, path, remedy=remedy)
            return place.problem(text, path, remedy=did_you_mean(name, known), severity="warning")
        if system in systems and not systems[system].enabled:
            text = t(f"system {system!r} is switched off", f"系统 {system!r} 已停用")
            remedy = t("switch it on, or the route off", "请启用该系统或停用此路由")
            return place.problem(text, path, remedy=remedy, severity="warning")
        if f"systems.{system}" in self._loaded.declared and system not in deployment.systems:
            text = t(f"system {system!r} has problems and is left out", f"系统 {system!r} 存在问题，未启用")
            return place.problem(text, path, remedy=t("correct them first", "请先解决其问题"))
        names = [*known, *(sorted({bound.system for bound in known.values()}) if receives else ())]
        return place.problem(
            t(f"unknown {kind} {name!r}", f"未知的{kind} {name!r}"), path, remedy=did_you_mean(name, names)
        )

    # -- between -------------------------------------------------------------------------------------------------

    def _check_types(self, route: RouteConfig, place: Place, target: Bound, problems: list[Problem]) -> None:
        accepts = target.contract.accepts
        if not _any_overlap(route.types, accepts):
            text = t(
                f"{target.place} accepts {listed(accepts)}: none of this route's types can match",
                f"{target.place} 仅接受 {listed(accepts)}，本路由的类型均不匹配",
            )
            remedy = t("correct types here or accepts there", "请更正此处的 types 或对方的 accepts")
            problems.append(place.problem(text, ("types",), remedy=remedy, severity="warning"))

    def _check_pair(
        self, route: RouteConfig, place: Place, source: Bound, target: Bound, problems: list[Problem]
    ) -> None:
        origin = self._deployment.origins[target.place]
        codec = source.codec.name
        for key in ("order_by", "idempotency"):
            expression = getattr(target.contract, key)
            if expression:
                about = t(f"for messages of {source.place}: ", f"对 {source.place} 的消息：")
                found = expression_problems(expression, codec, origin, (key,), about=about, key=f"{target.place}.{key}")
                problems.extend(found)
        collect = target.contract.collect
        if collect is not None and collect.by:
            about = t(f"for messages of {source.place}: ", f"对 {source.place} 的消息：")
            problems.extend(expression_problems(collect.by, codec, origin, ("collect", "by"), about=about))
        hours = target.contract.hours
        if hours is not None and hours.unless:
            about = t(f"for messages of {source.place}: ", f"对 {source.place} 的消息：")
            problems.extend(expression_problems(hours.unless, codec, origin, ("hours", "unless"), about=about))
        enveloped = collect is not None and bool(collect.mapping)  # what messages become is not what is sent
        name = target.contract.mapping if route.mapping is None else route.mapping
        if name:
            where: Origin = origin if route.mapping is None else place
            made = "" if enveloped else target.codec.name
            problems.extend(self._mapping_problems(name, codec, made, where, "mapping", target.place))
        elif route.mapping is None and codec != target.codec.name and not enveloped:
            text = t(
                f"{source.place} sends {codec}, {target.place} takes {target.codec.name}, and there is no mapping",
                f"{source.place} 的格式为 {codec}，{target.place} 的格式为 {target.codec.name}，但没有映射",
            )
            remedy = t(
                "name a mapping; mapping: '' sends the bytes as received", "请指定映射；mapping: '' 表示原样发送"
            )
            problems.append(place.problem(text, remedy=remedy))
        callback = target.contract.callback
        if callback is not None and callback.of == "message":
            about = t(f"for messages of {source.place}: ", f"对 {source.place} 的消息：")
            problems.extend(expression_problems(callback.key, codec, origin, ("callback", "key"), about=about))
        if source.contract.style == "request":
            self._check_replies(source, target, problems)

    def _check_replies(self, source: Bound, target: Bound, problems: list[Problem]) -> None:
        """The mappings of what a caller in request style gets."""
        where = self._deployment.origins[source.place]
        contract, callback = source.contract, target.contract.callback
        replies = target.contract.reply.codec or target.codec.name
        if contract.error_mapping:
            found = self._mapping_problems(contract.error_mapping, replies, source.codec.name, where, "error_mapping")
            problems.extend(found)
        if not contract.reply_mapping:
            return
        answers = [replies]
        if callback is not None and callback.caller_gets == "callback":
            inbound, outbound = self._deployment.inbound, self._deployment.outbound
            answers = sorted({bound.codec.name for bound in answering(target.place, inbound, outbound)})
        for codec in answers:
            problems.extend(
                self._mapping_problems(contract.reply_mapping, codec, source.codec.name, where, "reply_mapping")
            )

    def _mapping_problems(
        self, name: str, source: str, target: str, origin: Origin, key: str, place: str = ""
    ) -> list[Problem]:
        """``source``, ``target``: the formats wanted; ``place``: the interface the mapping is for, where there is one."""
        if name not in self._mappings:
            try:
                self._mappings[name] = self._deployment.mappings.get(name)
            except MappingError as error:
                self._mappings[name] = error
        found = self._mappings[name]
        if isinstance(found, MappingError):
            text = t(f"mapping {name!r}: {found.text}", f"映射 {name!r}：{found.text}")
            return [origin.problem(text, (key,), remedy=found.remedy)]
        remedy = t("choose a mapping that fits", "请选用相符的映射")
        problems = self._lookup_problems(found, origin, key, place)
        if found.source_codec and found.source_codec != source:
            text = t(
                f"mapping {name!r} reads {found.source_codec}, but gets {source}",
                f"映射 {name!r} 读取 {found.source_codec}，收到的却是 {source}",
            )
            problems.append(origin.problem(text, (key,), remedy=remedy))
        if target and found.target_codec and found.target_codec != target:
            text = t(
                f"mapping {name!r} writes {found.target_codec}, but {target} is wanted",
                f"映射 {name!r} 输出 {found.target_codec}，需要的却是 {target}",
            )
            problems.append(origin.problem(text, (key,), remedy=remedy))
        return problems

    def _lookup_problems(self, mapping: CompiledMapping, origin: Origin, key: str, target: str) -> list[Problem]:
        problems = []
        if mapping.lookups and key in ("reply_mapping", "error_mapping"):
            text = t(
                f"mapping {mapping.name!r} has lookups, a reply can't wait for them",
                f"映射 {mapping.name!r} 带有 lookups，应答不能使用",
            )
            problems.append(origin.problem(text, (key,)))
        for lookup in mapping.lookups:
            asked = lookup.place(target)
            bound = self._deployment.outbound.get(asked)
            place = f"{lookup.file}:{lookup.line}"
            if lookup.system and bound is None:
                text = t(
                    f"{place}: lookup {lookup.name}: there is no {asked}",
                    f"{place}：查询 {lookup.name}：没有 {asked}",
                )
                remedy = t("name an interface this hub can call: system/interface", "请写本系统可调用的接口：系统/接口")
                problems.append(origin.problem(text, (key,), remedy=remedy))
            elif bound is not None:
                replies = (bound.reply_codec or bound.codec).name
                for what, codec in ((t("takes", "接收"), bound.codec.name), (t("answers in", "应答为"), replies)):
                    if codec != lookup.codec:
                        text = t(
                            f"{place}: lookup {lookup.name} is in {lookup.codec}, but {asked} {what} {codec}",
                            f"{place}：查询 {lookup.name} 使用 {lookup.codec}，而 {asked} {what} {codec}",
                        )
                        problems.append(origin.problem(text, (key,), remedy=f"codec: {codec}"))
        return problems

    def check_sources(self) -> None:
        """Tell of interfaces whose messages would go nowhere, and of requests with more than one answer."""
        deployment = self._deployment
        routes: dict[str, list[str]] = {place: [] for place in deployment.inbound}
        for name in deployment.routes:
            for place in deployment.sources_of(name):
                routes[place].append(name)
        for place, names in routes.items():
            bound = deployment.inbound[place]
            origin = deployment.origins[place]
            # A flow need not send anything; a login is answered by its scheme, with a token.
            silent = bound.contract.adapter == "flow" or any("login" in entry for entry in bound.contract.security)
            if not names and not silent and not self._answers_callers(bound):
                text = t(f"no route takes the messages of {place}", f"没有路由处理 {place} 的消息")
                remedy = t("add a route, or switch the interface off", "请添加路由或停用该接口")
                severity = "error" if bound.contract.style == "request" else "warning"
                deployment.problems.append(origin.problem_here(text, remedy=remedy, severity=severity))
            if bound.contract.style == "request":
                self._check_request(bound, names)

    def _answers_callers(self, bound: Bound) -> bool:
        """Whether what comes in goes to those who wait for it, and needs no route."""
        outbound = self._deployment.outbound
        callbacks = [
            outbound[place].contract.callback for place in answered_places(bound, outbound) if place in outbound
        ]
        return any(callback is not None and callback.caller_gets == "callback" for callback in callbacks)

    def _check_request(self, bound: Bound, names: list[str]) -> None:
        routes = self._deployment.routes
        for number, name in enumerate(names):
            for earlier in names[:number]:
                one, other = routes[earlier], routes[name]
                if one.when or other.when or not _any_overlap(one.types, other.types):
                    continue
                if not any(self._same_messages(first, second) for first in one.to for second in other.to):
                    continue
                text = t(
                    f"{bound.place} waits for one reply, but route {earlier!r} takes the same messages",
                    f"{bound.place} 只等待一个应答，但路由 {earlier!r} 也处理相同的消息",
                )
                remedy = t("tell them apart by types or when", "请用 types 或 when 加以区分")
                place = self._loaded.declared[f"routes.{name}"]
                self._deployment.problems.append(place.problem(text, remedy=remedy))

    def _same_messages(self, first: str, second: str) -> bool:
        """Whether two targets accept messages of one type."""
        outbound = self._deployment.outbound
        if first not in outbound or second not in outbound:
            return False  # what is wrong with it is told elsewhere
        return _any_overlap(outbound[first].contract.accepts, outbound[second].contract.accepts)


def _is_list(place: Place, path: tuple[str | int, ...]) -> bool:
    """Whether the end was written as a list item, not as plain text."""
    data = place.document.data
    for part in (*place.path, *path[:-1]):
        data = data.get(part) if isinstance(data, dict) else None
    return isinstance(data, list)
