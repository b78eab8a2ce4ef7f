"""The hub's own chain: several processes, kill -9, a full disk, a file that was put aside; and what entries say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hub.audit import acting_from, class_of, entry, verify
from hub.audit.errors import AuditUnwritable
from hub.audit.repeats import Repeats
from hub.audit.sources import Source
from hub.audit.trail import Trail
from tests.audit.audit_support import World, edit
from tests.kernel.process import wait_for

ROOT = Path(__file__).resolve().parents[2]


def child(code: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "TONGQU_LANG": "en"},
    )


def rows(folder: Path) -> list[dict[str, object]]:
    return list(Source("hub", folder / "audit.db", "entry", folder / "audit").live())


_MANY = """
import sys, pathlib
from hub.audit.trail import Trail
trail = Trail(pathlib.Path(sys.argv[1]))
for number in range(60):
    trail.record("p", "x.y", str(number))
"""


def test_several_processes_make_one_chain(tmp_path: Path) -> None:
    children = [child(_MANY, tmp_path) for _ in range(3)]
    assert [process.wait(60) for process in children] == [0, 0, 0]
    found = rows(tmp_path)
    assert len(found) == 180
    assert verify(found) == []


_FOREVER = """
import sys, pathlib
from hub.audit.trail import Trail
trail = Trail(pathlib.Path(sys.argv[1]))
while True:
    print(trail.record("p", "x.y", "z"), flush=True)
"""


def test_what_was_told_as_written_survives_a_kill(tmp_path: Path) -> None:
    told = 0
    for _ in range(3):
        process = child(_FOREVER, tmp_path)
        assert process.stdout is not None
        for _ in range(15):
            told = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split(b"\n")[:-1]
        process.wait()
        told = int(rest[-1]) if rest else told
        found = rows(tmp_path)
        assert len(found) in (told, told + 1)
        assert verify(found) == []


_FULL = """
import pathlib, resource, signal, sys
from hub.audit.trail import Trail
from hub.audit.errors import AuditUnwritable
trail = Trail(pathlib.Path(sys.argv[1]))
trail.record("p", "x.y", "first")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, resource.RLIM_INFINITY))
done = 1
try:
    while done < 10_000:
        trail.record("p", "x.y", "z" * 500)
        done += 1
except AuditUnwritable as error:
    assert error.code == "audit.unwritable"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(done, trail.record("p", "x.y", "again"), flush=True)
"""


def test_a_full_disk_refuses_and_goes_on_afterwards(tmp_path: Path) -> None:
    out, _ = child(_FULL, tmp_path).communicate(timeout=60)
    done, last = map(int, out.split())
    assert (last, len(rows(tmp_path))) == (done + 1, done + 1)
    assert verify(rows(tmp_path)) == []


def test_a_file_that_was_put_aside_is_not_written_any_more(tmp_path: Path) -> None:
    trail = Trail(tmp_path)
    trail.record("li", "x.y", "1")
    (tmp_path / "audit.db").rename(tmp_path / "aside.db")
    (tmp_path / "audit.db").mkdir()
    with pytest.raises(AuditUnwritable):
        trail.record("li", "x.y", "2")
    (tmp_path / "audit.db").rmdir()
    assert trail.record("li", "x.y", "3") == 1
    assert (tmp_path / "audit.db").stat().st_mode & 0o077 == 0
    trail.close()


def test_nothing_is_made_before_the_first_entry(tmp_path: Path) -> None:
    Trail(tmp_path / "data").close()
    assert not (tmp_path / "data").exists()


def test_the_last_entry_is_never_trimmed(tmp_path: Path) -> None:
    trail = Trail(tmp_path)
    for number in range(3):
        trail.record("li", "x.y", str(number))
    assert trail.trim(100) == 2
    assert trail.record("li", "x.y", "4") == 4
    trail.close()


def test_what_an_entry_says() -> None:
    with acting_from("10.1.2.3"):
        made = entry(
            "li",
            "delivery.delete",
            "1 deliveries",
            {"phone": "13800138000"},
            "张三 110101199003079139",
            result="refused",
        )
    assert (made["address"], made["result"]) == ("10.1.2.3", "refused")
    assert "13800138000" not in str(made)
    assert "110101199003079139" not in str(made)
    assert {"address", "result"}.isdisjoint(entry("li", "x", "y"))
    assert entry("li", "x", "y", address="::1")["address"] == "::1"


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("access.message.search", "access"),
        ("audit.checkpoint", "system"),
        ("audit.export", "security"),
        ("auth.refused", "security"),
        ("caller.apply", "security"),
        ("config.reload", "config"),
        ("delivery.delete", "operation"),
        ("hub.start", "system"),
        ("keys.use", "security"),
        ("message.send", "operation"),
        ("replay", "operation"),
        ("user.add", "security"),
    ],
)
def test_classes(action: str, kind: str) -> None:
    assert class_of(action) == kind


def test_the_same_again_is_counted(world: World) -> None:
    now = [0.0]
    repeats = Repeats(world.keeper.trail, lambda: now[0])

    def look(place: str = "a", records: int = 2) -> None:
        repeats.record("li", "access.x", "", {"place": place}, address="::1", records=records, more={"ids": ["1"]})

    def details() -> list[dict[str, object]]:
        import json

        return [json.loads(row["entry"])["detail"] for row in world.rows("hub")]

    for _ in range(4):
        look()
    look("b")
    first = [{"place": "a", "records": 2, "ids": ["1"]}, {"place": "b", "records": 2, "ids": ["1"]}]
    assert details() == first
    repeats.flush()
    assert details() == first
    now[0] = 61.0
    repeats.flush()
    assert details() == [*first, {"again": 3, "records": 6}]
    look()
    look(records=5)
    repeats.flush(True)
    assert details()[3:] == [{"place": "a", "records": 2, "ids": ["1"]}, {"again": 1, "records": 5}]


def test_counts_are_kept_while_they_can_not_be_written(world: World) -> None:
    repeats = Repeats(world.keeper.trail)
    for _ in range(3):
        repeats.record("li", "access.x", "", {}, address="")
    file = world.path("hub")
    aside = file.rename(file.with_name("aside.db"))
    file.mkdir()
    with pytest.raises(AuditUnwritable):
        repeats.flush(True)
    file.rmdir()
    aside.rename(file)
    repeats.flush(True)
    assert len(world.rows("hub")) == 2


def test_two_checkpoints_are_due_by_number_and_by_time(tmp_path: Path) -> None:
    world = World(tmp_path, checkpoint={"entries": 4, "every": "1s"})
    try:
        keeper = world.keeper
        keeper.checkpoint()
        assert not keeper._due()
        world.keeper.trail.record("li", "x.y", "z")
        assert not keeper._due()
        wait_for(keeper._due, "the second is over", 10)
        keeper.checkpoint()
        assert not keeper._due()
        world.fill(2)
        assert keeper._due()
    finally:
        world.close()


def test_a_broken_row_in_a_file_is_no_row(world: World) -> None:
    world.fill(2)
    edit(world.path("worker-00"), "UPDATE audit SET entry = x'00ff' WHERE seq = 1")
    assert any("worker-00" in problem for problem in world.verify().problems)
