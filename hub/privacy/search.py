"""Business keys of protected classes: only a keyed hash of the normalised value is indexed, and that is what is looked for."""

from __future__ import annotations

from hub.masking import key_digest
from hub.privacy.model import Policy
from hub.privacy.normal import normalised

__all__ = ["HASHED", "is_protected", "key_class", "stored_key"]

#: What every hash begins with.
HASHED = "h:"


def key_class(policy: Policy, name: str) -> str:
    """The protected class of a business key by the end of its name (``patient_id_number``); ``""`` for one that is indexed as it is."""
    for end, kind in policy.keys.items():
        if name == end or name.endswith(end):
            return kind
    return ""


def is_protected(policy: Policy, name: str) -> bool:
    return bool(key_class(policy, name))


def stored_key(policy: Policy, salt: bytes, name: str, value: str) -> str:
    """The form in which the value of a business key is stored and looked for: of a protected one 64 bits of HMAC-SHA-256.

    15 digits of a citizen number are the 18 they became, a phone is one with and without +86, a name one with and without blanks.
    """
    kind = key_class(policy, name)
    if not kind or not value or value.startswith(HASHED):
        return value
    return key_digest(normalised(value, policy.classes[kind].search), salt)
