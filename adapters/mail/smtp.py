"""One SMTP connection (RFC 5321), blocking; its methods run in a thread."""

from __future__ import annotations

import base64
import contextlib
import smtplib
import ssl
from collections.abc import Sequence
from io import BufferedIOBase
from typing import Any, Literal

from adapters.mail.connection import Wire
from adapters.mail.options import MailConnect

__all__ = ["Delivered", "Refused", "SmtpSession"]

#: Bytes of one reply of the server, all its lines.
_LONGEST_REPLY = 64 << 10


class Refused(Exception):
    """The server said no. ``step``: greeting, tls, login, mail, recipient, data, content, size."""

    def __init__(self, step: str, code: int, text: bytes, refused: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__(step, code)
        self.step, self.code, self.text = step, code, text
        self.refused = refused  # number of the recipient in the envelope, and the code for it


class Delivered:
    """The server has taken the mail, perhaps not for everybody."""

    def __init__(self, code: int, accepted: int, refused: Sequence[tuple[int, int]]) -> None:
        self.code, self.accepted, self.refused = code, accepted, refused


class _Limited:
    """Where replies are read from, with an end to what a server may say."""

    def __init__(self, file: BufferedIOBase) -> None:
        self._file = file
        self.left = _LONGEST_REPLY

    def readline(self, size: int = -1) -> bytes:
        line = self._file.readline(size)
        self.left -= len(line)
        if self.left < 0:
            raise OSError("the reply does not end")
        return line

    def close(self) -> None:
        self._file.close()


class _Smtp(smtplib.SMTP):
    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _Limited(self.sock.makefile("rb"))
        if self.file is not None:
            self.file.left = _LONGEST_REPLY
        return super().getreply()


class SmtpSession:
    """Logged in after :meth:`greet`. Raises ``smtplib.SMTPException``, ``OSError`` and :class:`Refused`."""

    def __init__(self, wire: Wire, options: MailConnect, context: ssl.SSLContext | None) -> None:
        self.wire, self._options, self._context = wire, options, context
        host = wire.socket.getsockname()[0]
        name = options.helo or (f"[IPv6:{host}]" if ":" in host else f"[{host}]")
        self._smtp: Any = _Smtp(local_hostname=name)
        self.content = False  # whether the content of a mail may have been sent in the present call

    def greet(self) -> None:
        options, smtp = self._options, self._smtp
        smtp.sock = self.wire.socket
        server_name = options.tls.server_name or options.host
        if options.encryption == "implicit" and self._context is not None:
            smtp.sock = self.wire.secure(self._context, server_name)
        self._must("greeting", 220, smtp.getreply())
        self._hello()
        if options.encryption == "starttls" and self._context is not None:
            self._must("tls", 220, smtp.docmd("STARTTLS"))
            smtp.file.close()  # with what came in the clear after the answer: it must not count (RFC 3207 section 4.2)
            smtp.file = None
            smtp.sock = self.wire.secure(self._context, server_name)
            self._hello()
        if options.user:
            self._login(options.user, options.password.get_secret_value())

    def alive(self) -> bool:
        with contextlib.suppress(smtplib.SMTPException, OSError):
            return bool(self._smtp.noop()[0] == 250)
        return False

    def deliver(
        self, sender: str, recipients: Sequence[str], data: bytes, partial: Literal["refuse", "send"], timeout: float
    ) -> Delivered:
        smtp = self._smtp
        self.content = False
        self.wire.socket.settimeout(timeout + 5)  # the caller's own limit comes first
        largest = smtp.esmtp_features.get("size", "")
        if largest.isdigit() and 0 < int(largest[:12]) < len(data):
            raise Refused("size", 552, b"")
        self._must("mail", 250, smtp.mail(sender, [f"SIZE={len(data)}"] if smtp.has_extn("size") else ()))
        refused: list[tuple[int, int]] = []
        last = b""
        for number, recipient in enumerate(recipients):
            code, text = smtp.rcpt(recipient)
            if code == 421:
                raise Refused("recipient", code, text)
            if code not in (250, 251):
                refused.append((number, code))
                last = text
        if refused and (partial == "refuse" or len(refused) == len(recipients)):
            smtp.rset()
            # One that may be taken later is worth another try of the whole; unless others never will.
            raise Refused("recipient", max(code for _, code in refused), last, refused)
        self.content = True
        try:
            code, text = smtp.data(data)
        except smtplib.SMTPDataError as error:
            self.content = False
            reason = error.smtp_error
            raise Refused("data", error.smtp_code, reason if isinstance(reason, bytes) else reason.encode()) from None
        if code != 250:
            raise Refused("content", code, text)
        return Delivered(code, len(recipients) - len(refused), refused)

    def reset(self) -> bool:
        """Ready for the next mail after a refusal."""
        with contextlib.suppress(smtplib.SMTPException, OSError):
            return bool(self._smtp.rset()[0] == 250)
        return False

    def close(self) -> None:
        """At once; while no thread uses it."""
        self.wire.close()
        self._smtp.close()

    def _hello(self) -> None:
        smtp = self._smtp
        code, text = smtp.ehlo()
        if code == 250:
            return
        if self._options.encryption != "none" or self._options.user:
            raise Refused("greeting", code, text)
        self._must("greeting", 250, smtp.helo())

    def _login(self, user: str, password: str) -> None:
        """PLAIN (RFC 4616), else LOGIN; the others hide the password from nobody who can't break TLS."""
        smtp = self._smtp
        offered = smtp.esmtp_features.get("auth", "").upper().split()
        if "PLAIN" in offered:
            code, text = smtp.docmd("AUTH", "PLAIN " + _b64(f"\0{user}\0{password}"))
        elif "LOGIN" in offered:
            code, text = smtp.docmd("AUTH", "LOGIN")
            if code == 334:
                code, text = smtp.docmd(_b64(user))
            if code == 334:
                code, text = smtp.docmd(_b64(password))
        else:
            raise Refused("login", 504, b"neither PLAIN nor LOGIN offered")
        self._must("login", 235, (code, text))

    @staticmethod
    def _must(step: str, wanted: int, reply: tuple[int, bytes]) -> None:
        if reply[0] != wanted:
            raise Refused(step, *reply)


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
