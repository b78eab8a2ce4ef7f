"""What a contract can't ask for where calls carry several messages (``collect``) or replies become messages (``results``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.api import Bound, Codec
from hub.contract import CollectRule, Interface, ItemsRule, ResultsRule
from hub.errors import MappingError, Problem
from hub.i18n import t
from hub.validation import Origin, did_you_mean, expression_problems, listed

if TYPE_CHECKING:
    from hub.deployment import Deployment

__all__ = ["batching_problems", "check_batching", "collects"]


def collects(bound: Bound | None) -> bool:
    """Whether calls to a target carry several messages."""
    return bound is not None and bound.contract.collect is not None


def batching_problems(contract: Interface, codec: Codec, origin: Origin) -> list[Problem]:
    """As far as it can be told without the other interfaces and the mappings; ``codec`` is that of the interface."""
    problems: list[Problem] = []
    collect, results = contract.collect, contract.results
    for key, value in (("collect", collect), ("results", results)):
        if value is not None and contract.direction == "in":
            text = t(f"{key} is for what is sent (direction: out)", f"{key} 仅用于发送接口（direction: out）")
            problems.append(origin.problem(text, (key,), remedy=t(f"take {key} away", f"请去掉 {key}")))
    if problems:
        return problems
    if collect is not None and results is not None:
        text = t(
            "a reply to several messages can't become messages of one that asked",
            "一次调用携带多条消息时，其应答不能转为消息",
        )
        remedy = t("take collect or results away", "请去掉 collect 或 results")
        problems.append(origin.problem(text, ("results",), remedy=remedy))
    if collect is not None and contract.retry is not None and contract.retry.once:
        text = t("messages that go together can't be sent once each", "合并发送的消息不能各自只发送一次（once）")
        remedy = t("take collect or retry.once away", "请去掉 collect 或 retry.once")
        problems.append(origin.problem(text, ("retry", "once"), remedy=remedy))
    if collect is not None and contract.hours is not None:
        text = t("messages that go together can't wait each for its hours", "合并发送的消息不能各自等待允许的时段")
        remedy = t("take collect or hours away", "请去掉 collect 或 hours")
        problems.append(origin.problem(text, ("hours",), remedy=remedy))
    reply = contract.reply.codec or contract.codec
    if collect is not None:
        problems += _collect(contract, collect, codec, reply, origin)
    if results is not None:
        problems += _results(results, reply, origin)
    return problems


def _collect(contract: Interface, collect: CollectRule, codec: Codec, reply: str, origin: Origin) -> list[Problem]:
    problems: list[Problem] = []
    if not collect.mapping and not codec.joins:
        text = t(f"codec {codec.name} knows no document of several", f"编解码器 {codec.name} 不能把多条合为一份")
        remedy = t(
            "name a mapping of {items: [...]}: collect.mapping", "请在 collect.mapping 中指定 {items: [...]} 的映射"
        )
        problems.append(origin.problem(text, ("collect",), remedy=remedy))
    elif collect.form and (collect.mapping or collect.form not in codec.joins):
        text = t(f"{collect.form!r} is not allowed here", f"此处不可用 {collect.form!r}")
        remedy = (
            t("collect.mapping alone says how", "已由 collect.mapping 决定")
            if collect.mapping
            else t(f"allowed: {listed(codec.joins)}", f"可用：{listed(codec.joins)}")
        )
        problems.append(origin.problem(text, ("collect", "as"), remedy=remedy))
    if collect.items is None:
        return problems
    if contract.order_by is None:
        text = t(
            "with everything in arrival order and results for each message, a call could carry one message only",
            "全部消息须按到达顺序且逐条判定结果时，一次调用只能携带一条",
        )
        remedy = t("give order_by; '' means no order", "请给出 order_by；'' 表示不排序")
        problems.append(origin.problem(text, ("collect", "items"), remedy=remedy))
    return problems + _items(collect.items, reply, origin)


def _items(items: ItemsRule, reply: str, origin: Origin) -> list[Problem]:
    from hub.mapping.formats import kind_of_tree  # most interfaces need no mappings to be checked

    problems: list[Problem] = []
    below = ("collect", "items")
    if not items.mapping and kind_of_tree(reply) != "json":
        text = t(f"results can't be read from {reply} one by one", f"无法从 {reply} 中逐条读取结果")
        remedy = t(
            "name a mapping to a plain tree: collect.items.mapping", "请在 collect.items.mapping 中指定到普通树的映射"
        )
        problems.append(origin.problem(text, (*below, "each"), remedy=remedy))
    else:
        problems += expression_problems(items.each, "json", origin, (*below, "each"))
    for key in ("index", "key", "success", "code", "message"):
        text = getattr(items, key)
        if text:
            problems += expression_problems(text, "json", origin, (*below, key))
    if items.index and items.key:
        text = t("index and key both say which message a result is about", "index 与 key 不能同时使用")
        problems.append(origin.problem(text, (*below, "index"), remedy=t("keep one of them", "请只保留其一")))
    if items.of and not items.key:
        text = t("of is what key is compared with, and there is no key", "of 用于与 key 比较，但没有 key")
        problems.append(origin.problem(text, (*below, "of"), remedy=t("give key", "请给出 key")))
    if not items.success and not items.code and items.unlisted == "retry":
        text = t("by these rules no message is ever delivered", "按此规则没有消息会被视为成功")
        remedy = t("give success, or unlisted: delivered", "请给出 success，或写 unlisted: delivered")
        problems.append(origin.problem(text, below, remedy=remedy))
    return problems


def _results(results: ResultsRule, reply: str, origin: Origin) -> list[Problem]:
    from hub.mapping.formats import kind_of_tree

    problems: list[Problem] = []
    if results.each and kind_of_tree(reply) != "json":
        text = t(f"messages can't be read from {reply} one by one", f"无法从 {reply} 中逐条读取消息")
        remedy = t("name a mapping that splits: results.mapping", "请在 results.mapping 中指定带 split 的映射")
        problems.append(origin.problem(text, ("results", "each"), remedy=remedy))
    elif results.each:
        problems += expression_problems(results.each, reply, origin, ("results", "each"))
    if results.more:
        problems += expression_problems(results.more, reply, origin, ("results", "more"))
        if not results.next:
            text = t(
                "more says whether there is a next page, next how to get it", "more 表示是否有下一页，next 表示如何获取"
            )
            problems.append(origin.problem(text, ("results", "more"), remedy=t("give next", "请给出 next")))
    for name, text in results.next.items():
        problems += expression_problems(text, reply, origin, ("results", "next", name))
    return problems


def check_batching(deployment: Deployment) -> None:
    """Interfaces that are to take in replies, and the mappings between."""
    for bound in deployment.outbound.values():
        collect, results = bound.contract.collect, bound.contract.results
        if collect is None and results is None:
            continue
        origin = deployment.origins[bound.place]
        codec = bound.codec.name
        reply = bound.reply_codec.name if bound.reply_codec is not None else bound.contract.reply.codec or codec
        if collect is not None and collect.mapping:
            _fits(deployment, collect.mapping, "json", codec, origin, ("collect", "mapping"))
        if collect is not None and collect.items is not None and collect.items.mapping:
            _fits(deployment, collect.items.mapping, reply, "json", origin, ("collect", "items", "mapping"))
        if results is not None:
            target = _taker(deployment, bound, results, origin)
            if target is not None and results.mapping:
                source = "json" if results.each else reply
                _fits(deployment, results.mapping, source, target.codec.name, origin, ("results", "mapping"))
            elif target is not None:
                _same(deployment, results, reply, target, origin)


def _taker(deployment: Deployment, bound: Bound, results: ResultsRule, origin: Origin) -> Bound | None:
    """The interface that takes in the replies."""
    place = f"{bound.system}/{results.to}"
    target = deployment.inbound.get(place)
    if target is None:
        text = (
            t(f"{place} sends, it can't take anything in", f"{place} 是发送接口，不能接收")
            if place in deployment.outbound
            else t(f"there is no interface {place}", f"没有接口 {place}")
        )
        known = [other.interface_id for other in deployment.inbound.values() if other.system == bound.system]
        deployment.problems.append(origin.problem(text, ("results", "to"), remedy=did_you_mean(results.to, known)))
    elif target.contract.style == "request":
        text = t(f"nobody waits for a reply of {place} (style: request)", f"{place} 为请求式，但没有等待应答的调用方")
        remedy = t("name an interface with style: event", "请指定 style: event 的接口")
        deployment.problems.append(origin.problem(text, ("results", "to"), remedy=remedy))
        return None
    return target


def _same(deployment: Deployment, results: ResultsRule, reply: str, target: Bound, origin: Origin) -> None:
    from hub.mapping.formats import kind_of_tree

    codec = target.codec.name
    fits = kind_of_tree(codec) == "json" if results.each else codec == reply
    if not fits:
        text = t(
            f"the reply is {reply}, {target.place} takes {codec}, and there is no mapping",
            f"应答格式为 {reply}，{target.place} 的格式为 {codec}，但没有映射",
        )
        remedy = t("name one: results.mapping", "请在 results.mapping 中指定")
        deployment.problems.append(origin.problem(text, ("results", "to"), remedy=remedy))


def _fits(deployment: Deployment, name: str, source: str, target: str, origin: Origin, path: tuple[str, ...]) -> None:
    """Say what is wrong with a mapping between two codecs; plain trees are all of one kind."""
    from hub.mapping.formats import kind_of_tree

    try:
        mapping = deployment.mappings.get(name)
    except MappingError as error:
        text = t(f"mapping {name!r}: {error.text}", f"映射 {name!r}：{error.text}")
        deployment.problems.append(origin.problem(text, path, remedy=error.remedy))
        return
    remedy = t("choose a mapping that fits", "请选用相符的映射")
    if mapping.source_codec and kind_of_tree(mapping.source_codec) != kind_of_tree(source):
        text = t(
            f"mapping {name!r} reads {mapping.source_codec}, not {source}",
            f"映射 {name!r} 读取 {mapping.source_codec}，而非 {source}",
        )
        deployment.problems.append(origin.problem(text, path, remedy=remedy))
    if mapping.target_codec and kind_of_tree(mapping.target_codec) != kind_of_tree(target):
        text = t(
            f"mapping {name!r} makes {mapping.target_codec}, not {target}",
            f"映射 {name!r} 生成 {mapping.target_codec}，而非 {target}",
        )
        deployment.problems.append(origin.problem(text, path, remedy=remedy))
    if mapping.lookups:
        text = t(f"mapping {name!r} has lookups, which can't be made here", f"映射 {name!r} 含 lookups，此处无法执行")
        deployment.problems.append(origin.problem(text, path, remedy=remedy))
