"""Checkpoints: entries of the hub's own chain with number and hash of the last row of every chain, signed.

Whoever cuts rows off an end, or puts a whole file back, contradicts the checkpoints that others have.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from hub.audit.chain import canonical
from hub.audit.signing import Signature, Signer

__all__ = ["CHECKPOINT", "Checkpoint", "checkpoint_entry", "read_checkpoint"]

CHECKPOINT = "audit.checkpoint"
_LABEL = b"tongqu audit checkpoint 1\n"

#: Chain -> number and hash of its last row.
Heads = dict[str, tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``text`` is what is signed."""

    at: int
    heads: Heads
    text: bytes
    signature: Signature


def _signed(at: int, heads: dict[str, Any]) -> bytes:
    return _LABEL + canonical({"at": at, "heads": heads}).encode()


def checkpoint_entry(heads: Heads, signer: Signer) -> dict[str, Any]:
    """The entry. Not masked: a hash may look like somebody's number."""
    at = time.time_ns() // 1000
    named = {name: {"seq": seq, "hash": digest} for name, (seq, digest) in sorted(heads.items())}
    signature = signer.sign(_signed(at, named))
    return {
        "at": at,
        "actor": "hub",
        "action": CHECKPOINT,
        "subject": f"{len(named)} chains",
        "detail": {"heads": named, **signature.as_dict()},
        "reason": "",
    }


def read_checkpoint(text: object) -> Checkpoint | None:
    """The checkpoint in the text of an entry; None where that is none."""
    if not isinstance(text, str) or CHECKPOINT not in text:
        return None
    try:
        entry = json.loads(text)
        if entry["action"] != CHECKPOINT:
            return None
        at, named = entry["at"], entry["detail"]["heads"]
        heads = {str(name): (int(head["seq"]), str(head["hash"])) for name, head in named.items()}
        return Checkpoint(at, heads, _signed(at, named), Signature.of(entry["detail"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
