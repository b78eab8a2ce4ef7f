"""What is remembered of a folder: how far it was read. It is the mark of the intake, committed with the messages it tells of.

* ``done``: files whose messages are committed and that are not archived yet (or could not be).
* ``part``: the file that is being read in pages, and how far.
* ``numbers``: the last number of each scope, where names carry numbers.
* ``seen``: fingerprints of files that are left in the folder. They fill slots, each a mark of its own, so that no commit carries
  more than one slot however many files there are; the slot being filled rides in the mark itself.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import Any

from adapters.files.backend import Entry
from hub.api import HubError
from hub.i18n import t

__all__ = ["MAX_WAITING", "SLOTS", "SLOT_SIZE", "Done", "Part", "State", "fingerprint"]

#: Fingerprints of one slot, and slots: together the most files that can be left in a folder.
SLOT_SIZE = 500
SLOTS = 400
#: Files that may wait for somebody to make the archive writable again, before no more are read.
MAX_WAITING = 1000


def fingerprint(entry: Entry) -> str:
    """Short, and the same for the same content of the same file."""
    text = f"{entry.path}\0{entry.size}\0{entry.stamp}"
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=9).hexdigest()


@dataclass(slots=True)
class Done:
    """A file that is taken; what to do with it is known once its receipts are there."""

    path: str
    size: int
    stamp: str
    modified: float
    known: bool = False
    code: str = ""  # of the reason, for one that is refused
    text: str = ""
    remedy: str = ""

    @property
    def entry(self) -> Entry:
        return Entry(self.path, "file", self.size, self.modified, self.stamp)


@dataclass(slots=True)
class Part:
    """How far a file is read. The page before ``at`` is committed; its answers may not be written yet."""

    path: str
    size: int
    stamp: str
    modified: float
    member: int = 0
    at: int = 0  # byte of the member, unpacked, where the next page begins
    record: int = 0  # records before it
    page: tuple[int, int, int] = (0, 0, 0)  # member, byte and record where the page before it began
    answered: int = 0  # bytes of the answer file before that page's answers
    end: bool = False  # nothing follows
    code: str = ""  # why the rest is refused
    text: str = ""
    remedy: str = ""

    @property
    def entry(self) -> Entry:
        return Entry(self.path, "file", self.size, self.modified, self.stamp)


@dataclass(slots=True)
class State:
    """See the module. Changed first, then committed as a mark with what it tells of."""

    done: list[Done] = field(default_factory=list)
    part: Part | None = None
    numbers: dict[str, int] = field(default_factory=dict)
    slot: int = 0
    seen: list[str] = field(default_factory=list)  # of the slot being filled
    slots: dict[int, list[str]] = field(default_factory=dict)  # the others; not in the mark
    known: set[str] = field(default_factory=set)  # all of them; not in the mark

    @classmethod
    async def load(cls, mark: Callable[[str], Awaitable[str]], *, remembers: bool) -> State:
        """From the marks; raises :class:`HubError` when the mark is none of this adapter."""
        text = await mark("")
        state = cls()
        try:
            found: dict[str, Any] = json.loads(text) if text else {}
            state.done = [Done(**item) for item in found.get("done", ())]
            part = found.get("part")
            state.part = Part(**{**part, "page": tuple(part["page"])}) if part else None
            state.numbers = dict(found.get("numbers", {}))
            state.slot, state.seen = int(found.get("slot", 0)), list(found.get("seen", ()))
            if remembers:
                for number in range(SLOTS):
                    slot = await mark(_slot_name(number))
                    if not slot and number > state.slot:
                        break
                    if slot and number != state.slot:
                        state.slots[number] = slot.split()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise HubError(
                t(
                    "the mark of this interface is damaged or of another adapter",
                    "本接口的读取标记已损坏或属于其他适配器",
                ),
                code="file.mark",
            ) from error
        state.known = {one for slot in (*state.slots.values(), state.seen) for one in slot}
        return state

    def text(self) -> str:
        """The mark."""
        found: dict[str, Any] = {"done": [_as_dict(item) for item in self.done]}
        if self.part is not None:
            found["part"] = _as_dict(self.part)
        if self.numbers:
            found["numbers"] = self.numbers
        if self.seen or self.slot:
            found["slot"], found["seen"] = self.slot, self.seen
        return json.dumps(found, separators=(",", ":"))

    # -- files that are left -------------------------------------------------------------------------------------

    def remember(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            one = fingerprint(entry)
            if one not in self.known:
                self.known.add(one)
                self.seen.append(one)

    def forget_absent(self, entries: Iterable[Entry]) -> None:
        """Keep what is still in the folder; ``entries`` must be all that is there."""
        present = {fingerprint(entry) for entry in entries} & self.known
        if len(present) < len(self.known):
            self.known = present
            self.seen = [one for one in self.seen if one in present]
            self.slots = {number: [one for one in slot if one in present] for number, slot in self.slots.items()}

    async def turn_slot(self, commit: Callable[[str, str], Awaitable[None]]) -> None:
        """Put the slot away once it is full, and go on in the emptiest. A crash in between costs nothing: a fingerprint may
        stand in two slots."""
        if len(self.seen) < SLOT_SIZE:
            return
        number = min((n for n in range(SLOTS) if n != self.slot), key=lambda n: len(self.slots.get(n, ())))
        if len(self.slots.get(number, ())) > SLOT_SIZE // 2:
            raise HubError(
                t("too many files are left in the folder", "文件夹中保留的文件过多"),
                code="file.left",
                remedy=t("remove old ones, or set after: archive", "请清理旧文件，或设置 after: archive"),
            )
        await commit(_slot_name(self.slot), " ".join(self.seen))
        self.slots[self.slot] = self.seen
        self.slot, self.seen = number, self.slots.pop(number, [])


def _as_dict(one: Done | Part) -> dict[str, Any]:
    """What :func:`dataclasses.asdict` gives, without its copies: a page has a thousand of them."""
    return {each.name: getattr(one, each.name) for each in fields(one)}


def _slot_name(number: int) -> str:
    return f"seen {number}"
