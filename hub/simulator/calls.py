"""What a simulated party remembers of the calls it got and of the answers it was given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hub.errors import Problem

__all__ = ["SimulatedCall", "SimulatedReply", "Verdict"]

Verdict = Literal["accepted", "refused", "misbehaved"]


@dataclass(slots=True)
class SimulatedCall:
    """One call the simulated party got."""

    interface: str
    number: int  # counted per interface, from 1
    verdict: Verdict
    problem: str = ""  # why it was refused, or how the party misbehaved
    code: str = ""  # the business code of the answer
    body: bytes = field(default=b"", repr=False)  # opened: decrypted and without signature; not masked
    at: float = 0.0  # seconds since 1970


@dataclass(slots=True)
class SimulatedReply:
    """What a hub answered to a message the simulated party sent."""

    ok: bool  # acknowledged as the contract of the ``in`` interface says
    body: bytes = field(default=b"", repr=False)
    status: int = 0  # of HTTP
    code: str = ""  # protocol code: "AA", "200"
    error: str = ""  # masked
    problems: list[Problem] = field(default_factory=list)  # where the answer is not what the contract promises
    sent: bytes = field(default=b"", repr=False)  # the body before it was signed and encrypted
