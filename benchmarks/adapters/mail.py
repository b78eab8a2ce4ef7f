"""Mail, beside smtplib and imaplib."""

from __future__ import annotations

import imaplib
import smtplib
import ssl
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.utils import localtime, make_msgid
from pathlib import Path
from typing import Any

from adapters.mail import MailAdapter
from benchmarks.adapters.measure import Case, Run, bind, client, expect, lanes, read_all
from hub.codecs.plain_codecs import BinaryCodec
from tests.peers.mail import AioSmtpd, Dovecot

__all__ = ["imap", "smtp"]

#: One that the two libraries can write as well.
_PASSWORD = "secret"
_TEXT = "检验报告已发布，请登录系统查看。\n" * 20


def smtp(folder: Path, share: float) -> Iterator[Case]:
    count = max(10, int(500 * share))
    server = AioSmtpd(folder / "smtpd")
    server.password = _PASSWORD
    server.start()
    adapter = MailAdapter()
    options = {
        "host": "127.0.0.1",
        "port": server.port,
        "user": "hub",
        "password": server.password,
        "tls": {"ca": str(server.folder / "ca.pem")},
        "sender": "hub@hospital.cn",
        "to": ["lab@hospital.cn"],
        "subject": "检验报告",
        "connections": 1,
    }

    def arrived(run: Callable[[], Run]) -> Run:
        server.empty()
        found = run()
        expect(len(server.mails()), count, "smtp")
        return found

    def ours() -> Run:
        return lanes(adapter, bind(adapter, "out", options, BinaryCodec()), [_TEXT.encode()] * count, 1)

    def theirs() -> Run:
        def work() -> None:
            with smtplib.SMTP("127.0.0.1", server.port, timeout=30) as connection:
                connection.starttls(context=_tls(server.folder))
                connection.login("hub", server.password)
                for _ in range(count):
                    mail = EmailMessage()
                    mail["From"], mail["To"], mail["Subject"] = "hub@hospital.cn", "lab@hospital.cn", "检验报告"
                    mail["Date"], mail["Message-ID"] = localtime(), make_msgid(domain="hospital.cn")
                    mail.set_content(_TEXT)
                    connection.send_message(mail)

        return client(work, count)

    try:
        yield Case(
            "mail",
            "out (SMTP)",
            "smtplib and email.message, one connection",
            lambda: arrived(ours),
            lambda: arrived(theirs),
        )
    finally:
        server.stop()


def _tls(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "ca.pem"))


def imap(folder: Path, share: float) -> Iterator[Case]:
    count = max(10, int(500 * share))
    server = Dovecot(folder / "dovecot")
    server.password = _PASSWORD
    server.start()
    adapter = MailAdapter()
    options: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": server.tls_port,
        "encryption": "implicit",
        "user": "hub",
        "password": server.password,
        "tls": {"ca": str(server.folder / "ca.pem")},
        "content": "raw",
        "after": "delete",
        "schedule": {"manual": True},
    }

    def fill() -> None:
        server.empty()
        for number in range(count):
            head = f"From: lis@hospital.cn\nMessage-ID: <{number}@lis>\nSubject: n\n"
            (server.inbox / "new" / f"{number:06}.x").write_bytes(f"{head}\n{_TEXT}".encode())
        server.own_mail()

    def ours() -> Run:
        fill()
        run = read_all(adapter, bind(adapter, "in", options, BinaryCodec()), count)
        expect(len(server.mails()), 0, "imap: left in the mailbox")
        return run

    def theirs() -> Run:
        fill()

        def work() -> None:
            connection = imaplib.IMAP4_SSL("127.0.0.1", server.tls_port, ssl_context=_tls(server.folder), timeout=30)
            connection.login("hub", server.password)
            connection.select("INBOX")
            numbers = connection.uid("SEARCH", "ALL")[1][0].split()
            for number in numbers:
                raw = connection.uid("FETCH", number, "(BODY.PEEK[])")[1][0][1]
                expect(int(_TEXT.encode()[:40] in raw), 1, "imaplib")
                connection.uid("STORE", number, "+FLAGS", r"(\Deleted)")
            connection.expunge()
            connection.logout()
            expect(len(numbers), count, "imaplib")

        run = client(work, count)
        expect(len(server.mails()), 0, "imaplib: left in the mailbox")
        return run

    try:
        yield Case("mail", "in (IMAP)", "imaplib, one mail at a time, deleted at the end", ours, theirs)
    finally:
        server.stop()
