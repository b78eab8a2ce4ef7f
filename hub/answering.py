"""Which interfaces answer later what others have sent, and what of it a contract can't ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hub.api import Adapter, Bound
from hub.contract import Interface
from hub.errors import HubError, Problem
from hub.i18n import t
from hub.validation import Origin, did_you_mean, expression_problems

if TYPE_CHECKING:
    from hub.deployment import Deployment

__all__ = ["answered_places", "answering", "check_answers", "interface_problems"]


def answered_places(bound: Bound, outbound: Mapping[str, Bound]) -> list[str]:
    """The targets whose answers come in through an interface."""
    answers = bound.contract.answers
    if answers is None:
        return []
    if answers.to:
        return [name if "/" in name else f"{bound.system}/{name}" for name in answers.to]
    return [
        place
        for place, other in outbound.items()
        if other.system == bound.system and other.contract.callback is not None
    ]


def answering(target: str, inbound: Mapping[str, Bound], outbound: Mapping[str, Bound]) -> list[Bound]:
    """The interfaces through which the answers of a target come in."""
    return [bound for bound in inbound.values() if target in answered_places(bound, outbound)]


def interface_problems(contract: Interface, adapter: Adapter | None, origin: Origin) -> list[Problem]:
    """What an interface asks for that can't be, as far as it can be told without the others."""
    problems: list[Problem] = []
    answers, callback = contract.answers, contract.callback
    receives = contract.direction == "in"
    waits = contract.style == "request" or (answers is not None and answers.unknown == "refuse")
    source = receives and waits and adapter is not None and _reads_source(adapter)
    if source and contract.style == "request":
        text = t(
            f"adapter {contract.adapter!r} reads a source: nobody waits there for a reply (style: request)",
            f"适配器 {contract.adapter!r} 读取数据源，没有等待应答的调用方（style: request）",
        )
        remedy = t(
            "write style: event, and send the result back by a route of its own",
            "请写 style: event，并用单独的路由返回结果",
        )
        problems.append(origin.problem(text, ("style",), remedy=remedy))
    if receives and callback is not None:
        text = t("callback is for what is sent (direction: out)", "callback 仅用于发送接口（direction: out）")
        remedy = t("an interface that takes answers has answers:", "接收应答的接口请写 answers:")
        problems.append(origin.problem(text, ("callback",), remedy=remedy))
    if not receives and answers is not None:
        text = t("answers is for what is received (direction: in)", "answers 仅用于接收接口（direction: in）")
        remedy = t("an interface whose target answers later has callback:", "目标稍后应答的接口请写 callback:")
        problems.append(origin.problem(text, ("answers",), remedy=remedy))
    if receives and answers is not None:
        problems.extend(expression_problems(answers.key, contract.codec, origin, ("answers", "key")))
        if contract.style == "request":
            text = t("an answer is no request: its caller can't wait for a reply", "应答不是请求，其发送方不能等待应答")
            problems.append(origin.problem(text, ("answers",), remedy="style: event"))
        if source and answers.unknown == "refuse":
            text = t(
                f"adapter {contract.adapter!r} reads a source: there is nobody to refuse an answer to",
                f"适配器 {contract.adapter!r} 读取数据源，没有可以拒绝的发送方",
            )
            problems.append(origin.problem(text, ("answers", "unknown"), remedy="unknown: accept"))
    if not receives and callback is not None and contract.collect is not None:
        text = t(
            "one call carries several messages (collect), so its later answer can't be told to belong to one",
            "一次调用携带多条消息（collect），无法确定后续应答属于哪一条",
        )
        remedy = t("take collect or callback away", "请去掉 collect 或 callback")
        problems.append(origin.problem(text, ("callback",), remedy=remedy))
    if not receives and callback is not None and callback.of != "message":
        codec = (contract.reply.codec or contract.codec) if callback.of == "reply" else contract.codec
        problems.extend(expression_problems(callback.key, codec, origin, ("callback", "key")))
    return problems


def _reads_source(adapter: Adapter) -> bool:
    try:
        return adapter.reads_source
    except HubError:
        return False  # its code can't be loaded, which is told for itself


def check_answers(deployment: Deployment) -> None:
    """Every answer needs somebody who awaits it, and the other way round."""
    outbound = deployment.outbound
    answered: set[str] = set()
    for bound in deployment.inbound.values():
        if bound.contract.answers is None:
            continue
        origin = deployment.origins[bound.place]
        places = answered_places(bound, outbound)
        answered.update(places)
        if not places:
            text = t(
                f"no interface that {bound.system} sends to has callback, so nothing is awaited",
                f"{bound.system} 没有带 callback 的发送接口，无可对应的请求",
            )
            remedy = t(
                "add callback to the interface that is answered, or name it in to",
                "请为被应答的接口添加 callback，或在 to 中指明",
            )
            deployment.problems.append(origin.problem(text, ("answers",), remedy=remedy))
        for number, place in enumerate(places):
            other = outbound.get(place)
            if other is not None and other.contract.callback is not None:
                continue
            path: tuple[str | int, ...] = ("answers", "to")
            if other is None:
                known = [name.partition("/")[2] for name in outbound if name.startswith(f"{bound.system}/")]
                text = t(f"nothing is sent to {place!r}", f"没有发送接口 {place!r}")
                remedy = did_you_mean(bound.contract.answers.to[number], [*known, *outbound])
                system = place.partition("/")[0]
                left_out = system in deployment.config.systems and system not in deployment.systems
                severity = "warning" if left_out else "error"  # why it is left out is told for itself
                deployment.problems.append(origin.problem(text, path, remedy=remedy, severity=severity))
            else:
                text = t(f"{place} awaits no answer", f"{place} 不等待应答")
                remedy = t(f"add callback: {{key: …}} to {place}", f"请为 {place} 添加 callback: {{key: …}}")
                deployment.problems.append(origin.problem(text, path, remedy=remedy))
    for place, bound in outbound.items():
        if bound.contract.callback is None or place in answered:
            continue
        waits = bound.contract.callback.caller_gets == "callback"
        text = t(f"no interface takes the answers of {place}", f"没有接口接收 {place} 的应答")
        remedy = t(
            "add an interface with direction: in and answers: {key: …}",
            "请添加 direction: in 且带 answers: {key: …} 的接口",
        )
        severity = "error" if waits else "warning"
        deployment.problems.append(
            deployment.origins[place].problem(text, ("callback",), remedy=remedy, severity=severity)
        )
