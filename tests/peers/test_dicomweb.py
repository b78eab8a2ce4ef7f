"""DICOMweb with Orthanc and curl."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hub.api import TransientError, UnreachableError
from tests.adapters.dicom_support import document, image, outgoing
from tests.adapters.test_dicomweb import KIND, Intake, calling, listening, multipart, url_of
from tests.peers.imaging import Orthanc
from tests.peers.process import need

pytestmark = [pytest.mark.peers, pytest.mark.xdist_group("orthanc")]

AUTH = {"type": "basic", "user": "hub", "secret": "secret"}
UID = "1.2.826.0.1.99"


def keys(**more: Any) -> bytes:
    return json.dumps({"StudyInstanceUID": UID, **more}).encode()


async def test_store_search_and_retrieve(tmp_path: Path, orthanc: Orthanc) -> None:
    bodies = [image(990, study=UID, series=f"{UID}.1"), document(1_500_000, 991)]
    async with calling(orthanc.url, tmp_path, auth=AUTH) as sender:
        await sender.probe()
        for body in bodies:
            reply = await sender.send(outgoing(body))
            assert reply.ok, reply
    assert await asyncio.to_thread(orthanc.file_of, "1.2.3.9.991") == bodies[1]
    async with calling(orthanc.url, tmp_path, auth=AUTH, service="qido") as sender:
        reply = await sender.send(outgoing(keys(PatientName=None)))
        (found,) = json.loads(reply.body)
        assert found["00100010"]["Value"] == [{"Alphabetic": "Zhang^San", "Ideographic": "张^三"}]
        reply = await sender.send(outgoing(b'{"StudyInstanceUID": "1.9.9.9"}'))
        assert (reply.ok, json.loads(reply.body)) == (True, [])
    async with calling(orthanc.url, tmp_path, auth=AUTH, service="qido", level="instances") as sender:
        reply = await sender.send(outgoing(keys(Modality="CT")))
        assert [one["00080018"]["Value"] for one in json.loads(reply.body)] == [["1.2.3.9.990"]]
    async with calling(orthanc.url, tmp_path, auth=AUTH, service="metadata") as sender:
        reply = await sender.send(outgoing(keys()))
        assert [one["00080018"]["Value"] for one in json.loads(reply.body)] == [["1.2.3.9.990"]]
    async with calling(orthanc.url, tmp_path, auth=AUTH, service="wado") as sender:
        reply = await sender.send(outgoing(keys()))
        assert reply.ok, reply
        (told,) = json.loads(reply.body)["objects"]
        assert (tmp_path / told["path"]).read_bytes() == bodies[0]
        reply = await sender.send(outgoing(b'{"StudyInstanceUID": "1.9.9.9"}'))
        assert (reply.ok, reply.transient) == (False, False)


async def test_wrong_credentials_a_server_that_hangs_and_one_that_is_gone(tmp_path: Path, orthanc: Orthanc) -> None:
    async with calling(orthanc.url, tmp_path, auth={**AUTH, "secret": "wrong"}) as sender:
        reply = await sender.send(outgoing(image(992)))
        assert (reply.ok, reply.code, reply.transient) == (False, "401", False)
        with pytest.raises(TransientError):
            await sender.probe()
    async with calling(orthanc.url, tmp_path, auth=AUTH) as sender:
        assert (await sender.send(outgoing(image(992)))).ok
        orthanc.pause()
        try:
            with pytest.raises(TransientError) as caught:
                await sender.send(outgoing(image(993), timeout=0.5))
            assert caught.value.code == "http.timeout"
        finally:
            orthanc.resume()
        await asyncio.to_thread(orthanc.kill)
        with pytest.raises((UnreachableError, TransientError)):
            await sender.send(outgoing(image(993)))
        await asyncio.to_thread(orthanc.start)
        assert (await sender.send(outgoing(image(993)))).ok
    assert (await asyncio.to_thread(orthanc.instances)).count("1.2.3.9.993") == 1


async def test_curl_stores(tmp_path: Path) -> None:
    intake = Intake()
    (tmp_path / "body").write_bytes(multipart(image(1), image(2)))
    async with listening(intake, tmp_path) as receiver:
        done = await asyncio.to_thread(
            subprocess.run,
            [
                *(need("curl", "curl"), "-s", "-H", f"Content-Type: {KIND}", "-H", "Transfer-Encoding: chunked"),
                *("--data-binary", f"@{tmp_path}/body", f"{url_of(receiver)}/studies"),
            ],
            capture_output=True,
            check=True,
        )
    assert len(json.loads(done.stdout)["00081199"]["Value"]) == 2
    assert intake.taken == [image(1), image(2)]
