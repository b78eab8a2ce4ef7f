"""Mail addresses: what may stand in a command or a header, and lists of who may write or be written to."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["address_of", "check_patterns", "is_address", "matches"]

#: RFC 5321 Mailbox without quoted local parts and address literals: what is in use, and nothing that needs quoting.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
#: Longest header line addresses are looked for in, and longest address (RFC 5321 section 4.5.3.1.3).
_LONGEST_LINE = 2000
_LONGEST = 254


def is_address(text: str) -> bool:
    """``name@host.cn``, ASCII only."""
    local, at, domain = text.rpartition("@")
    return bool(
        at
        and len(text) <= _LONGEST
        and len(local) <= 64
        and _LOCAL.fullmatch(local)
        and len(domain) <= 253
        and _DOMAIN.fullmatch(domain)
    )


def address_of(value: str) -> tuple[str, str]:
    """Name and address of a header that holds exactly one: ``张三 <z@a.cn>`` or ``z@a.cn``.

    Raises ``ValueError`` for anything that two readers could understand in two ways.
    """
    text = value.strip()
    if len(text) > _LONGEST_LINE:
        raise ValueError("too long")
    name, address = "", text
    if text.endswith(">"):
        begin = text.rfind("<")
        name, address = text[:begin].strip(), text[begin + 1 : -1]
        if begin < 0 or any(c in _QUOTED.sub("", name) for c in '<>,;"\\'):
            raise ValueError("more than one address")
        if len(name) > 1 and name[0] == name[-1] == '"':
            name = re.sub(r"\\(.)", r"\1", name[1:-1])
    if not is_address(address):
        raise ValueError("not an address")
    return name, address


def check_patterns(values: Sequence[str]) -> None:
    """Raise ``ValueError`` with the remedy for an entry that is neither an address nor ``@domain``."""
    for value in values:
        if not is_address(value if not value.startswith("@") else f"x{value}"):
            raise ValueError("write whole addresses or domains, e.g. lis@hospital.cn or @hospital.cn")


def matches(address: str, patterns: Sequence[str]) -> bool:
    """Whether a list names the address or exactly its domain; case does not matter. An empty list names everybody."""
    if not patterns:
        return True
    lower = address.lower()
    domain = lower[lower.rfind("@") :]
    return any(pattern.lower() in (lower, domain) for pattern in patterns)
