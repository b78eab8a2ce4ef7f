"""The code of one rule's test, inside its loops and its condition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from hub.i18n import t
from hub.mapping.builder import Builder
from hub.mapping.document import Text
from hub.mapping.nodes import ExpressionError
from hub.mapping.paths import Code, Scope
from hub.quality.effective import EffectiveRule
from hub.quality.loops import Looped, first_path
from hub.quality.model import OrderTest
from hub.quality.places import place_maker
from hub.quality.value_tests import ValueTests

__all__ = ["RuleCode"]


class RuleCode:
    """Writes the test of one rule, inside its loops and its condition."""

    def __init__(
        self,
        builder: Builder,
        tests: ValueTests,
        codec: str,
        number: int,
        rule: EffectiveRule,
        scope: Scope,
        loops: Sequence[Looped],
        text: Callable[..., Text],
    ) -> None:
        self.builder = builder
        self.generator = builder.generator
        self.tests = tests
        self.codec = codec
        self.number = number
        self.rule = rule
        self.model = rule.model
        self.scope = scope
        self.loops = loops
        self.text = text
        self.writer = builder.generator.writer
        self.steps = "".join(f", ({loop.element}, {loop.number})" for loop in self.loops)

    def write(self) -> None:
        for words, text in self._all("at"):
            with self._guarded(text, "at"):
                if self.builder.path(text).up > len(self.loops):
                    raise ExpressionError(
                        t(
                            f"{words} is relative, and there is no element here",
                            f"{words} 是相对路径，但此处没有当前元素",
                        ),
                        remedy=t("name the elements under each:", "请在 each: 中指明元素"),
                    )
        test = self.model.test
        if test in ("required", "forbidden"):
            self._presence(test)
        elif test in ("any_of", "together"):
            self._group(test)
        elif test == "assert":
            self._assert()
        elif test == "order":
            self._order()
        elif test in ("unique", "continuous"):
            self._over_elements(test)
        else:
            self._values(test)

    # -- pieces --------------------------------------------------------------------------------------------------

    def _all(self, test: str) -> Iterator[tuple[str, Text]]:
        said = getattr(self.model, test)  # of these keys the model has the same name
        expressions: list[str] = said.paths if isinstance(said, OrderTest) else said
        whole = self.rule.data.get(test)
        for at, words in enumerate(expressions):
            key: tuple[str | int, ...] = (test, at) if isinstance(whole, list) else (test,)
            yield words, self.text(words, *key)

    @contextmanager
    def _guarded(self, text: Text, key: str) -> Iterator[None]:
        """A problem of an expression belongs to its key, and the next expression is still looked at."""
        target = f"{self.rule.id}.{key}"
        self.builder.at(text.line, target, text.text)
        with self.builder.guard(text, target):
            yield

    def _value(self, text: Text) -> tuple[str, str, Code]:
        """(variable, test that it is there, code) of an expression."""
        code = self.builder.expression(text, self.scope)
        name = self.generator.keep(code)
        return name, self.tests.presence(name, code.kind), code._replace(text=name)

    def _place(self, *paths: str) -> str:
        """The expression of a place: what ``at:`` says, else these paths."""
        loops = [loop.place for loop in self.loops]
        maker = place_maker(self.codec, loops, tuple(self.model.at) or paths)
        return f"{self.generator.constant(maker)}(tree{self.steps})"

    def _default_place(self, words: str) -> str:
        return self._place(first_path(self.builder, words) or ("." if self.loops else words))

    def _asked(self) -> None:
        self.writer.line(f"a{self.number} += 1")

    def _found(self, place: str, value: str = "None", detail: str = "''") -> None:
        self.writer.line(f"b{self.number} += 1")
        self.writer.line(f"note(ctx, {self.number}, {place}, {value}, {detail})")

    # -- tests ---------------------------------------------------------------------------------------------------

    def _presence(self, test: str) -> None:
        for words, text in self._all(test):
            with self._guarded(text, test):
                name, present, _ = self._value(text)
                self._asked()
                with self.writer.block(f"if {present}:" if test == "forbidden" else f"if not ({present}):"):
                    self._found(self._default_place(words), name if test == "forbidden" else "None")

    def _group(self, test: str) -> None:
        tests, places = [], []
        for words, text in self._all(test):
            with self._guarded(text, test):
                tests.append(f"({self._value(text)[1]})")
                places.append(self._default_place(words))
        if len(tests) != len(self.model.said(test)):
            return
        if test == "any_of":
            self._asked()
            with self.writer.block(f"if not ({' or '.join(tests)}):"):
                self._found(self._place(*self.model.said(test)))
            return
        with self.writer.block(f"if {' or '.join(tests)}:"):
            self._asked()
            missing = " and ".join(tests)
            with self.writer.block(f"if not ({missing}):"):
                self.writer.line(f"b{self.number} += 1")
                for present, place in zip(tests, places, strict=True):
                    with self.writer.block(f"if not {present}:"):
                        self.writer.line(f"note(ctx, {self.number}, {place})")

    def _values(self, test: str) -> None:
        for words, text in self._all("path"):
            with self._guarded(text, "path"):
                name, present, code = self._value(text)
                with self.writer.block(f"if {present}:"):
                    self._asked()
                    stated = self._stated(test)
                    with self._guarded(stated, test):
                        fault, detail = self.tests.fault(self.model, test, code, self.scope)
                        with self.writer.block(f"if {fault}:"):
                            self._found(self._default_place(words), name, detail)

    def _stated(self, test: str) -> Text:
        """What stands under the key of the test, as errors quote it."""
        said = self.rule.data.get(test)
        if isinstance(said, dict) and said.get("unit"):
            return self.text(str(said["unit"]), test, "unit")
        return self.text(str(said.get("name", "")) if isinstance(said, dict) else str(said), test)

    def _assert(self) -> None:
        words = self.model.assert_ or ""
        text = self.text(words, "assert")
        with self._guarded(text, "assert"):
            code = self.builder.expression(text, self.scope, condition=True)
            self._asked()
            with self.writer.block(f"if not ({code.text}):"):
                self._found(self._default_place(words))

    def _order(self) -> None:
        values, places = [], []
        for words, text in self._all("order"):
            with self._guarded(text, "order"):
                values.append(self._value(text))
                loops = [loop.place for loop in self.loops]
                path = tuple(self.model.at) or (first_path(self.builder, words) or words,)
                places.append(place_maker(self.codec, loops, path))
        order = self.model.order
        if order is None or len(values) != len(order.paths):
            return
        makers = self.generator.constant(tuple(places))
        known = " + ".join(f"(1 if {present} else 0)" for _, present, _ in values)
        with self.writer.block(f"if {known} > 1:"):
            self._asked()
            names = "".join(f"{name}, " for name, _, _ in values)
            at = self.writer.assign(f"first_backwards(({names}), {order.strict!r})")
            with self.writer.block(f"if {at} >= 0:"):
                self._found(f"{makers}[{at}](tree{self.steps})", f"({names})[{at}]")

    def _over_elements(self, test: str) -> None:
        continuous = self.model.continuous
        words = continuous.path if continuous is not None else self.model.unique or ""
        text = self.text(words, test)
        with self._guarded(text, test):
            name, present, _ = self._value(text)
            state = self.writer.temp("s")
            start = f"[{continuous.start!r}]" if continuous is not None else "set()"
            self.writer.place(self.writer.loop_depth - 1, [f"{state} = {start}"], {})
            with self.writer.block(f"if {present}:"):
                self._asked()
                call = "gap" if continuous is not None else "repeated"
                with self.writer.block(f"if {call}({state}, {name}):"):
                    # Of a value made of several the element is the place.
                    self._found(self._place(words if first_path(self.builder, words) == words.strip() else "."), name)
