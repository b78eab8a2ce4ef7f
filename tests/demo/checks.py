"""Expectations of the demo: each one is told with what was expected and what was seen, and counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from rich.console import Console
from rich.markup import escape

from hub.i18n import t

__all__ = ["Checks"]

_SHOWN = 400
#: Longest wait for something that has to happen by itself, seconds.
PATIENCE = 15.0
_PAUSE = 0.05


class Checks:
    """Collects what was as told and what was not; nothing is skipped over."""

    def __init__(self, console: Console) -> None:
        self.met = 0
        self.missed: list[str] = []
        self._console = console

    def chapter(self, text: str) -> None:
        self._console.print(f"\n[bold]{escape(text)}[/bold]")

    def say(self, text: str) -> None:
        self._console.print(f"  {escape(text)}")

    def expect(self, what: str, wanted: Any, seen: Any) -> bool:
        """``wanted`` and ``seen`` are equal."""
        return self._judge(what, wanted == seen, repr(wanted), repr(seen))

    def expect_that(self, what: str, holds: bool, wanted: str, seen: Any) -> bool:
        """A condition holds; ``wanted`` says in words which one."""
        return self._judge(what, holds, wanted, repr(seen))

    async def eventually(self, what: str, wanted: Any, look: Callable[[], Any | Awaitable[Any]]) -> bool:
        """``look()`` comes to equal ``wanted`` within :data:`PATIENCE` seconds."""
        end = time.monotonic() + PATIENCE
        while True:
            seen = look()
            if isinstance(seen, Awaitable):
                seen = await seen
            if seen == wanted or time.monotonic() > end:
                return self._judge(what, seen == wanted, repr(wanted), repr(seen))
            await asyncio.sleep(_PAUSE)

    def _judge(self, what: str, good: bool, wanted: str, seen: str) -> bool:
        if good:
            self.met += 1
            self._console.print(f"  [green]✓[/green] {escape(what)}")
            return True
        text = t(
            f"{what}: expected {wanted[:_SHOWN]}, seen {seen[:_SHOWN]}",
            f"{what}：应为 {wanted[:_SHOWN]}，实为 {seen[:_SHOWN]}",
        )
        self.missed.append(text)
        self._console.print(f"  [red]✗ {escape(text)}[/red]")
        return False
