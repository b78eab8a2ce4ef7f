"""FTP and FTPS (RFC 959, 2228, 2428, 3659, 4217), on the standard library's client in a thread of its own for each connection.

The library speaks Latin-1 here, in which every byte is a character: names in UTF-8, GBK or in no character set at all go through
unchanged. Passive mode only, and always to the address of the control connection: servers behind NAT tell their inner one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ftplib
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from adapters.files.backend import (
    AlreadyThere,
    Backend,
    Content,
    Entry,
    FileMissing,
    check_path,
    failed,
    forbidden,
    full,
    no_answer,
    shown,
    unreachable,
)
from adapters.files.ftp_list import from_facts, from_line, from_time
from hub.api import PermanentError, SendError, TransientError, UnreachableError
from hub.i18n import t
from hub.masking import mask_text

__all__ = ["FtpFiles"]

T = TypeVar("T")
_BLOCK = 256 << 10
#: Lines of one listing, and bytes of one line: a hostile server could send without end.
_MAX_LINES = 1_000_000
_NOT_SUPPORTED = ("500", "501", "502", "504")


class _Client(ftplib.FTP_TLS):
    """With implicit TLS, and with data connections that go on with the TLS session of the control connection: servers demand it, as it
    proves that both belong to the same client."""

    implicit = False
    secure = True
    name = ""

    def connect(self, host: str = "", port: int = 0, timeout: float = -999, source_address: Any = None) -> str:
        self.host, self.port, self.timeout = host, port, timeout
        self.sock = socket.create_connection((host, port), timeout)
        self.af = self.sock.family
        if self.implicit:
            self.sock = self.context.wrap_socket(self.sock, server_hostname=self.name)
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome

    def auth(self) -> str:
        answer = self.voidcmd("AUTH TLS")
        self.sock = self.context.wrap_socket(cast(socket.socket, self.sock), server_hostname=self.name)
        self.file = self.sock.makefile("r", encoding=self.encoding)
        return answer

    def ntransfercmd(self, cmd: str, rest: Any = None) -> Any:
        data, size = ftplib.FTP.ntransfercmd(self, cmd, rest)  # noqa: S321 - as above
        if self.secure:
            try:
                session = cast(ssl.SSLSocket, self.sock).session
                data = self.context.wrap_socket(data, server_hostname=self.name, session=session)
            except BaseException:
                data.close()
                raise
        return data, size


class FtpFiles(Backend):
    """One control connection, and at most one transfer at a time."""

    exact_stamps = False

    def __init__(
        self,
        host: str,
        port: int,
        root: str,
        *,
        user: str,
        password: str,
        charset: str,
        context: ssl.SSLContext | None,
        server_name: str,
        implicit: bool,
        connect_timeout: float,
        timeout: float,
    ) -> None:
        self._host, self._port, self._root = host, port, root.rstrip("/") if root != "/" else "/"
        self._user, self._password, self._charset = user, password, charset
        self._implicit, self._context, self._server_name = implicit, context, server_name
        self._connect_timeout, self._timeout = connect_timeout, timeout
        self._address = f"{host}:{port}"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ftp")
        self._client: _Client | None = None
        self._data: socket.socket | None = None
        self._has_mlsd = True

    # -- Backend -------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        try:
            await self._in_thread(self._connect)
        except ssl.SSLCertVerificationError as error:
            raise unreachable(self._address, f"TLS: {error.verify_message}", code="file.tls") from error
        except ssl.SSLError as error:
            raise unreachable(self._address, f"TLS: {error.reason or error}", code="file.tls") from error
        except ftplib.error_perm as error:
            if str(error)[:3] == "530":
                raise unreachable(
                    self._address, t("user or password refused", "用户名或密码被拒绝"), code="file.login"
                ) from error
            raise unreachable(self._address, _told(error)) from error
        except (OSError, EOFError, ValueError, ftplib.Error) as error:
            raise unreachable(self._address, _told(error)) from error

    async def close(self) -> None:
        # The sockets are shut before anything else: a thread that waits in one of them comes back at once.
        for sock in (self._data, self._client.sock if self._client else None):
            if sock is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
        self._thread.submit(self._disconnect)
        self._thread.shutdown(wait=False)

    async def alive(self) -> bool:
        try:
            await self._call("", lambda ftp: ftp.voidcmd("NOOP"))
        except SendError:
            return False
        return True

    async def entries(self, folder: str, limit: int) -> list[Entry]:
        return await self._call(folder, lambda ftp: self._list(ftp, folder, limit))

    async def entry(self, path: str) -> Entry | None:
        def work(ftp: _Client) -> Entry | None:
            try:
                ftp.voidcmd("TYPE I")  # servers refuse SIZE in ASCII mode
                size = ftp.size(self._path(path))
                time = from_time(ftp.sendcmd("MDTM " + self._path(path))[4:])
            except ftplib.error_perm as error:
                if str(error)[:3] in _NOT_SUPPORTED:
                    raise
                return None  # missing, or not a regular file
            return Entry(path, "file", size or 0, time, f"{time:.3f}")

        return await self._call(path, work)

    async def read(self, path: str, offset: int = 0) -> Content:
        def work(ftp: _Client) -> None:
            ftp.voidcmd("TYPE I")
            self._data, _ = ftp.ntransfercmd("RETR " + self._path(path), rest=offset or None)
            self._data.settimeout(self._timeout)

        await self._call(path, work)
        return _FtpContent(self, path)

    async def write(self, path: str, parts: Sequence[bytes | memoryview], offset: int, mode: int | None) -> None:
        def work(ftp: _Client) -> None:
            ftp.voidcmd("TYPE I")
            target = self._path(path)
            self._data, _ = ftp.ntransfercmd("STOR " + target, rest=offset or None)
            self._data.settimeout(self._timeout)
            size = offset
            try:
                for part in parts:
                    for at in range(0, len(part), _BLOCK):
                        self._data.sendall(part[at : at + _BLOCK])
                    size += len(part)
                if isinstance(self._data, ssl.SSLSocket):
                    with contextlib.suppress(OSError, ssl.SSLError):
                        self._data = self._data.unwrap()
            finally:
                self._close_data()
            ftp.voidresp()
            if ftp.size(target) != size:
                raise failed(path, t("the size differs after the transfer", "传输后大小不符"))
            if mode is not None:
                try:
                    ftp.voidcmd(f"SITE CHMOD {mode:o} {target}")
                except ftplib.error_perm as error:
                    told = t("the server does not set permissions: leave out mode", "服务器不支持设置权限：请去掉 mode")
                    raise PermanentError(told, code="file.mode") from error

        await self._call(path, work)

    async def rename(self, old: str, new: str, *, replace: bool) -> None:
        if await self.entry(new) is not None:
            if not replace:
                raise AlreadyThere(t(f"{shown(new)} exists", f"{shown(new)} 已存在"))
            try:
                await self._call(new, lambda ftp: ftp.rename(self._path(old), self._path(new)))
            except PermanentError:  # a server that does not overwrite
                await self.remove(new)
            else:
                return
        await self._call(new, lambda ftp: ftp.rename(self._path(old), self._path(new)))

    async def remove(self, path: str) -> None:
        with contextlib.suppress(FileMissing):
            await self._call(path, lambda ftp: ftp.delete(self._path(path)))

    async def make_folders(self, folder: str) -> None:
        def work(ftp: _Client) -> None:
            made = ""
            for part in check_path(folder).split("/") if folder else ():
                made = f"{made}/{part}" if made else part
                try:
                    ftp.voidcmd("MKD " + self._path(made))
                except ftplib.error_perm as error:
                    # It exists, or can't be made: the file that is to go there will tell.
                    if str(error)[:3] not in ("550", "521"):
                        raise

        await self._call(folder, work)

    # -- in the thread -------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        client = _Client(context=self._context, encoding="latin-1")
        client.implicit, client.secure = self._implicit, self._context is not None
        client.name = self._server_name or self._host
        self._client = client
        client.connect(self._host, self._port, self._connect_timeout)
        cast(socket.socket, client.sock).settimeout(self._timeout)
        if client.secure:
            client.login(self._latin(self._user), self._latin(self._password), secure=not self._implicit)
            client.prot_p()
        else:
            ftplib.FTP.login(client, self._latin(self._user), self._latin(self._password))  # noqa: S321 - as above
        if self._charset == "utf-8":
            with contextlib.suppress(ftplib.error_perm):
                client.voidcmd("OPTS UTF8 ON")
        with contextlib.suppress(ftplib.error_perm):
            features = client.sendcmd("FEAT").upper()
            self._has_mlsd = "MLST" in features or "MLSD" in features
        if self._root not in ("", "."):
            client.cwd(self._latin(self._root))

    def _disconnect(self) -> None:
        self._close_data()
        if self._client is not None:
            self._client.close()

    def _close_data(self) -> None:
        data, self._data = self._data, None
        if data is not None:
            with contextlib.suppress(OSError):
                data.close()

    def _list(self, ftp: _Client, folder: str, limit: int) -> list[Entry]:
        prefix = f"{folder}/" if folder else ""
        found: list[Entry] = []
        lines = 0
        now = datetime.now(UTC)

        def take(line: str) -> None:
            nonlocal lines
            lines += 1
            if lines > _MAX_LINES:
                raise failed(folder, t(f"more than {_MAX_LINES} entries", f"条目超过 {_MAX_LINES} 个"))
            if len(found) == limit:
                return
            text = line.encode("latin-1").decode(self._charset, "surrogateescape")
            if self._has_mlsd:
                facts, _, name = text.partition(" ")
                pairs = (fact.partition("=") for fact in facts.rstrip(";").split(";"))
                entry = from_facts(prefix, name, {key.lower(): value for key, _, value in pairs})
            else:
                entry = from_line(prefix, text, now)
            if entry is not None and "/" not in entry.name and "\0" not in entry.name:
                found.append(entry)

        # LIST takes options in place of a name on many servers, so the folder is entered first.
        here = ftp.pwd() if folder else ""
        if folder:
            ftp.cwd(self._path(folder))
        try:
            if self._has_mlsd:
                try:
                    ftp.retrlines("MLSD", take)
                    return found
                except ftplib.error_perm as error:
                    if str(error)[:3] not in _NOT_SUPPORTED:
                        raise
                    self._has_mlsd = False
            ftp.retrlines("LIST", take)
        finally:
            if folder:
                ftp.cwd(here)
        return found

    def _read(self, size: int) -> bytes:
        data, client = self._data, self._client
        if data is None or client is None:
            return b""
        block = data.recv(size)
        if not block:
            self._close_data()
            client.voidresp()  # says whether this was the end, or only the end of the connection
        return block

    def _abandon(self) -> None:
        """Give up a transfer in the middle; the control connection stays usable."""
        if self._data is not None and self._client is not None:
            self._close_data()
            with contextlib.suppress(ftplib.Error):
                self._client.voidresp()

    # -- calls ---------------------------------------------------------------------------------------------------

    def _path(self, path: str) -> str:
        """Below the root, which is the working folder; no name is taken for an option."""
        if "\r" in path or "\n" in path:
            raise PermanentError(t("the name has line ends", "文件名含换行符"), code="file.name")
        return "./" + self._latin(check_path(path))

    def _latin(self, text: str) -> str:
        try:
            return text.encode(self._charset, "surrogateescape").decode("latin-1")
        except UnicodeEncodeError as error:
            text = t(f"the name can't be written in {self._charset}", f"文件名无法用 {self._charset} 表示")
            raise PermanentError(text, code="file.name") from error

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    async def _call(self, path: str, work: Callable[[_Client], T]) -> T:
        client = self._client
        if client is None or client.sock is None:
            raise unreachable(self._address, t("not connected", "未连接"))
        try:
            return await self._in_thread(lambda: work(client))
        except TimeoutError as error:
            raise no_answer(self._address, self._timeout) from error
        except ftplib.error_perm as error:
            raise _refused(path, error) from error
        except ftplib.error_temp as error:
            raise full(path) if str(error)[:3] == "452" else failed(path, _told(error)) from error
        except (OSError, EOFError, ValueError, RuntimeError, ftplib.Error) as error:
            raise TransientError(
                t(
                    f"connection to {self._address} lost: {_told(error)}",
                    f"与 {self._address} 的连接中断：{_told(error)}",
                ),
                code="file.lost",
            ) from error


class _FtpContent(Content):
    def __init__(self, files: FtpFiles, path: str) -> None:
        self._files, self._path = files, path

    async def read(self, size: int) -> bytes:
        return await self._files._call(self._path, lambda _: self._files._read(size))

    async def close(self) -> None:
        with contextlib.suppress(SendError):
            await self._files._call(self._path, lambda _: self._files._abandon())


def _refused(path: str, error: ftplib.error_perm) -> SendError:
    """A refusal for good (RFC 959, 4.2): servers say 550 for whatever they will not do, the words tell why."""
    code, text = str(error)[:3], str(error)[3:].lower()
    if code in ("552", "452") or "space" in text or "quota" in text:
        return full(path)
    if "permission" in text or "denied" in text or "read-only" in text or "not allowed" in text:
        return forbidden(path)
    if "exist" in text and "no such" not in text and "not exist" not in text and "n't exist" not in text:
        return AlreadyThere(t(f"{shown(path)} exists", f"{shown(path)} 已存在"))
    if code == "553":
        return forbidden(path)
    if code == "550":
        return FileMissing(t(f"{shown(path)}: {_told(error)}", f"{shown(path)}：{_told(error)}"))
    if code == "530":
        return UnreachableError(t("the server wants a login", "服务器要求登录"), code="file.login")
    return PermanentError(t(f"{shown(path)}: {_told(error)}", f"{shown(path)}：{_told(error)}"), code="file.refused")


def _told(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, EOFError):
        return t("closed by the server", "被服务器关闭")
    return mask_text(str(error)[:200]) or type(error).__name__
