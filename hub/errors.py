"""Errors a person can act on: what is wrong, where, and what to do about it.

Rule for every text in here: never the value of a field that may hold personal data; mask it first
(:func:`hub.masking.mask`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = [
    "CodecError",
    "ConfigError",
    "ExchangeError",
    "HubError",
    "MappingError",
    "PermanentError",
    "Problem",
    "SendError",
    "StoreBusy",
    "StoreCorrupt",
    "TransientError",
    "UnreachableError",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the configuration, with its place and remedy."""

    text: str
    file: str = ""
    line: int = 0
    key: str = ""
    remedy: str = ""
    severity: str = "error"  # "error" stops a start or a reload, "warning" does not

    def __str__(self) -> str:
        place = self.file + (f":{self.line}" if self.line else "")
        head = ": ".join(part for part in (place, self.key, self.text) if part)
        return f"{head} -> {self.remedy}" if self.remedy else head

    def as_dict(self) -> dict[str, Any]:
        return {
            "severity": self.severity,
            "file": self.file,
            "line": self.line,
            "key": self.key,
            "text": self.text,
            "remedy": self.remedy,
        }


class HubError(Exception):
    """Base of every error the hub raises on purpose. ``code`` is stable and machine-readable."""

    code = "hub.error"

    def __init__(self, text: str, *, code: str = "", remedy: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.remedy = remedy
        if code:
            self.code = code


class ConfigError(HubError):
    """The configuration can't be used; carries every problem found, not only the first."""

    code = "config.invalid"

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(p) for p in problems) or "invalid configuration")
        self.problems = problems


class CodecError(HubError):
    """Bytes that are not what the codec expects. ``place`` is native: ``segment 3 (PID)``, ``line 4 column 7``."""

    code = "codec.invalid"

    def __init__(self, text: str, *, place: str = "", code: str = "", remedy: str = "") -> None:
        super().__init__(f"{place}: {text}" if place else text, code=code, remedy=remedy)
        self.place = place


class MappingError(HubError):
    """A mapping could not produce its target.

    Names the mapping file and line, the target path, the source path and the masked source value.
    """

    code = "mapping.failed"

    def __init__(
        self,
        text: str,
        *,
        file: str = "",
        line: int = 0,
        target: str = "",
        source: str = "",
        value: str = "",
        code: str = "",
        remedy: str = "",
    ) -> None:
        place = f"{file}:{line}" if line else file
        parts = [place, f"{target} <- {source}" if source else target, text]
        whole = ": ".join(p for p in parts if p) + (f" (value {value})" if value else "")
        super().__init__(whole, code=code, remedy=remedy)
        self.file, self.line, self.target, self.source, self.value = file, line, target, source, value
        self.reason = text


class StoreBusy(HubError):
    """The store can't take more just now (queue full, disk full, failed commit): nothing was accepted."""

    code = "store.busy"


class StoreCorrupt(HubError):
    """The store on disk is damaged; the text names the file and what was found."""

    code = "store.corrupt"


class ExchangeError(HubError):
    """A request was stored, but its caller gets no answer of the target. ``kind`` tells whose fault it is:

    ``refused``      the target does not take this request, and would not if it came again
    ``failed``       the target failed, after all tries
    ``unreachable``  the target can't be reached
    ``late``         the target has not answered in time; the request is still under way
    ``pending``      the same request is still under way
    ``hub``          the hub could not make the request, or not read the answer

    ``reply_code``: the target's own code, "" for none; ``status``: its HTTP status, 0 for none.
    """

    code = "request.failed"

    def __init__(self, text: str, kind: str, *, code: str = "", reply_code: str = "", status: int = 0) -> None:
        super().__init__(text, code=code)
        self.kind = kind
        self.reply_code = reply_code
        self.status = status

    @property
    def passing(self) -> bool:
        """Whether the same request may have an answer later."""
        return self.kind in ("failed", "unreachable", "late", "pending")


class SendError(HubError):
    """A call to a target failed. Subclasses say whether trying again can help."""

    code = "send.failed"
    outcome = "permanent"

    def __init__(self, text: str, *, code: str = "", response: bytes = b"") -> None:
        super().__init__(text, code=code)
        self.response = response


class UnreachableError(SendError):
    """The target could not be reached at all: the target is at fault, never the message; does not count as a try."""

    code = "send.unreachable"
    outcome = "unreachable"


class TransientError(SendError):
    """This call failed and the next may succeed: timeout, connection lost in mid-reply, 5xx, HL7 AE by policy."""

    code = "send.transient"
    outcome = "transient"


class PermanentError(SendError):
    """Trying the same bytes again can't help."""

    code = "send.permanent"
    outcome = "permanent"
