"""A hospital's imaging with foreign peers: the worklist is asked for by dcmtk, images are sent by dcmtk and kept by Orthanc, the report comes out registered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kernel.process import HubProcess, wait_for
from tests.peers.imaging import Orthanc, dcmtk
from tests.plugins.hospital_support import HOSPITAL, Platform, ask, example, segment, site, table, told

pytestmark = [pytest.mark.peers, pytest.mark.xdist_group("orthanc")]

EXAMPLES = HOSPITAL / "pacs_dicom" / "examples"


@dataclass
class Imaging:
    hub: HubProcess
    archive: Orthanc
    platform: Platform

    def find(self, *keys: str) -> str:
        """What findscu prints of the worklist."""
        sequence = "(0040,0100)[0]"
        wanted = [
            "(0010,0010)",
            "(0010,0020)",
            "(0008,0050)",
            "(0020,000d)",
            *(f"{sequence}.{key}" for key in ("(0040,0009)", "(0008,0060)")),
        ]
        arguments = [part for key in [*wanted, *keys] for part in ("-k", key)]
        return dcmtk(
            "findscu",
            "-v",
            "-W",
            "-aet",
            "CT01",
            "-aec",
            "TONGQU",
            *arguments,
            "127.0.0.1",
            str(self.hub.port("pacs/worklist")),
        )


@pytest.fixture
def imaging(tmp_path: Path) -> Iterator[Imaging]:
    archive, platform = Orthanc(tmp_path / "orthanc"), Platform()
    archive.start()
    systems = {
        "ris": {"plugin": "ris_hl7v2", "settings": {"port": 0}},
        "pacs": {
            "plugin": "pacs_dicom",
            "settings": {
                "database": str(table(tmp_path / "worklist.db")),
                "images_port": archive.hub_port,
                **{f"{name}_port": 0 for name in ("steps", "worklist", "documents")},
                "archive_port": archive.port,
                "archive_ae": "ORTHANC",
                "calling": ["CT01", "ORTHANC"],
                "study_complete": "1s",
            },
        },
        "platform": {
            "plugin": "hospital_platform",
            "settings": {
                "url": platform.url,
                "port": 0,
                "sender_id": "TONGQU-0001",
                "receiver_id": "HIP-0000001",
                "organisation_code": "12359999400000001X",
                "organisation_name": "演示市第一医院",
            },
        },
    }
    routes = {
        "orders": {"from": "ris/messages", "types": ["ORM^O01"], "to": "pacs/worklist_items"},
        "questions": {"from": "pacs/worklist", "to": "pacs/worklist_find"},
        "images": {"from": "pacs/images", "when": "SOPClassUID != '1.2.840.10008.5.1.4.33'", "to": "pacs/archive"},
        "studies": {
            "from": "pacs/images",
            "when": "SOPClassUID == '1.2.840.10008.5.1.4.33'",
            "to": "pacs/archive_commitment",
        },
        "reports": {
            "from": "ris/messages",
            "types": ["ORU^R01"],
            "to": "platform/imaging_report",
            "mapping": "hospital/imaging_report_register_from_v2",
        },
        "documents": {
            "from": "pacs/documents",
            "to": "platform/document",
            "mapping": "hospital/document_register_from_dicom",
        },
    }
    with HubProcess(site(tmp_path, systems, routes)) as hub:
        yield Imaging(hub, archive, platform)
    archive.stop()
    platform.close()


def test_from_the_order_by_hl7_to_worklist_images_and_registered_report(imaging: Imaging) -> None:
    hub = imaging.hub
    order = example("ris_hl7v2", "orm_scheduled.hl7")
    assert segment(ask(hub.port("ris/messages"), order), "MSA")[1] == "AA"
    hub.settled()

    found = imaging.find("(0008,0050)=A2026112001")
    assert "SPS1" in found
    study = re.search(r"\(0020,000d\) UI \[([\d.]+)", found)
    assert study is not None
    assert study[1] == "1.2.826.0.1.3680043.8.498.1"
    assert re.search(r"Number of .*Responses|Find Response: 1", found)
    assert "SPS1" not in imaging.find("(0040,0100)[0].(0008,0060)=MR")
    assert "SPS1" in imaging.find("(0010,0010)=YANG*")

    # The modality takes the study of the worklist item.
    port = str(hub.port("pacs/images"))
    dcmtk("storescu", "-v", "-aet", "CT01", "-aec", "TONGQU", "127.0.0.1", port, str(EXAMPLES / "ct.dcm"))
    wait_for(lambda: imaging.archive.instances() == ["1.2.826.0.1.3680043.8.498.1.1.1"], "the archive has the image")
    dcmtk("storescu", "-aet", "OTHER", "-aec", "TONGQU", "127.0.0.1", port, str(EXAMPLES / "ct.dcm"), ok=False)

    # The study is complete, and the archive says that it keeps it.
    def committed() -> bool:
        rows = hub.call("GET", "/api/v1/deliveries?target=pacs/archive_commitment&limit=5").json["deliveries"]
        return [row["state"] for row in rows] == ["delivered"]

    wait_for(committed, "the archive has committed")

    report = example("ris_hl7v2", "oru_report.hl7")
    assert segment(ask(hub.port("ris/messages"), report), "MSA")[1] == "AA"
    (registered,) = imaging.platform.wait(1)
    assert told(registered, "//v:clinicalDocument/v:code/@code") == "C0006"

    # A report as a DICOM document goes the same way.
    dcmtk(
        "storescu",
        "-aet",
        "CT01",
        "-aec",
        "TONGQU",
        "127.0.0.1",
        str(hub.port("pacs/documents")),
        str(EXAMPLES / "report_pdf.dcm"),
    )
    second = imaging.platform.wait(2)[1]
    assert told(second, "//v:originalText/@value").startswith("JVBERi0xLjQK")
