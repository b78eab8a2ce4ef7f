"""Identifiers of messages, deliveries and calls: 63-bit integers that sort by time.

Layout, high to low: 41 bits milliseconds since 2020-01-01 UTC, 6 bits worker, 16 bits counter. An id therefore tells when
and by which worker it was made, rows are appended in id order (no random index writes), and a search by time is a
search by id. A clock that is set back does not break the order: the generator keeps counting from the last
millisecond it used, also after a restart (:meth:`IdGenerator.advance`).

People see ids as 13 characters of Crockford base 32, which sort the same way.
"""

from __future__ import annotations

import time

__all__ = ["EPOCH_MS", "MAX_WORKERS", "IdGenerator", "first_id_at", "id_text", "millis_of", "parse_id", "worker_of"]

EPOCH_MS = 1_577_836_800_000
MAX_WORKERS = 64
_COUNTER_BITS = 16
_WORKER_BITS = 6
_SHIFT = _COUNTER_BITS + _WORKER_BITS
_COUNTER_MAX = (1 << _COUNTER_BITS) - 1

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_VALUES = {c: i for i, c in enumerate(_ALPHABET)} | {"O": 0, "I": 1, "L": 1}


class IdGenerator:
    """Makes ids for one worker; not thread-safe, owned by the event loop."""

    __slots__ = ("_counter", "_ms", "_worker")

    def __init__(self, worker: int = 0) -> None:
        if not 0 <= worker < MAX_WORKERS:
            raise ValueError(f"worker must be 0..{MAX_WORKERS - 1}, not {worker}")
        self._worker = worker << _COUNTER_BITS
        self._ms = 0
        self._counter = 0

    def next(self) -> int:
        """The next id, always greater than every id made or seen before."""
        ms = time.time_ns() // 1_000_000 - EPOCH_MS
        if ms > self._ms:
            self._ms = ms
            self._counter = 0
        elif self._counter < _COUNTER_MAX:
            self._counter += 1
        else:
            self._ms += 1
            self._counter = 0
        return (self._ms << _SHIFT) | self._worker | self._counter

    def advance(self, seen: int) -> None:
        """Never make an id at or below ``seen`` (the highest one in the store at start)."""
        highest = (seen >> _SHIFT, seen & _COUNTER_MAX)
        if highest > (self._ms, self._counter):
            self._ms, self._counter = highest


def millis_of(identifier: int) -> int:
    """Unix time in milliseconds at which the id was made."""
    return (identifier >> _SHIFT) + EPOCH_MS


def worker_of(identifier: int) -> int:
    """The worker that made the id."""
    return (identifier >> _COUNTER_BITS) & (MAX_WORKERS - 1)


def first_id_at(unix_ms: int) -> int:
    """The lowest id that can have been made at or after a Unix time in milliseconds."""
    return max(0, unix_ms - EPOCH_MS) << _SHIFT


def id_text(identifier: int) -> str:
    """13 characters of Crockford base 32; sorts as the integer does."""
    pairs = _PAIRS
    return (
        f"{_ALPHABET[identifier >> 60]}{pairs[identifier >> 50 & 1023]}{pairs[identifier >> 40 & 1023]}"
        f"{pairs[identifier >> 30 & 1023]}{pairs[identifier >> 20 & 1023]}{pairs[identifier >> 10 & 1023]}"
        f"{pairs[identifier & 1023]}"
    )


def parse_id(text: str) -> int:
    """The integer of an id as people write it; raises ``ValueError`` for anything else."""
    cleaned = text.strip().upper().replace("-", "")
    if len(cleaned) != 13:
        raise ValueError(f"an id has 13 characters, {text!r} has {len(cleaned)}")
    value = 0
    for char in cleaned:
        digit = _VALUES.get(char)
        if digit is None:
            raise ValueError(f"{char!r} does not occur in an id")
        value = (value << 5) | digit
    if value >= 1 << 63:
        raise ValueError(f"{text!r} is out of range")
    return value
