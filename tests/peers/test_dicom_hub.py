"""A whole hub between a modality, a worklist server and an archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.codecs.dicom import DicomCodec
from tests.adapters.dicom_support import document, image
from tests.kernel.process import HubProcess, make_site, wait_for
from tests.peers.imaging import Orthanc, WorklistScp, dcmtk
from tests.peers.test_dicom import ITEM, data_set

pytestmark = [pytest.mark.peers, pytest.mark.xdist_group("orthanc")]

_PACS = """
id: pacs
name: 影像系统
assumed: true
settings:
  archive_port: {type: port, required: true}
  ris_port: {type: port, required: true}
interfaces:
  images:
    direction: in
    adapter: dicom
    listen: {port: 0, calling: [CT01], inline: 100KB, index_at_end: true}
    codec: dicom
    keys: {study: StudyInstanceUID}
  worklist:
    direction: in
    style: request
    adapter: dicom
    listen: {port: 0, services: [worklist]}
    codec: json
    type: service
  archive:
    direction: out
    adapter: dicom
    connect: {host: 127.0.0.1, port: "${archive_port}", called: ORTHANC}
    codec: dicom
    mapping: anonymous
    order_by: StudyInstanceUID
  ris:
    direction: out
    adapter: dicom
    connect: {host: 127.0.0.1, port: "${ris_port}", called: MWL, service: worklist}
    codec: json
"""
_ANONYMOUS = """
from: {codec: dicom, types: ["*"]}
to: {codec: dicom, base: source}
fields:
  PatientName: {const: "匿名"}
"""


@pytest.fixture
def worklists(tmp_path: Path) -> Iterator[WorklistScp]:
    server = WorklistScp(tmp_path / "wlm")
    server.start()
    server.add("one", ITEM)
    yield server
    server.stop()


def test_from_the_worklist_to_the_archive(tmp_path: Path, orthanc: Orthanc, worklists: WorklistScp) -> None:
    config = make_site(
        tmp_path,
        "http://127.0.0.1:1",
        intake={"request_timeout": "3s"},
        systems={"rad": {"plugin": "pacs", "settings": {"archive_port": orthanc.port, "ris_port": worklists.port}}},
        routes={
            "up": {
                "from": "rad/images",
                "when": "SOPClassUID != '1.2.840.10008.5.1.4.33'",
                "to": "rad/archive",
            },
            "ask": {"from": "rad/worklist", "to": "rad/ris"},
        },
    )
    (tmp_path / "plugins" / "pacs").mkdir()
    (tmp_path / "plugins" / "pacs" / "plugin.yaml").write_text(_PACS, encoding="utf-8")
    (tmp_path / "mappings" / "anonymous.yaml").write_text(_ANONYMOUS, encoding="utf-8")
    large = document(1_000_000, 662)
    for name, raw in (("small", image(661)), ("large", large)):
        (tmp_path / f"{name}.dcm").write_bytes(raw)
    with HubProcess(config) as hub:
        port = str(hub.port("rad/worklist"))
        keys = ["-k", "0010,0010", "-k", "0010,0020=P1", "-k", "0008,0005=GB18030"]
        dcmtk("findscu", "-W", "-X", "-od", str(tmp_path), *keys, "-aec", "TONGQU", "127.0.0.1", port)
        (answer,) = tmp_path.glob("rsp*.dcm")
        tree = DicomCodec().decode(answer.read_bytes())
        assert (tree.get("PatientName"), tree.get("SpecificCharacterSet")) == ("Zhang^San=张^三", "GB18030")
        worklists.kill()
        said = dcmtk("findscu", "-v", "-W", *keys, "-aec", "TONGQU", "127.0.0.1", port)
        assert "OutOfResources" in said.replace(" ", "")
        port = str(hub.port("rad/images"))
        files = [str(tmp_path / f"{name}.dcm") for name in ("small", "large")]
        dcmtk("storescu", "-aet", "CT09", "-aec", "TONGQU", "127.0.0.1", port, *files, ok=False)
        dcmtk("storescu", "-R", "-aet", "CT01", "-aec", "TONGQU", "127.0.0.1", port, *files)
        wait_for(lambda: {"1.2.3.9.661", "1.2.3.9.662"} <= set(orthanc.instances()), "both objects in the archive")
        kept = orthanc.file_of("1.2.3.9.662")
        tree = DicomCodec().decode(kept)
        assert tree.get("PatientName") == "匿名"
        assert tree.get("EncapsulatedDocument") == DicomCodec().decode(large).get("EncapsulatedDocument")
        assert len(data_set(kept)) > 1_000_000

        def told() -> bool:
            found = hub.call("GET", "/api/v1/messages?limit=50").json["messages"]
            return any(one["control_id"].startswith("2.25.") for one in found)

        wait_for(told, "the index message")
