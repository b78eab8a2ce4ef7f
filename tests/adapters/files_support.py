"""What the tests of the file adapters share: an intake in memory that can fail anywhere, and runs without a schedule."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from adapters.files.backend import Backend
from adapters.files.local import LocalFiles
from adapters.files.options import FileConnect, FileListen
from adapters.files.receiver import FilesReceiver
from adapters.files.sender import FilesSender
from adapters.polling import Run
from hub.api import Bound, Codec, CodecError, HubError, IntakePort, Item, Outgoing, Receipt
from hub.codecs.csv_codec import CsvCodec, CsvFormat
from hub.codecs.jsonl_codec import JsonLinesCodec
from hub.contract import Interface
from hub.ids import EPOCH_MS
from hub.message import Outcome

#: 2026-01-15 09:30:15.250 in Shanghai.
DELIVERY = (1_768_440_615_250 - EPOCH_MS) << 22


class Crash(BaseException):
    """The process dies here."""


class Plain(Codec):
    """Anything but the word bad."""

    name = "text"

    def decode(self, raw: bytes, *, encoding: str = "") -> Any:
        if b"bad" in raw or not raw:
            raise CodecError("it says bad", place="byte 0", code="text.bad", remedy="say good")
        return raw

    def encode(self, tree: Any, *, encoding: str = "") -> bytes:
        return bytes(tree)


class Kept:
    """An intake: decodes, recognises repetitions by control id and bytes, keeps marks with what they came with."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.marks: dict[str, str] = {}
        self.refusals: list[HubError] = []
        self.commits = 0
        self.again = 0  # items that came twice: never, if marks are right
        self._seen: set[tuple[str, bytes]] = set()
        self.step: Callable[[], None] = lambda: None

    async def take(
        self, bound: Bound, items: Sequence[Item], *, mark: str | None = None, name: str = "", remote: str = ""
    ) -> list[Receipt]:
        self.step()
        receipts = []
        for item in items:
            try:
                bound.codec.decode(item.raw, encoding=bound.contract.encoding)
            except HubError as error:
                receipts.append(Receipt(Outcome.REFUSED, error=error))
                self._count(item)
                continue
            self._count(item)
            self.items.append(item)
            receipts.append(Receipt(Outcome.OK, len(self.items)))
        if mark is not None:
            self.marks[name] = mark
        self.commits += 1
        self.step()
        return receipts

    def _count(self, item: Item) -> None:
        key = (item.control_id, item.raw)
        self.again += key in self._seen
        self._seen.add(key)

    async def mark(self, bound: Bound, name: str = "") -> str:
        return self.marks.get(name, "")

    def refuse(self, bound: Bound, raw: bytes, error: HubError, *, remote: str = "") -> None:
        self.refusals.append(error)

    def note_run(self, bound: Bound, **more: Any) -> None: ...

    @property
    def raws(self) -> list[bytes]:
        return [item.raw for item in self.items]


class Steps:
    """A backend each call of which may be the last."""

    def __init__(self, inner: Backend, step: Callable[[], None]) -> None:
        self._inner, self._step = inner, step
        self.exact_stamps = inner.exact_stamps

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name in ("close", "alive"):
            return found

        async def call(*arguments: Any, **more: Any) -> Any:
            self._step()
            answer = await found(*arguments, **more)
            self._step()
            return answer

        return call


def csv(**options: Any) -> CsvCodec:
    return CsvCodec(CsvFormat(**options))


def bound(options: Any, codec: Codec | None = None, direction: str = "in", **contract: Any) -> Bound:
    codec = codec or Plain()
    interface = Interface.model_validate({"direction": direction, "adapter": "file", "codec": codec.name, **contract})
    return Bound("lis/files", "lis", "files", "lis@1", interface, codec, {}, options)


class Folder:
    """A folder that is read; each :meth:`run` is one run."""

    def __init__(
        self, root: Path, codec: Codec | None = None, *, contract: Mapping[str, Any] | None = None, **options: Any
    ):
        self.root = root
        self.intake = Kept()
        self._bound = bound(_listen(root, options), codec, **(contract or {}))
        self._restart()

    def _restart(self) -> None:
        self.receiver = FilesReceiver(self._bound, cast(IntakePort, self.intake), self._connect, str(self.root))

    def _connect(self) -> Backend:
        return cast(Backend, Steps(LocalFiles(str(self.root)), self.intake.step))

    def restart(self) -> None:
        """As after kill -9: only the marks are left."""
        self._restart()

    def put(self, name: str, content: bytes = b"x") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    async def run(self) -> Run:
        run = Run(time.time(), "manual")
        await self.receiver.read(run)
        return run

    def files(self) -> dict[str, bytes]:
        """Every file below the root."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }


def _listen(root: Path, options: dict[str, Any]) -> FileListen:
    given = {"archive": "archive/x", "complete": {"by": "name"}, **options}
    return FileListen.model_validate({"root": str(root), **given})


def sender(root: Path, step: Callable[[], None] | None = None, **options: Any) -> FilesSender:
    model = FileConnect.model_validate({"root": str(root), **options})

    def connect() -> Backend:
        inner = LocalFiles(str(root), model.names)
        return cast(Backend, Steps(inner, step)) if step else inner

    return FilesSender(bound(model, JsonLinesCodec(), "out"), connect, str(root))


def outgoing(body: bytes = b"body", key: str = "K1", timeout: float = 20, **variables: Any) -> Outgoing:
    return Outgoing(body, DELIVERY, key, "ADT^A01", "C1", 1, timeout, variables)
