"""Addresses: networks of both versions, mapped ones, expiry, both lists, tables of them."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.callers.addresses import AddressSet, network, plain
from hub.callers.errors import CallerRefused, CallersError
from hub.callers.sheets import read_rows, written
from hub.errors import HubError
from tests.callers.callers_support import Registry

addresses = st.ip_addresses()
networks = st.builds(
    lambda address, share: ipaddress.ip_network((address, int(address.max_prefixlen * share)), strict=False),
    addresses,
    st.floats(0, 1),
)


@settings(max_examples=200, derandomize=True)
@given(st.lists(networks, max_size=12), st.lists(addresses, min_size=1, max_size=12))
def test_a_set_finds_what_looking_at_each_network_finds(
    nets: list[ipaddress.IPv4Network], some: list[ipaddress.IPv4Address]
) -> None:
    rules = [(number, str(net)) for number, net in enumerate(nets, 1)]
    found = AddressSet(rules)
    for address in [*some, *(net.network_address for net in nets), *(net.broadcast_address for net in nets)]:
        inside = [net for net in nets if net.version == address.version and address in net]
        number = found.find(address)
        assert bool(number) == bool(inside)
        if number:
            assert nets[number - 1].prefixlen == max(net.prefixlen for net in inside)


@settings(max_examples=200, derandomize=True)
@given(st.text(max_size=60))
def test_texts_are_networks_or_refused(text: str) -> None:
    try:
        kept = network(text)
    except CallersError:
        return
    assert network(kept) == kept
    assert str(ipaddress.ip_network(kept)) == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("192.168.1.0/24", "192.168.1.0/24"),
        (" 10.2.3.4 ", "10.2.3.4/32"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::ffff:10.1.0.0/112", "10.1.0.0/16"),
        ("::ffff:10.1.2.3", "10.1.2.3/32"),
    ],
)
def test_networks_are_kept_in_one_form(given: str, kept: str) -> None:
    assert network(given) == kept


@pytest.mark.parametrize("text", ["", "192.168.1.1/24", "10.0.0.0/33", "example.org", "::1%eth0/128", "*"])
def test_what_is_no_network(text: str) -> None:
    with pytest.raises(CallersError):
        network(text)


def test_mapped_addresses_count_as_ipv4(registry: Registry) -> None:
    registry.caller()
    key = registry.issue().shown
    registry.orders.add_addresses("block", [{"network": "10.1.0.0/16"}], "bob")
    door = registry.door()
    for remote in ("10.1.2.3", "::ffff:10.1.2.3", "::ffff:0a01:0203"):
        with pytest.raises(CallerRefused) as caught:
            door.admit(api_key=key, remote=remote)
        assert (caught.value.status, caught.value.code) == (403, "caller.address")
    assert door.admit(api_key=key, remote="::ffff:10.2.0.1") == "east"
    assert plain("fe80::1%eth0") == ipaddress.ip_address("fe80::1")


def test_rules_of_one_caller_are_not_those_of_another(registry: Registry) -> None:
    keys = {name: registry.issue(caller=registry.caller(name)).shown for name in ("east", "west")}
    rows = [{"network": "10.1.0.0/16", "caller": "east"}, {"network": "2001:db8::/32", "caller": "east"}]
    registry.orders.add_addresses("allow", rows, "bob")
    door = registry.door()
    for remote in ("10.1.0.1", "2001:db8::9"):
        assert door.admit(api_key=keys["east"], remote=remote) == "east"
    assert door.admit(api_key=keys["west"], remote="10.2.0.1") == "west"
    for remote in ("10.2.0.1", "2001:db9::9", "", "unix"):
        with pytest.raises(CallerRefused) as caught:
            door.admit(api_key=keys["east"], remote=remote)
        assert caught.value.code == "caller.address"


def test_a_block_goes_before_an_allow(registry: Registry) -> None:
    registry.caller()
    key = registry.issue().shown
    registry.orders.add_addresses("allow", [{"network": "10.0.0.0/8"}], "bob")
    registry.orders.add_addresses("block", [{"network": "10.1.2.3", "caller": "east"}], "bob")
    door = registry.door()
    assert door.admit(api_key=key, remote="10.1.2.4") == "east"
    with pytest.raises(CallerRefused):
        door.admit(api_key=key, remote="10.1.2.3")


def test_an_expired_block_blocks_no_more(registry: Registry) -> None:
    registry.caller()
    key = registry.issue().shown
    until = int(registry.clock()) + 60
    registry.orders.add_addresses("block", [{"network": "10.0.0.0/8", "expires_at": until}], "bob")
    door = registry.door()
    with pytest.raises(CallerRefused):
        door.admit(api_key=key, remote="10.0.0.1")
    registry.clock.ahead = 61
    assert door.admit(api_key=key, remote="10.0.0.1") == "east"


@pytest.mark.parametrize("caller", ["", "east"])
def test_an_expired_allow_does_not_let_everybody_in(registry: Registry, caller: str) -> None:
    registry.caller()
    key = registry.issue().shown
    until = int(registry.clock()) + 60
    registry.orders.add_addresses("allow", [{"network": "10.0.0.0/8", "expires_at": until, "caller": caller}], "bob")
    door = registry.door()
    assert door.admit(api_key=key, remote="10.0.0.1") == "east"
    # Months later, and after something else was changed, which tidies up.
    registry.clock.ahead = 100 * 86_400
    registry.orders.add_addresses("block", [{"network": "192.0.2.0/24"}], "bob")
    for remote in ("10.0.0.1", "172.16.0.1", "2001:db8::1"):
        with pytest.raises(CallerRefused):
            door.admit(api_key=key, remote=remote)


def test_rules_are_switched_off_changed_and_removed(registry: Registry) -> None:
    registry.caller()
    key = registry.issue().shown
    door = registry.door()
    for row in ({"network": "10.0.0.0/8"}, {"network": "10.0.0.0/8", "enabled": "0", "note": "mistake"}):
        registry.orders.add_addresses("block", [row], "bob")
    (rule,) = registry.orders.addresses()
    assert (rule.enabled, rule.note) == (False, "mistake")
    assert door.admit(api_key=key, remote="10.0.0.1") == "east"
    assert registry.orders.remove_addresses([rule.id], "bob") == 1
    assert registry.orders.addresses() == []


@pytest.mark.parametrize("name", ["list.csv", "list.xlsx"])
def test_tables_come_back_as_they_went(registry: Registry, tmp_path: Path, name: str) -> None:
    registry.caller()
    rows = [
        {"network": "10.1.0.0/16", "note": "=cmd|' /C calc'!A0", "expires_at": 1900000000},
        {"network": "2001:db8::/32", "caller": "east", "enabled": "0"},
    ]
    registry.orders.add_addresses("block", rows, "bob")
    rules = registry.orders.addresses()
    file = tmp_path / name
    file.write_bytes(written(file, [{n: getattr(rule, n) for n in type(rule).__slots__} for rule in rules]))
    registry.orders.remove_addresses([rule.id for rule in rules], "bob")
    registry.orders.add_addresses("block", read_rows(file), "bob")
    again = registry.orders.addresses()
    kept = [(r.network, r.caller, r.note, r.enabled, r.expires_at) for r in rules]
    assert [(r.network, r.caller, r.note, r.enabled, r.expires_at) for r in again] == kept


def test_chinese_columns_and_bad_files(registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("网段,备注\n10.3.0.0/16,东区\n", encoding="utf-8")
    assert read_rows(file) == [{"network": "10.3.0.0/16", "note": "东区"}]
    file.write_text("name\n10.3.0.0/16\n", encoding="utf-8")
    with pytest.raises(CallersError, match="network"):
        read_rows(file)
    (tmp_path / "list.xlsx").write_bytes(b"PK no workbook")
    for bad in (tmp_path / "list.xlsx", tmp_path / "list.txt"):
        bad.touch()
        with pytest.raises(HubError):
            read_rows(bad)


def test_hits_are_counted(registry: Registry) -> None:
    registry.caller()
    key = registry.issue().shown
    registry.orders.add_addresses("block", [{"network": "10.1.0.0/16"}], "bob")
    door = registry.door()
    for _ in range(3):
        with pytest.raises(CallerRefused):
            door.admit(api_key=key, remote="10.1.0.1")
    door.callers.traffic.write(door.callers.traffic.pending(registry.clock()))
    (rule,) = registry.orders.addresses()
    assert registry.orders.traffic.hits()[rule.id][0] == 3
