"""What of a flow depends on the systems it talks to: interfaces, formats, mappings, expressions, roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub.answering import answering
from hub.errors import MappingError, Problem
from hub.flows.definition import Definition
from hub.flows.model import Input, Send, Step
from hub.i18n import t
from hub.people.rights import ROLES
from hub.router import type_matcher
from hub.validation import did_you_mean, expression_problems
from hub.yaml_source import KeyPath

if TYPE_CHECKING:
    from hub.deployment import Deployment

__all__ = ["problems_with", "usable_places"]


def usable_places(deployment: Deployment) -> dict[str, str]:
    """Place -> codec of what is received there; ``reply:PLACE`` -> codec of its replies."""
    found = {place: bound.codec.name for place, bound in deployment.inbound.items()}
    for place, bound in deployment.outbound.items():
        found[f"reply:{place}"] = (bound.reply_codec or bound.codec).name
    return found


def problems_with(one: Definition, deployment: Deployment) -> list[Problem]:
    """Everything that is wrong with a flow in this deployment."""
    return _Checks(one, deployment).run()


class _Checks:
    def __init__(self, one: Definition, deployment: Deployment) -> None:
        self._one = one
        self._deployment = deployment
        self._problems: list[Problem] = []

    def run(self) -> list[Problem]:
        one = self._one
        for number, given in enumerate(one.model.start):
            listed = isinstance(one.document.data["start"], list)
            self._input(given, ("start", number) if listed else ("start",))
        for name, step in one.steps.items():
            self._step(step, one.paths[name])
        return self._problems

    def _tell(self, text: str, path: KeyPath, remedy: str, severity: str = "error") -> None:
        self._problems.append(self._one.document.problem(text, path, remedy=remedy, severity=severity))

    def _expression(self, text: str, path: KeyPath, codec: str = "json") -> None:
        if text:
            self._problems.extend(expression_problems(text, codec, self._one.document.place(), path))

    def _expressions(self, expressions: dict[str, str], path: tuple[str | int, ...], codec: str) -> None:
        for name, text in expressions.items():
            self._expression(text, (*path, name), codec)

    # -- what comes in -------------------------------------------------------------------------------------------

    def _input(self, given: Input, path: tuple[str | int, ...]) -> None:
        codec = "json"
        if given.source:
            bound = self._deployment.inbound.get(given.source)
            if bound is None:
                remedy = did_you_mean(given.source, self._deployment.inbound)
                self._tell(
                    t(f"no interface receives as {given.source!r}", f"没有接收接口 {given.source!r}"),
                    (*path, "from"),
                    remedy,
                )
                return
            if bound.contract.style == "request":
                text = t(
                    f"{given.source} waits for a reply (style: request), which a flow does not give",
                    f"{given.source} 等待应答（style: request），流程不提供应答",
                )
                self._tell(text, (*path, "from"), t("use an interface with style: event", "请使用 style: event 的接口"))
            codec = bound.codec.name
        self._expression(given.key, (*path, "key"), codec)
        self._expression(given.when, (*path, "when"), codec)
        self._expression(given.data, (*path, "data"), codec)
        self._expressions(given.set, (*path, "set"), codec)

    # -- steps ---------------------------------------------------------------------------------------------------

    def _step(self, step: Step, path: tuple[str | int, ...]) -> None:
        self._expression(step.when, (*path, "when"))
        if step.send is not None:
            self._send(step, step.send, (*path, "send"))
            self._answers(step, (*path, "send"))
        if step.compensate is not None:
            self._send(step, step.compensate, (*path, "compensate"))
        if step.wait is not None:
            data: Any = self._one.document.data
            for part in (*path, "wait", "for"):
                data = data[part]
            for number, given in enumerate(step.wait.inputs):
                self._input(given, (*path, "wait", "for", number) if isinstance(data, list) else (*path, "wait", "for"))
        if step.manual is not None:
            roles = {*ROLES, *self._deployment.config.security.roles}
            if step.manual.role not in roles:
                text = t(f"there is no role {step.manual.role!r}", f"没有角色 {step.manual.role!r}")
                remedy = t("declare it below security.roles of hub.yaml; ", "请在 hub.yaml 的 security.roles 中声明；")
                near = did_you_mean(step.manual.role, roles)
                self._tell(text, (*path, "manual", "role"), remedy + near, "warning")
        if step.choose is not None:
            for number, case in enumerate(step.choose):
                self._expression(case.when, (*path, "choose", number, "when"))
        if step.repeat is not None:
            self._expression(step.repeat.until, (*path, "repeat", "until"))
        if step.set is not None:
            self._expressions(step.set, (*path, "set"), "json")

    def _fields(self, rule: Any, path: tuple[str | int, ...]) -> None:
        if isinstance(rule, str):
            self._expression(rule, path)
        elif isinstance(rule, list):
            for number, each in enumerate(rule):
                self._fields(each, (*path, number))
        elif isinstance(rule, dict) and set(rule) != {"const"}:
            for name, each in rule.items():
                self._fields(each, (*path, name))

    def _send(self, step: Step, send: Send, path: tuple[str | int, ...]) -> None:
        self._fields(send.fields, (*path, "fields"))
        target = self._deployment.outbound.get(send.to)
        if target is None:
            self._tell(
                t(f"no interface sends as {send.to!r}", f"没有发送接口 {send.to!r}"),
                (*path, "to"),
                did_you_mean(send.to, self._deployment.outbound),
            )
            return
        name = self._one.type_of(step.id, send)
        if not type_matcher(target.contract.accepts)(name):
            accepts = ", ".join(target.contract.accepts)
            text = t(f"{send.to} does not accept {name!r}", f"{send.to} 不接收类型 {name!r}")
            self._tell(text, (*path, "type"), t(f"it accepts: {accepts}", f"其接收：{accepts}"))
        mapping = target.contract.mapping if send.mapping is None else send.mapping
        if not mapping:
            if target.codec.name != "json":
                text = t(
                    f"{send.to} takes {target.codec.name}, and there is no mapping",
                    f"{send.to} 的格式为 {target.codec.name}，但没有映射",
                )
                self._tell(text, path, t("name a mapping from json", "请指定来源为 json 的映射"))
            return
        where = (*path, "mapping") if send.mapping is not None else (*path, "to")
        try:
            compiled = self._deployment.mappings.get(mapping)
        except MappingError as error:
            self._tell(error.reason, where, error.remedy)
            return
        if compiled.source_codec not in ("", "json"):
            text = t(
                f"mapping {mapping} reads {compiled.source_codec}, a flow sends json",
                f"映射 {mapping} 读取 {compiled.source_codec}，而流程发送 json",
            )
            self._tell(text, where, t("name a mapping from json", "请指定来源为 json 的映射"))

    def _answers(self, step: Step, path: tuple[str | int, ...]) -> None:
        send = step.send
        target = self._deployment.outbound.get(send.to) if send is not None else None
        if send is None or target is None:
            return
        self._expressions(send.reply, (*path, "reply"), (target.reply_codec or target.codec).name)
        if send.until == "reply" and target.contract.collect is not None:
            text = t(
                f"{send.to} takes several messages in one call (collect): its reply belongs to none alone",
                f"{send.to} 一次调用携带多条消息（collect），应答不属于其中单独一条",
            )
            self._tell(text, (*path, "until"), "until: delivered")
        if send.callback and send.until != "callback":
            text = t("variables of a later answer, which is not waited for", "声明了后续应答的变量，但未等待后续应答")
            self._tell(text, (*path, "callback"), "until: callback")
        if send.until != "callback":
            return
        answerers = answering(send.to, self._deployment.inbound, self._deployment.outbound)
        if target.contract.callback is None or not answerers:
            text = t(f"{send.to} answers nothing later", f"{send.to} 没有后续应答")
            remedy = t(
                "see callback and answers in docs/correlation.md", "参见 docs/correlation.md 中的 callback 与 answers"
            )
            self._tell(text, (*path, "until"), remedy)
        for bound in answerers:
            self._expressions(send.callback, (*path, "callback"), bound.codec.name)
