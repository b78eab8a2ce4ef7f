"""What goes wrong with the audit trail."""

from __future__ import annotations

from pathlib import Path

from hub.errors import HubError, StoreBusy
from hub.i18n import t

__all__ = ["AuditUnreadable", "AuditUnwritable", "unreadable", "unwritable"]


class AuditUnwritable(StoreBusy):
    """The entry can't be written, so that what it would tell of must not be done."""

    code = "audit.unwritable"


class AuditUnreadable(HubError):
    """A part of the trail can't be read."""

    code = "audit.unreadable"


def unwritable(path: Path, error: Exception) -> AuditUnwritable:
    return AuditUnwritable(
        t(f"the audit trail {path} can't be written: {error}", f"审计记录 {path} 无法写入：{error}"),
        code="audit.unwritable",
        remedy=t(
            "free disk space or repair the disk; without an entry nothing is done",
            "请释放磁盘空间或修复磁盘；未记入审计的操作不予执行",
        ),
    )


def unreadable(path: Path, error: Exception) -> AuditUnreadable:
    return AuditUnreadable(
        t(f"{path} can't be read: {error}", f"无法读取 {path}：{error}"),
        remedy=t("restore the file from the last backup", "请用最近的备份恢复该文件"),
    )
