"""Writing new files: all of them, or none where one is there already."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hub.errors import HubError
from hub.i18n import t

__all__ = ["write_new"]


def write_new(files: Mapping[Path, str]) -> list[Path]:
    """Write these files, with their folders; raises :class:`HubError`, and writes nothing, when one exists already."""
    there = [str(file) for file in files if file.exists() or file.is_symlink()]
    if there:
        text = ", ".join(there)
        raise HubError(
            t(f"is there already: {text}", f"已存在：{text}"),
            code="new.exists",
            remedy=t("choose another id, or move the file away", "请换一个编号，或移走该文件"),
        )
    try:
        for file, text in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8", newline="\n") as stream:  # x: also when it appeared since
                stream.write(text)
    except OSError as error:
        raise HubError(
            t(f"{file} can't be written: {error.strerror}", f"无法写入 {file}：{error.strerror}"),
            code="new.write",
            remedy=t("check the path and its permissions", "请检查路径及权限"),
        ) from None
    return list(files)
