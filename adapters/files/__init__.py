"""Folders of this machine, of FTP and of SFTP servers: files that are read, and files that are written."""

from adapters.files.adapter import FileAdapter, FtpAdapter, SftpAdapter

__all__ = ["FileAdapter", "FtpAdapter", "SftpAdapter"]
