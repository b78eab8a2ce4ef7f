"""Which addresses may connect: the ``allow`` option of listening interfaces."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

__all__ = ["LOOPBACK", "AllowList", "check_allow", "is_loopback"]

#: What may connect to a listener on a loopback address when nothing is said.
LOOPBACK = ("127.0.0.0/8", "::1/128")


def is_loopback(host: str) -> bool:
    """True where a listener on this host can only be reached from the same machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_allow(host: str, allow: Sequence[str]) -> None:
    """Raise ``ValueError``, with the remedy, when an ``allow`` list is wrong or missing where it must be given."""
    for entry in allow:
        if entry != "*":
            try:
                ip_network(entry)
            except ValueError as error:
                raise ValueError(f"allow: {error}; write e.g. 10.1.0.0/16, 192.168.3.7 or *") from None
    if not allow and not is_loopback(host):
        raise ValueError(
            f"a listener on {host} can be reached from other machines: "
            "say who may connect, e.g. allow: [10.1.0.0/16], or allow: ['*'] for everybody"
        )


class AllowList:
    """Decides about peers; :data:`LOOPBACK` when empty. IPv4 peers of a dual-stack listener count as IPv4."""

    __slots__ = ("_all", "_networks")

    def __init__(self, allow: Sequence[str]) -> None:
        self._all = "*" in allow
        self._networks: list[IPv4Network | IPv6Network] = [
            ip_network(entry) for entry in (allow or LOOPBACK) if entry != "*"
        ]

    def permits(self, peer: str) -> bool:
        """``peer`` is an address as the socket gives it, perhaps with an IPv6 zone (``fe80::1%eth0``)."""
        if self._all:
            return True
        try:
            address: IPv4Address | IPv6Address = ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)
