"""Dovecot (IMAP over a Maildir) and aiosmtpd (SMTP with logins and TLS, mails kept as files)."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.adapters.certificates import Authority
from tests.peers.process import Server, free_port, need, port_open

__all__ = ["AioSmtpd", "Dovecot"]


class Dovecot(Server):
    """User ``hub`` with password ``秘密 "1"``; ``port`` speaks STARTTLS, ``tls_port`` TLS from the first byte."""

    package = "dovecot-imapd"
    password = '秘密 "1"'
    settings = ""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tls_port = free_port()

    @property
    def inbox(self) -> Path:
        return self.folder / "mail"

    def prepare(self) -> None:
        if os.geteuid() == 0:  # its processes run under other accounts
            for place in (self.folder.resolve(), *self.folder.resolve().parents):
                if place.owner() == "root" and place != Path("/"):
                    place.chmod(place.stat().st_mode | 0o011)
        account = "dovecot" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        (self.folder / "users").write_text(f"hub:{{PLAIN}}{self.password}::::::\n")
        Authority(self.folder, "ca").issue("server", "127.0.0.1", "localhost")
        entry = pwd.getpwnam("mail" if os.geteuid() == 0 else account)
        ids = f"uid={entry.pw_uid} gid={entry.pw_gid}"
        (self.folder / "dovecot.conf").write_text(
            f"protocols = imap\nlisten = 127.0.0.1\nbase_dir = {self.folder}/run\nlog_path = /dev/stderr\n"
            f"default_internal_user = {account}\ndefault_login_user = {account}\nfirst_valid_uid = 1\n"
            f"mail_location = maildir:{self.inbox}\nssl = required\nssl_cert = <{self.folder}/server.pem\n"
            f"ssl_key = <{self.folder}/server.key\nauth_mechanisms = plain\nauth_failure_delay = 0\n"
            f"passdb {{\n driver = passwd-file\n args = scheme=PLAIN {self.folder}/users\n}}\n"
            f"userdb {{\n driver = static\n args = {ids} home={self.inbox}\n}}\n"
            f"service imap-login {{\n chroot =\n inet_listener imap {{\n port = {self.port}\n }}\n"
            f" inet_listener imaps {{\n port = {self.tls_port}\n ssl = yes\n }}\n}}\n"
            "service anvil {\n chroot =\n unix_listener anvil-auth-penalty {\n mode = 0\n }\n}\n"
            f"{self.settings}"
        )

    def command(self) -> Sequence[str]:
        return [need("dovecot", self.package), "-F", "-c", str(self.folder / "dovecot.conf")]

    def ready(self) -> bool:
        return port_open(self.port) and port_open(self.tls_port)

    def empty(self) -> None:
        """A mailbox as on the first day; only while nobody reads it."""
        shutil.rmtree(self.inbox, ignore_errors=True)
        for name in ("tmp", "new", "cur"):
            (self.inbox / name).mkdir(parents=True)
        self.own_mail()

    def own_mail(self) -> None:
        if os.geteuid() == 0:
            entry = pwd.getpwnam("mail")
            for path in (self.inbox, *self.inbox.rglob("*")):
                os.chown(path, entry.pw_uid, entry.pw_gid)

    def put(self, name: str, content: bytes) -> None:
        """A mail as a delivery agent leaves it; names say the order."""
        path = self.inbox / "tmp" / name
        path.write_bytes(content)
        self.own_mail()
        path.rename(self.inbox / "new" / name)

    def mails(self, folder: str = "") -> list[bytes]:
        """The contents of a folder, sorted; its name as it is on the disk."""
        place = self.inbox / f".{folder}" if folder else self.inbox
        return sorted(path.read_bytes() for name in ("new", "cur") for path in (place / name).glob("*"))


_SMTPD = """
import asyncio, os, ssl, sys, time
from aiosmtpd.smtp import SMTP, AuthResult
port, tls_port, folder, password = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
count = 0
class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        local = address.split("@")[0]
        if local == "unknown":
            return "550 5.1.1 no such user " + address
        if local == "full":
            return "452 4.2.2 mailbox full"
        if local == "closing":
            return "421 4.3.2 shutting down"
        envelope.rcpt_tos.append(address)
        return "250 OK"
    async def handle_DATA(self, server, session, envelope):
        global count
        if b"X-Later" in envelope.content or b"Subject: later" in envelope.content:
            return "451 4.7.1 greylisted"
        if b"Subject: spam" in envelope.content:
            return "554 5.7.1 rejected"
        count += 1
        name = f"{time.time_ns()}.{os.getpid()}.{count}"
        head = f"X-From: {envelope.mail_from}\\r\\nX-To: {','.join(envelope.rcpt_tos)}\\r\\n".encode()
        path = os.path.join(folder, "." + name)
        with open(path, "wb") as file:
            file.write(head + envelope.content)
        os.rename(path, os.path.join(folder, name))
        return "250 2.0.0 Ok: queued"
def authenticator(server, session, envelope, mechanism, data):
    good = data.login == b"hub" and data.password == password.encode()
    return AuthResult(success=good, handled=good)
def tls():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[5], sys.argv[6])
    return context
async def main():
    loop = asyncio.get_running_loop()
    common = dict(hostname="peer", authenticator=authenticator, auth_required=True, data_size_limit=1 << 20)
    context = tls()
    await loop.create_server(
        lambda: SMTP(Handler(), tls_context=context, require_starttls=True, **common), "127.0.0.1", port)
    await loop.create_server(lambda: SMTP(Handler(), auth_require_tls=False, auth_exclude_mechanism=["PLAIN"], **common),
        "127.0.0.1", tls_port, ssl=tls())
    await asyncio.Event().wait()
asyncio.run(main())
"""


class AioSmtpd(Server):
    """User ``hub`` with a password; ``port`` speaks STARTTLS with AUTH PLAIN, ``tls_port`` TLS at once with AUTH LOGIN.

    Recipients ``unknown@``, ``full@`` and ``closing@`` and the subjects ``later`` and ``spam`` are refused.
    """

    package = "(pip) aiosmtpd"
    password = "秘密1"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tls_port = free_port()

    def prepare(self) -> None:
        (self.folder / "mails").mkdir()
        Authority(self.folder, "ca").issue("server", "127.0.0.1", "localhost")

    def command(self) -> Sequence[str]:
        files = [str(self.folder / name) for name in ("mails", "server.pem", "server.key")]
        return [
            sys.executable, "-W", "ignore", "-c", _SMTPD, str(self.port), str(self.tls_port), files[0], self.password,
            *files[1:],
        ]  # fmt: skip

    def ready(self) -> bool:
        return port_open(self.port) and port_open(self.tls_port)

    def mails(self) -> list[bytes]:
        """What was taken, in its order."""
        return [path.read_bytes() for path in sorted((self.folder / "mails").glob("[0-9]*"))]

    def empty(self) -> None:
        for path in (self.folder / "mails").iterdir():
            path.unlink()
