"""Storage commitment asked for: the result comes on any association, late or never, and is not lost."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from adapters.dicom.call_commit import COMMITMENT, Commit
from adapters.dicom.commitment_requests import CommitmentRequests
from adapters.dicom.state import Instance, State
from adapters.dicom.storage import index_message
from hub.api import CodecError, TransientError
from hub.codecs.dicom_write import write_new
from tests.adapters.dicom_support import CT, DEADLINE, MemoryIntake, calling, image, listening, outgoing, port_of, until
from tests.peers.process import free_port

MR = "1.2.840.10008.5.1.4.1.1.4"
INSTANCE = "1.2.840.10008.1.20.1.1"


def asking(*uids: str) -> bytes:
    items = [{"ReferencedSOPClassUID": CT, "ReferencedSOPInstanceUID": uid} for uid in uids]
    return json.dumps({"ReferencedSOPSequence": items}).encode()


class Archive:
    """An SCP that says what it keeps when it is told to: on the association of the request, or never."""

    def __init__(self, port: int, status: int = 0) -> None:
        self.asked: list[Dataset] = []
        self.answers: list[int] = []
        self.missing: set[str] = set()
        self.silent = False
        self.status = status
        self._threads: list[threading.Thread] = []
        self._entity = AE("ARCHIVE")
        self._entity.add_supported_context(COMMITMENT)
        handlers: list[Any] = [(evt.EVT_N_ACTION, self._action)]
        self._server: Any = self._entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)

    def _action(self, event: Any) -> tuple[int, None]:
        self.asked.append(event.action_information)
        if not self.silent and not self.status:
            tell = threading.Timer(0.05, self.tell, (event.assoc, event.action_information))
            self._threads.append(tell)
            tell.start()
        return self.status, None

    def result(self, asked: Dataset) -> tuple[int, Dataset]:
        said = Dataset()
        said.TransactionUID = asked.TransactionUID
        kept, failed = [], []
        for item in asked.ReferencedSOPSequence:
            if item.ReferencedSOPInstanceUID in self.missing:
                item.FailureReason = 0x0112
                failed.append(item)
            else:
                kept.append(item)
        if kept:
            said.ReferencedSOPSequence = kept
        if failed:
            said.FailedSOPSequence = failed
        return 2 if failed else 1, said

    def tell(self, association: Any, asked: Dataset) -> None:
        kind, said = self.result(asked)
        status, _ = association.send_n_event_report(said, kind, COMMITMENT, INSTANCE)
        self.answers.append(int(status.Status))

    def call_back(self, port: int, asked: Dataset, *, role: bool = True) -> int:
        """On an association of its own, as the provider."""
        from pynetdicom import build_role

        entity = AE("ARCHIVE")
        entity.add_requested_context(COMMITMENT)
        roles: list[Any] = [build_role(COMMITMENT, scp_role=True)] if role else []
        association = entity.associate("127.0.0.1", port, ae_title="TONGQU", ext_neg=roles)
        assert association.is_established
        try:
            self.tell(association, asked)
        finally:
            association.release()
        return self.answers[-1]

    def close(self) -> None:
        for thread in self._threads:
            thread.join(DEADLINE)
        self._server.shutdown()


@contextmanager
def archive(**options: Any) -> Iterator[tuple[Archive, int]]:
    port = free_port()
    server = Archive(port, **options)
    try:
        yield server, port
    finally:
        server.close()


OUT = {"service": "commitment", "called": "ARCHIVE"}


async def test_the_result_comes_on_the_association_of_the_request(tmp_path: Path) -> None:
    with archive() as (server, port):
        async with calling(port, tmp_path, **OUT) as sender:
            reply = await sender.send(outgoing(asking("1.1", "1.2")))
            told = json.loads(reply.body)
            assert (reply.ok, told["committed"], told["failed"]) == (True, 2, [])
            assert told["transaction"] == server.asked[0].TransactionUID
            await until(lambda: server.answers == [0])
            # The next delivery uses the same association.
            assert (await sender.send(outgoing(asking("1.3")))).ok
            assert sender.status()["opened"] == 1


async def test_what_is_not_kept_fails_the_delivery_and_is_asked_anew(tmp_path: Path) -> None:
    with archive() as (server, port):
        server.missing = {"1.2"}
        async with calling(port, tmp_path, **OUT) as sender:
            reply = await sender.send(outgoing(asking("1.1", "1.2")))
            assert (reply.ok, reply.transient, reply.code) == (False, True, "0112")
            assert "1.2 (0112)" in reply.error
            assert json.loads(reply.body)["failed"] == [{"instance": "1.2", "sop_class": CT, "reason": "0112"}]
            server.missing = set()
            assert (await sender.send(outgoing(asking("1.1", "1.2"), attempt=2))).ok
    assert len({one.TransactionUID for one in server.asked}) == 2


@pytest.mark.parametrize("role", [True, False])
async def test_the_result_comes_hours_later_to_another_interface_after_a_restart(tmp_path: Path, role: bool) -> None:
    with archive() as (server, port):
        server.silent = True
        async with calling(port, tmp_path, **OUT) as sender:
            with pytest.raises(TransientError) as caught:
                await sender.send(outgoing(asking("1.1"), timeout=2.0))
            assert caught.value.code == "dicom.commitment_open"
        async with listening(MemoryIntake(), tmp_path, services=["results"]) as receiver:
            asked = server.asked[0]
            assert await asyncio.to_thread(server.call_back, port_of(receiver), asked, role=role) == 0
            stranger = Dataset()
            stranger.update(asked)
            stranger.TransactionUID = "1.2.3.4"
            assert await asyncio.to_thread(server.call_back, port_of(receiver), stranger, role=role) == 0x0112
        async with calling(port, tmp_path, **OUT) as sender:
            assert (await sender.send(outgoing(asking("1.1"), attempt=2))).ok
    assert len(server.asked) == 1


async def test_a_result_that_comes_while_the_delivery_waits(tmp_path: Path) -> None:
    with archive() as (server, port):
        server.silent = True
        async with (
            listening(MemoryIntake(), tmp_path, services=["results"]) as receiver,
            calling(port, tmp_path, **OUT) as sender,
        ):
            sending = asyncio.create_task(sender.send(outgoing(asking("1.1"))))
            await until(lambda: server.asked)
            await asyncio.to_thread(server.call_back, port_of(receiver), server.asked[0])
            assert (await sending).ok


async def test_a_result_that_never_comes_is_asked_for_anew(tmp_path: Path) -> None:
    with archive() as (server, port):
        server.silent = True
        async with calling(port, tmp_path, **OUT, ask_again="0.2s") as sender:
            for attempt in (1, 2):
                with pytest.raises(TransientError):
                    await sender.send(outgoing(asking("1.1"), timeout=2.0, attempt=attempt))
            server.silent = False
            assert (await sender.send(outgoing(asking("1.1"), attempt=3))).ok
    assert len({one.TransactionUID for one in server.asked}) == 3


async def test_a_request_that_is_refused_leaves_nothing_open(tmp_path: Path) -> None:
    with archive(status=0x0213) as (server, port):
        async with calling(port, tmp_path, **OUT) as sender:
            for status, transient in ((0x0213, True), (0x0110, False)):
                server.status = status
                reply = await sender.send(outgoing(asking("1.1")))
                assert (reply.ok, reply.transient, reply.code) == (False, transient, f"{status:04X}")
            server.status = 0
            assert (await sender.send(outgoing(asking("1.1")))).ok


async def test_both_ends_of_the_hub(tmp_path: Path) -> None:
    """The commitment of one hub, asked for and heard by another."""
    async with listening(MemoryIntake(), tmp_path / "a", services=["results"]) as heard:
        peers = {"TONGQU": {"host": "127.0.0.1", "port": port_of(heard)}}
        services = ["store", "commitment"]
        async with listening(
            MemoryIntake(), tmp_path / "b", ae_title="ARCHIVE", services=services, peers=peers
        ) as archive_:
            port = port_of(archive_)
            async with calling(port, tmp_path / "a", called="ARCHIVE") as sender:
                assert (await sender.send(outgoing(image(1)))).ok
            async with calling(port, tmp_path / "a", **OUT) as sender:
                reply = await sender.send(outgoing(image(1)))
                assert (reply.ok, json.loads(reply.body)["committed"]) == (True, 1)


def test_what_a_body_names(tmp_path: Path) -> None:
    requests = CommitmentRequests(tmp_path)
    instances: Callable[[bytes], Any] = lambda body: Commit(outgoing(body), requests, 1.0)._instances  # noqa: E731
    state = State(tmp_path / "state.sqlite")
    state.add(Instance("1.1", CT, "2.1", "3.1", "CT"), "P", "A")
    state.add(Instance("1.2", MR, "2.2", "3.1", "MR"), "P", "A")
    made = index_message(state, "3.1")
    assert made is not None
    assert instances(made[0]) == [(CT, "1.1"), (MR, "1.2")]
    assert instances(image(7)) == [(CT, "1.2.3.9.7")]
    assert instances(asking("1.5", "1.5", "1.6")) == [(CT, "1.5"), (CT, "1.6")]
    for wrong in (b"{}", b'{"ReferencedSOPSequence": [{}]}', write_new({"PatientID": "1"}), b"no DICOM"):
        with pytest.raises(CodecError):
            instances(wrong)
    requests.close()
    state.close()


UIDS = st.lists(st.sampled_from(["1.1", "1.2", "1.3", "1.4"]), max_size=4)


@settings(max_examples=40, deadline=None)
@given(asked=UIDS, kept=UIDS, failed=UIDS)
def test_every_object_that_was_asked_about_is_kept_or_not(asked: list[str], kept: list[str], failed: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        requests = CommitmentRequests(Path(folder))
        asked = list(dict.fromkeys(asked))
        requests.ask("9", "delivery", [(CT, uid) for uid in asked])
        assert requests.hear("9", [(CT, uid) for uid in kept], [(CT, uid, 0x0112) for uid in failed])
        result = requests.result("9")
        assert result is not None
        good, bad = {uid for _, uid in result.kept}, {uid: reason for _, uid, reason in result.failed}
        assert good == (set(asked) & set(kept)) - set(failed)
        assert bad == {uid: 0x0112 if uid in failed else 0x0110 for uid in asked if uid not in good}
        assert requests.hear("9", [], [])  # a repetition changes nothing
        assert requests.result("9") == result
        requests.close()


_CHILD = """
import os, signal, sys
from pathlib import Path
from adapters.dicom.commitment_requests import CommitmentRequests
requests = CommitmentRequests(Path(sys.argv[1]))
requests.ask("9", "delivery", [("1", "1.1")])
requests.hear("9", [("1", "1.1")], [])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_result_survives_the_process_that_heard_it(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _CHILD, str(tmp_path)], timeout=60)
    assert done.returncode < 0
    requests = CommitmentRequests(tmp_path)
    found = requests.latest("delivery")
    assert found is not None
    assert found.result is not None
    assert found.result.kept == [("1", "1.1")]
    requests.use("9")
    assert requests.latest("delivery") is None
    requests.clean(-1.0)
    assert not requests.hear("9", [], [])
    requests.close()
