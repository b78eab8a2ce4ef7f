"""Reading folders: which files, in which order, what becomes of them, and nothing lost or twice wherever the process dies."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.files.options import FileListen
from hub.api import HubError, SendError
from hub.codecs.jsonl_codec import JsonLinesCodec
from tests.adapters.files_support import Crash, Folder, csv


def reason(folder: Folder, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder.root / "error" / f"{name}.reason.json").read_text())
    return found


# -- which, and in which order ------------------------------------------------------------------------------------


async def test_files_are_taken_by_name_and_archived(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for name in ("b.dat", "a.dat", "c.dat.tmp", ".d.dat", "~e.dat"):
        folder.put(name, name.encode())
    run = await folder.run()
    assert folder.intake.raws == [b"a.dat", b"b.dat"]
    assert (run.taken, run.refused, folder.intake.commits) == (2, 0, 1)
    assert list(folder.files()) == [".d.dat", "archive/x/a.dat", "archive/x/b.dat", "c.dat.tmp", "~e.dat"]
    params = folder.intake.items[0].params
    assert params is not None
    assert params["file"] == "a.dat"
    assert (await folder.run()).taken == 0


async def test_order_by_time_and_patterns(tmp_path: Path) -> None:
    folder = Folder(tmp_path, order="time", match=["*.CSV", "x?.txt"], case=False)
    for age, name in enumerate(("z.csv", "x1.TXT", "a.csv", "no.xml")):
        os.utime(folder.put(name, name.encode()), (1000 - age, 1000 - age))
    await folder.run()
    assert folder.intake.raws == [b"a.csv", b"x1.TXT", b"z.csv"]


async def test_folders_below_as_deep_as_told_and_never_the_own_ones(tmp_path: Path) -> None:
    folder = Folder(tmp_path, recurse=1, archive="done/%Y/x", error="bad")
    for name in ("a", "one/b", "one/two/c", "done/2020/x/d", "bad/e"):
        folder.put(name, name.encode())
    await folder.run()
    assert folder.intake.raws == [b"a", b"one/b"]
    assert [name for name in folder.files() if name.endswith("/x/one/b")]


async def test_links_pipes_and_devices_are_left_alone(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "s").write_bytes(b"secret")
    root = tmp_path / "in"
    root.mkdir()
    (root / "file").symlink_to(secret / "s")
    (root / "folder").symlink_to(secret)
    os.mkfifo(root / "pipe")
    folder = Folder(root, recurse=3)
    folder.put("good", b"good")
    await folder.run()
    assert folder.intake.raws == [b"good"]
    (root / "archive" / "x" / "good").unlink()
    (root / "archive" / "x").rmdir()
    (root / "archive" / "x").symlink_to(secret)
    folder.put("good", b"again")
    with pytest.raises(SendError):
        await folder.run()
    assert sorted(os.listdir(secret)) == ["s"]


async def test_names_that_are_no_text_are_refused_and_stay_readable(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    raw = os.fsencode(tmp_path) + "/检验.csv".encode("gb18030")
    Path(os.fsdecode(raw)).write_bytes(b"x")
    folder.put("line\nend", b"y")
    run = await folder.run()
    assert (run.taken, run.refused) == (0, 2)
    assert os.fsdecode("检验.csv".encode("gb18030")) in os.listdir(tmp_path / "error")
    assert {error.code for error in folder.intake.refusals} == {"file.name"}
    assert all(error.text.isprintable() for error in folder.intake.refusals)


# -- whole files only ---------------------------------------------------------------------------------------------


async def test_a_growing_file_is_left_until_two_looks_agree(tmp_path: Path) -> None:
    folder = Folder(tmp_path, complete={"by": "stable", "settle": "50ms"})
    path = folder.put("a", b"1")
    reading = asyncio.create_task(folder.run())
    while not folder.receiver.memory.look._last:
        await asyncio.sleep(0)
    path.write_bytes(b"12")
    assert (await reading).taken == 0
    assert (await folder.run()).taken == 1
    assert folder.intake.raws == [b"12"]


@pytest.mark.parametrize("marker", ["{name}.ok", "{stem}.done"])
async def test_a_marker_file_says_that_a_file_is_whole(tmp_path: Path, marker: str) -> None:
    folder = Folder(tmp_path, complete={"by": "marker", "marker": marker})
    folder.put("a.csv", b"1")
    folder.put("b.csv", b"2")
    folder.put(marker.format(name="b.csv", stem="b"), b"")
    await folder.run()
    assert folder.intake.raws == [b"2"]
    assert list(folder.files()) == ["a.csv", "archive/x/b.csv"]


# -- afterwards ---------------------------------------------------------------------------------------------------


async def test_the_archive_is_never_overwritten(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for number in range(3):
        folder.put("a.tar.gz", b"%d" % number)
        await folder.run()
        folder.restart()
    assert folder.files() == {f"archive/x/a.tar{end}.gz": b"%d" % n for n, end in enumerate(("", "~1", "~2"))}


async def test_a_move_that_ended_in_the_middle_is_done_to_its_end(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put("archive/x/a", b"an older one")
    folder.put("a", b"1")

    def step() -> None:
        if folder.intake.commits:
            raise Crash

    folder.intake.step = step
    with pytest.raises(Crash):
        await folder.run()
    os.link(tmp_path / "a", tmp_path / "archive" / "x" / "a~1")
    folder.intake.step = lambda: None
    folder.restart()
    await folder.run()
    assert folder.files() == {"archive/x/a": b"an older one", "archive/x/a~1": b"1"}
    assert folder.intake.raws == [b"1"]


async def test_delete_and_rename(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "d", after="delete")
    folder.put("a")
    await folder.run()
    assert folder.files() == {}
    folder = Folder(tmp_path / "r", after="rename", rename_to="{stem}.done{ext}")
    folder.put("a.csv")
    await folder.run()
    await folder.run()
    assert folder.files() == {"a.done.csv": b"x"}
    assert len(folder.intake.items) == 1


async def test_files_that_are_left_are_remembered_and_forgotten_when_gone(tmp_path: Path) -> None:
    folder = Folder(tmp_path, after="leave", error="", page=100)
    for number in range(1234):
        folder.put(f"{number:04}", b"%d" % number)
    assert (await folder.run()).taken == 1234
    folder.restart()
    assert (await folder.run()).taken == 0
    assert max(len(mark) for mark in folder.intake.marks.values()) < 20_000
    for path in list(tmp_path.iterdir())[:1000]:
        path.unlink()
    folder.put("0000", b"new content")
    folder.restart()
    assert (await folder.run()).taken == 1
    state = folder.receiver.memory.state
    assert state is not None
    assert len(state.known) == len(os.listdir(tmp_path))


async def test_a_file_that_cannot_be_moved_is_not_taken_again_and_does_not_stop_others(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put("archive", b"in the way")  # a file where the folder should be
    folder.put("b", b"b")
    with pytest.raises(SendError):
        await folder.run()
    folder.put("c", b"c")
    folder.restart()
    with pytest.raises(SendError):
        await folder.run()
    assert folder.intake.raws == [b"in the way", b"b", b"c"]
    (tmp_path / "archive").rename(tmp_path / "z.tmp")
    folder.restart()
    await folder.run()
    assert (list(folder.files()), len(folder.intake.items), folder.intake.again) == (
        ["archive/x/b", "archive/x/c", "z.tmp"],
        3,
        0,
    )


async def test_a_failure_that_stays_is_told_once(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put("archive", b"in the way")
    with pytest.raises(SendError):
        await folder.run()
    folder.put("b", b"b")
    with pytest.raises(SendError):  # of another file
        await folder.run()
    assert (await folder.run()).taken == 0
    assert folder.receiver.status()["files_not_moved"] == 2


async def test_a_name_to_which_no_answer_can_be_named_is_refused_at_once(tmp_path: Path) -> None:
    folder = Folder(tmp_path, records={"by": "lines"}, answer={})
    folder.put("n" * 240, b"1\n")
    folder.put("o", b"2\n")
    run = await folder.run()
    assert (folder.intake.raws, run.refused) == ([b"2\n"], 1)
    assert (tmp_path / "error" / ("n" * 240)).exists()


async def test_answers_that_cannot_be_written_are_written_later(tmp_path: Path) -> None:
    folder = Folder(tmp_path, records={"by": "lines"}, page=1, answer={})
    folder.put("a", b"1\nbad\n3\n")
    (tmp_path / "answer").symlink_to(tmp_path)  # in the way
    with pytest.raises(SendError):
        await folder.run()
    (tmp_path / "answer").unlink()
    await folder.run()
    assert (folder.intake.raws, folder.intake.again) == ([b"1\n", b"3\n"], 0)
    lines = (tmp_path / "answer" / "a.answer.csv").read_text().splitlines()
    assert [line.split(",")[2] for line in lines[1:]] == ["stored", "refused", "accepted"]


async def test_refused_files_go_aside_with_the_reason(tmp_path: Path) -> None:
    folder = Folder(tmp_path, max_size=100)
    folder.put("a", b"bad")
    folder.put("b", b"")
    folder.put("c", b"y" * 101)
    folder.put("d", b"good")
    run = await folder.run()
    assert (run.taken, run.refused) == (1, 3)
    assert reason(folder, "a") | {"time": ""} == {
        "file": "a",
        "time": "",
        "code": "text.bad",
        "reason": "byte 0: it says bad",
        "remedy": "say good",
    }
    assert reason(folder, "c")["code"] == "file.too_large"
    assert (tmp_path / "error" / "b").exists()


# -- names --------------------------------------------------------------------------------------------------------

NAMING = {
    "pattern": r"LIS_(?P<day>\d{8})_(?P<number>\d+)\.csv",
    "date": "day",
    "sequence": "number",
    "per": "day",
    "start": 1,
}


async def test_names_are_checked(tmp_path: Path) -> None:
    folder = Folder(tmp_path, naming=NAMING)
    for name in ("LIS_20260115_1.csv", "LIS_20260115_3.csv", "other.csv", "LIS_20261315_1.csv", "LIS_29990101_1.csv"):
        folder.put(name, name.encode())
    run = await folder.run()
    assert (run.taken, run.refused) == (1, 4)
    assert reason(folder, "LIS_20260115_3.csv")["code"] == "file.name.gap"
    assert reason(folder, "other.csv")["code"] == "file.name.pattern"
    assert {reason(folder, name)["code"] for name in ("LIS_20261315_1.csv", "LIS_29990101_1.csv")} == {"file.name.date"}
    params = folder.intake.items[0].params
    assert params is not None
    assert (params["day"], params["number"]) == ("20260115", "1")
    folder.restart()
    for name in ("LIS_20260115_1.csv", "LIS_20260115_2.csv", "LIS_20260116_1.csv"):
        folder.put(name, b"more")
    run = await folder.run()
    assert (run.taken, run.refused) == (2, 1)
    assert reason(folder, "LIS_20260115_1.csv")["code"] == "file.name.repeated"


async def test_files_wait_for_those_before_them(tmp_path: Path) -> None:
    folder = Folder(tmp_path, naming={**NAMING, "gaps": "wait"})
    folder.put("LIS_20260115_2.csv", b"2")
    assert (await folder.run()).details == {"waiting": "1"}
    folder.put("LIS_20260115_1.csv", b"1")
    await folder.run()
    assert folder.intake.raws == [b"1", b"2"]


async def test_the_number_of_a_refused_file_may_come_again(tmp_path: Path) -> None:
    folder = Folder(tmp_path, naming=NAMING)
    folder.put("LIS_20260115_1.csv", b"bad")
    await folder.run()
    folder.put("LIS_20260115_1.csv", b"good")
    await folder.run()
    assert folder.intake.raws == [b"good"]


# -- records ------------------------------------------------------------------------------------------------------


async def test_a_table_becomes_messages_and_an_answer(tmp_path: Path) -> None:
    folder = Folder(tmp_path, csv(columns=["id", "name"]), records={"by": "lines"}, page=2, answer={})
    folder.put("a.csv", 'id,name\r\n1,张三\r\n2,"line\r\nend"\r\n\r\n3,a,b\r\n4,last'.encode())
    run = await folder.run()
    assert folder.intake.raws == [
        "id,name\r\n1,张三\r\n".encode(),
        b'id,name\r\n2,"line\r\nend"\r\n',
        b"id,name\r\n4,last",
    ]
    assert (run.taken, run.refused) == (3, 1)
    lines = (tmp_path / "answer" / "a.csv.answer.csv").read_text().splitlines()
    assert lines[0] == "record,records,status,code,reason,message"
    assert [line.split(",")[:4] for line in lines[1:]] == [
        ["1", "1", "accepted", ""],
        ["2", "1", "accepted", ""],
        ["3", "1", "refused", "csv.ragged"],
        ["4", "1", "accepted", ""],
    ]
    assert list(folder.files()) == ["answer/a.csv.answer.csv", "archive/x/a.csv"]


async def test_records_in_groups_and_an_answer_of_refusals(tmp_path: Path) -> None:
    answer = {"format": "jsonl", "only_refused": True, "name": "re_{stem}.jsonl"}
    folder = Folder(tmp_path, JsonLinesCodec(), records={"by": "lines", "per_message": 2}, answer=answer)
    folder.put("a.jsonl", b'{"a":1}\n{"a":2}\n{"a":\n')
    await folder.run()
    assert folder.intake.raws == [b'{"a":1}\n{"a":2}\n']
    (line,) = (tmp_path / "answer" / "re_a.jsonl").read_text().splitlines()
    assert json.loads(line)["record"] == 3


async def test_an_hl7_batch_and_records_of_one_length(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "h", records={"by": "hl7"})
    folder.put("b.hl7", b"FHS|^~\\&\rBHS|^~\\&\rMSH|^~\\&|A\rPID|1\rMSH|^~\\&|B\rPID|2\rBTS|2\rFTS|1\r")
    await folder.run()
    assert folder.intake.raws == [b"MSH|^~\\&|A\rPID|1\r", b"MSH|^~\\&|B\rPID|2\r"]
    folder = Folder(tmp_path / "l", records={"by": "length", "length": 3})
    folder.put("l", b"aaabbbc\n")
    folder.put("m", b"dddeee\r\n")
    await folder.run()
    assert folder.intake.raws == [b"aaa", b"bbb", b"ddd", b"eee"]
    assert reason(folder, "l")["code"] == "file.record_length"


async def test_what_stands_before_a_fault_is_taken(tmp_path: Path) -> None:
    folder = Folder(tmp_path, records={"by": "lines", "max_record": 16}, page=2, answer={})
    folder.put("a", b"one\ntwo\nthree\n" + b"4" * 100 + b"\nfive\n")
    run = await folder.run()
    assert folder.intake.raws == [b"one\n", b"two\n", b"three\n"]
    assert (run.refused, reason(folder, "a")["code"]) == (1, "file.record_size")
    assert len((tmp_path / "answer" / "a.answer.csv").read_text().splitlines()) == 4


async def test_packed_files(tmp_path: Path) -> None:
    folder = Folder(tmp_path, records={"by": "lines"}, unpack="auto")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("../../one.txt", "z1\nz2\n")
        out.writestr("two.txt", "z3\n")
    folder.put("b.zip", archive.getvalue())
    folder.put("a.gz", gzip.compress(b"g1\ng2\n") + gzip.compress(b"g3\n"))
    folder.put("c.txt", b"plain\n")
    folder.put("d.gz", gzip.compress(b"x" * 100)[:-9])
    folder.put("e.zip", b"PK no")
    folder.put("f.gz", gzip.compress((b"0" * 4999 + b"\n") * 2000))
    run = await folder.run()
    assert folder.intake.raws[:7] == [b"g1\n", b"g2\n", b"g3\n", b"z1\n", b"z2\n", b"z3\n", b"plain\n"]
    assert run.refused == 3
    assert [reason(folder, name)["code"] for name in ("d.gz", "e.zip", "f.gz")] == [
        "file.gzip",
        "file.zip",
        "file.unpacked",
    ]


async def test_utf16_is_refused_where_records_are_cut(tmp_path: Path) -> None:
    folder = Folder(tmp_path, records={"by": "lines"})
    folder.put("a", "one\ntwo\n".encode("utf-16"))
    await folder.run()
    assert reason(folder, "a")["code"] == "file.utf16"


async def test_a_file_that_changes_while_it_is_read_is_put_aside(tmp_path: Path) -> None:
    folder = Folder(tmp_path, records={"by": "lines"}, page=1)
    folder.put("a", b"1\n2\n3\n")
    folder.receiver.go_on = lambda run: not folder.intake.commits  # type: ignore[method-assign]
    await folder.run()
    folder.put("a", b"other\n")
    folder.restart()
    run = await folder.run()
    assert folder.intake.raws == [b"1\n"]
    assert (run.refused, reason(folder, "a")["code"]) == (1, "file.changed")
    assert (tmp_path / "error" / "a").read_bytes() == b"other\n"


# -- wherever the process dies ------------------------------------------------------------------------------------


def _small(root: Path) -> Folder:
    folder = Folder(root, page=2, complete={"by": "marker"})
    for name in ("a", "b", "c"):
        folder.put(name, name.encode())
        folder.put(f"{name}.ok", b"")
    folder.put("d", b"bad")
    folder.put("d.ok", b"")
    return folder


def _large(root: Path) -> Folder:
    folder = Folder(root, records={"by": "lines"}, page=2, answer={})
    folder.put("a", b"1\n2\nbad\n4\n5\n")
    folder.put("b", b"6\n")
    return folder


def _left(root: Path) -> Folder:
    folder = Folder(root, after="leave", error="", page=1)
    for name in ("a", "b"):
        folder.put(name, name.encode())
    return folder


def _zipped(root: Path) -> Folder:
    folder = Folder(root, records={"by": "lines"}, page=1, unpack="zip")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("1", "a\nb\n")
        out.writestr("2", "c\n")
    folder.put("a.zip", archive.getvalue())
    return folder


def _gzipped(root: Path) -> Folder:
    folder = Folder(root, records={"by": "lines", "per_message": 2}, page=1, unpack="gzip", answer={}, after="rename")
    folder.put("a.gz", gzip.compress(b"1\n2\n3\n4\n5\n"))
    return folder


def _numbered(root: Path) -> Folder:
    folder = Folder(root, naming=NAMING)
    for number in (1, 2, 4):
        folder.put(f"LIS_20260115_{number}.csv", b"%d" % number)
    return folder


@pytest.mark.parametrize("make", [_small, _large, _left, _zipped, _gzipped, _numbered])
async def test_wherever_it_dies_nothing_is_lost_and_nothing_taken_twice(
    tmp_path: Path, make: Callable[[Path], Folder]
) -> None:
    whole = make(tmp_path / "whole")
    await whole.run()
    expected, files = whole.intake.raws, list(whole.files())
    died = 0
    while True:
        folder = make(tmp_path / f"{died}")
        left = died

        def step() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Crash

        folder.intake.step = step
        try:
            await folder.run()
        except Crash:
            died += 1
        else:
            break
        folder.intake.step = lambda: None
        folder.restart()
        await folder.run()
        assert folder.intake.raws == expected, died
        assert folder.intake.again == 0, died
        # A reason may be missing when the process dies between moving a file and writing it; nothing else.
        assert [n for n in files if "reason" not in n] == [n for n in folder.files() if "reason" not in n], died
        assert (await folder.run()).taken == 0
        assert folder.intake.raws == expected, died
    assert died > 15


async def test_answers_after_a_crash_tell_what_can_still_be_told(tmp_path: Path) -> None:
    folder = _large(tmp_path)
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if folder.intake.commits == 2:
            raise Crash

    folder.intake.step = step
    with pytest.raises(Crash):
        await folder.run()
    folder.intake.step = lambda: None
    folder.restart()
    await folder.run()
    lines = (tmp_path / "answer" / "a.answer.csv").read_text().splitlines()
    assert [line.split(",")[2] for line in lines[1:]] == ["accepted", "accepted", "refused", "stored", "accepted"]


async def test_runs_leave_no_thread_and_no_descriptor_behind(tmp_path: Path) -> None:
    folder = Folder(tmp_path, records={"by": "lines", "max_record": 16}, answer={})
    folder.put("a", b"1\n" + b"2" * 100)
    await folder.run()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        folder.put("a", b"1\n" + b"2" * 100)
        await folder.run()
    for thread in threading.enumerate():
        if thread.name.startswith("files"):
            await asyncio.to_thread(thread.join, 10)
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("files")]


async def test_more_files_than_can_be_remembered_are_told_before_they_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.files.state.SLOTS", 3)
    monkeypatch.setattr("adapters.files.state.SLOT_SIZE", 4)
    folder = Folder(tmp_path, after="leave", error="", page=1)
    for number in range(17):
        folder.put(f"{number:02}")
    with pytest.raises(HubError, match="left in the folder"):
        await folder.run()
    taken = len(folder.intake.items)
    with pytest.raises(HubError, match="left in the folder"):
        await folder.run()
    assert len(folder.intake.items) == taken == 12
    for number in range(8):
        (tmp_path / f"{number:02}").unlink()
    folder.restart()
    await folder.run()
    assert len(folder.intake.items) == 17
    assert folder.intake.again == 0


# -- large ---------------------------------------------------------------------------------------------------------


async def test_a_large_folder_is_read_in_one_go(tmp_path: Path) -> None:
    folder = Folder(tmp_path, max_files=3)
    for number in range(5):
        folder.put(f"{number}")
    assert (await folder.run()).taken == 3
    assert (await folder.run()).taken == 2


async def test_a_large_file_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    import tracemalloc

    folder = Folder(tmp_path, records={"by": "lines", "per_message": 1000}, page=4)
    with (tmp_path / "a").open("wb") as out:
        for _ in range(200):
            out.write((b"row of the table " * 20 + b"\n") * 240)
    size = (tmp_path / "a").stat().st_size
    taken = 0

    async def take(bound: Any, items: Any, *, mark: str | None = None, name: str = "", remote: str = "") -> Any:
        nonlocal taken
        taken += sum(len(item.raw) for item in items)
        from hub.api import Receipt
        from hub.message import Outcome

        return [Receipt(Outcome.OK, 1) for _ in items]

    folder.intake.take = take  # type: ignore[method-assign]
    tracemalloc.start()
    await folder.run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken == size > 15_000_000
    assert peak < 5_000_000


# -- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"root": "relative"},
        {"folder": "../up"},
        {"error": "/etc"},
        {"archive": "%Y"},
        {"archive": "a/%s"},
        {"folder": "archive", "archive": "archive/%Y"},
        {"error": "in", "folder": "in"},
        {"rename_to": "{name}"},
        {"rename_to": "../{name}"},
        {"complete": {"by": "marker", "marker": "done"}},
        {"naming": {"pattern": "("}},
        {"naming": {"pattern": "x", "date": "day"}},
        {"answer": {"name": "{nothing}.csv"}},
        {"records": {"by": "length"}},
        {"records": {"by": "hl7", "per_message": 2}},
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        FileListen.model_validate({"root": "/data", **options})


async def test_a_damaged_mark_is_told(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.intake.marks[""] = '{"done": [{"x": 1}]}'
    with pytest.raises(HubError, match="mark"):
        await folder.run()


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "nowhere")
    with pytest.raises(SendError):
        await folder.run()
    with pytest.raises(SendError):
        await folder.receiver.probe()
    (tmp_path / "nowhere").mkdir()
    assert "nowhere" in await folder.receiver.probe()
