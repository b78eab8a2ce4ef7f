"""What may be written in a ``flows/NAME.yaml``; the descriptions of the fields are their documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from hub.contract import Duration, Model, Names, parse_duration

__all__ = [
    "Branches",
    "Case",
    "Choice",
    "Deadline",
    "End",
    "FlowModel",
    "Input",
    "Manual",
    "ManualField",
    "OnError",
    "Repeat",
    "Send",
    "SendStep",
    "Step",
    "Then",
    "Wait",
    "all_steps",
    "lists_of",
]

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")]
#: Longest pause or deadline, seconds: ten years.
_LONGEST = 3660 * 86_400


def _as_then(value: Any) -> Any:
    return {"do": value} if isinstance(value, str) else value


class End(Model):
    """An end of the flow."""

    name: Name
    compensate: bool = Field(False, description="first undo what was done")


def _as_end(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Then(Model):
    """What follows: ``continue``, ``hold``, ``fail``, or ``{goto: STEP}``, ``{end: NAME}``."""

    do: Literal["continue", "hold", "fail", ""] = Field(
        "",
        description="continue: with the next step; hold: a person decides; fail: undo what was done, the flow has failed",
    )
    goto: str = Field("", description="id of a step in the same list or in one around it")
    end: Annotated[End | None, BeforeValidator(_as_end)] = Field(None, description="name of an end of the flow")

    @model_validator(mode="after")
    def _one(self) -> Then:
        if sum((bool(self.do), bool(self.goto), self.end is not None)) != 1:
            raise ValueError("one of: continue, hold, fail, {goto: STEP}, {end: NAME}")
        return self


AThen = Annotated[Then, BeforeValidator(_as_then)]
Expressions = dict[Name, str]


class Input(Model):
    """Messages a flow takes in."""

    source: str = Field(
        "",
        alias="from",
        description="system/interface that receives them; expressions then read its format. "
        "Absent: they come by a route `to: flow/NAME` with a mapping to json",
    )
    types: Names = Field(default_factory=lambda: ["*"], description="message types; * matches any run of characters")
    key: str = Field(min_length=1, description="expression on the message for the business key of the instance")
    when: str = Field("", description="expression on the message; where it does not hold this is not meant")
    set: Expressions = Field(default_factory=dict, description="variable -> expression on the message")
    document: str = Field("", description="what the message says becomes a new version of this document")
    data: str = Field(
        "", description="expression on the message for the content of the document; default: what set sets"
    )
    goto: str = Field("", description="wait: the step to go on with; default: the next one")


class Retry(Model):
    """Send anew, as a message of its own, after the tries of the delivery were used up."""

    times: int = Field(1, ge=1, le=1000)
    every: Duration = Field(60.0, ge=0, le=_LONGEST, description="pause before each")


class OnError(Model):
    """What follows when a step fails."""

    retry: Retry | None = None
    codes: dict[str, AThen] = Field(
        default_factory=dict,
        description="code of the target -> what follows, without a retry; * matches any characters",
    )
    then: AThen = Field(Then(do="hold"), description="after the retries; default: hold")


class Send(Model):
    """A message of the flow to an interface."""

    to: str = Field(min_length=3, description="system/interface")
    type: str = Field("", description="type of the message; default: FLOW.STEP")
    fields: Any = Field(
        None, description="tree of expressions on the variables, {const: …} for a constant; default: all variables"
    )
    mapping: str | None = Field(
        None, description="mapping from these fields (json) to what is sent; default: that of the interface's contract"
    )


class SendStep(Send):
    """As a step."""

    until: Literal["delivered", "reply", "callback"] = Field(
        "delivered",
        description="delivered: the target has taken it; reply: its reply is read as well; callback: its later answer has come",
    )
    reply: Expressions = Field(default_factory=dict, description="variable -> expression on the reply")
    callback: Expressions = Field(default_factory=dict, description="variable -> expression on the later answer")
    within: Duration = Field(0.0, ge=0, le=_LONGEST, description="longest wait for all this; 0 = as long as it takes")
    on_timeout: AThen = Field(Then(do="fail"), description="default: fail")


class Wait(Model):
    """Until a message comes, of one of these kinds, for this instance."""

    inputs: Annotated[list[Input], BeforeValidator(lambda v: [v] if isinstance(v, dict) else v)] = Field(
        alias="for", min_length=1
    )
    within: Duration = Field(0.0, ge=0, le=_LONGEST, description="longest wait; 0 = as long as it takes")
    on_timeout: AThen = Field(Then(do="fail"), description="default: fail")


class ManualField(Model):
    """Something the person fills in."""

    name: str = ""
    required: bool = False
    type: Literal["text", "number", "boolean"] = "text"
    max_length: int = Field(2000, ge=1, le=100_000)


class Choice(Model):
    """What a person may decide."""

    name: str = ""
    goto: str = Field("", description="the step to go on with; default: the next one")
    end: Annotated[End | None, BeforeValidator(_as_end)] = None


def _as_choices(value: Any) -> Any:
    if isinstance(value, list):
        return {each: {} for each in value}
    if isinstance(value, dict):
        return {name: {"name": v} if isinstance(v, str) else {} if v is None else v for name, v in value.items()}
    return value


class Manual(Model):
    """A person decides, in the console, with ``hub flows complete``, or through the admin API."""

    role: str = Field(min_length=1, description="who has this role may; the hub's own token may as well")
    title: str = ""
    choices: Annotated[dict[Name, Choice], BeforeValidator(_as_choices)] = Field(
        default_factory=lambda: {"done": Choice()}, min_length=1
    )
    fields: dict[Name, ManualField] = Field(default_factory=dict, description="become variables")
    show: list[str] = Field(default_factory=list, description="variables shown to the person")
    within: Duration = Field(0.0, ge=0, le=_LONGEST)
    on_timeout: AThen = Field(Then(do="hold"), description="default: hold, and the person may still decide")


class Case(Model):
    """The first that holds counts; one without ``when`` always does."""

    when: str = ""
    goto: str = ""
    end: Annotated[End | None, BeforeValidator(_as_end)] = None
    steps: list[Step] = Field(default_factory=list, description="done before going on after the choice")


class Branches(Model):
    """Lists of steps that go on side by side."""

    branches: dict[Name, list[Step]] = Field(min_length=1)
    until: Literal["all", "any"] = Field(
        "all", description="any: with the first that is through; the others are dropped"
    )


class Repeat(Model):
    """Steps that are done again until a condition holds."""

    steps: list[Step] = Field(min_length=1)
    until: str = Field(min_length=1, description="expression on the variables, asked after each round")
    times: int = Field(100, ge=1, le=100_000, description="more rounds are a failure")


class Step(Model):
    """One step; exactly one of the keys that say what it does."""

    id: Name
    name: str = ""
    when: str = Field("", description="expression on the variables; where it does not hold the step is left out")
    send: SendStep | None = None
    wait: Wait | None = None
    manual: Manual | None = None
    choose: list[Case] | None = Field(None, min_length=1)
    parallel: Branches | None = None
    repeat: Repeat | None = None
    set: Expressions | None = Field(None, description="variable -> expression on the variables")
    delay: Annotated[float | None, BeforeValidator(lambda v: None if v is None else parse_duration(v))] = Field(
        None, ge=0, le=_LONGEST, description="a pause"
    )
    end: Annotated[End | None, BeforeValidator(_as_end)] = None
    compensate: Send | None = Field(None, description="what undoes this step, once it is done")
    on_error: OnError | None = Field(None, description="default: that of the flow, or else hold")

    @property
    def kind(self) -> str:
        return next(kind for kind in _KINDS if getattr(self, kind) is not None)

    @model_validator(mode="after")
    def _one(self) -> Step:
        kinds = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(f"a step has exactly one of: {', '.join(_KINDS)}")
        if self.compensate is not None and kinds[0] not in ("send", "wait", "manual"):
            raise ValueError("compensate undoes a send, wait or manual step")
        return self


_KINDS = ("send", "wait", "manual", "choose", "parallel", "repeat", "set", "delay", "end")


class Deadline(Model):
    """For the whole flow."""

    after: Duration = Field(gt=0, le=_LONGEST)
    then: AThen = Field(Then(do="fail"), description="default: fail")


class FlowModel(Model):
    """``flows/NAME.yaml``."""

    name: str = ""
    description: str = ""
    sources: list[str] = Field(default_factory=list, description="where the facts come from")
    start: Annotated[list[Input], BeforeValidator(lambda v: [v] if isinstance(v, dict) else v)] = Field(min_length=1)
    steps: list[Step] = Field(min_length=1)
    ends: dict[Name, str] = Field(default_factory=dict, description="name of an end -> how people call it")
    deadline: Deadline | None = None
    on_error: OnError | None = Field(None, description="for steps without one of their own")
    early: Duration = Field(
        86_400.0, ge=0, le=_LONGEST, description="a message that comes before its instance is kept so long"
    )
    keep: Duration = Field(
        180 * 86_400.0, ge=0, le=_LONGEST, description="what has ended is kept so long; 0 = for ever"
    )


def all_steps(steps: list[Step]) -> Iterator[Step]:
    """Every step, those within others after the one they are in."""
    for step in steps:
        yield step
        for _, below in lists_of(step):
            yield from all_steps(below)


def lists_of(step: Step) -> list[tuple[str, list[Step]]]:
    """The lists of steps within a step, each with its name."""
    if step.parallel is not None:
        return list(step.parallel.branches.items())
    if step.repeat is not None:
        return [("steps", step.repeat.steps)]
    if step.choose is not None:
        return [(str(number), case.steps) for number, case in enumerate(step.choose) if case.steps]
    return []


for _model in (Case, Branches, Repeat, Step, FlowModel):
    _model.model_rebuild()
