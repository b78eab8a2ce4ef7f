"""One request or reply as it goes over the wire: what security schemes read and change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["OpenedParams", "Wire"]


class OpenedParams(dict[str, str]):
    """Parameters of a call that security schemes opened. The call log keeps what came, as evidence of who signed it."""

    def __init__(self, params: Mapping[str, str], received: bytes) -> None:
        super().__init__(params)
        self.received = received


@dataclass(slots=True)
class Wire:
    """Where the transport has no headers, address or status of its own, those stay empty."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)  # names in lower case
    method: str = ""  # of the request; of a reply: of the request it answers
    target: str = ""  # path and query as sent, percent-encoded; of a reply: of the request it answers
    host: str = ""  # name, and port where it is not the usual one
    status: int = 0  # of a reply
    remote: str = ""  # of a request that came: the address it came from
    #: Of a reply: the headers of the request it answers, as that went over the wire; names in lower case.
    asked: Mapping[str, str] = field(default_factory=dict)
    evidence: bytes | None = (
        None  # what the call log keeps instead of the body that came, where that holds a password or token
    )

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]
