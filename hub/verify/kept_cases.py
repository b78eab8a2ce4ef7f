"""Replay sets of interfaces without a mapping, as people write them: kept messages, and what intake or delivery makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from hub.contract import Model
from hub.errors import Problem
from hub.mapping_tools.cases import DEFAULT_NOW, MessageFacts, Time, names_once, one_input, read_cases
from hub.yaml_source import Document

__all__ = ["At", "KeptCase", "KeptSet", "Received", "Sent", "load_kept"]


class At(Model):
    """A finding of the checks: the rule or code that made it (``json.required``), and the place it names."""

    rule: str = Field(min_length=1)
    place: str = ""


class Around(Model):
    """What is the same for all cases of a file."""

    settings: dict[str, Any] = Field(default_factory=dict)
    now: Time = DEFAULT_NOW


class KeptCase(Model):
    """What comes in, and what every message has: what its checks find, and the code with which it is refused.

    Everything that becomes of a message is compared; what a case leaves out is expected to be empty.
    """

    name: str = Field(min_length=1)
    input: Any = None
    input_file: str = ""
    now: Time = ""
    findings: list[At] = Field(default_factory=list)
    refused: str = ""


class Transport(Model):
    """What the transport knows of a message beside its bytes."""

    control_id: str = ""


class Received(KeptCase):
    """Of an ``in`` interface; ``variables`` are the parameters of the call."""

    message: Transport = Transport()
    variables: dict[str, str] = Field(default_factory=dict)
    type: str = ""
    control_id: str = ""
    keys: dict[str, str] = Field(default_factory=dict)


class Sent(KeptCase):
    """Of an ``out`` interface; ``message`` is what a source said of the message."""

    message: MessageFacts = MessageFacts()
    order_key: str = ""
    idempotency: str = ""
    path: str = ""


class _ReceivedSet(Model):
    description: str = ""
    defaults: Around = Around()
    cases: list[Received] = Field(min_length=1)


class _SentSet(Model):
    description: str = ""
    defaults: Around = Around()
    cases: list[Sent] = Field(min_length=1)


@dataclass(slots=True)
class KeptSet:
    """The cases of a file; with ``problems`` there are none."""

    file: Path
    document: Document | None = None
    around: Around = field(default_factory=Around)
    cases: Sequence[Received | Sent] = ()
    problems: list[Problem] = field(default_factory=list)


def load_kept(file: Path, direction: str) -> KeptSet:
    """``direction``: ``in`` or ``out``. Never raises: what is wrong is in ``problems``, with line, key and remedy."""
    found = KeptSet(file)
    model: type[_ReceivedSet | _SentSet] = _ReceivedSet if direction == "in" else _SentSet
    read = read_cases(file, model, found.problems)
    if read is None:
        return found
    kept, document = read
    for number, case in enumerate(kept.cases):
        one_input(case, document, number, found.problems)
    names_once([case.name for case in kept.cases], document, found.problems)
    if not found.problems:
        found.document, found.around, found.cases = document, kept.defaults, kept.cases
    return found
