"""Goes through the rules of a mapping the way its generated code does, and tells what becomes of each at each place.

With an input every rule is met once for each element it runs for, with its value; those that don't run are met too, with the
condition that kept them from it. Without an input every rule is met once. A test holds this against the generated code: what is
told here to be written is what a run writes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from hub.errors import HubError, MappingError
from hub.i18n import t
from hub.mapping.document import Document, Leaf, ObjectRule, Rules, Text
from hub.mapping.document_without import without
from hub.mapping.nodes import Node, PathNode
from hub.mapping.runtime import as_list, plain_text
from hub.mapping_tools.places import Outline, Places
from hub.mapping_tools.scope import Evaluator, Frame, Named

__all__ = ["MAX_MET", "Asked", "Condition", "Include", "Made", "Walk"]

#: Most rules met in one go: each counts once for each element it runs for.
MAX_MET = 200_000

State = Literal["rule", "written", "absent", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class Include:
    """A mapping that was included, and where."""

    name: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Condition:
    """What decides whether a rule runs. ``holds`` is None without an input."""

    keyword: str
    text: Text
    file: str
    frame: Frame
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A path or expression that is not the rule of a value: of ``each``, ``from``, ``when``, ``split``, ``vars.name`` …"""

    keyword: str
    text: Text
    file: str
    target: str
    frame: Frame


@dataclass(frozen=True, slots=True)
class Made:
    """One rule at one place. ``target`` is where its value goes, ``pattern`` the same for every element (``items[].code``).

    States: ``rule`` without an input; ``written``; ``absent``, it has no value; ``skipped``, a condition does not hold or a loop has
    no element; ``failed`` with ``error``.
    """

    output: int  # which of the targets of a mapping that splits, from 0
    target: str
    pattern: str
    leaf: Leaf
    document: Document
    includes: tuple[Include, ...]
    conditions: tuple[Condition, ...]
    frame: Frame
    state: State
    value: Any = None
    error: MappingError | None = None
    spot: Any = None  # the target format's own form of ``target``

    @property
    def text(self) -> str:
        """The rule as it is written; "" for a constant."""
        return self.leaf.expr.text if self.leaf.expr is not None else ""


@dataclass(frozen=True, slots=True)
class Here:
    """Which file the rules stand in, what they depend on, and whether they run."""

    document: Document
    includes: tuple[Include, ...] = ()
    conditions: tuple[Condition, ...] = ()
    live: bool = True
    output: int = 0


@dataclass(slots=True)
class Group:
    """A rule that holds others."""

    pattern: str
    rule: ObjectRule
    frame: Frame
    here: Here


class Walk(ABC):
    """One walk; the results are in ``made``, ``asked`` and, in the order of the file, ``outline``. ``evaluator`` None: without an input."""

    def __init__(
        self,
        document: Document,
        find: Callable[[str], Document | None],
        places: Outline,
        evaluator: Evaluator | None,
        parse: Callable[[Text], Node],
    ) -> None:
        self.document = document
        self.made: list[Made] = []
        self.asked: list[Asked] = []
        self.outline: list[Made | Group] = []
        self.outputs = 0
        self._find = find
        self._places = places
        self._evaluator = evaluator
        self._parse = parse

    def run(self) -> None:
        """Raises :class:`MappingError` when a condition or a loop can't be evaluated, :class:`HubError` when it takes too long."""
        document, root = self.document, self._places.root()
        here = Here(document)
        if document.split is None:
            self._target(root, here)
            return
        self._ask("split", document.split, "", root, here)
        frames = self._frames(document.split, "split", "", root, here)
        for inner in frames or [self._nowhere(document.split, root)]:
            self._target(inner, here if frames else self._empty(document.split, "split", root, here))

    def _target(self, frame: Frame, here: Here) -> None:
        here = replace(here, output=self.outputs)
        here = self.when(self.document.when, "when", "", frame, here)
        frame = self._declared(self.document, "", frame, here)
        self.build(frame, here)
        if here.live:
            self.outputs += 1

    @abstractmethod
    def build(self, frame: Frame, here: Here) -> None:
        """Go through the rules of one target."""

    # -- what every target format needs --------------------------------------------------------------------------

    def holds(self, node: Node, frame: Frame) -> bool:
        """Whether a filter condition holds; raises :class:`MappingError` when that can't be told."""
        assert self._evaluator is not None  # noqa: S101 - without an input no filter is asked
        return self._evaluator.holds(node, frame)

    def seems_to_hold(self, node: Node, frame: Frame) -> bool:
        """The same for rules that don't run: what can't be told does not hold."""
        try:
            return self.holds(node, frame)
        except MappingError:
            return False

    def _ask(self, keyword: str, text: Text, target: str, frame: Frame, here: Here) -> None:
        self.asked.append(Asked(keyword, text, here.document.file, target, frame))
        if len(self.asked) > MAX_MET:
            raise self._too_large()

    def _too_large(self) -> HubError:
        return HubError(
            t(f"more than {MAX_MET} rules and elements to go through", f"规则与元素超过 {MAX_MET} 个"),
            code="mapping.trace_size",
            remedy=t("use a smaller input", "请使用较小的输入"),
        )

    def when(self, text: Text | None, keyword: str, target: str, frame: Frame, here: Here) -> Here:
        """The same place under one condition more."""
        if text is None:
            return here
        self._ask(keyword, text, target, frame, here)
        holds: bool | None = None
        if self._evaluator is not None and here.live:
            with self._placed(text, keyword, target, here):
                holds = self._evaluator.holds(self._parse(text), frame)
        condition = Condition(keyword, text, here.document.file, frame, holds)
        return replace(here, conditions=(*here.conditions, condition), live=here.live and holds is not False)

    def distinct(self, text: Text | None, target: str, frame: Frame, here: Here, seen: set[str]) -> Here:
        """The same place, live only for the first entry with this value; ``seen`` are those of the list so far."""
        if text is None:
            return here
        self._ask("distinct", text, target, frame, here)
        holds: bool | None = None
        if self._evaluator is not None and here.live:
            with self._placed(text, "distinct", target, here):
                value = plain_text(self._evaluator.value(self._parse(text), frame)[0])
                holds = value not in seen
                seen.add(value)
        condition = Condition("distinct", text, here.document.file, frame, holds)
        return replace(here, conditions=(*here.conditions, condition), live=here.live and holds is not False)

    def _empty(self, text: Text, keyword: str, frame: Frame, here: Here) -> Here:
        """The place inside a loop that has no element."""
        condition = Condition(keyword, text, here.document.file, frame, False)
        return replace(here, conditions=(*here.conditions, condition), live=False)

    def _placed(self, text: Text, keyword: str, target: str, here: Here) -> _Placed:
        return _Placed(here.document.file, text, f"{target}.{keyword}".lstrip("."))

    def _frames(self, text: Text, keyword: str, target: str, frame: Frame, here: Here) -> list[Frame]:
        path = self._parse(text)
        if not isinstance(path, PathNode):
            return self._entries_of(path, text, keyword, target, frame, here)
        if self._evaluator is None:
            return [self._places.inside(path, frame)]
        if not frame.reachable or not isinstance(self._places, Places):
            return []  # inside a loop that has no element
        with self._placed(text, keyword, target, here):
            return self._places.elements(path, frame, self.holds if here.live else self.seems_to_hold)

    def _entries_of(self, node: Node, text: Text, keyword: str, target: str, frame: Frame, here: Here) -> list[Frame]:
        """The frames of the items of a value that was computed: they stand in no place of the source."""
        if self._evaluator is None:
            return [self._nowhere(text, frame)]
        if not frame.reachable:
            return []
        with self._placed(text, keyword, target, here):
            try:
                items = as_list(self._evaluator.value(node, frame, every=True)[0])
            except MappingError:
                if here.live:
                    raise
                return []
        return [
            replace(self._nowhere(text, frame), element=item, place=(text.text, number))
            for number, item in enumerate(items)
        ]

    def _nowhere(self, text: Text, frame: Frame) -> Frame:
        path = self._parse(text)
        if isinstance(path, PathNode):
            return self._places.inside(path, frame)
        return Frame("value", label=text.text, place=(text.text,), parent=frame, names=frame.names)

    def each(self, path: Text, rule: ObjectRule, target: str, frame: Frame, here: Here) -> Iterator[tuple[Frame, Here]]:
        """Every element of a loop; those left out by ``where`` or ``when`` are not live."""
        self._ask("each", path, target, frame, here)
        frames = self._frames(path, "each", target, frame, here)
        if not frames:
            inner = self._nowhere(path, frame)
            yield inner.with_name("number", Named(known=(None, "any"))), self._empty(path, "each", frame, here)
            return
        number = 0
        for inner in frames:
            counted = self.when(rule.where, "where", target, inner, here)
            number += counted.live
            inner = inner.with_name("number", Named(known=(number, "any")))
            yield inner, self.when(rule.when, "when", target, inner, counted)

    def include(self, rule: ObjectRule, target: str, frame: Frame, here: Here) -> tuple[Document, Frame, Here]:
        """The included file, the frame its relative paths start from, and the place."""
        name = rule.include
        assert name is not None  # noqa: S101 - asked for by rules with include: only
        found = self._find(name.text)
        if found is None:
            raise HubError(t(f"there is no mapping {name.text!r}", f"没有映射 {name.text!r}"), code="mapping.missing")
        if rule.without:
            found, _ = without(found, rule.without)
        inside = replace(
            here,
            document=found,
            includes=(*here.includes, Include(found.name, here.document.file, name.line)),
        )
        if rule.origin is not None:
            self._ask("from", rule.origin, target, frame, here)
            frames = self._frames(rule.origin, "from", target, frame, here)
            if frames:
                frame = frames[0]
            else:
                inside = self._empty(rule.origin, "from", frame, inside)
                frame = self._nowhere(rule.origin, frame)
        return found, self._declared(found, target, frame, inside), inside

    def _declared(self, document: Document, target: str, frame: Frame, here: Here) -> Frame:
        """The frame with the variables of a file, each of which sees those before it."""
        for name, text in document.variables.items():
            self._ask(f"vars.{name}", text, target, frame, here)
            frame = frame.with_name(name, Named(text, document, frame))
        return frame

    def leaf(self, leaf: Leaf, target: str, pattern: str, frame: Frame, here: Here, spot: Any) -> bool:
        """Meet the rule of a value; True when it is written."""
        here = self.when(leaf.when, "when", pattern, frame, here)
        made = Made(
            here.output, target, pattern, leaf, here.document, here.includes, here.conditions, frame, "rule", spot=spot
        )
        if self._evaluator is not None:
            made = self._evaluated(made, here) if here.live else replace(made, state="skipped")
        self.made.append(made)
        self.outline.append(made)
        if len(self.made) > MAX_MET:
            raise self._too_large()
        return made.state == "written"

    def _evaluated(self, made: Made, here: Here) -> Made:
        evaluator, leaf = self._evaluator, made.leaf
        assert evaluator is not None  # noqa: S101 - asked with an input only
        if leaf.const is not None:
            return replace(made, state="written", value=leaf.const[0])
        assert leaf.expr is not None  # noqa: S101 - the compiler has seen to it
        try:
            with _Placed(here.document.file, leaf.expr, made.pattern):
                value, kind = evaluator.value(self._parse(leaf.expr), made.frame)
                demanded = leaf.required and leaf.default is None
                if evaluator.present(value, kind) and not (demanded and value == ""):
                    return replace(made, state="written", value=value)
                if leaf.default is not None:
                    written = leaf.keep_null or leaf.default[0] is not None
                    return replace(made, state="written" if written else "absent", value=leaf.default[0])
                if leaf.required:
                    raise MappingError(t("a required value is absent", "必填值缺失"))
                return replace(made, state="written" if leaf.keep_null else "absent", value=None)
        except MappingError as error:
            return replace(made, state="failed", error=error)


@dataclass(slots=True)
class _Placed:
    """Gives errors of one expression the place of its rule."""

    file: str
    text: Text
    target: str

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> Literal[False]:
        if isinstance(error, MappingError):
            raise MappingError(
                error.reason,
                file=self.file,
                line=self.text.line,
                target=self.target,
                source=self.text.text,
                value=error.value,
                code=error.code,
                remedy=error.remedy,
            ) from None
        return False


def has_fields(rules: Rules | None) -> bool:
    """Whether rules make an object whose fields can be mixed with others."""
    return isinstance(rules, ObjectRule) and rules.each is None
