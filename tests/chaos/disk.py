"""Disks that fail on demand. Those that have to be mounted are there only where the tests may mount."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

__all__ = ["Ext4Disk", "LimitedDisk", "TmpfsDisk", "may_mount", "may_mount_images"]

_FILLER = "filler"


class LimitedDisk:
    """No process of the hub can write another byte to a file (RLIMIT_FSIZE). Needs no privilege."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._limited: list[int] = []

    def fill(self, pids: Iterable[int]) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
            self._limited.append(pid)

    def free(self) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        for pid in self._limited:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        self._limited.clear()

    def remove(self) -> None:
        self.free()


class TmpfsDisk:
    """A small file system in memory that is filled to the last byte."""

    def __init__(self, folder: Path, size_mb: int = 192) -> None:
        folder.mkdir()
        self.folder = folder
        _run("mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder))

    def fill(self, pids: Iterable[int] = (), *, leave: int = 0) -> None:
        """Leave so many bytes free."""
        with (self.folder / _FILLER).open("ab", buffering=0) as file:
            for piece in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while shutil.disk_usage(self.folder).free >= leave + piece:
                        file.write(bytes(piece))

    def free(self) -> None:
        (self.folder / _FILLER).unlink(missing_ok=True)

    def remove(self) -> None:
        _run("umount", "-l", str(self.folder))


class Ext4Disk:
    """A real file system that finds itself damaged and turns read-only, as ext4 does; a repair has to unmount it."""

    def __init__(self, folder: Path, size_mb: int = 64) -> None:
        folder.mkdir()
        self.folder = folder
        self._image = folder.with_suffix(".img")
        with self._image.open("wb") as file:
            file.truncate(size_mb << 20)
        _run("mkfs.ext4", "-q", "-F", str(self._image))
        self._mount()

    def _mount(self) -> None:
        _run("mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.folder))

    def fill(self, pids: Iterable[int] = ()) -> None:
        """Make it read-only at once, open files included."""
        device = os.stat(self.folder).st_dev
        name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
        Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("test")

    def repair(self) -> None:
        """With no process on it any more."""
        _run("umount", str(self.folder))
        done = subprocess.run(["e2fsck", "-f", "-y", str(self._image)], capture_output=True, check=False)
        assert done.returncode in (0, 1), done.stdout
        self._mount()

    def remove(self) -> None:
        _run("umount", "-l", str(self.folder))


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"


@cache
def may_mount() -> bool:
    """Whether this process has CAP_SYS_ADMIN in the sense that counts: a mount is granted."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    return _tried("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs")


@cache
def may_mount_images() -> bool:
    """Whether images can be mounted, too."""
    if not may_mount() or shutil.which("mkfs.ext4") is None or not Path("/dev/loop-control").exists():
        return False
    return Path("/sys/fs/ext4").is_dir()


def _tried(*mount: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run([*mount, folder], capture_output=True, check=False).returncode:
            return False
        subprocess.run(["umount", folder], capture_output=True, check=False)
    return True
