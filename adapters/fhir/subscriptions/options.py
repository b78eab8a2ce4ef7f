"""Options of subscriptions: ``listen.subscriptions`` of a facade, and ``connect`` of the adapter ``fhir_subscriptions``."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, field_validator, model_validator

from adapters.http.option_types import Options
from adapters.tls import ClientTls
from hub.contract import Duration

__all__ = ["FeedConnect", "SubscriptionOptions"]

_TRANSLATED = IPv6Network("64:ff9b::/96")  # NAT64, RFC 6052


class SubscriptionOptions(Options):
    """Who may be told of what. Addresses are names of hosts that others give: without this list they could make the hub call whom they like."""

    endpoints: list[str] = Field(
        min_length=1,
        description="addresses that endpoints may have, and what is below them: https://app.example.cn/hooks, https://*.example.cn; "
        "http:// only where it is written here",
    )
    networks: list[str] = Field(
        default_factory=list,
        description="addresses (CIDR) that endpoints may have besides public ones, e.g. 10.20.0.0/16; default: none that is private or "
        "loopback",
    )
    topics: dict[str, list[str]] = Field(
        default_factory=dict,
        description="for subscriptions to topics (R5, and the Backport of R4): canonical address of the topic → criteria, e.g. "
        "[Observation?status=final]",
    )
    most: int = Field(1000, ge=1, le=10_000, description="subscriptions that are not off at once")
    max_waiting: int = Field(
        100_000,
        ge=1,
        description="notifications that wait for one subscriber; with more its subscription is turned off",
    )
    timeout: Duration = Field(10.0, gt=0, le=300, description="longest time for one notification")
    connect_timeout: Duration = Field(5.0, gt=0, description="longest time to connect, TLS included")
    retry_interval: Duration = Field(
        1.0, gt=0, description="first pause after a notification that failed; doubles up to max_interval"
    )
    max_interval: Duration = Field(300.0, gt=0)
    error_after: Duration = Field(
        600.0, gt=0, description="failing for so long: status error; the hub goes on trying and makes it active again"
    )
    off_after: Duration = Field(
        7 * 86400.0, gt=0, description="failing for so long: status off, what waits is dropped and told in the call log"
    )
    tls: ClientTls = Field(default_factory=ClientTls)

    @field_validator("endpoints")
    @classmethod
    def _addresses(cls, values: list[str]) -> list[str]:
        for value in values:
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or "@" in parts.netloc:
                raise ValueError(f"{value!r}: write e.g. https://app.example.cn/hooks")
            if "*" in value and (not (parts.hostname or "").startswith("*.") or value.count("*") != 1):
                raise ValueError(f"{value!r}: a * stands for the first part of a host only: https://*.example.cn")
        return values

    @field_validator("networks")
    @classmethod
    def _networks(cls, values: list[str]) -> list[str]:
        for value in values:
            try:
                ip_network(value)
            except ValueError as error:
                raise ValueError(f"networks: {error}; write e.g. 10.20.0.0/16") from None
        return values

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max_interval < self.retry_interval or self.off_after < self.error_after:
            raise ValueError("retry_interval is at most max_interval, error_after at most off_after")
        return self

    def allows(self, url: str) -> bool:
        """Whether an endpoint may have this address; the addresses its host has are looked at when it is called."""
        try:
            given = urlsplit(url)
            port = given.port
        except ValueError:
            return False
        if "@" in given.netloc or not given.hostname or given.fragment or not url.isascii() or not url.isprintable():
            return False
        if any(part in (".", "..") or "%" in part for part in given.path.split("/")):
            return False
        return any(_below(given, port, urlsplit(entry)) for entry in self.endpoints)

    def permits(self, address: str) -> bool:
        """Whether a connection may be made to an IP address."""
        found = ip_address(address.partition("%")[0])
        if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        if any(found in ip_network(network) for network in self.networks):
            return True
        if isinstance(found, IPv6Address) and (found in _TRANSLATED or found.sixtofour or found.teredo):
            return False  # an IPv4 address is in it, which may be any
        return found.is_global and not found.is_multicast


def _below(given: SplitResult, port: int | None, entry: SplitResult) -> bool:
    standard = 443 if entry.scheme == "https" else 80
    host, allowed = (given.hostname or "").lower(), (entry.hostname or "").lower()
    same = host.endswith(allowed[1:]) and len(host) > len(allowed[1:]) if allowed.startswith("*.") else host == allowed
    path = entry.path.rstrip("/")
    return (
        given.scheme == entry.scheme
        and same
        and (port or standard) == (entry.port or standard)
        and (given.path == path or given.path.startswith(f"{path}/") or not path)
    )


class FeedConnect(Options):
    """``connect`` of a feed: what comes here is told to those who have subscribed to it at the facade of the same system."""
