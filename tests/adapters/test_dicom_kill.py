"""A hub in a process of its own that is killed while objects come: nothing that was answered with success is lost or taken twice."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pynetdicom.dimse_primitives import C_STORE

from adapters.dicom.client import Lost, NoService, Target, context_for, exchange, open_association, release
from adapters.dicom.network import break_off, context_of, local_entity
from adapters.dicom.references import FOLDER
from hub.api import UnreachableError
from hub.codecs.dicom_read import read_file
from tests.adapters.dicom_support import PDF, document
from tests.kernel.process import PATIENCE, HubProcess, make_site, wait_for

_EXPLICIT = "1.2.840.10008.1.2.1"
_PACS = """
id: pacs
name: PACS
interfaces:
  images:
    direction: in
    adapter: dicom
    listen: {port: 0, inline: 10KB, index_after: 1s}
    codec: dicom
    keys: {study: StudyInstanceUID}
"""


def site(folder: Path) -> Path:
    config = make_site(folder, "http://127.0.0.1:1", systems={"ris": {"plugin": "pacs"}}, routes={})
    (folder / "plugins" / "pacs").mkdir()
    (folder / "plugins" / "pacs" / "plugin.yaml").write_text(_PACS, encoding="utf-8")
    return config


def data_set(raw: bytes) -> bytes:
    return raw[max(place.end for place in read_file(raw).meta.values()) :]


class Modality:
    """Sends objects one after the other until the association breaks."""

    def __init__(self, port: int) -> None:
        entity = local_entity("CT01", max_pdu=64 << 10, acse=10, dimse=10, network=60)
        target = Target("127.0.0.1", port, "TONGQU")
        self._association = open_association(entity, target, [context_of(PDF, [_EXPLICIT])], NoService())

    def store(self, number: int) -> bool:
        request: Any = C_STORE()
        request.MessageID = number % 1000 + 1
        request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = PDF, f"1.2.3.9.{number}"
        request.Priority = 0
        context = context_for(self._association, PDF, [_EXPLICIT])
        assert context is not None
        limit = time.monotonic() + PATIENCE
        body = data_set(document(5_000 if number % 2 else 100_000, number))
        if not self._association.send_object(request, context, iter((body,)), limit):
            return False
        try:
            return int(next(exchange(self._association, request, context, limit, sent=True)).Status) == 0
        except Lost:
            return False

    def leave(self) -> None:
        release(self._association)

    def break_off(self) -> None:
        break_off(self._association)


def messages(hub: HubProcess) -> list[str]:
    """Control ids of the objects the hub has."""
    return [one["control_id"] for one in hub.call("GET", "/api/v1/messages?limit=500").json["messages"]]


def test_killed_while_objects_come(tmp_path: Path) -> None:
    config = site(tmp_path)
    answered: set[int] = set()
    number = 0
    for _ in range(3):
        with HubProcess(config) as hub:
            modality = Modality(hub.port("ris/images"))
            for _ in range(7):
                number += 1
                assert modality.store(number)
                answered.add(number)
            hub.kill()
            number += 1
            assert not modality.store(number)
            modality.break_off()
    with HubProcess(config) as hub:
        port = hub.port("ris/images")
        modality = Modality(port)
        for again in (1, 2, number, number + 1):  # sent again after a break: the same success
            assert modality.store(again)
            answered.add(again)
        modality.leave()

        def told() -> bool:
            return any(one.startswith("2.25.") for one in messages(hub))

        wait_for(told, "an index message")
        kept = [one for one in messages(hub) if not one.startswith("2.25.")]
        assert sorted(kept) == sorted(f"1.2.3.9.{one}" for one in answered)
        files = list((hub.data / FOLDER / "ris" / "images").glob("??/*.dcm"))
        assert len(files) == sum(one % 2 == 0 for one in answered)
        assert hub.stop() == 0
        try:
            Modality(port)
            raise AssertionError("it still listens")
        except UnreachableError:
            return
