"""Copies elsewhere: nothing is lost while a collector is down or dies, nothing waits for one, and what was put back is noticed."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.audit.config import ExportConfig
from hub.audit.copies import FileCopy, line_of, make_copy, syslog_message
from hub.audit.exporter import Cursors, Exporter
from tests.audit.audit_support import World
from tests.audit.collector import SYSLOG, Collector

PATIENCE = 20.0


def wait_for(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.02)


class Export:
    """An exporter that is started again as a new process would be."""

    def __init__(self, world: World, to: str, **more: str) -> None:
        self.world = world
        self.config = ExportConfig.model_validate({"to": to, **more})
        self.cursors = Cursors(world.data)
        self.exporter = Exporter(
            "copy", make_copy(self.config, world.folder), world.keeper.chains, self.cursors, what=self.config.what
        )
        self.exporter.start()

    def stop(self) -> None:
        self.exporter.stop(PATIENCE)
        self.cursors.close()


@pytest.fixture
def exports(world: World) -> Iterator[Callable[..., Export]]:
    started: list[Export] = []

    def start(to: str, **more: str) -> Export:
        started.append(Export(world, to, **more))
        return started[-1]

    yield start
    for export in started:
        export.stop()


def everything(world: World) -> set[tuple[str, int, str]]:
    return {(source.name, row["seq"], row["hash"]) for source in world.keeper.chains() for row in source.rows()}


def told(messages: list[bytes]) -> set[tuple[str, int, str]]:
    found = set()
    for message in messages:
        match = SYSLOG.fullmatch(message)
        assert match is not None, message
        assert match[1] == b"109"
        row = json.loads(match[3])
        found.add((row["chain"], row["seq"], row["hash"]))
    return found


def test_a_file_gets_every_entry_once(world: World, exports: Callable[..., Export]) -> None:
    file = world.folder / "copy.jsonl"
    world.fill(2)
    first = exports("file:copy.jsonl")
    wait_for(lambda: file.exists() and len(file.read_text().splitlines()) == 6, "six lines")
    world.fill(1)
    wait_for(lambda: len(file.read_text().splitlines()) == 9, "nine lines")
    first.exporter.stop(PATIENCE)
    world.fill(1)
    exports("file:copy.jsonl")
    wait_for(lambda: len(file.read_text().splitlines()) == 12, "twelve lines")
    assert world.verify(file).problems == []
    assert world.verify(file).witnesses == 12
    assert file.stat().st_mode & 0o077 == 0
    world.edit("worker-00", "DELETE FROM {t} WHERE seq = 4")
    assert len(world.verify(file).problems) == 1


def test_a_line_that_was_cut_off_does_not_spoil_the_next(tmp_path: Path) -> None:
    file = tmp_path / "copy"
    file.write_bytes(b'{"chain":"hub","se')
    row = {"seq": 1, "at": 1, "entry": "{}", "hash": "x"}
    FileCopy(file).write([("hub", row)])
    assert file.read_text().splitlines() == ['{"chain":"hub","se', line_of("hub", row)]


def test_only_checkpoints(world: World, exports: Callable[..., Export]) -> None:
    world.fill(2)
    world.keeper.checkpoint()
    world.fill(2)
    world.keeper.checkpoint()
    exports("file:copy.jsonl", what="checkpoints")
    file = world.folder / "copy.jsonl"
    wait_for(lambda: file.exists() and len(file.read_text().splitlines()) == 2, "two checkpoints")
    done = world.verify(file)
    assert (done.problems, done.witnesses) == ([], 2)
    world.edit("worker-01", "DELETE FROM {t} WHERE seq = 4")
    world.edit("hub", "DELETE FROM {t} WHERE seq > 4")
    assert {problem.partition(":")[0] for problem in world.verify(file).problems} == {"hub", "worker-01"}


def test_a_collector_that_is_down_and_comes_back(world: World, exports: Callable[..., Export]) -> None:
    collector = Collector()
    port = collector.port
    world.fill(2)
    export = exports(f"tcp://127.0.0.1:{port}")
    wait_for(lambda: told(collector.messages) == everything(world), "the first entries")
    collector.close()
    world.fill(3)
    wait_for(lambda: export.exporter.trouble, "the trouble is told")
    before = list(collector.messages)
    world.fill(3)
    again = Collector(port)
    wait_for(lambda: told(before + again.messages) == everything(world), "what was missed")
    wait_for(lambda: not export.exporter.trouble, "no trouble")
    again.close()


def test_a_collector_that_dies_with_what_it_was_just_sent(world: World, exports: Callable[..., Export]) -> None:
    """The bytes were acknowledged by the other machine, and lost with the process there."""
    collector = Collector(drop_after=5)
    world.fill(4)
    export = exports(f"tcp://127.0.0.1:{collector.port}")
    wait_for(lambda: export.exporter.trouble, "the loss is noticed")
    port = collector.port
    collector.close()
    again = Collector(port)
    wait_for(lambda: told(again.messages) == everything(world), "all of it once more")
    again.close()


def test_where_it_was_is_remembered_after_a_restart(world: World, exports: Callable[..., Export]) -> None:
    collector = Collector()
    world.fill(2)
    first = exports(f"tcp://127.0.0.1:{collector.port}")
    wait_for(lambda: len(first.cursors.of("copy")) == 3, "three chains")
    first.exporter.stop(PATIENCE)
    count = len(collector.messages)
    world.fill(1)
    exports(f"tcp://127.0.0.1:{collector.port}")
    wait_for(lambda: told(collector.messages) == everything(world), "the rest")
    assert len(collector.messages) == count + 3
    collector.close()


def test_what_was_archived_meanwhile_is_not_lost(world: World, exports: Callable[..., Export]) -> None:
    from hub.audit.archiving import archive_chain
    from hub.audit.signing import Signer

    world.fill(250)  # more than a batch
    done = archive_chain(world.source("worker-00"), 1 << 60, Signer(world.config, world.file.parent))
    world.catalogs[0].trim_audit(done.last)
    exports("file:copy.jsonl")
    file = world.folder / "copy.jsonl"
    wait_for(lambda: file.exists() and len(file.read_text().splitlines()) == 750, "everything")
    assert world.verify(file).problems == []


def test_a_chain_that_was_put_back_is_noticed_and_copied_anew(world: World, exports: Callable[..., Export]) -> None:
    world.fill(3)
    export = exports("file:copy.jsonl")
    wait_for(lambda: len(export.cursors.of("copy")) == 3, "three chains")
    world.edit("worker-00", "DELETE FROM {t} WHERE seq = 3")
    wait_for(lambda: export.exporter.set_back == {"worker-00"}, "it is noticed")
    world.fill(2)
    lines = (world.folder / "copy.jsonl").read_text
    wait_for(lambda: everything(world) <= {key(line) for line in lines().splitlines()}, "what there is now")
    assert export.exporter.status()["set_back"] == ["worker-00"]


def key(line: str) -> tuple[str, int, str]:
    row = json.loads(line)
    return row["chain"], row["seq"], row["hash"]


def test_datagrams(world: World, exports: Callable[..., Export]) -> None:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    receiver.settimeout(PATIENCE)
    world.fill(1)
    world.keeper.trail.record("li", "delivery.resend", "many", {"deliveries": ["0SC9WMJQW0001"] * 6000})
    exports(f"udp://127.0.0.1:{receiver.getsockname()[1]}")
    messages = [receiver.recv(1 << 16) for _ in range(4)]
    assert told(messages) == everything(world)
    assert max(len(message) for message in messages) < 60_000
    receiver.close()


def test_tls_with_a_certificate_that_is_trusted_and_one_that_is_not(
    world: World, exports: Callable[..., Export], tmp_path: Path
) -> None:
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    made = subprocess.run([*command.split(), *files], capture_output=True)
    assert made.returncode == 0
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    collector = Collector(context=context)
    world.fill(2)
    refused = exports(f"tls://localhost:{collector.port}")
    wait_for(lambda: "certificate" in refused.exporter.trouble.lower(), "it is not trusted")
    assert collector.messages == []
    refused.exporter.stop(PATIENCE)
    exports(f"tls://localhost:{collector.port}", ca="cert.pem")
    wait_for(lambda: told(collector.messages) == everything(world), "everything")
    collector.close()


def test_killed_while_it_copies(world: World) -> None:
    """Whatever the moment: afterwards everything is there, nothing twice but what the last batch had."""
    world.fill(300)
    program = "import sys, pathlib; from tests.audit.test_copies import Child; Child(pathlib.Path(sys.argv[1])).run()"
    root = Path(__file__).resolve().parents[2]
    file = world.folder / "copy.jsonl"
    for size in (1, 60_000, 200_000):
        child = subprocess.Popen([sys.executable, "-c", program, str(world.folder)], cwd=root, env={**os.environ})
        wait_for(lambda size=size: file.exists() and file.stat().st_size >= size, "it copies")  # type: ignore[misc]
        child.send_signal(signal.SIGKILL)
        child.wait()
    export = Export(world, "file:copy.jsonl")
    found = lambda: {key(line) for line in file.read_text().splitlines() if line.endswith("}")}  # noqa: E731
    wait_for(lambda: everything(world) <= found(), "everything")
    export.stop()
    assert world.verify(file).problems == []


class Child:
    """Copies until it is killed; run in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self) -> None:
        from hub.audit.sources import sources
        from hub.contract import HubConfig

        data = self.folder / "var" / "data"
        chains = sources(HubConfig(), self.folder / "config", data)
        Exporter("copy", FileCopy(self.folder / "copy.jsonl"), lambda: chains, Cursors(data)).start()
        threading.Event().wait()


texts = st.text(max_size=50)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(actor=texts, reason=texts, chain=st.sampled_from(["hub", "worker-00"]), most=st.sampled_from([0, 300]))
def test_no_entry_can_break_out_of_its_message(actor: str, reason: str, chain: str, most: int) -> None:
    entry = json.dumps({"actor": actor, "reason": reason}, ensure_ascii=False)
    message = syslog_message(
        chain, {"seq": 7, "at": 1_700_000_000_000_000, "entry": entry, "hash": "ab"}, "host", most=most
    )
    match = SYSLOG.fullmatch(message)
    assert match is not None
    row = json.loads(match[3])
    assert (row["chain"], row["seq"], row["hash"]) == (chain, 7, "ab")
    assert row["entry"] in (entry, "")
    assert not most or len(message) <= max(most, 160)
