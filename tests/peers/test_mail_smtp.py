"""Sending mails to a real SMTP server, and what can go wrong with it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from adapters.mail.sender import MailSender
from hub.api import PermanentError, TransientError, UnreachableError
from tests.adapters.certificates import Authority
from tests.adapters.files_support import outgoing
from tests.adapters.mail_support import sender, tls
from tests.peers.mail import AioSmtpd
from tests.peers.mail_script import Scripted
from tests.peers.proxy import Proxy

pytestmark = pytest.mark.xdist_group("mail")

Make = Callable[..., MailSender]


@pytest.fixture
async def make(aiosmtpd: AioSmtpd) -> AsyncIterator[Make]:
    made: list[MailSender] = []
    before = set(threading.enumerate())
    aiosmtpd.empty()

    def new(**options: Any) -> MailSender:
        given = {"port": aiosmtpd.port, "user": "hub", "password": aiosmtpd.password, "tls": tls(aiosmtpd.folder)}
        given |= {"connect_timeout": "2s", "connections": 1, "subject": "{subject}", **options}
        made.append(sender(**given))
        return made[-1]

    yield new
    for one in made:
        await one.stop()
    if not aiosmtpd.running:
        await asyncio.to_thread(aiosmtpd.start)
    aiosmtpd.resume()
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("mail "):
            await asyncio.to_thread(thread.join, 5)
            assert not thread.is_alive(), "the adapter leaves nothing behind"


def mail(text: str = "x", key: str = "K1", subject: str = "检验报告", timeout: float = 10) -> Any:
    return outgoing(text.encode(), key, timeout, subject=subject)


async def test_starttls_and_implicit_tls(aiosmtpd: AioSmtpd, make: Make) -> None:
    for options in ({}, {"port": aiosmtpd.tls_port, "encryption": "implicit"}):
        out = make(**options)
        assert "127.0.0.1" in await out.probe()
        for number in range(3):
            reply = await out.send(mail(f"你好{number}", f"K{number}"))
            assert (reply.ok, reply.code) == (True, "250")
        assert out.status()["connections"] == 1
        contents = aiosmtpd.mails()
        assert [f"Message-ID: <K{n}@hospital.cn>".encode() in c for n, c in enumerate(contents)] == [True] * 3
        assert contents[0].startswith(b"X-From: hub@hospital.cn\r\nX-To: lab@hospital.cn\r\n")
        aiosmtpd.empty()


async def test_many_at_once(aiosmtpd: AioSmtpd, make: Make) -> None:
    out = make(connections=3)
    replies = await asyncio.gather(*(out.send(mail(str(n), f"K{n}")) for n in range(30)))
    assert all(reply.ok for reply in replies)
    assert len(aiosmtpd.mails()) == 30
    assert out.status()["connections"] == 3 == out.capacity


async def test_a_server_that_is_absent_and_comes_back(aiosmtpd: AioSmtpd, make: Make) -> None:
    out = make()
    assert (await out.send(mail())).ok
    await asyncio.to_thread(aiosmtpd.kill)
    for _ in range(2):
        with pytest.raises(UnreachableError) as caught:
            await out.send(mail())
        assert caught.value.code == "mail.unreachable"
    with pytest.raises(UnreachableError):
        await out.probe()
    await asyncio.to_thread(aiosmtpd.start)
    assert (await out.send(mail())).ok


async def test_a_connection_that_died_while_idle(aiosmtpd: AioSmtpd, make: Make) -> None:
    out = make()
    assert (await out.send(mail())).ok
    await asyncio.to_thread(aiosmtpd.kill)
    await asyncio.to_thread(aiosmtpd.start)
    assert (await out.send(mail(key="K2"))).ok
    assert len(aiosmtpd.mails()) == 2


@pytest.mark.parametrize("encryption", ["starttls", "implicit"])
async def test_wrong_credentials_and_certificates(
    aiosmtpd: AioSmtpd, make: Make, tmp_path: Any, encryption: str
) -> None:
    Authority(tmp_path, "other")
    port = aiosmtpd.port if encryption == "starttls" else aiosmtpd.tls_port
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"password": "wrong"}, "mail.login"),
        ({"tls": tls(tmp_path, "other")}, "mail.tls"),
        ({"tls": {**tls(aiosmtpd.folder), "server_name": "elsewhere.cn"}}, "mail.tls"),
    ]
    for options, code in wrong:
        with pytest.raises(UnreachableError) as caught:
            await make(port=port, encryption=encryption, **options).send(mail())
        assert caught.value.code == code
        assert "wrong" not in caught.value.text
    assert aiosmtpd.mails() == []


async def test_a_server_that_hangs(aiosmtpd: AioSmtpd, make: Make) -> None:
    out = make(connect_timeout="2s")
    assert (await out.send(mail())).ok
    aiosmtpd.pause()
    with pytest.raises(TransientError) as caught:
        await out.send(mail(timeout=0.3))
    assert caught.value.code == "mail.timeout"
    with pytest.raises(UnreachableError) as unreachable:
        await out.send(mail(timeout=5))
    assert unreachable.value.code == "mail.unreachable"
    aiosmtpd.resume()
    assert (await out.send(mail(key="K2"))).ok


@pytest.mark.parametrize("after", [10, 100, 500, 2000, 100_000])
async def test_a_connection_that_is_cut(aiosmtpd: AioSmtpd, make: Make, after: int) -> None:
    proxy = Proxy(aiosmtpd.port)
    try:
        out = make(port=proxy.port)
        proxy.cut_after = after
        with pytest.raises((TransientError, UnreachableError)) as caught:
            await out.send(mail("x" * 500_000))
        assert isinstance(caught.value, TransientError) == (after > 500)
        assert proxy.cuts == 1
        assert aiosmtpd.mails() == []
        assert (await out.send(mail("x" * 500_000))).ok
        assert len(aiosmtpd.mails()) == 1
    finally:
        proxy.close()


async def test_recipients_that_are_refused(aiosmtpd: AioSmtpd, make: Make) -> None:
    cases: list[tuple[list[str], str, bool, list[int]]] = [
        (["a@b.cn", "unknown@b.cn"], "550", False, [1]),
        (["full@b.cn", "a@b.cn"], "452", True, [0]),
        (["full@b.cn", "unknown@b.cn", "a@b.cn"], "550", False, [0, 1]),
    ]
    for to, code, transient, refused in cases:
        out = make(to=to)
        for _ in range(2):  # the connection is fit for use afterwards
            reply = await out.send(mail())
            assert (reply.ok, reply.code, reply.transient, reply.unavailable) == (False, code, transient, False)
            assert [one["recipient"] for one in json.loads(reply.body)["refused"]] == refused
            assert "unknown@b.cn" not in reply.error
        assert out.status()["connections"] == 1
    assert aiosmtpd.mails() == []
    reply = await make(to=["closing@b.cn"]).send(mail())
    assert (reply.ok, reply.code, reply.transient, reply.unavailable) == (False, "421", True, True)
    assert aiosmtpd.mails() == []


async def test_some_get_it_where_that_is_wanted(aiosmtpd: AioSmtpd, make: Make) -> None:
    reply = await make(to=["a@b.cn", "full@b.cn", "unknown@b.cn"], partial="send").send(mail())
    assert reply.ok
    assert json.loads(reply.body) == {
        "accepted": 1,
        "refused": [{"recipient": 1, "code": 452}, {"recipient": 2, "code": 550}],
    }
    (content,) = aiosmtpd.mails()
    assert b"X-To: a@b.cn\r\n" in content
    assert not (await make(to=["unknown@b.cn"], partial="send").send(mail())).ok


async def test_content_that_is_refused(aiosmtpd: AioSmtpd, make: Make) -> None:
    out = make()
    later, spam = [await out.send(mail(subject=subject)) for subject in ("later", "spam")]
    assert (later.ok, later.code, later.transient) == (False, "451", True)
    assert (spam.ok, spam.code, spam.transient) == (False, "554", False)
    with pytest.raises(PermanentError) as caught:
        await out.send(mail("x" * (1 << 20)))
    assert caught.value.code == "mail.size"
    assert aiosmtpd.mails() == []
    assert (await out.send(mail())).ok


async def test_repeated_deliveries_are_the_same_mail(aiosmtpd: AioSmtpd, make: Make) -> None:
    out = make()
    for _ in range(2):
        assert (await out.send(mail())).ok
    first, second = aiosmtpd.mails()
    assert first == second


async def test_cancelled_and_stopped(aiosmtpd: AioSmtpd, make: Make) -> None:
    server = Scripted(b"220 x\r\n", [])
    out = make(port=server.port, connect_timeout="30s")
    task = asyncio.create_task(out.send(mail(timeout=30)))
    assert await asyncio.to_thread(server.begun.wait, 10)
    server.begun.clear()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.ended.wait, 5)
    other = asyncio.create_task(out.send(mail(timeout=30)))
    assert await asyncio.to_thread(server.begun.wait, 10)
    await out.stop()
    with pytest.raises(UnreachableError):
        await other
    with pytest.raises(UnreachableError):
        await out.send(mail())
    server.close()


@pytest.mark.parametrize(
    ("greeting", "answers", "code"),
    [
        (b"220 x\r\n", [b"250-x\r\n250 SIZE 9\r\n", b"502 no\r\n"], "mail.tls"),
        (b"220 x\r\n", [b"250-" + b"x" * 1000 + b"\r\n" + b"250-y\r\n" * 20_000], "mail.unreachable"),
        (b"220 " + b"x" * 20_000 + b"\r\n", [], "mail.unreachable"),
        (b"554 go away\r\n", [], "mail.unreachable"),
        (b"HTTP/1.1 200 OK\r\n", [], "mail.unreachable"),
        (b"220 x\r\n", [b"250 STARTTLS\r\n", b"220 go\r\n250 injected\r\n"], "mail.unreachable"),
    ],
)
async def test_servers_that_are_none(make: Make, greeting: bytes, answers: list[bytes], code: str) -> None:
    server = Scripted(greeting, answers)
    try:
        with pytest.raises(UnreachableError) as caught:
            await make(port=server.port, connect_timeout="1s").send(mail())
        assert caught.value.code == code
        assert not any(line.startswith(b"AUTH") for line in server.lines)
    finally:
        server.close()
