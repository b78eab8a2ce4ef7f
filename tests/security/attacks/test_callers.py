"""Who may call: credentials and signatures that are missing, wrong, old, somebody else's, or bent on the way."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import ssl
from typing import Any

import pytest

from tests.security.attacks.fortress import KEY, SIGNING, TOKEN, Fortress, signed_call, tls_context


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN}\x00",
        f"Bearer {TOKEN}, Bearer {TOKEN}",
        f"Basic {TOKEN}",
        f"Token {TOKEN}",
        "Basic " + base64.b64encode(b"admin:admin").decode(),
        "Bearer 令牌",
        "Bearer " + "a" * 7000,
    ],
)
def test_a_stranger_is_refused(fort: Fortress, header: str) -> None:
    before = len(fort.messages())
    answer = fort.http("json", b'{"type":"t","id":"stranger"}', headers={"Authorization": header})
    assert answer.status in (400, 401)
    assert len(fort.messages()) == before
    if "\x00" not in header:  # that is no header at all: the parser turns it away
        fort.refused_with("http.auth_wrong" if header else "http.auth_missing")


def test_two_headers_of_one_name_do_not_let_anybody_in(fort: Fortress) -> None:
    body = b'{"type":"t","id":"two"}'
    for first, second in (("wrong", "wrong too"), ("wrong", TOKEN)):
        head = (
            f"POST /json HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {first}\r\nAuthorization: Bearer {second}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        assert fort.parsed(fort.raw("json", head.encode() + body)).status in (400, 401)


BODY = b'{"type":"signed","id":"%b","amount":100}'


def numbered() -> bytes:
    return BODY % os.urandom(6).hex().encode()


def test_the_honest_partner_is_let_in_once(fort: Fortress) -> None:
    sealed, headers, target = signed_call(numbered())
    assert fort.http("signed", sealed, path=target, headers=headers).status == 202
    again = fort.http("signed", sealed, path=target, headers=headers)
    assert (again.status, again.code) == (401, "security.replayed")
    fort.refused_with("security.replayed", "fort/signed")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"signing": "other-clients-secret"}, "security.signature_wrong"),
        ({"digest": hashlib.md5}, "security.signature_wrong"),
        ({"digest": hashlib.sha1}, "security.signature_wrong"),
        ({"digest": hashlib.sha512}, "security.signature_wrong"),
        ({"client": "somebody else"}, "security.signature_wrong"),
        ({"target": "/signed?admin=1"}, ""),
        ({"late": -301}, "security.time"),
        ({"late": 301}, "security.time"),
        ({"late": -1e9}, "security.time"),
        ({"key": KEY[::-1]}, "security.decrypt"),
        ({"sealed": b'{"type":"signed","id":"plain","amount":1}'}, "security.decrypt"),
        ({"sealed": b""}, ""),
        ({"sealed": base64.b64encode(bytes(12))}, "security.decrypt"),
        ({"sealed": base64.b64encode(os.urandom(64))}, "security.decrypt"),
        ({"nonce": ""}, ""),
    ],
)
def test_a_partner_who_is_none_is_refused(fort: Fortress, changed: dict[str, Any], code: str) -> None:
    sealed, headers, target = signed_call(numbered(), **changed)
    if "target" in changed:
        headers["X-Sign"] = signed_call(numbered())[1]["X-Sign"]
    before = len(fort.messages())
    answer = fort.http("signed", sealed, path=target, headers=headers)
    if changed == {"nonce": ""}:  # then the signature itself tells the call apart
        assert answer.status == 202
        assert fort.http("signed", sealed, path=target, headers=headers).code == "security.replayed"
        return
    assert answer.status in (400, 401)
    assert not code or answer.code == code
    assert len(fort.messages()) == before


@pytest.mark.parametrize("how", ["flip", "cut", "pad", "spaces", "header", "header order", "no signature", "twice"])
def test_whatever_is_changed_on_the_way_is_refused(fort: Fortress, how: str) -> None:
    sealed, headers, target = signed_call(numbered())
    before = len(fort.messages())
    if how == "flip":
        sealed = sealed[:20] + (b"A" if sealed[20:21] != b"A" else b"B") + sealed[21:]
    elif how == "cut":
        sealed = sealed[:-4]
    elif how == "pad":
        sealed += b"AAAA"
    elif how == "spaces":
        sealed += b"\n"
    elif how == "header":
        headers["X-Client"] = "lis2"
    elif how == "header order":
        headers["X-Nonce"], headers["X-Time"] = headers["X-Time"], headers["X-Nonce"]
    elif how == "no signature":
        headers["X-Sign"] = ""
    else:  # joined by a comma, as HTTP reads repeated headers
        headers["X-Sign"] = f"{headers['X-Sign']}, {headers['X-Sign']}"
    answer = fort.http("signed", sealed, path=target, headers=headers)
    assert answer.status == 401
    assert answer.code in ("security.signature_wrong", "security.signature_missing")
    assert SIGNING.encode() not in answer.body
    assert len(fort.messages()) == before


def test_no_answer_tells_which_part_was_wrong(fort: Fortress) -> None:
    told = set()
    for changed in ({"signing": "a"}, {"signing": SIGNING[:-1]}, {"client": "x"}, {"digest": hashlib.md5}):
        sealed, headers, target = signed_call(numbered(), **changed)
        told.add(fort.http("signed", sealed, path=target, headers=headers).body)
    assert len(told) == 1


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_1])
def test_an_older_tls_is_refused(fort: Fortress, version: ssl.TLSVersion) -> None:
    with fort.connect("tls") as wire, pytest.raises((ssl.SSLError, OSError)):
        tls_context(version).wrap_socket(wire, server_hostname="127.0.0.3").sendall(b"x")


def test_plain_where_tls_was_agreed_gets_nothing(fort: Fortress) -> None:
    answer = fort.raw("tls", f"GET /tls HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
    assert b"HTTP/1.1 2" not in answer
    with fort.connect("tls") as wire:
        context = tls_context(ssl.TLSVersion.TLSv1_3)
        with context.wrap_socket(wire, server_hostname="127.0.0.3") as good:
            body = b'{"type":"t","id":"tls"}'
            good.sendall(
                f"POST /tls HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                + body
            )
            assert good.recv(100).startswith(b"HTTP/1.1 202")


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/status", "/api/v1/messages", "/api/v1/audit", "/api/v1/reload"])
@pytest.mark.parametrize("token", ["", "wrong", "null", "undefined", "Bearer"])
def test_the_admin_api_knows_nobody_without_its_token(fort: Fortress, path: str, token: str) -> None:
    answer = fort.hub.call("POST" if path.endswith("reload") else "GET", path, token=token)
    assert answer.status == 401


def test_a_page_of_another_site_does_not_steer_the_admin_api(fort: Fortress) -> None:
    answer = fort.hub.call("POST", "/api/v1/reload", {}, Origin="http://evil.example", Sec_Fetch_Site="cross-site")
    assert answer.status == 403


def test_a_name_that_leads_elsewhere_is_no_host_of_the_admin_api(fort: Fortress) -> None:
    """DNS rebinding: the attacker's name resolves to this machine; without the token it gets nothing."""
    host, _, port = fort.hub.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as wire:
        wire.sendall(b"GET /api/v1/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        assert b" 401 " in fort.read(wire).split(b"\r\n", 1)[0]
