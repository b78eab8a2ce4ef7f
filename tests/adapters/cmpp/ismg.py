"""A gateway (ISMG) for tests, written from the protocol text alone: it shares no code with the adapter and checks every byte.

Runs in a thread of its own, so that tests on the event loop and tests of hub processes use the same one.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 20.0


@dataclass
class Sms:
    """A SUBMIT as it was understood."""

    msg_id: int
    connection: int
    sequence: int
    at: float
    fields: dict[str, Any]
    content: bytes

    @property
    def text(self) -> str:
        data = self.content[self.content[0] + 1 :] if self.fields["udhi"] else self.content
        return data.decode({0: "ascii", 8: "utf-16-be", 15: "gbk"}[self.fields["fmt"]])


@dataclass
class Script:
    """How it behaves; tests change it while it runs."""

    version: int = 0x30
    secret: bytes = b"secret"
    account: bytes = b"901234"
    status: int | None = None  # answer every CONNECT with it
    wrong_digest: bool = False
    results: list[int] = field(default_factory=list)  # of the next SUBMITs, instead of 0
    silent: bool = False  # reads, never answers
    deaf_submit: bool = False  # takes SUBMITs, does not answer them
    cut_after: int = 0  # so many bytes of the next SUBMIT_RESP, then the connection is cut
    report: str = ""  # state reported of each accepted SUBMIT
    report_first: bool = False  # before SUBMIT_RESP
    report_behind: bool = False  # in one packet with SUBMIT_RESP
    report_elsewhere: bool = False  # on another connection
    report_short: bool = False  # 60 bytes also in 3.0
    turned: bool = False  # Msg_Id of the report with its bytes the other way round
    hold: int = 0  # answer SUBMITs only when so many wait


class Ismg:
    def __init__(self, **script: Any) -> None:
        self.script = Script(**script)
        self.wrong: list[str] = []  # what a real gateway would complain about
        self.sms: list[Sms] = []
        self.connects: list[dict[str, Any]] = []
        self.active_tests = self.farewells = 0
        self.deliver_answers: list[tuple[int, int, int]] = []  # sequence, Msg_Id, result
        self.most_waiting = 0
        self._reports: dict[int, tuple[Sms, str]] = {}  # by Msg_Id of their DELIVER
        self._lock = threading.RLock()
        self._accepted = 0
        self._held: list[tuple[_Link, int, int, int]] = []
        self._next_id = 0x1234_5678_0001_0000
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.links: list[_Link] = []
        threading.Thread(target=self._accept, daemon=True).start()

    # -- life ------------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        self.stop_listening()

    def stop_listening(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # or the thread in accept would still take one
        self._listener.close()
        self.cut()

    def listen_again(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        for link in list(self.links):
            link.close()

    def _accept(self) -> None:
        listener = self._listener
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                link = _Link(self, client, self._accepted)
                self._accepted += 1
                self.links.append(link)
            threading.Thread(target=link.run, daemon=True).start()

    # -- what tests do -------------------------------------------------------------------------------------------------

    def deliver(self, content: bytes, *, report: bool = False, link: int = -1, **fields: Any) -> int:
        """Send a DELIVER; returns its sequence number."""
        with self._lock:
            return self.links[link].deliver(content, report, fields)

    def report_of(self, sms: Sms, stat: str, link: _Link | None = None, **fields: Any) -> int:
        """A status report, over the connection of the message unless told otherwise."""
        one = link or next(one for one in self.links if one.number == sms.connection)
        order = "<Q" if self.script.turned else ">Q"
        width = 32 if one.version >= 0x30 and not self.script.report_short else 21
        content = struct.pack(order, sms.msg_id) + stat.encode().ljust(7, b"\0") + b"2611280930" + b"2611280931"
        content += sms.fields["phone"].encode().ljust(width, b"\0") + struct.pack(">I", 7)
        self._reports[fields.setdefault("msg_id", self.new_id())] = sms, stat
        return one.deliver(content, True, fields)

    def repeat_reports(self) -> None:
        """Send those again that nobody answered, as a gateway does, over the connections of today."""
        answered = {msg_id for _, msg_id, _ in self.deliver_answers}
        link = next(one for one in self.links if one.version)
        for msg_id, (sms, stat) in list(self._reports.items()):
            if msg_id not in answered:
                self.report_of(sms, stat, link, msg_id=msg_id)

    def answer_of(self, sequence: int) -> int | None:
        return next((result for number, _, result in self.deliver_answers if number == sequence), None)

    def wait(self, condition: Callable[[], Any], what: str = "") -> Any:
        end = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert time.monotonic() < end, f"not in time: {what}; wrong: {self.wrong}"
            time.sleep(0.005)
        return found

    def release(self) -> None:
        """Answer what is held."""
        with self._lock:
            held, self._held = self._held, []
        for link, sequence, msg_id, result in held:
            link.answer_submit(sequence, msg_id, result)

    # -- inside ----------------------------------------------------------------------------------------------------------

    def new_id(self) -> int:
        with self._lock:
            self._next_id += 1
            return self._next_id


class _Link:
    def __init__(self, ismg: Ismg, client: socket.socket, number: int) -> None:
        self.ismg, self.client, self.number = ismg, client, number
        self.version = 0
        self.sequence = 100 * (number + 1)
        self.seen: set[int] = set()
        self.waiting = 0
        self.corked: bytes | None = None  # what goes out together

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.client.shutdown(socket.SHUT_RDWR)
        self.client.close()
        with self.ismg._lock:
            if self in self.ismg.links:
                self.ismg.links.remove(self)

    def run(self) -> None:
        try:
            while True:
                head = self.read(12)
                length, command, sequence = struct.unpack(">III", head)
                self.command(command, sequence, self.read(length - 12))
        except (OSError, EOFError):
            pass
        finally:
            self.close()

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.client.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def say(self, command: int, sequence: int, body: bytes = b"") -> None:
        if self.ismg.script.silent:
            return
        data = struct.pack(">III", 12 + len(body), command, sequence) + body
        if self.corked is not None:
            self.corked += data
            return
        with contextlib.suppress(OSError):
            self.client.sendall(data)

    def uncork(self) -> None:
        data, self.corked = self.corked, None
        with contextlib.suppress(OSError):
            self.client.sendall(data or b"")

    def bad(self, what: str) -> None:
        self.ismg.wrong.append(what)

    # -- commands --------------------------------------------------------------------------------------------------------

    def command(self, command: int, sequence: int, body: bytes) -> None:
        if command == 1:
            self.connect(sequence, body)
        elif not self.version:
            self.bad("not logged in")
        elif command == 4:
            self.submit(sequence, body)
        elif command == 0x80000005:
            want = 12 if self.version >= 0x30 else 9
            if len(body) != want:
                self.bad(f"DELIVER_RESP {len(body)}")
            self.ismg.deliver_answers.append(
                (sequence, int.from_bytes(body[:8], "big"), int.from_bytes(body[8:], "big"))
            )
        elif command == 8:
            self.ismg.active_tests += 1
            if body:
                self.bad("ACTIVE_TEST has a body")
            self.say(0x80000008, sequence, b"\0")
        elif command == 0x80000008:
            if len(body) != 1:
                self.bad("ACTIVE_TEST_RESP body")
        elif command == 2:
            self.ismg.farewells += 1
            if body:
                self.bad("TERMINATE has a body")
            self.say(0x80000002, sequence)
        elif command != 0x80000002:
            self.bad(f"command {command:#x}")

    def connect(self, sequence: int, body: bytes) -> None:
        script = self.ismg.script
        if len(body) != 27:
            self.bad(f"CONNECT {len(body)}")
        source, digest, version = body[:6], body[6:22], body[22]
        stamp = struct.unpack(">I", body[23:27])[0]
        wide = version >= 0x30
        status = 0
        text = f"{stamp:010d}".encode()
        if source != script.account.ljust(6, b"\0"):
            status = 2
        elif digest != hashlib.md5(source + bytes(9) + script.secret + text).digest():
            status = 3
        elif version > script.version:
            status = 4
        if script.status is not None:
            status = script.status
        raw = struct.pack(">I", status) if wide else bytes((status,))
        own = hashlib.md5(raw + digest + script.secret).digest() if not script.wrong_digest else bytes(16)
        self.ismg.connects.append({"version": version, "stamp": text.decode(), "status": status})
        if status == 0:
            self.version = version
        self.say(0x80000001, sequence, raw + own + bytes((script.version,)))
        if status:
            time.sleep(0.01)
            self.close()

    def submit(self, sequence: int, body: bytes) -> None:
        script, ismg = self.ismg.script, self.ismg
        new = self.version >= 0x30
        layout = (
            [("msg_id", 8), ("total", 1), ("number", 1), ("registered", 1), ("level", 1), ("service", 10)]
            + [("fee_user", 1), ("fee_terminal", 32 if new else 21)]
            + ([("fee_terminal_type", 1)] if new else [])
            + [("pid", 1), ("udhi", 1), ("fmt", 1), ("msg_src", 6), ("fee_type", 2), ("fee_code", 6)]
            + [("valid", 17), ("at", 17), ("src_id", 21), ("count", 1), ("phone", 32 if new else 21)]
            + ([("phone_type", 1)] if new else [])
            + [("length", 1)]
        )
        fields: dict[str, Any] = {}
        at = 0
        for name, width in layout:
            raw = body[at : at + width]
            at += width
            if name == "msg_id":
                fields[name] = int.from_bytes(raw, "big")
            elif width == 1:
                fields[name] = raw[0]
            else:
                text, _, padding = raw.partition(b"\0")
                if padding.strip(b"\0"):
                    self.bad(f"{name} is not padded with zeros")
                fields[name] = text.decode("ascii")
        content = body[at : at + fields["length"]]
        tail = body[at + fields["length"] :]
        if tail != bytes(20 if new else 8):
            self.bad(f"reserve {tail!r}")
        if fields["msg_id"] or fields["count"] != 1 or not fields["phone"].isdigit():
            self.bad("msg_id, count or phone")
        if fields["msg_src"] != script.account.decode():
            self.bad("msg_src")
        if len(content) > (160 if fields["fmt"] == 0 and not fields["udhi"] else 140):
            self.bad(f"content of {len(content)}")
        if fields["udhi"] not in (0, 1) or (fields["udhi"] == 0) != (fields["total"] == 1):
            self.bad("udhi")
        if fields["udhi"]:
            head = content[: content[0] + 1]
            if head[:3] not in (b"\x05\x00\x03", b"\x06\x08\x04") or head[-2:] != bytes(
                (fields["total"], fields["number"])
            ):
                self.bad(f"header {head.hex()}")
        if sequence in self.seen:
            self.bad("sequence repeated")
        self.seen.add(sequence)
        with ismg._lock:
            self.waiting += 1
            ismg.most_waiting = max(ismg.most_waiting, self.waiting)
            result = script.results.pop(0) if script.results else 0
            msg_id = ismg.new_id()
            sms = Sms(msg_id, self.number, sequence, time.monotonic(), fields, content)
            if result == 0:
                ismg.sms.append(sms)
        if script.deaf_submit:
            return
        if script.report and script.report_first and result == 0:
            self.report(sms)
        if script.report_behind:
            self.corked = b""
        if script.hold:
            with ismg._lock:
                ismg._held.append((self, sequence, msg_id, result))
                enough = len(ismg._held) >= script.hold
            if enough:
                ismg.release()
        else:
            self.answer_submit(sequence, msg_id, result)
        if script.report and not script.report_first and result == 0:
            self.report(sms)
        if script.report_behind:
            self.uncork()

    def answer_submit(self, sequence: int, msg_id: int, result: int) -> None:
        body = struct.pack(">Q", msg_id) + (struct.pack(">I", result) if self.version >= 0x30 else bytes((result,)))
        with self.ismg._lock:
            self.waiting -= 1
        cut = self.ismg.script.cut_after
        if cut:
            self.ismg.script.cut_after = 0
            with contextlib.suppress(OSError):
                self.client.sendall((struct.pack(">III", 12 + len(body), 0x80000004, sequence) + body)[:cut])
            self.close()
            return
        self.say(0x80000004, sequence, body)

    def report(self, sms: Sms) -> None:
        """Over another connection of the same login, where the script says so and there is one."""
        others = [one for one in self.ismg.links if one is not self and one.version]
        elsewhere = self.ismg.script.report_elsewhere and others
        self.ismg.report_of(sms, self.ismg.script.report, others[0] if elsewhere else self)

    def deliver(self, content: bytes, report: bool, fields: dict[str, Any]) -> int:
        new = self.version >= 0x30
        self.sequence += 1
        sequence = fields.get("sequence", self.sequence)
        src = fields.get("src", "13900000001").encode()
        body = struct.pack(">Q", fields.get("msg_id", self.ismg.new_id()))
        body += fields.get("dest", "10690001").encode().ljust(21, b"\0") + b"HELP".ljust(10, b"\0")
        body += bytes((0, fields.get("udhi", 0), fields.get("fmt", 0)))
        body += src.ljust(32, b"\0") + b"\0" if new else src.ljust(21, b"\0")
        body += bytes((int(report), len(content))) + content + bytes(20 if new else 8)
        self.say(5, sequence, body)
        return sequence
