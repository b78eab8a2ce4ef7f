"""DICOM beside dcmtk, DICOMweb beside bare aiohttp."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import orjson

from adapters.dicom import DicomAdapter
from adapters.dicomweb import DicomWebAdapter
from benchmarks.adapters.measure import Case, Run, bind, expect, lanes, server, serving
from benchmarks.adapters.web import aiohttp_post, bare, listening, web_load
from benchmarks.dicom import ENVIRONMENT, image, storescp
from hub.codecs.dicom import DicomCodec
from tests.peers.process import need

__all__ = ["dicom", "dicomweb"]

_SIZE = 10_000
_INLINE = 1 << 20
_KIND = 'multipart/related; type="application/dicom"; boundary=XX'
_CT = "1.2.840.10008.5.1.4.1.1.2"


def _dcmsend(port: int, objects: Path, count: int) -> Run:
    """Send a folder over one association; processor time is that of dcmsend."""
    command = ["dcmsend", "-aec", "TONGQU", "-pdu", "131072", "+sd", "127.0.0.1", str(port), str(objects)]
    before, began = _children(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
    return Run(count, time.perf_counter() - began, _children() - before)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def dicom(folder: Path, share: float) -> Iterator[Case]:
    need("storescp", "dcmtk")
    count = max(10, int(400 * share))
    bodies = [image(number, _SIZE) for number in range(count)]
    objects = folder / "objects"
    objects.mkdir()
    for number, body in enumerate(bodies):
        (objects / f"{number:06}.dcm").write_bytes(body)

    def ours() -> Run:
        data = mkdtemp(dir=folder)
        with serving(listening, DicomAdapter, DicomCodec, {"inline": _INLINE}, data) as (port, asked):
            used, _ = asked()
            run = _dcmsend(port, objects, count)
            after, taken = asked()
            expect(taken, count, "dicom")
            return Run(count, run.seconds, after - used)

    def theirs() -> Run:
        with storescp(place := Path(mkdtemp(dir=folder))) as (port, used):
            before = used()
            run = _dcmsend(port, objects, count)
            spent = used() - before
        expect(len(list((place / "received").iterdir())), count, "storescp")
        return Run(count, run.seconds, spent)

    yield Case("dicom", "in", "dcmtk's storescp, which does not wait for the disk", ours, theirs)

    def send() -> Run:
        adapter = DicomAdapter()
        with storescp(place := Path(mkdtemp(dir=folder))) as (port, _):
            options = {"host": "127.0.0.1", "port": port, "called": "TONGQU", "connections": 1}
            run = lanes(adapter, bind(adapter, "out", options, DicomCodec(), place), bodies, 1)
        expect(len(list((place / "received").iterdir())), count, "storescp")
        return run

    def dcmsend() -> Run:
        with storescp(place := Path(mkdtemp(dir=folder))) as (port, _):
            run = _dcmsend(port, objects, count)
        expect(len(list((place / "received").iterdir())), count, "storescp")
        return run

    yield Case("dicom", "out", "dcmtk's dcmsend, one association", send, dcmsend)


def dicomweb(folder: Path, share: float) -> Iterator[Case]:
    count = max(20, int(2_000 * share))
    body = image(1, _SIZE)
    parts = b"--XX\r\nContent-Type: application/dicom\r\n\r\n" + body + b"\r\n--XX--\r\n"
    load = web_load("/dicom-web/studies", _KIND, parts)
    options = {"auth": {"type": "none"}, "inline": _INLINE}
    uid = f"1.2.3.{_SIZE}.1"
    stored = {"00081150": {"vr": "UI", "Value": [_CT]}, "00081155": {"vr": "UI", "Value": [uid]}}
    answer = ("application/dicom+json", 200, orjson.dumps({"00081199": {"vr": "SQ", "Value": [stored]}}))
    yield Case(
        "dicomweb",
        "in",
        "aiohttp's low-level server that reads nothing",
        lambda: server(listening, (DicomWebAdapter, DicomCodec, options, mkdtemp(dir=folder)), load, count),
        lambda: server(bare, answer, load, count),
    )

    def ours() -> Run:
        adapter = DicomWebAdapter()
        with serving(bare, *answer) as (port, asked):
            given = {"url": f"http://127.0.0.1:{port}/dicom-web", "connections": 8}
            run = lanes(adapter, bind(adapter, "out", given, DicomCodec(), folder), [body] * count, 8)
            expect(asked()[1], count, adapter.name)
            return run

    def theirs() -> Run:
        with serving(bare, *answer) as (port, asked):
            run = aiohttp_post(f"http://127.0.0.1:{port}/dicom-web/studies", _KIND, parts, count)
            expect(asked()[1], count, "aiohttp")
            return run

    yield Case("dicomweb", "out", "aiohttp's client, the body made beforehand", ours, theirs)
