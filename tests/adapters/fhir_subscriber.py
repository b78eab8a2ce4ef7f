"""A subscriber: a web server of its own in a process of its own, which notes what it is sent into a file. ``python -m … PORT FILE``

What it answers it reads from ``FILE.status`` at every call: a number, or ``hang``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from tests.kernel.process import ROOT, wait_for
from tests.ports import free_port

__all__ = ["SubscriberPeer"]


class SubscriberPeer:
    """The process, from outside."""

    def __init__(self, folder: Path, name: str = "subscriber", port: int = 0) -> None:
        self._file = folder / f"{name}.jsonl"
        self._status = folder / f"{name}.jsonl.status"
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        command = [sys.executable, "-m", "tests.adapters.fhir_subscriber", str(self.port), str(self._file)]
        self._process = subprocess.Popen(command, cwd=ROOT)
        wait_for(self._listens, "the subscriber")
        return self

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
            return True
        return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def answers(self, status: int | str) -> None:
        self._status.write_text(str(status), encoding="utf-8")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *reason: object) -> None:
        with contextlib.suppress(OSError, AssertionError):
            self.resume()
        self.kill()

    @property
    def calls(self) -> list[dict[str, Any]]:
        """What it was sent and took."""
        if not self._file.exists():
            return []
        return [json.loads(line) for line in self._file.read_text(encoding="utf-8").splitlines() if line.endswith("}")]

    def bodies(self) -> list[Any]:
        return [json.loads(call["body"]) for call in self.calls if call["body"]]


async def _serve(port: int, file: Path) -> None:
    status = Path(f"{file}.status")

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        body = (await request.read()).decode()
        answer = status.read_text(encoding="utf-8") if status.exists() else "200"
        if answer == "hang":
            await asyncio.sleep(3600)
        call = {"method": request.method, "path": request.raw_path, "headers": dict(request.headers), "body": body}
        if int(answer) < 300 or int(answer) == 410:
            with file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(call) + "\n")
                out.flush()
                os.fsync(out.fileno())
        return web.Response(status=int(answer))

    server = await asyncio.get_running_loop().create_server(web.Server(handle), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))
