"""Opening a worker's folder: what must be there, what may be left over, what is damaged."""

from __future__ import annotations

import logging
from pathlib import Path

import apsw

from hub.i18n import t
from hub.store.catalog import Catalog
from hub.store.files import (
    MAKING,
    REMOVED,
    check_file,
    checked,
    corrupt,
    create_file,
    migrate,
    open_writable,
    quick_check,
    remove_file,
)
from hub.store.segment import CATALOG_NAME, SegmentFile, list_segments, segment_path
from hub.store.segment_writer import SegmentWriter
from hub.store.segments import Entry, SegmentSet
from hub.store.values import Values

__all__ = ["LOST_SUFFIX", "open_folder"]

log = logging.getLogger(__name__)

#: An empty file beside a missing segment, named like it with this suffix instead of ``.db``: an operator gives it up.
LOST_SUFFIX = ".lost"


def open_folder(folder: Path, segment_messages: int, values: Values) -> tuple[Catalog, SegmentSet, int, int]:
    """Open or create the files of a folder; returns them with the highest seq and the highest id ever stored.

    Raises :class:`hub.errors.StoreCorrupt` naming the file that is damaged or missing, and :class:`hub.errors.HubError` when the
    store is encrypted and its keys are not there.
    """
    path = folder / CATALOG_NAME
    found = list_segments(folder)
    if found and not path.exists():
        raise corrupt(path, t("missing, though there are segments", "缺失，但存在分段文件"))
    catalog = Catalog(path)
    try:
        clean = catalog.clean
        values.prepare(catalog.connection)
        _tidy_up(folder, catalog, values)
        firsts = _compare(folder, catalog)
        catalog.clean = False
        if not firsts:
            create_file(segment_path(folder, 0), "segment")
            catalog.add_segment(0)
            firsts = [0]
        seq, highest = catalog.highest_pruned()
        highest = max(highest, *catalog.segments())  # a segment given up must not come back under its own name
        entries: list[Entry] = []
        for first_id in firsts[:-1]:
            writer = _open(segment_path(folder, first_id), first_id, newest=False, clean=clean, values=values)
            entries.append(_entry(writer))
            seq, highest = max(seq, writer.seq_max), max(highest, writer.highest_id())
            writer.close()
        current = _open(segment_path(folder, firsts[-1]), firsts[-1], newest=True, clean=clean, values=values)
        if values.sealing and current.highest_id() == 0:
            current.mark_sealed()
        entries.append(_entry(current))
        seq, highest = max(seq, current.seq_max), max(highest, current.highest_id())
        return catalog, SegmentSet(folder, catalog, entries, current, segment_messages, values), seq, highest
    except BaseException:
        catalog.close()
        raise


def _entry(writer: SegmentWriter) -> Entry:
    return Entry(writer.first_id, writer.path, writer.messages, writer.seq_max, writer.received_max)


def _tidy_up(folder: Path, catalog: Catalog, values: Values) -> None:
    """Finish what a crash interrupted: files being made or being deleted."""
    removing = [first_id for first_id, state in catalog.segments().items() if state == Catalog.REMOVING]
    for first_id in removing:
        file = SegmentFile(segment_path(folder, first_id), first_id, None)
        for path in (file.keys_path, file.text_path, file.path):
            remove_file(path)
        values.bodies.remove_segment(first_id)
    for prefix in (MAKING, REMOVED):
        for path in folder.glob(f"{prefix}*.db"):
            remove_file(path)
    for first_id in removing:
        catalog.drop_segment(first_id)


def _compare(folder: Path, catalog: Catalog) -> list[int]:
    """First ids of the segments, oldest first, after comparing the folder with the catalog."""
    known = catalog.segments()
    present = {segment.first_id for segment in list_segments(folder)}
    for first_id, state in known.items():
        if first_id in present or state == Catalog.LOST:
            continue
        path = segment_path(folder, first_id)
        marker = path.with_suffix(LOST_SUFFIX)
        if not marker.exists():
            raise corrupt(
                path,
                t("the file is missing", "文件缺失"),
                t(
                    f"restore it from the last backup; to go on without its messages, create an empty file {marker.name} "
                    "in the folder and start again (the ledger will report the loss)",
                    f"请用最近的备份恢复；如要放弃其中的消息，请在该目录中创建空文件 {marker.name} 后重新启动（台账将报告此损失）",
                ),
            )
        log.warning("%s is given up: %s exists", path.name, marker.name)
        catalog.give_up(first_id)
    for first_id in sorted(present):
        if known.get(first_id) != Catalog.PRESENT:
            path = segment_path(folder, first_id)
            check_file(path)
            log.warning("%s was not in the catalog, or given up, and is taken into it", path.name)
            catalog.add_segment(first_id)
    return sorted(present)


def _open(path: Path, first_id: int, *, newest: bool, clean: bool, values: Values) -> SegmentWriter:
    check_file(path)
    connection: apsw.Connection | None = None
    try:
        connection = open_writable(path)
        version = checked(path, "segment", connection)
        if newest and not clean:
            quick_check(path, connection)
        migrate(path, "segment", connection, version)
        if not clean:
            values.bodies.sweep(first_id, connection)
        writer = SegmentWriter(path, first_id, connection, values)
        writer.load_summary(trust=clean or not newest)
    except (apsw.NotADBError, apsw.CorruptError) as error:
        if connection is not None:
            connection.close()
        raise corrupt(path, t(f"damaged: {error}", f"已损坏：{error}")) from error
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    writer.sealed = not newest
    return writer
