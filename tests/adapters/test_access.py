"""Allow lists."""

from __future__ import annotations

import pytest

from adapters.access import AllowList, check_allow, is_loopback


@pytest.mark.parametrize(
    ("allow", "peer", "expected"),
    [
        ([], "127.0.0.1", True),
        ([], "127.8.9.1", True),
        ([], "::1", True),
        ([], "::ffff:127.0.0.1", True),
        ([], "10.0.0.1", False),
        (["10.0.0.0/8"], "10.200.3.4", True),
        (["10.0.0.0/8"], "::ffff:10.200.3.4", True),
        (["10.0.0.0/8"], "11.0.0.1", False),
        (["10.0.0.0/8"], "127.0.0.1", False),
        (["192.168.3.7", "fe80::/10"], "192.168.3.7", True),
        (["192.168.3.7", "fe80::/10"], "fe80::1%eth0", True),
        (["192.168.3.7", "fe80::/10"], "192.168.3.8", False),
        (["*"], "203.0.113.5", True),
        (["*"], "", True),
        (["0.0.0.0/0"], "", False),
        (["0.0.0.0/0"], "nonsense", False),
        (["0.0.0.0/0"], "::2", False),
    ],
)
def test_permits(allow: list[str], peer: str, expected: bool) -> None:
    assert AllowList(allow).permits(peer) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.3.3.3", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("his", False)],
)
def test_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_check_allow() -> None:
    check_allow("127.0.0.1", [])
    check_allow("0.0.0.0", ["*"])
    check_allow("::", ["10.0.0.0/8", "2001:db8::/32"])
    for host, allow in (("0.0.0.0", []), ("::", []), ("", []), ("127.0.0.1", ["10.0.0.1/8"]), ("127.0.0.1", ["his"])):
        with pytest.raises(ValueError, match="allow"):
            check_allow(host, allow)
