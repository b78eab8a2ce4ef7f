"""Secrets are never written into configuration: a setting holds a reference to where the value is kept.

``env:NAME`` is an environment variable, ``file:PATH`` a file only its owner may read, relative to the file that names it, ``key:NAME`` a
key of the key store (:mod:`hub.keys`), ``key:NAME@VERSION`` one version of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

from hub.errors import HubError
from hub.i18n import t

__all__ = ["MAX_SECRET_BYTES", "Secret", "made_once", "resolve"]

#: Largest secret file, bytes: a private key or a certificate chain fits.
MAX_SECRET_BYTES = 64 << 10

_MASKED = "***"
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Secret(str):
    """Text that does not show itself: ``repr`` gives ``***``, ``str()`` and formatting refuse.

    Refusing is the safe choice: a masked text would travel on as if it were the password. :meth:`reveal` gives the value;
    so do concatenation and ``encode``, which code that uses a secret needs anyway.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Secret({_MASKED})"

    def __str__(self) -> str:
        raise TypeError("a secret does not show itself; use reveal() where its value is needed")

    def __format__(self, spec: str) -> str:
        return str(self)

    def reveal(self) -> str:
        """The value as plain text."""
        return "".join(self)


def resolve(reference: object, base: Path, keys: Callable[[str], Secret] | None = None) -> Secret:
    """The secret a reference stands for; ``base`` is the folder relative paths start from, ``keys`` finds what ``key:`` names.

    Raises :class:`HubError` with a remedy, and never with the reference itself, which may be a secret written by mistake.
    """
    kind, _, rest = reference.partition(":") if isinstance(reference, str) else ("", "", "")
    if kind == "env":
        return _from_environment(rest.strip())
    if kind == "file":
        return _from_file(rest.strip(), base)
    if kind == "key":
        if keys is None:
            raise HubError(
                t("the key store can't be used here", "此处不能使用密钥库"),
                code="secret.reference",
                remedy=t("write env:NAME or file:PATH", "请写 env:变量名 或 file:路径"),
            )
        return keys(rest.strip())
    raise HubError(
        t("a secret must not be written here", "此处不得直接写入密钥"),
        code="secret.literal",
        remedy=t(
            "put it in a file that only its owner may read and write file:PATH, or write env:NAME",
            "请放入仅属主可读的文件并写 file:路径，或写 env:变量名",
        ),
    )


def made_once(path: Path, make: Callable[[], bytes]) -> bytes:
    """The content of a file that whoever needs it first makes; only its owner can read it.

    Processes start at the same moment and power fails at any: the name appears with its content, on the disk, and the first
    one wins. Raises :class:`HubError`.
    """
    made = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with contextlib.suppress(FileNotFoundError):
            return path.read_bytes()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(make())
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(made, path)
        finally:
            made.unlink(missing_ok=True)
        _sync(path.parent)
        return path.read_bytes()
    except OSError as error:
        raise HubError(
            t(f"{path} can't be read or made: {error.strerror}", f"无法读取或创建 {path}：{error.strerror}"),
            code="secret.file",
            remedy=t(
                "check that the disk has room and that the hub may write to the folder",
                "请检查磁盘空间以及枢纽对该目录的写权限",
            ),
        ) from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _from_environment(name: str) -> Secret:
    if not _ENV_NAME.fullmatch(name):
        raise HubError(
            t("env: is not followed by the name of a variable", "env: 后应为变量名"),
            code="secret.reference",
            remedy=t("write e.g. env:HIS_TOKEN", "例如 env:HIS_TOKEN"),
        )
    value = os.environ.get(name, "")
    if not value:
        raise HubError(
            t(f"the environment variable {name} is not set", f"环境变量 {name} 未设置"),
            code="secret.missing",
            remedy=t(
                f"set {name} for the hub's process, or write file:PATH", f"请为枢纽进程设置 {name}，或写 file:路径"
            ),
        )
    return Secret(value)


def _from_file(name: str, base: Path) -> Secret:
    if not name:
        raise HubError(
            t("file: is not followed by a path", "file: 后缺少路径"),
            code="secret.reference",
            remedy=t("write e.g. file:secrets/his_token", "例如 file:secrets/his_token"),
        )
    path = base / name
    try:
        with open(path, "rb", opener=_open_without_waiting) as stream:
            facts = os.fstat(stream.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise HubError(
                    t(f"{path} is not a regular file", f"{path} 不是普通文件"),
                    code="secret.file",
                    remedy=t("name a file that holds the secret", "请指定存放密钥的文件"),
                )
            if os.name == "posix" and facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise HubError(
                    t(f"others than its owner can read {path}", f"{path} 可被属主以外的用户读取"),
                    code="secret.permissions",
                    remedy=f"chmod 600 {path}",
                )
            raw = stream.read(MAX_SECRET_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise HubError(
            t(f"{path} can't be read: {reason}", f"无法读取 {path}：{reason}"),
            code="secret.file",
            remedy=t("put the secret there, readable by the hub's user only", "请将密钥放在该处，且仅枢纽运行用户可读"),
        ) from None
    if len(raw) > MAX_SECRET_BYTES:
        raise HubError(
            t(f"{path} is larger than {MAX_SECRET_BYTES >> 10} KB", f"{path} 超过 {MAX_SECRET_BYTES >> 10} KB"),
            code="secret.file",
            remedy=t("name a file that holds nothing but the secret", "请指定仅含密钥的文件"),
        )
    try:
        value = raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise HubError(
            t(f"{path} is not UTF-8 text", f"{path} 不是 UTF-8 文本"),
            code="secret.file",
            remedy=t("store the secret as text, e.g. PEM or Base64", "请以文本保存密钥，如 PEM 或 Base64"),
        ) from None
    if not value:
        raise HubError(
            t(f"{path} is empty", f"{path} 为空"),
            code="secret.missing",
            remedy=t("write the secret into it", "请写入密钥"),
        )
    return Secret(value)


def _open_without_waiting(path: str, flags: int) -> int:
    """A named pipe would wait for a writer for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
