"""Writes the statements of a generated function: indentation, temporary names, and reads that are shared.

A read of the source (a segment, a field, a JSON step) has a key. While its value is in reach the same name is used again; a read
that does not depend on the running element of a loop is placed before the loop. Each line remembers the rule it serves,
so that a failure at run time finds its place from the line number of the traceback and nothing is spent on it before.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Captured", "Line", "Writer"]


@dataclass(slots=True)
class Line:
    """``depth`` is counted from the block it is collected in, and grows as that one is put into another."""

    depth: int
    text: str
    rule: int


@dataclass(slots=True)
class Captured:
    """Lines set aside, with the reads they make known. ``risky``: running them may raise."""

    lines: list[Line] = field(default_factory=list)
    known: dict[Hashable, str] = field(default_factory=dict)
    risky: bool = False


@dataclass(slots=True)
class _Loop:
    home: dict[Hashable, str]
    before: list[Line] = field(default_factory=list)


class Writer:
    """The body of one function under construction."""

    def __init__(self) -> None:
        self.rule = 0
        self.risky = False
        self._lines: list[Line] = []
        self._depth = 0
        self._known: list[dict[Hashable, str]] = [{}]
        self._loops: list[_Loop] = []
        self._names = 0

    @property
    def loop_depth(self) -> int:
        """How many loops are open."""
        return len(self._loops)

    def temp(self, prefix: str = "v") -> str:
        self._names += 1
        return f"{prefix}{self._names}"

    def line(self, text: str) -> None:
        self._lines.append(Line(self._depth, text, self.rule))

    def assign(self, expression: str) -> str:
        """Bind an expression to a new name; a name or a plain constant is returned as it is."""
        if expression.isidentifier():
            return expression
        name = self.temp()
        self.line(f"{name} = {expression}")
        return name

    # -- shared reads --------------------------------------------------------------------------------------------

    def known(self, key: Hashable) -> str | None:
        for names in reversed(self._known):
            if key in names:
                return names[key]
        return None

    def read(self, loop_depth: int, key: Hashable, expression: str) -> str:
        """The name of a read that never raises and depends on nothing inside loops deeper than ``loop_depth``."""
        name = self.known(key)
        if name is None:
            name = self.temp()
            self.place(loop_depth, [f"{name} = {expression}"], {key: name})
        return name

    def place(self, loop_depth: int, statements: list[str], known: dict[Hashable, str]) -> None:
        """Put simple statements as far out as they may stand."""
        if len(self._loops) > loop_depth:
            loop = self._loops[loop_depth]
            loop.before.extend(Line(0, text, self.rule) for text in statements)
            loop.home.update(known)
        else:
            for text in statements:
                self.line(text)
            self._known[-1].update(known)

    def place_captured(self, loop_depth: int, captured: Captured, known: dict[Hashable, str]) -> None:
        """The same for captured lines."""
        if len(self._loops) <= loop_depth:
            self.splice(captured, share=True)
            self._known[-1].update(known)
        else:
            loop = self._loops[loop_depth]
            loop.before.extend(captured.lines)
            loop.home.update(captured.known)
            loop.home.update(known)

    # -- structure -----------------------------------------------------------------------------------------------

    @contextmanager
    def capture(self) -> Iterator[Captured]:
        """Collect what is written inside instead of writing it."""
        captured = Captured()
        lines, depth, risky = self._lines, self._depth, self.risky
        self._lines, self._depth, self.risky = captured.lines, 0, False
        self._known.append(captured.known)
        try:
            yield captured
        finally:
            captured.risky = self.risky
            self._known.pop()
            self._lines, self._depth, self.risky = lines, depth, risky

    def _move(self, lines: list[Line], deeper: int = 0) -> None:
        """Put collected lines here; they are not copied, for each is moved as often as blocks are nested, and put in one place only."""
        deeper += self._depth
        if deeper:
            for line in lines:
                line.depth += deeper
        self._lines += lines

    def splice(self, captured: Captured, *, share: bool = False) -> None:
        """Write captured lines here, once; ``share`` when they run whenever what follows runs."""
        self._move(captured.lines)
        self.risky = self.risky or captured.risky
        if share:
            self._known[-1].update(captured.known)

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """An indented block; reads made in it are unknown behind it."""
        self.line(header)
        self._depth += 1
        self._known.append({})
        try:
            yield
        finally:
            self._known.pop()
            self._depth -= 1

    @contextmanager
    def loop(self, header: str | Callable[[str], str]) -> Iterator[None]:
        """A loop; reads that don't depend on its element are written before it.

        ``header`` may be a function of the text of the body, when what the loop binds depends on what is used.
        """
        loop = _Loop(self._known[-1])
        with self.capture() as body:
            self._loops.append(loop)
            try:
                yield
            finally:
                self._loops.pop()
        self._move(loop.before)
        self.line(header if isinstance(header, str) else header("\n".join(line.text for line in body.lines)))
        self._move(body.lines, 1)
        self.risky = self.risky or body.risky

    def result(self) -> list[Line]:
        return self._lines
