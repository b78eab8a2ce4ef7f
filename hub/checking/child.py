"""A process that makes checks which take long: reads requests from standard input, writes what was found to standard output.

A frame is four bytes of length, big-endian, and that many bytes. A request is two frames, a JSON object and the message:
``{"spec": …}`` with an empty message makes the validators of a specification ready, ``{"spec": …, "now_us": …}`` checks.
The answer is one frame, a JSON object.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import OrderedDict
from typing import Any, BinaryIO

import orjson

from hub.checking.checks import run
from hub.checking.load import Made, make_slow
from hub.i18n import set_language
from hub.mapping import Context

__all__ = ["main", "read_frame", "write_frame"]

_SPECS_KEPT = 64


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next frame; None at the end."""
    head = stream.read(4)
    return stream.read(int.from_bytes(head, "big")) if len(head) == 4 else None


def write_frame(stream: BinaryIO, data: bytes) -> None:
    stream.write(len(data).to_bytes(4, "big") + data)
    stream.flush()


def _end_with(parent: int) -> None:
    """A check that hangs would otherwise outlive a hub that was killed."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


class _Checker:
    def __init__(self) -> None:
        self._made: OrderedDict[str, Made] = OrderedDict()

    def answer(self, request: dict[str, Any], raw: bytes) -> dict[str, Any]:
        spec = request["spec"]
        made = self._made.get(spec["key"])
        if made is None:
            made = self._made[spec["key"]] = make_slow(spec["body"])
            if len(self._made) > _SPECS_KEPT:
                self._made.popitem(last=False)
        if "now_us" not in request:
            return {}
        tree = made.codec.decode(raw, encoding=made.encoding)
        report = run(made.validators, raw, tree, Context(now_us=request["now_us"]))
        findings = [finding.as_dict() for finding in report.findings]
        return {"findings": findings, "score": report.score, "took_us": report.took_us}


def main() -> int:
    """Serve until standard input ends."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the answers
    set_language(sys.argv[1])
    threading.Thread(target=_end_with, args=(int(sys.argv[2]),), daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(5)  # receiving and delivering go first
    checker = _Checker()
    while (head := read_frame(requests)) is not None:
        raw = read_frame(requests)
        if raw is None:
            break
        try:
            answer = checker.answer(orjson.loads(head), raw)
        except Exception as error:  # told to the one who asked, who goes on
            answer = {"error": type(error).__name__}
        write_frame(answers, orjson.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
