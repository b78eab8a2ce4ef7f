"""The audit trail: what people, and the hub by itself, did; chained, signed in checkpoints, kept elsewhere as well.

Here is what everybody needs who writes an entry or checks a chain. The parts of a deployment's trail are in the modules: ``trail`` (the
hub's own chain), ``sources`` (all chains), ``keeper`` (checkpoints and export), ``verifying``, ``view``, ``archives``.
"""

from hub.audit.chain import GENESIS, ChainCheck, canonical, chain_hash, sm3, verify
from hub.audit.entries import acting_from, address, class_of, entry

__all__ = [
    "GENESIS",
    "ChainCheck",
    "acting_from",
    "address",
    "canonical",
    "chain_hash",
    "class_of",
    "entry",
    "sm3",
    "verify",
]
