"""``connect`` of the adapter ``reconcile``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hub.contract import Duration

__all__ = ["ReconcileConnect", "Side"]


class Side(BaseModel):
    """Who else has a record of the same things."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("", description="for people; default: its id")
    required: bool = Field(False, description="a day is not compared before its entries of the day are complete")
    continuous: bool = Field(
        False, description="enters one by one as things happen, and never says that a day is complete"
    )


class ReconcileConnect(BaseModel):
    """A book, and how its sides are compared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    book: str = Field(
        pattern=r"^[a-z][a-z0-9_-]{0,63}$", description="name of the book; interfaces with the same name share it"
    )
    sides: dict[str, Side] = Field(description="id -> side; two at least")
    compare: list[str] = Field(
        default_factory=lambda: ["amount", "state"],
        description="what must be the same on all sides that have it: amount, state, or a name of ``details``",
    )
    void: list[str] = Field(
        default_factory=list,
        description="states in which no money moved, e.g. closed: such an entry need not be on the other sides",
    )
    listed: int = Field(10_000, ge=1, le=200_000, description="differences a report lists; it counts all")
    keep: Duration = Field(400 * 86400.0, ge=86400, description="entries and reports are removed after so long")

    @field_validator("sides", mode="before")
    @classmethod
    def _nothing_to_say(cls, value: object) -> object:
        return {name: side or {} for name, side in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _comparable(self) -> ReconcileConnect:
        if len(self.sides) < 2:
            raise ValueError("sides: a comparison takes two sides at least")
        for name, side in self.sides.items():
            if side.required and side.continuous:
                raise ValueError(
                    f"sides.{name}: a side that never says a day is complete can't be waited for; remove required"
                )
        if not self.compare:
            raise ValueError("compare: say what must be the same, e.g. [amount, state]")
        return self
