"""Archives: the chain goes on across them, tampering with them is found, retention removes what it may and nothing else."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.audit.archives import FORGOT, archives_of, forget
from hub.audit.archiving import Archived, archive_chain, forget_old
from hub.audit.config import AuditConfig
from hub.audit.errors import AuditUnreadable, AuditUnwritable
from hub.audit.signing import Signer, Verifier
from hub.audit.view import AuditQuery, find
from tests.audit.audit_support import World

LATER = 1 << 60


def archive(world: World, chain: str = "worker-00", *, trim: bool = True, most: int = 1000) -> Archived:
    done = archive_chain(world.source(chain), LATER, Signer(world.config, world.file.parent), most)
    if trim and done.last:
        if chain == "hub":
            world.keeper.trail.trim(done.last)
        else:
            world.catalogs[int(chain[-1])].trim_audit(done.last)
    return done


def files(world: World) -> list[Path]:
    return sorted((world.data / "audit").glob("*"))


def archived(world: World) -> World:
    """Two archives of worker-00, and later entries."""
    world.fill(4)
    world.keeper.checkpoint()
    archive(world)
    world.fill(4)
    archive(world)
    world.fill(1)
    return world


def test_moved_and_still_whole(signed: World) -> None:
    archived(signed)
    assert [path.name for path in files(signed)] == [
        "worker-00.000000000001-000000000003.jsonl.gz",
        "worker-00.000000000004-000000000007.jsonl.gz",
    ]
    assert [row["seq"] for row in signed.rows("worker-00")] == [8, 9]
    assert [row["seq"] for row in signed.source("worker-00").rows()] == list(range(1, 10))
    done = signed.verify()
    assert (done.problems, done.archives, done.entries["worker-00"]) == ([], 2, 9)
    numbers = [row["seq"] for _, row in find(signed.keeper.chains(), AuditQuery(chain="worker-00"))]
    assert numbers == list(range(1, 10))
    assert all(path.stat().st_mode & 0o077 == 0 for path in files(signed))


def test_several_archives_at_once_and_the_hubs_own_chain(signed: World) -> None:
    signed.fill(10)
    done = archive(signed, "hub", most=4)
    assert (done.rows, done.last, len(done.files)) == (9, 9, 3)
    assert archive(signed, "hub").rows == 0
    signed.fill(1)
    assert signed.verify().problems == []


def test_nothing_is_old_enough(signed: World) -> None:
    signed.fill()
    done = archive_chain(signed.source("worker-00"), 0, Signer(signed.config, signed.file.parent))
    assert (done.rows, done.files, done.last) == (0, [], 0)
    assert files(signed) == []


def test_killed_between_the_archive_and_the_trimming(signed: World) -> None:
    signed.fill(4)
    archive(signed, trim=False)
    assert signed.verify().problems == []
    assert len(list(signed.source("worker-00").rows())) == 4
    signed.fill(2)
    assert archive(signed).last == 5
    assert [row["seq"] for row in signed.rows("worker-00")] == [6]
    assert signed.verify().problems == []


def change_line(path: Path, number: int, change: Callable[[bytes], bytes]) -> None:
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    lines[number] = change(lines[number])
    path.write_bytes(gzip.compress(b"".join(lines)))


TAMPERINGS: list[tuple[str, Callable[[Path, Path], object]]] = [
    ("altered after it was sealed", lambda a, b: change_line(a, 1, lambda line: line.replace(b"wang", b"weng"))),
    ("entry 2 does not match", lambda a, b: change_line(a, 1, lambda line: line.replace(b"wang", b"weng"))),
    ("is missing", lambda a, b: change_line(a, 1, lambda line: b"")),
    ("altered after it was sealed", lambda a, b: change_line(a, 1, lambda line: line + line)),
    (
        "signature is wrong",
        lambda a, b: change_line(a, -1, lambda line: line.replace(b'"gone":[]', b'"gone":["access"]')),
    ),
    ("signature is wrong", lambda a, b: change_line(a, -1, lambda line: line.replace(b'"at":1', b'"at":2'))),
    ("not signed", lambda a, b: change_line(a, -1, lambda line: unsigned(line))),
    ("no seal", lambda a, b: change_line(a, -1, lambda line: b"")),
    ("follows the seal", lambda a, b: change_line(a, -1, lambda line: line + b"{}\n")),
    ("is no row", lambda a, b: change_line(a, 1, lambda line: b"[1]\n")),
    ("can't be read", lambda a, b: change_line(a, 1, lambda line: b"[[[\n")),
    ("can't be read", lambda a, b: a.write_bytes(a.read_bytes()[:-30])),
    ("can't be read", lambda a, b: a.write_bytes(b"no gzip")),
    ("entries 1 to 3 are missing", lambda a, b: a.unlink()),
    ("entries 4 to 7 are missing", lambda a, b: b.unlink()),
    ("renamed", lambda a, b: a.rename(a.with_name("worker-01.000000000001-000000000003.jsonl.gz"))),
    ("renamed", lambda a, b: b.write_bytes(a.read_bytes())),
    ("overlaps", lambda a, b: (a.parent / "worker-00.000000000002-000000000003.jsonl.gz").write_bytes(a.read_bytes())),
]


def unsigned(line: bytes) -> bytes:
    seal = json.loads(line)["seal"] | {"signature": ""}
    return b'{"seal":' + json.dumps(seal, sort_keys=True, separators=(",", ":")).encode() + b"}\n"


@pytest.mark.parametrize(("told", "tamper"), TAMPERINGS)
def test_tampering_with_an_archive(signed: World, told: str, tamper: Callable[[Path, Path], object]) -> None:
    first, second = files(archived(signed))
    tamper(first, second)
    problems = signed.verify().problems
    assert [problem for problem in problems if told in problem], problems


def test_an_archive_made_anew_by_somebody_without_the_key(signed: World) -> None:
    first, _ = files(archived(signed))
    rows = list(archives_of(first.parent, "worker-00")[0].rows())
    nobody = Signer(World(signed.folder / "other").config, signed.folder / "other" / "config")
    from hub.audit.archives import write_archive

    write_archive(first.parent, "worker-00", rows, "0" * 64, nobody)
    (problem,) = signed.verify().problems
    assert "not signed, though there is a key" in problem


def test_a_chain_that_is_not_sound_is_left_alone(signed: World) -> None:
    signed.fill(4)
    signed.edit("worker-00", "DELETE FROM {t} WHERE seq = 2")
    with pytest.raises(AuditUnreadable, match="entry 2 is missing"):
        archive(signed)
    assert files(signed) == []


def test_an_archive_that_says_more_than_there_is_removes_nothing(signed: World) -> None:
    """Somebody puts a file there so that the hub deletes what it has."""
    signed.fill(4)
    archive(signed, trim=False)
    (path,) = files(signed)
    path.rename(path.with_name("worker-00.000000000001-000000000099.jsonl.gz"))
    with pytest.raises(AuditUnreadable, match="less is there"):
        archive(signed)
    assert len(signed.rows("worker-00")) == 4


def test_no_room_for_an_archive(signed: World) -> None:
    signed.fill(4)
    (signed.data / "audit").write_text("in the way")
    with pytest.raises(AuditUnwritable):
        archive(signed)
    assert len(signed.rows("worker-00")) == 4


# -- retention -------------------------------------------------------------------------------------------------------


def kept(world: World, days: dict[str, int]) -> AuditConfig:
    retention = {"access": 400, "config": 400, "operation": 400, "security": 400, "system": 400} | days
    return AuditConfig.model_validate({"retention": {name: f"{value}d" for name, value in retention.items()}})


def forgotten(world: World, chain: str, config: AuditConfig, days: float) -> list[str]:
    signer = Signer(world.config, world.file.parent)
    world.restart_keys()
    verifier = Verifier.of(world.config, world.file.parent)
    then = time.time() + days * 86400
    return forget_old(world.source(chain), config, world.keeper.trail, signer, verifier, lambda: then)


def test_what_was_kept_long_enough_is_removed_by_class(signed: World) -> None:
    trail = signed.keeper.trail
    trail.record("li", "access.message.search", "")
    trail.record("li", "config.reload", "hub.yaml")
    trail.record("li", "access.message.read", "X")
    signed.keeper.checkpoint()
    trail.record("li", "user.add", "wang")
    archive(signed, "hub")
    config = kept(signed, {"access": 200})
    assert forgotten(signed, "hub", config, 190) == []
    assert forgotten(signed, "hub", config, 210) == [files(signed)[0].name]
    assert forgotten(signed, "hub", config, 210) == []
    left = [row["entry"] for row in signed.source("hub").rows()]
    assert [json.loads(text)["action"] if text else None for text in left] == [
        *(None, "config.reload", None, "audit.checkpoint", "user.add", FORGOT),
    ]
    assert signed.verify().problems == []
    # The entry that tells of it stays when everything else of its age goes.
    signed.fill(1)
    archive(signed, "hub")
    forgotten(signed, "hub", config, 500)
    left = [row["entry"] for row in signed.source("hub").rows()]
    assert [json.loads(text)["action"] for text in left if text] == [FORGOT, "config.reload", FORGOT, FORGOT]
    assert signed.verify().problems == []


def test_removed_without_an_entry_that_tells_of_it(signed: World) -> None:
    archived(signed)
    verifier = Verifier.of(signed.config, signed.file.parent)
    first = archives_of(signed.data / "audit", "worker-00")[0]
    due = dict.fromkeys(("access", "config", "operation", "security", "system"), LATER)
    told: list[object] = []
    signer = Signer(signed.config, signed.file.parent)
    assert forget(first, due, verifier, signer, told.append) == ["operation"]  # type: ignore[arg-type]
    assert told == [["operation"]]
    (problem,) = signed.verify().problems
    assert "entries of class operation were removed, and no entry tells of it" in problem


def test_an_altered_archive_is_not_sealed_anew(signed: World) -> None:
    first, _ = files(archived(signed))
    change_line(first, 1, lambda line: line.replace(b"wang", b"weng"))
    before = first.read_bytes()
    forgotten(signed, "worker-00", kept(signed, {"operation": 365}), 9999)
    assert first.read_bytes() == before


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"retention": {"access": "179d"}}, "at least 180"),
        ({"retention": {"operation": "364d"}}, "at least 365"),
        ({"retention": {"security": "30d"}, "allow_short": True}, "archive_after"),
        ({"export": {"x": {"to": "http://collector"}}}, "pattern"),
        ({"archive_after": "1h"}, "greater than"),
    ],
)
def test_configurations_that_are_refused(given: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        AuditConfig.model_validate(given)


def test_shorter_where_it_is_asked_for() -> None:
    given = {"retention": {"access": "30d"}, "archive_after": "7d", "allow_short": True}
    assert AuditConfig.model_validate(given).retention.access == 30 * 86400
