"""A keeper of flows on a file, with a clock that is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from hub.flows.definition import Definition
from hub.flows.keeper import Keeper
from hub.flows.state import Instance
from hub.flows.store import FlowStore
from hub.flows.work import Incoming, Told

__all__ = ["NOW", "SECOND", "Kept"]

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND


class Kept:
    """A keeper on a file, with a clock that is told."""

    def __init__(self, folder: Path, *texts: bytes) -> None:
        self.now = NOW
        self.store = FlowStore(folder / "flows.db", b"salt")
        numbers = iter(range(1, 10_000))
        self.keeper = Keeper(self.store, lambda: next(numbers), lambda place, raw: orjson.loads(raw), lambda: self.now)
        self.definitions = [Definition.read(f"flow{number}", text) for number, text in enumerate(texts)]
        self.use(*self.definitions)

    def use(self, *definitions: Definition) -> None:
        """These are the flows from now on."""
        for one in definitions:
            one.codecs = {"x/in": "json"}
        self.keeper.use({one.flow: one for one in definitions}, {"x/in": "json"})

    def message(
        self, number: int, name: str, *, size: int = 0, flow: str = "flow0", answers: str = "", **tree: Any
    ) -> Told:
        tree = {**tree, "filler": "x" * size}
        told: Told
        (told,) = self.keeper.handle([Incoming(flow, "x/in", name, number, orjson.dumps(tree), tree, answers)])
        return told

    def one(self, number: int) -> Instance:
        row = self.store.instance(number)
        assert row is not None
        return row.instance

    def count(self, table: str) -> int:
        ((number,),) = self.store.db.execute(f"SELECT count(*) FROM {table}")
        return int(number)
