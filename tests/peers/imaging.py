"""Orthanc with DICOMweb and worklists, and dcmtk's programs."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.peers.process import Server, free_port, need, port_open

__all__ = ["Orthanc", "StoreScp", "WorklistScp", "dcmtk"]

_PLUGINS = Path("/usr/share/orthanc/plugins")


class Orthanc(Server):
    """AE ``ORTHANC``; knows the AE ``TONGQU`` at ``hub_port`` of this machine; HTTP user ``hub`` with password ``secret`` on ``web``."""

    package = "orthanc orthanc-dicomweb"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.web, self.hub_port = free_port(), free_port()
        self.worklists = folder / "worklists"

    def prepare(self) -> None:
        self.worklists.mkdir()
        (self.worklists / "lockfile").touch()
        plugins = ["libOrthancDicomWeb.so", "libModalityWorklists.so"]
        (self.folder / "orthanc.json").write_text(
            json.dumps(
                {
                    "Name": "tests",
                    "StorageDirectory": str(self.folder / "storage"),
                    "IndexDirectory": str(self.folder / "storage"),
                    "HttpPort": self.web,
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": True,
                    "RegisteredUsers": {"hub": "secret"},
                    "DicomAet": "ORTHANC",
                    "DicomPort": self.port,
                    "DicomCheckCalledAet": True,
                    "DicomAlwaysAllowStore": True,
                    "DicomAlwaysAllowFind": True,
                    "DicomAlwaysAllowGet": True,
                    "DicomAlwaysAllowMove": True,
                    "DicomAlwaysAllowFindWorklist": True,
                    "DefaultEncoding": "Utf8",
                    "DicomModalities": {"hub": ["TONGQU", "127.0.0.1", self.hub_port]},
                    "OverwriteInstances": True,
                    "Plugins": [str(_PLUGINS / name) for name in plugins],
                    "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
                    "Worklists": {"Enable": True, "Database": str(self.worklists), "FilterIssuerAet": False},
                    "StableAge": 1,
                }
            )
        )

    def command(self) -> Sequence[str]:
        return [need("Orthanc", self.package), str(self.folder / "orthanc.json")]

    def ready(self) -> bool:
        return port_open(self.port) and port_open(self.web)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.web}/dicom-web"

    def get(self, path: str) -> bytes:
        """The REST API."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.web}{path}")
        request.add_header("Authorization", "Basic aHViOnNlY3JldA==")
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: bytes = answer.read()
            return found

    def ask(self, path: str) -> Any:
        return json.loads(self.get(path))

    def instances(self) -> list[str]:
        """UIDs of the objects it has."""
        return [one["MainDicomTags"]["SOPInstanceUID"] for one in self.ask("/instances?expand")]

    def file_of(self, uid: str) -> bytes:
        for one in self.ask("/instances?expand"):
            if one["MainDicomTags"]["SOPInstanceUID"] == uid:
                return self.get(f"/instances/{one['ID']}/file")
        raise KeyError(uid)


class StoreScp(Server):
    """dcmtk's storescp, AE ``STORE``; objects go to ``received``. ``arguments``: in the place of ``+xa``, every transfer syntax."""

    package = "dcmtk"

    def __init__(self, folder: Path, *arguments: str) -> None:
        super().__init__(folder)
        self.received = folder / "received"
        self.received.mkdir()
        self._arguments = arguments

    def command(self) -> Sequence[str]:
        program = need("storescp", self.package)
        return [program, "-aet", "STORE", "-od", str(self.received), *(self._arguments or ("+xa",)), str(self.port)]

    def forget(self) -> None:
        shutil.rmtree(self.received)
        self.received.mkdir()


class WorklistScp(Server):
    """dcmtk's wlmscpfs; the AE ``MWL`` has the worklists put in with :meth:`add`."""

    package = "dcmtk"

    def prepare(self) -> None:
        (self.folder / "MWL").mkdir()
        (self.folder / "MWL" / "lockfile").touch()

    def add(self, name: str, dump: str) -> None:
        """A worklist item in dcmtk's dump format."""
        text = self.folder / f"{name}.dump"
        text.write_text(dump, encoding="utf-8")
        dcmtk("dump2dcm", str(text), str(self.folder / "MWL" / f"{name}.wl"))

    def command(self) -> Sequence[str]:
        return [need("wlmscpfs", self.package), "-dfp", str(self.folder), "-csk", "-dfr", str(self.port)]


def dcmtk(program: str, *arguments: str, ok: bool = True) -> str:
    """Run one of dcmtk's tools; what it printed."""
    done = subprocess.run([need(program, "dcmtk"), *arguments], capture_output=True, timeout=60)
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert (done.returncode == 0) is ok, f"{program} {arguments}: {said}"
    return said
