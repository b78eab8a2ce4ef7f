"""One IMAP connection (RFC 3501) with one folder open, blocking; its methods run in a thread."""

from __future__ import annotations

import base64
import contextlib
import imaplib
import re
import socket
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from adapters.mail.connection import Wire
from adapters.mail.options import MailListen

__all__ = ["Folder", "ImapSession", "LoginRefused", "NoStartTls", "TooMuch", "folder_name"]

#: Bytes a server may say to a command that fetches no content.
_LONGEST_REPLY = 2 << 20
_LONGEST_HEAD = 64 << 10
#: Searching is done for so many UIDs at once: an answer is one line, and imaplib reads at most a million characters of it.
_WINDOW = 50_000
_NUMBER = re.compile(rb"\bUID (\d+)\b", re.IGNORECASE)
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d+)\b", re.IGNORECASE)
_CREATE = b"[TRYCREATE]"


class LoginRefused(Exception):
    """User or password are wrong, or may not be sent this way."""


class NoStartTls(Exception):
    """The server offers no STARTTLS."""


class TooMuch(OSError):
    """The server says more than it was asked for; the connection can't be used any more."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder that is open."""

    validity: int  # UIDVALIDITY
    next_uid: int  # UIDNEXT; 0 where the server does not tell
    mails: int


class _Imap(imaplib.IMAP4):
    """On a socket that is there already, with an end to what a server may say."""

    def __init__(self, wire: Wire, name: str) -> None:
        self._wire, self._name = wire, name
        self.left = _LONGEST_REPLY
        super().__init__(name)

    def open(self, host: str = "", port: int = 0, timeout: float | None = None) -> None:
        self.host, self.port = self._name, port
        self.sock = self._wire.socket
        self.file = self.sock.makefile("rb")

    def read(self, size: int) -> bytes:
        self._spend(size)
        return super().read(size)

    def readline(self) -> bytes:
        line = super().readline()
        self._spend(len(line))
        return line

    def _spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise TooMuch("more than was asked for")


class _Securing:
    """In the place of a context: so that the wire knows its socket before the handshake."""

    def __init__(self, wire: Wire, context: ssl.SSLContext, name: str) -> None:
        self._wire, self._context, self._name = wire, context, name

    def wrap_socket(self, sock: socket.socket, server_hostname: str) -> socket.socket:
        return self._wire.secure(self._context, self._name)


class ImapSession:
    """Logged in after :meth:`greet`, with the folder open after :meth:`select`.

    Raises ``imaplib.IMAP4.error`` where the server says no, ``IMAP4.abort`` and ``OSError`` where the connection is lost,
    ``ValueError`` and ``LookupError`` where it says what nobody understands.
    """

    def __init__(self, wire: Wire, options: MailListen, context: ssl.SSLContext | None) -> None:
        self.wire, self._options, self._context = wire, options, context
        self._imap: Any = None
        self._can: tuple[str, ...] = ()

    def greet(self) -> None:
        options = self._options
        name = options.tls.server_name or options.host
        if options.encryption == "implicit" and self._context is not None:
            self.wire.secure(self._context, name)
        self._imap = imap = cast(Any, _Imap(self.wire, name))
        if options.encryption == "starttls" and self._context is not None:
            if "STARTTLS" not in imap.capabilities:
                raise NoStartTls
            imap.starttls(_Securing(self.wire, self._context, name))
        self._login(options.user, options.password.get_secret_value())
        self._can = tuple(word.decode("ascii", "replace").upper() for word in self._call("CAPABILITY")[-1].split())
        if "ID" in self._can:  # NetEase lets nobody open a folder who has not said who it is (RFC 2971)
            imap.xatom("ID", '("name" "tongqu")')
        self.wire.socket.settimeout(options.timeout + 5)  # the caller's own limit comes first

    def select(self, *, change: bool) -> Folder:
        """Open the folder, ``change``: for more than reading."""
        self._imap.left = _LONGEST_REPLY
        kind, data = self._imap.select(folder_name(self._options.folder), not change)
        if kind != "OK":
            raise imaplib.IMAP4.error(_said(data))
        return Folder(self._figure("UIDVALIDITY"), self._figure("UIDNEXT"), int(data[-1] or 0))

    def search(self, above: int, folder: Folder) -> list[int]:
        """UIDs above one that meet the criteria, ascending; of a big folder the first that there are."""
        if folder.mails <= _WINDOW or not folder.next_uid:
            return self._search(above + 1, None, above)
        first = above + 1
        while first < folder.next_uid:
            found = self._search(first, first + _WINDOW - 1, above)
            if found:
                return found
            first += _WINDOW
        return []

    def _search(self, first: int, last: int | None, above: int) -> list[int]:
        # "n:*" always holds the last mail, whatever its UID (RFC 3501 section 6.4.8).
        data = self._call("SEARCH", f"UID {first}:{last or '*'}", self._options.search)
        words = b" ".join(part for part in data if part).split()
        return sorted({uid for uid in map(int, words) if above < uid < 1 << 32})

    def sizes(self, uids: Sequence[int]) -> dict[int, int]:
        """Bytes of each mail that is still there."""
        found: dict[int, int] = {}
        for item in self._call("FETCH", _set(uids), "(UID RFC822.SIZE)"):
            line = item[0] if isinstance(item, tuple) else item or b""
            uid, size = _NUMBER.search(line), _SIZE.search(line)
            if uid and size:
                found[int(uid[1])] = int(size[1])
        return found

    def fetch(self, uid: int, most: int) -> bytes | None:
        """A mail as it is; None when it is gone. Raises :class:`TooMuch` when it is larger."""
        return self._body(uid, "BODY.PEEK[]", most)

    def head(self, uid: int) -> bytes:
        """The beginning of its headers."""
        return self._body(uid, f"BODY.PEEK[HEADER]<0.{_LONGEST_HEAD}>", _LONGEST_HEAD) or b""

    def _body(self, uid: int, what: str, most: int) -> bytes | None:
        for item in self._call("FETCH", str(uid), f"(UID {what})", most=most + _LONGEST_HEAD):
            if isinstance(item, tuple) and len(item) == 2:
                found = _NUMBER.search(item[0])
                if found is None or int(found[1]) == uid:  # some servers put the UID after the content
                    return bytes(item[1])
        return None

    def move(self, uids: Sequence[int], name: str) -> None:
        """Into a folder that is made where it is missing; those that are gone are no error."""
        try:
            self._move(uids, name)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            if _CREATE.decode() not in str(error):
                raise
            kind, data = self._imap.create(folder_name(name))
            if kind != "OK":
                raise imaplib.IMAP4.error(_said(data)) from None
            self._move(uids, name)

    def _move(self, uids: Sequence[int], name: str) -> None:
        if "MOVE" in self._can:
            self._call("MOVE", _set(uids), folder_name(name))
        else:
            self._call("COPY", _set(uids), folder_name(name))
            self.delete(uids)

    def delete(self, uids: Sequence[int]) -> None:
        """Where the server can't remove these alone (RFC 4315) they are marked, and others' deleted mails left in peace."""
        self.flag(uids, ["\\Deleted"])
        if "UIDPLUS" in self._can:
            self._call("EXPUNGE", _set(uids))

    def flag(self, uids: Sequence[int], flags: Iterable[str]) -> None:
        self._call("STORE", _set(uids), "+FLAGS.SILENT", f"({' '.join(flags)})")

    def logout(self) -> None:
        with contextlib.suppress(imaplib.IMAP4.error, OSError):
            self._imap.logout()

    def close(self) -> None:
        """At once; while no thread uses it."""
        self.wire.close()

    def _call(self, command: str, *arguments: str, most: int = _LONGEST_REPLY) -> list[Any]:
        self._imap.left = most
        if command == "CAPABILITY":
            kind, data = self._imap.capability()
        else:
            self._imap.untagged_responses.clear()
            kind, data = self._imap.uid(command, *arguments)
        if kind != "OK":
            raise imaplib.IMAP4.error(_said(data))
        return list(data)

    def _figure(self, name: str) -> int:
        value = self._imap.response(name)[1][-1]
        return int(value) if value and value.isdigit() and len(value) <= 10 else 0

    def _login(self, user: str, password: str) -> None:
        imap = self._imap
        secret = f"\0{user}\0{password}".encode()
        try:
            if "AUTH=PLAIN" in imap.capabilities:
                imap.authenticate("PLAIN", lambda _: secret)
            elif "LOGINDISABLED" in imap.capabilities:
                raise LoginRefused("LOGINDISABLED")
            else:
                imap.login(_quoted(user), password)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            raise LoginRefused(str(error)) from None
        except UnicodeEncodeError:  # its text quotes the password
            raise LoginRefused("LOGIN takes ASCII only") from None


def folder_name(text: str) -> str:
    """A name as it goes over the wire: modified UTF-7 (RFC 3501 section 5.1.3) between quotation marks."""
    out: list[str] = []
    for run in re.findall(r"[ -~]+|[^ -~]+", text):
        if run[0] <= "~":
            out.append(run.replace("&", "&-"))
        else:
            coded = base64.b64encode(run.encode("utf-16-be", "replace")).decode().rstrip("=").replace("/", ",")
            out.append(f"&{coded}-")
    return _quoted("".join(out))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _set(uids: Sequence[int]) -> str:
    return ",".join(map(str, uids))


def _said(data: Any) -> str:
    last = data[-1] if data else b""
    return last.decode("utf-8", "replace")[:200] if isinstance(last, bytes) else ""
