"""Ports for servers that have to be told theirs."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Iterator
from functools import cache
from itertools import cycle
from pathlib import Path

__all__ = ["free_port"]

#: Below are ports of well-known services.
FIRST = 10_000
#: Where the system begins to give outgoing connections ports, unless it says otherwise.
OUTGOING = 32_768


def free_port() -> int:
    """A port that is free, that no outgoing connection is given by chance, and that nobody else in this run of the tests is told."""
    while True:
        port = next(_mine())
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port


@cache
def _mine() -> Iterator[int]:
    """The ports of this worker, from any one on."""
    end = OUTGOING
    with contextlib.suppress(OSError):
        end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = range(FIRST + worker, max(end, FIRST + 1000), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    start = random.SystemRandom().randrange(len(share))
    return cycle([*share[start:], *share[:start]])
