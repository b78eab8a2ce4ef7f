"""Networks (RFC 4632, RFC 4291) and the sets of them that calls are looked up in. IPv4 within IPv6 (``::ffff:0:0/96``) counts as IPv4."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from hub.callers.errors import CallersError
from hub.i18n import t

__all__ = ["AddressSet", "network", "origin", "plain"]

_MAPPED = 96  # bits before the IPv4 address


def network(text: str) -> str:
    """An address or network as it is stored. Raises :class:`CallersError` for what is none, or has bits beyond its prefix."""
    try:
        if "%" in text:  # a zone is a name of this machine's
            raise ValueError
        found: IPv4Network | IPv6Network = ip_network(text.strip())
    except ValueError:
        raise CallersError(
            t(f"{text!r:.60} is no address or network", f"{text!r:.60} 不是地址或网段"),
            code="callers.network",
            remedy=t(
                "write e.g. 192.168.1.0/24, 10.2.3.4 or 2001:db8::/32", "例如 192.168.1.0/24、10.2.3.4 或 2001:db8::/32"
            ),
        ) from None
    if isinstance(found, IPv6Network) and found.prefixlen >= _MAPPED and found.network_address.ipv4_mapped is not None:
        found = IPv4Network((int(found.network_address.ipv4_mapped), found.prefixlen - _MAPPED))
    return str(found)


@lru_cache(maxsize=4096)
def plain(peer: str) -> IPv4Address | IPv6Address | None:
    """The address of a peer as a socket gives it, perhaps with an IPv6 zone; None for what is no address."""
    try:
        found: IPv4Address | IPv6Address = ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


@lru_cache(maxsize=4096)
def origin(peer: str) -> str:
    """Whom to blame for what comes from an address: it itself, of IPv6 its /64, as one machine has all of these (RFC 8981)."""
    address = plain(peer)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address) if address is not None else peer


@lru_cache(maxsize=200_000)
def _parts(text: str) -> tuple[int, int, int]:
    """Version, bits after the prefix, prefix; remembered, as all lists are made anew after every change of the registry."""
    found = ip_network(text)
    shift = found.max_prefixlen - found.prefixlen
    return found.version, shift, int(found.network_address) >> shift


class AddressSet:
    """Which of many networks an address is in: one look-up for each length of prefix, however many there are."""

    __slots__ = ("_by_length",)

    def __init__(self, rules: Iterable[tuple[int, str]]) -> None:
        """``rules``: number of the rule and its network."""
        found: dict[int, dict[int, dict[int, int]]] = {4: {}, 6: {}}
        for number, text in rules:
            version, shift, prefix = _parts(text)
            found[version].setdefault(shift, {})[prefix] = number
        # Narrow networks first: they tell best why.
        self._by_length = {version: sorted(lengths.items()) for version, lengths in found.items()}

    def __bool__(self) -> bool:
        return any(self._by_length.values())

    def find(self, address: IPv4Address | IPv6Address) -> int:
        """The number of the narrowest rule with this address; 0 for none."""
        value = int(address)
        for shift, networks in self._by_length[address.version]:
            number = networks.get(value >> shift)
            if number is not None:
                return number
        return 0
