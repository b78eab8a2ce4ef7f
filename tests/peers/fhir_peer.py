"""A FHIR server of others: fhirstarter, which checks with fhir.resources what it gets."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.peers.process import REQUIRED, Server

__all__ = ["FhirStarter"]


class FhirStarter(Server):
    """Patients: create, read, update, patch, delete, search by ``_id`` and ``_lastUpdated``; they outlive a restart."""

    def prepare(self) -> None:
        missing = [name for name in ("fhirstarter", "uvicorn") if importlib.util.find_spec(name) is None]
        if missing:
            text = f"{', '.join(missing)} is missing: pip install fhirstarter uvicorn"
            if os.environ.get(REQUIRED) == "required":
                pytest.fail(text)
            pytest.skip(text)

    def command(self) -> Sequence[str]:
        program = Path(__file__).with_name("fhir_server.py")
        return [sys.executable, "-W", "ignore", str(program), str(self.port), str(self.folder)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"
