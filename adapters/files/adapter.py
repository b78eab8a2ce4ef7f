"""The adapters ``file``, ``ftp`` and ``sftp``: the same reading and writing, at three kinds of place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from adapters.files.backend import Backend
from adapters.files.ftp import FtpFiles
from adapters.files.local import LocalFiles
from adapters.files.options import (
    FileConnect,
    FileListen,
    FtpConnect,
    FtpListen,
    FtpPlace,
    LocalPlace,
    SftpConnect,
    SftpListen,
    SftpPlace,
)
from adapters.files.receiver import FilesReceiver
from adapters.files.sender import FilesSender
from adapters.files.sftp import SftpFiles
from adapters.tls import client_context
from hub.api import Adapter, Bound, IntakePort, Receiver, Sender

if TYPE_CHECKING:
    from hub.simulator.counterpart import Counterpart

__all__ = ["FileAdapter", "FtpAdapter", "SftpAdapter"]

Connect = Callable[[], Backend]


class FileAdapter(Adapter):
    """Folders of this machine."""

    name = "file"
    listen_options = FileListen
    reads_source = True
    connect_options = FileConnect

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return FilesReceiver(bound, intake, *_local(cast(FileListen, bound.options)))

    def sender(self, bound: Bound) -> Sender:
        return FilesSender(bound, *_local(cast(FileConnect, bound.options)))

    def counterpart(self) -> Counterpart:
        from adapters.files.counterpart import FileCounterpart  # a hub that runs needs none

        return FileCounterpart()


class FtpAdapter(Adapter):
    """FTP servers, over TLS unless told otherwise."""

    name = "ftp"
    listen_options = FtpListen
    reads_source = True
    connect_options = FtpConnect

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return FilesReceiver(bound, intake, *_ftp(cast(FtpListen, bound.options)))

    def sender(self, bound: Bound) -> Sender:
        return FilesSender(bound, *_ftp(cast(FtpConnect, bound.options)))


class SftpAdapter(Adapter):
    """SFTP servers."""

    name = "sftp"
    listen_options = SftpListen
    reads_source = True
    connect_options = SftpConnect

    def receiver(self, bound: Bound, intake: IntakePort) -> Receiver:
        return FilesReceiver(bound, intake, *_sftp(cast(SftpListen, bound.options)))

    def sender(self, bound: Bound) -> Sender:
        return FilesSender(bound, *_sftp(cast(SftpConnect, bound.options)))


def _local(place: LocalPlace) -> tuple[Connect, str]:
    return lambda: LocalFiles(place.root, place.names), place.root


def _ftp(place: FtpPlace) -> tuple[Connect, str]:
    """The TLS files are read when the first connection is made, and named in the error when one can't be used."""

    def connect() -> Backend:
        return FtpFiles(
            place.host,
            place.at_port,
            place.root,
            user=place.user,
            password=place.password.get_secret_value(),
            charset=place.names,
            context=None if place.encryption == "none" else client_context(place.tls),
            server_name=place.tls.server_name,
            implicit=place.encryption == "implicit",
            connect_timeout=place.connect_timeout,
            timeout=place.timeout,
        )

    return connect, f"{'ftp' if place.encryption == 'none' else 'ftps'}://{place.host}:{place.at_port}/{place.root}"


def _sftp(place: SftpPlace) -> tuple[Connect, str]:
    def connect() -> Backend:
        return SftpFiles(
            place.host,
            place.port,
            place.root,
            user=place.user,
            password=place.password.get_secret_value(),
            key=place.key,
            key_password=place.key_password.get_secret_value(),
            known_hosts=place.known_hosts,
            fingerprints=place.host_keys,
            charset=place.names,
            connect_timeout=place.connect_timeout,
            timeout=place.timeout,
        )

    return connect, f"sftp://{place.host}:{place.port}/{place.root}"
