"""``hub audit verify``: is every chain what was written, archives included, and does it agree with what others have kept of it?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.audit.archives import FORGOT, archives_of
from hub.audit.chain import GENESIS, ChainCheck
from hub.audit.checkpoint import Checkpoint, read_checkpoint
from hub.audit.errors import AuditUnreadable, unreadable
from hub.audit.signing import Verifier
from hub.audit.sources import HUB, Source
from hub.i18n import t

__all__ = ["Verified", "read_witnesses", "verify_trail"]

#: Longest line of a file to compare with, characters.
_MAX_LINE = 16 << 20

#: Chain -> number -> hashes that row must have, with who says so.
Witnesses = dict[str, dict[int, dict[str, str]]]


@dataclass(slots=True)
class Verified:
    """``problems`` prove that something was changed; ``notes`` say what could not be proven."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    entries: dict[str, int] = field(default_factory=dict)  # chain -> rows looked at
    checkpoints: int = 0
    signed: int = 0
    archives: int = 0
    witnesses: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "problems": self.problems,
            "notes": self.notes,
            "entries": self.entries,
            "checkpoints": self.checkpoints,
            "signed": self.signed,
            "archives": self.archives,
            "witnesses": self.witnesses,
        }


def verify_trail(chains: Sequence[Source], verifier: Verifier, against: Iterable[Path] = ()) -> Verified:
    """Check every chain. Reads only; works beside a running hub. Raises :class:`AuditUnreadable` for ``against`` alone."""
    done = Verified()
    witnesses: Witnesses = {}
    for file in against:
        for chain, seq, digest, text in read_witnesses(file):
            done.witnesses += 1
            _note(witnesses, chain, seq, digest, file.name)
            point = read_checkpoint(text)
            if point is not None:
                _vouch(point, f"{file.name}, {chain} {seq}", verifier, witnesses, done)
    forgotten: set[str] = set()
    # The hub's own chain first: the checkpoints in it are about the others.
    for source in sorted(chains, key=lambda source: source.name != HUB):
        _check(source, verifier, witnesses, forgotten, done)
    for chain in witnesses.keys() - {source.name for source in chains}:
        done.problems.append(t(f"{chain}: the whole chain is missing", f"{chain}：整条链缺失"))
    if verifier.trouble:
        done.notes.append(verifier.trouble)
    elif not done.signed:
        done.notes.append(t("no checkpoint is signed", "没有已签名的检查点"))
    elif verifier.known is None:
        done.notes.append(
            t("without the key store nobody says whose the signatures are", "没有密钥库，无法确认签名属于谁")
        )
    if not done.witnesses:
        done.notes.append(
            t(
                "compared with nothing kept elsewhere: a trail that was cut off, or put back as a whole, can't be told from a "
                "younger one -> --against FILE",
                "未与别处留存的副本比对：整体回退或截尾的审计记录无法识别 -> --against 文件",
            )
        )
    return done


def _note(witnesses: Witnesses, chain: str, seq: int, digest: str, who: str) -> None:
    if seq > 0:
        witnesses.setdefault(chain, {}).setdefault(seq, {}).setdefault(digest, who)


def _vouch(point: Checkpoint, who: str, verifier: Verifier, witnesses: Witnesses, done: Verified) -> None:
    """What a checkpoint says counts as long as its signature does."""
    done.checkpoints += 1
    if not verifier.trouble and (wrong := verifier.problem(point.text, point.signature)):
        done.problems.append(t(f"checkpoint in {who}: {wrong}", f"{who} 处的检查点：{wrong}"))
        return
    done.signed += bool(point.signature.value)
    for chain, (seq, digest) in point.heads.items():
        _note(witnesses, chain, seq, digest, t(f"the checkpoint in {who}", f"{who} 处的检查点"))


class _Walk:
    """One chain, row by row."""

    def __init__(self, source: Source, verifier: Verifier, witnesses: Witnesses, done: Verified) -> None:
        self.check = ChainCheck()
        self.count = 0
        self._source = source
        self._verifier = verifier
        self._witnesses = witnesses
        self._done = done
        self._said: set[str] = set()

    def add(self, row: dict[str, Any]) -> None:
        name, seq = self._source.name, row.get("seq")
        self.count += 1
        if row.get("entry") is None and isinstance(row.get("hash"), str) and isinstance(seq, int) and row["at"] is None:
            self.check.gone(seq, row["hash"])
        else:
            self.check.add(row)
        for digest, who in self._witnesses.get(name, {}).get(seq, {}).items() if isinstance(seq, int) else ():
            if digest != row.get("hash"):
                self.tell(
                    t(
                        f"entry {seq} is another one than {who} has: the chain was written anew, or put back and went on",
                        f"条目 {seq} 与{who}所载不同：链被重写，或回退后继续写入",
                    )
                )
        if name == HUB and (point := read_checkpoint(row.get("entry"))) is not None:
            _vouch(point, f"{HUB} {seq}", self._verifier, self._witnesses, self._done)

    def tell(self, text: str) -> None:
        if text not in self._said and len(self._said) < 1000:
            self._said.add(text)
            self._done.problems.append(f"{self._source.name}: {text}")

    def finish(self) -> None:
        for problem in self.check.finish():
            self.tell(problem)
        known = self._witnesses.get(self._source.name, {})
        last = max(known, default=0)
        if last > self.check.seq:
            who = next(iter(known[last].values()))
            self.tell(
                t(
                    f"entries {self.check.seq + 1} to {last} were cut off the end, or the file was put back: {who} has them",
                    f"末尾的条目 {self.check.seq + 1} 至 {last} 被截去，或文件被回退：{who}有其记录",
                )
            )


def _check(source: Source, verifier: Verifier, witnesses: Witnesses, forgotten: set[str], done: Verified) -> None:
    walk = _Walk(source, verifier, witnesses, done)
    try:
        seen: set[Path] = set()
        for row in _archived(source, seen, walk, verifier, forgotten, done):
            walk.add(row)
        first = next(source.live(), None)
        if first is not None and first["seq"] > walk.check.seq + 1:  # archived, and trimmed, since we looked
            for row in _archived(source, seen, walk, verifier, forgotten, done):
                walk.add(row)
        border, digest = walk.check.seq, walk.check.hash
        for row in source.live():
            if (
                isinstance(row["seq"], int) and row["seq"] <= border
            ):  # archived, and the hub has not come to trimming it
                if row["seq"] == border and row["hash"] != digest:
                    walk.tell(t(f"entry {border} is another one in the archive", f"条目 {border} 与归档中的不同"))
                continue
            if source.name == HUB:
                _forgets(row, forgotten)
            walk.add(row)
    except AuditUnreadable as error:
        walk.tell(error.text)
    walk.finish()
    done.entries[source.name] = walk.count
    if source.name == HUB:
        _check_gone(source.archive, forgotten, done)


def _archived(
    source: Source, seen: set[Path], walk: _Walk, verifier: Verifier, forgotten: set[str], done: Verified
) -> Iterator[dict[str, Any]]:
    for archive in archives_of(source.archive, source.name):
        if archive.path in seen:
            continue
        seen.add(archive.path)
        done.archives += 1
        if archive.first <= walk.check.seq:
            walk.tell(t(f"{archive.path.name} overlaps the archive before it", f"{archive.path.name} 与前一归档重叠"))
        signatures = Verifier(None) if verifier.trouble else verifier
        for problem in archive.problems(signatures, walk.check.hash if walk.check.seq else GENESIS):
            walk.tell(problem)
        for row in archive.rows():
            if source.name == HUB:
                _forgets(row, forgotten)
            yield row


def _forgets(row: dict[str, Any], forgotten: set[str]) -> None:
    text = row.get("entry")
    if isinstance(text, str) and FORGOT in text:
        try:
            entry = json.loads(text)
            if entry["action"] == FORGOT:
                forgotten |= {f"{entry['subject']} {kind}" for kind in entry["detail"]["classes"]}
        except (ValueError, KeyError, TypeError):
            return


def _check_gone(folder: Path, forgotten: set[str], done: Verified) -> None:
    """Entries may be missing in an archive only where the trail says that their retention was over."""
    chains = {path.name.partition(".")[0] for path in folder.glob("*.jsonl.gz")} if folder.is_dir() else set()
    for archive in (archive for chain in sorted(chains) for archive in archives_of(folder, chain)):
        try:
            gone = archive.seal().get("gone", [])
        except AuditUnreadable:
            continue  # told where its chain is checked
        for kind in gone if isinstance(gone, list) else ():
            if f"{archive.path.name} {kind}" not in forgotten:
                done.problems.append(
                    t(
                        f"{archive.path.name}: the entries of class {kind} were removed, and no entry tells of it",
                        f"{archive.path.name}：{kind} 类条目被移除，且没有条目说明",
                    )
                )


def read_witnesses(file: Path) -> Iterator[tuple[str, int, str, str]]:
    """(chain, number, hash, text of the entry) of every line of a copy: JSON lines, or lines of syslog that end with the same JSON.

    Lines of something else are skipped; a file without any is an error: it would be taken for a proof.
    """
    found = False
    try:
        with file.open("r", encoding="utf-8", errors="replace") as stream:
            while line := stream.readline(_MAX_LINE):
                row = _witness(line)
                if row is not None:
                    found = True
                    yield row
    except OSError as error:
        raise unreadable(file, error) from error
    if not found:
        raise AuditUnreadable(t(f"{file}: no entry of a trail is in it", f"{file}：其中没有审计条目"))


def _witness(line: str) -> tuple[str, int, str, str] | None:
    start = line.find('{"chain":')
    if start < 0:
        return None
    try:
        row = json.loads(line[start:])
        chain, seq, digest, text = row["chain"], row["seq"], row["hash"], row.get("entry", "")
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not (isinstance(chain, str) and isinstance(seq, int) and isinstance(digest, str) and isinstance(text, str)):
        return None
    return chain, seq, digest, text
