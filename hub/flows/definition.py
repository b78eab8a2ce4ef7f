"""A flow as it runs: its model, where its steps are, and its expressions compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from hub.errors import HubError
from hub.flows.model import End, FlowModel, Input, OnError, Send, Step, Then, all_steps, lists_of
from hub.i18n import t
from hub.mapping import Context, compile_expression
from hub.router import type_matcher
from hub.yaml_source import Document, parse

__all__ = ["FLOW_SYSTEM", "Definition", "digest_of", "place_of", "route_of"]

#: The system whose interfaces flows are.
FLOW_SYSTEM = "flow"
_HOLD = OnError()
_DIGEST = 12


def digest_of(flow: str, raw: bytes) -> str:
    """The name of a version; a file under another name is another flow, whatever it says."""
    return hashlib.sha256(flow.encode() + b"\n" + raw).hexdigest()[:_DIGEST]


def place_of(flow: str) -> str:
    return f"{FLOW_SYSTEM}/{flow}"


def route_of(flow: str, step: str, version: str, *, undo: bool = False) -> str:
    """The id of the route by which a step sends."""
    return f"flow:{flow}:{step}{'~undo' if undo else ''}@{version}"


@lru_cache(maxsize=4096)
def _matcher(types: tuple[str, ...]) -> Callable[[str], bool]:
    return type_matcher(types)


@dataclass(slots=True)
class Definition:
    """One version of a flow. ``codecs``: place -> codec of what is read there, of replies for targets; json where it is not known."""

    flow: str
    version: str
    raw: bytes
    model: FlowModel
    document: Document
    codecs: Mapping[str, str] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)
    list_of: dict[str, str] = field(default_factory=dict)  # step -> the list it is in
    lists: dict[str, list[str]] = field(default_factory=dict)  # "" is the outermost; "STEP.NAME" one within a step
    owner: dict[str, str] = field(default_factory=dict)  # list -> the step it is in
    paths: dict[str, tuple[str | int, ...]] = field(default_factory=dict)  # step -> where it stands in the file

    @classmethod
    def read(cls, flow: str, raw: bytes, codecs: Mapping[str, str] | None = None, version: str = "") -> Definition:
        """From bytes that were accepted before, as ``version``; raises :class:`HubError` or ``ValueError`` for others."""
        document = parse(raw, f"{flow}.yaml")
        return cls.of(flow, raw, FlowModel.model_validate(document.data), document, codecs, version)

    @classmethod
    def of(
        cls,
        flow: str,
        raw: bytes,
        model: FlowModel,
        document: Document,
        codecs: Mapping[str, str] | None = None,
        version: str = "",
    ) -> Definition:
        found = cls(flow, version or digest_of(flow, raw), raw, model, document, codecs or {})
        found._add("", model.steps, ("steps",))
        return found

    def _add(self, name: str, steps: list[Step], path: tuple[str | int, ...]) -> None:
        self.lists[name] = [step.id for step in steps]
        for number, step in enumerate(steps):
            self.steps[step.id] = step
            self.list_of[step.id] = name
            self.paths[step.id] = (*path, number)
            for inner, below in lists_of(step):
                self.owner[f"{step.id}.{inner}"] = step.id
                where: tuple[str | int, ...] = ("steps",)
                if step.parallel is not None:
                    where = ("parallel", "branches", inner)
                elif step.repeat is not None:
                    where = ("repeat", "steps")
                elif step.choose is not None:
                    where = ("choose", int(inner), "steps")
                self._add(f"{step.id}.{inner}", below, (*path, number, *where))

    # -- where things are ----------------------------------------------------------------------------------------

    def next_of(self, step: str) -> str | None:
        """The step after one in its list; None: it is the last."""
        ids = self.lists[self.list_of[step]]
        at = ids.index(step) + 1
        return ids[at] if at < len(ids) else None

    def around(self, step: str) -> Iterator[str]:
        """The list a step is in, and those around it, from the inside."""
        name = self.list_of[step]
        yield name
        while name:
            name = self.list_of[self.owner[name]]
            yield name

    def below(self, step: str) -> list[str]:
        """The lists directly within a step."""
        return [f"{step}.{inner}" for inner, _ in lists_of(self.steps[step])]

    def on_error(self, step: Step) -> OnError:
        return step.on_error or self.model.on_error or _HOLD

    def inputs(self) -> Iterator[tuple[str, Input]]:
        """(step, "" for the start; what it takes in)."""
        for each in self.model.start:
            yield "", each
        for step in all_steps(self.model.steps):
            if step.wait is not None:
                for each in step.wait.inputs:
                    yield step.id, each

    def sends(self) -> Iterator[tuple[Step, Send, bool]]:
        """(step, what it sends, whether that undoes it)"""
        for step in all_steps(self.model.steps):
            if step.send is not None:
                yield step, step.send, False
            if step.compensate is not None:
                yield step, step.compensate, True

    def thens(self) -> Iterator[tuple[str, Then | End, tuple[str | int, ...]]]:
        """(step, "" for the flow; where it may lead; its place within the file)"""
        if self.model.deadline is not None:
            yield "", self.model.deadline.then, ("deadline", "then")
        if self.model.on_error is not None:
            for found, path in _of_error(self.model.on_error):
                yield "", found, ("on_error", *path)
        for step in all_steps(self.model.steps):
            base = self.paths[step.id]
            for kind in ("send", "wait", "manual"):
                part = getattr(step, kind)
                if part is not None:
                    yield step.id, part.on_timeout, (*base, kind, "on_timeout")
            if step.on_error is not None:
                for found, path in _of_error(step.on_error):
                    yield step.id, found, (*base, "on_error", *path)
            for goto, end, path in _jumps(step):
                if goto:
                    yield step.id, Then(goto=goto), (*base, *path)
                if end is not None:
                    yield step.id, end, (*base, *path)

    def type_of(self, step: str, send: Send) -> str:
        return send.type or f"{self.flow}.{step}"

    # -- expressions ---------------------------------------------------------------------------------------------

    def codec_of(self, place: str) -> str:
        return self.codecs.get(place, "json") if place else "json"

    def evaluate(self, text: str, tree: Any, context: Context, codec: str = "json") -> Any:
        """Raises :class:`HubError`."""
        return compile_expression(text, codec)(tree, context)

    def fits(self, given: Input, place: str, message_type: str) -> bool:
        """Whether messages of this place and type are meant at all; "" is the place of what a mapping made."""
        meant = given.source == place if given.source else self.codec_of(place) == "json"
        return meant and _matcher(tuple(given.types))(message_type)

    def key(self, given: Input, tree: Any, context: Context) -> str:
        """The business key of a message; "" when it has none. Raises :class:`HubError`."""
        value = self.evaluate(given.key, tree, context, self.codec_of(given.source))
        if value is None:
            return ""
        if isinstance(value, dict | list | tuple | bool):
            raise HubError(
                t("the business key must be one text or number", "业务键须为单个文本或数字"), code="flow.key"
            )
        text = str(value).strip()
        if len(text) > 200:
            raise HubError(
                t("the business key is longer than 200 characters", "业务键超过 200 个字符"), code="flow.key"
            )
        return text

    def build(self, rule: Any, tree: Any, context: Context) -> Any:
        """The tree a ``fields`` makes. Raises :class:`HubError`."""
        if isinstance(rule, str):
            return self.evaluate(rule, tree, context)
        if isinstance(rule, list):
            return [self.build(each, tree, context) for each in rule]
        if isinstance(rule, dict):
            if set(rule) == {"const"}:
                return rule["const"]
            return {name: self.build(each, tree, context) for name, each in rule.items()}
        return rule


def _of_error(rule: OnError) -> Iterator[tuple[Then, tuple[str | int, ...]]]:
    yield rule.then, ("then",)
    for code, found in rule.codes.items():
        yield found, ("codes", code)


def _jumps(step: Step) -> Iterator[tuple[str, End | None, tuple[str | int, ...]]]:
    if step.wait is not None:
        for number, each in enumerate(step.wait.inputs):
            yield each.goto, None, ("wait", "for", number)
    if step.manual is not None:
        for name, choice in step.manual.choices.items():
            yield choice.goto, choice.end, ("manual", "choices", name)
    if step.choose is not None:
        for number, case in enumerate(step.choose):
            yield case.goto, case.end, ("choose", number)
    if step.end is not None:
        yield "", step.end, ("end",)
