"""Size and soundness of a folder's files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import apsw

from hub.errors import StoreCorrupt
from hub.i18n import t
from hub.store.files import check_file
from hub.store.search import index_lag
from hub.store.segment import CATALOG_NAME, SegmentFile, open_read_only
from hub.store.sql import all_rows, scalar

__all__ = ["check_folder", "measure"]

_MOST_FINDINGS = 20


def measure(segments: Sequence[SegmentFile]) -> dict[str, int]:
    """``messages``, ``bytes`` on the disk, ``segments``, ``key_lag`` and ``text_lag`` (messages not yet indexed), and ``unsealed``.

    That is the number of messages in segments that may hold plain rows, where the store is, or has been, encrypted; else 0.
    """
    totals = {"messages": 0, "bytes": 0, "segments": len(segments), "text_lag": 0, "key_lag": 0, "unsealed": 0}
    encrypted = bool(segments and segments[0].values.index_vfs)
    for place, segment in enumerate(segments):
        connection = segment.connection()
        messages = None
        if place < len(segments) - 1:
            messages = scalar(connection, "SELECT value FROM meta WHERE key = 'messages'")
        if messages is None:
            # Numbers have no gaps but for what was pruned; counting rows would read the whole index every few seconds.
            messages = scalar(
                connection,
                "SELECT coalesce((SELECT seq FROM message ORDER BY id DESC LIMIT 1)"
                " - (SELECT seq FROM message ORDER BY id LIMIT 1) + 1, 0)",
            )
        totals["messages"] += messages
        if encrypted and scalar(connection, "SELECT 1 FROM meta WHERE key = 'sealed'") is None:
            totals["unsealed"] += messages
        for path in (segment.path, segment.keys_path, segment.text_path):
            totals["bytes"] += sum(_size(path.with_name(path.name + suffix)) for suffix in ("", "-wal"))
    for folder in {segment.path.parent: segment for segment in segments}.values():
        totals["bytes"] += folder.values.bodies.size()
    totals["key_lag"], totals["text_lag"] = index_lag(segments)
    return totals


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def check_folder(folder: Path, segments: Sequence[SegmentFile], progress: Callable[[int, int], None]) -> list[str]:
    """SQLite's full integrity check of every file; findings name the file. Empty when everything is sound."""
    paths = [folder / CATALOG_NAME, *(segment.path for segment in segments)]
    indexes = [path for segment in segments for path in (segment.keys_path, segment.text_path) if path.exists()]
    vfs = segments[0].values.index_vfs if segments else ""
    paths += indexes
    sizes = [_size(path) for path in paths]
    findings: list[str] = []
    done = 0
    for path, size in zip(paths, sizes, strict=True):
        findings += [f"{path.name}: {finding}" for finding in _check(path, vfs if path in indexes else "")]
        done += size
        progress(done, sum(sizes))
    for segment in segments:
        try:
            missing = list(islice(segment.values.bodies.missing(segment.connection()), _MOST_FINDINGS))
        except apsw.Error:  # told above
            continue
        findings += [
            t(f"{segment.path.name}: body file missing: {name}", f"{segment.path.name}：缺少正文文件：{name}")
            for name in missing
        ]
    return findings


def _check(path: Path, vfs: str) -> list[str]:
    """``vfs``: of a sealed index, which has no header that could be looked at without it."""
    try:
        if not vfs:
            check_file(path)
        connection = open_read_only(path, vfs)
    except StoreCorrupt as error:
        return [error.text]
    except apsw.Error as error:
        return [t(f"can't be opened: {error}", f"无法打开：{error}")]
    try:
        rows = all_rows(connection, f"PRAGMA integrity_check({_MOST_FINDINGS})")
        return [str(row[0]) for row in rows if row[0] != "ok"]
    except apsw.Error as error:
        return [t(f"damaged: {error}", f"已损坏：{error}")]
    finally:
        connection.close()
