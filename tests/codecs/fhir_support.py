"""The sample resources and codecs the tests of FHIR share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pytest

from hub.codecs.fhir import FhirCodec, FhirFormat
from hub.errors import CodecError

Version = Literal["R4", "R4B", "R5"]
SAMPLES = (
    Path(os.environ.get("TONGQU_SAMPLES") or Path(__file__).resolve().parents[2].parent / "shared" / "samples") / "fhir"
)
FOLDERS: dict[str, Version] = {"r4-examples": "R4", "r4b-examples": "R4B", "r5-examples": "R5"}


def sample_files() -> list[tuple[Version, Path]]:
    return [
        (version, path)
        for folder, version in FOLDERS.items()
        if (SAMPLES / folder).is_dir()
        for path in sorted((SAMPLES / folder).glob("*.json"))
    ]


def codec(version: Version = "R4", write: Literal["json", "xml"] = "json") -> FhirCodec:
    return FhirCodec().configured(FhirFormat(version=version, write=write))


def refused(raw: bytes, version: Version = "R4", **options: str) -> CodecError:
    with pytest.raises(CodecError) as caught:
        codec(version).decode(raw, **options)
    return caught.value


def not_written(tree: object, version: Version = "R4") -> CodecError:
    with pytest.raises(CodecError) as caught:
        codec(version, "xml").encode(tree)
    return caught.value
