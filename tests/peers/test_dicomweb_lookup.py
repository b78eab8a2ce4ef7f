"""QIDO-RS and WADO-RS of the hub in front of a real archive, asked by dicomweb-client, Orthanc and curl."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from dicomweb_client.api import DICOMwebClient
from requests.exceptions import HTTPError

from hub.codecs.dicom import DicomCodec
from tests.adapters.dicom_support import MemoryIntake, calling, document, image, listening, outgoing
from tests.kernel.process import HubProcess, make_site, wait_for
from tests.peers.imaging import Orthanc
from tests.peers.process import need
from tests.peers.test_dicom import data_set

pytestmark = [pytest.mark.peers, pytest.mark.xdist_group("orthanc")]

STUDY = "1.2.826.0.1.880"
UIDS = [f"{STUDY}.1", f"{STUDY}.2"]
SMALL = image(88002, study=STUDY, series=UIDS[0], PatientID="P880")
LARGE = document(1_500_000, 88001)

_PLUGIN = """
id: pacs
name: 影像系统
assumed: true
settings:
  port: {{type: port, required: true}}
  web: {{type: url, required: true}}
interfaces:
  web:
    direction: in
    style: request
    adapter: dicomweb
    listen: {{port: 0, services: [qido, wado], auth: {{type: none}}}}
    codec: json
    type: service
  find:
    direction: out
    adapter: dicom
    connect: {{host: 127.0.0.1, port: "${{port}}", called: ORTHANC, service: find}}
    codec: json
  fetch:
    direction: out
    {fetch}
    codec: json
    timeout: 20s
"""
FETCH = {
    "get": 'adapter: dicom\n    connect: {host: 127.0.0.1, port: "${port}", called: ORTHANC, service: get}',
    "move": 'adapter: dicom\n    connect: {host: 127.0.0.1, port: "${port}", called: ORTHANC, service: move, '
    "destination: TONGQU, receive: {port: HUB}}",
    "wado": 'adapter: dicomweb\n    connect: {url: "${web}", service: wado, '
    "auth: {type: basic, user: hub, secret: secret}}",
}


def site(folder: Path, orthanc: Orthanc, fetch: str) -> Path:
    settings = {"port": orthanc.port, "web": orthanc.url}
    config = make_site(
        folder,
        "http://127.0.0.1:1",
        intake={"request_timeout": "4s"},
        systems={"rad": {"plugin": "pacs", "settings": settings}},
        routes={
            "ask": {"from": "rad/web", "when": "service == 'study'", "to": "rad/find"},
            "get": {"from": "rad/web", "when": "service != 'study'", "to": "rad/fetch"},
        },
    )
    (folder / "plugins" / "pacs").mkdir()
    text = _PLUGIN.format(fetch=FETCH[fetch].replace("HUB", str(orthanc.hub_port)))
    (folder / "plugins" / "pacs" / "plugin.yaml").write_text(text, encoding="utf-8")
    return config


@pytest.fixture
def archive(orthanc: Orthanc) -> Orthanc:
    """Orthanc with a study of two series."""
    own = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": UIDS[1], "PatientID": "P880"}
    tree = DicomCodec().decode(LARGE).changed(own)
    for body in (SMALL, DicomCodec().encode(tree)):
        request = urllib.request.Request(f"http://127.0.0.1:{orthanc.web}/instances", body)
        request.add_header("Authorization", "Basic aHViOnNlY3JldA==")
        urllib.request.urlopen(request, timeout=30).close()
    return orthanc


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return len(answer.read()) and int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def put(orthanc: Orthanc, method: str, path: str, body: Any) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{orthanc.web}{path}", json.dumps(body).encode(), method=method)
    request.add_header("Authorization", "Basic aHViOnNlY3JldA==")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


@pytest.mark.parametrize("fetch", list(FETCH))
def test_a_client_that_is_not_ours(tmp_path: Path, archive: Orthanc, fetch: str) -> None:
    with HubProcess(site(tmp_path, archive, fetch)) as hub:
        client = DICOMwebClient(f"http://127.0.0.1:{hub.port('rad/web')}/dicom-web")
        (study,) = client.search_for_studies(
            search_filters={"PatientID": "P880", "PatientName": "Zhang*"}, fields=["StudyDescription"]
        )
        assert study["0020000D"]["Value"] == [STUDY]
        assert study["00100010"]["Value"][0]["Ideographic"] == "张^三"
        assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []
        series = client.search_for_series(STUDY)
        assert sorted(one["0020000E"]["Value"][0] for one in series) == UIDS
        assert len(client.search_for_series(STUDY, limit=1)) == 1
        (instance,) = client.search_for_instances(STUDY, UIDS[0])
        assert instance["00080018"]["Value"] == ["1.2.3.9.88002"]
        found = client.retrieve_study(STUDY)
        assert sorted(str(one.SOPInstanceUID) for one in found) == ["1.2.3.9.88001", "1.2.3.9.88002"]
        (pdf,) = [one for one in found if one.SOPInstanceUID == "1.2.3.9.88001"]
        assert len(pdf.EncapsulatedDocument) == 1_500_000
        one = client.retrieve_instance(STUDY, UIDS[0], "1.2.3.9.88002")
        assert one.PatientID == "P880"
        metadata = client.retrieve_series_metadata(STUDY, UIDS[0])
        assert metadata[0]["00100020"]["Value"] == ["P880"]
        with pytest.raises(HTTPError, match=r"404|422"):  # as the archive says it
            client.retrieve_study("1.9.9.9")


def test_orthanc_pulls_and_an_archive_that_goes_away(tmp_path: Path, archive: Orthanc) -> None:
    with HubProcess(site(tmp_path, archive, "get")) as hub:
        url = f"http://127.0.0.1:{hub.port('rad/web')}/dicom-web/"
        put(archive, "PUT", "/dicom-web/servers/tongqu", {"Url": url})
        found = put(
            archive, "POST", "/dicom-web/servers/tongqu/qido", {"Uri": "/studies", "Arguments": {"00100020": "P880"}}
        )
        assert [one["0020000D"]["Value"] for one in found] == [STUDY]
        job = {"Resources": [{"Study": STUDY, "Series": UIDS[0]}], "Synchronous": True}
        assert put(archive, "POST", "/dicom-web/servers/tongqu/retrieve", job)["ReceivedInstancesCount"] == "1"
        archive.kill()
        assert status(f"{url}studies/{STUDY}") in (502, 504)
        archive.start()
        wait_for(lambda: status(f"{url}studies/{STUDY}") == 200, "the study, without a restart of the hub")
        query = f"requestType=WADO&studyUID={STUDY}&seriesUID={UIDS[0]}&objectUID=1.2.3.9.88002"
        done = subprocess.run(
            [need("curl", "curl"), "-s", f"{url}wado?{query}"], capture_output=True, check=True, timeout=30
        )
        assert data_set(done.stdout) == data_set(archive.file_of("1.2.3.9.88002"))


async def test_orthanc_commits_to_storage(tmp_path: Path, archive: Orthanc) -> None:
    """It says so on an association of its own."""
    items = [
        {"ReferencedSOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "ReferencedSOPInstanceUID": uid}
        for uid in ("1.2.3.9.88002", "1.2.3.9.9999")
    ]
    out = {"service": "commitment", "called": "ORTHANC"}
    async with (
        listening(MemoryIntake(), tmp_path, services=["results"], port=archive.hub_port),
        calling(archive.port, tmp_path, **out) as sender,
    ):
        reply = await sender.send(outgoing(json.dumps({"ReferencedSOPSequence": items[:1]}).encode()))
        assert (reply.ok, json.loads(reply.body)["committed"]) == (True, 1)
        reply = await sender.send(outgoing(json.dumps({"ReferencedSOPSequence": items}).encode()))
        assert (reply.ok, reply.transient) == (False, True)
        assert [one["instance"] for one in json.loads(reply.body)["failed"]] == ["1.2.3.9.9999"]
