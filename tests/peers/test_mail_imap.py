"""Reading a real mailbox, and what can go wrong with it."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.mail.receiver import MailReceiver
from hub.api import SendError, TransientError, UnreachableError
from tests.adapters.certificates import Authority
from tests.adapters.files_support import Crash
from tests.adapters.mail_support import Inbox, receiver, run, tls
from tests.peers.mail import Dovecot
from tests.peers.mail_script import Scripted
from tests.peers.proxy import Proxy

pytestmark = pytest.mark.xdist_group("mail")


@pytest.fixture
def server(dovecot: Dovecot) -> Iterator[Dovecot]:
    dovecot.empty()
    yield dovecot
    dovecot.resume()
    if not dovecot.running:
        dovecot.start()


def options(server: Dovecot, **more: Any) -> dict[str, Any]:
    given = {"port": server.port, "password": server.password, "tls": tls(server.folder)}
    return {**given, "connect_timeout": "5s", "timeout": "5s", **more}


def mail(number: int, text: str = "", head: str = "") -> bytes:
    return f"From: lis@hospital.cn\nMessage-ID: <{number}@lis>\n{head}Subject: n\n\n{text or number}\n".encode()


def wire(raw: bytes) -> bytes:
    return raw.replace(b"\n", b"\r\n")


def fill(server: Dovecot, numbers: range, bad: tuple[int, ...] = ()) -> list[bytes]:
    mails = [mail(number, "bad" if number in bad else "") for number in numbers]
    for number, raw in zip(numbers, mails, strict=True):
        server.put(f"{number:04}.x", raw)
    return [wire(raw) for number, raw in zip(numbers, mails, strict=True) if number not in bad]


@pytest.mark.parametrize("encryption", ["starttls", "implicit"])
async def test_pages_and_folders(server: Dovecot, encryption: str) -> None:
    expected = fill(server, range(12), bad=(4, 11))
    port = server.port if encryption == "starttls" else server.tls_port
    intake = Inbox()
    reader = receiver(intake, **options(server, port=port, encryption=encryption, archive="已处理", page=5))
    assert "12" in await reader.probe()
    assert len(list((server.inbox / "new").iterdir())) == 12  # nothing was changed
    found = await run(reader)
    assert (found.taken, found.refused) == (10, 2)
    assert intake.raws == expected
    assert intake.items[0].params == {"sender": "lis@hospital.cn", "subject": "n"}
    assert (len(server.mails()), len(server.mails("&XfJZBHQG-")), len(server.mails("Error"))) == (0, 10, 2)
    assert all(b"bad" in raw for raw in server.mails("Error"))
    more = fill(server, range(20, 22))
    assert (await run(receiver(intake, **options(server, archive="已处理")))).taken == 2
    assert intake.raws[10:] == more
    assert intake.again == 0


async def test_attachments(server: Dovecot) -> None:
    head = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n"
    name = base64.b64encode("结果.csv".encode("gbk")).decode()
    content = base64.b64encode("1,张三\n".encode("gb18030")).decode()
    body = (
        "--b\n\nhello\n--b\nContent-Type: text/csv\nContent-Transfer-Encoding: base64\n"
        f'Content-Disposition: attachment; filename="=?gbk?B?{name}?="\n\n{content}\n--b--\n'
    )
    server.put("1", mail(1, body, head))
    server.put("2", mail(2, "no attachment"))
    server.put("3", mail(3, body, head).replace(b"lis@", b"evil@"))
    server.put("4", mail(4, body + "x" * 50_000, head))
    server.put("5", mail(5, body + "x" * 90_000, head))
    intake = Inbox()
    reader = receiver(
        intake,
        **options(server, content="attachments", match="结果*.csv", senders="lis@hospital.cn", max_size=40_000),
    )
    found = await run(reader)
    assert (found.taken, found.refused) == (1, 4)
    (item,) = intake.items
    assert item.raw == "1,张三\n".encode("gb18030")
    assert item.params == {"sender": "lis@hospital.cn", "subject": "n", "name": "结果.csv"}
    assert [error.code for error in intake.refusals] == ["mail.attachment", "mail.sender", "mail.size", "mail.size"]
    assert (len(server.mails("Processed")), len(server.mails("Error"))) == (1, 4)


async def test_what_becomes_of_mails(server: Dovecot) -> None:
    for after, names in (("flag", ["FS"]), ("leave", [""]), ("delete", [])):
        server.empty()
        fill(server, range(3), bad=(1,))
        intake = Inbox()
        more = {"after": after, "flags": ["\\Seen", "\\Flagged"], "search": "UNSEEN"}
        for _ in range(2):
            await run(receiver(intake, **options(server, **more)))
        assert len(intake.items) == 2
        assert intake.again == 0
        left = [path.name.partition(":2,")[2] for path in (server.inbox / "cur").iterdir()]
        if after == "leave":
            assert (len(server.mails()), server.mails("Error"), set(left) <= {""}) == (3, [], True)
        else:
            assert sorted(left) == names * 2
            assert len(server.mails("Error")) == 1


@pytest.mark.parametrize("capabilities", ["IMAP4rev1 AUTH=PLAIN", "IMAP4rev1 LITERAL+ UIDPLUS"])
async def test_servers_that_know_less(tmp_path: Path, server: Dovecot, capabilities: str) -> None:
    old = Dovecot(tmp_path / "old")
    old.settings = f"imap_capability = {capabilities}\n"
    await asyncio.to_thread(old.start)
    try:
        old.empty()
        fill(old, range(3))
        intake = Inbox()
        for _ in range(2):
            await run(receiver(intake, **options(old)))
        assert len(intake.items) == 3
        assert len(old.mails("Processed")) == 3
        left = [path.name.partition(":2,")[2] for path in (old.inbox / "cur").iterdir()]
        assert left == ([] if "UIDPLUS" in capabilities else ["T"] * 3)  # T: deleted, for the owner to remove
    finally:
        await asyncio.to_thread(old.stop)


async def test_a_mailbox_made_anew(server: Dovecot) -> None:
    fill(server, range(3))
    intake = Inbox()
    reader = receiver(intake, **options(server, after="leave"))
    await run(reader)
    await asyncio.to_thread(server.stop)
    server.empty()
    fill(server, range(10, 12))
    await asyncio.to_thread(server.start)
    intake.marks[""] = intake.marks[""].replace('"validity":', '"validity":1')  # a second may not have gone by
    reader = receiver(intake, **options(server, after="leave"))
    found = await run(reader)
    assert (found.taken, len(intake.items)) == (2, 5)
    assert found.details


async def test_wrong_credentials_and_certificates(server: Dovecot, tmp_path: Path) -> None:
    Authority(tmp_path, "other")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"password": "wrong"}, "mail.login"),
        ({"tls": tls(tmp_path, "other")}, "mail.tls"),
        ({"encryption": "implicit", "port": server.tls_port, "tls": tls(tmp_path, "other")}, "mail.tls"),
        ({"tls": {**tls(server.folder), "server_name": "elsewhere.cn"}}, "mail.tls"),
    ]
    for more, code in wrong:
        reader = receiver(Inbox(), **options(server, **more))
        for call in (lambda r=reader: run(r), reader.probe):
            with pytest.raises(UnreachableError) as caught:
                await call()
            assert caught.value.code == code
            assert "wrong" not in caught.value.text
    with pytest.raises(TransientError) as missing:
        await run(receiver(Inbox(), **options(server, folder="没有")))
    assert missing.value.code == "mail.refused"


async def test_absent_and_hanging(server: Dovecot) -> None:
    expected = fill(server, range(3))
    intake = Inbox()
    reader = receiver(intake, **options(server, connect_timeout="2s", timeout="2s", page=1))
    server.pause()
    with pytest.raises(UnreachableError):
        await run(reader)
    server.resume()
    take = intake.take

    async def hanging(*arguments: Any, **more: Any) -> Any:
        server.pause()
        return await take(*arguments, **more)

    intake.take = hanging  # type: ignore[method-assign]
    with pytest.raises(TransientError) as caught:
        await run(reader)
    assert caught.value.code == "mail.timeout"
    server.resume()
    intake.take = take  # type: ignore[method-assign]
    await asyncio.to_thread(server.kill)
    with pytest.raises(UnreachableError) as absent:
        await run(reader)
    assert absent.value.code == "mail.unreachable"
    await asyncio.to_thread(server.start)
    reader = receiver(intake, **options(server, page=1))
    await run(reader)
    assert (intake.raws, intake.again) == (expected, 0)
    assert len(server.mails("Processed")) == 3


async def test_killed_while_mails_are_read(server: Dovecot) -> None:
    expected = fill(server, range(60), bad=(30,))
    intake = Inbox()
    reader = receiver(intake, **options(server, page=7))
    commits = 0

    def killing() -> None:
        nonlocal commits
        commits += 1
        if commits in (4, 11):
            server.kill()

    intake.step = killing
    for _ in range(2):
        with pytest.raises(SendError):
            await run(reader)
        await asyncio.to_thread(server.start)
    await run(reader)
    assert (intake.raws, intake.again) == (expected, 0)
    assert (len(server.mails()), len(server.mails("Processed")), len(server.mails("Error"))) == (0, 59, 1)


async def test_cut_on_the_wire(server: Dovecot) -> None:
    expected = fill(server, range(10), bad=(2,))
    proxy = Proxy(server.port)
    intake = Inbox()
    try:
        reader = receiver(intake, **options(server, port=proxy.port, page=3))
        for after in range(500, 4000, 250):
            proxy.cut_after = after
            try:
                await run(reader)
            except SendError:
                continue
            break
        proxy.cut_after = None
        await run(reader)
        assert proxy.cuts >= 3
    finally:
        proxy.close()
    assert (intake.raws, intake.again) == (expected, 0)
    assert (len(server.mails()), len(server.mails("Processed")), len(server.mails("Error"))) == (0, 9, 1)


async def test_the_process_dies_at_any_step(server: Dovecot) -> None:
    """Before or after any call to the store and to the server, one after the other."""
    at = 0
    while True:
        at += 1
        server.empty()
        expected = fill(server, range(4), bad=(1,))
        intake = Inbox()
        left = at

        def step() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Crash

        intake.step = step
        reader = _stepping(receiver(intake, **options(server, page=3)), step)
        try:
            await run(reader)
        except Crash:
            ended = False
        else:
            ended = True
        intake.step = lambda: None
        await run(receiver(intake, **options(server, page=3)))
        assert (intake.raws, intake.again) == (expected, 0), at
        assert (len(server.mails()), len(server.mails("Processed")), len(server.mails("Error"))) == (0, 3, 1), at
        if ended:
            break
    assert at > 20


def _stepping(reader: MailReceiver, step: Callable[[], None]) -> MailReceiver:
    inner = reader._call

    async def call(*arguments: Any) -> Any:
        step()
        answer = await inner(*arguments)
        step()
        return answer

    reader._call = call  # type: ignore[method-assign]
    return reader


_GREETING = b"* OK [CAPABILITY IMAP4rev1] x\r\n"
_CAPABLE = b"* CAPABILITY IMAP4rev1\r\n<tag> OK x\r\n"
_OPEN = [
    _CAPABLE,
    b"<tag> OK x\r\n",
    _CAPABLE,
    b"* 1 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 9] x\r\n<tag> OK [READ-WRITE] x\r\n",
    b"* SEARCH 8\r\n<tag> OK x\r\n",
]
_SMALL = b"* 1 FETCH (UID 8 RFC822.SIZE 10)\r\n<tag> OK x\r\n"


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([*_OPEN, _SMALL, b"* 1 FETCH (UID 8 BODY[] {99999999999}\r\n"], "mail.lost"),
        ([*_OPEN, b"* 1 FETCH (UID 8 RFC822.SIZE {999999999}\r\n"], "mail.lost"),
        ([*_OPEN[:4], b"* SEARCH" + b" 1" * 600_000 + b"\r\n"], "mail.refused"),
        ([*_OPEN[:4], b"* 1 EXISTS\r\n" * 500_000], "mail.lost"),
        ([*_OPEN[:4], b"* SEARCH x y\r\n<tag> OK x\r\n"], "mail.lost"),
        ([*_OPEN[:4], b"<tag> BAD no\r\n"], "mail.refused"),
        ([*_OPEN[:4], b"* BYE x\r\n"], "mail.lost"),
        ([*_OPEN[:3], b"<tag> NO [NONEXISTENT] no\r\n"], "mail.refused"),
        ([*_OPEN[:3], b"* many EXISTS\r\n<tag> OK x\r\n"], "mail.lost"),
        ([*_OPEN[:1], b"<tag> NO no\r\n"], "mail.login"),
        ([b"* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n<tag> OK x\r\n"], "mail.login"),
        ([b"\r\n"], "mail.unreachable"),
        ([], "mail.unreachable"),
    ],
)
async def test_servers_that_mean_harm(answers: list[bytes], code: str) -> None:
    server = Scripted(_GREETING, answers)
    intake = Inbox()
    more = {"port": server.port, "encryption": "none", "timeout": "5s", "connect_timeout": "2s"}
    try:
        with pytest.raises(SendError) as caught:
            await run(receiver(intake, **more))
        assert caught.value.code == code
        assert intake.items == []
    finally:
        server.close()


async def test_a_password_that_login_can_not_say() -> None:
    server = Scripted(_GREETING, _OPEN)
    try:
        with pytest.raises(UnreachableError) as caught:
            await run(receiver(Inbox(), port=server.port, encryption="none", password="密1"))
    finally:
        server.close()
    assert caught.value.code == "mail.login"
    assert "密" not in caught.value.text
    assert "5bc6" not in caught.value.text


async def test_big_folders_are_searched_in_windows() -> None:
    big = b"* 60000 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 120001] x\r\n<tag> OK x\r\n"
    nothing = b"* SEARCH\r\n<tag> OK x\r\n"
    server = Scripted(_GREETING, [*_OPEN[:3], big, nothing, nothing, nothing, b"* BYE x\r\n<tag> OK x\r\n"])
    more = {"encryption": "none", "after": "leave", "search": "UNSEEN"}
    try:
        assert (await run(receiver(Inbox(), port=server.port, **more))).taken == 0
    finally:
        server.close()
    searches = [line.split(b"SEARCH ")[1] for line in server.lines if b"SEARCH" in line]
    assert searches == [b"UID %s UNSEEN\r\n" % part for part in (b"1:50000", b"50001:100000", b"100001:150000")]


async def test_a_mail_that_is_delivered_twice(server: Dovecot) -> None:
    for number in range(2):
        server.put(f"{number}", f"Received: by way {number}\n".encode() + mail(1, "same"))
    intake = Inbox()
    await run(receiver(intake, **options(server, content="text")))
    assert len({(item.control_id, item.raw) for item in intake.items}) == 1


async def test_stopped_while_the_server_hangs() -> None:
    server = Scripted(_GREETING, [])
    before = set(threading.enumerate())
    reader = receiver(Inbox(), port=server.port, encryption="none", connect_timeout="60s")
    await reader.start()
    reader.run_now()
    assert await asyncio.to_thread(server.begun.wait, 10)
    await reader.stop(0.05)
    assert await asyncio.to_thread(server.ended.wait, 10)
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("mail "):
            await asyncio.to_thread(thread.join, 5)
            assert not thread.is_alive()
    server.close()


async def test_a_mail_that_is_larger_than_it_said(server: Dovecot) -> None:
    lying = Scripted(_GREETING, [*_OPEN, _SMALL, b"* 1 FETCH (UID 8 BODY[] {99999999}\r\n"])
    intake = Inbox()
    more = {"encryption": "none", "timeout": "2s", "after": "leave"}
    reader = receiver(intake, port=lying.port, **more)
    with pytest.raises(TransientError):
        await run(reader)
    honest = b"* 1 FETCH (UID 8 BODY[HEADER]<0> {9}\r\nA: b\r\n\r\n)\r\n<tag> OK x\r\n"
    again = Scripted(_GREETING, [*_OPEN, _SMALL, honest, b"* SEARCH\r\n<tag> OK x\r\n", b"* BYE\r\n<tag> OK x\r\n"])
    object.__setattr__(reader._options, "port", again.port)
    found = await run(reader)
    assert found.refused == 1
    assert [error.code for error in intake.refusals] == ["mail.size"]
    assert '"uid":8' in intake.marks[""]
    for one in (lying, again):
        one.close()
