"""SFTP over SSH, on asyncssh. Host keys are checked before anything is sent; the user's own SSH configuration plays no part."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncssh

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
    kind_of,
    no_answer,
    shown,
    unreachable,
)
from hub.api import PermanentError, SendError, TransientError
from hub.i18n import t

__all__ = ["SftpFiles"]

_BLOCK = 256 << 10
_KEEPALIVE_S = 15.0
_KINDS = {asyncssh.FILEXFER_TYPE_REGULAR: "file", asyncssh.FILEXFER_TYPE_DIRECTORY: "folder"}


class _Client(asyncssh.SSHClient):
    """Knows the server by the fingerprints of its keys."""

    def __init__(self, fingerprints: Sequence[str]) -> None:
        self._fingerprints = frozenset(fingerprints)
        self.offered = ""  # the key that was not trusted, for the one who has to compare

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.offered = key.get_fingerprint("sha256")
        return self.offered in self._fingerprints


class SftpFiles(Backend):
    """One SSH connection with one SFTP session."""

    def __init__(
        self,
        host: str,
        port: int,
        root: str,
        *,
        user: str,
        password: str,
        key: str,
        key_password: str,
        known_hosts: str,
        fingerprints: Sequence[str],
        charset: str,
        connect_timeout: float,
        timeout: float,
    ) -> None:
        self._host, self._port, self._root = host, port, root
        self._user, self._password = user, password
        self._key, self._key_password = key, key_password
        self._known_hosts = known_hosts
        self._charset, self._connect_timeout, self._timeout = charset, connect_timeout, timeout
        self._client = _Client(fingerprints)
        self._address = f"{host}:{port}"
        self._connection: asyncssh.SSHClientConnection | None = None
        self._session: asyncssh.SFTPClient | None = None
        self._base = b""

    # -- Backend -------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout):
                await self._connect()
        except TimeoutError:
            reason = t(f"no answer within {self._connect_timeout:g} s", f"{self._connect_timeout:g} 秒内无响应")
            raise unreachable(self._address, reason) from None
        except asyncssh.HostKeyNotVerifiable as error:
            offered = self._client.offered
            reason = t(f"its host key {offered} is not the one that is expected", f"主机密钥 {offered} 与预期不符")
            raise unreachable(self._address, reason, code="file.host_key") from error
        except asyncssh.PermissionDenied as error:
            reason = t("user, password or key refused", "用户名、密码或密钥被拒绝")
            raise unreachable(self._address, reason, code="file.login") from error
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            reason = t("the private key can't be read, or its password is wrong", "私钥无法读取，或其密码错误")
            raise unreachable(self._address, reason, code="file.key") from error
        except asyncssh.SFTPError as error:
            raise unreachable(self._address, f"{self._root}: {error.reason}") from error
        except (asyncssh.Error, OSError, ValueError) as error:
            raise unreachable(self._address, _told(error)) from error

    async def _connect(self) -> None:
        # asyncssh takes a file of known hosts, or lists that are empty: then it asks the client object.
        known: Any = self._known_hosts or ([], [], [])
        keys = None
        if self._key:
            keys = [await asyncio.to_thread(asyncssh.read_private_key, self._key, self._key_password or None)]
        self._connection = await asyncssh.connect(
            self._host,
            self._port,
            client_factory=lambda: self._client,
            username=self._user,
            password=self._password or None,
            client_keys=keys,
            known_hosts=known,
            agent_path=None,
            config=[],
            connect_timeout=self._connect_timeout,
            login_timeout=self._connect_timeout,
            keepalive_interval=_KEEPALIVE_S,
            keepalive_count_max=3,
        )
        self._session = await self._connection.start_sftp_client(path_encoding=None)
        base = await self._session.realpath(self._root.encode(self._charset))
        self._base = base if isinstance(base, bytes) else str(base).encode(self._charset)
        if not await self._session.isdir(self._base):
            raise asyncssh.SFTPNoSuchFile(t("is not a folder", "不是文件夹"))

    async def close(self) -> None:
        connection, self._connection, self._session = self._connection, None, None
        if connection is not None:
            connection.abort()
            with contextlib.suppress(TimeoutError, asyncssh.Error, OSError):
                async with asyncio.timeout(1):
                    await connection.wait_closed()

    async def alive(self) -> bool:
        try:
            async with self._errors("") as session:
                await session.stat(self._base)
        except SendError:
            return False
        return True

    async def entries(self, folder: str, limit: int) -> list[Entry]:
        found: list[Entry] = []
        prefix = f"{folder}/" if folder else ""
        async with self._errors(folder, limited=False) as session:
            listing = session.scandir(self._path(folder))
            while len(found) < limit:
                # The time limit is for each answer, not for the whole of a long listing.
                try:
                    async with asyncio.timeout(self._timeout):
                        item = await anext(listing)
                except StopAsyncIteration:
                    break
                raw = item.filename if isinstance(item.filename, bytes) else str(item.filename).encode("utf-8")
                if raw not in (b".", b"..") and b"/" not in raw and b"\0" not in raw:
                    found.append(_entry(prefix + raw.decode(self._charset, "surrogateescape"), item.attrs))
        return found

    async def entry(self, path: str) -> Entry | None:
        try:
            async with self._errors(path) as session:
                return _entry(path, await session.lstat(self._path(path)))
        except FileMissing:
            return None

    async def read(self, path: str, offset: int = 0) -> Content:
        async with self._errors(path) as session:
            target = self._path(path)
            if _entry(path, await session.lstat(target)).kind != "file":
                text = t(f"{shown(path)} is not a regular file", f"{shown(path)} 不是普通文件")
                raise PermanentError(text, code="file.kind")
            file = await session.open(target, "rb", encoding=None)
        return _SftpContent(self, path, file, offset)

    async def write(self, path: str, parts: Sequence[bytes | memoryview], offset: int, mode: int | None) -> None:
        async with self._errors(path, limited=False) as session:
            flags = asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | (0 if offset else asyncssh.FXF_TRUNC)
            size = offset
            async with asyncio.timeout(self._timeout):
                file = await session.open(self._path(path), flags, encoding=None)
            try:
                if offset:
                    await file.truncate(offset)
                for part in parts:
                    for at in range(0, len(part), _BLOCK):
                        block = bytes(part[at : at + _BLOCK])
                        async with asyncio.timeout(self._timeout):
                            await file.write(block, size)
                        size += len(block)
                async with asyncio.timeout(self._timeout):
                    with contextlib.suppress(asyncssh.SFTPOpUnsupported):
                        await file.fsync()
                    if mode is not None:
                        await file.chmod(mode)
                    there = (await file.stat()).size
            finally:
                with contextlib.suppress(asyncssh.Error, OSError):
                    async with asyncio.timeout(self._timeout):
                        await file.close()
            if there != size:
                raise failed(path, t("the size differs after the transfer", "传输后大小不符"))

    async def rename(self, old: str, new: str, *, replace: bool) -> None:
        async with self._errors(new) as session:
            source, target = self._path(old), self._path(new)
            if replace:
                try:
                    await session.posix_rename(source, target)
                    return
                except asyncssh.SFTPOpUnsupported:
                    with contextlib.suppress(asyncssh.SFTPNoSuchFile):
                        await session.remove(target)
            elif await session.lexists(target):  # servers say no more than "failure", or overwrite
                raise AlreadyThere(t(f"{shown(new)} exists", f"{shown(new)} 已存在"))
            await session.rename(source, target)

    async def remove(self, path: str) -> None:
        with contextlib.suppress(FileMissing):
            async with self._errors(path) as session:
                await session.remove(self._path(path))

    async def make_folders(self, folder: str) -> None:
        made = ""
        for part in check_path(folder).split("/") if folder else ():
            made = f"{made}/{part}" if made else part
            async with self._errors(made) as session:
                try:
                    await session.mkdir(self._path(made))
                except asyncssh.SFTPError:
                    if _entry(made, await session.lstat(self._path(made))).kind != "folder":
                        raise

    # -- calls ---------------------------------------------------------------------------------------------------

    def _path(self, path: str) -> bytes:
        check_path(path)
        try:
            below = path.encode(self._charset, "surrogateescape")
        except UnicodeEncodeError as error:
            text = t(f"the name can't be written in {self._charset}", f"文件名无法用 {self._charset} 表示")
            raise PermanentError(text, code="file.name") from error
        return self._base + b"/" + below if below else self._base

    @contextlib.asynccontextmanager
    async def _errors(self, path: str, *, limited: bool = True) -> AsyncIterator[asyncssh.SFTPClient]:
        """The session; what goes wrong with it in the words of all places, and within the time limit."""
        session = self._session
        if session is None:
            raise unreachable(self._address, t("not connected", "未连接"))
        try:
            async with asyncio.timeout(self._timeout if limited else None):
                yield session
        except TimeoutError as error:
            raise no_answer(self._address, self._timeout) from error
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath) as error:
            raise FileMissing(t(f"{shown(path)} does not exist", f"{shown(path)} 不存在")) from error
        except asyncssh.SFTPFileAlreadyExists as error:
            raise AlreadyThere(t(f"{shown(path)} exists", f"{shown(path)} 已存在")) from error
        except (asyncssh.SFTPPermissionDenied, asyncssh.SFTPWriteProtect) as error:
            raise forbidden(path) from error
        except (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded) as error:
            raise full(path) from error
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection) as error:
            raise self._lost(error) from error
        except asyncssh.SFTPError as error:
            # Version 3 of the protocol has one word, "failure", for a full disk and much else.
            raise failed(path, error.reason) from error
        except (asyncssh.Error, OSError) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> SendError:
        told = _told(error)
        return TransientError(
            t(f"connection to {self._address} lost: {told}", f"与 {self._address} 的连接中断：{told}"), code="file.lost"
        )


class _SftpContent(Content):
    def __init__(self, files: SftpFiles, path: str, file: Any, at: int) -> None:
        self._files, self._path, self._file, self._at = files, path, file, at

    async def read(self, size: int) -> bytes:
        async with self._files._errors(self._path):
            block: bytes = await self._file.read(size, self._at)
        self._at += len(block)
        return block

    async def close(self) -> None:
        with contextlib.suppress(SendError):
            async with self._files._errors(self._path):
                await self._file.close()


def _entry(path: str, attrs: asyncssh.SFTPAttrs) -> Entry:
    kind = _KINDS.get(attrs.type, "other")
    if attrs.type == asyncssh.FILEXFER_TYPE_UNKNOWN and attrs.permissions is not None:
        kind = kind_of(attrs.permissions)
    modified = float(attrs.mtime or 0)
    return Entry(path, kind, attrs.size or 0, modified, f"{modified:.0f}")


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)[:200] or type(error).__name__
